"""What can happen to a voice's client by order before it has got anything: refused, held up, cut off or ignored."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from callwright.simulators.account import Account, World
from callwright.simulators.faults import Fault
from callwright.simulators.outbox import abort, stall

_LOOK_S = 0.05  # how often a request that is never answered looks whether its client has gone
Refuse = Callable[[int, str | None, float | None], web.Response]
"""A vendor's answer for a status, wording and Retry-After."""


async def at_the_door(
    world: World, request: web.Request, account: Account, refuse: Refuse, *, batch: bool = False
) -> web.StreamResponse | None:
    """Let the fault ordered for a connecting client happen; None when the client is let in."""
    fault = account.faults.take("tts", "connect", batch=batch)
    return None if fault is None else await strike_ahead(world, request, account, fault, refuse)


async def strike_ahead(
    world: World, request: web.Request, account: Account, fault: Fault, refuse: Refuse
) -> web.StreamResponse | None:
    """Let a fault happen to a request before anything is answered; None when the answer goes on after it."""
    account.log("tts", "fault", detail={"kind": fault.kind, "moment": fault.moment})
    if fault.kind == "stall":
        await stall(world, fault)
    elif fault.kind in ("refuse_connect", "drop"):
        abort(request)
        return web.Response(status=503)  # nobody is there to read it
    elif fault.kind == "status":
        account.log("tts", "refused", detail={"status": fault.status or 500})
        return refuse(fault.status or 500, fault.message, fault.retry_after)
    elif fault.kind == "silence":
        return await never_a_word(world, request)
    return None


async def never_a_word(world: World, request: web.Request) -> web.StreamResponse:
    """Take what the client sends, for as long as it cares to wait, and say nothing."""
    socket = web.WebSocketResponse(max_msg_size=0)
    if socket.can_prepare(request):
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket
    while request.transport is not None and not request.transport.is_closing():
        await world.sleep(_LOOK_S)
    return web.Response(status=503)
