"""What `bench hedge` has found: one summary a row, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from callwright.bench.hedge import Plan, Results, Row
from callwright.bench.hedge_trial import DELAY, FRONT_DESK
from callwright.bench.report import Figure, Provenance, Summary
from callwright.bench.spread import Spread

GOAL_MS = 1200
GOAL_SHARE = 0.15


def summarise(plan: Plan, results: Results) -> list[Summary]:
    """The rows that have turns, in the order of measuring."""
    return [_summary(plan, row) for row in results.rows if row.turns]


def _summary(plan: Plan, row: Row) -> Summary:
    n = len(row.turns)
    usd = sum(turn.usd for turn in row.turns) / n
    spread = Spread.of([turn.first_token_ms for turn in row.turns])
    more = usd / row.alone_usd - 1 if row.alone_usd else None
    metrics: dict[str, Figure] = {
        "first_token_ms": spread,
        "usd_per_1000_turns": usd * 1000,
        "more_spend": more,
        "asked_twice": sum(turn.asked_twice for turn in row.turns) / n,
        "answered_by_second": sum(turn.by_second for turn in row.turns) / n,
        "goal": float(spread is not None and spread.p95 <= GOAL_MS and more is not None and more <= GOAL_SHARE),
    }
    models = [model for _, model in row.pair]
    asked = {"off": models[0], "same": f"{models[0]} twice", "next": " + ".join(models)}[row.hedge]
    config: dict[str, JsonValue] = {
        "where": row.where,
        "models": list(models),
        "hedge": row.hedge,
        "answer_tokens": round(row.answer_tokens, 1),
        "prompt": {name: FRONT_DESK[name] for name in ("cache_read_tokens", "cache_write_5m_tokens")},
        "delay_ms": [DELAY.p50_ms, DELAY.p95_ms],
        "seed": plan.seed,
    }
    return Summary("hedge", "callwright", f"{row.where}: {asked}", config, n, metrics)


def render(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """All rows as one table."""
    if not summaries:
        return Text("nothing was measured")
    table = Table(title="a second request to the model", title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    labels = ("", "answer", "n", "p50", "p95", "$/1000", "more", "asked twice", "by the second", "goal")
    for label in labels:
        table.add_column(label, justify="right" if label else "left", no_wrap=True)
    for summary in summaries:
        metrics = summary.metrics
        spread = metrics["first_token_ms"]
        assert isinstance(spread, Spread)
        table.add_row(
            summary.setting,
            f"{summary.config['answer_tokens']:.0f}",
            str(summary.n),
            f"{spread.p50:.0f}",
            f"{spread.p95:.0f}",
            f"{metrics['usd_per_1000_turns']:.3f}",
            _percent(metrics["more_spend"], sign="+"),
            _percent(metrics["asked_twice"]),
            _percent(metrics["answered_by_second"]),
            "yes" if metrics["goal"] else "no",
        )
    foot = (
        f"First token in ms; drawn for each request alone, p50 {DELAY.p50_ms:.0f}, p95 {DELAY.p95_ms:.0f} for every "
        "model. answer: its tokens on average. more: than each turn asked of the first model once; what is cancelled "
        "counts with its prompt. Without a hedge a model that is silent for 1500 ms is overtaken all the same. "
        f"goal: p95 {GOAL_MS} ms or less for {GOAL_SHARE:.0%} more or less. {provenance.date}, "
        f"{provenance.git or 'no git'}"
    )
    return Group(Text(), table, Text(foot))


def _percent(figure: Figure, sign: str = "") -> str:
    return "–" if figure is None or isinstance(figure, Spread) else f"{figure:{sign}.1%}"
