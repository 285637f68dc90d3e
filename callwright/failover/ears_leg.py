"""One recogniser from its first connection to its last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from loguru import logger
from pipecat.frames.frames import Frame, StartFrame, TranscriptionFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.stt_service import STTService
from pipecat.utils.errors import ErrorCategory

from callwright.failover.backlog import Backlog
from callwright.failover.branch import Branch
from callwright.stage import StageConfig
from callwright.upstream.ears import SMART_TURN_RATE, EmptyFinals, is_connected, reaches_s
from callwright.vendors import build, find

CLOSE_S = 1.0
"""How long a vendor that is left may take over each step of its goodbye, behind everybody's back."""


def recogniser(config: StageConfig) -> STTService:
    """The service of one vendor for the rate that the turn models want, not connected yet."""
    answers = "empty_finals" in find("stt", config.vendor).abilities
    service: STTService = build(
        "stt",
        config,
        sample_rate=SMART_TURN_RATE,
        specialise=(lambda service: type(service.__name__, (EmptyFinals, service), {})) if answers else None,
    )
    return service


class Leg:
    """A service of one vendor. It is never connected a second time: another is built in its place.

    Pipecat's own second attempts come seconds too late, and what it once holds to be unusable it never tries again.
    """

    def __init__(
        self, vendor: int, service: STTService, pushed: Callable[[Leg, Frame, FrameDirection], Awaitable[None]]
    ) -> None:
        """`pushed` is told of every frame that the service pushes."""
        self.vendor = vendor
        self.up = False
        """Whether it takes audio."""
        self.rising: asyncio.Task[None] | None = None
        """Who connects it; ended by `close`."""
        self.over = asyncio.Event()
        """Set when the last frame it is given has come out of it."""
        self._service = service
        self._branch = Branch(service, lambda _, frame, direction: pushed(self, frame, direction))
        self._next = 0  # number of the item of the backlog that it is to get next
        self._origin = 0  # position of the first sample that it got
        self._feeding = asyncio.Lock()

    @property
    def connected(self) -> bool:
        return is_connected(self._service)

    async def connect(self, setup: FrameProcessorSetup, start: StartFrame) -> ErrorCategory | None:
        """None when it takes audio; else why it does not. An error that it reports itself comes as a frame."""
        try:
            await self._branch.setup(setup)
            await self._branch.send(start)
        except Exception as error:
            logger.debug("a recogniser could not be set up: {}", type(error).__name__)
            return ErrorCategory.UNKNOWN
        self.up = self.connected
        return None if self.up else ErrorCategory.CONNECTIVITY

    async def feed(self, backlog: Backlog) -> None:
        """Give it what it has not had yet, in order, whoever else is just doing so."""
        async with self._feeding:
            while self.up and (item := backlog.after(self._next)):
                if self._next == 0:
                    self._origin = item.start
                self._next = item.number + 1
                await self._branch.send(item.frame)

    async def send(self, frame: Frame) -> None:
        await self._branch.send(frame)

    def reaches(self, frame: TranscriptionFrame) -> int | None:
        """The position in the backlog up to which a final goes; None where the vendor does not say."""
        seconds = reaches_s(frame)
        return None if seconds is None else self._origin + round(seconds * self._service.sample_rate)

    async def close(self, last: Frame) -> None:
        """Its last usage is still told; each step is bounded, and none keeps the next from being done."""
        if self.up:
            self.up = False
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._branch.send(last)
                    await self.over.wait()
        if self.rising and not self.rising.done():
            self.rising.cancel()
            await asyncio.wait({self.rising})
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._branch.cleanup()
        except Exception as error:
            logger.debug("a recogniser did not close: {}", type(error).__name__)
