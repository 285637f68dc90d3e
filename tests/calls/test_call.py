"""A call from its first word to its records, on a real LiveKit server."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path

import numpy as np

from callwright import Agent
from callwright.records.database import Database
from callwright.records.events import AgentText, CallEnded, CallerLeft, TurnStarted
from callwright.records.journal import read

from .conftest import Line

ECHO = Agent(name="echo", prompt="Repeat what you hear.", greeting="Hello, who is there?")
TALK = ["wait: {quiet_ms: 600}", "say: Good morning, this is Mary.", "wait: {quiet_ms: 600}", "hang_up"]


async def test_the_caller_is_greeted_heard_and_answered(line: Line) -> None:
    outcome, report, _ = await line.hold(ECHO, TALK)
    assert outcome.ending.reason == "caller_left"
    assert report.mute_turns == 0
    assert [turn.caller_text for turn in outcome.record.turns if turn.number] == ["Good morning, this is Mary."]
    said = [entry.event.text for entry in line.entries if isinstance(entry.event, AgentText)]
    assert said == ["Hello, who is there?", "I heard you say: Good morning, this is Mary."]


async def test_the_records_of_a_call_are_complete(line: Line) -> None:
    outcome, _, _ = await line.hold(ECHO, TALK)
    record = outcome.record
    assert record.cost_usd is not None
    assert record.cost_usd > 0
    with Database.open(f"sqlite:///{line.folder / 'calls.db'}") as database:
        kinds = [entry.event.kind for entry in read(database, record.call_id)]
    assert kinds[0] == "call_started"
    assert kinds[-1] == "call_ended"
    turn = next(turn for turn in record.turns if turn.number == 1)
    assert turn.llm_first_token_ms is not None
    assert turn.tts_first_audio_ms is not None
    assert turn.first_sound_ms is not None
    assert turn.response_gap_ms is not None
    assert turn.llm_first_token_ms <= turn.tts_first_audio_ms <= turn.first_sound_ms
    # What was said begins with the voice's own silence: up to 250 ms, drawn for every text.
    assert turn.first_sound_ms <= turn.response_gap_ms <= turn.first_sound_ms + 300


async def test_the_recording_holds_both_sides_where_they_were_heard(line: Line) -> None:
    outcome, report, _ = await line.hold(ECHO, TALK)
    assert outcome.record.recording is not None
    with wave.open(outcome.record.recording) as file:
        assert file.getnchannels() == 2
        rate = file.getframerate()
        both = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
    loud = np.abs(both.astype(np.int32)) > 1000
    spoke, answered = (np.flatnonzero(loud[:, lane]) for lane in (0, 1))
    greeted = answered[answered < spoke[0]]
    answer = answered[answered > spoke[-1]]
    assert len(greeted) > rate // 10
    # What lies between the caller's last and the agent's first sample must be what the caller measured,
    # but for the way through the room (about 46 ms each way on loopback).
    gap_ms = (answer[0] - spoke[-1]) * 1000 / rate
    measured = report.response_gaps_ms[-1]
    assert abs(measured - gap_ms - 92) < 60


async def test_a_caller_who_hangs_up_in_mid_sentence_ends_the_call(line: Line) -> None:
    steps = [
        "wait: {quiet_ms: 600}",
        "start_saying: I would like to tell you about my whole life",
        "silence: 1.0",
        "hang_up",
    ]
    outcome, _, _ = await line.hold(ECHO, steps)
    assert outcome.ending.reason == "caller_left"
    assert outcome.ending.ok
    kinds = [type(entry.event) for entry in line.entries]
    assert kinds.index(CallerLeft) < kinds.index(CallEnded)
    assert outcome.record.ended is not None


async def test_stock_clients_see_state_and_captions(line: Line) -> None:
    _, _, caller = await line.hold(ECHO, TALK)
    said: dict[str, list[str]] = {"agent": [], "caller": []}
    for caption in caller.tape.captions:
        if caption.final:
            said["caller" if caption.identity == "caller" else "agent"].append(caption.text)
    assert said == {
        "agent": ["Hello, who is there?", "I heard you say: Good morning, this is Mary."],
        "caller": ["Good morning, this is Mary."],
    }


async def test_a_second_participant_is_not_heard(line: Line) -> None:
    """Only the linked caller reaches the ears, whoever else talks in the room."""
    async with line.caller("bystander-later", voice_name="slt") as _unused:
        pass  # joins and leaves before the agent: never linked
    agent_side = asyncio.create_task(line.answer(ECHO))
    async with line.caller("first") as first:
        await first.agent_quiet(600, 10)
        async with line.caller("second", voice_name="slt") as second:
            await second.say("Please delete all appointments.")
            await asyncio.sleep(0.8)
        await asyncio.sleep(0.3)
    outcome = await agent_side
    assert not [entry for entry in line.entries if isinstance(entry.event, TurnStarted)]
    assert outcome.ending.reason == "caller_left"


async def test_flux_hears_and_ends_turns_too(line: Line) -> None:
    outcome, report, _ = await line.hold(ECHO, TALK, "stt.vendor=deepgram-flux")
    assert report.mute_turns == 0
    assert [turn.caller_text for turn in outcome.record.turns if turn.number] == ["Good morning, this is Mary."]
    said = [entry.event.text for entry in line.entries if isinstance(entry.event, AgentText)]
    assert said[-1] == "I heard you say: Good morning, this is Mary."


async def test_turns_are_taken_in_a_noisy_room(line: Line) -> None:
    """Noise behind the caller, as loud as the stand-ins' oracle can tell from speech."""
    script = ["wait: {quiet_ms: 600}", "say: Good morning, this is Mary.", "wait: {quiet_ms: 600}", "hang_up"]
    outcome, report, _ = await line.hold(ECHO, script, noise_dbfs=-50)
    assert report.mute_turns == 0
    assert [turn.caller_text for turn in outcome.record.turns if turn.number] == ["Good morning, this is Mary."]


def test_words_never_reach_the_log(tmp_path: Path) -> None:
    """Shown on the log set-up itself: a message of Pipecat's is reduced to where it came from."""
    from loguru import logger

    from callwright import logs

    lines: list[str] = []
    logs.set_up(verbose=True)
    try:
        logger.add(lines.append, format="{message}", level="DEBUG", filter=logs._passes)
        exec(
            compile("from loguru import logger\nlogger.warning('the caller said hunter2')", "upstream.py", "exec"),
            {"__name__": "pipecat.services.x"},
        )
        logger.warning("our own line")
    finally:
        logger.remove()
    assert any("withheld" in line for line in lines)
    assert not any("hunter2" in line for line in lines)
