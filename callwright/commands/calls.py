"""`callwright calls`: the calls on record, newest first."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from callwright.records.calls import CallSummary

NONE_YET = "no calls on record in {place} yet: `scripts/demo` makes one"


def register(app: typer.Typer) -> None:
    @app.command()
    def calls(
        database: Annotated[
            str | None,
            typer.Option(metavar="URL", help="Database URL or SQLite file. [default: CALLWRIGHT_DATABASE]"),
        ] = None,
        limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """List the calls on record, newest first."""
        from callwright.commands._show_text import terminal
        from callwright.records.calls import recent
        from callwright.records.database import Database, NoDatabase, default_url

        place = database or default_url()
        try:
            with Database.open(place, create=False) as opened:
                place = opened.shown
                found = recent(opened, limit)
        except NoDatabase as error:
            place, found = str(error).rpartition(" at ")[2], []
        if as_json:
            print(json.dumps([_plain(call) for call in found], indent=2))
        elif not found:
            print(NONE_YET.format(place=place))
        else:
            terminal().print(_table(found))


def _plain(call: CallSummary) -> dict[str, object]:
    ended = call.ended.isoformat() if call.ended else None
    return {**asdict(call), "started": call.started.isoformat(), "ended": ended}


def _table(found: list[CallSummary]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from callwright.commands._show_text import clean, dollars, seconds

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("id", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("agent", overflow="fold")
    table.add_column("room", overflow="fold")
    for name in ("turns", "time", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ended", overflow="fold")
    for call in found:
        table.add_row(
            Text(clean(call.call_id)),
            call.started.astimezone().strftime("%m-%d %H:%M"),
            Text(clean(call.agent)),
            Text(clean(call.room)),
            str(call.turns),
            seconds(call.duration_s),
            dollars(call.cost_usd, call.priced_usd),
            Text(clean(call.reason), style="" if call.ok else "red"),
        )
    return table
