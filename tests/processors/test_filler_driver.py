"""Fillers on their way to the caller's ear: the real floor, keeper and playback on a clock that passes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMContextUserTurnFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    UserStartedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from test_floor_properties import RATE, Source, VirtualLoop, now

from callwright import Agent, tool
from callwright.filler_lines import BUILT_IN
from callwright.playback import Playback
from callwright.playout import Playout
from callwright.sections import FillerConfig
from callwright.speech import Piece, Role, Say, Utterance, UtteranceEnd
from callwright.speech_queue import Chunk
from processors.filler_driver import FillerDriver
from processors.floor_keeper import FloorKeeper

WORD_MS, PAUSE_MS = 200, 50
LEAD_MS, PIECE_MS = 200, 100


@tool(fillers=("I will check the calendar for that day.",))
async def look() -> str:
    """Look."""
    return ""


@tool
async def end() -> str:
    """End the call."""
    return ""


class Stage:
    """A call from the mind's output to the caller's ear.

    The voice takes `voice_ms` (`answer_ms` for an answer) to its first audio, which is `LEAD_MS` of silence, and `pace`
    times as long as it sounds.
    """

    def __init__(self, voice_ms: int = 20, *, answer_ms: int | None = None, **filler: Any) -> None:
        self.voice_ms = voice_ms
        self.answer_ms = voice_ms if answer_ms is None else answer_ms
        self.pace = 0.0
        self.source = Source(150)
        self.playback = Playback(RATE, self)
        self.playout = Playout(RATE)
        self.rate = RATE
        self.speech: Any = None
        self.room = self
        self.turn = 1
        self.call = SimpleNamespace(ending=False)
        self.clock = SimpleNamespace(monotonic_ns=lambda: round(asyncio.get_running_loop().time() * 1e9))
        self.agent = Agent(name="a", prompt="p", tools=[look, end])
        self.config = SimpleNamespace(
            filler=FillerConfig(**filler), tts=SimpleNamespace(settings={}), stt=SimpleNamespace(settings={})
        )
        self.voice = SimpleNamespace()
        self.notes: list[Any] = []
        self.scribe = SimpleNamespace(interrupted=lambda: None, answering=lambda turn: None, note=self.notes.append)
        self.on_close = lambda closer: None
        self.mind = SimpleNamespace(add_event_handler=lambda name, handler: setattr(self, "ask", handler))
        self.ask: Any = None
        self.tools: dict[str, Any] = {}
        self.keeper = FloorKeeper(self)  # type: ignore[arg-type]
        gate = SimpleNamespace(tell=lambda **told: self.tools.update(told))
        self.driver: Any = FillerDriver(self, self.keeper, gate)  # type: ignore[arg-type]
        self.driver.push_frame = self._pass
        self.driver.queue_frame = lambda frame: self.give(frame)
        self.lines: list[str] = []
        self.passed: list[Frame] = []
        self.words: dict[int, tuple[str, int]] = {}  # number of a word's first sample → word, samples
        self._numbers = count(1000)  # as a sound: all of them are audible
        self._speaking: set[asyncio.Task[None]] = set()

    # the room
    def submitted(self, chunk: Chunk, index: int, queued: int) -> None:
        position = self.playout.submit(chunk.samples + chunk.padding, now=now(), queued=queued)
        self.keeper.submitted(chunk, index, position)

    def played(self, index: int) -> None:
        self.keeper.played(index)

    def silenced(self, index: int, dropped: int) -> None:
        self.keeper.silenced(index)
        self.playout.clear(dropped)

    # what passes the driver
    async def give(self, frame: Frame) -> None:
        await self.driver.process_frame(frame, FrameDirection.DOWNSTREAM)

    async def _pass(self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        self.passed.append(frame)
        if isinstance(frame, Say):
            frame.utterance = self.keeper.open(frame.role, remembered=frame.remembered)
            frame.utterance.text = frame.text
            self.lines.append(frame.text)
            self._speak(frame.utterance, frame)

    def _speak(self, utterance: Utterance, cause: Say | Piece) -> None:
        task = asyncio.ensure_future(self._voice(utterance, cause))
        self._speaking.add(task)

    async def _voice(self, utterance: Utterance, cause: Say | Piece) -> None:
        name = f"stretch {next(self._numbers)}"
        await asyncio.sleep((self.answer_ms if isinstance(cause, Piece) else self.voice_ms) / 1000)
        self.keeper.sent(name, cause)  # only now: at 1 kHz the floor cannot listen, it must be told the words' times
        samples = [0] * LEAD_MS
        timed = []
        for word in cause.text.split():
            start = len(samples)
            numbers = [next(self._numbers) for _ in range(WORD_MS)]
            self.words[numbers[0]] = word, WORD_MS
            samples += [*numbers, *[0] * PAUSE_MS]
            timed.append((word, start / RATE, (start + WORD_MS) / RATE))
        self.keeper.timed(name, timed)
        for at in range(0, len(samples), PIECE_MS):
            pcm = np.array(samples[at : at + PIECE_MS], np.uint16).tobytes()
            self.playback.append(name, pcm, awaited=self.keeper.made(name, pcm))
            if self.pace:
                await asyncio.sleep(self.pace * PIECE_MS / 1000)
        self.keeper.finished(name)
        self.playback.close(name)
        for one in self.keeper.completed(utterance):
            self.playback.close(one, over=True)
        self.playback.mark(UtteranceEnd(utterance))

    # what happens
    async def caller_speaks(self, ms: int = 1000) -> None:
        await self.give(VADUserStartedSpeakingFrame(start_secs=0.2))
        await self.give(UserStartedSpeakingFrame())
        await asyncio.sleep(ms / 1000)

    async def turn_ends(self) -> None:
        """It is 350 ms ago that the caller spoke their last word; the VAD noticed it 150 ms ago."""
        await asyncio.sleep(0.2)
        await self.give(VADUserStoppedSpeakingFrame(stop_secs=0.2))
        await asyncio.sleep(0.15)
        await self.ask(None, LLMContextUserTurnFrame(text="hello", timestamp=""))
        await self.ask(None, LLMContextFrame(LLMContext()))

    async def call_tool(self, seconds: float) -> None:
        self.tools["started"]("1", look)
        await self.give(LLMFullResponseEndFrame())
        await asyncio.sleep(seconds)
        self.tools["ended"]("1")
        await self.ask(None, LLMContextFrame(LLMContext()))

    async def answer(self, text: str, role: Role = "answer") -> None:
        await self.give(LLMTextFrame(text))
        utterance = self.keeper.open(role)
        utterance.text = text
        self._speak(utterance, Piece(text, "sentence", utterance=utterance, end=len(text)))
        await self.give(LLMFullResponseEndFrame())

    # what the caller heard
    def heard(self) -> list[tuple[int, int]]:
        """(when, sample) of all that is not silence."""
        return [(at, sample) for at, sample in self.source.tape if sample]

    def heard_words(self) -> list[str]:
        """Words of which every sample was heard; one that was broken off stands as "(word)"."""
        sounded = {sample for _, sample in self.heard()}
        found = []
        for first, (word, length) in self.words.items():
            part = sum(number in sounded for number in range(first, first + length))
            if part:
                found.append(word if part == length else f"({word})")
        return found

    def silences(self, since: int) -> list[int]:
        times = [since, *sorted({at for at, _ in self.heard() if at >= since})]
        return [b - a for a, b in pairwise(times) if b - a > PAUSE_MS]


def play(stage_of: Callable[[], Stage], story: Callable[[Stage], Awaitable[None]]) -> Stage:
    """Hold the call; afterwards nothing of it is left running."""

    async def hold() -> Stage:
        stage = stage_of()

        async def push(frame: Frame) -> None:
            if isinstance(frame, UtteranceEnd):
                stage.keeper.ended(frame.utterance)

        async def sounding(_: bool) -> None: ...

        player = asyncio.create_task(stage.playback.run(stage.source, push, sounding))
        try:
            await story(stage)
        finally:
            await stage.driver.cleanup()
            for task in (player, *stage._speaking):
                task.cancel()
            ends = await asyncio.gather(player, *stage._speaking, return_exceptions=True)
        assert not [end for end in ends if isinstance(end, Exception)], ends
        stage.source.tape  # noqa: B018  # lets go of what has sounded by now
        return stage

    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(None)
        stage = loop.run_until_complete(hold())
    finally:
        loop.close()
    return stage


def test_during_a_tool_of_four_seconds_the_caller_is_never_left_in_silence() -> None:
    silences: list[int] = []

    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        last_word = now()
        await stage.turn_ends()
        await asyncio.sleep(0.2)
        await stage.call_tool(4)
        await asyncio.sleep(0.6)
        await stage.answer("It is free at nine.")
        await asyncio.sleep(4)
        silences.extend(stage.silences(last_word))

    stage = play(Stage, story)
    assert stage.lines[0] == "I will check the calendar for that day."
    assert len(stage.lines) >= 2
    assert silences[0] <= 760
    assert max(silences) <= 1000
    assert stage.heard_words()[-5:] == ["It", "is", "free", "at", "nine."]
    roles = [note.role for note in stage.notes]
    assert roles == ["filler"] * len(stage.lines) + ["answer"]
    assert not any(note.remembered for note in stage.notes[:-1])


@pytest.mark.parametrize(("pace", "gap_ms"), [(0.0, 100), (0.33, 200)])
@pytest.mark.parametrize("after_ms", range(0, 2000, 130))
def test_an_answer_that_comes_during_a_filler_begins_where_a_word_of_it_ends(
    after_ms: int, pace: float, gap_ms: int
) -> None:
    gaps: list[int] = []

    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        await asyncio.sleep(0.2)
        stage.tools["started"]("1", look)
        while not stage.heard():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(after_ms / 1000)
        stage.tools["ended"]("1")
        await stage.ask(None, LLMContextFrame(LLMContext()))
        began = now()
        stage.pace = pace
        await stage.answer("Nine is free.")
        await asyncio.sleep(4)
        first = min(number for number, (word, _) in stage.words.items() if word == "Nine")
        answered = next(at for at, sample in stage.heard() if sample == first)
        gaps.append(answered - max(at for at, _ in stage.heard() if at < answered))
        gaps.append(answered - began)

    stage = play(Stage, story)
    words = stage.heard_words()
    assert words[-3:] == ["Nine", "is", "free."]
    assert not any(word.startswith("(") for word in words)
    assert gaps[0] <= gap_ms
    assert gaps[1] <= 20 + 150 + WORD_MS + PAUSE_MS + 400  # the voice, the room's queue, a word, or a near end
    filler = stage.notes[0]
    assert filler.role == "filler"
    assert filler.text == " ".join(words[:-3])


def test_a_line_that_does_not_sound_yet_is_dropped_when_the_answers_words_come() -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        stage.tools["started"]("1", look)
        while not stage.lines:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stage.tools["ended"]("1")
        await stage.ask(None, LLMContextFrame(LLMContext()))
        await stage.answer("Nine is free.")
        await asyncio.sleep(4)

    stage = play(lambda: Stage(voice_ms=200), story)
    assert len(stage.lines) == 1
    assert stage.heard_words() == ["Nine", "is", "free."]


def test_a_line_sounds_while_the_voice_is_late_with_an_answer_that_is_still_being_written() -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        await asyncio.sleep(0.3)
        await stage.answer("Nine is free.")
        for _ in range(200):
            await stage.give(LLMTextFrame(" more"))
            await asyncio.sleep(0.01)
        await asyncio.sleep(4)

    stage = play(lambda: Stage(answer_ms=2000), story)
    assert stage.lines
    assert stage.heard_words()[-3:] == ["Nine", "is", "free."]
    assert len(stage.heard_words()) > 3
    assert max(stage.silences(1000)) <= 1650


def test_while_somebody_may_be_speaking_no_line_is_begun() -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        stage.tools["started"]("1", look)
        stage.keeper.hold("maybe speech")
        await asyncio.sleep(1)
        assert not stage.lines
        stage.keeper.release("maybe speech")
        await asyncio.sleep(0.2)
        assert stage.lines

    play(Stage, story)


def test_a_line_over_which_the_caller_takes_the_floor_is_cut_and_none_follows() -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        stage.tools["started"]("1", look)
        await asyncio.sleep(1)
        stage.keeper.cut()
        stage.playback.accept()
        await stage.caller_speaks()
        await asyncio.sleep(5)

    stage = play(Stage, story)
    assert len(stage.lines) == 1
    assert stage.notes[0].interrupted


def test_nothing_is_said_in_a_call_that_is_ending() -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        stage.call.ending = True
        stage.tools["started"]("1", look)
        await asyncio.sleep(5)

    assert play(Stage, story).lines == []


def test_a_tool_that_ends_the_call_gets_no_line() -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        await asyncio.sleep(0.2)
        stage.tools["started"]("1", look)
        stage.call.ending = True  # by the tool; the farewell waits until the model's reply is over
        await asyncio.sleep(0.5)
        await stage.give(Say("Goodbye.", role="farewell"))
        await asyncio.sleep(2)

    stage = play(Stage, story)
    assert stage.lines == ["Goodbye."]
    assert stage.heard_words() == ["Goodbye."]


def test_a_line_that_does_not_sound_yet_is_dropped_when_the_call_lets_something_be_said() -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        stage.tools["started"]("1", look)
        while not stage.lines:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await stage.give(Say("Something went wrong."))
        await asyncio.sleep(1.5)

    stage = play(lambda: Stage(voice_ms=200), story)
    assert stage.lines == ["I will check the calendar for that day.", "Something went wrong."]
    assert stage.heard_words() == ["Something", "went", "wrong."]


@pytest.mark.parametrize("ms", range(0, 200, 20))
def test_a_guess_that_does_not_sound_yet_gives_way_to_what_the_tool_says_of_itself(ms: int) -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        while not stage.lines:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(ms / 1000)
        stage.tools["started"]("1", look)
        await asyncio.sleep(3)

    stage = play(lambda: Stage(voice_ms=200), story)
    assert stage.lines[0] in BUILT_IN["en"].acknowledgements
    assert " ".join(stage.heard_words()).startswith("I will check the calendar")


@pytest.mark.parametrize("ms", range(0, 200, 20))
def test_a_line_that_does_not_sound_yet_is_not_begun_before_a_farewell(ms: int) -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        while not stage.lines:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(ms / 1000)
        stage.tools["started"]("1", end)
        stage.call.ending = True
        stage.tools["ended"]("1")
        await asyncio.sleep(0.4)
        await stage.give(Say("Goodbye.", role="farewell"))
        await asyncio.sleep(2)

    stage = play(lambda: Stage(voice_ms=200), story)
    assert stage.lines[-1] == "Goodbye."
    assert stage.heard_words() == ["Goodbye."]


def test_a_line_that_was_taken_back_on_its_way_to_us_is_not_passed_on() -> None:
    async def story(stage: Stage) -> None:
        queued: list[Frame] = []

        async def late(frame: Frame) -> None:
            queued.append(frame)

        stage.driver.queue_frame = late
        await stage.caller_speaks()
        await stage.turn_ends()
        stage.tools["started"]("1", look)
        while not queued:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await stage.answer("Nine is free.")
        await stage.give(queued[0])
        await asyncio.sleep(2)

    stage = play(Stage, story)
    assert stage.lines == []
    assert stage.heard_words() == ["Nine", "is", "free."]


def test_after_a_line_that_gives_the_answer_up_none_follows() -> None:
    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        await asyncio.sleep(1.5)
        await stage.give(LLMFullResponseEndFrame())
        await stage.give(Say("I could not answer that."))
        await asyncio.sleep(8)

    stage = play(Stage, story)
    assert stage.lines[-1] == "I could not answer that."
    assert len(stage.lines) >= 2
    assert stage.heard_words()[-5:] == ["I", "could", "not", "answer", "that."]


def test_what_is_not_ours_passes() -> None:
    async def story(stage: Stage) -> None:
        await stage.give(Say("Good day.", role="greeting"))
        await stage.give(LLMTextFrame("Hello"))

    assert [type(frame) for frame in play(Stage, story).passed] == [Say, LLMTextFrame]


# -- the hold sound


def test_in_a_long_wait_a_sound_fills_the_silence_and_stops_for_the_answer() -> None:
    silences: list[int] = []

    async def story(stage: Stage) -> None:
        await stage.caller_speaks()
        await stage.turn_ends()
        last_word = now()
        stage.tools["started"]("1", look)
        await asyncio.sleep(12)
        stage.tools["ended"]("1")
        await stage.ask(None, LLMContextFrame(LLMContext()))
        await stage.answer("Nine is free.")
        await asyncio.sleep(6)
        silences.extend(stage.silences(last_word + 4000))

    stage = play(lambda: Stage(hold_sound="soft", hold_after_s=3), story)
    assert stage.heard_words()[-3:] == ["Nine", "is", "free."]
    assert max(silences) <= 400
    assert stage.heard()[-1][0] <= now_of(stage, "free.") + WORD_MS + PAUSE_MS


def now_of(stage: Stage, word: str) -> int:
    first = max(number for number, (found, _) in stage.words.items() if found == word)
    return next(at for at, sample in stage.heard() if sample == first)
