"""Whole calls whose voice fails: the caller hears the answer, or something true."""

from __future__ import annotations

from callwright import Agent
from callwright.records.events import AgentText, StageStarted, StageTroubled
from callwright.simulators.faults import Fault

from .conftest import Line

ECHO = Agent(name="echo", prompt="Repeat what you hear.", greeting="Hello?")
TALK = ["wait: {quiet_ms: 600}", "say: Good morning.", "wait: {quiet_ms: 800, timeout_s: 8}", "hang_up"]


RENDERED = ["wait: {quiet_ms: 600}", "silence: 4", "hang_up"]


def said(line: Line) -> list[str]:
    """All that was heard but fillers."""
    said = [entry.event for entry in line.entries if isinstance(entry.event, AgentText)]
    return [event.text for event in said if event.text and event.role != "filler"]


def fallback(line: Line) -> str:
    return f"tts.fallback=[{{vendor: deepgram, base_url: '{line.url}', api_key: '{line.key}-second'}}]"


async def test_an_answer_whose_voice_dies_is_finished_by_another(line: Line) -> None:
    await line.hold(ECHO, RENDERED, fallback(line))  # a greeting that is streamed would use the fault up
    line.entries.clear()
    fault = Fault(stage="tts", kind="drop", moment="within", after=6, count=1)
    outcome, report, _ = await line.hold(ECHO, TALK, fallback(line), faults=[fault])
    assert report.mute_turns == 0
    assert outcome.ending.reason == "caller_left"
    assert "I heard you say: Good morning." in said(line)
    troubles = [entry.event for entry in line.entries if isinstance(entry.event, StageTroubled)]
    assert [(event.stage, event.vendor, event.action) for event in troubles] == [("tts", "cartesia", "next")]
    asked = [e.event.vendor for e in line.entries if isinstance(e.event, StageStarted) and e.event.stage == "tts"]
    assert "deepgram" in asked


async def test_a_greeting_from_the_lines_needs_no_voice(line: Line) -> None:
    await line.hold(ECHO, RENDERED)
    line.entries.clear()
    dead = Fault(stage="tts", kind="refuse_connect", moment="connect", count=50)
    steps = ["wait: {quiet_ms: 600}", "say: Good morning.", "wait: {quiet_ms: 800, timeout_s: 12}", "hang_up"]
    await line.hold(ECHO, steps, faults=[dead])
    assert said(line)[:2] == ["Hello?", ECHO.trouble]
