"""`callwright show ID`: one call, to read, as JSON or as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def show(
        call: Annotated[str, typer.Argument(metavar="ID", help="The call's id, its unique beginning, or 'last'.")],
        database: Annotated[
            str | None,
            typer.Option(metavar="URL", help="Database URL or SQLite file. [default: CALLWRIGHT_DATABASE]"),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
        events: Annotated[bool, typer.Option("--events", help="Print the journal as JSON lines.")] = False,
        prices: Annotated[
            Path | None, typer.Option(metavar="CSV", help="Price by this book instead of the call's own.")
        ] = None,
        picture: Annotated[
            Path | None,
            typer.Option(
                "--plot", metavar="FILE.png", help="Draw it: the sound of both, the words where they sounded."
            ),
        ] = None,
    ) -> None:
        """Show a call: its transcript with each turn's latency, its tools, what it used and cost."""
        from callwright.commands._show_text import render, terminal
        from callwright.errors import ConfigError
        from callwright.records import journal
        from callwright.records.calls import UnknownCall, find, load
        from callwright.records.database import Database, NoDatabase, default_url
        from callwright.records.prices import PriceBook

        if picture and (as_json or events):
            raise ConfigError("--plot draws a picture; --json and --events print: ask for them one after the other")
        book = PriceBook.load(prices) if prices else None
        try:
            opened = Database.open(database or default_url(), create=False)
        except NoDatabase as error:
            raise UnknownCall(f"{error} yet: `scripts/demo` makes one") from error
        with opened:
            call_id = find(opened, call)
            if events:
                for entry in journal.read(opened, call_id):
                    print(json.dumps(entry.to_json()))
                return
            record = load(opened, call_id, book)
            entries = journal.read(opened, call_id) if picture else []
        if picture:
            from callwright.commands._show_plot import write

            for page in write(picture, record, entries):
                print(page)
            return
        if as_json:
            print(json.dumps(record.to_json(), indent=2))
        else:
            console = terminal()
            console.print(render(record, console))
