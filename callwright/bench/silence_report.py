"""What `bench silence` has found: one summary per system and row, as JSON, as a table, and turn by turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from callwright.bench.report import Figure, Provenance, Summary
from callwright.bench.silence import CallResult, Plan, Results
from callwright.bench.silence_scenes import SCENES, SCRIPT
from callwright.bench.spread import Spread
from callwright.bench.trial import GATE, Tally

ALL = "all"
"""The row of all rows together, in which the promises are judged."""


def summarise(plan: Plan, results: Results) -> list[Summary]:
    """The summaries of a run, row by row in the order of the plan and then all together; none for no calls."""
    found = []
    for row in (*plan.rows, *((ALL,) if len(plan.rows) > 1 else ())):
        for system in plan.systems:
            calls = [call for call in results.calls if call.system == system and row in (call.row, ALL)]
            if calls:
                found.append(_summary(plan, row, system, calls))
    return found


def _summary(plan: Plan, row: str, system: str, calls: Sequence[CallResult]) -> Summary:
    turns = [turn for call in calls for turn in call.turns]
    metrics: dict[str, Figure] = {
        "first_sound_ms": Spread.of([t.first_sound_ms for t in turns if t.first_sound_ms is not None]),
        "response_gap_ms": Spread.of([t.response_gap_ms for t in turns if t.response_gap_ms is not None]),
        "longest_silence_ms": Spread.of([t.longest_silence_ms for t in turns]),
        "mute_turns": sum(t.mute for t in turns),
        "filler_first_ms": Spread.of([t.first_filler_ms for t in turns if t.waited and t.first_filler_ms is not None]),
        "filler_needless_rate": sum(t.needless for t in turns) / len(turns) if turns else None,
        "handover_gap_ms": Spread.of([t.handover_gap_ms for t in turns if t.handover_gap_ms is not None]),
        "filler_overlap": sum(call.fillers.overlap for call in calls),
        "filler_cut_in_word": sum(call.fillers.cut_in_word for call in calls),
        "filler_over_answer": sum(call.fillers.over_answer for call in calls),
        "filler_repeated": sum(call.fillers.repeated for call in calls),
        "filler_over_caller": sum(call.fillers.over_caller for call in calls),
        "filler_in_context": sum(call.fillers.in_context for call in calls),
        "fillers": sum(call.fillers.said for call in calls),
        "tool_calls": sum(call.effects.asked for call in calls),
        "tool_calls_lost": sum(call.effects.lost for call in calls),
        "tool_calls_cut": sum(call.effects.cut for call in calls),
        "tool_calls_doubled": sum(call.effects.doubled for call in calls),
        "tool_calls_asked_again": sum(call.effects.asked_again for call in calls),
        "turns_waited": sum(t.waited for t in turns),
        "calls": len(calls),
        "failed_calls": sum(bool(call.failure) for call in calls),
    }
    config: dict[str, JsonValue] = {
        "row": row,
        "what": "all rows" if row == ALL else SCENES[row].what,
        "threshold_ms": plan.threshold_ms,
        "concurrency": plan.concurrency,
        "seed": plan.seed,
        "agent": f"bench/scenes/{SCRIPT.name}",
        "vendors": calls[0].scene.settings(plan.seed).model_dump(mode="json", exclude={"brain_rules"}),
        "settings": next((dict(call.settings) for call in calls if call.settings), {}),
    }
    return Summary("silence", system, row, config, len(turns), metrics)


def detail_lines(results: Results) -> Iterator[dict[str, JsonValue]]:
    """Every turn by itself, in the order of judging, and what became of its call's tools and fillers."""
    for call in results.calls:
        whole = {"fillers_in_call": asdict(call.fillers), "effects_in_call": asdict(call.effects)}
        for number, turn in enumerate(call.turns, 1):
            found = asdict(turn) | {"fillers": list(turn.fillers)}
            yield {"row": call.row, "system": call.system, "seed": call.seed, "turn": number, **found, **whole}


_COLUMNS: tuple[tuple[str, str], ...] = (
    ("first_sound_ms", "first\nsound"),
    ("filler_first_ms", "first\nfiller"),
    ("longest_silence_ms", "longest\nsilence"),
    ("handover_gap_ms", "hand-\nover"),
    ("mute_turns", "\nmute"),
    ("filler_needless_rate", "need-\nless"),
    ("filler_overlap", "over-\nlap"),
    ("filler_in_context", "in con-\ntext"),
    ("tool_calls", "\ntools"),
    ("tool_calls_lost", "\nlost"),
    ("tool_calls_doubled", "dou-\nbled"),
)


def render(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """The summaries as one table: the rows in turn, and in each the systems one beneath the other."""
    if not summaries:
        return Text("nothing was measured")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for label in ("\nrow", "\nsystem", "\nn", *(label for _, label in _COLUMNS)):
        table.add_column(label, justify="left" if label in ("\nrow", "\nsystem") else "right", no_wrap=True)
    row = None
    for summary in summaries:
        if row is not None and row != summary.setting:
            table.add_row()
        cells = (_typical(summary.metrics[name]) for name, _ in _COLUMNS)
        table.add_row("" if row == summary.setting else summary.setting, summary.system, str(summary.n), *cells)
        row = summary.setting
    machine = ", ".join(f"{value} {name}" for name, value in provenance.machine.items())
    failed = sum(int(str(s.metrics["failed_calls"])) for s in summaries if s.setting != ALL)
    foot = (
        "n: the caller's turns. ms: p50 / p95, nearest rank; first sound, filler and silence from the end of the "
        "caller's speech. hand-over: from a filler's last sound to the first of an answer that had come meanwhile. "
        "overlap: fillers cut within a word, over an answer, or twice running; in context: words. "
        f"tools: things the model asked for. failed calls: {failed}. {machine}. {provenance.date}, "
        f"{provenance.git or 'no git'}"
    )
    return Group(Text(), table, Text(foot))


def _typical(figure: Figure) -> str:
    """A spread without its largest, which stands in the JSON: a table of systems is wide enough."""
    return f"{figure.p50:.0f} / {figure.p95:.0f}" if isinstance(figure, Spread) else cell(figure)


def summarise_trial(tally: Tally, calls: int, seed: int) -> list[Summary]:
    """The counts of a trial on virtual time, as far as it came; none for no calls."""
    if not tally.calls:
        return []
    found = asdict(tally)
    renamed = {f"tool_calls_{name}": found.pop(name) for name in ("lost", "doubled", "cut", "untold")}
    config: dict[str, JsonValue] = {"calls": calls, "seed": seed, "gate": GATE}
    return [Summary("silence", "callwright", "virtual", config, tally.tool_calls, found | renamed)]


_TRIAL_ROWS = (
    ("calls", "calls on virtual time"),
    ("tool_calls", "tool calls"),
    ("asked", "  things asked for"),
    ("asked_again", "  asked for again"),
    ("late", "  taking longer than 8 s"),
    ("barge_ins", "  interruptions by the caller"),
    ("hang_ups", "  calls that end while tools run"),
    ("tool_calls_lost", "lost"),
    ("tool_calls_doubled", "doubled"),
    ("tool_calls_cut", "cut in half"),
    ("tool_calls_untold", "outcome never told to the model"),
)


def render_trial(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """The counts of a trial as a table."""
    if not summaries:
        return Text("nothing was measured")
    table = Table(title="the gate, by the tools' own effects", title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right")
    for name, label in _TRIAL_ROWS:
        table.add_row(label, cell(summaries[0].metrics[name]))
    return Group(Text(), table, Text(f"{provenance.date}, {provenance.git or 'no git'}"))


def cell(figure: Figure) -> str:
    """A figure as it stands in a table."""
    if figure is None:
        return "–"
    if isinstance(figure, Spread):
        return f"{figure.p50:.0f} / {figure.p95:.0f} / {figure.max:.0f}"
    return f"{figure:.3f}" if isinstance(figure, float) else str(figure)
