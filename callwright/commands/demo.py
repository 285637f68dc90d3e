"""`callwright demo`: a whole spoken call on this machine, with nothing set up beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from callwright.commands._settings import File, Overrides


def register(app: typer.Typer) -> None:
    @app.command()
    def demo(
        script: Annotated[
            Path | None, typer.Argument(metavar="[AGENT.py]", help="The agent. [default: the front desk]")
        ] = None,
        once: Annotated[bool, typer.Option("--once", help="Exit after the call.")] = False,
        json_file: Annotated[
            Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.")
        ] = None,
        room: Annotated[str, typer.Option(help="The room's name.")] = "demo",
        config: File = None,
        settings: Overrides = None,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the engine does.")] = False,
    ) -> None:
        """Hold a spoken call: a simulated caller books an appointment with the front desk.

        Starts LiveKit (building it the first time) and, for every stage whose key is not set, a local stand-in.
        """
        import asyncio
        import json

        from callwright import demo as demonstration
        from callwright.commands._live import LiveView, command, print_record
        from callwright.errors import CallwrightError, ConfigError
        from callwright.logs import set_up

        set_up(verbose=verbose)
        if json_file and not json_file.resolve().parent.is_dir():
            raise ConfigError(f"--json {json_file}: there is no such folder")
        view = LiveView()

        def done(result: demonstration.Demo) -> None:
            print_record(result.outcome.record)
            found = result.to_json()
            view.say(f"booked: {found['booked']}" if found.get("booked") else "nothing was booked")
            view.say(f"see it again: {command()} show {result.outcome.record.call_id}")
            if json_file:
                json_file.write_text(json.dumps(found, indent=2) + "\n")

        result = asyncio.run(
            demonstration.run(
                script or demonstration.default_script(),
                room=room,
                file=config,
                settings=settings or [],
                command=command(),
                once=once,
                say=view.say,
                watch=view.entry,
                done=done,
            )
        )
        if result.outcome.ending.error:
            raise result.outcome.ending.error
        if result.to_json().get("booked") is None and "booked" in result.shown:
            raise CallwrightError("the call ended without a booking; the transcript above shows where it went astray")
