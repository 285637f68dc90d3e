"""`bench silence --virtual`: thousands of tool calls through the gate alone, on virtual time.

A scripted model asks for one to four deeds at once, some of them twice in one reply, some again in a later one, some
with an id that was used before; the caller speaks up at random moments, and then the handlers are cancelled as
Pipecat does it. The tools take from nothing to more than a minute, fail and are tried again. Every other caller hangs
up while tools run. What was done is counted in the tools' own world, what the model was told in the messages it was
shown.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

from callwright.bench.ground import Say
from callwright.bench.scenes.trial import DEEDS, WORLDS, Deed, World, agent
from callwright.bench.virtual import LoopClock, run

GATE = "processors.gate:Gate"
"""Found by name, as pipelines are: the engine imports nothing of what stands above it."""

EFFECTFUL = ("book", "pay")
SAY_EVERY = 100

TOLD_LIMIT_S = 300.0
"""Within so much (virtual) time of the last deed the model must have been told of every one."""

LONGEST_S = 90.0
"""No deed takes longer. A minute is what the gate waits for one before it tells the model that its end is not known."""

BRIEF_S = 4.0
"""What is asked for just before the caller hangs up takes no longer: a gate has to let it end in bounded time."""

MakeGate = Callable[[Any], Any]
"""Parts in, a gate out: `guard(mind)`, and `owed` as long as another request has something to tell."""


@dataclass
class Tally:
    """Counts over all calls of a trial.

    asked       deeds asked for, however often; tool_calls: how often a tool was called for them
    lost        deeds that should have an effect and have none; doubled: that have it more than once
    cut         side effects that began and never came to an end
    untold      deeds of whose outcome the model was never told, those aside that outlived the call
    hang_ups    calls that ended while tools ran
    """

    calls: int = 0
    tool_calls: int = 0
    asked: int = 0
    barge_ins: int = 0
    hang_ups: int = 0
    asked_again: int = 0
    late: int = 0
    lost: int = 0
    doubled: int = 0
    cut: int = 0
    untold: int = 0

    def add(self, other: Tally) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


def trial(calls: int, seed: int, tally: Tally, say: Say, make_gate: MakeGate | None = None) -> None:
    """Hold so many calls one after the other and count into `tally`; a line of progress every `SAY_EVERY` calls."""
    make = make_gate or the_gate()
    for number in range(calls):
        tally.add(run(_Story(f"trial-{seed}-{number}", make).tell()))
        if tally.calls % SAY_EVERY == 0 or tally.calls == calls:
            say(f"{tally.calls}/{calls}  {tally.tool_calls} tool calls: {tally.lost} lost, {tally.doubled} doubled")


def the_gate() -> MakeGate:
    """The gate of this installation."""
    module, _, name = GATE.partition(":")
    make: MakeGate = getattr(importlib.import_module(module), name)
    return make


class _Journal:
    """Facts that are durable after a moment of virtual time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._count = 0

    def append(self, event: object) -> int:
        self._count += 1
        return self._count

    async def durable(self, seq: int | None = None) -> None:
        await asyncio.sleep(self._rng.uniform(0, 0.02))


class _Mind:
    """What the gate guards: keeps the handlers that Pipecat's services would call."""

    def __init__(self) -> None:
        self.handler: Callable[[Any], Awaitable[None]]
        self.before: Callable[[Any, Any], Awaitable[None]]

    def register_function(self, _: None, handler: Callable[[Any], Awaitable[None]]) -> None:
        self.handler = handler

    def add_event_handler(self, _: str, handler: Callable[[Any, Any], Awaitable[None]]) -> None:
        self.before = handler


class _Story:
    """One call: the model's wishes and the caller's interruptions, drawn from `name` alone."""

    def __init__(self, name: str, make_gate: MakeGate) -> None:
        self._rng = random.Random(name)
        self._name = name
        self._make_gate = make_gate
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._handlers: dict[str, asyncio.Task[None]] = {}
        self._deeds: dict[str, str] = {}  # deed -> its tool
        self._places: dict[str, str] = {}  # tool call -> deed
        self._interrupted: set[str] = set()  # deeds whose handler was cancelled
        self._last: set[str] = set()  # deeds that the call did not wait for
        self._tally = Tally(calls=1)

    async def tell(self) -> Tally:
        frames = importlib.import_module("pipecat.frames.frames")
        contexts = importlib.import_module("pipecat.processors.aggregators.llm_context")
        world = WORLDS[self._name] = World()
        self._context = contexts.LLMContext([{"role": "user", "content": "Hello?"}])
        self._frame = frames.LLMContextFrame(self._context)
        call = SimpleNamespace(
            id=self._name, caller="caller", ending=False, memory=(), idempotency_key="", records=None
        )
        parts = SimpleNamespace(
            agent=agent,
            call=call,
            journal=_Journal(self._rng),
            clock=LoopClock(),
            turn=1,
            on_close=self._closers.append,
        )
        gate = self._make_gate(parts)
        self._mind = _Mind()
        gate.guard(self._mind)
        for _ in range(self._rng.randint(2, 5)):
            await self._turn()
        await self._until_told(gate)
        await asyncio.sleep(LONGEST_S)  # what the model was told of as still running must end nevertheless
        await self._ask()
        if self._rng.random() < 0.5:
            await self._ask_and_hang_up()
        call.ending = True
        await self._cancel_handlers()
        for closer in self._closers:
            await closer()
        self._count(world)
        for deed in self._deeds:
            del DEEDS[deed]
        del WORLDS[self._name]
        return self._tally

    async def _turn(self) -> None:
        """One reply of the model with tool calls, and what comes of it until the next request."""
        self._context.add_message({"role": "user", "content": "Please."})
        await self._ask()
        wanted = [self._new_deed() for _ in range(self._rng.randint(1, 4))]
        if self._rng.random() < 0.2:
            wanted.append(wanted[0])
        untold = [deed for deed in self._deeds if deed not in wanted and not self._told(deed)]
        lasting = [deed for deed, tool in self._deeds.items() if tool == "pay" and deed not in wanted]
        wanted += [deed for deed in (*untold, *lasting) if self._rng.random() < 0.3]
        tasks = [self._call(deed) for deed in dict.fromkeys(wanted)]
        tasks += [self._call(deed) for deed in wanted[len(set(wanted)) :]]
        if self._rng.random() < 0.5:
            await asyncio.wait(tasks)
            return
        await asyncio.wait(tasks, timeout=self._rng.choice((0.001, 0.5, 2.0, 9.0)) * self._rng.random() + 1e-6)
        self._tally.barge_ins += 1
        await self._cancel_handlers()

    async def _ask_and_hang_up(self) -> None:
        """One more reply with tool calls, whose end nobody waits for."""
        self._tally.hang_ups += 1
        wanted = [self._new_deed(brief=True) for _ in range(self._rng.randint(1, 4))]
        self._last.update(wanted)
        tasks = [self._call(deed) for deed in (*wanted, *wanted[: self._rng.randint(0, 1)])]
        await asyncio.wait(tasks, timeout=self._rng.choice((1e-6, 0.02, BRIEF_S)) * self._rng.random())

    async def _cancel_handlers(self) -> None:
        for key, task in self._handlers.items():
            if not task.done():
                self._interrupted.add(self._places[key])
                task.cancel()
        await asyncio.gather(*self._handlers.values(), return_exceptions=True)

    def _new_deed(self, *, brief: bool = False) -> str:
        rng, name = self._rng, f"{self._name}/{len(self._deeds)}"
        tool = rng.choice(("book", "book", "pay", "look", "search"))
        seconds = rng.choice((0.0, rng.uniform(0, 2), rng.uniform(0, 12), rng.uniform(50, LONGEST_S)))
        failures = rng.randint(1, 2) if tool != "book" and seconds < 2 and rng.random() < 0.3 else 0
        if brief:
            seconds, failures = rng.uniform(0, BRIEF_S), 0
        DEEDS[name] = Deed(tool, seconds, seconds * rng.random(), failures, refused=rng.random() < 0.1)
        self._deeds[name] = tool
        return name

    def _call(self, deed: str) -> asyncio.Task[None]:
        """As Pipecat does: the call and its place go into the context, and the handler is started."""
        tool = self._deeds[deed]
        given = {"deed": deed} | ({"note": f"{self._rng.random()}"} if tool == "pay" else {})
        key = f"call-{self._name}-{len(self._handlers)}"
        self._tally.tool_calls += 1
        self._tally.asked_again += deed in self._places.values()
        self._places[key] = deed
        asked = {"id": key, "type": "function", "function": {"name": tool, "arguments": json.dumps(given)}}
        self._context.add_message({"role": "assistant", "tool_calls": [asked]})
        place: dict[str, Any] = {"role": "tool", "tool_call_id": key, "content": "IN_PROGRESS"}
        self._context.add_message(place)

        async def result(answer: Any, *, properties: object = None) -> None:
            place["content"] = json.dumps(answer)

        params = SimpleNamespace(tool_call_id=key, function_name=tool, arguments=given, result_callback=result)
        task = self._handlers[key] = asyncio.ensure_future(self._mind.handler(params))
        return task

    async def _ask(self) -> None:
        """The model is asked: it is shown the context as the gate has made it."""
        await self._mind.before(None, self._frame)

    async def _until_told(self, gate: Any) -> None:
        """What is still running ends, and the model is asked as often as there is something to tell."""
        deadline = asyncio.get_running_loop().time() + TOLD_LIMIT_S
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(1.0)
            if getattr(gate, "owed", True):
                await self._ask()
            if all(self._told(deed) for deed in self._deeds) and all(task.done() for task in self._handlers.values()):
                return

    def _told(self, deed: str) -> bool:
        """Whether a message shows how the deed ended: in one of its places, or as news."""
        for message in self._context.messages:
            content = str(message.get("content"))
            if message.get("role") == "tool" and self._places.get(message["tool_call_id"]) == deed:
                if content not in ("IN_PROGRESS", "CANCELLED") and not {"pending", "parts"} & set(json.loads(content)):
                    return True
            elif message.get("role") == "user" and f'"deed": "{deed}"' in content:
                return True
        return False

    def _count(self, world: World) -> None:
        done: Counter[str] = Counter(deed for deed, _ in dict.fromkeys(world.effects) if self._deeds[deed] == "pay")
        done += Counter(deed for deed, _ in world.effects if self._deeds[deed] != "pay")
        begun = set(world.begun)
        tally = self._tally
        tally.asked += len(self._deeds)
        for name, tool in self._deeds.items():
            deed = DEEDS[name]
            # Look-ups may be given up: nobody waits a minute, and some not even for their result.
            looked_up = tool == "look" and deed.seconds < 2 and name not in self._last
            due = not deed.refused and (tool in EFFECTFUL or looked_up)
            tally.lost += due and not done[name]
            tally.doubled += tool in EFFECTFUL and done[name] > 1
            tally.cut += tool in EFFECTFUL and name in begun and not deed.refused and not done[name]
            tally.untold += name not in self._last and not self._told(name)
            tally.late += deed.seconds > 8
