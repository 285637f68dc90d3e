"""`callwright call --room R --script FILE`: the simulated caller, in any room of any LiveKit server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def call(
        room: Annotated[str, typer.Option(help="The LiveKit room to call into.")],
        script: Annotated[Path, typer.Option(metavar="FILE", help="What the caller does (YAML).")],
        url: Annotated[str | None, typer.Option(help="LiveKit server. [default: LIVEKIT_URL]")] = None,
        voice: Annotated[str | None, typer.Option(help="The caller's voice. [default: the script's]")] = None,
        record: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Keep the caller's recording (WAV and JSON) here.")
        ] = None,
        announce_to: Annotated[
            str | None, typer.Option(metavar="URL", help="Stand-ins whose oracle ears are told what is said.")
        ] = None,
        announce_key: Annotated[
            str, typer.Option(metavar="KEY", help="The account there, the agent's API key.")
        ] = "stand-in",
        agent_within: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for an agent.")] = 20.0,
    ) -> None:
        """Call an agent: join ROOM, follow the script, print what is said and the response times.

        LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET say where. Exits with 3 when LiveKit or the agent
        does not answer, and when an answer stayed away.
        """
        import asyncio

        from callwright.commands._calling import Order, place_call
        from callwright.logs import set_up

        set_up()

        order = Order(room, script, url, voice, record, announce_to, announce_key, agent_within)
        asyncio.run(place_call(order))
