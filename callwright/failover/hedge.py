"""When to ask a model once more: fewer slow first tokens for a hardly larger bill. Pure; times in ms.

The earlier the second request, the shorter the slow turns, and the more turns pay for two. So the best moment is the
earliest at which what a turn is expected to cost stays within the allowed share of more. Of two requests one loses:
it is cancelled at the other's first token and costs its prompt, and none of the answer. With `t` for the price of a
turn and `p` for that of its prompt, a turn that is asked twice costs more by

    p of the second                          where the first still wins
    p of the first + t of the second - t     where the second wins: then the first's answer is never written

So the same model asked twice costs a prompt each time. For first tokens that are lognormal with p50 637 and p95
1615 ms, independent from request to request (a million draws of min(a, moment + b)), that is

    moment ms               300    400    445    500    637    800   1000    none
    turns asked twice       91 %   79 %   74 %   67 %   50 %   34 %   21 %      0
    p95 of first token     1130   1180   1200   1230   1295   1370   1465    1615
    15 % more if p / t is   0.16   0.19   0.20   0.23   0.30   0.44   0.71

and the prompt of a voice agent is about half of a turn. Another model that costs half as much pays its prompt back
with the turns it wins. `callwright bench hedge` prints both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean, median

Price = Callable[[Mapping[str, float]], float]
"""What a request costs, from its usage in the words of `events.Usage`; linear."""

WEIGHTS: Mapping[str, float] = {
    "input_tokens": 1.0,
    "cache_read_tokens": 0.1,
    "cache_write_5m_tokens": 1.25,
    "output_tokens": 5.0,
}
"""Prices relative to an input token: Anthropic's for most models (platform.claude.com, 2026-10-10); others are near."""

FEWEST = 8
"""First tokens that must have been seen before a moment is named."""

KEPT = 64
"""First tokens and bills that are remembered: enough for a quantile, few enough to follow the vendor's day."""

LATE = 0.7
"""Share of first tokens after which one is late, for vendors that have another to turn to (`Model.late_ms`)."""

SOONEST_MS, UNKNOWN_MS = 800.0, 900.0
"""None is late before; and where too little is known, from when on."""

EARLIEST = 0.2
"""Share of first tokens that are always waited for: however cheap the second model is, it is not there to race."""


def relative(quantities: Mapping[str, float]) -> float:
    """The price of a request to a model that the price book does not have, in input tokens."""
    return sum(WEIGHTS.get(name, 0.0) * amount for name, amount in quantities.items())


@dataclass(frozen=True)
class Bill:
    """What one request of an ask used; `answered`: the answer was its."""

    vendor: int
    quantities: Mapping[str, float]
    answered: bool


class Model:
    """What is known of one model: when its first tokens come, and what it uses for an answer."""

    def __init__(self, price: Price = relative) -> None:
        self.price = price
        self._seen: deque[tuple[float, bool]] = deque(maxlen=KEPT)
        self._answers: deque[Mapping[str, float]] = deque(maxlen=KEPT)

    def first_token(self, ms: float) -> None:
        """A request gave its first token after `ms`."""
        self._seen.append((ms, True))

    def cancelled(self, ms: float) -> None:
        """A request was cancelled after `ms` without one: it would have taken longer, nobody knows how much."""
        self._seen.append((ms, False))

    def answered(self, quantities: Mapping[str, float]) -> None:
        """An answer used so much."""
        self._answers.append(quantities)

    @property
    def known(self) -> bool:
        return self._came >= FEWEST and bool(self._answers)

    @property
    def _came(self) -> int:
        return sum(came for _, came in self._seen)

    @property
    def late_ms(self) -> float:
        """When its first token is late enough for another vendor to be asked beside it, before it is known to fail.

        A vendor that never answers costs the caller as long as it is waited for; one that answers after all costs the
        other's prompt, but no time, as the first answer is heard. So three of ten turns may be asked twice, and
        no more however slow the model is. For log-normal first tokens (p50/p95 in ms), the other alike, as learnt from
        `KEPT` of them (150,000 turns; `p` and `t` as above):

            model                          250/400     637/1615    1000/2200
            late after ms (p5/p50/p95)         800    800/848/992  1121/1274/1455
            turns asked twice                0.0 %         30 %         31 %
            p95 of first token                 400         1402         2028
            more spend, p / t 0.2            0.0 %        6.0 %        6.2 %
            more spend, p / t 0.48           0.0 %       14.3 %       14.8 %

        So a vendor that says nothing costs the turn less than a second, unless three of ten of its answers take longer
        to begin. `callwright bench faults --virtual 10`: 898 ms (p95 of all the model's faults with a fallback, once).
        """
        reached = 0.0
        for ms, share in self.arrivals if self._came >= FEWEST else ():
            reached += share
            if reached >= LATE:
                return max(SOONEST_MS, ms)
        return UNKNOWN_MS

    @property
    def usual(self) -> dict[str, float]:
        """What an answer usually uses; empty before the first. One cold prompt among many warm ones is not usual."""
        names = dict.fromkeys(name for quantities in self._answers for name in quantities)
        return {
            name: (fmean if name == "output_tokens" else median)([one.get(name, 0.0) for one in self._answers])
            for name in names
        }

    @property
    def arrivals(self) -> list[tuple[float, float]]:
        """First tokens in the order of ms, and the share of requests that each stands for; Kaplan and Meier's.

        A cancelled request counts for as long as it was waited for. The shares sum up to 1, or to less where the
        slowest were cancelled.
        """
        left, survival = len(self._seen), 1.0
        found = []
        for ms, came in sorted(self._seen, key=lambda seen: (seen[0], not seen[1])):
            if came:
                found.append((ms, survival / left))
                survival *= 1 - 1 / left
            left -= 1
        return found


class Hedge:
    """Learns from first tokens and bills of the stage's `models`, and says when which of `seconds` is to be asked
    beside the first of them; 0 is the first itself. One serves as many calls as it is given to.
    """

    def __init__(self, models: Sequence[Model], seconds: Sequence[int] = (0,), share: float = 0.15) -> None:
        self.models = models
        self.seconds = seconds
        self._share = share
        self._extra = self._plain = 0.0

    def settled(self, bills: Sequence[Bill], *, hedged: bool) -> None:
        """An ask is over; `bills` are all its requests that cost anything, in the order in which they were made.

        `hedged`: one was made beside another that was only slow. What a failure has had asked is nobody's debt.
        """
        costs = [self.models[bill.vendor].price(bill.quantities) for bill in bills]
        for bill, cost in zip(bills, costs, strict=True):
            if bill.answered:
                self.models[bill.vendor].answered(bill.quantities)
                alone = cost if bill.vendor == 0 else self._turn(self.models[0]) or cost
                break
        else:
            alone = costs[0] if costs else 0.0  # the caller spoke before anybody answered
        self._plain += alone
        if hedged:
            self._extra += sum(costs) - alone

    @property
    def plan(self) -> tuple[float, int] | None:
        """After how many ms to ask once more, and whom; None: nobody now. Takes a millisecond for each of `seconds`."""
        if not self.models[0].known:
            return None
        if self._extra > self._share * self._plain:
            return None  # the estimate was too low: pay it back first
        moments = ((self._moment_ms(self.models[second]), second) for second in self.seconds)
        return min(((ms, second) for ms, second in moments if ms is not None), default=None)

    def _moment_ms(self, second: Model) -> float | None:
        """The earliest at which asking `second` may be paid for."""
        first = self.models[0]
        like = second if second.known else first  # until it has been asked often enough
        turn = self._turn(first)
        if_first_wins = second.price(_prompt(like.usual))
        if_second_wins = first.price(_prompt(first.usual)) + second.price(like.usual) - turn
        arrivals = first.arrivals
        times, shares = zip(*like.arrivals, strict=True)
        reached = [0.0, *accumulate(shares)]
        passed = 0.0
        for place, (moment, share) in enumerate(arrivals):
            passed += share
            if passed < EARLIEST:
                continue
            expected = (1 - sum(one for _, one in arrivals)) * if_second_wins  # of those nobody saw the end of
            for ms, one in arrivals[place + 1 :]:
                sooner = reached[bisect_right(times, ms - moment)]
                expected += one * (sooner * if_second_wins + (1 - sooner) * if_first_wins)
            if expected <= self._share * turn:
                return moment
        return None

    @staticmethod
    def _turn(model: Model) -> float:
        return model.price(model.usual)


def _prompt(quantities: Mapping[str, float]) -> Mapping[str, float]:
    return {**quantities, "output_tokens": 0.0}
