"""The mind of a turn on virtual time: `Attempts` decides, the models are played. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

from callwright.bench.fault_world import Events, Sounds, World, category
from callwright.failover import attempts as asks
from callwright.failover.attempts import Attempts, Limits
from callwright.failover.breaker import Breaker
from callwright.failover.hedge import KEPT, Model
from callwright.pace import LETTERS_PER_S
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
        within = Limits.within(limits, [_known(world, vendor) for vendor in range(world.vendors)])
        self.policy = Attempts(within, [Breaker() for _ in range(world.vendors)], now)
        self.live: set[int] = set()
        self.tokens = 0  # handed on
        self.pieces: list[tuple[float, int]] = []
        self.wrote_at: float | None = None
        self.complete = False
        self.gave_up_at: float | None = None

    def run(self) -> None:
        self._do(self.policy.begin())
        while not self.policy.over and self.events.step(self.policy.wakes_at):
            self._do(self.policy.tick(self.events.now, self._store_ms()))

    def _do(self, found: Sequence[asks.Do]) -> None:
        for one in found:
            if isinstance(one, asks.Start):
                self._ask(one.attempt, one.vendor)
            elif isinstance(one, asks.Cancel):
                self.live.discard(one.attempt)
            elif isinstance(one, asks.BreakOff):
                self.tokens -= self.tokens % CLAUSE_TOKENS  # the rest of a clause that is not whole is dropped
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
        for number in range(TOKENS - self.tokens):
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
            self._do(self.policy.token(attempt, self.events.now, words=True, letters=TOKEN_LETTERS))
            if self.policy.adopted == attempt:
                if self.wrote_at is None:
                    self.wrote_at = self.events.now
                self.tokens += 1
                if self.tokens % CLAUSE_TOKENS == 0:
                    self.pieces.append((self.events.now, CLAUSE_TOKENS * TOKEN_LETTERS))

    def _store_ms(self) -> float:
        """Sound that is still to be heard, of a voice that does what it should."""
        voice = self.world.delays
        lead = voice.tts_first_audio.p50_ms + sum(voice.tts_leading_silence_ms) / 2
        until = 0.0
        for at, letters in self.pieces:
            until = max(until, at + lead) + letters * 1000 / LETTERS_PER_S
        begun = self.pieces and self.events.now >= self.pieces[0][0] + lead
        return max(0.0, until - self.events.now) if begun else 0.0

    def _end(self, attempt: int) -> None:
        if attempt in self.live:
            self.complete = True
            self._do(self.policy.ended(attempt))

    def _fail(self, attempt: int, fault: Fault) -> None:
        if attempt in self.live:
            self.live.discard(attempt)
            why = {"truncate": "truncated", "malformed": "unknown"}.get(fault.kind, category(fault))
            wait_ms = (fault.retry_after or 0) * 1000
            self._do(self.policy.failed(attempt, self.events.now, why, wait_ms, store_ms=self._store_ms()))


def _known(world: World, vendor: int) -> Model:
    """What a process knows of that model after some calls."""
    model, rng = Model(), random.Random(f"{world.seed}/known/{vendor}")
    for _ in range(KEPT):
        model.first_token(world.delays.llm_first_token.draw(rng) * 1000)
    return model


def mind(world: World, limits: WatchConfig, found: Sounds) -> tuple[list[tuple[float, int]], bool]:
    """The letters of the answer as (when, how many), and whether that is all of it."""
    assert found.asked_at is not None
    one = _Mind(world, limits, found.asked_at)
    one.run()
    if one.gave_up_at is not None:
        found.tell(one.gave_up_at)
    found.wrote_at = one.wrote_at
    return one.pieces, one.complete
