"""What a picture of a call shows as bars, in samples of the recording: its tool calls, and its stages' troubles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from callwright.records import events


@dataclass(frozen=True, slots=True)
class ToolBar:
    """One tool call; `ok` is None and `end` the call's last sample if its end was never recorded.

    `joined`: another call's run stands for it. `notes` say what else became of it, in a word or two each. One whose
    true outcome came late reaches to there.
    """

    name: str
    start: int
    end: int
    ok: bool | None
    joined: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TroubleBar:
    """A stage that kept the caller waiting, for how long, and the words of `events.StageTroubled` for it."""

    stage: str
    what: str
    action: str
    start: int
    end: int


_OfTool: TypeAlias = (
    events.ToolStarted
    | events.ToolEnded
    | events.ToolLate
    | events.ToolPending
    | events.ToolCancelled
    | events.ToolJoined
)


class Bars:
    """Feed it the events of one call in order, each with its sample."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._tools: dict[str, ToolBar] = {}
        self.troubles: list[TroubleBar] = []

    @property
    def tools(self) -> tuple[ToolBar, ...]:
        """In order of their start."""
        return tuple(sorted(self._tools.values(), key=lambda bar: bar.start))

    def take(self, event: events.Event, at: int) -> None:
        match event:
            case events.ToolStarted():
                self._tools[event.tool_call_id] = ToolBar(event.name, at, -1, None)
            case events.ToolEnded():
                self._tool(event, at, end=at, ok=event.ok)
            case events.ToolLate():
                self._tool(event, at, "late", end=at, ok=event.ok)
            case events.ToolPending():
                self._tool(event, at, "not waited for")
            case events.ToolCancelled():
                self._tool(event, at, "cancelled")
            case events.ToolJoined():
                self._tool(event, at, end=at, joined=True)
            case events.StageTroubled():
                start = max(at - event.waited_ms * self._rate // 1000, 0)
                self.troubles.append(TroubleBar(event.stage, event.what, event.action, start, at))
            case _:
                pass

    def close(self, length: int) -> None:
        """End what is still open at the end of the call."""
        for key, bar in self._tools.items():
            self._tools[key] = bar if bar.end >= 0 else replace(bar, end=length)

    def _tool(self, event: _OfTool, at: int, *notes: str, **known: Any) -> None:
        bar = self._tools.get(event.tool_call_id, ToolBar(event.name, at, -1, None))
        self._tools[event.tool_call_id] = replace(bar, notes=(*bar.notes, *notes), **known)
