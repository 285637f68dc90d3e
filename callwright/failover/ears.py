"""The ears of a call: one recogniser at work, another when it fails, and no word of the caller lost between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    MetricsFrame,
    StartFrame,
    STTUpdateSettingsFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import STTUsageMetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.stt_service import STTService
from pipecat.utils.errors import ErrorCategory

from callwright.clock import Clock
from callwright.failover.backlog import Backlog
from callwright.failover.ears_leg import CLOSE_S, Leg
from callwright.failover.ears_watch import EarsWaits, EarsWatch, Failed, GiveUp, Use
from callwright.records import events
from callwright.stage import Stage, StageConfig
from callwright.upstream.ears import is_settled
from callwright.vendors import find

RUN_IN_MS = 1000.0
"""Of sound that is kept while nobody speaks: the beginning of speech is noticed 200 ms late, a soft one later."""

SETTLES_BY_MS = 5000.0
"""Flux ends a turn that it is not sure of after so much silence, unless `eot_timeout_ms` says otherwise."""

_ALSO = (InterruptionFrame, UserStoppedSpeakingFrame, STTUpdateSettingsFrame)
_GIVEN = (
    StartFrame,
    EndFrame,
    CancelFrame,
    InputAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
"""What a service is given and passes on: it comes back here, and goes no further, because it has gone on already."""


class Scribe(Protocol):
    """Who writes down what the ears go through."""

    @property
    def turn(self) -> int: ...

    def note(self, event: events.Event) -> None: ...

    def serves(self, stage: Stage, config: StageConfig, error: str | None = None) -> None:
        """That vendor does the stage's work from now on; a request that is open ended with `error`."""
        ...

    def used(self, stage: Stage, config: StageConfig, quantities: dict[str, float]) -> None: ...


class Owner(Protocol):
    """Who acts on what the ears cannot mend (the call)."""

    def ears_failed(self, config: StageConfig, category: str, *, permanent: bool) -> None:
        """A vendor reported an error of Pipecat's `ErrorCategory` `category`, or vanished ("connectivity")."""
        ...

    def ears_gave_up(self, times: int, *, permanent: bool) -> None:
        """What the caller has said is lost, for the `times`-th time in a row; `permanent`: it will always be so."""
        ...


class Ears(FrameProcessor):
    """Stands in the pipeline where a single recogniser would.

    Audio goes on at once, and into the backlog; from there the vendor in use gets it, at its own pace. Who takes
    over therefore gets what was said again, then what is being said, without a gap. What a vendor sends that is no
    longer in use is refused.
    """

    def __init__(
        self,
        line: Sequence[StageConfig],
        build: Callable[[StageConfig], STTService],
        waits: EarsWaits,
        *,
        rate: int,
        scribe: Scribe,
        owner: Owner,
        clock: Clock,
    ) -> None:
        """`build` makes a service that is not connected yet; what it raises for any vendor is raised here."""
        super().__init__(name="Ears")
        self._line = tuple(line)
        self._build = build
        self._built: dict[int, STTService] = {number: build(config) for number, config in enumerate(self._line)}
        self._judges = ["end_of_turn" in find("stt", one.vendor).abilities for one in self._line]
        self._watch = EarsWatch(
            waits,
            [_settles_by_ms(one) if judges else 0.0 for one, judges in zip(self._line, self._judges, strict=True)],
        )
        self._backlog = Backlog(rate)
        self._rate = rate
        self._scribe = scribe
        self._owner = owner
        self._clock = clock
        self._leg: Leg | None = None
        self._start: StartFrame | None = None
        self._paused_at = 0  # position at which the caller's last pause was noticed
        self._timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._ended = False

    @property
    def sample_rate(self) -> int:
        """Hz of the audio that is expected."""
        return self._rate

    def expected_by(self) -> float | None:
        """Until when (ms of the clock) the caller's words may still come; None: they have come, or none will."""
        return self._watch.expected_by(self._now())

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e6

    # -- the pipeline

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._start = frame
        elif isinstance(frame, InputAudioRawFrame):
            await self._hear(frame)
        elif isinstance(frame, VADUserStartedSpeakingFrame):
            self._watch.speech_began(self._now() - frame.start_secs * 1000)
            await self._hear(frame)
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            written = self._watch.speech_ended(self._now() - frame.stop_secs * 1000)
            self._paused_at = self._backlog.position
            await self._hear(frame)
            if written:
                self._backlog.cover(self._paused_at)
        elif isinstance(frame, EndFrame | CancelFrame):
            await self._end(frame)
        elif self._leg and self._leg.up and isinstance(frame, _ALSO):
            await self._leg.send(frame)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._end(CancelFrame())
        if self._closing:
            await asyncio.wait(self._closing, timeout=3 * CLOSE_S)

    async def _end(self, frame: EndFrame | CancelFrame) -> None:
        """The vendor in use says what it still has to say; the call does not wait for it for long."""
        self._ended = True
        if self._timer:
            self._timer.cancel()
        if self._leg:
            leg, self._leg = self._leg, None
            closing = self._close(leg, frame)
            await asyncio.wait({closing}, timeout=CLOSE_S)

    async def _hear(self, frame: Frame) -> None:
        """More sound, or a mark in it."""
        self._backlog.add(frame)
        leg = self._leg
        if leg and leg.up and not leg.connected:
            self._vanished(leg, ErrorCategory.CONNECTIVITY)
        elif leg:
            await leg.feed(self._backlog)
        if self._watch.idle:
            self._backlog.keep(RUN_IN_MS)
        self._act()

    # -- the vendors

    def _act(self) -> None:
        """Do what the watch says."""
        if self._start is None or self._ended:
            return
        now = self._now()
        turn = self._scribe.turn + (not self._watch.idle)  # what is being said belongs to the turn that is to come
        while (step := self._watch.next(now)) is not None:
            match step:
                case Failed():
                    self._retire()
                    self._trouble(turn, step.vendor, step.what, step.waited_ms, step.action)
                    if step.what in ("refused", "dropped"):
                        self._owner.ears_failed(self._line[step.vendor], step.category, permanent=step.permanent)
                case GiveUp():
                    self._retire()
                    self._backlog.cover(self._backlog.position)
                    self._trouble(turn, step.vendor, "no_transcript", step.waited_ms, "gave_up")
                    self._owner.ears_gave_up(step.times, permanent=step.permanent)
                case Use():
                    self._retire()
                    self._leg = self._raise(step.vendor)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if (at := self._watch.wakes_at()) is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now) / 1000, self._act)

    def _trouble(self, turn: int, vendor: int, what: str, waited_ms: float, action: str) -> None:
        name = self._line[vendor].vendor
        self._scribe.note(events.StageTroubled(turn, "stt", name, what, round(max(0.0, waited_ms)), action))

    def _raise(self, vendor: int) -> Leg:
        """A service of that vendor, on its way to a connection."""
        config = self._line[vendor]
        service = self._built.pop(vendor) if vendor in self._built else self._build(config)
        leg = Leg(vendor, service, self._pushed)
        leg.rising = asyncio.create_task(self._connect(leg), name=f"ears-{config.vendor}")
        self._scribe.serves("stt", config, "another vendor took over")
        return leg

    async def _connect(self, leg: Leg) -> None:
        assert self._start is not None
        category = await leg.connect(self.processor_setup, self._start)
        if category is not None:
            self._vanished(leg, category)
            return
        await leg.feed(self._backlog)
        if leg is self._leg:
            self._watch.connected(self._now())
            self._act()

    def _vanished(self, leg: Leg, category: ErrorCategory) -> None:
        if leg is self._leg:
            self._watch.failed(category.value)
            self._act()

    def _retire(self) -> None:
        """Leave the vendor in use; it is not waited for."""
        if self._leg:
            leg, self._leg = self._leg, None
            self._close(leg, CancelFrame())

    def _close(self, leg: Leg, frame: Frame) -> asyncio.Task[None]:
        task = asyncio.create_task(leg.close(frame), name="ears-goodbye")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    # -- what comes from a vendor

    async def _pushed(self, leg: Leg, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, MetricsFrame):
            seconds = sum(data.value.audio_seconds for data in frame.data if isinstance(data, STTUsageMetricsData))
            if seconds:
                self._scribe.used("stt", self._line[leg.vendor], {"audio_seconds": seconds})
        if isinstance(frame, EndFrame | CancelFrame):
            leg.over.set()
        elif leg is not self._leg:
            return
        elif isinstance(frame, ErrorFrame):
            category = frame.category if isinstance(frame.category, ErrorCategory) else ErrorCategory.UNKNOWN
            self._vanished(leg, category)
        elif isinstance(frame, TranscriptionFrame):
            await self._final(leg, frame)
        elif isinstance(frame, InterimTranscriptionFrame):
            self._watch.interim()
            await self.push_frame(frame)
        elif not isinstance(frame, (*_GIVEN, *_ALSO)) and leg.vendor == 0:
            # What the first choice says about itself; who stands in for it keeps its own idea of turns to itself.
            await self.push_frame(frame, direction)

    async def _final(self, leg: Leg, frame: TranscriptionFrame) -> None:
        """Words for good, or the news that there are none."""
        position, settled, worded = leg.reaches(frame), is_settled(frame), bool(frame.text.strip())
        if self._judges[leg.vendor] and not settled:
            return  # half a turn, because its connection broke: the next vendor gets the sound of all of it
        if worded and position is not None and position <= self._backlog.covered:
            return  # it has said that before
        if not self._watch.final(self._now(), words=worded, settled=settled):
            self._act()
            return
        if position is not None:
            self._backlog.cover(position)
        elif settled and not self._watch.speaking:
            self._backlog.cover(self._paused_at)
        elif not settled:
            self._backlog.cover(self._backlog.position)
        await self.push_frame(frame)
        self._act()


def _settles_by_ms(config: StageConfig) -> float:
    chosen: Any = config.settings.get("eot_timeout_ms")
    return SETTLES_BY_MS if chosen is None else float(chosen)
