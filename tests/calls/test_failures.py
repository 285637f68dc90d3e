"""What goes wrong around a call: one line with the next step, and records that are complete."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from pipecat.processors.frame_processor import FrameProcessor

from callwright import Agent
from callwright.call import LiveCall
from callwright.errors import ConfigError, RoomError, VendorPermanent
from callwright.parts import Parts
from callwright.records.calls import load
from callwright.records.database import Database
from callwright.records.events import AgentText, StageTroubled, VendorFailed
from callwright.simulators.faults import Fault
from callwright.simulators.livekit import LiveKitServer
from callwright.stage import Stage
from pipelines.cascade import cascade

from .conftest import Line

ECHO = Agent(name="echo", prompt="Repeat what you hear.", greeting="Hello?")
TALK = ["wait: {quiet_ms: 600}", "say: Good morning.", "wait: {quiet_ms: 800, timeout_s: 8}", "silence: 5", "hang_up"]


@pytest.mark.parametrize(
    ("stage", "variable"),
    [("stt", "DEEPGRAM_API_KEY"), ("llm", "ANTHROPIC_API_KEY"), ("tts", "CARTESIA_API_KEY")],
)
async def test_a_refused_key_ends_the_call_and_names_the_variable(line: Line, stage: Stage, variable: str) -> None:
    outcome, _, _ = await line.hold(ECHO, TALK, f"{stage}.api_key=refused-key")
    assert outcome.ending.reason == "vendor_failed"
    assert not outcome.ending.ok
    assert isinstance(outcome.ending.error, VendorPermanent)
    assert variable in str(outcome.ending.error)
    assert "\n" not in str(outcome.ending.error)
    failed = [entry.event for entry in line.entries if isinstance(entry.event, VendorFailed)]
    assert failed[0].stage == stage
    assert failed[0].permanent
    assert outcome.record.reason == "vendor_failed"
    assert outcome.record.ended is not None


async def test_a_dead_livekit_is_told_in_one_line(line: Line) -> None:
    config = line.config("room.url=ws://127.0.0.1:9", "room.connect_timeout_s=2")
    async with asyncio.timeout(15):
        outcome = await LiveCall(ECHO, config, line.room).run()
    assert outcome.ending.reason == "room_unreachable"
    assert isinstance(outcome.ending.error, RoomError)
    assert "no LiveKit server answers at ws://127.0.0.1:9" in str(outcome.ending.error)
    assert outcome.record.reason == "room_unreachable"


async def test_wrong_livekit_credentials_are_told_apart_from_no_server(line: Line) -> None:
    config = line.config("room.api_secret=not-the-secret-of-this-server-at-all")
    async with asyncio.timeout(15):
        outcome = await LiveCall(ECHO, config, line.room).run()
    assert outcome.ending.reason == "room_unreachable"
    assert "LIVEKIT_API_SECRET" in str(outcome.ending.error)


async def test_an_agent_that_nobody_calls_gives_up(line: Line) -> None:
    outcome = await LiveCall(ECHO, line.config("call.wait_for_caller_s=1"), line.room).run()
    assert outcome.ending.reason == "no_caller"
    assert line.room in str(outcome.ending.error)


async def test_a_silent_call_is_ended_when_asked_for(line: Line) -> None:
    outcome, _, _ = await line.hold(ECHO, ["wait: {quiet_ms: 600}", "silence: 12", "hang_up"], "call.silence_s=2")
    assert outcome.ending.reason == "silence", [entry.event for entry in line.entries]


async def test_a_call_ends_at_its_cap_with_a_farewell(line: Line) -> None:
    agent = Agent(name="echo", prompt="Repeat.", greeting="Hello?", farewell="Goodbye then.")
    outcome, _, _ = await line.hold(agent, ["wait: {quiet_ms: 600}", "silence: 15", "hang_up"], "call.max_duration_s=3")
    assert outcome.ending.reason == "max_duration"
    assert outcome.record.turns[-1].agent_text.endswith("Goodbye then.")


async def test_a_livekit_that_dies_in_mid_call_ends_the_call_in_bounded_time(line: Line) -> None:
    async with LiveKitServer() as server:
        own = dataclasses.replace(line, livekit=server, entries=[])
        agent_side = asyncio.create_task(own.answer(ECHO))
        async with own.caller() as caller:
            await caller.agent_quiet(600, 10)
            await server.stop()
            async with asyncio.timeout(15):
                outcome = await agent_side
    assert outcome.ending.reason == "room_disconnected"
    assert not outcome.ending.ok
    assert isinstance(outcome.ending.error, RoomError)
    assert outcome.record.ended is not None


async def test_no_token_reaches_the_records(line: Line) -> None:
    config = line.config("room.api_secret=not-the-secret-of-this-server-at-all")
    call = LiveCall(ECHO, config, line.room, watch=line.entries.append)
    await call.run()
    assert "eyJ" not in " ".join(repr(entry.event) for entry in line.entries)


async def test_a_call_whose_program_is_stopped_has_complete_records(line: Line) -> None:
    agent_side = asyncio.create_task(line.answer(ECHO))
    async with line.caller() as caller:
        await caller.agent_quiet(600, 10)
        agent_side.cancel()
        with pytest.raises(asyncio.CancelledError):
            await agent_side
    assert line.call is not None
    with Database.open(f"sqlite:///{line.folder / 'calls.db'}") as database:
        record = load(database, line.call.id)
    assert record.reason == "cancelled"
    assert record.ended is not None


async def test_a_model_that_is_overloaded_once_is_not_a_mute_call(line: Line) -> None:
    fault = Fault(stage="llm", kind="status", moment="before", status=529)
    steps = ["wait: {quiet_ms: 600}", "say: Good morning.", "wait: {quiet_ms: 800, timeout_s: 8}"]
    again = ["say: Good morning.", "wait: {quiet_ms: 800, timeout_s: 8}", "hang_up"]
    outcome, report, _ = await line.hold(ECHO, steps + again, faults=[fault])
    assert report.mute_turns == 0
    assert outcome.ending.reason == "caller_left"
    said = [entry.event.text for entry in line.entries if isinstance(entry.event, AgentText)]
    assert said == ["Hello?", "I heard you say: Good morning.", "I heard you say: Good morning."]
    failed = [entry.event for entry in line.entries if isinstance(entry.event, VendorFailed)]
    assert [(event.stage, event.permanent) for event in failed] == [("llm", False)]


async def test_a_model_that_answers_nobody_is_told_to_the_caller_and_the_second_time_ends_the_call(line: Line) -> None:
    fault = Fault(stage="llm", kind="silence", count=20)
    steps = ["wait: {quiet_ms: 600}", "say: Good morning.", "wait: {quiet_ms: 800, timeout_s: 8}"]
    again = ["say: Good morning.", "wait: {quiet_ms: 800, timeout_s: 8}", "silence: 5", "hang_up"]
    outcome, report, _ = await line.hold(
        ECHO, steps + again, "watch.first_token_ms=400", "watch.turn_budget_ms=1200", faults=[fault]
    )
    assert report.mute_turns == 0
    assert outcome.ending.reason == "vendor_failed"
    said = [entry.event for entry in line.entries if isinstance(entry.event, AgentText)]
    told = [event for event in said if event.role != "filler"]
    assert [event.text for event in told] == ["Hello?", ECHO.trouble, f"{ECHO.trouble} {ECHO.farewell}"]
    assert {event.turn: event for event in said} == {event.turn: event for event in told}  # no filler comes after it
    troubles = [entry.event for entry in line.entries if isinstance(entry.event, StageTroubled)]
    assert [one.action for one in troubles].count("gave_up") == 2


async def test_an_answer_that_breaks_off_is_continued(line: Line) -> None:
    fault = Fault(stage="llm", kind="truncate", moment="within", after=6)
    steps = ["wait: {quiet_ms: 600}", "say: Good morning.", "wait: {quiet_ms: 800, timeout_s: 8}", "hang_up"]
    outcome, report, _ = await line.hold(ECHO, steps, faults=[fault])
    assert report.mute_turns == 0
    assert outcome.ending.reason == "caller_left"
    troubles = [entry.event for entry in line.entries if isinstance(entry.event, StageTroubled)]
    assert [(one.what, one.action) for one in troubles] == [("truncated", "go_on")]


async def test_a_sample_rate_that_does_not_fit_is_an_error_before_a_word_is_said(line: Line) -> None:
    def crooked(parts: Parts) -> list[FrameProcessor]:
        order = cascade(parts)
        parts.voice.seats[0].voice._init_sample_rate = 16_000  # what a service that ignores the asked rate would do
        return order

    agent = Agent(name="echo", prompt="Repeat.", greeting="Hello?", pipeline=crooked)
    outcome = await line.answer(agent)
    assert outcome.ending.reason == "sample_rate"
    assert isinstance(outcome.ending.error, ConfigError)
    assert "from the voice has 16000 Hz where 24000 Hz is expected" in str(outcome.ending.error)
