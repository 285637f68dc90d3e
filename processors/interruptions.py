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
from enum import Enum

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
from callwright.upstream.ears import SpeechMeter
from processors.floor_keeper import FloorKeeper
from processors.overlap import Overlap, Verdict

EARLY_MS = 60
"""The agent falls silent when it has sounded like speech for so long: two windows of Silero, 165 ms after the first
audible sample at the median and 217 at the 95th percentile (24 interruptions in 4 flite voices); waiting for the
VAD's own 200 ms would make it 296 and 595. If that was no speech after all, it goes on where it stopped."""

EARLY_LIMIT_S = 0.3
"""By then it is speech by the VAD's own count, or it never was: a caller who mutes in the middle sends nothing more."""

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


class Phase(Enum):
    """Where things stand between the caller's voice and the agent's."""

    IDLE = "idle"
    EARLY = "early"  # the agent is silent for something that may become speech
    OVERLAP = "overlap"  # the caller speaks over the agent; whose turn it is is not decided
    LATE = "late"  # it was decided for the agent; words of that sound may still come
    TURN = "turn"  # the caller's turn is under way


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
        self._phase = Phase.IDLE
        self._late_until = 0.0
        self._speech_ms = 0
        self._words = ""  # as recognised last, of the present overlap
        self._timer: asyncio.TimerHandle | None = None
        self._deciding: asyncio.Task[ProcessFrameResult] | None = None

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e6

    async def handle_user_turn_started(self) -> None:
        self._enter(Phase.TURN)

    async def handle_user_turn_stopped(self) -> None:
        self._enter(Phase.IDLE)
        self._level.learn()

    async def cleanup(self) -> None:
        self._enter(Phase.IDLE)
        if self._deciding and not self._deciding.done():
            self._deciding.cancel()
        await super().cleanup()  # type: ignore[no-untyped-call]

    def _enter(self, phase: Phase) -> None:
        """A phase has at most one timer, and it ends with the phase."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._phase = phase

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        if self._phase is Phase.LATE and self._now() >= self._late_until:
            self._enter(Phase.IDLE)
        if isinstance(frame, InputAudioRawFrame):
            self._level.feed(frame.audio)
            return await self._hear()
        if self._phase is Phase.TURN:
            return ProcessFrameResult.CONTINUE
        if isinstance(frame, VADUserStartedSpeakingFrame):
            if self._phase is Phase.OVERLAP:
                self._policy.speech_started(self._now())
            elif self._busy():
                self._begin()
            else:
                return await self._take()
            return await self._decide()
        if isinstance(frame, VADUserStoppedSpeakingFrame) and self._phase is Phase.OVERLAP:
            self._policy.speech_stopped(self._now())
            return await self._decide()
        if isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame):
            return await self._read(frame.text, final=isinstance(frame, TranscriptionFrame))
        return ProcessFrameResult.CONTINUE

    async def _hear(self) -> ProcessFrameResult:
        """More of the caller's sound, 20 ms of it."""
        before, self._speech_ms = self._speech_ms, self._meter.speech_ms
        if self._phase is Phase.EARLY and self._meter.speech_ms == 0:
            self._nothing()
        elif self._phase in (Phase.OVERLAP, Phase.LATE) and (below_db := self._level.below_db) is not None:
            self._policy.level(below_db)  # it may get loud only now
            if self._phase is Phase.OVERLAP or self._policy.verdict(self._now()) is Verdict.YIELD:
                return await self._decide()
        if (
            self._phase in (Phase.IDLE, Phase.LATE)
            and before < EARLY_MS <= self._speech_ms  # a sound that was already judged is not judged again
            and self._busy()
            and not self._call.ending
        ):
            self._level.begin()
            if (self._level.below_db or 0.0) < EARLY_DB:
                self._enter(Phase.EARLY)
                self._keeper.hold("maybe speech")
                self._timer = asyncio.get_running_loop().call_later(EARLY_LIMIT_S, self._nothing)
        return ProcessFrameResult.CONTINUE

    def _nothing(self) -> None:
        """It was no speech, or it can no longer be told."""
        if self._phase is Phase.EARLY:
            self._enter(Phase.IDLE)
        self._keeper.release("maybe speech")

    def _begin(self) -> None:
        self._enter(Phase.OVERLAP)
        self._words = ""
        self._level.begin()
        asking = self._keeper.floor.saying().rstrip("\"'”’)] ").endswith("?")
        self._policy.begin(self._now(), asking=asking, below_db=self._level.below_db)
        if self._policy.verdict(self._now()) is Verdict.HOLD:
            self._keeper.hold("overlap")
        self._keeper.release("maybe speech")

    async def _read(self, text: str, *, final: bool) -> ProcessFrameResult:
        """Words were recognised, or it is settled that there were none."""
        if self._phase in (Phase.IDLE, Phase.EARLY):
            if not text.strip():
                return ProcessFrameResult.CONTINUE
            if not self._busy():
                return await self._take() if final else ProcessFrameResult.CONTINUE
            self._begin()  # words of a sound that was too soft to be noticed
            self._policy.speech_stopped(self._now())
        self._words = text or self._words
        self._policy.transcript(text, self._now(), final=final)
        return await self._decide()

    async def _decide(self) -> ProcessFrameResult:
        """Do what the policy says."""
        if self._phase not in (Phase.OVERLAP, Phase.LATE):
            return ProcessFrameResult.CONTINUE
        verdict = Verdict.RESUME if self._call.ending else self._policy.verdict(self._now())
        if verdict is Verdict.YIELD:
            return await self._take()
        if verdict is Verdict.RESUME:
            if self._phase is Phase.OVERLAP:
                self._enter(Phase.LATE)
                self._late_until = self._now() + LATE_MS
                self._keeper.keep(self._words)
            self._forget()
            await self.trigger_reset_aggregation()  # type: ignore[no-untyped-call]
        elif (at := self._policy.decides_at()) is not None:
            self._enter(Phase.OVERLAP)
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._now()) / 1000, self._due)
        return ProcessFrameResult.CONTINUE

    def _due(self) -> None:
        self._deciding = asyncio.ensure_future(self._decide())

    async def _take(self) -> ProcessFrameResult:
        """The caller has the floor."""
        if self._phase is Phase.IDLE:
            self._level.begin()
        self._keeper.cut()
        await self.trigger_user_turn_started()
        return ProcessFrameResult.STOP
