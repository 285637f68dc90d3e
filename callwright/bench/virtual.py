"""An event loop whose time jumps to the next timer: hours of waiting take as long as the work in them.

Everything that waits by asyncio (sleep, timeout, wait) runs on it unchanged; what waits in threads or on sockets
does not, because nobody tells the loop that it is waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

STUCK_S = 5.0
"""Real seconds without a timer and without an event, after which nothing will ever happen."""


class Stuck(RuntimeError):
    """Everything waits for something that cannot happen."""


class _Jumping(selectors.DefaultSelector):
    """Never waits for a timer: it has the time moved on instead."""

    def __init__(self, move_on: Callable[[float], None]) -> None:
        super().__init__()
        self._move_on = move_on

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            if not (events := super().select(STUCK_S)):
                raise Stuck("every task waits, and no timer is set")
            return events
        if not (events := super().select(0)):
            self._move_on(max(0.0, timeout))
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0 s and is moved on by timers alone."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__(_Jumping(self._move_on))

    def time(self) -> float:
        return self._virtual_s

    def _move_on(self, seconds: float) -> None:
        self._virtual_s += seconds


class LoopClock:
    """A `callwright.clock.Clock` that tells the time of the running loop."""

    def monotonic_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * 1e9)

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on a loop of virtual time. Raises Stuck when everything waits for ever."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
