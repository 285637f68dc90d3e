"""`callwright run AGENT.py --room R`: one agent, one room, one call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from callwright.commands._settings import File, Overrides


def register(app: typer.Typer) -> None:
    @app.command()
    def run(
        script: Annotated[Path, typer.Argument(metavar="AGENT.py", help="The agent's script.")],
        room: Annotated[str, typer.Option(help="The LiveKit room to join.")],
        config: File = None,
        settings: Overrides = None,
        stand_ins: Annotated[
            bool, typer.Option("--stand-ins", help="Let local stand-ins serve the stages that have no key.")
        ] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the engine does.")] = False,
    ) -> None:
        """Join a room as AGENT.py's agent and hold one call.

        LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET say where; each vendor's key comes from its own
        variable ('callwright doctor AGENT.py' tells which are missing).
        """
        import asyncio

        from callwright.commands._live import LiveView, print_record
        from callwright.logs import set_up
        from callwright.running import hold

        set_up(verbose=verbose)
        view = LiveView(quiet=quiet)
        outcome = asyncio.run(
            hold(
                script,
                room,
                config,
                settings or [],
                stand_ins=stand_ins,
                say=view.say,
                watch=view.entry,
            )
        )
        if not quiet:
            print_record(outcome.record)
        if outcome.ending.error:
            raise outcome.ending.error
