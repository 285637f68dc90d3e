"""`callwright bench hedge`: what a second request buys, and what it costs.

Each pair of models is tried on a counted clock through the pure objects alone, with nobody asked twice on purpose,
the same model asked twice, and the next one. The first pair is then asked for real, over HTTP on loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from callwright.bench.hedge_trial import FRONT_DESK, Turn, trial
from callwright.errors import CallwrightError, ConfigError
from callwright.failover.hedge import Hedge, Model
from callwright.failover.priced import price_of
from callwright.suggest import did_you_mean
from callwright.vendors.table import ROWS

Say = Callable[[str], None]
Pair = tuple[tuple[str, str], tuple[str, str]]
"""(vendor, model) of the first and of the second choice."""

HEDGES = ("off", "same", "next")
PAIRS = ("claude-sonnet-5-5+gpt-6-luna", "claude-sonnet-5-5+gpt-6.1-terra", "claude-haiku-5-5+gpt-6-luna")
"""The second costs a twentieth, half and all of what the first does."""

ANSWERS = (15, 50)
"""Tokens of an answer: as the stand-ins' script has them, and as a model that speaks two sentences does."""


@dataclass(frozen=True)
class Plan:
    """`turns` on the counted clock in each row; `conversations` over HTTP in each row of the first pair, 0 for none."""

    pairs: Sequence[Pair]
    turns: int
    conversations: int
    seed: int


@dataclass
class Row:
    """One way to hedge with one pair; `alone_usd` is a turn that asks the first model once."""

    where: str
    pair: Pair
    hedge: str
    answer_tokens: float
    turns: list[Turn] = field(default_factory=list)
    alone_usd: float | None = None


@dataclass
class Results:
    """Rows in the order of measuring; the last may be short when the run was interrupted."""

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
    return (row.pair[0], row.hedge, row.answer_tokens) == (pair[0], hedge, answer_tokens)


async def _virtual(plan: Plan, pair: Pair, hedge: str, answer_tokens: float, results: Results) -> None:
    prices = tuple(price for one in pair if (price := price_of(*one)))
    first, second = prices
    usage = {**FRONT_DESK, "output_tokens": float(answer_tokens)}
    row = Row("virtual", pair, hedge, answer_tokens, alone_usd=first(usage))
    results.rows.append(row)
    learns = Hedge([Model(first), Model(second)], {"off": (), "same": (0,), "next": (1,)}[hedge])
    for turn in trial(plan.turns, plan.seed, (usage, usage), (first, second), learns):
        row.turns.append(turn)
        await asyncio.sleep(0)  # where Ctrl-C comes through


async def _wire(plan: Plan, results: Results, say: Say) -> None:
    from callwright.bench.hedge_wire import Measured, measure

    alone: float | None = None
    for hedge in HEDGES:
        measured = Measured()
        row = Row("wire", plan.pairs[0], hedge, 0.0, measured.turns, alone)
        results.rows.append(row)
        try:
            await measure(plan.pairs[0], hedge, plan.conversations, plan.seed, measured, say)
        except CallwrightError as error:
            results.failure = str(error)
            return
        finally:
            row.answer_tokens = measured.usual(0).get("output_tokens", 0.0)
        if hedge == "off":
            once = [turn.usd for turn in measured.turns if not turn.asked_twice]
            row.alone_usd = alone = sum(once) / len(once) if once else None


def _name(pair: Pair) -> str:
    return "+".join(model for _, model in pair)
