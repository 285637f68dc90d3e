"""A voice's seat: one vendor's service in its branch, and what has been learned of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from pipecat.frames.frames import CancelFrame, EndFrame, ErrorFrame, Frame, StartFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup

from callwright.failover.branch import Branch
from callwright.failover.breaker import Breaker
from callwright.pace import Pace
from callwright.stage import StageConfig
from callwright.vendors import find
from callwright.voice import Afresh, Voice

END_LIMIT_S = 2.0
"""How long a voice may take to say goodbye to its vendor."""


class Owner(Protocol):
    """Who sits behind all seats; told of everything that a voice does."""

    async def pushed(self, seat: Seat, frame: Frame, direction: FrameDirection) -> None: ...

    def sent(self, seat: Seat, stretch: str, cause: Frame) -> None: ...

    def timed(self, seat: Seat, stretch: str, words: Sequence[tuple[str, float, float | None]]) -> None: ...

    def over(self, seat: Seat, stretch: str) -> None: ...


class Seat:
    """One of the configured voices. It connects in the background: no vendor keeps a call from beginning."""

    def __init__(self, number: int, config: StageConfig, voice: Voice) -> None:
        self.number = number
        self.config = config
        self.voice = voice
        self.breaker = Breaker()
        self.pace = Pace()
        self.by_piece = "speaks_pieces" in find("tts", config.vendor).abilities
        self.ready = asyncio.Event()
        self._gone = asyncio.Event()
        self._owner: Owner | None = None
        self._branch = Branch(voice, self._pushed)
        voice.listener = self

    def belong(self, owner: Owner) -> None:
        """Tell `owner` from now on."""
        self._owner = owner

    async def open(self, setup: FrameProcessorSetup, started: Callable[[], Awaitable[StartFrame]]) -> None:
        """Connect, and start once the pipeline has."""
        await self._branch.setup(setup)
        await self._branch.send(await started())

    async def close(self) -> None:
        await self._branch.cleanup()

    async def send(self, frame: Frame) -> None:
        await self._branch.send(frame)

    async def begin_afresh(self) -> None:
        """Drop what it says and connect anew; until then its errors belong to what was dropped."""
        self.voice.leaving = True
        await self.send(Afresh())

    async def wake(self) -> None:
        """Make it able to work, if Pipecat has written it off."""
        if not self.voice.is_usable and not self.voice.leaving:
            await self.begin_afresh()

    async def leave(self, frame: EndFrame | CancelFrame) -> None:
        """Pass the end on, and wait until it has gone through."""
        if not self.ready.is_set():
            return
        await self.send(frame)
        try:
            async with asyncio.timeout(END_LIMIT_S):
                await self._gone.wait()
        except TimeoutError:
            pass

    async def _pushed(self, _: Branch, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, StartFrame):
            self.ready.set()
        elif isinstance(frame, EndFrame | CancelFrame):
            self._gone.set()
        elif self._owner and not (isinstance(frame, ErrorFrame) and self.voice.leaving):
            await self._owner.pushed(self, frame, direction)

    # -- what its voice tells (voice.VoiceListener)

    def sent(self, stretch: str, cause: Frame) -> None:
        if self._owner:
            self._owner.sent(self, stretch, cause)

    def timed(self, stretch: str, words: Sequence[tuple[str, float, float | None]]) -> None:
        if self._owner:
            self._owner.timed(self, stretch, words)

    def over(self, stretch: str) -> None:
        if self._owner:
            self._owner.over(self, stretch)
