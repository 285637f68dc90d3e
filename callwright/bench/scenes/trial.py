"""The tools of `callwright bench silence --virtual`: deeds that take their time, fail, hang, and leave their mark.

Each is told only which deed it is; the rest stands in `DEEDS`, where a trial has written it. What was done is in
`WORLD`, in the order of doing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from callwright import Agent, Call, tool
from callwright.tools import ToolError


@dataclass
class Deed:
    """One thing to be done: it takes `seconds`, its effect is there after `effect_s` of them.

    `failures` counts the attempts that fail before anything is done; `refused`: it ends with a reason, and no effect.
    """

    tool: str
    seconds: float
    effect_s: float
    failures: int = 0
    refused: bool = False


@dataclass
class World:
    """What was really done: an entry (deed, idempotency key) an effect."""

    begun: list[str] = field(default_factory=list)
    effects: list[tuple[str, str]] = field(default_factory=list)


DEEDS: dict[str, Deed] = {}
WORLDS: dict[str, World] = {}
"""By call."""


async def _do(name: str, call: Call) -> dict[str, str]:
    deed, world = DEEDS[name], WORLDS[call.id]
    world.begun.append(name)
    await asyncio.sleep(deed.effect_s)
    if deed.failures:
        deed.failures -= 1
        raise ConnectionError
    if deed.refused:
        raise ToolError(f"{name} cannot be done")
    world.effects.append((name, call.idempotency_key))
    await asyncio.sleep(deed.seconds - deed.effect_s)
    return {"done": name}


@tool
async def book(deed: str, call: Call) -> dict[str, str]:
    """Do a deed that must not be done twice.

    Args:
        deed: Which one.
    """
    return await _do(deed, call)


@tool(key=lambda given: given["deed"])
async def pay(deed: str, note: str, call: Call) -> dict[str, str]:
    """Do a deed at a service that knows it again by its key.

    Args:
        deed: Which one.
        note: Whatever the model writes; it does not make another deed of it.
    """
    return await _do(deed, call)


@tool(side_effect=False)
async def look(deed: str, call: Call) -> dict[str, str]:
    """Look something up.

    Args:
        deed: What.
    """
    return await _do(deed, call)


@tool(side_effect=False, cancellable=True)
async def search(deed: str, call: Call) -> dict[str, str]:
    """Look something up that nobody needs when the caller has changed their mind.

    Args:
        deed: What.
    """
    return await _do(deed, call)


agent = Agent(name="trial", prompt="Do what is asked.", tools=[book, pay, look, search])
