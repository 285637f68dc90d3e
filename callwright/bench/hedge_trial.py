"""`bench hedge`: turns through the pure objects alone, on a clock that is only counted.

Every turn asks by `Attempts`, waits as `Hedge` has learnt to, and is settled at the price book's prices. First tokens
are drawn from one log-normal distribution, independently for every request and both models: what a second model's
own slowness adds or spares is not in it. Each turn is as the first of a call: no vendor rests from the one before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from callwright.failover.attempts import Adopt, Attempts, Cancel, Do, Limits, Start
from callwright.failover.breaker import Breaker
from callwright.failover.hedge import Bill, Hedge, Price
from callwright.sections import WatchConfig
from callwright.simulators.account import Delay

Usage = dict[str, float]

FRONT_DESK: Usage = {"cache_read_tokens": 2250.0, "cache_write_5m_tokens": 50.0, "output_tokens": 50.0, "requests": 1.0}
"""What an answer of the front desk uses; its prompt rounded from what Anthropic's stand-in reports over HTTP."""

BESIDE: Usage = {"input_tokens": 45.0, "cache_read_tokens": 1530.0, "cache_write_5m_tokens": 250.0, "requests": 1.0}
"""The same conversation's prompt at a second model, rounded from OpenAI's stand-in. Less of it is read from the cache:
most of its requests are cancelled before their prompt is in it."""

DELAY = Delay(637, 1615)
"""First token of a model of Claude Haiku's class: kwindla/aiewf-eval, 2026-08-18."""

_WATCH = WatchConfig()


@dataclass(frozen=True)
class Turn:
    """What one turn came to: until its first token in ms, all its requests in USD, who answered.

    `alone_usd`: what it usually costs to ask the first model once; 0 if that is not known. `again_ms`: when somebody
    was asked beside it, if anybody was.
    """

    first_token_ms: float
    usd: float
    alone_usd: float
    again_ms: float | None
    by_second: bool


@dataclass
class _World:
    """The vendors' side of one turn."""

    rng: random.Random
    comes: dict[int, float] = field(default_factory=dict)
    vendors: dict[int, int] = field(default_factory=dict)
    began: dict[int, float] = field(default_factory=dict)
    winner: int | None = None


def trial(
    turns: int, seed: int, usages: tuple[Usage, Usage], prices: tuple[Price, Price], hedge: Hedge
) -> Iterator[Turn]:
    """So many turns one after the other; a model's answer uses `usages[model]`, a cancelled request its prompt.

    `hedge` learns from them, and must know both models.
    """
    rng = random.Random(f"hedge/{seed}")
    for _ in range(turns):
        yield _turn(rng, usages, prices, hedge)


def _turn(rng: random.Random, usages: tuple[Usage, Usage], prices: tuple[Price, Price], hedge: Hedge) -> Turn:
    limits = Limits.within(_WATCH, hedge.models, hedge.plan)
    attempts = Attempts(limits, [Breaker(), Breaker()], 0.0)
    world = _World(rng)
    _do(attempts.begin(), 0.0, world, hedge)
    now = 0.0
    while world.winner is None:
        attempt, comes = min(world.comes.items(), key=lambda one: one[1])
        wakes = attempts.wakes_at
        if wakes is not None and wakes < comes:
            now = wakes
            _do(attempts.tick(now), now, world, hedge)
        else:
            now = comes
            hedge.models[world.vendors[attempt]].first_token(now - world.began[attempt])
            _do(attempts.token(attempt, now, words=True), now, world, hedge)
    bills = [
        Bill(vendor, usages[vendor] if attempt == world.winner else _prompt(usages[vendor]), attempt == world.winner)
        for attempt, vendor in world.vendors.items()
    ]
    hedge.settled(bills, hedged=attempts.hedged)
    return Turn(
        first_token_ms=now,
        usd=sum(prices[bill.vendor](bill.quantities) for bill in bills),
        alone_usd=prices[0](usages[0]),
        again_ms=world.began[1] if len(bills) > 1 else None,
        by_second=world.vendors[world.winner] == 1,
    )


def _do(todo: list[Do], now: float, world: _World, hedge: Hedge) -> None:
    for one in todo:
        match one:
            case Start(attempt, vendor, _):
                world.vendors[attempt], world.began[attempt] = vendor, now
                world.comes[attempt] = now + DELAY.draw(world.rng) * 1000
            case Cancel(attempt):
                del world.comes[attempt]
                hedge.models[world.vendors[attempt]].cancelled(now - world.began[attempt])
            case Adopt(attempt):
                world.winner = attempt
            case _:
                pass  # for the record alone; nothing breaks off here, and the budget is never spent unanswered


def _prompt(usage: Usage) -> Usage:
    return {**usage, "output_tokens": 0.0}
