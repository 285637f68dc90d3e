"""What a bench has found: one summary per system and setting, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue, TypeAdapter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from callwright.bench.latency import CallResult, Plan, Results
from callwright.bench.metrics import TurnTimes, cache_read_ratio
from callwright.bench.spread import Spread

Figure = Spread | float | None


@dataclass(frozen=True)
class Provenance:
    """Where and when the figures were made."""

    git: str | None
    date: str
    machine: dict[str, JsonValue]


@dataclass(frozen=True)
class Summary:
    """One system at one setting; `n` counts the caller's turns. A figure is a spread, or a number by itself."""

    bench: str
    system: str
    setting: str
    config: dict[str, JsonValue]
    n: int
    metrics: Mapping[str, Figure]

    def to_json(self, provenance: Provenance) -> dict[str, JsonValue]:
        """The form that metrics.md prescribes ("Reporting"); what could not be measured is null."""
        return {
            "bench": self.bench,
            "system": self.system,
            "git": provenance.git,
            "date": provenance.date,
            "machine": provenance.machine,
            "config": self.config,
            "n": self.n,
            "metrics": {name: _figure(name, figure) for name, figure in self.metrics.items()},
        }


def _figure(name: str, figure: Figure) -> JsonValue:
    if figure is None:
        return None
    if not isinstance(figure, Spread):
        return round(figure, 4)
    return {
        "p50": round(figure.p50, 1),
        "p95": round(figure.p95, 1),
        "max": round(figure.max, 1),
        "mean": round(figure.mean, 1),
        "unit": "ms" if name.endswith("_ms") else "",
        "n": figure.n,
    }


def summarise(plan: Plan, results: Results) -> list[Summary]:
    """The summaries of a latency run, in the order of the plan; none for what has no call yet."""
    found = []
    for delays in plan.delays:
        for system in plan.systems:
            calls = [call for call in results.calls if call.system == system and call.delays == delays]
            if calls:
                found.append(_summary(plan, system, calls, results))
    return found


def _summary(plan: Plan, system: str, calls: Sequence[CallResult], results: Results) -> Summary:
    transport_ms = results.transport_ms
    turns = [turn for call in calls for turn in call.times(transport_ms)]
    read, prompted = (sum(pair) for pair in zip(*(cache_read_ratio(c.turns, c.served) for c in calls), strict=True))

    def spread(figure: Callable[[TurnTimes], float | None]) -> Spread | None:
        return Spread.of([value for value in map(figure, turns) if value is not None])

    metrics: dict[str, Figure] = {
        "response_gap_ms": spread(lambda t: t.response_gap_ms),
        "added_latency_ms": spread(lambda t: t.added_latency_ms),
        "first_sound_ms": spread(lambda t: t.first_sound_ms),
        "longest_silence_ms": spread(lambda t: t.longest_silence_ms),
        "mute_turns": sum(turn.mute for turn in turns),
        "cache_read_ratio": read / prompted if prompted else None,
        "transport_ms": transport_ms,
        "injected_stt_ms": spread(lambda t: t.injected.stt_ms if t.injected else None),
        "injected_llm_ms": spread(lambda t: t.injected.llm_ms if t.injected else None),
        "injected_tts_ms": spread(lambda t: t.injected.tts_ms if t.injected else None),
        "added_hearing_ms": spread(lambda t: t.parts.hearing_ms if t.parts else None),
        "added_deciding_ms": spread(lambda t: t.parts.deciding_ms if t.parts else None),
        "added_wording_ms": spread(lambda t: t.parts.wording_ms if t.parts else None),
        "added_speaking_ms": spread(lambda t: t.parts.speaking_ms if t.parts else None),
        "calls": len(calls),
        "failed_calls": sum(bool(call.failure) for call in calls),
        "unsaid_turns": sum(max(0, call.lines - len(call.turns)) for call in calls),
        "unmatched_turns": sum(bool(turn.unmatched) for turn in turns),
    }
    delays = calls[0].delays
    account = plan.settings(delays, plan.seed).model_dump(mode="json", exclude={"brain_rules"})
    config: dict[str, JsonValue] = {
        "delays": delays,
        "concurrency": plan.concurrency,
        "seed": plan.seed,
        "noise_dbfs": plan.noise_dbfs,
        "agent": plan.agent.stem,
        "turn_wait_ms": max(call.wait_ms for call in calls),
        "vendors": account,
        "settings": next((call.settings for call in calls if call.settings), {}),
    }
    return Summary("latency", system, delays, config, len(turns), metrics)


def turn_lines(results: Results) -> Iterator[dict[str, JsonValue]]:
    """Every turn by itself, in the order of measuring: which call, what was said, all its figures."""
    for call in results.calls:
        pairs = zip(call.turns, call.times(results.transport_ms), strict=True)
        for number, (turn, times) in enumerate(pairs, 1):
            yield {
                "system": call.system,
                "delays": call.delays,
                "seed": call.seed,
                "turn": number,
                "text": turn.text,
                "times": _JSON.dump_python(times, mode="json"),
            }


_JSON = TypeAdapter(TurnTimes)

_ROWS = (
    ("response_gap_ms", "response gap"),
    ("added_latency_ms", "added latency"),
    ("added_hearing_ms", "  hearing: voice activity, way in"),
    ("added_deciding_ms", "  deciding: end of turn, prompt"),
    ("added_wording_ms", "  wording: tokens to a clause"),
    ("added_speaking_ms", "  speaking: audio, queue, way out"),
    ("first_sound_ms", "first sound"),
    ("longest_silence_ms", "longest silence"),
    ("injected_stt_ms", "vendors: speech to text"),
    ("injected_llm_ms", "vendors: model"),
    ("injected_tts_ms", "vendors: voice"),
)
_NUMBERS = (
    ("mute_turns", "mute turns"),
    ("cache_read_ratio", "cache read ratio"),
    ("failed_calls", "failed calls"),
    ("unsaid_turns", "unsaid turns"),
    ("unmatched_turns", "turns not measured"),
)


def render(summaries: Sequence[Summary], provenance: Provenance) -> RenderableType:
    """The summaries as tables, one per setting, the systems side by side."""
    parts: list[RenderableType] = []
    for setting in dict.fromkeys(summary.setting for summary in summaries):
        parts += [Text(), _table(setting, [summary for summary in summaries if summary.setting == setting])]
    if summaries:
        transport = summaries[0].metrics["transport_ms"]
        machine = ", ".join(f"{value} {name}" for name, value in provenance.machine.items())
        parts.append(
            Text(
                f"ms: p50 / p95 / max, nearest rank. Transport, both crossings: {transport:.1f} ms. "
                f"{machine}. {provenance.date}, {provenance.git or 'no git'}"
            )
        )
    return Group(*parts)


def _table(setting: str, summaries: Sequence[Summary]) -> Table:
    table = Table(title=f"vendors' delays: {setting}", title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for summary in summaries:
        calls = summary.metrics["calls"]
        table.add_column(f"{summary.system}\n{summary.n} turns, {calls} calls", justify="right", no_wrap=True)
    for name, label in _ROWS:
        table.add_row(label, *(_cell(summary.metrics[name]) for summary in summaries))
    for name, label in _NUMBERS:
        table.add_row(label, *(_cell(summary.metrics[name]) for summary in summaries))
    return table


def _cell(figure: Figure) -> str:
    if figure is None:
        return "–"
    if isinstance(figure, Spread):
        return f"{figure.p50:.0f} / {figure.p95:.0f} / {figure.max:.0f}"
    return f"{figure:.3f}" if isinstance(figure, float) else str(figure)
