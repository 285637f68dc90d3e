"""What `bench faults` has found: one summary per system and row, as JSON, as tables, and turn by turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from callwright.bench.fault_scenes import SCENES
from callwright.bench.fault_trial import Case, Trial
from callwright.bench.faults import CallResult, Plan, Results
from callwright.bench.report import Figure, Provenance, Summary
from callwright.bench.silence_report import ALL, cell
from callwright.bench.silence_scenes import SCRIPT
from callwright.bench.spread import Spread, nearest_rank


def summarise(plan: Plan, results: Results) -> list[Summary]:
    """The summaries of a run, row by row in the order of the plan, then by stage, then all; none for no calls."""
    groups: dict[str, tuple[str, ...]] = {row: (row,) for row in plan.rows}
    if len(plan.rows) > 1:
        for stage in dict.fromkeys(SCENES[row].stage for row in plan.rows):
            groups[stage] = tuple(row for row in plan.rows if SCENES[row].stage == stage)
        groups[ALL] = plan.rows
    found = []
    for name, rows in groups.items():
        for system in plan.systems:
            calls = [call for call in results.calls if call.system == system and call.row in rows]
            if calls:
                found.append(_summary(plan, name, system, calls))
    return found


def _summary(plan: Plan, name: str, system: str, calls: Sequence[CallResult]) -> Summary:
    ordered = [effect for call in calls for effect in call.effects if effect.faulted]
    met = [effect for effect in ordered if effect.struck]
    silences = sorted(effect.silence_ms for effect in met)
    metrics: dict[str, Figure] = {
        "longest_silence_ms": Spread.of(silences),
        "longest_silence_p99_ms": nearest_rank(silences, 0.99) if silences else None,
        "mute_turns": sum(effect.mute for effect in met),
        "recovered_rate": sum(effect.recovered for effect in met) / len(met) if met else None,
        "told_rate": sum(effect.recovered or effect.told for effect in met) / len(met) if met else None,
        "failover_ms": Spread.of([e.failover_ms for e in met if e.recovered and e.failover_ms is not None]),
        "not_struck": len(ordered) - len(met),
        "turns": sum(len(call.effects) for call in calls),
        "unmet_mute_turns": sum(e.mute for call in calls for e in call.effects if not e.faulted),
        "unmet_unanswered_turns": sum(not e.recovered for call in calls for e in call.effects if not e.faulted),
        "calls": len(calls),
        "survived_calls": sum(not call.failure for call in calls),
        "failed_calls": sum(bool(call.failure) for call in calls),
    }
    config: dict[str, JsonValue] = {
        "row": name,
        "faults": [
            fault.model_dump(mode="json", exclude_defaults=True)
            for row in dict.fromkeys(call.row for call in calls)
            for fault in SCENES[row].faults
        ],
        "concurrency": plan.concurrency,
        "seed": plan.seed,
        "agent": f"bench/scenes/{SCRIPT.name}",
        "fallback": system == "callwright",
        "vendors": calls[0].scene.settings(plan.seed).model_dump(mode="json", exclude={"brain_rules"}),
        "settings": next((dict(call.settings) for call in calls if call.settings), {}),
    }
    return Summary("faults", system, name, config, len(met), metrics)


def detail_lines(results: Results) -> Iterator[dict[str, JsonValue]]:
    """Every turn by itself, in the order of judging."""
    for call in results.calls:
        for number, effect in enumerate(call.effects, 1):
            yield {"row": call.row, "system": call.system, "seed": call.seed, "turn": number, **asdict(effect)}


_SILENCE = "longest_silence_ms"
_COLUMNS = (
    (_SILENCE, "silence"),
    ("longest_silence_p99_ms", "p99"),
    ("mute_turns", "mute"),
    ("recovered_rate", "answered"),
    ("told_rate", "or told"),
    ("failover_ms", "failover"),
    ("not_struck", "void"),
    ("survived_calls", "survived"),
    ("calls", "calls"),
)


def render(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """The summaries as tables, one per system, a line for each fault."""
    if not summaries:
        return Text("nothing was measured")
    parts: list[RenderableType] = []
    for system in dict.fromkeys(summary.system for summary in summaries):
        shipped = "" if system == "callwright" else ", as shipped: no fallback configured"
        table = Table(title=f"{system}{shipped}", title_justify="left", box=None, pad_edge=False)
        table.add_column("", no_wrap=True)
        for label in ("n", *(label for _, label in _COLUMNS)):
            table.add_column(label, justify="right", no_wrap=True)
        for summary in summaries:
            if summary.system == system:
                cells = (_cell(name, summary.metrics[name]) for name, _ in _COLUMNS)
                table.add_row(summary.setting, str(summary.n), *cells)
        parts += [Text(), table]
    machine = ", ".join(f"{value} {name}" for name, value in provenance.machine.items())
    foot = (
        "n: turns that a fault struck; void: it was ordered, and found nothing to strike. "
        "ms: p50 / p95 / max, nearest rank. silence: the longest until the "
        "answer, or a line that says why there is none, had been said. answered: whole, without being asked again. "
        "failover: the response gap without what the model took by chance, less the median of that in the "
        "same call's other turns. "
        f"{machine}. {provenance.date}, {provenance.git or 'no git'}"
    )
    return Group(*parts, Text(foot))


def _cell(name: str, figure: Figure) -> str:
    return f"{figure:.0f}" if name.endswith("_ms") and isinstance(figure, float) else cell(figure)


def summarise_trial(found: Trial, turns: int, seed: int) -> list[Summary]:
    """What was played on virtual time: by stage and circumstance, then all stages together; none for no turns."""
    groups: dict[str, list[Case]] = {}
    for case in found.turns:
        groups.setdefault(f"{case.scene.stage}, {case.setting}", []).append(case)
    for case in found.turns:
        groups.setdefault(f"{ALL}, {case.setting}", []).append(case)
    return [_summary_of_trial(found, name, group, turns, seed) for name, group in groups.items()]


def _summary_of_trial(found: Trial, name: str, cases: Sequence[Case], turns: int, seed: int) -> Summary:
    every = [turn for case in cases for turn in found.turns[case]]
    met = [turn for turn in every if turn.struck]
    silences = sorted(turn.silence_ms for turn in met)
    worst = found.worst(cases)
    metrics: dict[str, Figure] = {
        "longest_silence_ms": Spread.of(silences),
        "longest_silence_p99_ms": nearest_rank(silences, 0.99) if silences else None,
        "mute_turns": sum(turn.mute for turn in met),
        "recovered_rate": sum(turn.answered for turn in met) / len(met) if met else None,
        "told_rate": sum(turn.answered or turn.told for turn in met) / len(met) if met else None,
        "failover_ms": Spread.of([turn.added_ms for turn in met if turn.added_ms is not None]),
        "not_struck": len(every) - len(met),
    }
    config: dict[str, JsonValue] = {
        "turns": turns,
        "seed": seed,
        "worst": f"{worst.row}, {worst.setting}" if worst else "",
    }
    return Summary("faults", "callwright", name, config, len(met), metrics)


def render_trial(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """What was played on virtual time, as a table."""
    if not summaries:
        return Text("nothing was measured")
    columns = [one for one in _COLUMNS if one[0] in summaries[0].metrics]
    table = Table(title="the policies, on virtual time", title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for label in ("n", *(label for _, label in columns)):
        table.add_column(label, justify="right", no_wrap=True)
    for summary in summaries:
        cells = (_cell(name, summary.metrics[name]) for name, _ in columns)
        table.add_row(summary.setting, str(summary.n), *cells)
    worst = max(summaries, key=lambda one: silence.max if isinstance(silence := one.metrics[_SILENCE], Spread) else 0.0)
    foot = (
        "ms: p50 / p95 / max. once: the first vendor misbehaves once, lasting: whenever it can. failover: the answer "
        f"began so much later. Longest silence: {worst.config['worst']}. "
        f"{provenance.date}, {provenance.git or 'no git'}"
    )
    return Group(Text(), table, Text(foot))
