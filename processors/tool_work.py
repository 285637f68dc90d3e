"""The work of one tool run, under its policy and in a task of its own: attempts, parts, patience, and its journal.

Durable in the journal before the tool runs, and before anything can be said about what it gave.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from itertools import count

from callwright.clock import Clock
from callwright.errors import RecordsError
from callwright.records.events import (
    Event,
    ToolCancelled,
    ToolEnded,
    ToolLate,
    ToolPartial,
    ToolRetried,
    ToolStarted,
)
from callwright.records.journal import Journal
from callwright.tool_result import JOURNAL_CHARACTERS, MODEL_CHARACTERS, ResultError, cut, for_model
from callwright.tools import JSON, Call, Tool, ToolError
from processors.tool_runs import Ledger, Outcome, Run

CUT_S = 1.0
"""How long a cancelled tool may take to clean up before nobody waits for it."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0
"""The wait before a second attempt, doubled for each further one: a dropped connection is there again at once, a
busy server is not, and the caller waits meanwhile."""


def pause_s(attempt: int, random: Callable[[], float]) -> float:
    """The wait before the attempt after that one, from half to one and a half times its plain length."""
    return min(FIRST_PAUSE_S * 2.0 ** (attempt - 1), LONGEST_PAUSE_S) * (0.5 + random())


def idempotency_key(call_id: str, name: str, deed: str) -> str:
    """32 hexadecimal digits; the same deed of the same tool in the same call has the same."""
    return hashlib.sha256("\0".join((call_id, name, deed)).encode("utf-8", "replace")).hexdigest()[:32]


class Work:
    """One run. `refusal` is why it must not be done; then it is only recorded."""

    def __init__(
        self,
        run: Run,
        tool: Tool | None,
        values: dict[str, object],
        call: Call,
        *,
        refusal: str | None,
        ledger: Ledger,
        journal: Journal,
        clock: Clock,
        turn: int,
        random: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.tool = tool
        self.progress = asyncio.Event()  # a part, or the end
        self.ended = asyncio.Event()
        self._run = run
        self._values = values
        self._call = call
        self._refusal = refusal
        self._ledger = ledger
        self._journal = journal
        self._clock = clock
        self._turn = turn
        self._random = random
        self._changed = changed
        self._why = ""  # it was cancelled
        self._begun = False
        self._doing: asyncio.Task[tuple[Outcome, JSON]] | None = None
        self.task = asyncio.create_task(self._perform(), name=f"tool-{run.name}")

    @property
    def effect(self) -> bool:
        """Whether it must not be cut in half."""
        return self.tool is not None and self._refusal is None and self.tool.policy.side_effect

    def cancel(self, why: str) -> None:
        """Have the tool stop; if it gives a result nevertheless, that counts."""
        self._why = self._why or why
        if self._doing is not None:
            self._doing.cancel()

    async def aclose(self, grace_s: float) -> None:
        """The call is over: a side effect may finish within `grace_s`, all else stops at once."""
        if self.effect:
            await asyncio.wait({self.task}, timeout=grace_s)
        self.cancel("call_ended")
        await asyncio.wait({self.task}, timeout=2 * CUT_S)
        self.task.cancel()
        left = {self.task, self._doing} - {None}
        await asyncio.wait(left, timeout=CUT_S)  # type: ignore[type-var]

    # -- from the start to the end

    async def _perform(self) -> None:
        try:
            await self._record(self._started())
        except RecordsError:
            self._settle(_failed(f"{self._run.name} was not run, because it could not be recorded"))
            return
        doing = self._doing = asyncio.create_task(self._attempts())
        if self._why:
            doing.cancel()  # before it began
        try:
            await asyncio.wait({doing}, timeout=self.tool.policy.cancel_after_s if self.tool else None)
            if doing.done() or not self.effect:
                await self._end(await self._outcome(doing))
                return
            await self._end((_failed(self._unknown("has not ended")), None), alive=True)
            await asyncio.wait({doing})
            await self._end(await self._outcome(doing), late=True)
        finally:
            doing.cancel()

    async def _outcome(self, doing: asyncio.Task[tuple[Outcome, JSON]]) -> tuple[Outcome, JSON]:
        if not doing.done():
            self.cancel("too_long")
            await asyncio.wait({doing}, timeout=CUT_S)
        if doing.done() and not doing.cancelled():
            return doing.result()
        if self.effect:
            what = "was still running" if self._begun else "was not run"
            return _failed(f"{self._run.name} {what} when the call ended"), None
        self._append(ToolCancelled(self._turn, self._run.id, self._run.name, self._why))
        told = {
            "caller_spoke": "was cancelled, because the caller spoke; call it again if it is still wanted",
            "too_long": "took too long and was given up; tell the caller that it did not work",
        }.get(self._why, "was cancelled, because the call ended")
        return _failed(f"{self._run.name} {told}"), None

    async def _end(self, ended: tuple[Outcome, JSON], *, alive: bool = False, late: bool = False) -> None:
        outcome, result = ended
        kept, missing = cut(result, JOURNAL_CHARACTERS)
        error = None if outcome.ok else str(outcome.answer["error"])
        kind = ToolLate if late else ToolEnded
        try:
            await self._record(kind(self._turn, self._run.id, self._run.name, outcome.ok, kept, error, missing))
        except RecordsError:
            outcome = _failed(f"what {self._run.name} did could not be recorded; say that it is not certain")
        self._settle(outcome, alive=alive)

    def _settle(self, outcome: Outcome, *, alive: bool = False) -> None:
        self._ledger.finish(self._run, outcome, alive=alive)
        self.progress.set()
        self.ended.set()
        self._changed()

    def _unknown(self, what: str) -> str:
        return f"{self._run.name} {what}: whether it was done is not known; say so, and do not call it again"

    # -- the attempts

    async def _attempts(self) -> tuple[Outcome, JSON]:
        """Until one succeeds or must be the last. Only a cancellation is raised."""
        if self.tool is None or self._refusal is not None:
            return _failed(self._refusal or "there is no such tool"), None
        self._begun = True
        policy, begun = self.tool.policy, self._clock.monotonic_ns()
        for attempt in count(1):
            try:
                return await self._attempt(self.tool)
            except BaseException as error:  # a tool may raise anything: it is its own failure, not the call's
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                    raise
                passing = isinstance(error, ConnectionError | TimeoutError) or getattr(error, "passing", False) is True
                failed = _failed(self._explained(error))
                kind = type(error).__name__
            wait_s = pause_s(attempt, self._random)
            spent_s = (self._clock.monotonic_ns() - begun) / 1e9
            if not passing or self._run.parts or attempt >= policy.attempts or spent_s + wait_s > policy.limit_s:
                break
            self._append(ToolRetried(self._turn, self._run.id, self._run.name, attempt + 1, kind, wait_s))
            await asyncio.sleep(wait_s)
        return failed, None

    async def _attempt(self, tool: Tool) -> tuple[Outcome, JSON]:
        result: JSON = None
        stream = tool.parts(self._values, self._call)
        try:
            async for result in stream:
                if tool.streams:
                    await self._part(result)
        finally:
            await stream.aclose()
        note = "it was done and gave nothing back" if result is None else "complete" if tool.streams else ""
        return Outcome(True, for_model("result", result, note)), result

    async def _part(self, result: JSON) -> None:
        kept, missing = cut(result, JOURNAL_CHARACTERS)
        run = self._run
        await self._record(ToolPartial(self._turn, run.id, run.name, len(run.parts), kept, missing))
        self._ledger.part(run, result)
        self.progress.set()
        self._changed()

    def _explained(self, error: BaseException) -> str:
        """What the model is told. The text of an unforeseen exception may hold secrets: it gets only the kind."""
        name = self._run.name
        if isinstance(error, ToolError):
            return str(cut(str(error) or f"{name} did not work", MODEL_CHARACTERS)[0])
        if isinstance(error, ResultError):
            done = "it was done, but " if self.effect else ""
            return f"{name}: {done}{error}; tell the caller that the answer cannot be read"
        failed = f"{name} failed ({type(error).__name__})"
        if self.effect:
            return f"{failed}: whether it was done is not known; say so, and do not call it again unasked"
        return f"{failed}; tell the caller that it did not work"

    # -- the journal

    def _started(self) -> ToolStarted:
        arguments = self._run.arguments if isinstance(self._run.arguments, dict) else {}
        return ToolStarted(self._turn, self._run.id, self._run.name, arguments, self._call.idempotency_key)

    def _append(self, event: Event) -> None:
        try:
            self._journal.append(event)
        except RecordsError:
            return  # the call's owner has been told, and ends it

    async def _record(self, event: Event) -> None:
        self._journal.append(event)
        await self._journal.durable()


def _failed(error: str) -> Outcome:
    return Outcome(False, {"error": error})
