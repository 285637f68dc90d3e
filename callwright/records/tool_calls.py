"""The tool calls of a call, gathered from its journal: what was run, what joined a run, and what came of each."""

from __future__ import annotations

from dataclasses import dataclass

from callwright.records import events
from callwright.records.record import JoinedRecord, LateRecord, ToolRecord


@dataclass(slots=True)
class _Run:
    turn: int
    started: events.ToolStarted | None
    start_ns: int
    ended: events.ToolEnded | None = None
    end_ns: int = 0
    late: events.ToolLate | None = None
    late_ns: int = 0
    pending: bool = False
    news_turn: int | None = None
    attempts: int = 1
    cancelled: str | None = None


class ToolCalls:
    """Feed it the events of one call in order. A run stays in the turn that asked for it, however long it takes."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._joined: list[events.ToolJoined] = []

    def take(self, event: events.Event, now: int) -> None:
        """`now` is the event's monotonic time in ns; events that are not about tools are passed over."""
        match event:
            case events.ToolStarted():
                self._runs.append(_Run(event.turn, event, now))
            case events.ToolEnded():
                self._ended(event, now)
            case events.ToolJoined():
                self._joined.append(event)
            case events.ToolNews():
                for run in map(self._run, event.tool_call_ids):
                    if run:
                        run.news_turn = event.turn
            case events.ToolRetried() | events.ToolPending() | events.ToolCancelled() | events.ToolLate():
                run = self._run(event.tool_call_id)
                if run is None:
                    return
                match event:
                    case events.ToolRetried():
                        run.attempts = event.attempt
                    case events.ToolPending():
                        run.pending = True
                    case events.ToolCancelled():
                        run.cancelled = event.why
                    case events.ToolLate():
                        run.late, run.late_ns = event, now
            case _:
                pass

    def of(self, turn: int) -> tuple[ToolRecord, ...]:
        """What that turn had run."""
        return tuple(_record(run) for run in self._runs if run.turn == turn)

    def joined(self, turn: int) -> tuple[JoinedRecord, ...]:
        """What that turn asked for and was being done already, or had been."""
        return tuple(
            JoinedRecord(turn, one.tool_call_id, one.name, one.arguments, one.run, self._turn(one.run))
            for one in self._joined
            if one.turn == turn
        )

    def _ended(self, event: events.ToolEnded, now: int) -> None:
        run = next((run for run in self._runs if _id(run) == event.tool_call_id and run.ended is None), None)
        if run is None:
            self._runs.append(_Run(event.turn, None, now, event, now))
        else:
            run.ended, run.end_ns = event, now

    def _run(self, tool_call_id: str) -> _Run | None:
        """The run of that id, or the one that the call of that id joined."""
        joined = {one.tool_call_id: one.run for one in self._joined}
        wanted = joined.get(tool_call_id, tool_call_id)
        return next((run for run in reversed(self._runs) if _id(run) == wanted), None)

    def _turn(self, run_id: str) -> int | None:
        run = self._run(run_id)
        return run.turn if run else None


def _id(run: _Run) -> str:
    named = run.started or run.ended
    return named.tool_call_id if named else ""


def _record(run: _Run) -> ToolRecord:
    named = run.started or run.ended
    assert named is not None
    ended, late = run.ended, run.late
    return ToolRecord(
        turn=run.turn,
        tool_call_id=named.tool_call_id,
        name=named.name,
        arguments=run.started.arguments if run.started else {},
        ok=ended.ok if ended else None,
        ms=(run.end_ns - run.start_ns) / 1e6 if ended and run.started else None,
        result=ended.result if ended else None,
        error=ended.error if ended else None,
        attempts=run.attempts,
        pending=run.pending,
        news_turn=run.news_turn,
        cancelled=run.cancelled,
        late=LateRecord(late.ok, (run.late_ns - run.start_ns) / 1e6, late.result, late.error) if late else None,
    )
