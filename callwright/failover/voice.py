"""The voices: one place in the pipeline, behind it all who can speak, and the lines that need nobody.

    clauses ──► Voices ──► room
                │    ▲
      one text  ▼    │  its sound, and no other
               seats, one of them at a time

What comes in leaves in the same order, sound in the place of its text. One thing is said at a time; when its voice
is in trouble, what the floor says was not said goes to the next one, as a further stretch of the same utterance.
A line rendered beforehand sounds at once; a filler does so even ahead of an answer that does not sound yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    AggregatedTextFrame,
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    MetricsFrame,
    StartFrame,
    SystemFrame,
    TextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTSUsageMetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.utils.errors import ErrorCategory

from callwright.clock import Clock
from callwright.failover.breaker import order
from callwright.failover.seat import Seat
from callwright.failover.utterance import Spoken
from callwright.failover.voice_watch import Take, Troubles, What
from callwright.pace import letters
from callwright.sections import WatchConfig
from callwright.speech import Piece, Say, UtteranceEnd
from callwright.stage import StageConfig

LOOK_S = 0.04
"""How often the watch looks when nothing comes."""
QUIET = 100
"""Peak of 16-bit samples, -50 dBFS: a chunk below it is a pause."""
LINE_CHUNK_MS = 200
_OURS = (TTSStartedFrame, TTSAudioRawFrame, TTSStoppedFrame, TTSTextFrame)


class Keeper(Protocol):
    """Who keeps the floor; told what goes to the voices and what comes of it."""

    def sent(self, stretch: str, cause: Piece | Say) -> None:
        """The text of `cause` is about to be said as (part of) `stretch`."""
        ...

    def timed(self, stretch: str, words: Sequence[tuple[str, float, float | None]]) -> None:
        """Words of a stretch as (text, start, end) in seconds from its first sample; end None if it is not known."""
        ...

    def unsaid(self, stretch: str, samples: int) -> str | None:
        """What of its text does not stand with its first `samples`; None where no words were timed."""
        ...

    def withdraw(self, stretch: str, samples: int) -> int | None:
        """The voice makes only `samples` of it. How many characters of its utterance stand; None if it is unknown."""
        ...


class Witness(Protocol):
    """Who writes down what the voices do."""

    def voice_asked(self, voice: StageConfig) -> None:
        """A text was given to it."""
        ...

    def voice_sounds(self) -> None:
        """The first audio of that text has come."""
        ...

    def voice_ended(self, error: str | None) -> None:
        """It is over with that text; `error` says why before its end."""
        ...

    def voice_used(self, voice: StageConfig, characters: int) -> None:
        """It reports that it was given so many characters."""
        ...

    def voice_troubled(self, voice: StageConfig, what: What, waited_ms: int, action: str, category: str | None) -> None:
        """It was in trouble, and what was done; `category` (Pipecat's `ErrorCategory`) where it said why."""
        ...


class Lines(Protocol):
    """Lines rendered beforehand."""

    def find(self, text: str) -> bytes | None:
        """The line as s16le mono at the room's rate."""
        ...


GaveUp = Callable[[int, bool, StageConfig, str], None]
"""Told that a text could not be said by anyone: how many in a row now, whether none of the voices ever will, and who
failed last and why (Pipecat's `ErrorCategory`, or what was wrong)."""


class _Attempt:
    """A seat at work on a text."""

    def __init__(self, seat: Seat, spoken: Spoken, watch: Take) -> None:
        self.seat = seat
        self.spoken = spoken
        self.watch = watch
        self.start = spoken.given
        self.stretch: str | None = None
        self.samples = 0
        self.sent = 0  # characters that went to the vendor under that stretch
        self.opened = self.closed = self.lost = False
        self.inbox: asyncio.Queue[Frame | str | None] = asyncio.Queue()


class Voices(FrameProcessor):
    """All voices of a call. `store_ms` says how much agent sound the caller has still to hear."""

    listener: Keeper | None = None

    def __init__(
        self,
        seats: Sequence[Seat],
        lines: Lines,
        limits: WatchConfig,
        clock: Clock,
        *,
        rate: int,
        store_ms: Callable[[], float],
        witness: Witness,
        gave_up: GaveUp,
    ) -> None:
        super().__init__()
        self.seats = tuple(seats)
        self._lines = lines
        self._limits = limits
        self._clock = clock
        self._rate = rate
        self._store_ms = store_ms
        self._witness = witness
        self._gave_up = gave_up
        self._failed_in_a_row = 0
        self._jobs: deque[Frame | Spoken | tuple[Say, bytes]] = deque()
        self._news = asyncio.Event()
        self._open: Spoken | None = None  # the one that text is added to
        self._attempt: _Attempt | None = None
        self._ahead: set[int] = set()  # utterances that were said ahead of their place
        self._start: asyncio.Future[StartFrame] | None = None
        self._working: asyncio.Task[None] | None = None
        self._opening: list[asyncio.Task[None]] = []
        for seat in self.seats:
            seat.belong(self)

    @property
    def sample_rate(self) -> int:
        """That of the voices in Hz; the first wrong one, if there is one."""
        rates = [seat.voice.sample_rate for seat in self.seats]
        return next((rate for rate in rates if rate not in (0, self._rate)), self._rate)

    # -- its life

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as Pipecat's own does
        await super().setup(setup)
        self._start = asyncio.get_running_loop().create_future()
        started = self._started
        self._opening = [self.create_task(seat.open(setup, started), "open voice") for seat in self.seats]

    async def _started(self) -> StartFrame:
        assert self._start
        return await asyncio.shield(self._start)

    async def cleanup(self) -> None:
        await self._stop_work()
        for task in self._opening:
            await self.cancel_task(task)
        self._opening = []
        for seat in self.seats:
            await seat.close()
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction is FrameDirection.UPSTREAM:
            await self.push_frame(frame, direction)
        elif isinstance(frame, StartFrame):
            await self.push_frame(frame, direction)
            if self._start and not self._start.done():
                self._start.set_result(frame)
            self._begin_work()
        elif isinstance(frame, InterruptionFrame):
            await self._interrupt()
            await self.push_frame(frame, direction)
            self._begin_work()
        elif isinstance(frame, CancelFrame):
            await self._stop_work()
            await asyncio.gather(*(seat.leave(frame) for seat in self.seats))
            await self.push_frame(frame, direction)
        elif isinstance(frame, SystemFrame):
            await self.push_frame(frame, direction)
        else:
            await self._take_in(frame)

    async def _take_in(self, frame: Frame) -> None:
        """A frame that has its place among what is said."""
        if isinstance(frame, TTSSpeakFrame):
            await self._take_in_line(frame)
        elif isinstance(frame, TextFrame) and not frame.skip_tts and not isinstance(frame, TranscriptionFrame):
            if self._open is None:  # text on its own
                loose = Spoken()
                loose.add(frame)
                loose.end()
                self._queue(loose)
            else:
                self._open.add(frame)
                self._poke()
        elif isinstance(frame, UtteranceEnd) and id(frame.utterance) in self._ahead:
            self._ahead.discard(id(frame.utterance))
            await self.push_frame(frame)
        else:
            if isinstance(frame, LLMFullResponseEndFrame | LLMFullResponseStartFrame | EndFrame) and self._open:
                self._open.end()
                self._open = None
                self._poke()
            self._queue(frame)
            if isinstance(frame, LLMFullResponseStartFrame) and not frame.skip_tts:
                self._open = Spoken()
                self._queue(self._open)

    async def _take_in_line(self, frame: TTSSpeakFrame) -> None:
        say = frame if isinstance(frame, Say) and frame.utterance else None
        line = self._lines.find(frame.text) if say else None
        waits = bool(self._jobs) and isinstance(self._jobs[0], Spoken)
        if say and say.role == "filler" and waits and (line is None or self._sounding):
            return  # it would come behind what it is to bridge the wait for
        if say is None or line is None:
            self._queue(Spoken.line(frame))
        elif say.role == "filler" and waits:
            self._ahead.add(id(say.utterance))
            await self._recite(say, line)
        else:
            self._queue((say, line))

    @property
    def _sounding(self) -> bool:
        return self._attempt is not None and self._attempt.watch.sounded

    def _queue(self, job: Frame | Spoken | tuple[Say, bytes]) -> None:
        self._jobs.append(job)
        self._news.set()

    def _poke(self) -> None:
        if self._attempt:
            self._attempt.inbox.put_nowait(None)

    # -- one thing after the other

    def _begin_work(self) -> None:
        if self._working is None:
            self._working = self.create_task(self._work(), "voices")

    async def _stop_work(self) -> None:
        working, self._working = self._working, None
        if working is not None:
            await self.cancel_task(working)

    async def _interrupt(self) -> None:
        """Drop all that is said or waits to be; a vendor at work is told, and not waited for."""
        attempt = self._attempt
        await self._stop_work()
        if attempt:
            self._witness.voice_ended("interrupted")
            if attempt.opened:
                await attempt.seat.send(InterruptionFrame())
        self._open = None
        self._ahead.clear()
        kept = [job for job in self._jobs if isinstance(job, Frame) and not job.interruptible]
        self._jobs = deque(kept)
        self._news.set()

    async def _work(self) -> None:
        while True:
            while self._jobs:
                try:
                    await self._do(self._jobs[0])
                except Exception as bug:  # one text is lost; the agent must not be mute for the rest of the call
                    logger.opt(exception=bug).debug("a text was not said")
                    await self.push_error(f"a text was not said ({type(bug).__name__})")
                self._jobs.popleft()
            self._news.clear()
            await self._news.wait()

    async def _do(self, job: Frame | Spoken | tuple[Say, bytes]) -> None:
        if isinstance(job, Spoken):
            await self._say(job)
        elif isinstance(job, tuple):
            await self._recite(*job)
        else:
            if isinstance(job, EndFrame):
                await asyncio.gather(*(seat.leave(job) for seat in self.seats))
            elif isinstance(job, TTSUpdateSettingsFrame):
                await self.seats[0].send(job)
            await self.push_frame(job)

    # -- lines

    async def _recite(self, say: Say, pcm: bytes) -> None:
        """A line rendered beforehand, without a vendor."""
        stretch = f"line-{uuid.uuid4()}"
        if self.listener:
            self.listener.sent(stretch, say)
        await self.push_frame(TTSStartedFrame(context_id=stretch))
        step = 2 * self._rate * LINE_CHUNK_MS // 1000
        for at in range(0, len(pcm), step):
            await self.push_frame(TTSAudioRawFrame(pcm[at : at + step], self._rate, 1, context_id=stretch))
        await self.push_frame(TTSStoppedFrame(context_id=stretch))

    # -- texts

    async def _say(self, spoken: Spoken) -> None:
        """Have a text said to its end, by whoever can."""
        troubles = Troubles(self._limits)
        seat: Seat | None = None
        while True:
            while not spoken.waiting:
                if spoken.ended:
                    return
                spoken.news.clear()
                await spoken.news.wait()
            seat = seat or self.seats[self._order()[0]]
            if (found := await self._attempt_at(spoken, seat, troubles)) is None:
                self._failed_in_a_row = 0
                continue
            what, waited_ms, category = found
            now = self._now()
            seat.breaker.failed(now, category or what)
            barred = {one.number for one in self.seats if one.breaker.permanent}
            verdict = troubles.trouble(now, seat.number, waited_ms, self._order(), barred)
            self._witness.voice_troubled(seat.config, what, round(waited_ms), verdict.action, category)
            if verdict.vendor is None:
                self._failed_in_a_row += 1
                for_good = len(barred) == len(self.seats)
                self._gave_up(self._failed_in_a_row, for_good, seat.config, category or what)
                return
            seat = self.seats[verdict.vendor]

    def _order(self) -> list[int]:
        return order([seat.breaker for seat in self.seats], self._now())

    async def _attempt_at(
        self, spoken: Spoken, seat: Seat, troubles: Troubles
    ) -> tuple[What, float, str | None] | None:
        """Let `seat` say what waits; None when it has, or rests; else (what was wrong, since when in ms, category)."""
        attempt = self._attempt = _Attempt(seat, spoken, Take(troubles.patience, seat.pace))
        self._witness.voice_asked(seat.config)
        try:
            found: What | str | None = "working"
            category: str | None = None
            while found == "working":
                await self._give(attempt)
                item: Frame | str | None = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        item = await attempt.inbox.get()
                if isinstance(item, ErrorFrame):
                    category = item.category.value if isinstance(item.category, ErrorCategory) else "unknown"
                    found = "dropped" if attempt.lost else "refused"
                elif isinstance(item, str):
                    found = self._broken_off(attempt)
                elif isinstance(item, TTSStoppedFrame):
                    found = attempt.watch.done(self._unsaid(attempt))
                elif item is not None:
                    await self._hear(attempt, item, troubles)
                else:
                    found = self._look(attempt)
            waited_ms = attempt.watch.waited_ms(self._now())
            return await self._conclude(attempt, found, waited_ms, category)
        finally:
            self._attempt = None

    async def _give(self, attempt: _Attempt) -> None:
        """Bring the voice all the text that there is, and its end."""
        seat, spoken, now = attempt.seat, attempt.spoken, self._now()
        if not seat.ready.is_set():  # it still connects: patience, but no more than with one that is silent
            attempt.watch.due(now, letters(spoken.text[attempt.start :]))
            return
        if not attempt.opened:
            attempt.opened = True
            await seat.wake()
            await seat.send(LLMFullResponseStartFrame())
        if (piece := spoken.take()) is not None:
            piece.metadata["attempt"] = attempt
            await seat.send(piece)
        if spoken.ended and not attempt.closed:
            attempt.closed = True
            attempt.watch.ended()
            await seat.send(LLMFullResponseEndFrame())
        attempt.watch.due(now, spoken.due(attempt.start, by_piece=seat.by_piece))

    async def _hear(self, attempt: _Attempt, frame: Frame, troubles: Troubles) -> None:
        if isinstance(frame, TTSAudioRawFrame):
            samples = np.frombuffer(frame.audio, dtype="<i2")
            sounding = bool(len(samples)) and int(np.abs(samples.astype(np.int32)).max()) >= QUIET
            if not attempt.samples:
                self._witness.voice_sounds()
            attempt.samples += len(samples)
            attempt.watch.audio(self._now(), len(samples) * 1000 / self._rate, sounding=sounding)
            if attempt.watch.sounded and sounding:
                troubles.sounded()
        await self.push_frame(frame)

    def _look(self, attempt: _Attempt) -> What | str | None:
        found = attempt.watch.look(self._now(), self._store_ms())
        if found == "over":
            return self._broken_off(attempt)
        return found or "working"

    def _broken_off(self, attempt: _Attempt) -> What | None:
        """There is no end marker: whether something is missing all the same."""
        unsaid = self._unsaid(attempt)
        missing = attempt.watch.owes if unsaid is None else unsaid > 0
        return "dropped" if missing or not attempt.watch.sounded else None

    def _unsaid(self, attempt: _Attempt) -> int | None:
        """Letters that the voice did not come to; None where it does not tell."""
        if self.listener is None or attempt.stretch is None:
            return None
        unsaid = self.listener.unsaid(attempt.stretch, attempt.samples)
        return None if unsaid is None else letters(unsaid)

    async def _conclude(
        self, attempt: _Attempt, found: What | str | None, waited_ms: float, category: str | None
    ) -> tuple[What, float, str | None] | None:
        seat, spoken = attempt.seat, attempt.spoken
        self._witness.voice_ended(None if found is None else str(found))
        if found is None:
            seat.breaker.worked()
            if attempt.stretch is not None:
                await self.push_frame(TTSStoppedFrame(context_id=attempt.stretch))
            spoken.given = attempt.start + attempt.sent
            if not attempt.closed or spoken.waiting:  # what follows is a new request
                await seat.send(InterruptionFrame())
            return None
        spoken.given = attempt.start
        if attempt.stretch is not None:
            stands = self.listener.withdraw(attempt.stretch, attempt.samples) if self.listener else None
            if stands is not None:
                spoken.given = max(attempt.start, min(stands, len(spoken.text)))
            elif attempt.samples:
                spoken.given = len(spoken.text)  # nobody knows which words: rather none twice
            await self.push_frame(TTSStoppedFrame(context_id=attempt.stretch))
        if attempt.opened:
            await seat.begin_afresh()
        return found, waited_ms, category  # type: ignore[return-value]  # "working" has ended

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e6

    # -- what the seats tell (seat.Owner)

    async def pushed(self, seat: Seat, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, MetricsFrame):
            for data in frame.data:
                if isinstance(data, TTSUsageMetricsData):
                    self._witness.voice_used(seat.config, data.value)
            await self.push_frame(frame)
            return
        attempt = self._attempt
        if attempt is None or attempt.seat is not seat:
            return
        if isinstance(frame, AggregatedTextFrame) and self._caused(frame):
            attempt.stretch = attempt.stretch or frame.context_id  # it goes ahead of its sound
        if isinstance(frame, ErrorFrame):
            unknown = frame.category is ErrorCategory.UNKNOWN
            attempt.lost = frame.category is ErrorCategory.CONNECTIVITY or (unknown and seat.voice.lost)
        own = isinstance(frame, _OURS) and frame.context_id is not None and frame.context_id == attempt.stretch
        if own or isinstance(frame, ErrorFrame):
            attempt.inbox.put_nowait(frame)

    def sent(self, seat: Seat, stretch: str, cause: Frame) -> None:
        attempt = self._attempt
        if attempt is None or not self._caused(cause):
            return
        attempt.stretch = attempt.stretch or stretch
        if attempt.stretch != stretch or not isinstance(cause, AggregatedTextFrame):
            return
        attempt.sent += len(cause.text)
        if self.listener and isinstance(cause, Piece):
            self.listener.sent(stretch, cause)

    def _caused(self, frame: Frame) -> bool:
        return frame.metadata.get("attempt") is self._attempt

    def timed(self, seat: Seat, stretch: str, words: Sequence[tuple[str, float, float | None]]) -> None:
        if self.listener and self._attempt and self._attempt.seat is seat and self._attempt.stretch == stretch:
            self.listener.timed(stretch, words)

    def over(self, seat: Seat, stretch: str) -> None:
        attempt = self._attempt
        if attempt and attempt.seat is seat and attempt.stretch == stretch:
            attempt.inbox.put_nowait(stretch)
