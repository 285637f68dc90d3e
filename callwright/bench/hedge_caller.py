"""`bench hedge`: one caller who books an appointment at the front desk, through a real mind to the vendors' stand-ins.

No sound: what a caller would have said goes straight into the context, and tools answer at once what the clinic's
calendar would.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
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
from callwright.bench.hedge_asks import Ask
from callwright.call import CONNECTED
from callwright.clock import SystemClock
from callwright.config import Config
from callwright.errors import CallwrightError
from callwright.failover.branch import Branch
from callwright.failover.mind import Mind
from callwright.records import events
from callwright.stages import build_mind

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


class Caller:
    """One conversation, with the mind of a call of its own. It is the mind's scribe and its listener.

    `opening` is said first, and is this caller's alone, so that no vendor's cache holds the conversation already.
    """

    def __init__(self, agent: Agent, config: Config, opening: str, lines: Sequence[str] = LINES) -> None:
        self.asks: list[Ask] = []
        self.over = False
        """Whether the last line has been answered."""
        self._lines = [f"{opening} {lines[0]}", *lines[1:]]
        self._entries: list[tuple[Ask, int]] = []
        self._answered = asyncio.Event()
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

    @property
    def settled(self) -> list[Ask]:
        """Asks with all their bills."""
        return self.asks if self.over else self.asks[:-1]

    async def hold(self, after_s: float = 0.0, pause_s: float = 0.0) -> None:
        """The whole conversation, `after_s` from now on; between an answer and the next line lies `pause_s`."""
        await asyncio.sleep(after_s)
        async with _running(self._branch, self._started):
            try:
                for number, line in enumerate(self._lines):
                    await asyncio.sleep(pause_s if number else 0.0)
                    self._add({"role": "user", "content": line})
                    while await self._ask():
                        pass
            finally:
                await self._mind.release()
        self.over = True

    async def _ask(self) -> bool:
        """Ask once; whether the model wants to be told what its tools have answered."""
        self._answered.clear()
        self._text, self._calls = "", []
        self.asks.append(Ask(self.turn + 1, _now_ms()))
        await self._branch.send(LLMContextFrame(self._context))
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._answered.wait()
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

    # -- the mind's listener, and its scribe

    async def mind_answered(self) -> None:
        self._answered.set()

    async def mind_gave_up(self, category: str, permanent: bool) -> None:
        self._trouble = category
        self._answered.set()

    @property
    def turn(self) -> int:
        return len(self.asks)

    def note(self, event: events.Event) -> None:
        """The record: when a request left, when the first token came, what each request used."""
        now = _now_ms()
        if isinstance(event, events.StageStarted):
            ask = self.asks[event.turn - 1]
            self._entries.append((ask, len(ask.sent)))
            ask.sent.append((now, (event.vendor, event.model)))
        elif isinstance(event, events.StageFirstByte):
            ask, which = self._entries[event.request - 1]
            if ask.by is None:
                ask.answered, ask.by = now, which
        elif isinstance(event, events.Usage):
            self.asks[event.turn - 1].bills.append(event)


def _now_ms() -> float:
    return time.monotonic() * 1000


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
