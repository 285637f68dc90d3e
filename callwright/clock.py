"""The only source of time: injected everywhere, so that a test can run any schedule in milliseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Two readings of the same instant: monotonic for arithmetic, wall for people."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never goes back."""
        ...

    def wall(self) -> datetime:
        """The date and time, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_ns = 0

    def monotonic_ns(self) -> int:
        return self._elapsed_ns

    def wall(self) -> datetime:
        return self._start + timedelta(microseconds=self._elapsed_ns / 1000)

    def advance(self, *, ms: float) -> None:
        """Move on by `ms` milliseconds; a negative amount is a ValueError."""
        if ms < 0:
            raise ValueError("a clock cannot go back")
        self._elapsed_ns += round(ms * 1_000_000)
