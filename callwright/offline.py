"""Running a recorded call's tools where there is no call: the thin, impure half of a replay."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from pathlib import Path

from callwright.agent import Agent
from callwright.clock import Clock
from callwright.records.events import Json, JsonObject
from callwright.records.record import CallRecord, ToolRecord
from callwright.replay import Replay, Replayed, Rules, Run, State, complete, judge
from callwright.said import Performance
from callwright.tool_call import Said
from callwright.tool_result import as_json
from callwright.tools import ArgumentError, ResultError, Tool, ToolError


class OfflineNotes:
    """The call's records for tools that are replayed: what one notes the next can read, and nobody keeps it."""

    def __init__(self) -> None:
        self.notes: dict[str, Json] = {}

    async def note(self, name: str, value: object) -> None:
        self.notes[name] = as_json(value)


class OfflineCall:
    """What a tool is given as its call: it keeps what the tool says and how it ends the call, and does nothing."""

    def __init__(self, record: CallRecord, caller: str, then: ToolRecord, notes: OfflineNotes) -> None:
        self.id = record.call_id
        self.caller = caller
        self.idempotency_key = f"replay-{record.call_id}-{then.tool_call_id}"
        self.memory = _said_before(record, then.turn)
        self.records = notes
        self._said: list[str] = []
        self._reason = ""

    @property
    def ending(self) -> bool:
        return self._reason != ""

    @property
    def performance(self) -> Performance:
        """What the caller would have noticed so far."""
        return Performance(tuple(self._said), self._reason)

    async def say(self, text: str, *, remember: bool = True) -> None:
        self._said.append(text)

    async def end(self, farewell: str | None = None) -> None:
        self._end("agent_ended", farewell)

    async def transfer(self, to: str, farewell: str | None = None) -> None:
        self._end("transferred", farewell)

    def _end(self, reason: str, farewell: str | None) -> None:
        if not self._reason:
            self._reason = reason
            self._said += [farewell] if farewell else []


async def replay(record: CallRecord, agent: Agent, rules: Rules, *, caller: str, clock: Clock) -> Replay:
    """Run the tools of `record` that `rules` let run, and compare them.

    They run one after the other in the order of the record, also those that ran at once.
    """
    tools = {tool.name: tool for tool in agent.tools}
    calls, notes = [], OfflineNotes()
    for then in record.tools:
        offline = OfflineCall(record, caller, then, notes)
        calls.append(await _replayed(then, tools.get(then.name), offline, rules, clock))
    return complete(record, agent, calls)


async def _replayed(then: ToolRecord, tool: Tool | None, call: OfflineCall, rules: Rules, clock: Clock) -> Replayed:
    if rules.only and then.name not in rules.only:
        return Replayed(then, State.NOT_RUN)
    if tool is None:
        if f"no tool named {then.name}" in (then.error or ""):
            return Replayed(then, State.SAME, "there was no such tool then either")
        return Replayed(then, State.GONE, "the agent has no tool of this name")
    if then.ok is None:
        return Replayed(then, State.NOT_RUN, "the record does not say how it ended")
    if then.ms is None:
        return Replayed(then, State.NOT_RUN, "the record does not say how it was called")
    if tool.policy.side_effect and not rules.effects:
        try:
            tool.validate(then.arguments)
        except ArgumentError as refusal:
            return judge(then, Run(0.0, Performance(), error=str(refusal), failed=State.REFUSED), rules)
        return Replayed(then, State.RECORDED, "has a side effect")
    return judge(then, await _run(tool, then.arguments, call, rules, clock), rules)


async def _run(tool: Tool, arguments: JsonObject, call: OfflineCall, rules: Rules, clock: Clock) -> Run:
    start_ns = clock.monotonic_ns()

    def over(result: Json = None, *, error: str | None = None, failed: State | None = None, kind: str = "") -> Run:
        return Run((clock.monotonic_ns() - start_ns) / 1e6, call.performance, result, error, failed, kind)

    limit = asyncio.timeout(rules.limit_s)
    try:
        async with limit:
            result = await tool.run(arguments, call)
        return over(result)
    except ArgumentError as refusal:
        return over(error=str(refusal), failed=State.REFUSED)
    except (ToolError, ResultError) as refusal:
        return over(error=str(refusal))
    except (Exception, SystemExit) as failure:
        if limit.expired():
            return over(error=f"not done after {rules.limit_s:g} s", failed=State.TIMED_OUT)
        kind = type(failure).__name__
        return over(error=f"{kind} at {_place(failure, tool)}", failed=State.RAISED, kind=kind)


def _said_before(record: CallRecord, turn: int) -> tuple[Said, ...]:
    """What the model had been shown of the conversation when it called a tool in that turn."""
    said: list[Said] = []
    for one in record.turns:
        if one.number > turn:
            break
        said += [("caller", one.caller_text)] if one.caller_text else []
        if one.number < turn:
            said += [("agent", line.text) for line in one.lines if line.remembered and line.text]
    return tuple(said)


def _place(failure: BaseException, tool: Tool) -> str:
    """Where it was raised: the last line in the tool's own folder, else the last one of all."""
    frames = traceback.extract_tb(failure.__traceback__)
    own = Path(inspect.getfile(inspect.unwrap(tool.function))).parent
    files = [Path(frame.filename) for frame in frames]
    inside = [n for n, file in enumerate(files) if own in file.parents and "site-packages" not in file.parts]
    last = inside[-1] if inside else -1
    return f"{files[last].name}:{frames[last].lineno}"
