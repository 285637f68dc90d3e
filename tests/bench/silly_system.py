"""A system under test that does what the room's name says; run by test_system.py as a process of its own."""

from __future__ import annotations

import asyncio
import os

from callwright.bench.systems.host import Tell, main
from callwright.bench.systems.protocol import CallRequest, Ended, Ready


async def hold(request: CallRequest, tell: Tell) -> Ended:
    print("a library's chatter on standard output")
    if request.room == "raise":
        raise ValueError("no such thing")
    if request.room == "die":
        os._exit(3)
    tell(Ready(call=request.call, wait_ms=200, settings={"told": os.environ.get("SILLY", "")}))
    if request.room == "stay":
        await asyncio.sleep(3600)
    return Ended(call=request.call, reason="done", ok=True)


if __name__ == "__main__":
    main(hold)
