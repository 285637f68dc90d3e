"""Silent at once, decided later: what the caller's sound does to the agent's speech. The clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

from callwright.clock import ManualClock
from processors.interruptions import EARLY_LIMIT_S, EARLY_MS, LATE_MS, Interruptions, Level, Phase
from processors.overlap import Overlap, OverlapWaits
from processors.turns import EndOfTurn, TurnStop, Waits

RATE = 16_000
WAITS = OverlapWaits()
NEAR, SOFT = -20.0, -40.0
"""dB of full scale: the caller, and somebody behind them."""


def pcm(level_db: float, ms: int = 20) -> bytes:
    amplitude = round(32768 * 10 ** (level_db / 20))
    return np.full(RATE * ms // 1000, amplitude, np.int16).tobytes()


@dataclass
class Keeper:
    """Who would silence the agent."""

    log: list[str] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)
    sentence: str = "We open at nine."

    @property
    def floor(self) -> Any:
        return SimpleNamespace(saying=lambda: self.sentence)

    def hold(self, reason: str = "overlap") -> None:
        self.reasons.add(reason)
        self.log.append("hold")

    def release(self, reason: str = "overlap") -> None:
        self.reasons.discard(reason)

    def keep(self, text: str) -> None:
        self.release()

    def cut(self) -> None:
        self.reasons.clear()
        self.log.append("cut")

    @property
    def silent(self) -> bool:
        return bool(self.reasons)


class Scene:
    """An agent that speaks, and what its caller does."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.keeper = Keeper()
        self.meter = SimpleNamespace(speech_ms=0)
        self.call = SimpleNamespace(ending=False)
        self.busy = True
        self.forgotten = 0
        self.turns = 0
        self.resets = 0
        self.speaking = False
        self._early_at = 0.0
        meter: Any = self.meter
        call: Any = self.call
        keeper: Any = self.keeper
        self.start = Interruptions(
            Overlap(WAITS),
            keeper,
            call=call,
            meter=meter,
            rate=RATE,
            clock=self.clock,
            busy=lambda: self.busy,
            forget=self._forget,
        )
        self.start.add_event_handler("on_user_turn_started", self._turn)
        self.start.add_event_handler("on_reset_aggregation", self._reset)

    def _forget(self) -> None:
        self.forgotten += 1

    async def _turn(self, *_: object) -> None:
        self.turns += 1
        await self.start.handle_user_turn_started()

    async def _reset(self, *_: object) -> None:
        self.resets += 1

    @property
    def now(self) -> float:
        return self.clock.monotonic_ns() / 1e6

    def _due_at(self) -> float | None:
        """When the timer of the present phase goes off."""
        if self.start._timer is None:
            return None
        return self._early_at + 1000 * EARLY_LIMIT_S if self._early else self.start._policy.decides_at()

    @property
    def _early(self) -> bool:
        return self.start._phase is Phase.EARLY

    async def wait(self, ms: float) -> None:
        """Time passes; a timer that is due in it goes off."""
        end = self.now + ms
        while (at := self._due_at()) is not None and at <= end:
            self.clock.advance(ms=max(0.0, at - self.now))
            assert self.start._timer is not None
            self.start._timer.cancel()
            if self._early:
                self.start._nothing()
            else:
                self.start._due()
                assert self.start._deciding is not None
                await self.start._deciding
        self.clock.advance(ms=end - self.now)

    async def sound(self, level_db: float, ms: int, *, starting: bool = False) -> None:
        """The microphone delivers; `starting`: Silero begins to take it for speech."""
        for at in range(0, ms, 20):
            self.meter.speech_ms = at + 20 if starting else 200 if self.speaking else 0
            was_early = self._early
            await self.start.process_frame(InputAudioRawFrame(pcm(level_db), RATE, 1))
            if self._early and not was_early:
                self._early_at = self.now
            await self.wait(20)

    async def quiet_again(self) -> None:
        self.meter.speech_ms = 0
        await self.start.process_frame(InputAudioRawFrame(pcm(-90), RATE, 1))

    async def speech(self) -> None:
        """The VAD is sure that somebody speaks."""
        self.speaking, self.meter.speech_ms = True, 200
        await self.start.process_frame(VADUserStartedSpeakingFrame())

    async def silence(self) -> None:
        self.speaking, self.meter.speech_ms = False, 0
        await self.start.process_frame(VADUserStoppedSpeakingFrame())

    async def words(self, text: str, *, final: bool = True) -> None:
        kind = TranscriptionFrame if final else InterimTranscriptionFrame
        await self.start.process_frame(kind(text, "caller", ""))

    async def known_caller(self) -> None:
        """A first turn of the caller, at their usual level; then the agent speaks."""
        self.busy = False
        await self.sound(NEAR, 200)
        await self.speech()
        await self.sound(NEAR, 400)
        await self.silence()
        await self.start.handle_user_turn_stopped()
        await self.sound(-90, 600)
        self.busy = True
        self.turns, self.forgotten = 0, 0
        self.keeper.log.clear()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    try:
        yield made
    finally:
        await made.start.cleanup()


# -- when nobody else has the floor


async def test_an_agent_that_owes_nothing_gives_the_floor_at_once() -> None:
    async with scene() as it:
        it.busy = False
        await it.speech()
        assert (it.turns, it.keeper.log) == (1, ["cut"])


async def test_final_words_alone_begin_a_turn_and_interim_ones_do_not() -> None:
    async with scene() as it:
        it.busy = False
        await it.words("hello", final=False)
        await it.words(" ")
        assert it.turns == 0
        await it.words("Hello.")
        assert it.turns == 1


async def test_the_news_that_there_was_no_word_begins_nothing() -> None:
    async with scene() as it:
        await it.words("")
        assert (it.turns, it.keeper.log, it.forgotten) == (0, [], 0)


async def test_a_cough_that_is_settled_to_be_none_lets_the_agent_go_on_at_once() -> None:
    async with scene() as it:
        await it.sound(NEAR, 120, starting=True)
        await it.speech()
        await it.sound(NEAR, 300)
        await it.silence()
        assert it.keeper.silent
        await it.wait(100)
        await it.words("")
        assert not it.keeper.silent
        assert it.turns == 0


async def test_within_a_turn_nothing_begins_another() -> None:
    async with scene() as it:
        it.busy = False
        await it.speech()
        await it.speech()
        await it.words("Hello.")
        assert (it.turns, it.keeper.log) == (1, ["cut"])


# -- hold first, decide later


async def test_the_agent_is_silent_as_soon_as_it_sounds_like_speech() -> None:
    async with scene() as it:
        await it.sound(NEAR, EARLY_MS - 20, starting=True)
        assert not it.keeper.silent
        await it.sound(NEAR, EARLY_MS + 20, starting=True)
        assert it.keeper.reasons == {"maybe speech"}
        assert it.turns == 0


async def test_it_goes_on_when_that_was_no_speech() -> None:
    async with scene() as it:
        await it.sound(NEAR, 120, starting=True)
        await it.quiet_again()
        assert not it.keeper.silent
        assert (it.turns, it.forgotten) == (0, 0)


async def test_it_goes_on_when_the_microphone_says_nothing_more() -> None:
    async with scene() as it:
        await it.sound(NEAR, 100, starting=True)
        assert it.keeper.silent
        await it.wait(1000 * EARLY_LIMIT_S)  # muted in the middle
        assert not it.keeper.silent
        assert it.turns == 0


async def test_between_maybe_and_surely_the_agent_stays_silent() -> None:
    async with scene() as it:
        await it.sound(NEAR, 120, starting=True)
        await it.speech()
        assert it.keeper.reasons == {"overlap"}


async def test_an_agent_that_is_not_busy_has_nothing_to_hold() -> None:
    async with scene() as it:
        it.busy = False
        await it.sound(NEAR, 160, starting=True)
        assert it.keeper.log == []


async def test_a_backchannel_lets_the_agent_go_on_and_is_no_turn() -> None:
    async with scene() as it:
        await it.speech()
        assert it.keeper.silent
        await it.wait(300)
        await it.silence()
        await it.words("Uh-huh.")
        assert not it.keeper.silent
        assert (it.turns, it.forgotten, it.resets) == (0, 1, 1)
        assert "cut" not in it.keeper.log


async def test_words_take_the_floor_at_once() -> None:
    async with scene() as it:
        await it.speech()
        await it.wait(250)
        await it.words("wait", final=False)
        assert (it.turns, it.keeper.log) == (1, ["hold", "cut"])
        assert not it.keeper.silent


async def test_a_cough_lets_the_agent_go_on_when_no_words_come() -> None:
    async with scene() as it:
        await it.speech()
        await it.wait(300)
        await it.silence()
        await it.wait(WAITS.words_ms - 1)
        assert it.keeper.silent
        await it.wait(1)
        assert not it.keeper.silent
        assert (it.turns, it.forgotten) == (0, 1)


async def test_speech_that_nobody_can_write_takes_the_floor_in_the_end() -> None:
    async with scene() as it:
        await it.speech()
        await it.wait(WAITS.wordless_ms - 1)
        assert it.turns == 0
        await it.wait(1)
        assert (it.turns, it.keeper.log[-1]) == (1, "cut")


async def test_an_answer_to_the_agents_question_takes_the_floor() -> None:
    async with scene() as it:
        it.keeper.sentence = "“Shall I book it?” "
        await it.speech()
        await it.wait(200)
        await it.silence()
        await it.words("Yes.")
        assert it.turns == 1


async def test_each_sound_is_held_anew() -> None:
    async with scene() as it:
        for _ in range(2):
            await it.speech()
            assert it.keeper.silent
            await it.wait(200)
            await it.silence()
            await it.words("Mhm.")
            assert not it.keeper.silent
            await it.wait(LATE_MS + 1)
        assert it.keeper.log == ["hold", "hold"]


# -- words that come late, or without a sound


async def test_words_that_come_after_the_agent_went_on_still_take_the_floor() -> None:
    async with scene() as it:
        await it.speech()
        await it.wait(300)
        await it.silence()
        await it.wait(WAITS.words_ms + 500)
        assert not it.keeper.silent
        await it.words("Stop, please.")
        assert (it.turns, it.keeper.log[-1]) == (1, "cut")


async def test_harmless_words_that_come_late_change_nothing() -> None:
    async with scene() as it:
        await it.speech()
        await it.wait(300)
        await it.silence()
        await it.wait(WAITS.words_ms + 500)
        await it.words("Uh-huh.")
        assert it.turns == 0
        assert not it.keeper.silent


async def test_words_of_a_sound_too_soft_to_be_noticed_take_the_floor() -> None:
    async with scene() as it:
        await it.words("stop", final=False)
        assert (it.turns, it.keeper.log[-1]) == (1, "cut")


async def test_the_last_words_of_an_overlap_do_not_speak_for_the_next() -> None:
    async with scene() as it:
        await it.speech()
        await it.wait(300)
        await it.silence()
        await it.words("Okay.")
        await it.wait(LATE_MS + 1)
        await it.speech()
        assert it.turns == 0
        assert it.keeper.silent


# -- other voices


async def test_a_soft_voice_never_silences_the_agent() -> None:
    async with scene() as it:
        await it.known_caller()
        await it.sound(SOFT, 200, starting=True)
        await it.speech()
        await it.sound(SOFT, 600)
        await it.words("so I told her no, wait until Tuesday")
        await it.silence()
        await it.wait(3000)
        assert it.keeper.log == []
        assert it.turns == 0


async def test_the_caller_at_their_usual_level_does() -> None:
    async with scene() as it:
        await it.known_caller()
        await it.sound(NEAR - 6, 200, starting=True)
        assert it.keeper.silent
        await it.speech()
        await it.words("wait", final=False)
        assert it.turns == 1


async def test_soft_words_turn_out_to_be_the_callers_when_they_get_loud() -> None:
    async with scene() as it:
        await it.known_caller()
        await it.sound(SOFT, 200, starting=True)
        await it.speech()
        await it.words("can you tell me", final=False)
        assert it.turns == 0
        await it.sound(NEAR, 200)
        assert it.keeper.log == ["cut"]
        assert it.turns == 1


@pytest.mark.parametrize("below_db", [13, 14])
async def test_a_voice_that_is_not_the_callers_silences_the_agent_once_at_most(below_db: float) -> None:
    """Between the two thresholds it may be held at first; once it is known to be another's it is not held again."""
    async with scene() as it:
        await it.known_caller()
        await it.sound(NEAR - below_db, 200, starting=True)
        await it.speech()
        await it.sound(NEAR - below_db, 3000)
        assert it.keeper.log.count("hold") <= 1
        assert not it.keeper.silent


async def test_soft_words_of_long_ago_are_not_made_the_callers_by_a_cough() -> None:
    async with scene() as it:
        await it.known_caller()
        await it.sound(SOFT, 200, starting=True)
        await it.speech()
        await it.words("so I told her until Tuesday")
        await it.silence()
        await it.sound(-90, 10_000)
        await it.sound(NEAR, 100)  # shorter than what the VAD would notice
        assert it.turns == 0
        assert "cut" not in it.keeper.log


def test_a_level_is_measured_by_whole_syllables() -> None:
    level = Level(RATE)
    level.feed(pcm(NEAR, 200))
    level.begin()
    assert level.below_db is None  # no caller is known yet
    level.learn()
    for _ in range(30):
        level.feed(pcm(-90))
    level.begin()
    level.feed(pcm(SOFT, 200))
    below = level.below_db
    assert below is not None
    assert below == pytest.approx(20, abs=0.5)
    level.feed(pcm(NEAR, 200))
    assert level.below_db == pytest.approx(0, abs=0.5)
    level.feed(b"")


# -- at the end of the call


async def test_an_ending_call_is_neither_held_nor_interrupted() -> None:
    async with scene() as it:
        it.call.ending = True
        await it.sound(NEAR, 160, starting=True)
        assert it.keeper.log == []
        await it.speech()
        await it.words("stop")
        assert it.turns == 0
        assert not it.keeper.silent
        assert "cut" not in it.keeper.log


async def test_a_call_that_begins_to_end_while_it_is_held_goes_on() -> None:
    async with scene() as it:
        await it.speech()
        assert it.keeper.silent
        it.call.ending = True
        await it.silence()
        assert not it.keeper.silent


async def test_nothing_goes_off_after_clean_up() -> None:
    async with scene() as it:
        await it.speech()
        assert it.start._timer is not None
        await it.start.cleanup()
        assert it.start._timer is None


# -- the end of a turn that was granted late


async def _ended(stop: TurnStop) -> bool:
    ended = asyncio.Event()

    async def note(*_: object) -> None:
        ended.set()

    stop.add_event_handler("on_user_turn_stopped", note)
    await stop.handle_user_turn_started()
    for _ in range(5):
        await asyncio.sleep(0)
    try:
        async with asyncio.timeout(0.2):
            await ended.wait()
    except TimeoutError:
        pass
    await stop.cleanup()
    return ended.is_set()


def _stop(clock: ManualClock, expected_by: Callable[[], float | None] = lambda: None) -> TurnStop:
    meter: Any = SimpleNamespace(pause_ms=0)
    return TurnStop(EndOfTurn(Waits()), meter=meter, model=None, early_ms=100, clock=clock, expected_by=expected_by)


async def test_a_turn_granted_after_its_final_transcript_still_ends() -> None:
    clock = ManualClock()
    stop = _stop(clock)
    await stop.process_frame(VADUserStartedSpeakingFrame())
    clock.advance(ms=600)
    await stop.process_frame(VADUserStoppedSpeakingFrame())
    clock.advance(ms=50)
    frame = TranscriptionFrame("Stop, please.", "caller", "")
    frame.finalized = True
    await stop.process_frame(frame)
    clock.advance(ms=1000)
    assert await _ended(stop)


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_turn_does_not_end_while_its_words_are_on_their_way(awaited: bool) -> None:
    clock = ManualClock()
    stop = _stop(clock, lambda: clock.monotonic_ns() / 1e6 + 500 if awaited else None)
    await stop.process_frame(VADUserStartedSpeakingFrame())
    await stop.process_frame(VADUserStoppedSpeakingFrame())
    clock.advance(ms=5000)
    assert await _ended(stop) is not awaited


async def test_the_news_that_there_was_no_word_is_no_pause_of_a_turn() -> None:
    clock = ManualClock()
    stop = _stop(clock)
    frame = TranscriptionFrame("", "caller", "")
    frame.finalized = True
    await stop.process_frame(frame)
    clock.advance(ms=5000)
    assert not await _ended(stop)


async def test_a_turn_granted_while_the_caller_still_speaks_does_not_end() -> None:
    clock = ManualClock()
    stop = _stop(clock)
    await stop.process_frame(VADUserStartedSpeakingFrame())
    clock.advance(ms=600)
    assert not await _ended(stop)


async def test_a_turn_granted_to_late_words_of_a_sound_that_was_forgotten_ends() -> None:
    clock = ManualClock()
    stop = _stop(clock)
    await stop.process_frame(VADUserStartedSpeakingFrame())
    await stop.process_frame(VADUserStoppedSpeakingFrame())
    stop._policy.begin()  # the agent went on: it was no part of a turn
    clock.advance(ms=500)
    frame = TranscriptionFrame("Stop, please.", "caller", "")
    frame.finalized = True
    await stop.process_frame(frame)
    assert await _ended(stop)
