"""The gate: the one way from the model's wish to a tool's effect.

Every tool call of every vendor passes here: looked up, validated, journalled before and after, done once, and
answered with something the model can act on, whatever the tool does and whatever the caller does meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import random as chance
from collections.abc import Callable
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import Frame, FunctionCallResultProperties, LLMContextFrame
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import FunctionCallParams, LLMService

from callwright.errors import RecordsError
from callwright.parts import Parts
from callwright.records.events import Event, ToolJoined, ToolNews, ToolPending
from callwright.tool_call import CallRecords, RunCall
from callwright.tool_result import as_json
from callwright.tools import JSON, ArgumentError, ResultError, Tool
from processors.tool_messages import fill, places, tidy, unanswered
from processors.tool_runs import NOT_RUN, Answer, Asked, Ledger, Run, news_note
from processors.tool_work import Work, idempotency_key

PARTIAL_S = 1.0
"""A tool that is done so soon after its first part answers with its result; else with that part."""

GRACE_S = 10.0
"""So long a side effect may go on when the call is over, before it is cut in half after all."""

OnStarted = Callable[[str, Tool], None]
"""Told that the model waits for that tool call, and for which tool."""

OnEnded = Callable[[str], None]
"""Told that the model does not wait for that tool call any more: it has a result, an error or a placeholder, or the
caller spoke."""


class Gate:
    """Runs the agent's tools for the model. One per call. `random` gives numbers from 0 to 1, for pauses."""

    def __init__(self, parts: Parts, *, random: Callable[[], float] = chance.random) -> None:
        self._parts = parts
        self._random = random
        self._tools = {tool.name: tool for tool in parts.agent.tools}
        self._ledger = Ledger()
        self._works: dict[Run, Work] = {}
        self._records = CallRecords(parts.journal, lambda: parts.turn)
        self._on_started: list[OnStarted] = []
        self._on_ended: list[OnEnded] = []
        self._on_changed: list[Callable[[], None]] = []
        parts.on_close(self.aclose)

    def guard(self, mind: LLMService[Any]) -> None:
        """Become the handler of every tool of `mind`: it has no other way to run one."""
        mind.register_function(None, self._handle)
        mind.add_event_handler("on_before_process_frame", self._before_asking)

    def tell(
        self,
        *,
        started: OnStarted | None = None,
        ended: OnEnded | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """Subscribe; `changed` is told whenever `owed` may have changed."""
        if started:
            self._on_started.append(started)
        if ended:
            self._on_ended.append(ended)
        if changed:
            self._on_changed.append(changed)

    @property
    def busy(self) -> bool:
        """Whether the model waits for a tool."""
        return self._ledger.busy

    @property
    def owed(self) -> bool:
        """Whether a tool has given something that only a further request can tell the model."""
        return self._ledger.owed

    @property
    def schemas(self) -> ToolsSchema:
        """The tools as the model is offered them; the same, in the same order, for every call."""
        return ToolsSchema(standard_tools=[_schema(tool) for tool in self._tools.values()])

    async def run(self, tool_call_id: str, name: str, arguments: object) -> Answer:
        """Do one tool call; {"result": …}, {"error": …}, {"parts": …} or {"pending": …}, never empty, in bounded time.

        Durable in the journal before the tool runs and before its result can be spoken about. Cancelled, it leaves
        the tool running, unless that may be cancelled.
        """
        asked = self._ask(tool_call_id, name, arguments)
        work = self._works[asked.run]
        if work.tool:
            for started in self._on_started:
                started(asked.id, work.tool)
        try:
            await self._until_answered(asked, work)
        except asyncio.CancelledError:
            self._stop_waiting(asked)
            if work.tool and work.tool.policy.cancellable and not self._ledger.waits_for(asked.run):
                work.cancel("call_ended" if self._parts.call.ending else "caller_spoke")
            raise
        answer = asked.answer
        self._stop_waiting(asked)
        return answer

    async def aclose(self) -> None:
        """End what still runs, in bounded time; what becomes of each is in the journal."""
        running = [work.aclose(GRACE_S) for work in self._works.values() if not work.task.done()]
        await asyncio.gather(*running)

    # -- one tool call

    def _ask(self, tool_call_id: str, name: str, arguments: object) -> Asked:
        """Enter it into the ledger; what must be done for it is under way when this returns."""
        given, refusal = _given(name, arguments)
        tool = self._tools.get(name)
        values: dict[str, object] = {}
        identity: str | None = None
        if tool is None:
            refusal = f"there is no tool named {name}; there are {', '.join(self._tools) or 'none'}"
        elif refusal is None and isinstance(given, dict):
            try:
                values = tool.validate(given)
                identity = tool.identity(values)
            except ArgumentError as misfit:
                refusal = str(misfit)
            except Exception as failure:  # the key is the tool's own code
                refusal = f"{name} was not run: its key failed ({type(failure).__name__})"
        policy = tool.policy if tool else None
        once = policy is not None and (policy.side_effect or policy.key is not None)
        lasting = policy is not None and policy.key is not None
        asked = self._ledger.ask(tool_call_id, name, given, identity=identity, once=once, lasting=lasting)
        if asked.joined:
            self._append(ToolJoined(self._parts.turn, asked.id, name, _object(given), asked.run.id))
            return asked
        deed = identity if lasting and identity else asked.id
        key = idempotency_key(self._parts.call.id, name, deed)
        self._works[asked.run] = Work(
            asked.run,
            tool if refusal is None else None,
            values,
            RunCall(self._parts.call, key, self._records.of(asked.id)),
            refusal=refusal,
            ledger=self._ledger,
            journal=self._parts.journal,
            clock=self._parts.clock,
            turn=self._parts.turn,
            random=self._random,
            changed=self._changed,
        )
        return asked

    async def _until_answered(self, asked: Asked, work: Work) -> None:
        """Until there is a result, a part of one that takes long, or no more patience."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(work.tool.policy.limit_s if work.tool else None):
                await work.progress.wait()
                async with asyncio.timeout(PARTIAL_S):
                    await work.ended.wait()
        if not work.ended.is_set():
            self._append(ToolPending(self._parts.turn, asked.id, asked.run.name))

    def _stop_waiting(self, asked: Asked) -> None:
        self._ledger.stop_waiting(asked)
        for ended in self._on_ended:
            ended(asked.id)
        self._changed()

    def _changed(self) -> None:
        for changed in self._on_changed:
            changed()

    def _append(self, event: Event) -> None:
        with contextlib.suppress(RecordsError):  # the call's owner has been told, and ends it
            self._parts.journal.append(event)

    # -- between Pipecat and the model

    async def _handle(self, params: FunctionCallParams) -> None:
        # An interruption cancels this handler; the work goes on in its own task.
        answer = await self.run(params.tool_call_id, params.function_name, params.arguments)
        # A tool that ended the call has said the farewell: the model must not say another.
        properties = FunctionCallResultProperties(run_llm=False) if self._parts.call.ending else None
        await params.result_callback(answer, properties=properties)

    async def _before_asking(self, _: FrameProcessor, frame: Frame) -> None:
        """Write into the request what became of every tool: in its place, or as news at the end."""
        if not isinstance(frame, LLMContextFrame):
            return
        context = frame.context
        messages = context.messages
        tidy(messages)
        open_places = set(unanswered(messages))
        shown = self._ledger.show(places(messages))

        def content(place: str) -> str | None:
            if place in open_places and not self._ledger.knows(place):
                return NOT_RUN
            return shown.contents.get(place)

        fill(messages, content)
        if shown.news:
            context.add_message({"role": "user", "content": news_note(shown.news)})
            told = tuple(run.id for run, _ in shown.news)
            self._append(ToolNews(self._parts.turn, told))
        self._changed()


def _given(name: str, arguments: object) -> tuple[JSON, str | None]:
    """The model's arguments as clean JSON, and what is wrong with them."""
    try:
        given = as_json(arguments)
    except ResultError:
        return {}, f"{name} was not run: its arguments are not JSON"
    if not isinstance(given, dict):
        return given, f'{name} was not run: its arguments must be an object such as {{"name": "value"}}'
    return given, None


def _object(given: JSON) -> dict[str, JSON]:
    return given if isinstance(given, dict) else {}


def _schema(tool: Tool) -> FunctionSchema:
    schema: dict[str, Any] = tool.schema
    return FunctionSchema(
        name=tool.name,
        description=tool.description,
        properties=schema.get("properties", {}),
        required=schema.get("required", []),
    )
