"""The mind of a turn on virtual time: `Attempts` decides, the models are played. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from callwright.bench.fault_world import Events, Sounds, World, category
from callwright.failover import attempts as asks
from callwright.failover.attempts import Attempts, Limits
from callwright.failover.breaker import Breaker
from callwright.sections import WatchConfig
from callwright.simulators.faults import Fault

ANSWER_MS = 20.0
"""From a request to a refusal."""
TOKENS, TOKEN_LETTERS = 40, 4
CLAUSE_TOKENS = 8
"""So many go to the voice at once: it is given clauses, not tokens."""


class _Mind:
    def __init__(self, world: World, limits: WatchConfig, now: float) -> None:
        self.world = world
        self.events = Events(now)
        within = Limits(limits.first_token_ms, limits.token_gap_ms, limits.turn_budget_ms)
        self.policy = Attempts(within, [Breaker() for _ in range(world.vendors)], now)
        self.live: set[int] = set()
        self.tokens: list[float] = []  # when each was handed on
        self.pieces: list[tuple[float, int]] = []
        self.complete = False
        self.gave_up_at: float | None = None

    def run(self) -> None:
        self._do(self.policy.begin())
        while not self.policy.over and self.events.step(self.policy.wakes_at):
            self._do(self.policy.tick(self.events.now))

    def _do(self, found: Sequence[asks.Do]) -> None:
        for one in found:
            if isinstance(one, asks.Start):
                self._ask(one.attempt, one.vendor)
            elif isinstance(one, asks.Cancel):
                self.live.discard(one.attempt)
            elif isinstance(one, asks.BreakOff):
                self._hand_on()
            elif isinstance(one, asks.GiveUp):
                self.gave_up_at = self.events.now

    def _ask(self, attempt: int, vendor: int) -> None:
        self.live.add(attempt)
        now = self.events.now
        ahead = self.world.strikes("llm", "connect", vendor) or self.world.strikes("llm", "before", vendor)
        if ahead is not None:
            if ahead.kind not in ("stall", "silence"):
                self.events.at(now + ANSWER_MS, lambda: self._fail(attempt, ahead))
            return
        within, step = self.world.strikes("llm", "within", vendor), 1000 / self.world.delays.llm_tokens_per_s
        at = now + self.world.draw("llm_first_token")
        for number in range(TOKENS - len(self.tokens)):
            if within is not None and number >= within.after:
                if within.kind == "trickle":
                    step = 1000 / within.trickle
                elif within.kind in ("stall", "silence"):
                    return
                elif within.kind != "malformed":
                    self.events.at(at, lambda: self._fail(attempt, within))
                    return
            self.events.at(at, lambda: self._token(attempt))
            at += step
        self.events.at(at, lambda: self._end(attempt))

    def _token(self, attempt: int) -> None:
        if attempt in self.live:
            self._do(self.policy.token(attempt, self.events.now, words=True))
            if self.policy.adopted == attempt:
                self.tokens.append(self.events.now)
                if len(self.tokens) % CLAUSE_TOKENS == 0:
                    self._hand_on()

    def _hand_on(self) -> None:
        """What has been written of a clause goes to the voice: it is whole, or the answer is over or broken off."""
        written = len(self.tokens) * TOKEN_LETTERS - sum(letters for _, letters in self.pieces)
        if written:
            self.pieces.append((self.events.now, written))

    def _end(self, attempt: int) -> None:
        if attempt in self.live:
            self.complete = True
            self._do(self.policy.ended(attempt))

    def _fail(self, attempt: int, fault: Fault) -> None:
        if attempt in self.live:
            self.live.discard(attempt)
            why = {"truncate": "truncated", "malformed": "unknown"}.get(fault.kind, category(fault))
            self._do(self.policy.failed(attempt, self.events.now, why, (fault.retry_after or 0) * 1000))


def mind(world: World, limits: WatchConfig, found: Sounds) -> tuple[list[tuple[float, int]], bool]:
    """The letters of the answer as (when, how many), and whether that is all of it."""
    assert found.asked_at is not None
    one = _Mind(world, limits, found.asked_at)
    one.run()
    if one.gave_up_at is not None:
        found.tell(one.gave_up_at)
    found.wrote_at = one.tokens[0] if one.tokens else None
    return one.pieces, one.complete
