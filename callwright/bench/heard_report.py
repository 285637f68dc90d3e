"""What `bench heard` has found: one summary per system and row, as JSON, as tables, and answer by answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from callwright.bench.heard import CallResult, Plan, Results
from callwright.bench.heard_metrics import Verdict
from callwright.bench.heard_scenes import SCENES, SCRIPT
from callwright.bench.report import Figure, Provenance, Summary
from callwright.bench.spread import Spread


def summarise(plan: Plan, results: Results) -> list[Summary]:
    """The summaries of a run, row by row in the order of the plan; none for what has no call yet."""
    found = []
    for row in plan.rows:
        for system in plan.systems:
            calls = [call for call in results.calls if call.system == system and call.row == row]
            if calls:
                found.append(_summary(plan, calls))
    return found


def _summary(plan: Plan, calls: Sequence[CallResult]) -> Summary:
    first = calls[0]
    verdicts = [verdict for call in calls for verdict in call.verdicts]
    judged = [verdict for verdict in verdicts if not verdict.unjudged]
    cut = [verdict for verdict in judged if verdict.interrupted]
    whole = [verdict for verdict in judged if not verdict.interrupted]
    metrics: dict[str, Figure] = {
        "heard_exact_rate": _rate(cut, lambda v: v.exact),
        "heard_within_one_rate": _rate(cut, lambda v: v.over + v.under <= 1),
        "heard_verbatim_rate": _rate(cut, lambda v: v.verbatim),
        "heard_over_words": Spread.of([v.over for v in cut]),
        "heard_under_words": Spread.of([v.under for v in cut]),
        "stop_ms": Spread.of([v.stop_ms for v in cut if v.stop_ms is not None]),
        "interrupted_answers": len(cut),
        "whole_answers": len(whole),
        "answers_lost": sum(bool(v.lost) for v in whole),
        "not_judged": len(verdicts) - len(judged),
        "calls": len(calls),
        "failed_calls": sum(bool(call.failure) for call in calls),
    }
    config: dict[str, JsonValue] = {
        "row": first.row,
        "what": WHAT[first.row],
        "interruptions": plan.interruptions,
        "concurrency": plan.concurrency,
        "seed": plan.seed,
        "agent": f"bench/scenes/{SCRIPT.name}",
        "turn_wait_ms": max(call.wait_ms for call in calls),
        "vendors": first.scene.settings(plan.seed).model_dump(mode="json", exclude={"brain_rules"}),
        "stall_s": first.scene.stall_s,
        "settings": next((call.settings for call in calls if call.settings), {}),
    }
    return Summary("heard", first.system, first.row, config, len(judged), metrics)


def _rate(verdicts: Sequence[Verdict], holds: Callable[[Verdict], bool]) -> float | None:
    return sum(holds(verdict) for verdict in verdicts) / len(verdicts) if verdicts else None


WHAT = {name: scene.what for name, scene in SCENES.items()} | {"whole": "nobody interrupts, in each of these scenes"}


def detail_lines(results: Results) -> Iterator[dict[str, JsonValue]]:
    """Every answer by itself, in the order of judging: which call, what was in the context, what was heard."""
    for call in results.calls:
        for number, verdict in enumerate(call.verdicts, 1):
            yield {
                "row": call.row,
                "scene": call.scene.name,
                "system": call.system,
                "seed": call.seed,
                "answer": number,
                **asdict(verdict),
            }


_COLUMNS: tuple[tuple[str, str], ...] = (
    ("interrupted_answers", "n"),
    ("heard_exact_rate", "exact"),
    ("heard_within_one_rate", "±1 word"),
    ("heard_verbatim_rate", "verbatim"),
    ("heard_over_words", "over"),
    ("heard_under_words", "under"),
    ("stop_ms", "stop ms"),
    ("whole_answers", "whole"),
    ("answers_lost", "lost"),
    ("not_judged", "not judged"),
    ("failed_calls", "failed calls"),
)
_MEAN_AND_WORST = ("heard_over_words", "heard_under_words")


def render(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """The summaries as tables, one per system, a line for each row."""
    parts: list[RenderableType] = []
    for system in dict.fromkeys(summary.system for summary in summaries):
        table = Table(title=system, title_justify="left", box=None, pad_edge=False)
        table.add_column("", no_wrap=True)
        for _, label in _COLUMNS:
            table.add_column(label, justify="right", no_wrap=True)
        for summary in summaries:
            if summary.system == system:
                table.add_row(summary.setting, *(_cell(name, summary.metrics[name]) for name, _ in _COLUMNS))
        parts += [Text(), table]
    if summaries:
        machine = ", ".join(f"{value} {name}" for name, value in provenance.machine.items())
        parts.append(
            Text(
                "n: interrupted answers that were judged. over, under: words in the context and not heard, heard and "
                "not in the context, mean / worst. stop ms: p50 / p95 / max, nearest rank. whole: answers heard to "
                f"their end; lost: those not once in the context. {machine}. {provenance.date}, "
                f"{provenance.git or 'no git'}"
            )
        )
    return Group(*parts)


def _cell(name: str, figure: Figure) -> str:
    if figure is None:
        return "–"
    if isinstance(figure, Spread):
        if name in _MEAN_AND_WORST:
            return f"{figure.mean:.2f} / {figure.max:.0f}"
        return f"{figure.p50:.0f} / {figure.p95:.0f} / {figure.max:.0f}"
    return f"{figure:.3f}" if isinstance(figure, float) else str(figure)
