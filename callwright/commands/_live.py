"""A call as it happens, a line for each thing said or done."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from callwright.records import events

if TYPE_CHECKING:
    from callwright.records.fold import CallRecord
    from callwright.records.journal import Entry


def command() -> str:
    """How this user calls `callwright` from where they are."""
    found = shutil.which("callwright")
    beside = Path(sys.executable).with_name("callwright")
    if found or not beside.exists():
        return "callwright"
    inside = Path.cwd() in beside.parents
    return str(beside.relative_to(Path.cwd()) if inside else beside)


def print_record(record: CallRecord) -> None:
    """The finished call, as `callwright show` prints it."""
    from rich.console import Console

    from callwright.commands._show_text import render

    console = Console(highlight=False)
    console.print()
    console.print(render(record, console))


class LiveView:
    """Prints the course of a call; `entry` is the journal's subscriber."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._start_ns: int | None = None
        self._ended_at: int | None = None
        self._rate = 24_000
        self._tools: dict[str, int] = {}

    def say(self, line: str) -> None:
        """A line of the program's own."""
        if not self._quiet:
            print(f"· {line}" if line else "", file=sys.stderr, flush=True)

    def entry(self, entry: Entry) -> None:
        """One fact of the call."""
        line = self._line(entry)
        if line and not self._quiet:
            at = (entry.monotonic_ns - (self._start_ns or entry.monotonic_ns)) / 1e9
            print(f"{at:7.2f} s  {line}", flush=True)

    def _line(self, entry: Entry) -> str | None:
        match entry.event:
            case events.CallStarted() as started:
                self._start_ns, self._rate = entry.monotonic_ns, started.audio_rate
                return f"call {started.agent} in room {started.room}"
            case events.CallerJoined():
                return "the caller joined"
            case events.TurnStarted(text=text):
                return f"caller  {text}"
            case events.SpokenOver(text=text):
                return f"caller  ({text or 'a sound'})"
            case events.SpeechEnded(sample=sample):
                self._ended_at = sample
            case events.AgentSpeechStarted(sample=sample) if self._ended_at is not None:
                gap_ms = (sample - self._ended_at) * 1000 / self._rate
                self._ended_at = None
                return f"        ⟨the agent sounds after {gap_ms:.0f} ms⟩"
            case events.AgentText(text=text, interrupted=interrupted):
                return f"agent   {text}{' —' if interrupted else ''}" if text else None
            case events.ToolStarted(tool_call_id=tool):
                self._tools[tool] = entry.monotonic_ns
            case events.ToolEnded(name=name, ok=ok, tool_call_id=tool):
                ms = (entry.monotonic_ns - self._tools.pop(tool, entry.monotonic_ns)) / 1e6
                return f"tool    {name} {'✓' if ok else '✗'} {ms:.0f} ms"
            case events.VendorFailed(message=message):
                return f"failed  {message}"
            case events.CallEnded(reason=reason, detail=detail):
                return f"ended   {reason}: {detail}"
            case _:
                pass
        return None
