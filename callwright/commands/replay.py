"""`callwright replay ID [AGENT.py]`: a recorded call's tools run again, offline, against their recorded results."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def replay(
        call: Annotated[str, typer.Argument(metavar="ID", help="The call's id, its unique beginning, or 'last'.")],
        script: Annotated[
            Path | None,
            typer.Argument(
                metavar="AGENT.py", help="The agent's script. [default: the one that held the call]", show_default=False
            ),
        ] = None,
        effects: Annotated[
            bool, typer.Option("--effects", help="Also run tools that have a side effect, for real.")
        ] = False,
        only: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="Run this tool alone; may be repeated.")
        ] = None,
        ignore: Annotated[
            list[str] | None,
            typer.Option(
                metavar="PATH", help="A place that may differ: today, 'slots[*].start', '**.id'; may be repeated."
            ),
        ] = None,
        strict: Annotated[
            bool, typer.Option("--strict", help="The order of lists counts too, and 1 is not 1.0.")
        ] = False,
        limit_s: Annotated[float, typer.Option(min=0.001, help="Longest that one tool may take, in seconds.")] = 30.0,
        json_file: Annotated[
            Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
        ] = None,
        database: Annotated[
            str | None,
            typer.Option(metavar="URL", help="Database URL or SQLite file. [default: CALLWRIGHT_DATABASE]"),
        ] = None,
    ) -> None:
        """Run a recorded call's tools again, offline, and show where they behave differently.

        Needs no room, no vendor and no key. A tool with a side effect is answered from the record, unless
        --effects is given. Exits with 0 when nothing differs, with 1 when something does.
        """
        from callwright.agent import load as load_agent
        from callwright.clock import SystemClock
        from callwright.commands._replay_text import render
        from callwright.commands._show_text import terminal
        from callwright.errors import ConfigError
        from callwright.offline import replay as run
        from callwright.records import journal
        from callwright.records.calls import UnknownCall, find, load
        from callwright.records.database import Database, NoDatabase, default_url
        from callwright.replay import Rules, caller_of, effects_in, require_tools, script_of

        if json_file and not json_file.resolve().parent.is_dir():
            raise ConfigError(f"--json {json_file}: there is no such folder")
        try:
            opened = Database.open(database or default_url(), create=False)
        except NoDatabase as error:
            raise UnknownCall(f"{error} yet: `scripts/demo` makes one") from error
        with opened:
            call_id = find(opened, call)
            record, entries = load(opened, call_id), journal.read(opened, call_id)
        rules = Rules(effects, frozenset(only or ()), tuple(ignore or ()), strict, limit_s)
        require_tools(record, rules.only)
        path = script or script_of(entries)
        with redirect_stdout(sys.stderr):  # what a script prints is no part of the answer
            agent = load_agent(path)
            if effects and (names := effects_in(record, agent, rules.only)):
                print(f"· --effects: {', '.join(names)} will act for real, once more", flush=True)
            done = asyncio.run(run(record, agent, rules, caller=caller_of(entries), clock=SystemClock()))
        console = terminal()
        console.print(render(record, done, path, console))
        if json_file:
            json_file.write_text(json.dumps(done.to_json(), indent=2) + "\n")
        if done.differs:
            raise typer.Exit(1)
