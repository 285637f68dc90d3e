"""Not a word of the caller is lost or doubled when their recogniser fails: scripted vendors, on a virtual clock.

Every 20 ms of speech are one word, its number; so a transcript says which audio its vendor was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    ProposedUserStartedSpeakingFrame,
    StartFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams
from pipecat.utils.errors import ErrorCategory
from virtual_time import LoopClock, virtually

from callwright.failover.branch import Branch
from callwright.failover.ears import Ears
from callwright.failover.ears_watch import EarsWaits
from callwright.records import events
from callwright.stage import Stage, StageConfig

RATE, FRAME = 16_000, 320
NOBODY = cast("PipelineWorker", None)
LINE = (StageConfig(vendor="deepgram", model="a"), StageConfig(vendor="deepgram", model="b"))
FLUX = (StageConfig(vendor="deepgram-flux", model="a"), StageConfig(vendor="deepgram", model="b"))


@dataclass(frozen=True)
class Manner:
    """How one connection of a vendor behaves."""

    connects_s: float = 0.1
    refuses: ErrorCategory | None = None
    answers_s: float = 0.2
    mute: bool = False  # takes everything, and never a word
    empty: bool = False  # finds no words in anything
    takes_back: bool = False  # shows words, and in the end there are none
    breaks_at: int = 0  # the connection is gone after so many frames of speech, 0: never
    tells: bool = True  # that it is gone
    spans: bool = True  # whether its finals say which audio they cover
    cuts_every: int = 0  # a final in mid-speech after so many frames
    twice: bool = False  # says every final twice
    twitches: bool = False  # proposes turns of its own, and on a broken connection half a turn


class Recogniser(STTService):
    """A scripted vendor on Pipecat's own base class."""

    def __init__(self, name: str, manner: Manner, log: list[str]) -> None:
        super().__init__(
            sample_rate=RATE, ttfs_p99_latency=0.3, settings=STTSettings(model=name, language=None), name=name
        )
        self._manner = manner
        self._log = log
        self._connection: object | None = None
        self._words: list[int] = []
        self._received = self._covered = self._frames = 0
        self._answers: set[asyncio.Task[None]] = set()

    def can_generate_metrics(self) -> bool:
        return True

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await super().setup(setup)
        self._log.append(f"{self.name} connects")
        await asyncio.sleep(self._manner.connects_s)
        if self._manner.refuses:
            await self.push_error("refused", category=self._manner.refuses)
        else:
            self._connection = object()

    async def cleanup(self) -> None:
        await super().cleanup()
        for task in self._answers:
            task.cancel()
        self._log.append(f"{self.name} closed")

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        if self._connection is not None:
            await self._listen(audio)
        yield None

    async def _listen(self, audio: bytes) -> None:
        samples = np.frombuffer(audio, np.int16)
        self._received += len(samples)
        if not samples.any():
            return
        self._words.append(int(samples[-1]))
        self._frames += 1
        if self._manner.twitches:
            await self.broadcast_frame(ProposedUserStartedSpeakingFrame)
        if self._frames == self._manner.breaks_at:
            self._connection = None
            if self._manner.twitches:
                await self.push_frame(TranscriptionFrame(self._take(), "", ""))
            if self._manner.tells:
                await self.push_error("gone", category=ErrorCategory.CONNECTIVITY)
        elif not self._manner.mute and self._manner.cuts_every and self._frames % self._manner.cuts_every == 0:
            await self._final(self._take())
        elif not (self._manner.mute or self._manner.empty) and self._frames % 25 == 0:
            await self.push_frame(InterimTranscriptionFrame(" ".join(map(str, self._words)), "", ""))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame) and self._connection is not None and not self._manner.mute:
            self.request_finalize()
            task = asyncio.create_task(self._answer(self._take(), self._received))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    def _take(self) -> str:
        words, self._words = self._words, []
        return " ".join(map(str, words))

    async def _answer(self, text: str, reach: int) -> None:
        await asyncio.sleep(self._manner.answers_s)
        self.confirm_finalize()
        await self._final("" if self._manner.empty or self._manner.takes_back else text, reach)

    async def _final(self, text: str, reach: int | None = None) -> None:
        reach = self._received if reach is None else reach
        start, self._covered = self._covered, reach
        span = SimpleNamespace(start=start / RATE, duration=(reach - start) / RATE) if self._manner.spans else None
        await self.emit_stt_usage_metrics()
        for _ in range(2 if self._manner.twice else 1):
            await self.push_frame(TranscriptionFrame(text, "", "", result=span))


@dataclass
class Scribe:
    turn: int = 1
    events: list[events.Event] = field(default_factory=list)
    serving: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def note(self, event: events.Event) -> None:
        self.events.append(event)

    def serves(self, stage: Stage, config: StageConfig, error: str | None = None) -> None:
        self.serving.append(config.model)

    def used(self, stage: Stage, config: StageConfig, quantities: dict[str, float]) -> None:
        self.seconds[config.model] = self.seconds.get(config.model, 0) + quantities["audio_seconds"]

    @property
    def troubles(self) -> list[tuple[str, str]]:
        return [(one.what, one.action) for one in self.events if isinstance(one, events.StageTroubled)]


@dataclass
class Owner:
    failures: list[tuple[str, str, bool]] = field(default_factory=list)
    gave_up: list[tuple[int, bool]] = field(default_factory=list)

    def ears_failed(self, config: StageConfig, category: str, *, permanent: bool) -> None:
        self.failures.append((config.model, category, permanent))

    def ears_gave_up(self, times: int, *, permanent: bool) -> None:
        self.gave_up.append((times, permanent))


class Scene:
    """A caller, and ears whose vendors behave as scripted, connection after connection (the last manner stays)."""

    def __init__(self, line: tuple[StageConfig, ...] = LINE, **manners: Any) -> None:
        self.scribe, self.owner = Scribe(), Owner()
        self.log: list[str] = []
        self.clock = LoopClock()
        self.out: list[Frame] = []
        self.finals: list[tuple[float, TranscriptionFrame]] = []
        self._manners = {one.model: list(manners.get(one.model, [Manner()])) for one in line}
        self._made: dict[str, int] = {}
        self.ears = Ears(
            line, self._build, EarsWaits(), rate=RATE, scribe=self.scribe, owner=self.owner, clock=self.clock
        )
        self._branch = Branch(self.ears, self._pushed)
        self.word = 0

    def _build(self, config: StageConfig) -> STTService:
        manners = self._manners[config.model]
        number = self._made[config.model] = self._made.get(config.model, 0) + 1
        return Recogniser(f"{config.model}{number}", manners[min(number, len(manners)) - 1], self.log)

    async def _pushed(self, _: Branch, frame: Frame, direction: FrameDirection) -> None:
        self.out.append(frame)
        if isinstance(frame, TranscriptionFrame):
            self.finals.append((asyncio.get_running_loop().time(), frame))

    async def __aenter__(self) -> Scene:
        tasks = TaskManager()
        tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
        setup = FrameProcessorSetup(
            clock=SystemClock(), task_manager=tasks, pipeline_worker=NOBODY, enable_usage_metrics=True
        )
        await self._branch.setup(setup)
        await self._branch.send(StartFrame(enable_metrics=True, enable_usage_metrics=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._branch.send(CancelFrame())
        await asyncio.sleep(0.1)
        await self._branch.cleanup()

    async def _frame(self, value: int) -> None:
        await self._branch.send(InputAudioRawFrame(np.full(FRAME, value, np.int16).tobytes(), RATE, 1))
        await asyncio.sleep(0.02)

    async def silence(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            await self._frame(0)

    async def say(self, seconds: float) -> None:
        """Speech, as the VAD tells of it: 200 ms late at both ends."""
        frames = round(seconds * 50)
        for number in range(frames):
            if number == 10:
                await self._branch.send(VADUserStartedSpeakingFrame(start_secs=0.2), FrameDirection.UPSTREAM)
            self.word += 1
            await self._frame(self.word)
        await self.silence(0.2)
        await self._branch.send(VADUserStoppedSpeakingFrame(stop_secs=0.2), FrameDirection.UPSTREAM)

    @property
    def heard(self) -> list[int]:
        return [int(word) for _, frame in self.finals for word in frame.text.split()]

    @property
    def said(self) -> list[int]:
        return list(range(1, self.word + 1))


def play(scene: Callable[[Scene], Awaitable[None]], line: tuple[StageConfig, ...] = LINE, **options: Any) -> Scene:
    async def held() -> Scene:
        async with Scene(line, **options) as made:
            await scene(made)
        return made

    return virtually(held())


async def two_turns(scene: Scene) -> None:
    await scene.silence(1)
    await scene.say(2)
    await scene.silence(3)
    await scene.say(1.5)
    await scene.silence(3)


def test_a_good_vendor_is_heard_and_the_other_is_not_even_connected() -> None:
    scene = play(two_turns)
    assert scene.heard == scene.said
    assert scene.log == ["a1 connects", "a1 closed"]
    assert scene.scribe.troubles == []
    audio = [frame for frame in scene.out if isinstance(frame, InputAudioRawFrame)]
    assert len(audio) == (1 + 2 + 0.2 + 3 + 1.5 + 0.2 + 3) * 50  # it all went on, once


FAULTS = {
    "it is mute": Manner(mute=True),
    "it refuses": Manner(refuses=ErrorCategory.SERVER),
    "it limits the rate": Manner(refuses=ErrorCategory.RATE_LIMIT),
    "it refuses the key": Manner(refuses=ErrorCategory.AUTHENTICATION),
    "it never connects": Manner(connects_s=1000),
    "it breaks at the first word": Manner(breaks_at=1),
    "it breaks in mid-speech": Manner(breaks_at=40),
    "it breaks at the last word": Manner(breaks_at=100),
    "it breaks without a word about it": Manner(breaks_at=40, tells=False),
    "it breaks in the second turn": Manner(breaks_at=120),
    "it breaks behind a part of the words": Manner(breaks_at=70, cuts_every=30),
    "it breaks behind a part that it said twice": Manner(breaks_at=70, cuts_every=30, twice=True),
    "it answers after a minute": Manner(answers_s=60),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("spans", [True, False])
def test_no_word_is_lost_or_doubled_whatever_one_vendor_does(fault: str, spans: bool) -> None:
    if not spans and FAULTS[fault].cuts_every:
        pytest.skip("where a part ends is not known then")
    scene = play(two_turns, a=[replace(FAULTS[fault], spans=spans)])
    assert scene.heard == scene.said
    assert scene.owner.gave_up == []
    assert "next" in {action for _, action in scene.scribe.troubles}


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "it refuses the key"])
def test_a_vendor_alone_is_connected_again_and_told_what_it_missed(fault: str) -> None:
    scene = play(two_turns, LINE[:1], a=[FAULTS[fault], Manner()])
    assert scene.heard == scene.said
    assert scene.owner.gave_up == []
    assert {action for _, action in scene.scribe.troubles} == {"retry"}


def test_failover_adds_less_than_a_second_to_a_turn() -> None:
    async def turn(scene: Scene) -> None:
        await scene.silence(1)
        await scene.say(3)
        await scene.silence(4)

    ends = []
    for manner in (Manner(), Manner(mute=True), Manner(breaks_at=149)):
        scene = play(turn, a=[manner])
        assert scene.heard == scene.said
        ends.append(scene.finals[-1][0])
    assert ends[1] - ends[0] <= 1.0
    assert ends[2] - ends[0] <= 0.2


def test_what_a_vendor_says_after_it_was_left_is_not_heard() -> None:
    scene = play(two_turns, a=[Manner(answers_s=1.0)])
    assert scene.heard == scene.said
    assert ("no_transcript", "next") in scene.scribe.troubles


def test_the_words_are_expected_until_they_are_there() -> None:
    async def turn(scene: Scene) -> None:
        await scene.say(2)
        await scene.silence(0.02)
        waits = 0
        while (by := scene.ears.expected_by()) is not None:
            now = scene.clock.monotonic_ns() / 1e6
            assert by > now
            await scene.silence((by - now) / 1000 + 0.02)
            waits += 1
        assert scene.heard == scene.said
        assert waits > 1

    play(turn, a=[Manner(mute=True)])


def test_two_clear_utterances_without_a_word_are_doubted_and_the_second_is_given_to_the_next() -> None:
    scene = play(two_turns, a=[Manner(empty=True)])
    texts = [frame.text for _, frame in scene.finals]
    assert texts[0] == ""
    assert scene.heard == scene.said[100:]
    assert scene.scribe.troubles == [("empty", "next")]


def test_words_that_were_shown_and_taken_back_are_asked_of_the_next() -> None:
    scene = play(two_turns, a=[Manner(takes_back=True)])
    assert scene.heard == scene.said
    assert scene.scribe.troubles == [("empty", "next")]


def test_when_nobody_can_hear_the_caller_is_asked_again_and_then_it_is_over() -> None:
    async def turns(scene: Scene) -> None:
        for _ in range(2):
            await scene.say(1)
            await scene.silence(9)

    scene = play(turns, a=[Manner(mute=True)], b=[Manner(mute=True)])
    assert scene.owner.gave_up == [(1, False), (2, False)]
    assert scene.heard == []


def test_what_was_given_up_is_not_said_when_a_vendor_works_again() -> None:
    async def turns(scene: Scene) -> None:
        await scene.say(1)
        await scene.silence(9)
        await scene.say(1)
        await scene.silence(3)

    scene = play(turns, LINE[:1], a=[Manner(mute=True)] * 3 + [Manner()])
    assert scene.owner.gave_up == [(1, False)]
    assert scene.heard == scene.said[50:]


def test_a_key_that_is_refused_everywhere_is_told_at_once() -> None:
    async def quiet(scene: Scene) -> None:
        await scene.silence(2)

    refused = [Manner(refuses=ErrorCategory.AUTHENTICATION)]
    scene = play(quiet, a=refused, b=refused)
    assert scene.owner.failures == [("a", "authentication", True), ("b", "authentication", True)]
    assert scene.owner.gave_up == [(1, True)]


def test_the_first_choice_comes_back_between_two_turns() -> None:
    async def call(scene: Scene) -> None:
        await two_turns(scene)
        await scene.say(1)
        await scene.silence(2)

    scene = play(call, a=[Manner(breaks_at=10), Manner()])
    assert scene.heard == scene.said
    assert scene.scribe.serving == ["a", "b", "a"]


def test_who_judges_turns_by_itself_does_not_disturb_them_as_a_stand_in() -> None:
    scene = play(two_turns, (LINE[0], FLUX[0].model_copy(update={"model": "b"})), a=[Manner(mute=True)],
                 b=[Manner(twitches=True, spans=False)])  # fmt: skip
    assert scene.heard == scene.said
    assert not any(isinstance(frame, ProposedUserStartedSpeakingFrame) for frame in scene.out)


def test_half_a_turn_of_a_broken_connection_is_not_said_twice() -> None:
    scene = play(two_turns, FLUX, a=[Manner(twitches=True, spans=False, breaks_at=60)])
    assert scene.heard == scene.said


def test_each_vendor_is_charged_with_the_audio_that_it_was_given() -> None:
    async def turn(scene: Scene) -> None:
        await scene.silence(1)
        await scene.say(2)
        await scene.silence(2)

    scene = play(turn, a=[Manner(breaks_at=40)])
    run_in = 0.8  # the caller's first 200 ms are not known to be speech, and are within the second that is kept
    assert scene.scribe.seconds["a"] == pytest.approx(1 + 0.8, abs=0.05)
    assert scene.scribe.seconds["b"] == pytest.approx(run_in + 2 + 0.2 + 2, abs=0.05)
