"""When to ask the model once more: fewer slow first tokens for a hardly larger bill. Pure; times in ms.

The earlier the second request, the shorter the slow turns, and the more turns pay twice. So the best moment is the
earliest that the allowed spend permits. What a second request costs is `ratio` of an ordinary one: its prompt, and
none of the answer, for the loser is cancelled at the winner's first token. If a share `s` more may be spent, `s /
ratio` of the turns may be asked twice: the moment is the `1 - s / ratio` quantile of recent first-token times.

The frontier for first tokens that are lognormal with p50 637 and p95 1615 ms, independent from request to request
(a million draws of min(a, moment + b); tests/failover/test_hedge.py draws them again):

    moment ms              300    400    445    500    637    800   1000    none
    turns asked twice      91 %   79 %   74 %   67 %   50 %   34 %   21 %      0
    p95 of first token    1130   1180   1200   1230   1295   1370   1465    1615
    15 % more if ratio is  0.16   0.19   0.20   0.23   0.30   0.44   0.71

So 1200 ms for 15 % is reached where the prompt costs a fifth of the turn or less: at Anthropic's prices (cache read
0.1, cache write 1.25, output 5 times the input's) 1,000 tokens cached, 40 new and an answer of 150 tokens are 0.17.
A prompt of 1,500 cached and 100 new with an answer of 60 is 0.48, and 15 % then buys 1390 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import cache

WEIGHTS: Mapping[str, float] = {
    "input_tokens": 1.0,
    "cache_read_tokens": 0.1,
    "cache_write_5m_tokens": 1.25,
    "output_tokens": 5.0,
}
"""Prices relative to an input token: Anthropic's for every model (platform.claude.com, 2026-10-10); others are near."""

FEWEST = 8
"""First tokens that must have been seen before a moment is named."""

KEPT = 64
"""First tokens that are remembered: enough for a quantile, few enough to follow the vendor's day."""


class Hedge:
    """Learns from first tokens and bills; one serves as many calls as it is given to."""

    def __init__(self, share: float = 0.15) -> None:
        self._share = share
        self._seen: deque[tuple[float, bool]] = deque(maxlen=KEPT)
        self._spent = self._lost = 0.0
        self._prompts = self._answered = 0.0

    def first_token(self, ms: float) -> None:
        """A request gave its first token after `ms`."""
        self._seen.append((ms, True))

    def cancelled(self, ms: float) -> None:
        """A request was cancelled after `ms` without one: it would have taken longer, nobody knows how much."""
        self._seen.append((ms, False))

    def billed(self, quantities: Mapping[str, float], *, lost: bool) -> None:
        """What a request used, in the words of `events.Usage`; `lost`: of it nothing was heard."""
        price = sum(WEIGHTS.get(name, 0.0) * amount for name, amount in quantities.items())
        self._spent += price
        if lost:
            self._lost += price
        else:
            self._answered += price
            self._prompts += price - WEIGHTS["output_tokens"] * quantities.get("output_tokens", 0.0)

    @property
    def moment_ms(self) -> float | None:
        """How long to wait before asking once more; None: not now."""
        if len(self._seen) < FEWEST or not self._answered:
            return None
        if self._lost > self._share * self._answered:
            return None  # the estimate was too low: pay it back first
        ratio = self._prompts / self._answered
        return self._quantile(1 - min(1.0, self._share / ratio) if ratio else 0.0)

    def _quantile(self, level: float) -> float | None:
        """Kaplan and Meier's: a cancelled request counts for as long as it was waited for."""
        left, survival = len(self._seen), 1.0
        for ms, came in sorted(self._seen, key=lambda seen: (seen[0], not seen[1])):
            if came:
                survival *= 1 - 1 / left
                if 1 - survival >= level:
                    return ms
            left -= 1
        return None


@cache
def learned(vendor: str, model: str, address: str | None) -> Hedge:
    """The process's one for that model at that address: a call is too short to learn from alone."""
    return Hedge()
