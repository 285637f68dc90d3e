"""Who can be asked next in one ask of the model, and when. Pure; times are ms of any one clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

PAUSE_MS = 150.0
"""Before the first retry on a vendor; each further one waits twice as long."""

PATIENCE_MS = 300.0
"""While another vendor is left, the same one is retried only if it wants no longer wait than this."""

MOST_TRIES = 6
"""Requests to one vendor before it is left alone until somebody has answered."""


class Choice(NamedTuple):
    """`vendor` (its number in the configured line) can be asked `at` that moment, and not before."""

    at: float
    vendor: int


class Candidates:
    """`line`: the vendors' numbers, best first. Of number 0 two requests can run at once (so that one can be asked
    beside a late one even where there is no other), of the others one.
    """

    def __init__(self, line: Sequence[int], now: float) -> None:
        self.first = line[0]
        self._line = line
        self._not_before = dict.fromkeys(line, now)
        self._barred: set[int] = set()
        self.renew()

    def renew(self, broken: int | None = None) -> None:
        """All may be tried again; `broken` broke off in the middle of its answer, which was its first try."""
        self._tries = Counter[int]() if broken is None else Counter([broken])
        self._failures = self._tries.copy()
        self._pressed = False

    def asked(self, vendor: int) -> None:
        self._tries[vendor] += 1

    def tried(self, vendor: int) -> bool:
        return bool(self._tries[vendor])

    def failed(self, vendor: int, now: float, retry_after_ms: float, *, for_good: bool) -> None:
        """It did not answer, and wants no request for so long; `for_good`: nor would it take this one later."""
        if for_good:
            self._barred.add(vendor)
        self._failures[vendor] += 1
        self._not_before[vendor] = now + max(retry_after_ms, PAUSE_MS * 2 ** (self._failures[vendor] - 1))

    def again(self, vendor: int, now: float) -> Choice | None:
        """The same one, once, where it need not be waited for."""
        if vendor in self._barred or self._failures[vendor] != 1:
            return None
        at = self._not_before[vendor]
        return Choice(at, vendor) if at - now <= PATIENCE_MS else None

    def soonest(self, now: float, busy: Collection[int]) -> Choice | None:
        """Who can be asked soonest, the least tried first; `busy`: who answers a request now, once for each."""
        running = Counter(busy)
        free = [
            vendor
            for vendor in self._line
            if vendor not in self._barred
            and self._tries[vendor] < MOST_TRIES
            and running[vendor] < (1 if vendor else 2)
        ]
        if not free:
            return None
        found = min(free, key=lambda vendor: (max(now, self._not_before[vendor]), self._tries[vendor]))
        return Choice(max(now, self._not_before[found]), found)

    def pressed(self, now: float, busy: Collection[int]) -> Choice | None:
        """The same, but now, whatever wait they want; once."""
        found = None if self._pressed else self.soonest(now, busy)
        self._pressed = self._pressed or found is not None
        return found and Choice(now, found.vendor)
