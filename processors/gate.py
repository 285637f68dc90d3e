"""The gate: the one way from the model's wish to a tool's effect.

Every tool call of every vendor passes here: looked up, validated, written to the journal before and
after, and answered with something the model can act on, whatever the tool does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import Frame, FunctionCallResultProperties, LLMContextFrame
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import FunctionCallParams, LLMService

from callwright.parts import Parts
from callwright.records.events import ToolEnded, ToolStarted
from callwright.tools import JSON, ArgumentError, ResultError, Tool, ToolError

LIMIT_S = 30.0
"""Longest a tool may take before the model is told that it did not finish."""


OnStarted = Callable[[str, Tool], None]
"""Told that a tool call (its id) has begun."""

OnEnded = Callable[[str], None]
"""Told that the model has an answer to a tool call (its id)."""

_PENDING = '{"pending": "still running; it has not been cancelled"}'
_UNANSWERED = ("IN_PROGRESS", "CANCELLED", _PENDING)
"""What stands in the context where no answer does: the first two are Pipecat's."""


class Gate:
    """Runs the agent's tools for the model. One per call."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tools = {tool.name: tool for tool in parts.agent.tools}
        self._tasks: dict[str, asyncio.Task[dict[str, JSON]]] = {}
        self._interrupted: set[str] = set()
        self._on_started: list[OnStarted] = []
        self._on_ended: list[OnEnded] = []
        parts.on_close(self.aclose)

    def guard(self, mind: LLMService[Any]) -> None:
        """Become the handler of every tool of `mind`: it has no other way to run one."""
        mind.register_function(None, self._handle)
        mind.add_event_handler("on_before_process_frame", self._before_asking)

    def tell(self, *, started: OnStarted | None = None, ended: OnEnded | None = None) -> None:
        """Subscribe."""
        if started:
            self._on_started.append(started)
        if ended:
            self._on_ended.append(ended)

    @property
    def busy(self) -> bool:
        """Whether the model waits for a tool."""
        return any(not task.done() for key, task in self._tasks.items() if key not in self._interrupted)

    @property
    def schemas(self) -> ToolsSchema:
        """The tools as the model is offered them; the same, in the same order, for every call."""
        return ToolsSchema(standard_tools=[_schema(tool) for tool in self._tools.values()])

    async def run(self, tool_call_id: str, name: str, arguments: dict[str, JSON]) -> dict[str, JSON]:
        """Do one tool call; the answer is {"result": …} or {"error": …}, never empty.

        Durable in the journal before the tool runs and before its result can be spoken about.
        """
        journal, turn = self._parts.journal, self._parts.turn
        journal.append(ToolStarted(turn=turn, tool_call_id=tool_call_id, name=name, arguments=arguments))
        await journal.durable()
        result: JSON = None
        error: str | None = None
        tool = self._tools.get(name)
        if tool is None:
            error = f"there is no tool named {name}; there are {', '.join(self._tools) or 'none'}"
        else:
            try:
                async with asyncio.timeout(LIMIT_S):
                    result = await tool.run(arguments, self._parts.call)
            except TimeoutError:
                error = f"{name} took too long; tell the caller that it did not work"
            except asyncio.CancelledError:
                error = "the call ended before the tool did; what it did is not known"
            except (ArgumentError, ToolError, ResultError) as refusal:
                error = str(refusal)
            except Exception as failure:
                # The text of an unforeseen exception may hold secrets: the model gets only its kind.
                error = f"{name} failed ({type(failure).__name__}); tell the caller that it did not work"
        journal.append(
            ToolEnded(turn=turn, tool_call_id=tool_call_id, name=name, ok=error is None, result=result, error=error)
        )
        await journal.durable()
        return {"result": result} if error is None else {"error": error}

    async def _handle(self, params: FunctionCallParams) -> None:
        # The tool runs in a task of its own: an interruption cancels Pipecat's handler, but an
        # effect that has begun is finished and recorded, never cut in half.
        task = asyncio.ensure_future(self.run(params.tool_call_id, params.function_name, dict(params.arguments)))
        self._tasks[params.tool_call_id] = task
        if (tool := self._tools.get(params.function_name)) is not None:
            for started in self._on_started:
                started(params.tool_call_id, tool)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._interrupted.add(params.tool_call_id)
            raise
        for ended in self._on_ended:
            ended(params.tool_call_id)
        # A tool that ended the call has said the farewell: the model must not say another.
        properties = FunctionCallResultProperties(run_llm=False) if self._parts.call.ending else None
        await params.result_callback(answer, properties=properties)

    async def _before_asking(self, _: FrameProcessor, frame: Frame) -> None:
        """Before the model is asked again, tell it what became of the tools whose turn was interrupted.

        Pipecat has written CANCELLED for them, or nothing; the effect may be there nevertheless.
        """
        if not isinstance(frame, LLMContextFrame):
            return
        for message in frame.context.messages:
            if isinstance(message, dict) and message.get("role") == "tool" and message.get("content") in _UNANSWERED:
                message["content"] = self._answer(str(message.get("tool_call_id")), str(message["content"]))

    def _answer(self, tool_call_id: str, shown: str) -> str:
        task = self._tasks.get(tool_call_id)
        if task is None:
            return json.dumps({"error": "it was not run: the caller spoke first"})
        if not task.done():
            return _PENDING if tool_call_id in self._interrupted else shown
        failed = task.cancelled() or task.exception() is not None
        answer = {"error": "what it did could not be recorded"} if failed else task.result()
        return json.dumps(answer, ensure_ascii=False)

    async def aclose(self) -> None:
        """Let running tools finish for a moment, then cancel them; what becomes of each is in the journal."""
        tasks = {task for task in self._tasks.values() if not task.done()}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=2.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def _schema(tool: Tool) -> FunctionSchema:
    schema: dict[str, Any] = tool.schema
    return FunctionSchema(
        name=tool.name,
        description=tool.description,
        properties=schema.get("properties", {}),
        required=schema.get("required", []),
    )
