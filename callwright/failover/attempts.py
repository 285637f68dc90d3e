"""One ask of the model as a series of attempts on several vendors. Pure; times are ms of any one clock.

It is told what each attempt does and says what to do next:

    asked ─► waiting ──first token──► adopted ──end──► over
              │  ▲ │                    │
     failed,  ▼  │ └─budget spent─► gave up
     late    next attempt ◄──broke off──┘  (what was said stays, the next attempt goes on from there)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from callwright.failover.breaker import PERMANENT, Breaker, order

REFUSED = frozenset({"invalid_request", "application"})
"""Categories of failures that are about this request: the same vendor will not take it, but is not to blame."""

PAUSE_MS = 150.0
"""Before the first retry on a vendor; each further one waits twice as long."""

PATIENCE_MS = 300.0
"""While another vendor is left, the same one is retried only if it wants no longer wait than this."""

MOST_TRIES = 6
"""Requests to one vendor before it is left alone until somebody has answered."""

GO_ONS = 2
"""How often an answer that broke off is continued."""

WHAT = {
    "connectivity": "dropped",
    "timeout": "dropped",
    "truncated": "truncated",
    "empty": "empty",
    "refusal": "empty",
}
"""Category of a failure → what the watchdog calls it (`events.StageTroubled`); all others are refused."""


@dataclass(frozen=True)
class Limits:
    """As `sections.WatchConfig` has them. `hedge_ms`: when to ask `hedge_vendor` beside the first; None never."""

    first_token_ms: float
    token_gap_ms: float
    budget_ms: float
    hedge_ms: float | None = None
    hedge_vendor: int = 0


@dataclass(frozen=True)
class Start:
    """Ask `vendor`; `go_on`: to continue what has been said instead of answering anew."""

    attempt: int
    vendor: int
    go_on: bool


@dataclass(frozen=True)
class Adopt:
    """Hand on what this attempt says."""

    attempt: int


@dataclass(frozen=True)
class Cancel:
    """Nothing more is wanted of this attempt."""

    attempt: int


@dataclass(frozen=True)
class BreakOff:
    """What has been handed on ends here, in the middle."""


@dataclass(frozen=True)
class GiveUp:
    """Nothing works; `permanent`: nor would it at the next turn."""

    category: str
    permanent: bool


@dataclass(frozen=True)
class Trouble:
    """For the record, in the words of `events.StageTroubled`."""

    vendor: int
    what: str
    waited_ms: float
    action: str


Do: TypeAlias = Start | Adopt | Cancel | BreakOff | GiveUp | Trouble


@dataclass
class _Attempt:
    number: int
    vendor: int
    started: float
    last: float
    late: bool = False
    words: bool = False


class Attempts:
    """Adopts one attempt at a time, and ends in an answer or in `GiveUp` within the budget of each break.

    `breakers` has one entry a vendor, in the configured order. `places` says how many requests each can hold at
    once: the first two (so that one can be asked beside a late one even where there is no other), the others one.
    """

    def __init__(self, limits: Limits, breakers: Sequence[Breaker], now: float) -> None:
        self.over = False
        self.hedged = False
        self.adopted: int | None = None
        self._limits = limits
        self._breakers = breakers
        self._line = order(breakers, now)
        self._may_hedge = limits.hedge_ms is not None and breakers[limits.hedge_vendor].usable(now)
        self._places = [2 if not vendor else 1 for vendor in range(len(breakers))]
        self._running: dict[int, _Attempt] = {}
        self._count = 0
        self._go_on = False
        self._go_ons = 0
        self._category = "timeout"
        self._budget(now)

    def _budget(self, now: float) -> None:
        vendors = len(self._breakers)
        self._began, self._ends = now, now + self._limits.budget_ms
        self._tries, self._failures = [0] * vendors, [0] * vendors
        self._not_before = [now] * vendors
        self._barred: set[int] = set()
        self._hedged = False
        self._due: tuple[float, int] | None = None

    # -- what it is told

    def begin(self) -> list[Do]:
        """The model is asked."""
        return self._start(self._line[0], self._began)

    def token(self, attempt: int, now: float, *, words: bool) -> list[Do]:
        """Something of the answer came; `words`: to be spoken, not a tool call."""
        one = self._running.get(attempt)
        if one is None:
            return []
        one.last, one.words = now, one.words or words
        if self.adopted is not None:
            return []
        self.adopted, self._due = attempt, None
        losers: list[Do] = [self._cancel(other) for other in list(self._running.values()) if other is not one]
        return [*losers, Adopt(attempt)]

    def alive(self, attempt: int, now: float) -> None:
        """It thinks: nothing to hand on, but no silence of the vendor either."""
        if one := self._running.get(attempt):
            one.last = now

    def ended(self, attempt: int) -> list[Do]:
        """The adopted attempt is complete."""
        if attempt == self.adopted:
            self._breakers[self._running[attempt].vendor].worked()
            self.over = True
        return []

    def failed(self, attempt: int, now: float, category: str, retry_after_ms: float = 0.0) -> list[Do]:
        """The attempt ended without an answer, or in the middle of one."""
        one = self._running.pop(attempt, None)
        if one is None or self.over:
            return []
        self._category = category
        vendor = one.vendor
        if category in REFUSED | PERMANENT:
            self._barred.add(vendor)
        if category not in REFUSED:
            self._breakers[vendor].failed(now, category, retry_after_ms=retry_after_ms)
        self._failures[vendor] += 1
        self._not_before[vendor] = now + max(retry_after_ms, PAUSE_MS * 2 ** (self._failures[vendor] - 1))
        return self._carry_on(one, now, WHAT.get(category, "refused"))

    def tick(self, now: float) -> list[Do]:
        """Time has passed; call it at `wakes_at`."""
        if self.over:
            return []
        if self.adopted is not None:
            one = self._running[self.adopted]
            if now < one.last + self._limits.token_gap_ms:
                return []
            del self._running[one.number]
            self._category = "timeout"
            self._breakers[one.vendor].failed(now, "timeout")
            return [Cancel(one.number), *self._carry_on(one, now, "tokens_stopped")]
        if now >= self._ends:
            return self._give_up(now)
        done: list[Do] = []
        if self._due and now >= self._due[0]:
            vendor, self._due = self._due[1], None
            done += self._start(vendor, now)
        for one in list(self._running.values()):
            if not one.late and now >= one.started + self._limits.first_token_ms:
                done += self._late(one, now)
        if (lone := self._to_hedge()) and now >= lone.started + (self._limits.hedge_ms or 0):
            self._hedged = self.hedged = True
            done.append(Trouble(lone.vendor, "no_first_token", now - lone.started, "hedge"))
            done += self._start(self._limits.hedge_vendor, now)
        return done

    @property
    def wakes_at(self) -> float | None:
        """When `tick` has something to do if nothing else happens; None: never."""
        if self.over:
            return None
        if self.adopted is not None:
            return self._running[self.adopted].last + self._limits.token_gap_ms
        moments = [self._ends]
        moments += [one.started + self._limits.first_token_ms for one in self._running.values() if not one.late]
        if self._due:
            moments.append(self._due[0])
        if one := self._to_hedge():
            moments.append(one.started + (self._limits.hedge_ms or 0))
        return min(moments)

    # -- what it decides

    def _start(self, vendor: int, now: float) -> list[Do]:
        one = _Attempt(self._count, vendor, now, now)
        self._count += 1
        self._tries[vendor] += 1
        self._running[one.number] = one
        return [Start(one.number, vendor, self._go_on)]

    def _cancel(self, one: _Attempt) -> Do:
        del self._running[one.number]
        return Cancel(one.number)

    def _late(self, one: _Attempt, now: float) -> list[Do]:
        """No first token in time: somebody else is asked while it may still answer."""
        one.late = True
        self._category = "timeout"
        self._breakers[one.vendor].failed(now, "timeout")
        found = self._next(now)
        if self._due or found is None or self._prompt_ones(now):
            return []
        trouble = Trouble(one.vendor, "no_first_token", now - one.started, self._named(one.vendor, found[1]))
        return [trouble, *self._take(found, now)]

    def _carry_on(self, one: _Attempt, now: float, what: str) -> list[Do]:
        """`one` is of no more use: what now, in the order of what costs the caller least."""
        done: list[Do] = []
        waited = now - one.last
        if self.adopted == one.number:
            self.adopted = None
            if one.words:
                done.append(BreakOff())
                self._go_on = True
                self._go_ons += 1
                barred, not_before = self._barred, self._not_before
                self._budget(now)
                self._barred, self._not_before = barred, not_before
                self._tries[one.vendor], self._failures[one.vendor] = 1, 1
                if self._go_ons > GO_ONS:
                    return [*done, *self._give_up(now, one, what)]
        if others := self._prompt_ones(now):
            return [*done, Trouble(one.vendor, what, waited, self._named(one.vendor, others[0].vendor))]
        if self._due:
            return [*done, Trouble(one.vendor, what, waited, self._named(one.vendor, self._due[1]))]
        found = self._again(one.vendor, now, what) or self._next(now)
        if found is None:
            if self._running:  # somebody is late, but may answer yet
                other = next(iter(self._running.values()))
                return [*done, Trouble(one.vendor, what, waited, self._named(one.vendor, other.vendor))]
            return [*done, *self._give_up(now, one, what)]
        action = "go_on" if self._go_on and done else self._named(one.vendor, found[1])
        return [*done, Trouble(one.vendor, what, waited, action), *self._take(found, now)]

    def _again(self, vendor: int, now: float, what: str) -> tuple[float, int] | None:
        """The same vendor, once, where its failure may pass, nothing was said yet, and it need not be waited for."""
        if what == "tokens_stopped" or self._go_on or vendor in self._barred or self._failures[vendor] != 1:
            return None
        at = self._not_before[vendor]
        return (at, vendor) if at - now <= PATIENCE_MS and at < self._ends else None

    def _next(self, now: float) -> tuple[float, int] | None:
        """Who can be asked soonest, the least tried first, and when; None: nobody within the budget."""
        free = [
            (max(now, self._not_before[vendor]), self._tries[vendor], place, vendor)
            for place, vendor in enumerate(self._line)
            if vendor not in self._barred
            and self._tries[vendor] < MOST_TRIES
            and sum(one.vendor == vendor for one in self._running.values()) < self._places[vendor]
        ]
        at, _, _, vendor = min(free, default=(self._ends, 0, 0, 0))
        return (at, vendor) if at < self._ends else None

    def _take(self, found: tuple[float, int], now: float) -> list[Do]:
        if found[0] <= now:
            return self._start(found[1], now)
        self._due = found
        return []

    def _prompt_ones(self, now: float) -> list[_Attempt]:
        """Attempts under way that are not late."""
        return [one for one in self._running.values() if now < one.started + self._limits.first_token_ms]

    def _to_hedge(self) -> _Attempt | None:
        """The lone first attempt, while it is to be hedged."""
        if not self._may_hedge or self._hedged or len(self._running) != 1 or self._due:
            return None
        one = next(iter(self._running.values()))
        second = self._limits.hedge_vendor
        fresh = second == 0 or self._tries[second] == 0
        return one if not one.late and one.vendor == 0 and fresh else None

    def _give_up(self, now: float, one: _Attempt | None = None, what: str = "no_first_token") -> list[Do]:
        self.over = True
        vendor = one.vendor if one else next((other.vendor for other in self._running.values()), self._line[0])
        waited = now - (one.last if one else self._began)
        permanent = all(breaker.permanent for breaker in self._breakers)
        losers = [self._cancel(other) for other in list(self._running.values())]
        return [*losers, Trouble(vendor, what, waited, "gave_up"), GiveUp(self._category, permanent)]

    @staticmethod
    def _named(vendor: int, other: int) -> str:
        return "retry" if vendor == other else "next"
