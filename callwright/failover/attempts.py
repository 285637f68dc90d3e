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
from callwright.failover.candidates import Candidates, Choice
from callwright.failover.hedge import Model
from callwright.failover.token_watch import TokenWatch
from callwright.sections import WatchConfig

REFUSED = frozenset({"invalid_request", "application"})
"""Categories of failures that are about this request: the same vendor will not take it, but is not to blame."""

BEARABLE_MS = 1000.0
"""In the middle of an answer: of silence before another request. Its first token and the voice take as long again."""

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
    """As `sections.WatchConfig` has them. `hedge_ms`: when to ask `hedge_vendor` beside the first; None never.

    `late_ms`: of each vendor, when another is asked beside it, where that is sooner than `first_token_ms`.
    """

    first_token_ms: float
    token_gap_ms: float
    budget_ms: float
    hedge_ms: float | None = None
    hedge_vendor: int = 0
    late_ms: Sequence[float] = ()

    @classmethod
    def within(cls, watch: WatchConfig, models: Sequence[Model], plan: tuple[float, int] | None = None) -> Limits:
        """Those of `watch` for vendors of which so much is known; `plan` is the hedge's.

        Where there is no other vendor, none is asked before `first_token_ms`: a second request is then the hedge's.
        """
        hedge_ms, vendor = plan or (None, 0)
        late = [model.late_ms for model in models] if len(models) > 1 else ()
        return cls(watch.first_token_ms, watch.token_gap_ms, watch.turn_budget_ms, hedge_ms, vendor, late)

    def late(self, vendor: int) -> float:
        """How long the vendor may take to its first token before another is asked beside it."""
        return min((self.first_token_ms, *self.late_ms[vendor : vendor + 1]))


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
    watch: TokenWatch
    late: bool = False
    words: bool = False


class Attempts:
    """Adopts one attempt at a time, and ends in an answer or in `GiveUp` within the budget of each break.

    `breakers` has one entry a vendor, in the configured order. `store_ms` is agent sound that is still to be heard.
    `hedged`: a request was made although nothing was known to have failed.
    """

    def __init__(self, limits: Limits, breakers: Sequence[Breaker], now: float) -> None:
        self.over = False
        self.hedged = False
        self.adopted: int | None = None
        self._limits = limits
        self._breakers = breakers
        self._candidates = Candidates(order(breakers, now), now)
        self._may_hedge = limits.hedge_ms is not None and breakers[limits.hedge_vendor].usable(now)
        self._running: dict[int, _Attempt] = {}
        self._count = 0
        self._go_on = False
        self._go_ons = 0
        self._category = "timeout"
        self._budget(now)

    def _budget(self, now: float) -> None:
        self._began, self._ends = now, now + self._limits.budget_ms
        self._hedged = False
        self._due: Choice | None = None

    # -- what it is told

    def begin(self) -> list[Do]:
        """The model is asked."""
        return self._start(self._candidates.first, self._began)

    def token(self, attempt: int, now: float, *, words: bool, letters: int = 0) -> list[Do]:
        """Something of the answer came; `words`: to be spoken, not a tool call; as many `letters` (`pace.letters`)."""
        one = self._running.get(attempt)
        if one is None:
            return []
        if first := self.adopted is None:
            one.watch.alive(now)
        one.words = one.words or words
        one.watch.wrote(now, letters)
        if not first:
            return []
        self.adopted, self._due = attempt, None
        losers = [other for other in self._running.values() if other is not one]
        for other in losers:
            if other.late and other.vendor != one.vendor:  # whoever was only late has lost nothing by it
                self._breakers[other.vendor].failed(now, "timeout")
        return [*(self._cancel(other) for other in losers), Adopt(attempt)]

    def alive(self, attempt: int, now: float) -> None:
        """It thinks: nothing to hand on, but no silence of the vendor either."""
        if one := self._running.get(attempt):
            one.watch.alive(now)

    def ended(self, attempt: int) -> list[Do]:
        """The adopted attempt is complete."""
        if attempt == self.adopted:
            self._breakers[self._running[attempt].vendor].worked()
            self.over = True
        return []

    def failed(
        self, attempt: int, now: float, category: str, retry_after_ms: float = 0.0, *, store_ms: float = 0.0
    ) -> list[Do]:
        """The attempt ended without an answer, or in the middle of one."""
        one = self._running.pop(attempt, None)
        if one is None or self.over:
            return []
        self._category = category
        if category not in REFUSED:
            self._breakers[one.vendor].failed(now, category, retry_after_ms=retry_after_ms)
        self._candidates.failed(one.vendor, now, retry_after_ms, for_good=category in REFUSED | PERMANENT)
        return self._carry_on(one, now, WHAT.get(category, "refused"), store_ms)

    def tick(self, now: float, store_ms: float = 0.0) -> list[Do]:
        """Time has passed; call it at `wakes_at`."""
        if self.over:
            return []
        if self.adopted is not None:
            one = self._running[self.adopted]
            if not one.watch.stopped(now, store_ms):
                return []
            del self._running[one.number]
            self._category = "timeout"
            self._breakers[one.vendor].failed(now, "timeout")
            return [Cancel(one.number), *self._carry_on(one, now, "tokens_stopped", store_ms)]
        if now >= self._ends:
            return self._give_up(now)
        done: list[Do] = []
        if self._due and now >= self._due.at:
            vendor, self._due = self._due.vendor, None
            done += self._start(vendor, now)
        for one in list(self._running.values()):
            if not one.late and now >= self._late_at(one):
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
            return self._running[self.adopted].watch.wakes_at
        moments = [self._ends]
        moments += [self._late_at(one) for one in self._running.values() if not one.late]
        if self._due:
            moments.append(self._due.at)
        if one := self._to_hedge():
            moments.append(one.started + (self._limits.hedge_ms or 0))
        return min(moments)

    # -- what it decides

    def _start(self, vendor: int, now: float) -> list[Do]:
        one = _Attempt(self._count, vendor, now, TokenWatch(self._limits.token_gap_ms, now))
        self._count += 1
        self._candidates.asked(vendor)
        self._running[one.number] = one
        return [Start(one.number, vendor, self._go_on)]

    def _cancel(self, one: _Attempt) -> Do:
        del self._running[one.number]
        return Cancel(one.number)

    def _late(self, one: _Attempt, now: float) -> list[Do]:
        """No first token in time: somebody else is asked while it may still answer."""
        one.late = True
        self._category = "timeout"
        found = self._next(now)
        if self._due or found is None or self._prompt_ones(now):
            return []
        self.hedged = self.hedged or self._limits.late(one.vendor) < self._limits.first_token_ms
        trouble = Trouble(one.vendor, "no_first_token", now - one.started, self._named(one.vendor, found.vendor))
        return [trouble, *self._take(found, now)]

    def _carry_on(self, one: _Attempt, now: float, what: str, store_ms: float) -> list[Do]:
        """`one` is of no more use: what now, in the order of what costs the caller least."""
        done: list[Do] = []
        waited = now - one.watch.since
        if self.adopted == one.number:
            self.adopted = None
            if one.words:
                done.append(BreakOff())
                self._go_on = True
                self._go_ons += 1
                self._budget(now)
                self._candidates.renew(broken=one.vendor)
                if self._go_ons > GO_ONS:
                    return [*done, *self._give_up(now, one, what)]
        if others := self._prompt_ones(now):
            return [*done, Trouble(one.vendor, what, waited, self._named(one.vendor, others[0].vendor))]
        if self._due:
            return [*done, Trouble(one.vendor, what, waited, self._named(one.vendor, self._due.vendor))]
        found = self._again(one.vendor, now, what) or self._next(now)
        if found and self._go_on and found.at > now + store_ms + BEARABLE_MS:
            found = None
        if found is None and self._running:  # somebody is late, but may answer yet
            other = next(iter(self._running.values()))
            return [*done, Trouble(one.vendor, what, waited, self._named(one.vendor, other.vendor))]
        if found is None and self._go_on and now < self._ends:
            # The caller hangs in mid-sentence: rather ask too soon than wait.
            found = self._candidates.pressed(now, self._busy)
        if found is None:
            return [*done, *self._give_up(now, one, what)]
        action = "go_on" if self._go_on and done else self._named(one.vendor, found.vendor)
        return [*done, Trouble(one.vendor, what, waited, action), *self._take(found, now)]

    def _again(self, vendor: int, now: float, what: str) -> Choice | None:
        """The same vendor, once, where its failure may pass, nothing was said yet, and it need not be waited for."""
        if what == "tokens_stopped" or self._go_on:
            return None
        return self._in_time(self._candidates.again(vendor, now))

    def _next(self, now: float) -> Choice | None:
        """Who can be asked soonest; None: nobody within the budget."""
        return self._in_time(self._candidates.soonest(now, self._busy))

    def _in_time(self, found: Choice | None) -> Choice | None:
        return found if found and found.at < self._ends else None

    @property
    def _busy(self) -> list[int]:
        return [one.vendor for one in self._running.values()]

    def _take(self, found: Choice, now: float) -> list[Do]:
        if found.at <= now:
            return self._start(found.vendor, now)
        self._due = found
        return []

    def _prompt_ones(self, now: float) -> list[_Attempt]:
        """Attempts under way that are not late."""
        return [one for one in self._running.values() if now < self._late_at(one)]

    def _late_at(self, one: _Attempt) -> float:
        return one.started + self._limits.late(one.vendor)

    def _to_hedge(self) -> _Attempt | None:
        """The lone first attempt, while it is to be hedged."""
        if not self._may_hedge or self._hedged or len(self._running) != 1 or self._due:
            return None
        one = next(iter(self._running.values()))
        second = self._limits.hedge_vendor
        fresh = second == 0 or not self._candidates.tried(second)
        return one if not one.late and one.vendor == 0 and fresh else None

    def _give_up(self, now: float, one: _Attempt | None = None, what: str = "no_first_token") -> list[Do]:
        self.over = True
        vendor = one.vendor if one else next(iter(self._busy), self._candidates.first)
        waited = now - (one.watch.since if one else self._began)
        permanent = all(breaker.permanent for breaker in self._breakers)
        for silent in {other.vendor for other in self._running.values() if other.late}:
            self._breakers[silent].failed(now, "timeout")
        losers = [self._cancel(other) for other in list(self._running.values())]
        return [*losers, Trouble(vendor, what, waited, "gave_up"), GiveUp(self._category, permanent)]

    @staticmethod
    def _named(vendor: int, other: int) -> str:
        return "retry" if vendor == other else "next"
