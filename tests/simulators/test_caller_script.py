"""A caller's script is read strictly, and a mistake is one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from callwright.simulators.errors import SimulatorError
from callwright.simulators.script import Cough, Dtmf, HangUp, Say, Silence, Wait, load, parse

WHOLE = """\
voice: rms
seed: 7
noise_dbfs: -55
speed: 1.1
steps:
  - wait: agent_done
  - say: "I would like to book an appointment."
  - wait: {agent_words: 3, timeout_s: 5}
  - talk_over: "No, wait."
  - start_saying: "And then"
  - cough: {}
  - cough
  - silence: 2
  - dtmf: "12*#"
  - wait: {quiet_ms: 900}
  - hang_up
"""


def test_every_step_is_read() -> None:
    script = parse(WHOLE)
    assert (script.voice, script.seed, script.noise_dbfs, script.speed) == ("rms", 7, -55, 1.1)
    assert script.steps == (
        Wait(),
        Say(kind="say", text="I would like to book an appointment."),
        Wait(agent_words=3, timeout_s=5),
        Say(kind="talk_over", text="No, wait."),
        Say(kind="start_saying", text="And then"),
        Cough(),
        Cough(),
        Silence(seconds=2),
        Dtmf(digits="12*#"),
        Wait(quiet_ms=900),
        HangUp(),
    )
    assert script.texts == ["I would like to book an appointment.", "No, wait.", "And then"]


def test_what_is_not_said_has_a_default() -> None:
    script = parse("steps:\n  - say: Hello.\n")
    assert (script.voice, script.noise_dbfs, script.speed) == ("rms", None, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps:\n  - say: Hello.\n  - sayy: Hi.\n", "s.yaml:3: unknown step 'sayy'; did you mean 'say'?"),
        ("step:\n  - say: Hello.\n", "s.yaml:1: unknown key 'step'; did you mean 'steps'?"),
        (
            "steps:\n  - wait: agent_don\n",
            "s.yaml:2: unknown thing to wait for 'agent_don'; did you mean 'agent_done'?",
        ),
        (
            "steps:\n  - wait:\n      agent_word: 3\n",
            "s.yaml:3: unknown key of 'wait' 'agent_word'; did you mean 'agent_words'?",
        ),
        ("steps: []\n", "s.yaml:1: 'steps' must be a list of at least one step"),
        ("voice: rms\n", "s.yaml:1: 'steps' must be a list"),
        ("- say: Hello.\n", "s.yaml:1: a caller script is a mapping"),
        ("", "s.yaml:1: a caller script is a mapping"),
        ("steps:\n  - say: [\n", "s.yaml:3: not YAML"),
        ("steps:\n  - say: 5\n", "s.yaml:2: 'text': input should be a valid string"),
        ("steps:\n  - say\n", "s.yaml:2: 'text': field required"),
        ("steps:\n  - silence: long\n", "s.yaml:2: 'seconds': input should be a valid number"),
        ("steps:\n  - silence: -1\n", "s.yaml:2: 'seconds'"),
        ('steps:\n  - dtmf: "12a"\n', "s.yaml:2: 'digits'"),
        ("steps:\n  - hang_up: now\n", "s.yaml:2: 'hang_up' takes no plain value"),
        ("steps:\n  - {say: a, cough: {}}\n", "s.yaml:2: a step is one of wait, say"),
        ("steps:\n  - [say, a]\n", "s.yaml:2: a step is one of wait, say"),
        ("noise_dbfs: 3\nsteps:\n  - cough\n", "s.yaml:1: 'noise_dbfs'"),
        ("steps:\n  - say: a\nseed: x\n", "s.yaml:3: 'seed'"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SimulatorError) as refused:
        parse(text, "s.yaml")
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(WHOLE)
    assert load(tmp_path / "s.yaml") == parse(WHOLE)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SimulatorError, match="not a text file"):
        load(tmp_path / "s.yaml")
