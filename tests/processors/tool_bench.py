"""What the tests of the gate stand on: a gate without a call, a journal in memory, a model that only listens."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from pipecat.frames.frames import LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext

from callwright.clock import SystemClock
from callwright.records.events import Event
from callwright.records.journal import JournalError
from callwright.tools import Tool
from processors.gate import Gate


class MemoryJournal:
    """Keeps events; `durable` is how many of them were waited for. Breaks when it is told to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.durable_count = 0
        self.broken = False

    def append(self, event: Event) -> int:
        if self.broken:
            raise JournalError("the disk is full")
        self.events.append(event)
        return len(self.events)

    async def durable(self, seq: int | None = None) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise JournalError("the disk is full")
        self.durable_count = len(self.events) if seq is None else seq

    def kinds(self, *, of: str | None = None) -> list[str]:
        return [event.kind for event in self.events if of is None or getattr(event, "tool_call_id", None) == of]

    def one(self, kind: str) -> Any:
        (event,) = (event for event in self.events if event.kind == kind)
        return event


class QuietCall:
    id = idempotency_key = "call-1"
    caller = "caller"
    memory = (("caller", "Hello?"),)
    records: Any = None

    def __init__(self) -> None:
        self.ending = False
        self.did: list[tuple[str, ...]] = []

    async def say(self, text: str, *, remember: bool = True) -> None:
        self.did.append(("say", text))

    async def end(self, farewell: str | None = None) -> None:
        self.ending = True

    async def transfer(self, to: str, farewell: str | None = None) -> None:
        self.ending = True
        self.did.append(("transfer", to))


class GateBench:
    """A gate with these tools. `answers` is what the model was handed, by tool call, in order."""

    def __init__(self, *tools: Tool) -> None:
        self.journal = MemoryJournal()
        self.call = QuietCall()
        self.parts: Any = SimpleNamespace(
            agent=SimpleNamespace(tools=list(tools)),
            call=self.call,
            journal=self.journal,
            clock=SystemClock(),
            turn=1,
            on_close=lambda closer: None,
        )
        self.gate = Gate(self.parts, random=lambda: 0.0)
        self.context = LLMContext([{"role": "user", "content": "Hello?"}])
        self.answers: list[tuple[str, Any]] = []
        self.handlers: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> GateBench:
        return self

    async def __aexit__(self, *_: object) -> None:
        for handler in self.handlers.values():
            handler.cancel()
        await asyncio.gather(*self.handlers.values(), return_exceptions=True)
        await self.gate.aclose()

    def ask(self, key: str, name: str, arguments: object = None) -> asyncio.Task[None]:
        """As Pipecat does: the call and its place go into the context, and the handler is started."""

        async def result(answer: Any, *, properties: object = None) -> None:
            self.answers.append((key, answer))

        params: Any = SimpleNamespace(
            tool_call_id=key,
            function_name=name,
            arguments={} if arguments is None else arguments,
            result_callback=result,
        )
        self.place(key, name)
        handler = self.handlers[key] = asyncio.ensure_future(self.gate._handle(params))
        return handler

    def place(self, key: str, name: str, arguments: str = "{}") -> None:
        call = {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}
        self.context.add_message({"role": "assistant", "tool_calls": [call]})  # type: ignore[typeddict-item, list-item]
        self.context.add_message({"role": "tool", "tool_call_id": key, "content": "IN_PROGRESS"})

    async def interrupt(self, *keys: str) -> None:
        """The caller takes the floor: Pipecat cancels its handlers."""
        for key in keys or tuple(self.handlers):
            self.handlers[key].cancel()
        await asyncio.gather(*self.handlers.values(), return_exceptions=True)

    async def request(self) -> list[Any]:
        """The model is asked; the contents of what it is shown."""
        await self.gate._before_asking(None, LLMContextFrame(self.context))  # type: ignore[arg-type]
        return [one.get("content") for one in self.context.messages]  # type: ignore[union-attr]


async def until(condition: Any) -> None:
    """Some turns of the loop, until it holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # turns of the loop are what is waited for
            await asyncio.sleep(0)
