"""The simulated caller in a real room, against an agent that answers with a tone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import numpy as np
import pytest
from livekit import rtc
from room_agent import ToneAgent, ToneVoice

from callwright.simulators.account import Utterance as Announcement
from callwright.simulators.caller import FRAME, QUEUE_MS, RATE, TICK, Caller
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit import LiveKitKeys, LiveKitServer, token
from callwright.simulators.play import run_script
from callwright.simulators.script import Step, parse
from callwright.simulators.sound import last, onset
from callwright.simulators.tape import Caption

ROOM = "room"
KEYS = LiveKitKeys("ws://127.0.0.1:1", "key", "secret-of-at-least-thirty-two-characters")


@pytest.fixture(autouse=True)
def binding_is_quiet() -> Iterator[None]:
    """What the binding logs, it logs from threads of its own, which Python then takes for threads left behind."""
    logger = logging.getLogger("livekit")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.fixture
async def server() -> AsyncIterator[LiveKitServer]:
    async with LiveKitServer() as running:
        yield running


def caller(
    server: LiveKitServer,
    *,
    announce: Callable[[Announcement], Awaitable[None]] | None = None,
    on_caption: Callable[[Caption], None] | None = None,
    noise_dbfs: float | None = None,
    identity: str = "caller",
) -> Caller:
    return Caller(
        server.url,
        token(server, ROOM, identity),
        voice=ToneVoice(),
        announce=announce,
        on_caption=on_caption,
        noise_dbfs=noise_dbfs,
    )


async def test_a_whole_script_is_played_and_reported(server: LiveKitServer) -> None:
    script = parse(
        """
        steps:
          - wait: agent_done
          - say: "one two three"
          - wait: agent_done
          - say: "four five"
          - wait: {agent_words: 1}
          - talk_over: "no wait"
          - wait: agent_done
          - dtmf: "1#"
          - hang_up
        """
    )
    seen: list[Step] = []
    async with (
        ToneAgent(server, ROOM, greeting_s=0.5, answer_s=1.5, stops_s=0.2) as agent,
        caller(server) as person,
    ):
        await person.agent_joined()
        report = await run_script(script, person, lambda _number, step: seen.append(step))
        assert agent.dtmf == ["1", "#"]
    assert seen == list(script.steps)
    assert (report.ended, report.steps_done, report.unsaid) == ("caller", 9, 0)
    assert [turn.text for turn in report.turns] == ["one two three", "four five", "no wait"]
    assert report.mute_turns == report.mute_waits == 0
    # 300 ms of the agent's own delay, two crossings, and the 40 ms its source holds ahead
    assert all(300 < gap < 900 for gap in report.response_gaps_ms)
    assert len(report.response_gaps_ms) == 3


async def test_what_is_said_is_on_the_tape_to_the_sample(server: LiveKitServer) -> None:
    async with caller(server) as person:
        utterance = await person.say("one two three")
        await person.pause(0.2)
        sent = person.tape.sent_samples()
        (placed,) = person.tape.utterances
    assert utterance.end - utterance.start == round(0.6 * RATE)
    assert [word.text for word in placed.words] == ["one", "two", "three"]
    assert onset(sent, RATE, placed.start - RATE // 10) in range(placed.start - TICK, placed.start + TICK)
    assert last(sent, RATE) in range(placed.end - TICK, placed.end + TICK + 1)


async def test_saying_returns_when_the_last_sample_has_left(server: LiveKitServer) -> None:
    async with caller(server) as person:
        utterance = await person.say("one two three")
        assert abs(person.tape.now() - utterance.end) < 0.06 * RATE


async def test_the_source_lets_go_of_samples_when_the_tape_says_so() -> None:
    """The contract with the binding behind `TICK`: one capture returns one tick before its sample goes out."""
    source = rtc.AudioSource(RATE, 1, queue_size_ms=QUEUE_MS)
    track = rtc.LocalAudioTrack.create_audio_track("own", source)
    stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
    came: list[float] = []

    async def listen() -> None:
        async for event in stream:
            samples = np.frombuffer(event.frame.data, np.int16)
            if samples[0] > 0:  # every sample carries the number of its millisecond
                came.append(time.monotonic() - (int(samples[0]) - 1) / 1000)

    listening = asyncio.create_task(listen())
    numbered = (np.arange(RATE) // (RATE // 1000) + 1).astype(np.int16)
    modelled = []
    for at in range(0, RATE, FRAME):
        await source.capture_frame(rtc.AudioFrame(numbered[at : at + FRAME].tobytes(), RATE, 1, FRAME))
        modelled.append(time.monotonic() + TICK / RATE - (at + FRAME - QUEUE_MS * RATE // 1000) / RATE)
    listening.cancel()
    await stream.aclose()
    await source.aclose()
    assert min(modelled) == pytest.approx(min(came), abs=0.003)


async def test_sound_takes_as_long_to_each_of_two_listeners(server: LiveKitServer) -> None:
    async with caller(server) as speaker, caller(server, identity="listener") as listener:
        await asyncio.gather(speaker.agent_joined(), listener.agent_joined())
        await speaker.pause(0.5)
        said = await speaker.say("one")
        await listener.pause(0.4)
        left = listener.tape.position(speaker.tape.seconds(said.start))
        heard = onset(listener.tape.heard_samples(), RATE, max(0, left))
    assert heard is not None
    assert 0.015 < (heard - left) / RATE < 0.25


async def test_an_announcement_comes_before_the_sound(server: LiveKitServer) -> None:
    told: list[tuple[float, Announcement]] = []

    async def announce(what: Announcement) -> None:
        told.append((time.monotonic(), what))

    async with caller(server, announce=announce) as person:
        said = await person.say("yes please")
        cough = await person.cough()
        starts = [person.tape.seconds(said.start), person.tape.seconds(cough.start)]
    (first_at, first), (second_at, second) = told
    assert [word.word for word in first.words] == ["yes", "please"]
    assert first.words[1].start == pytest.approx(0.2, abs=0.001)
    assert first.duration == pytest.approx(0.4, abs=0.001)
    assert (second.text, second.words) == ("", ())
    assert first_at <= starts[0]
    assert second_at <= starts[1]


async def test_an_agent_that_never_answers_is_a_mute_wait(server: LiveKitServer) -> None:
    async with ToneAgent(server, ROOM, answers=False), caller(server) as person:
        await person.agent_joined()
        report = await run_script(parse("steps: [{say: hello}, {wait: {timeout_s: 5.2}}, hang_up]"), person)
    assert (report.mute_waits, report.mute_turns) == (1, 1)
    assert report.steps_done == 3


async def test_no_agent_at_all_is_one_line(server: LiveKitServer) -> None:
    async with caller(server) as person:
        with pytest.raises(SimulatorError, match=r"no agent came into room 'room' within 0 s; is one running"):
            await person.agent_joined(0.3)


async def test_an_agent_that_leaves_ends_the_script(server: LiveKitServer) -> None:
    script = parse("steps: [{say: hello}, {wait: {timeout_s: 30}}, {say: still there}, hang_up]")
    async with ToneAgent(server, ROOM, answers=False) as agent, caller(server) as person:
        await person.agent_joined()
        playing = asyncio.create_task(run_script(script, person))
        await person.pause(0.5)
        await agent.leave()
        report = await asyncio.wait_for(playing, 5)
    assert report.ended == "agent left"
    assert (report.steps_done, report.unsaid) == (1, 1)


async def test_hanging_up_in_mid_word_ends_at_once(server: LiveKitServer) -> None:
    script = parse("steps: [{start_saying: one two three four five six seven}, {silence: 0.5}, hang_up]")
    async with caller(server) as person:
        started = time.monotonic()
        report = await run_script(script, person)
        assert time.monotonic() - started < 1.5
    assert report.ended == "caller"
    assert person.tape.utterances[0].text.startswith("one")


async def test_waiting_for_what_can_no_longer_be_said_is_an_error(server: LiveKitServer) -> None:
    async with caller(server) as person:
        saying = await person.start_say("one two three four five")
        await person.hang_up()
        with pytest.raises(SimulatorError, match="the call ended"):
            await saying.done()
        with pytest.raises(SimulatorError, match="the call is over"):
            await person.say("hello")


async def test_captions_are_read_as_they_come(server: LiveKitServer) -> None:
    seen: list[Caption] = []
    complete = asyncio.Event()

    def note(caption: Caption) -> None:
        seen.append(caption)
        if caption.final:
            complete.set()

    async with ToneAgent(server, ROOM) as agent, caller(server, on_caption=note) as person:
        await person.agent_joined()
        await agent.caption("Hello there friend")
        await asyncio.wait_for(complete.wait(), 5)
    assert seen[-1].text.strip() == "Hello there friend"
    assert seen[-1].identity == "agent"
    assert person.captions == seen


async def test_another_person_in_the_room_is_not_taken_for_the_agent(server: LiveKitServer) -> None:
    async with (
        ToneAgent(server, ROOM, answers=False),
        ToneAgent(server, ROOM, kind="standard", identity="guest", greeting_s=30.0),
        caller(server) as person,
    ):
        await person.agent_joined()
        await person.pause(1.0)
        assert not person.agent_sounding
        assert onset(person.tape.heard_samples("guest"), RATE) is not None


async def test_background_noise_is_as_loud_as_asked_for(server: LiveKitServer) -> None:
    async with caller(server, noise_dbfs=-50) as person:
        await person.pause(0.5)
        sent = person.tape.sent_samples()[-RATE // 4 :].astype(float)
    assert 20 * np.log10(np.sqrt(np.mean(sent**2)) / 32768) == pytest.approx(-50, abs=2)


async def test_a_refused_token_says_so_and_is_nowhere_to_be_read(server: LiveKitServer) -> None:
    signed = token(LiveKitKeys(server.url, server.api_key, "x" * 40), ROOM, "caller")
    with pytest.raises(SimulatorError, match="refuses the token: check LIVEKIT_API_KEY") as refused:
        async with Caller(server.url, signed, voice=ToneVoice()):
            pass
    assert signed not in str(refused.value)


def test_a_token_in_the_bindings_log_is_blotted_out(caplog: pytest.LogCaptureFixture) -> None:
    signed = token(KEYS, ROOM, "caller")
    Caller(KEYS.url, signed, voice=ToneVoice())
    logging.getLogger("livekit").critical("401 Unauthorized - invalid token: %s, error: signature", signed)
    assert "invalid token: …, error" in caplog.text
    assert signed.split(".")[1] not in caplog.text


async def test_a_server_that_is_not_there_is_one_line(server: LiveKitServer) -> None:
    await server.stop()
    with pytest.raises(SimulatorError, match=r"nothing answers at ws://127\.0\.0\.1"):
        async with caller(server):
            pass


async def test_a_server_that_dies_ends_the_call(server: LiveKitServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callwright.simulators.caller.RECONNECT_LIMIT_S", 0.5)
    async with ToneAgent(server, ROOM, answers=False), caller(server) as person:
        await person.agent_joined()
        await server.stop()
        assert not await asyncio.wait_for(person.agent_quiet(timeout_s=30), 10)
        assert person.ended is not None
        assert person.ended.startswith("room closed")


async def test_a_state_the_agent_had_before_we_came_is_known(server: LiveKitServer) -> None:
    async with ToneAgent(server, ROOM, greeting_s=1.0) as agent:
        await agent.room.local_participant.set_attributes({"lk.agent.state": "thinking"})
        async with caller(server) as person:
            await person.agent_joined()
            assert not await person.agent_quiet(quiet_ms=100, longest_s=2.0)
            await agent.room.local_participant.set_attributes({"lk.agent.state": "listening"})
            assert await person.agent_quiet(quiet_ms=100, longest_s=2.0)


async def test_what_the_agent_understood_is_not_what_the_agent_said(server: LiveKitServer) -> None:
    seen: asyncio.Queue[Caption] = asyncio.Queue()
    async with ToneAgent(server, ROOM) as agent, caller(server, on_caption=seen.put_nowait) as person:
        await person.agent_joined()
        await person.say("hello")  # the agent answers: it knows our track
        await person.agent_quiet(quiet_ms=100)
        (mine,) = agent.room.remote_participants["caller"].track_publications
        await agent.caption("Good morning", track=mine)
        assert (await asyncio.wait_for(seen.get(), 5)).identity == "caller"
