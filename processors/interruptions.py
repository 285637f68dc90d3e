"""Interruptions: what happens when the caller speaks while the agent does, or while it is thinking.

The agent is silenced the moment speech is noticed, before anybody is asked. The policy (`overlap.py`) then
says whether the caller takes the floor, or the agent goes on with the word that was broken off.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import deque
from collections.abc import Callable

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.turns.types import ProcessFrameResult
from pipecat.turns.user_start.base_user_turn_start_strategy import BaseUserTurnStartStrategy

from callwright.clock import Clock
from callwright.tools import Call
from callwright.upstream import SpeechMeter
from processors.floor_keeper import FloorKeeper
from processors.overlap import Overlap, Verdict

EARLY_MS = 60
"""The agent falls silent when it has sounded like speech for so long: two windows of Silero, 165 ms after the first
audible sample at the median and 217 at the 95th percentile (24 interruptions in 4 flite voices); waiting for the
VAD's own 200 ms would make it 296 and 595. If that was no speech after all, it goes on where it stopped."""

EARLY_DB = 15.0
"""What is softer than the caller by this much is not: background voices lay 15 dB and more below, the caller's own
beginnings 9 dB at most (bench overlap's set, flite voices)."""

LATE_MS = 1500.0
"""Words that come this much after the agent went on still belong to the sound that had silenced it."""


class Level:
    """How loud the caller is, against how loud they usually are. Levels in dB of full scale, of whole syllables.

    Fed with frames of any length; a syllable is taken as 200 ms, and what sounded 300 ms before `begin` still
    counts, for that long speech lasts before it is noticed.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._recent: deque[tuple[float, int]] = deque()  # (energy, samples) of the last frames
        self._lately: deque[float] = deque(maxlen=15)
        self._usual: deque[float] = deque(maxlen=8)
        self._loudest = -math.inf

    def feed(self, pcm: bytes) -> None:
        samples = np.frombuffer(pcm, np.int16).astype(np.float64)
        if not len(samples):
            return
        self._recent.append((float(np.sum(samples * samples)), len(samples)))
        while len(self._recent) > 1 and sum(n for _, n in self._recent) > self._rate // 5:
            self._recent.popleft()
        energy, count = map(sum, zip(*self._recent, strict=True))
        level = 10 * math.log10(max(energy / count, 1.0) / 32768**2)
        self._lately.append(level)
        self._loudest = max(self._loudest, level)

    def begin(self) -> None:
        """A new sound has begun."""
        self._loudest = max(self._lately, default=-math.inf)

    def learn(self) -> None:
        """The sound that is ending was the caller's own speech."""
        if self._loudest > -math.inf:
            self._usual.append(self._loudest)

    @property
    def below_db(self) -> float | None:
        """How much softer the present sound is than the caller's usual speech; None before any was learned."""
        return statistics.median(self._usual) - self._loudest if self._usual else None


class Interruptions(BaseUserTurnStartStrategy):
    """Begins the caller's turns: at once when nobody else has the floor, else when the policy says so."""

    def __init__(
        self,
        policy: Overlap,
        keeper: FloorKeeper,
        *,
        call: Call,
        meter: SpeechMeter,
        rate: int,
        clock: Clock,
        busy: Callable[[], bool],
        forget: Callable[[], None],
    ) -> None:
        """`busy`: the agent speaks or owes an answer. `forget`: what was said was no part of a turn."""
        super().__init__()
        self._policy = policy
        self._keeper = keeper
        self._call = call
        self._meter = meter
        self._clock = clock
        self._busy = busy
        self._forget = forget
        self._level = Level(rate)
        self._in_turn = False
        self._open = False  # an overlap is undecided
        self._late = False  # it was decided for the agent, but words may still come
        self._resumed_at = 0.0
        self._early = False  # the agent is silent for something that may become speech
        self._timer: asyncio.TimerHandle | None = None
        self._deciding: asyncio.Task[ProcessFrameResult] | None = None

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e6

    async def handle_user_turn_started(self) -> None:
        self._in_turn, self._open, self._late, self._early = True, False, False, False
        self._cancel_timer()

    async def handle_user_turn_stopped(self) -> None:
        self._in_turn = False
        self._level.learn()

    async def cleanup(self) -> None:
        self._cancel_timer()
        if self._deciding and not self._deciding.done():
            self._deciding.cancel()
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        if isinstance(frame, InputAudioRawFrame):
            self._level.feed(frame.audio)
            self._listen_early()
            below_db = self._level.below_db
            if below_db is None or not (self._open or self._late):
                return ProcessFrameResult.CONTINUE
            self._policy.level(below_db)
        elif self._in_turn:
            return ProcessFrameResult.CONTINUE
        elif isinstance(frame, VADUserStartedSpeakingFrame):
            if not self._open and not self._busy():
                return await self._take()
            self._begin() if not self._open else self._policy.speech_started(self._now())
            if self._policy.verdict(self._now()) is Verdict.HOLD:
                self._keeper.hold()
            self._drop_early()
        elif isinstance(frame, VADUserStoppedSpeakingFrame) and self._open:
            self._policy.speech_stopped(self._now())
        elif isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame):
            final = isinstance(frame, TranscriptionFrame)
            self._late &= self._now() < self._resumed_at + LATE_MS
            if not self._open and not self._late:
                if not self._busy():
                    return await self._take() if final and frame.text.strip() else ProcessFrameResult.CONTINUE
                self._begin()  # words of a sound that was too soft to be noticed
                self._policy.speech_stopped(self._now())
            self._policy.transcript(frame.text, self._now(), final=final)
            return await self._decide(words=True)
        else:
            return ProcessFrameResult.CONTINUE
        return await self._decide()

    def _listen_early(self) -> None:
        if self._early:
            if self._meter.starting_ms == 0:
                self._drop_early()
        elif not self._in_turn and not self._open and self._meter.starting_ms >= EARLY_MS and self._busy():
            self._level.begin()
            if (self._level.below_db or 0.0) < EARLY_DB and not self._call.ending:
                self._early = True
                self._keeper.hold("maybe speech")

    def _drop_early(self) -> None:
        if self._early:
            self._early = False
            self._keeper.release("maybe speech")

    def _begin(self) -> None:
        self._open, self._late = True, False
        self._level.begin()
        asking = self._keeper.floor.saying().rstrip("\"'”’)] ").endswith("?")
        self._policy.begin(self._now(), asking=asking, below_db=self._level.below_db)

    async def _decide(self, *, words: bool = False) -> ProcessFrameResult:
        """Do what the policy says; `words`: some were just recognised."""
        self._cancel_timer()
        verdict = Verdict.RESUME if self._call.ending else self._policy.verdict(self._now())
        if verdict is Verdict.YIELD:
            return await self._take()
        if verdict is Verdict.RESUME and (self._open or words):
            if self._open:
                self._open, self._late, self._resumed_at = False, True, self._now()
                self._keeper.release()
            self._forget()
            await self.trigger_reset_aggregation()  # type: ignore[no-untyped-call]
        if (at := self._policy.decides_at()) is not None and self._open:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._now()) / 1000, self._due)
        return ProcessFrameResult.CONTINUE

    def _due(self) -> None:
        self._timer = None
        self._deciding = asyncio.ensure_future(self._decide())

    async def _take(self) -> ProcessFrameResult:
        """The caller has the floor."""
        if not self._open and not self._late:
            self._level.begin()
        self._keeper.cut()
        await self.trigger_user_turn_started()
        return ProcessFrameResult.STOP

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
