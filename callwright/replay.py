"""Replay: what a recorded call's tools did then, what they do now with the same arguments, and whether it differs.

No room, no vendor, no key: the caller and the model are the record's, only the tools are today's. Pure;
`offline` runs them.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from callwright.agent import Agent
from callwright.differences import Difference, compare
from callwright.errors import AgentError, ConfigError, RecordsError
from callwright.records import events
from callwright.records.events import Json, JsonObject
from callwright.records.journal import Entry
from callwright.records.record import CallRecord, ToolRecord
from callwright.said import Performance, performed_otherwise
from callwright.suggest import did_you_mean

SLOWER_BY_MS = 1000.0
"""What a caller notices: more silence than a second, and people repeat themselves or hang up."""
SLOWER_TIMES = 2.0
"""A tool that took long already must take twice as long: machines differ."""


class NothingToReplay(RecordsError):
    """The call had no tools."""

    exit_code = 2


class State(StrEnum):
    """What became of one recorded tool call."""

    SAME = "same"
    DIFFERS = "differs"
    REFUSED = "refused now"
    GONE = "gone"
    RAISED = "raised"
    TIMED_OUT = "no answer"
    SLOWER = "slower"
    RECORDED = "recorded"
    NOT_RUN = "not run"

    @property
    def fine(self) -> bool:
        """Nothing is known to be other than in the record."""
        return self in (State.SAME, State.RECORDED, State.NOT_RUN)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is run, and what counts as a difference.

    effects   also run tools with a side effect; otherwise they are answered from the record
    only      names of the tools to run; empty for all
    ignore    places in results that do not count, and `strict`: as `differences.compare` has them
    limit_s   longest that one tool may take
    """

    effects: bool = False
    only: frozenset[str] = frozenset()
    ignore: tuple[str, ...] = ()
    strict: bool = False
    limit_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """How a tool call went today; without an `error`, the result counts.

    `failed` is REFUSED, RAISED or TIMED_OUT where it was not the tool that answered so; `kind` is the type of
    what was raised. The text of an unforeseen exception is not kept: it may hold secrets.
    """

    ms: float
    performance: Performance
    result: Json = None
    error: str | None = None
    failed: State | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded tool call and what became of it; `now` is None if it was not run."""

    then: ToolRecord
    state: State
    note: str = ""
    differences: tuple[Difference, ...] = ()
    now: Run | None = None

    def to_json(self) -> JsonObject:
        then, now = self.then, self.now
        return {
            "turn": then.turn,
            "tool_call_id": then.tool_call_id,
            "name": then.name,
            "arguments": then.arguments,
            "state": self.state.value,
            "note": self.note,
            "differences": [difference.to_json() for difference in self.differences],
            "then": {"ok": then.ok, "result": then.result, "error": then.error, "ms": then.ms},
            "now": None
            if now is None
            else {
                "ok": now.error is None,
                "result": now.result,
                "error": now.error,
                "ms": round(now.ms, 3),
                "said": list(now.performance.said),
                "ends": now.performance.reason,
            },
        }


@dataclass(frozen=True, slots=True)
class Replay:
    """A whole call replayed, in the order of the record."""

    call_id: str
    agent: str
    calls: tuple[Replayed, ...]

    @property
    def differs(self) -> bool:
        return any(not call.state.fine for call in self.calls)

    @property
    def counts(self) -> dict[State, int]:
        """How many calls came to each state, in the order of `State`; none without any."""
        counted = Counter(call.state for call in self.calls)
        return {state: counted[state] for state in State if counted[state]}

    def to_json(self) -> JsonObject:
        return {
            "call_id": self.call_id,
            "agent": self.agent,
            "differs": self.differs,
            "counts": {state.value: count for state, count in self.counts.items()},
            "calls": [call.to_json() for call in self.calls],
        }


def judge(then: ToolRecord, now: Run, rules: Rules) -> Replayed:
    """Compare what the model was told then with what it would be told now, and how long both took."""
    slower = _slower(then, now)
    if now.error is None:
        told = compare(then.result, now.result, ignore=rules.ignore, strict=rules.strict) if then.ok else ()
        differences = told if then.ok else (Difference("(answer)", {"error": then.error}, {"result": now.result}),)
        state = State.DIFFERS if differences else State.SLOWER if slower else State.SAME
        return Replayed(then, state, slower, differences, now)
    if _failed_alike(then, now, rules.limit_s):
        return Replayed(then, State.SLOWER if slower else State.SAME, slower, now=now)
    if now.failed and (then.ok or now.failed is not State.REFUSED):
        return Replayed(then, now.failed, now.error, now=now)
    changed = (
        Difference("(answer)", {"result": then.result}, {"error": now.error})
        if then.ok
        else Difference("(error)", then.error, now.error)
    )
    return Replayed(then, State.DIFFERS, slower, (changed,), now)


def _failed_alike(then: ToolRecord, now: Run, limit_s: float) -> bool:
    if then.ok:
        return False
    if now.failed is State.RAISED:  # the model, and with it the record, was told no more than the kind
        return re.search(rf"\b{re.escape(now.kind)}\b", then.error or "") is not None
    if now.failed is State.TIMED_OUT:
        return then.ms is not None and then.ms >= limit_s * 1000
    return then.error == now.error


def _slower(then: ToolRecord, now: Run) -> str:
    if then.ms is None or now.ms < max(then.ms + SLOWER_BY_MS, then.ms * SLOWER_TIMES):
        return ""
    return f"took {then.ms / 1000:.1f} s then, {now.ms / 1000:.1f} s now"


def complete(record: CallRecord, agent: Agent, calls: Sequence[Replayed]) -> Replay:
    """The replay of all of the record's tool calls; what they said to the call is compared here, over the whole."""
    performed = performed_otherwise(record, [call.now.performance if call.now else None for call in calls])
    return Replay(record.call_id, agent.name, tuple(map(_with, calls, performed)))


def _with(call: Replayed, performed: tuple[Difference, ...]) -> Replayed:
    if not performed:
        return call
    state = State.DIFFERS if call.state in (State.SAME, State.SLOWER) else call.state
    return dataclasses.replace(call, state=state, differences=(*call.differences, *performed))


# --- before anything runs --------------------------------------------------------------------------------


def require_tools(record: CallRecord, only: frozenset[str]) -> None:
    """NothingToReplay if the call used no tools, ConfigError if `only` names one that it did not use."""
    if not record.tools:
        raise NothingToReplay(f"call {record.call_id} used no tools: there is nothing to replay")
    used = {tool.name for tool in record.tools}
    for name in sorted(only - used):
        raise ConfigError(f"the call did not use a tool '{name}'; {did_you_mean(name, used)}")


def script_of(entries: Sequence[Entry]) -> Path:
    """The script that held the call. Raises AgentError if it was not recorded or is gone."""
    started = (entry.event.script for entry in entries if isinstance(entry.event, events.CallStarted))
    script = next(filter(None, started), None)
    if script is None:
        raise AgentError("the record does not say which script held the call; name it: callwright replay ID AGENT.py")
    if not Path(script).is_file():
        raise AgentError(f"the call was held by {script}, which is gone; name another: callwright replay ID AGENT.py")
    return Path(script)


def caller_of(entries: Sequence[Entry]) -> str:
    """The identity of the caller in the room, "" if nobody came."""
    return next((entry.event.identity for entry in entries if isinstance(entry.event, events.CallerJoined)), "")


def effects_in(record: CallRecord, agent: Agent, only: frozenset[str]) -> list[str]:
    """The tools with a side effect that would run."""
    used = {tool.name for tool in record.tools}
    chosen = used & only if only else used
    return [tool.name for tool in agent.tools if tool.policy.side_effect and tool.name in chosen]
