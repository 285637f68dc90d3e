"""`callwright stand-ins`: the vendors' stand-ins as a server, for any framework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command("stand-ins")
    def stand_ins(
        port: Annotated[int, typer.Option(help="Port on loopback; 0 takes a free one.")] = 8700,
        rules: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Rules of the scripted model, e.g. frontdesk.rules.yaml."),
        ] = None,
        oracle: Annotated[
            bool,
            typer.Option("--oracle", help="Ears that are told what the caller says, instead of recognising."),
        ] = False,
    ) -> None:
        """Serve Deepgram, Anthropic and Cartesia look-alikes on loopback until Ctrl-C.

        Point any client at the printed URL; control calls are under /_sim/.
        """
        import asyncio

        from callwright.errors import CallwrightError
        from callwright.simulators.__main__ import serve
        from callwright.simulators.account import AccountSettings
        from callwright.simulators.errors import SimulatorError

        settings = AccountSettings(ears="oracle" if oracle else "pocketsphinx")
        try:
            asyncio.run(serve(port, rules, settings))
        except (SimulatorError, OSError) as error:
            raise CallwrightError(str(error)) from error
