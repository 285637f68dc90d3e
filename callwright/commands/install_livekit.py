"""`callwright install-livekit`: have a LiveKit server on this machine before it is needed."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    @app.command("install-livekit")
    def install_livekit() -> None:
        """Find livekit-server, or build it once into the user's cache (about two minutes)."""
        import asyncio

        from callwright.commands._live import LiveView
        from callwright.errors import SetupError
        from callwright.simulators.errors import SimulatorError
        from callwright.simulators.livekit_install import ensure

        view = LiveView()
        try:
            binary = asyncio.run(ensure(progress=view.say))
        except SimulatorError as error:
            raise SetupError(str(error)) from error
        print(binary)
