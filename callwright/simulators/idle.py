"""The fault of a connection on which nothing is going on: between two requests, while nobody looks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from callwright.simulators.account import Account, World
from callwright.simulators.faults import Fault, Stage

_LOOK_S = 0.02


async def strike_when_idle(
    world: World,
    account: Account,
    stage: Stage,
    *,
    idle: Callable[[], bool],
    strike: Callable[[Fault], Awaitable[None]],
) -> None:
    """For the life of one connection, in a task: let the fault ordered for moment "idle" happen to it.

    idle: whether nothing is going on.  strike: does what the fault wants. One fault strikes one connection.
    """
    while True:
        await account.faults.ordered(stage, "idle")
        while not idle():
            await world.sleep(_LOOK_S)
        fault = account.faults.take(stage, "idle")
        if fault is not None:
            account.log(stage, "fault", detail={"kind": fault.kind, "moment": "idle"})
            await strike(fault)
            return
