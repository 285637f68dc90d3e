"""A replay as text for the terminal: each tool call with what became of it, and beneath it where it differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from callwright.commands._show_text import clean, counted
from callwright.differences import Absent, Difference, Side
from callwright.records.record import CallRecord
from callwright.replay import Replay, Replayed, State

TURN = 9
STATE = 13
ARGUMENT = 40  # characters of an argument
VALUE = 60  # characters of a value that differs
CONTEXT = 12  # characters kept of what two long values have in common
MOST = 12  # differences shown of one tool call
STYLES = {State.SAME: "green", State.SLOWER: "yellow", State.RECORDED: "dim", State.NOT_RUN: "dim"}
ENDINGS = {"agent_ended": "ends the call", "transferred": "transfers the call"}


def render(record: CallRecord, done: Replay, script: Path, console: Console) -> RenderableType:
    arrow = "→" if "utf" in (console.encoding or "").lower() else "->"
    parts: list[RenderableType] = [*_header(record, done, script), Text()]
    turn = -1
    for call in done.calls:
        parts.append(_call(call, "" if call.then.turn == turn else f"turn {call.then.turn}"))
        turn = call.then.turn
        parts.extend(_beneath(call, arrow))
    return Group(*parts, Text(), *_summary(done))


def _row(label: str, state: Text, text: Text) -> RenderableType:
    table = Table.grid(padding=0)
    table.add_column(width=TURN, style="dim")
    table.add_column(width=STATE)
    table.add_column(overflow="fold")
    table.add_row(label, state, text)
    return table


def _header(record: CallRecord, done: Replay, script: Path) -> Iterator[Text]:
    yield Text.assemble(("call".ljust(TURN), "dim"), (clean(record.call_id), "bold"), _started(record))
    yield Text.assemble(("script".ljust(TURN), "dim"), clean(str(script)))
    if record.agent != done.agent:
        told = f"the call was held by '{record.agent}', this script's agent is '{done.agent}'"
        yield Text.assemble(("agent".ljust(TURN), "dim"), (clean(told), "yellow"))


def _started(record: CallRecord) -> str:
    return f"  {clean(record.agent)}, {record.started.astimezone():%Y-%m-%d %H:%M}"


def _call(call: Replayed, turn: str) -> RenderableType:
    arguments = ", ".join(f"{name}={_short(_json(value), ARGUMENT)}" for name, value in call.then.arguments.items())
    took = f"  {call.now.ms:.0f} ms" if call.now and call.state is not State.REFUSED else ""
    state = Text(call.state.value, style=STYLES.get(call.state, "red"))
    return _row(turn, state, Text.assemble(clean(f"{call.then.name}({arguments})"), (took, "dim")))


def _beneath(call: Replayed, arrow: str) -> Iterator[RenderableType]:
    if call.note and call.state is not State.RECORDED:
        yield _row("", Text(), Text(clean(call.note), style="dim" if call.state.fine else ""))
    for difference in call.differences[:MOST]:
        yield _row("", Text(), _difference(difference, arrow))
    if (more := len(call.differences) - MOST) > 0:
        yield _row("", Text(), Text(f"and {counted(more, 'more difference')} (--json FILE has all)", style="dim"))


def _difference(difference: Difference, arrow: str) -> Text:
    path = difference.path.strip("()") or "result"
    then, now = _sides(difference)
    return Text.assemble((f"{clean(path)}: ", "bold"), (clean(then), "red"), f" {arrow} ", (clean(now), "green"))


def _sides(difference: Difference) -> tuple[str, str]:
    if difference.path == "(call)":
        then, now = (ENDINGS.get(str(side), "goes on") for side in (difference.then, difference.now))
        return then, now
    then, now = _json(difference.then), _json(difference.now)
    start = 0
    if max(len(then), len(now)) > VALUE:  # what both begin with would hide where they differ
        alike = next((n for n, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now)))
        start = max(alike - CONTEXT, 0)
    before = "…" if start else ""
    return _short(before + then[start:], VALUE), _short(before + now[start:], VALUE)


def _json(value: Side) -> str:
    return "nothing" if isinstance(value, Absent) else json.dumps(value, ensure_ascii=False)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _summary(done: Replay) -> Iterator[Text]:
    counts = done.counts
    told = ", ".join(f"{count} {state.value}" for state, count in counts.items())
    style = "red" if done.differs else "green" if State.SAME in counts else ""
    yield Text.assemble(f"{counted(len(done.calls), 'tool call')}: ", (told, style))
    held = counts.get(State.RECORDED, 0)
    if held and not any(call.now for call in done.calls):
        yield Text(
            "Nothing was run: a tool counts as having a side effect until it says otherwise. Mark those that only "
            "look something up with @tool(side_effect=False), or run all of them for real with --effects."
        )
    elif held:
        yield Text(
            "recorded: it has a side effect, so it was not run and the record's result stands; --effects runs it, "
            "for real.",
            style="dim",
        )
