"""`callwright bench hedge`: what a second request buys, and what it costs.

Each pair of models is tried on a counted clock through the pure objects alone, with nobody asked twice on purpose,
the same model asked twice, and the next one. The first pairs are then asked for real, over HTTP on loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from callwright.bench.hedge_trial import BESIDE, FRONT_DESK, Turn, Usage, trial
from callwright.errors import CallwrightError, ConfigError
from callwright.failover.hedge import Hedge, Model
from callwright.failover.priced import price_of
from callwright.records.prices import PriceBook
from callwright.suggest import did_you_mean
from callwright.vendors.table import ROWS

Say = Callable[[str], None]
Pair = tuple[tuple[str, str], tuple[str, str]]
"""(vendor, model) of the first and of the second choice."""

HEDGES = ("off", "same", "next")
PAIRS = ("claude-haiku-5-5+gpt-6-luna", "claude-sonnet-5-5+gpt-6-luna", "claude-sonnet-5-5+gpt-6.1-terra")
"""The default model and another vendor's for as much; then one that is better, and others' for a twentieth and half."""

OVER_HTTP = 2
"""Pairs that are asked for real, side by side: as many as two cores serve without being late."""

ANSWERS = (15, 50)
"""Tokens of an answer: as the stand-ins' script has them, and as a model that speaks two sentences does."""


@dataclass(frozen=True)
class Plan:
    """`turns` on the counted clock and `conversations` over HTTP in each row; 0 conversations: nothing over HTTP."""

    pairs: Sequence[Pair]
    turns: int
    conversations: int
    seed: int


@dataclass
class Row:
    """One way to hedge with one pair; `usage` is that of the first model's answer."""

    where: str
    pair: Pair
    hedge: str
    usage: Usage
    turns: list[Turn] = field(default_factory=list)
    overheads_ms: list[float] = field(default_factory=list)
    """What first tokens took beyond the vendor's delay."""
    overrated: float | None = None
    """By which share the mind took the requests for dearer that nothing reported."""


@dataclass
class Results:
    """Rows in the order of measuring; the last are short when the run was interrupted."""

    rows: list[Row] = field(default_factory=list)
    failure: str = ""
    """Why the stand-ins' rows are not complete, in a line."""


def pairs(given: str) -> tuple[Pair, ...]:
    """`first+second` models with commas between the pairs. Raises ConfigError for what the price book does not have."""
    found = []
    for text in filter(None, (part.strip() for part in given.split(","))):
        first, plus, second = text.partition("+")
        if not plus:
            raise ConfigError(f"'{text}' is no pair of models; write it as {PAIRS[0]}")
        found.append((_model(first.strip()), _model(second.strip())))
    if not found:
        raise ConfigError(f"no pair to measure; write --pairs as {PAIRS[0]}")
    return tuple(dict.fromkeys(found))


def _model(name: str) -> tuple[str, str]:
    vendors = {model: row.name for row in ROWS if row.stage == "llm" and row.stand_in for model in row.models}
    if name not in vendors:
        raise ConfigError(f"unknown model '{name}'; {did_you_mean(name, vendors)}")
    if price_of(vendors[name], name) is None:
        raise ConfigError(f"the price book has no price for '{name}', so that nobody knows what it would cost")
    return vendors[name], name


async def run(plan: Plan, results: Results, say: Say) -> None:
    """Measure into `results`, row by row."""
    for answer_tokens in ANSWERS:
        for pair in plan.pairs:
            for hedge in HEDGES:
                if hedge == "next" or not any(_same_first(row, pair, hedge, answer_tokens) for row in results.rows):
                    await _virtual(plan, pair, hedge, answer_tokens, results)
                    say(f"virtual: {_name(pair)}, hedge {hedge}, {answer_tokens} tokens an answer")
    if plan.conversations:
        await _wire(plan, results, say)


def _same_first(row: Row, pair: Pair, hedge: str, answer_tokens: float) -> bool:
    return (row.pair[0], row.hedge, row.usage["output_tokens"]) == (pair[0], hedge, answer_tokens)


async def _virtual(plan: Plan, pair: Pair, hedge: str, answer_tokens: float, results: Results) -> None:
    prices = tuple(price for one in pair if (price := price_of(*one)))
    first, second = prices
    usage, beside = ({**prompt, "output_tokens": float(answer_tokens)} for prompt in (FRONT_DESK, BESIDE))
    row = Row("virtual", pair, hedge, usage)
    results.rows.append(row)
    learns = Hedge([Model(first), Model(second)], {"off": (), "same": (0,), "next": (1,)}[hedge])
    for turn in trial(plan.turns, plan.seed, (usage, beside), (first, second), learns):
        row.turns.append(turn)
        await asyncio.sleep(0)  # where Ctrl-C comes through


async def _wire(plan: Plan, results: Results, say: Say) -> None:
    from callwright.bench.hedge_asks import Usual, overheads, overrated, turns
    from callwright.bench.hedge_wire import Load, Measured, measure

    book, chosen = PriceBook.load(), plan.pairs[:OVER_HTTP]
    alone: list[Usual] = []
    for hedge in HEDGES:
        measured = [Measured() for _ in chosen]
        try:
            await measure(chosen, hedge, Load(plan.conversations), plan.seed, measured, say)
        except CallwrightError as error:
            results.failure = str(error)
            return
        finally:
            alone = alone or [Usual(one.asks) for one in measured]
            for pair, one, once in zip(chosen, measured, alone, strict=True):
                found = turns(one.asks, pair[0], once, book)
                own = overheads(one.asks, one.served)
                usage = Usual(one.asks).mean(pair[0])
                results.rows.append(Row("wire", pair, hedge, usage, found, own, overrated(one.asks, book)))


def _name(pair: Pair) -> str:
    return "+".join(model for _, model in pair)
