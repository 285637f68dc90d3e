"""A recogniser that fails in a call: the caller need not repeat a word, and is told when nobody hears them."""

from __future__ import annotations

import pytest

from callwright import Agent
from callwright.records.events import AgentText, StageTroubled, TurnStarted, Usage
from callwright.simulators.faults import Fault
from callwright.trouble import REPEAT

from .conftest import Line

ECHO = Agent(name="echo", prompt="Repeat what you hear.", greeting="Hello?")
TURN = ["say: Good morning.", "wait: {quiet_ms: 900, timeout_s: 10}"]
FAULTS = {
    "no answer": (Fault(stage="stt", kind="silence", moment="before"), "no_transcript"),
    "mute": (Fault(stage="stt", kind="silence", moment="connect"), "no_transcript"),
    "dropped": (Fault(stage="stt", kind="drop", moment="before"), "dropped"),
    "limited": (Fault(stage="stt", kind="status", moment="connect", status=429), "refused"),
}


def _of(line: Line, kind: type) -> list:  # type: ignore[type-arg]
    return [entry.event for entry in line.entries if isinstance(entry.event, kind)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("fallback", [False, True])
async def test_the_caller_is_heard_and_answered_all_the_same(line: Line, fault: str, fallback: bool) -> None:
    ordered, what = FAULTS[fault]
    # Only the first account has the fault; the second is another key of the same stand-in.
    backups = [f"{line.key}-2"] if fallback else []
    vendors = [f"{{vendor: deepgram, base_url: '{line.url}', api_key: {key}}}" for key in backups]
    extra = [f"stt.fallback=[{', '.join(vendors)}]"]
    steps = ["wait: {quiet_ms: 600}", *TURN, "hang_up"]
    outcome, report, _ = await line.hold(ECHO, steps, *extra, faults=[ordered], backups=backups)
    assert outcome.ending.reason == "caller_left"
    assert report.mute_turns == 0
    assert ["morning" in event.text.lower() for event in _of(line, TurnStarted)] == [True]
    troubles = [(event.what, event.action) for event in _of(line, StageTroubled) if event.stage == "stt"]
    assert troubles == [(what, "next" if fallback else "retry")]
    assert sum(event.quantities["audio_seconds"] for event in _of(line, Usage) if event.stage == "stt") > 1


async def test_who_is_not_heard_is_asked_to_say_it_again(line: Line) -> None:
    fault = Fault(stage="stt", kind="silence", moment="connect", count=3)
    steps = ["wait: {quiet_ms: 600}", *TURN, *TURN, "hang_up"]
    overrides = ("watch.turn_budget_ms=1000", "watch.transcript_ms=700")
    outcome, report, _ = await line.hold(ECHO, steps, *overrides, faults=[fault])
    assert report.mute_turns == 0
    assert outcome.ending.reason == "caller_left"
    assert REPEAT in [event.text for event in _of(line, AgentText)]
    assert ("no_transcript", "gave_up") in [(event.what, event.action) for event in _of(line, StageTroubled)]
    assert ["morning" in event.text.lower() for event in _of(line, TurnStarted)] == [True]


async def test_when_nobody_ever_hears_the_call_ends_and_says_why(line: Line) -> None:
    fault = Fault(stage="stt", kind="silence", moment="connect", count=50)
    steps = ["wait: {quiet_ms: 600}", *TURN, *TURN, "silence: 10"]
    outcome, _, _ = await line.hold(ECHO, steps, "watch.turn_budget_ms=1000", faults=[fault])
    assert outcome.ending.reason == "vendor_failed"
    assert "stt: deepgram did not answer in time" in str(outcome.ending.error)
