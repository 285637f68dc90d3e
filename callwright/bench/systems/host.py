"""The process of a system under test: takes orders on standard input, tells news on standard output.

The owner holds the other end of standard input. When that closes, for whatever reason, every call is
cancelled and the process ends; if it cannot, it is ended by force.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable

from loguru import logger

from callwright.bench.systems.protocol import CallRequest, Ended, News, Ready, Up

GRACE_S = 5.0
"""How long calls may take to end when the owner has gone."""

Tell = Callable[[Ready], None]
Hold = Callable[[CallRequest, Tell], Awaitable[Ended]]
"""Hold one call: `tell` that the agent is in the room, return when it has left."""


def main(hold: Hold) -> None:
    """Serve until standard input closes."""
    news = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not stand between the lines
    # No system under test pays for its log: a deployed one writes warnings at most.
    logger.remove()
    logger.add(sys.stderr, level="CRITICAL")
    try:
        asyncio.run(_serve(hold, news))
    except KeyboardInterrupt:
        sys.exit(130)


async def _serve(hold: Hold, news: int) -> None:
    orders: asyncio.Queue[bytes | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read, args=(loop, orders), daemon=True).start()

    def tell(line: Up | Ready | Ended) -> None:
        os.write(news, News(line=line).model_dump_json().encode() + b"\n")

    async def one(request: CallRequest) -> None:
        os.environ.update(request.environment)
        try:
            ended = await hold(request, tell)
        except Exception as error:  # the bench must learn of it; the next call may go well
            ended = Ended(call=request.call, reason=f"{type(error).__name__}: {error}", ok=False)
        tell(ended)

    tell(Up())
    calls: set[asyncio.Task[None]] = set()
    while (order := await orders.get()) is not None:
        task = asyncio.create_task(one(CallRequest.model_validate_json(order)))
        calls.add(task)
        task.add_done_callback(calls.discard)
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def _read(loop: asyncio.AbstractEventLoop, orders: asyncio.Queue[bytes | None]) -> None:
    """Lines of standard input, then None. Not through `sys.stdin`: its lock would be held at exit."""
    held = b""
    while piece := os.read(0, 65536):
        held += piece
        *lines, held = held.split(b"\n")
        for line in lines:
            loop.call_soon_threadsafe(orders.put_nowait, line)
    killer = threading.Timer(GRACE_S, os._exit, (1,))
    killer.daemon = True
    killer.start()
    loop.call_soon_threadsafe(orders.put_nowait, None)
