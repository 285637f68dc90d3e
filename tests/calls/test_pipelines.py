"""Pipelines of the user's own, and folders of theirs beside ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from callwright import Agent
from callwright.call import pipeline_function
from callwright.errors import AgentError
from callwright.records.events import AgentText

from .conftest import Line

SHOUT = '''
from pipecat.frames.frames import AggregatedTextFrame, Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from callwright import Agent
from pipelines.cascade import cascade


class Polite(FrameProcessor):
    """Replaces a word on its way from the model to the voice."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, AggregatedTextFrame):
            frame.text = frame.raw_text = frame.text.replace("Mary", "Madam")
        await self.push_frame(frame, direction)


def polite(parts):
    order = cascade(parts)
    order.insert(order.index(parts.voice), Polite())
    return order


agent = Agent(name="polite", prompt="Repeat what you hear.", greeting="Hello?", pipeline=polite)
'''


async def test_a_processor_of_the_users_own_takes_part_in_the_call(line: Line) -> None:
    from callwright.agent import load

    path = line.folder / "polite.py"
    path.write_text(SHOUT)
    steps = ["wait: {quiet_ms: 600}", "say: Good morning, this is Mary.", "wait: {quiet_ms: 600}", "hang_up"]
    await line.hold(load(path), steps)
    said = [entry.event.text for entry in line.entries if isinstance(entry.event, AgentText)]
    assert said[-1] == "I heard you say: Good morning, this is Madam."


def test_a_pipeline_is_named_in_the_configuration_too(line: Line) -> None:
    path = line.folder / "polite_by_name.py"
    path.write_text(SHOUT)
    agent = Agent(name="a", prompt="p")
    found = pipeline_function(agent, line.config(f"pipeline={path}:polite"))
    assert found.__name__ == "polite"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("casacde", "no pipeline 'casacde'"),
        ("pipelines.cascade:cascad", "has no function 'cascad'"),
        ("nowhere.py:polite", "nowhere.py"),
    ],
)
def test_a_pipeline_that_is_not_there_is_told(line: Line, named: str, told: str) -> None:
    with pytest.raises(AgentError, match=r"pipeline|Python file|No such") as refusal:
        pipeline_function(Agent(name="a", prompt="p", pipeline=named), line.config())
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_users_folders_of_the_same_names_stand_beside_ours(tmp_path: Path) -> None:
    for package in ("pipelines", "processors"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "mine.py").write_text("MINE = True\n")
    code = "import pipelines.mine, pipelines.cascade, processors.mine, processors.gate; print('both')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "both", done.stderr
