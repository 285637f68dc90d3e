"""The circuit breaker: which of a stage's vendors is worth asking now. Pure; times are ms of any one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PERMANENT = frozenset({"authentication", "authorization", "quota"})
"""Categories (Pipecat's `ErrorCategory`) of failures that the same vendor will repeat whatever it is asked.

A refused request is not among them: the next one may be well formed, and one bad request must not cost a vendor.
"""

REST_MS = (5_000.0, 15_000.0, 60_000.0)
"""How long a vendor rests after its first, second, every further failure in a row, before a turn tries it again."""


@dataclass
class Breaker:
    """One vendor's state: closed (works), open (rests until `rests_until`), or for good."""

    failures: int = 0
    rests_until: float = 0.0
    permanent: bool = False

    def failed(self, now: float, category: str, *, retry_after_ms: float = 0.0) -> None:
        """It did not do its work. What it asks for as a wait is honoured: it is not asked before."""
        self.permanent = self.permanent or category in PERMANENT
        rest = REST_MS[min(self.failures, len(REST_MS) - 1)]
        self.failures += 1
        self.rests_until = now + max(rest, retry_after_ms)

    def worked(self) -> None:
        """It did its work: all is forgiven."""
        self.failures, self.rests_until, self.permanent = 0, 0.0, False

    def usable(self, now: float) -> bool:
        """Whether to ask it: it works, or has rested long enough for a probe."""
        return not self.permanent and now >= self.rests_until


def order(breakers: Sequence[Breaker], now: float) -> list[int]:
    """The vendors to ask, by number: those that are usable in their configured order, then those that rest, the one
    that rests least first. One that failed for good comes last of all: a wrong guess about it costs less than silence.
    """
    usable = [number for number, one in enumerate(breakers) if one.usable(now)]
    resting = [number for number in range(len(breakers)) if number not in usable]
    resting.sort(key=lambda number: (breakers[number].permanent, breakers[number].rests_until, number))
    return usable + resting
