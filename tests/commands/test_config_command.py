"""`callwright config show` and `callwright doctor`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from callwright.commands import config as config_command
from callwright.commands import doctor as doctor_command

AGENT = """
from callwright import Agent

agent = Agent(
    name="clinic", prompt="You are a front desk.", voice="agents-own", config={"call": {"max_duration_s": 90}}
)
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    for name in (
        "LIVEKIT_URL",
        "LIVEKIT_API_KEY",
        "LIVEKIT_API_SECRET",
        "CALLWRIGHT_DATABASE",
        "CALLWRIGHT_RECORDINGS",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("DEEPGRAM_API_KEY", "ANTHROPIC_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    app = typer.Typer()
    config_command.register(app)
    doctor_command.register(app)
    return app


def test_config_show_prints_values_and_sources_and_masks_keys(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "dg-0123456789-abcdef")
    Path("callwright.yaml").write_text("tts:\n  speed: 1.1\n")
    result = CliRunner().invoke(app, ["config", "show", "--set", "llm.max_tokens=200"])
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert lines["tts.speed"].split()[1:] == ["1.1", "callwright.yaml:2"]
    assert lines["llm.max_tokens"].split()[1:] == ["200", "--set"]
    assert lines["stt.api_key"].split()[1:] == ["set", "(…cdef)", "environment", "DEEPGRAM_API_KEY"]
    assert "0123456789" not in result.output


def test_config_show_takes_an_agents_own_defaults_in(app: typer.Typer) -> None:
    Path("clinic.py").write_text(AGENT)
    result = CliRunner().invoke(app, ["config", "show", "clinic.py", "--json"])
    assert result.exit_code == 0, result.output
    values = json.loads(result.output)["values"]
    assert values["tts.voice"] == {"value": "agents-own", "source": "agent"}
    assert values["call.max_duration_s"] == {"value": 90, "source": "agent"}
    assert values["turn.vad_stop_ms"] == {"value": 200, "source": "default"}


def test_doctor_prints_one_line_each_and_exits_1_when_something_must_be_mended(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["doctor", "--set", "tts.vendor=elevanlabs"])
    assert result.exit_code == 1
    assert result.output.startswith(
        "✗ configuration: unknown vendor 'elevanlabs' for tts; did you mean 'elevenlabs'? (--set) → "
    )
    assert result.output.count("\n") == 1


def test_doctor_json_says_whether_a_call_would_work(app: typer.Typer) -> None:
    overrides = [part for stage in ("stt", "llm", "tts") for part in ("--set", f"{stage}.base_url=http://127.0.0.1:1")]
    result = CliRunner().invoke(app, ["doctor", "--json", *overrides])
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert report["healthy"] is False
    assert {finding["name"]: finding["state"] for finding in report["findings"]}["LiveKit"] == "bad"
