"""What `bench hedge` has found: one summary a row, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from callwright.bench.hedge import Plan, Results, Row
from callwright.bench.hedge_trial import DELAY
from callwright.bench.report import Figure, Provenance, Summary
from callwright.bench.spread import Spread
from callwright.failover.hedge import LATE, SOONEST_MS

GOAL_MS = 1200
GOAL_SHARE = 0.15


def summarise(plan: Plan, results: Results) -> list[Summary]:
    """The rows that have turns, in the order of measuring; over HTTP a pair's side by side."""
    rows = sorted(results.rows, key=lambda row: plan.pairs.index(row.pair) if row.where == "wire" else -1)
    return [_summary(plan, row) for row in rows if row.turns]


def _summary(plan: Plan, row: Row) -> Summary:
    n = len(row.turns)
    usd, alone_usd = sum(turn.usd for turn in row.turns), sum(turn.alone_usd for turn in row.turns)
    spread = Spread.of([turn.first_token_ms for turn in row.turns])
    again = [turn.again_ms for turn in row.turns if turn.again_ms is not None]
    more = usd / alone_usd - 1 if alone_usd else None
    metrics: dict[str, Figure] = {
        "first_token_ms": spread,
        "usd_per_1000_turns": usd / n * 1000,
        "more_spend": more,
        "asked_twice": len(again) / n,
        "asked_again_ms": Spread.of(again),
        "answered_by_second": sum(turn.by_second for turn in row.turns) / n,
        "overhead_ms": Spread.of(row.overheads_ms),
        "losers_overrated": row.overrated,
        "goal": float(spread is not None and spread.p95 <= GOAL_MS and more is not None and more <= GOAL_SHARE),
    }
    models = [model for _, model in row.pair]
    asked = {"off": models[0], "same": f"{models[0]} twice", "next": " + ".join(models)}[row.hedge]
    config: dict[str, JsonValue] = {
        "where": row.where,
        "models": list(models),
        "hedge": row.hedge,
        "usage": {name: round(amount, 1) for name, amount in row.usage.items()},
        "delay_ms": [DELAY.p50_ms, DELAY.p95_ms],
        "seed": plan.seed,
    }
    return Summary("hedge", "callwright", f"{row.where}: {asked}", config, n, metrics)


def render(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """All rows as one table."""
    if not summaries:
        return Text("nothing was measured")
    table = Table(title="a second request to the model", title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    for label in ("", "answer", "n", "p50", "p95", "$/1000", "more", "again", "after", "by 2nd", "own", "goal"):
        table.add_column(label, justify="right" if label else "left", no_wrap=True)
    for summary in summaries:
        metrics, usage = summary.metrics, summary.config["usage"]
        assert isinstance(usage, dict)
        table.add_row(
            summary.setting,
            f"{usage.get('output_tokens', 0.0):.0f}",
            str(summary.n),
            _ms(metrics["first_token_ms"]),
            _ms(metrics["first_token_ms"], 95),
            f"{metrics['usd_per_1000_turns']:.3f}",
            _percent(metrics["more_spend"], sign="+"),
            _percent(metrics["asked_twice"]),
            _ms(metrics["asked_again_ms"]),
            _percent(metrics["answered_by_second"]),
            _ms(metrics["overhead_ms"], 95),
            "yes" if metrics["goal"] else "no",
        )
    foot = (
        f"First token in ms; drawn for each request alone, p50 {DELAY.p50_ms:.0f}, p95 {DELAY.p95_ms:.0f} for every "
        "model. answer: its tokens on average. more: than each turn asked of the first model once; what is cancelled "
        "counts with its prompt. again: turns in which somebody was asked a second time, p50 ms after the first; "
        f"the other model is asked anyway once {LATE:.0%} of first tokens would have come, but not before "
        f"{SOONEST_MS:.0f} ms. "
        "own: what first tokens took beyond the vendor's delay, p95. Over HTTP what came first does not count: a "
        "request to fill the cache, and eleven conversations by which the hedge learns. "
        f"goal: p95 {GOAL_MS} ms or less for {GOAL_SHARE:.0%} more or less. {provenance.date}, "
        f"{provenance.git or 'no git'}"
    )
    return Group(Text(), table, Text(foot))


def _percent(figure: Figure, sign: str = "") -> str:
    return "–" if figure is None or isinstance(figure, Spread) else f"{figure:{sign}.1%}"


def _ms(figure: Figure, percentile: Literal[50, 95] = 50) -> str:
    return f"{figure.p50 if percentile == 50 else figure.p95:.0f}" if isinstance(figure, Spread) else "–"
