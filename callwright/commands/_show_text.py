"""A call as text for the terminal: header, transcript with a latency waterfall per turn, tools, usage."""

from __future__ import annotations

import io
import json
import math
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from callwright.records.events import Json
from callwright.records.record import CallRecord, JoinedRecord, ToolRecord, TurnRecord, UsageRecord

BAR_COLUMNS = 42
INDENT = 9  # the width of "caller   "
STYLES = {"stt": "cyan", "turn": "blue", "llm": "magenta", "tts": "yellow", "sound": "green", "answer": "green"}
POINTS = ("sound", "answer")
# Scales of the waterfall: the smallest that holds the call's slowest usual turn.
SCALES_MS = (500, 1000, 1500, 2000, 3000, 5000, 10_000, 20_000, 60_000)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What bars are drawn with, by what the terminal can print."""

    bar: str
    mark: str
    more: str
    ok: str
    failed: str


UNICODE = Glyphs("█", "▲", "▸", "✓", "✗")
ASCII = Glyphs("#", "^", ">", "ok", "FAILED")


def clean(text: str) -> str:
    """Without control characters: a caller's words must not steer the terminal."""
    return "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs") else char for char in text)


def seconds(duration_s: float) -> str:
    minutes, rest = divmod(duration_s, 60)
    return f"{minutes:.0f}:{rest:04.1f}" if minutes else f"{duration_s:.1f} s"


def dollars(cost_usd: float | None, priced_usd: float) -> str:
    """The cost; with a part unpriced, what is known of it as a lower bound."""
    if cost_usd is not None:
        return f"${cost_usd:.4f}"
    return f">${priced_usd:.4f}" if priced_usd else "unpriced"


def terminal() -> Console:
    """Standard output; a letter that its encoding lacks becomes "?" instead of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(highlight=False)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def render(record: CallRecord, console: Console) -> RenderableType:
    glyphs = UNICODE if "utf" in (console.encoding or "").lower() else ASCII
    parts: list[RenderableType] = [_header(record), Text()]
    scale = _scale(record.turns)
    for turn in record.turns:
        parts.extend(_turn(turn, scale, glyphs))
    if record.troubles or record.failures:
        parts.extend(_troubles(record))
        parts.extend(_failures(record))
        parts.append(Text())
    if record.usage:
        parts.extend(_usage(record.usage))
        parts.append(Text())
    parts.append(_cost(record))
    if record.recording:
        parts.append(_labelled("recorded", f"{record.recording} (caller left, agent right)"))
    return Group(*parts)


def _labelled(label: str, text: str | Text, style: str = "", *, label_style: str = "dim") -> RenderableType:
    """A label, and beside it the text in a column of its own."""
    table = Table.grid(padding=0)
    table.add_column(width=INDENT, style=label_style)
    table.add_column(overflow="fold")
    table.add_row(label, Text(clean(text), style=style) if isinstance(text, str) else text)
    return table


def _header(record: CallRecord) -> RenderableType:
    lines: list[RenderableType] = [
        _labelled("call", record.call_id, "bold"),
        _labelled("agent", f"{record.agent} in room {record.room}"),
        _labelled(
            "started",
            f"{record.started.astimezone():%Y-%m-%d %H:%M:%S %Z}, {seconds(record.duration_s)}, "
            f"{counted(record.caller_turns, 'turn')}",
        ),
    ]
    for name, stage in record.stages.items():
        mark = " (stand-in)" if stage.stand_in else ""
        lines.append(_labelled(name, f"{stage.vendor} {stage.model}{mark}"))
    detail = f": {record.detail}" if record.detail else ""
    lines.append(_labelled("ended", f"{record.reason}{detail}", "" if record.ok else "red"))
    gaps = sorted(turn.response_gap_ms for turn in record.turns if turn.response_gap_ms is not None)
    if gaps:
        lines.append(
            _labelled(
                "latency",
                f"answer after the caller's last: p50 {_rank(gaps, 0.5):.0f} ms, "
                f"p95 {_rank(gaps, 0.95):.0f} ms over {counted(len(gaps), 'turn')}",
            )
        )
    return Group(*lines)


def _rank(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: a figure that was measured, not one between two."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


# --- a turn ----------------------------------------------------------------------------------------------


def _turn(turn: TurnRecord, scale_ms: float, glyphs: Glyphs) -> Iterator[RenderableType]:
    number = f"turn {turn.number}" if turn.number else "greeting"
    cost = f"  ${turn.cost_usd:.4f}" if turn.cost_usd else ""
    yield Text.assemble((number, "bold"), (cost, "dim"))
    if turn.caller_text:
        yield _said("caller", turn.caller_text, "cyan")
    for tool in turn.tools:
        yield _tool(tool, glyphs)
    for joined in turn.joined:
        yield _joined(joined)
    for line in turn.lines:
        notes = [] if line.role in ("answer", "greeting") else [line.role]
        notes += ["cut off by the caller"] if line.interrupted else []
        notes += [f"not heard: {clean(line.unheard)}"] if line.unheard else []
        yield _said("agent", line.text or "…", "green", f" [{', '.join(notes)}]" if notes else "")
    yield from _waterfall(turn, scale_ms, glyphs)
    yield Text()


def _said(who: str, words: str, style: str, note: str = "") -> RenderableType:
    return _labelled(who, Text.assemble(clean(words), (note, "dim")), label_style=style)


def _tool(tool: ToolRecord, glyphs: Glyphs) -> RenderableType:
    notes = [f"{tool.attempts} attempts"] if tool.attempts > 1 else []
    notes += ["not waited for"] if tool.pending else []
    notes += [f"told as news in turn {tool.news_turn}"] if tool.news_turn is not None else []
    notes += [f"cancelled: {tool.cancelled.replace('_', ' ')}"] if tool.cancelled else []
    told = Text.assemble(
        _call(tool),
        *_outcome(tool.ok, tool.ms, tool.result, tool.error, glyphs),
        (clean(f"  [{', '.join(notes)}]") if notes else "", "dim"),
    )
    if tool.late:
        late = tool.late
        told.append_text(Text.assemble("\nin truth ", *_outcome(late.ok, late.ms, late.result, late.error, glyphs)))
    return _labelled("tool", told, label_style="blue")


def _joined(joined: JoinedRecord) -> RenderableType:
    which = {None: "an earlier run", joined.turn: "the run above"}.get(
        joined.run_turn, f"the run of turn {joined.run_turn}"
    )
    return _labelled("tool", Text.assemble(_call(joined), (f"joined {which}", "dim")), label_style="blue")


def _call(tool: ToolRecord | JoinedRecord) -> str:
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in tool.arguments.items())
    return clean(f"{tool.name}({arguments}) ")


def _outcome(
    ok: bool | None, ms: float | None, result: Json, error: str | None, glyphs: Glyphs
) -> Iterator[tuple[str, str]]:
    state = {True: glyphs.ok, False: glyphs.failed, None: "no end recorded"}[ok]
    yield f"{state}{'' if ms is None else f' {ms:.0f} ms'}", "green" if ok else "red"
    told = error if error else ("" if result is None else _short(result, 60))
    if told:
        yield clean(f"  {told}"), "dim"


def _short(value: object, most: int = 40) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 1] + "…"


def _scale(turns: Sequence[TurnRecord]) -> float:
    """One scale for all turns, so that they can be compared by eye; a rare slow one runs off the edge."""
    ends = sorted(
        max(known)
        for turn in turns
        if (
            known := [
                moment
                for moment in (
                    turn.llm_first_token_ms,
                    turn.tts_first_audio_ms,
                    turn.first_sound_ms,
                    turn.response_gap_ms,
                )
                if moment is not None
            ]
        )
    )
    longest = _rank(ends, 0.9) if ends else 1000.0
    return float(next((scale for scale in SCALES_MS if scale >= longest), SCALES_MS[-1]))


def _waterfall(turn: TurnRecord, scale_ms: float, glyphs: Glyphs) -> Iterator[RenderableType]:
    """A bar per stage, from its input to its first output, in ms after the caller's last sample."""
    bars: list[tuple[str, float | None, float | None, str]] = [
        ("stt", 0.0, turn.stt_final_ms, "final transcript"),
        ("turn", turn.stt_final_ms or 0.0, turn.committed_ms, "end of turn"),
        ("llm", turn.llm_start_ms, turn.llm_first_token_ms, "first token"),
        ("tts", _tts_start(turn), turn.tts_first_audio_ms, "first audio"),
        ("sound", turn.first_sound_ms, turn.first_sound_ms, "first sound"),
        ("answer", turn.response_gap_ms, turn.response_gap_ms, "its first word"),
    ]
    for name, start, end, what in bars:
        if start is None or end is None or (name == "answer" and end == turn.first_sound_ms):
            continue
        bar = _bar(start, end, scale_ms, glyphs, point=name in POINTS)
        line = Text(f"  {name:<{INDENT - 2}}", style="dim")
        line.append(bar.ljust(BAR_COLUMNS), style=STYLES[name])
        line.append(f"{end:6.0f} ms {what}", style="" if name in POINTS else "dim")
        line.no_wrap = True
        yield Padding(line, 0)


def _tts_start(turn: TurnRecord) -> float | None:
    return next((span.start_ms for span in turn.spans if span.stage == "tts"), None)


def _bar(start: float, end: float, scale_ms: float, glyphs: Glyphs, *, point: bool) -> str:
    def column(moment: float) -> int:
        return round(min(max(moment, 0.0), scale_ms) / scale_ms * (BAR_COLUMNS - 2))

    if max(start, end) > scale_ms and column(start) >= BAR_COLUMNS - 2:
        return " " * (BAR_COLUMNS - 2) + glyphs.more
    before = " " * column(start)
    if point:
        return before + glyphs.mark
    bar = glyphs.bar * max(column(end) - column(start), 1)
    return before + bar + (glyphs.more if end > scale_ms else "")


# --- what it used ----------------------------------------------------------------------------------------


def _troubles(record: CallRecord) -> Iterator[RenderableType]:
    for one in record.troubles:
        what, action = one.what.replace("_", " "), one.action.replace("_", " ")
        text = f"turn {one.turn}: {one.stage} {one.vendor} {what} after {one.waited_ms} ms, {action}"
        yield _labelled("trouble", text, "red" if one.action == "gave_up" else "yellow")


def _failures(record: CallRecord) -> Iterator[RenderableType]:
    for failure in record.failures:
        lasting = "for good" if failure.permanent else "passing"
        yield _labelled(
            "failure",
            f"turn {failure.turn}: {failure.stage} {failure.vendor} {failure.category} ({lasting}): {failure.message}",
            "red",
        )


def _usage(used: Sequence[UsageRecord]) -> Iterator[RenderableType]:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("used", no_wrap=True)
    table.add_column("vendor and model", overflow="fold")
    table.add_column("quantity", overflow="fold")
    table.add_column("USD", justify="right", no_wrap=True)
    table.add_column("prices of", no_wrap=True)
    for usage in used:
        quantities = ", ".join(
            f"{amount:,.10g} {name.replace('_', ' ')}"
            for name, amount in ((name, round(amount, 1)) for name, amount in usage.quantities.items())
            if amount
        )
        table.add_row(
            usage.stage,
            Text(clean(f"{usage.vendor} {usage.model}{'*' if usage.stand_in else ''}")),
            Text(clean(quantities or "none")),
            "unpriced" if usage.cost_usd is None else f"{usage.cost_usd:.4f}",
            usage.dated or "-",
        )
    yield table
    if any(usage.stand_in for usage in used):
        yield Text("* stand-in: nobody was billed; the dollars are the vendor's list price", style="dim")


def _cost(record: CallRecord) -> RenderableType:
    text = dollars(record.cost_usd, record.priced_usd)
    if record.unpriced:
        text += f" (no price for {'; '.join(record.unpriced)}: add rows to your own price book)"
    return _labelled("cost", text)
