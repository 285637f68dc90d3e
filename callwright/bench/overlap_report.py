"""What `bench overlap` has found: one summary per system, as a table and sound by sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from callwright.bench.overlap import CallResult, Plan, Results
from callwright.bench.overlap_metrics import Effect
from callwright.bench.overlap_set import FALSE
from callwright.bench.report import Figure, Provenance, Summary
from callwright.bench.spread import Spread

_ROWS = (
    ("yield_rate", "interruptions: yielded within 1.5 s", "true"),
    ("stop_ms", "  silent after, ms", "yielded"),
    ("backchannel_kept_rate", "false ones: nothing lost", "false"),
    ("kept_rate_backchannel", "  uh-huh, okay, …", "backchannel"),
    ("kept_rate_noise", "  coughs and the like", "noise"),
    ("kept_rate_background", "  talk in the background", "background"),
    ("resume_rate", "  went on, having fallen silent", "silenced"),
    ("silent_ms", "  silent for, ms", "resumed"),
    ("lost_words", "  words lost", "false"),
)


def summarise(plan: Plan, results: Results) -> list[Summary]:
    """The summaries of a run, in the order of the plan; none for a system that has no call yet.

    `n` counts the sounds that could be judged; `n_…` in the metrics what each ratio is of.
    """
    found = []
    for system in plan.systems:
        calls = [call for call in results.calls if call.system == system]
        if calls:
            found.append(_summary(plan, system, calls))
    return found


def _summary(plan: Plan, system: str, calls: Sequence[CallResult]) -> Summary:
    effects = [effect for call in calls for effect in call.effects]
    judged = [effect for effect in effects if not effect.unjudged]
    groups: dict[str, list[Effect]] = {
        "true": [effect for effect in judged if effect.kind == "interruption"],
        "false": [effect for effect in judged if effect.kind in FALSE],
        **{kind: [effect for effect in judged if effect.kind == kind] for kind in FALSE},
    }
    groups["yielded"] = [effect for effect in groups["true"] if effect.yielded]
    groups["silenced"] = [effect for effect in groups["false"] if effect.stop_ms is not None]
    groups["resumed"] = [effect for effect in groups["silenced"] if effect.resumed]

    def rate(group: str, fits: Callable[[Effect], bool]) -> float | None:
        return sum(map(fits, groups[group])) / len(groups[group]) if groups[group] else None

    metrics: dict[str, Figure] = {
        "yield_rate": rate("true", lambda e: e.yielded),
        "stop_ms": Spread.of([e.stop_ms for e in groups["yielded"] if e.stop_ms is not None]),
        "backchannel_kept_rate": rate("false", lambda e: e.kept),
        **{f"kept_rate_{kind}": rate(kind, lambda e: e.kept) for kind in FALSE},
        "resume_rate": rate("silenced", lambda e: e.resumed),
        "silent_ms": Spread.of([e.silent_ms for e in groups["resumed"]]),
        "lost_words": sum(e.lost for e in groups["false"]),
        **{f"n_{name}": len(group) for name, group in groups.items()},
        "calls": len(calls),
        "failed_calls": sum(bool(call.failure) for call in calls),
        "not_judged": len(effects) - len(judged),
    }
    config: dict[str, JsonValue] = {
        "ears": plan.ears,
        "concurrency": plan.concurrency,
        "seed": plan.seed,
        "vendors": plan.settings(plan.seed).model_dump(mode="json", exclude={"brain_rules"}),
        "settings": next((call.settings for call in calls if call.settings), {}),
    }
    return Summary("overlap", system, plan.ears, config, len(judged), metrics)


def sound_lines(results: Results) -> Iterator[dict[str, JsonValue]]:
    """Every sound by itself, in the order of measuring: what it was, and what it did."""
    for call in results.calls:
        for utterance, effect in zip(call.scene.utterances, call.effects, strict=True):
            yield {
                "system": call.system,
                "call": call.number,
                "voice": call.scene.voice,
                "noise_dbfs": call.scene.noise_dbfs,
                "kind": utterance.kind,
                "sound": utterance.label,
                "written": utterance.text,
                "below_db": round(utterance.below_db, 1),
                "yielded": effect.yielded,
                "kept": effect.kept,
                "stop_ms": None if effect.stop_ms is None else round(effect.stop_ms, 1),
                "silent_ms": round(effect.silent_ms, 1),
                "resumed": effect.resumed,
                "words": effect.words,
                "lost": effect.lost,
                "not_judged": effect.unjudged,
            }


def render(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """The summaries as a table, the systems side by side; behind each ratio, of how many."""
    if not summaries:
        return Text("nothing was measured")
    title = f"sounds over the agent's answers, ears: {summaries[0].setting}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for summary in summaries:
        heading = f"{summary.system}\n{summary.n} sounds, {summary.metrics['calls']} calls"
        table.add_column(heading, justify="right", no_wrap=True)
    for name, label, of in _ROWS:
        table.add_row(label, *(_cell(summary.metrics[name], summary.metrics[f"n_{of}"]) for summary in summaries))
    for name, label in (("not_judged", "sounds not judged"), ("failed_calls", "failed calls")):
        table.add_row(label, *(str(summary.metrics[name]) for summary in summaries))
    machine = ", ".join(f"{value} {name}" for name, value in provenance.machine.items())
    foot = f"ms: p50 / p95 / max, nearest rank. {machine}. {provenance.date}, {provenance.git or 'no git'}"
    return Group(Text(), table, Text(foot))


def _cell(figure: Figure, of: Figure) -> str:
    if figure is None:
        return "–"
    if isinstance(figure, Spread):
        return f"{figure.p50:.0f} / {figure.p95:.0f} / {figure.max:.0f}"
    return f"{figure:.3f} of {of}" if isinstance(figure, float) else f"{figure} in {of}"
