"""`bench hedge`: the front desk's booking, request by request, through the real mind to the vendors' stand-ins.

No sound: what a caller would have said goes straight into the context, and tools answer at once what the clinic's
calendar would. So many conversations are held at a time that the stand-ins' delays are what takes the time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.clocks.system_clock import SystemClock as PipecatClock
from pipecat.frames.frames import Frame, FunctionCallsStartedFrame, LLMContextFrame, LLMTextFrame, StartFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.llm_service import FunctionCallParams
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams

from callwright.agent import Agent
from callwright.agent import load as load_agent
from callwright.bench.hedge_trial import DELAY, Turn
from callwright.call import CONNECTED
from callwright.clock import SystemClock
from callwright.config import Config
from callwright.config import load as load_config
from callwright.demo import default_script
from callwright.errors import CallwrightError
from callwright.failover.branch import Branch
from callwright.failover.mind import Mind
from callwright.records import events
from callwright.records.prices import PriceBook
from callwright.simulators.account import AccountSettings
from callwright.simulators.process import Control, VendorProcess
from callwright.stages import build_mind

AT_ONCE = 12
ANSWER_LIMIT_S = 30.0
LINES = (
    "I would like to book an appointment.",
    "My name is Mary Johnson.",
    "Tuesday morning please.",
    "The first one please.",
    "Yes please.",
    "No thank you, goodbye.",
)
"""As in agents/frontdesk.caller.yaml."""

_FIRST = {"slot_id": "s1", "start": "2026-11-24T09:00", "spoken": "Tuesday at nine o'clock", "practitioner": "Dr. Reed"}
_SECOND = _FIRST | {"slot_id": "s2", "start": "2026-11-24T10:30", "spoken": "Tuesday at ten thirty"}
_PATIENT = {
    "patient_id": 7,
    "name": "Mary Johnson",
    "date_of_birth": "1984-05-02",
    "match": "exact",
    "appointments": [],
}
TOOLS: dict[str, object] = {
    "find_patient": {"patients": [_PATIENT], "note": ""},
    "free_slots": {"today": "2026-11-21", "slots": [_FIRST, _SECOND], "exact": False, "note": ""},
    "book": {"done": True, "status": "booked", "appointment_id": 12, "patient": "Mary Johnson", **_FIRST},
    "end_call": "The call is ending.",
}
"""What the clinic's tools answer to that caller, in their own form (agents/clinic.py)."""


@dataclass
class Measured:
    """What the requests came to: every ask of the model, and what its answers used on average, by vendor's place."""

    turns: list[Turn] = field(default_factory=list)
    answers: dict[int, list[Mapping[str, float]]] = field(default_factory=dict)

    def used(self, place: int, quantities: Mapping[str, float]) -> None:
        self.answers.setdefault(place, []).append(quantities)

    def usual(self, place: int) -> dict[str, float]:
        """Mean usage of that model's answers."""
        found = self.answers.get(place, [])
        names = dict.fromkeys(name for quantities in found for name in quantities)
        return {name: sum(quantities.get(name, 0.0) for quantities in found) / len(found) for name in names}


async def measure(
    pair: Sequence[tuple[str, str]],
    hedge: str,
    conversations: int,
    seed: int,
    into: Measured,
    say: Callable[[str], None],
) -> None:
    """Hold so many conversations with the models of `pair` (vendor, model), `watch.hedge` as said."""
    script = default_script()
    agent = load_agent(script)
    rules = script.with_name(f"{script.stem}.rules.yaml")
    async with VendorProcess(rules=rules) as stand_ins, Control(stand_ins.url) as control:
        key = f"bench-{secrets.token_hex(8)}"
        await control.configure(key, AccountSettings(seed=seed, ears="oracle", llm_first_token=DELAY))
        (vendor, model), (other, second) = pair
        at = f'base_url: "{stand_ins.url}", api_key: "{key}"'
        fallback = f"[{{vendor: {other}, model: {second}, {at}}}]"
        config = load_config(
            file=None,
            overrides=[
                f"llm={{vendor: {vendor}, model: {model}, {at}, fallback: {fallback}}}",
                f"watch.hedge={hedge}",
            ],
            agent=agent.config,
            environ={},
        )
        left = itertools.count(1)

        async def hold_some() -> None:
            while (number := next(left)) <= conversations:
                await _Conversation(agent, config, into).hold()
                if number % 10 == 0 or number == conversations:
                    say(f"hedge {hedge}: {number}/{conversations} conversations, {len(into.turns)} answers")

        holders = [asyncio.create_task(hold_some()) for _ in range(min(AT_ONCE, conversations))]
        try:
            await asyncio.gather(*holders)
        finally:
            for holder in holders:
                holder.cancel()
            await asyncio.gather(*holders, return_exceptions=True)


@dataclass
class _Ask:
    """One ask of the model, as the record has it."""

    asked: float = 0.0
    answered: float = 0.0
    vendors: list[str] = field(default_factory=list)
    by: int = 0
    bills: list[events.Usage] = field(default_factory=list)


class _Conversation:
    """One caller's conversation, with the mind of a call of its own. It is the mind's scribe and its listener."""

    def __init__(self, agent: Agent, config: Config, into: Measured) -> None:
        self.turn = 0
        self._into = into
        self._asks: dict[int, _Ask] = {}
        self._entries: list[tuple[int, str]] = []
        self._line = [(one.vendor, one.model) for one in config.llm.line]
        self._over = asyncio.Event()
        self._calls: list[Any] = []
        self._text = self._trouble = ""
        self._started = asyncio.Event()
        schemas = [
            FunctionSchema(
                name=tool.name,
                description=tool.description,
                properties=cast("dict[str, Any]", tool.schema.get("properties", {})),
                required=cast("list[str]", tool.schema.get("required", [])),
            )
            for tool in agent.tools
        ]
        greeting = [{"role": "assistant", "content": agent.greeting}] if agent.greeting else []
        messages = [{"role": "user", "content": CONNECTED}, *greeting]
        self._context = LLMContext(cast("Any", messages), tools=ToolsSchema(standard_tools=cast("Any", schemas)))
        me = cast("Any", self)
        self._mind: Mind = build_mind(agent, config, me, me, SystemClock())
        self._mind.register_function(None, _answer_tool)
        self._branch = Branch(self._mind, self._pushed)

    async def hold(self) -> None:
        """From the first line to the last answer; what it came to is then counted."""
        async with _running(self._branch, self._started):
            try:
                for line in LINES:
                    self._context.add_message({"role": "user", "content": line})
                    while await self._ask():
                        pass
            finally:
                await self._mind.release()
        self._count()

    async def _ask(self) -> bool:
        """Ask once; whether the model wants to be told what its tools have answered."""
        self.turn += 1
        self._over.clear()
        self._text, self._calls = "", []
        await self._branch.send(LLMContextFrame(self._context))
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._over.wait()
        except TimeoutError:
            raise CallwrightError("the mind never said how an answer ended") from None
        if self._trouble:
            raise CallwrightError(f"the stand-ins did not answer: {self._trouble}")
        if self._calls:
            asked = [
                {
                    "id": call.tool_call_id,
                    "type": "function",
                    "function": {"name": call.function_name, "arguments": json.dumps(dict(call.arguments))},
                }
                for call in self._calls
            ]
            self._add({"role": "assistant", "content": self._text or None, "tool_calls": asked})
            for call in self._calls:
                answer = json.dumps(TOOLS[call.function_name])
                self._add({"role": "tool", "tool_call_id": call.tool_call_id, "content": answer})
        elif self._text:
            self._add({"role": "assistant", "content": self._text})
        return bool(self._calls) and not any(call.function_name == "end_call" for call in self._calls)

    def _add(self, message: dict[str, Any]) -> None:
        self._context.add_message(cast("Any", message))

    async def _pushed(self, _: Branch, frame: Frame, direction: FrameDirection) -> None:
        if direction is FrameDirection.UPSTREAM:
            return
        if isinstance(frame, StartFrame):
            self._started.set()
        elif isinstance(frame, LLMTextFrame):
            self._text += frame.text
        elif isinstance(frame, FunctionCallsStartedFrame):
            self._calls += frame.function_calls

    async def mind_answered(self) -> None:
        self._over.set()

    async def mind_gave_up(self, category: str, permanent: bool) -> None:
        self._trouble = category
        self._over.set()

    def note(self, event: events.Event) -> None:
        """The record: when a request began, when the first token came, what each request used."""
        now = time.monotonic() * 1000
        if isinstance(event, events.StageStarted):
            ask = self._asks.setdefault(event.turn, _Ask(asked=now))
            self._entries.append((event.turn, event.model))
            ask.vendors.append(event.model)
        elif isinstance(event, events.StageFirstByte):
            turn, model = self._entries[event.request - 1]
            ask = self._asks[turn]
            if not ask.answered:
                ask.answered, ask.by = now, self._place(model)
        elif isinstance(event, events.Usage):
            self._asks[event.turn].bills.append(event)

    def _place(self, model: str) -> int:
        return [one for _, one in self._line].index(model)

    def _count(self) -> None:
        book = PriceBook.load()
        for ask in self._asks.values():
            if not ask.answered:
                continue
            costs = [book.cost(bill) for bill in ask.bills]
            if unpriced := next((cost.unpriced for cost in costs if cost.usd is None), None):
                raise CallwrightError(f"the price book has no price for {unpriced}")
            usd = sum(cost.usd or 0.0 for cost in costs)
            if len(ask.bills) != len(ask.vendors):
                raise CallwrightError(f"{len(ask.vendors)} requests of an ask, {len(ask.bills)} bills")
            self._into.turns.append(Turn(ask.answered - ask.asked, usd, len(ask.vendors) > 1, ask.by == 1))
            for bill in ask.bills:
                if not bill.estimated and bill.quantities.get("output_tokens"):
                    self._into.used(self._place(bill.model), bill.quantities)


async def _answer_tool(params: FunctionCallParams) -> None:
    await params.result_callback(TOOLS[params.function_name])


@asynccontextmanager
async def _running(branch: Branch, started: asyncio.Event) -> AsyncIterator[None]:
    """The branch as a pipeline would have it, to its orderly end."""
    tasks = TaskManager()
    tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
    worker = cast("Any", SimpleNamespace(app_resources=None, worker_runner=None))
    setup = FrameProcessorSetup(
        clock=PipecatClock(), task_manager=tasks, pipeline_worker=worker, enable_metrics=True, enable_usage_metrics=True
    )
    await branch.setup(setup)
    try:
        await branch.send(StartFrame())
        await started.wait()
        yield
    finally:
        await branch.cleanup()
