"""Messages to one websocket client, sent in order, each not before it is due, with the faults that strike them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from callwright.simulators.account import World
from callwright.simulators.faults import Fault

Message = Mapping[str, Any]


@dataclass
class _Item:
    due: float
    message: Message | None
    fault: Fault | None
    after: Callable[[], None] | None


class Outbox:
    """`put` messages, `run` sends them; `run` returns when the connection is closed by `finish` or a fault."""

    def __init__(self, world: World, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._world = world
        self._request = request
        self._socket = socket
        self._queue: asyncio.Queue[_Item | None] = asyncio.Queue()
        self._busy = False  # a message is on its way or waits for its time

    @property
    def pending(self) -> bool:
        """Whether anything is still to be sent."""
        return self._busy or not self._queue.empty()

    def put(
        self,
        message: Message,
        *,
        due: float = 0.0,
        fault: Fault | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Send `message` at the monotonic time `due` or as soon as those before it are out, then call `after`.

        `fault` strikes in its place.
        """
        self._queue.put_nowait(_Item(due, message, fault, after))

    def finish(self) -> None:
        """Nothing more will be put: `run` closes the socket with 1000 when all is out."""
        self._queue.put_nowait(None)

    async def run(self) -> None:
        while (item := await self._queue.get()) is not None:
            self._busy = True
            await self._world.sleep_until(item.due)
            if item.fault is None or await self._survives(item.fault):
                if self._socket.closed:
                    return
                try:
                    await self._socket.send_str(json.dumps(item.message))
                except ConnectionError:
                    return
                if item.after is not None:
                    item.after()
            self._busy = False
        await self._socket.close(code=1000)

    async def strike(self, fault: Fault) -> None:
        """Let a fault happen to the connection, whatever is being sent."""
        await hang_up(self._request, self._socket, fault)

    async def _survives(self, fault: Fault) -> bool:
        """Let the fault happen in a message's place; True if the message is to be sent after it."""
        if fault.kind == "stall":
            await stall(self._world, fault)
            return True
        if fault.kind in ("drop", "truncate"):
            await hang_up(self._request, self._socket, fault)
        elif fault.kind == "status":
            await self._socket.close(code=fault.close_code or 1011, message=(fault.message or "NET-0000").encode())
        elif fault.kind == "malformed":
            await self._socket.send_str('{"type": "Results", "channel": {')
        return False


async def stall(world: World, fault: Fault) -> None:
    """Wait for as long as the fault says; without a figure, for longer than any client waits."""
    await world.sleep(3600 if fault.stall_s is None else fault.stall_s)


async def hang_up(request: web.Request, socket: web.WebSocketResponse, fault: Fault) -> None:
    """Close with the fault's code, or without one tear the connection down (the client sees 1006)."""
    if fault.close_code is None and fault.kind == "drop":
        abort(request)
        return
    await socket.close(code=fault.close_code or 1000, message=(fault.message or "").encode())


def abort(request: web.Request) -> None:
    """End the TCP connection without a word."""
    transport: asyncio.Transport | None = request.transport
    if transport is not None:
        transport.abort()
