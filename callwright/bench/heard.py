"""`bench heard`: whole calls in which the caller talks over the answers; is what was heard what the model is told?

The next line of the caller is the interruption, so one answer after the other is cut and each is judged by the
request that the line after it makes.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pydantic import JsonValue

from callwright.bench import ear
from callwright.bench.heard_metrics import Verdict, judge
from callwright.bench.heard_scenes import RULES, SCRIPT, Line, Scene, Script, scene, script
from callwright.bench.latency import ANSWER_LIMIT_S, END_LIMIT_S, QUIET_MS, READY_LIMIT_S, settled
from callwright.bench.system import SystemProcess
from callwright.bench.systems.protocol import CallRequest, LiveKit
from callwright.simulators import caller as callers
from callwright.simulators.account import Served
from callwright.simulators.announce import Announcer
from callwright.simulators.caller import Caller
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit import Credentials, LiveKitServer, token
from callwright.simulators.process import Control, VendorProcess
from callwright.simulators.produced import Produced
from callwright.simulators.tape import RATE
from callwright.simulators.voice import Voice

Say = Callable[[str], None]

PER_CALL = 8
"""Answers judged in one call: the context grows as in a call of some minutes, and a failed one costs little."""

SAY_LEAD_S = (callers.QUEUE_MS / 1000) + callers.FRAME / RATE / 2 + 0.01
"""From the order to speak to the first loud sample that leaves the caller: the source's queue, half a frame, and
what the voice keeps of silence before a word."""

STOP_S = 0.3
"""How long an agent takes to fall silent, until the run itself knows better."""

SOUND_LAG_S = 0.1
"""From the voice's first audible sample sent to the first received, until the call itself knows better."""

WHOLE_LIMIT_S = 45.0
"""No answer takes longer to be heard to its end, however slow or hung the voice."""

POLL_S = 0.03
LOG_POLL_S = 0.15
"""The vendors' log is long: it is asked for often only where a tenth of a second decides."""


@dataclass(frozen=True)
class Plan:
    """What to run: so many `interruptions` of every system in every row, `concurrency` calls at once."""

    systems: tuple[str, ...]
    rows: tuple[str, ...]
    interruptions: int = 100
    concurrency: int = 2
    seed: int = 0
    tapes: Path | None = None
    """Where every call's recording is kept; None keeps none."""

    @property
    def most(self) -> int:
        """Calls of a row that are held at most: some answers end before the caller speaks over them."""
        return 2 * -(-self.interruptions // PER_CALL)


@dataclass(frozen=True)
class CallResult:
    """One call as it was judged. `failure` says in a line why it did not run to its end, "" if it did."""

    row: str
    scene: Scene
    system: str
    seed: int
    verdicts: tuple[Verdict, ...]
    wait_ms: float = 0.0
    settings: dict[str, JsonValue] = field(default_factory=dict)
    failure: str = ""


@dataclass
class Results:
    """What has been judged so far; complete or not, it can be reported at any time."""

    calls: list[CallResult] = field(default_factory=list)

    def stop_s(self, system: str) -> float:
        """How long the system has taken to fall silent so far (median)."""
        stops = [v.stop_ms for call in self.calls if call.system == system for v in call.verdicts if v.stop_ms]
        return statistics.median(stops) / 1000 if stops else STOP_S


async def run(plan: Plan, results: Results, say: Say) -> None:
    """Hold all calls of `plan`, one line of progress each, and put what they gave into `results`.

    A call that fails is a result too. Raises SimulatorError when there is no ground to measure on: no LiveKit
    server, no stand-ins, a system that does not come up.
    """
    async with AsyncExitStack() as owned:
        folder = Path(owned.enter_context(tempfile.TemporaryDirectory(prefix="callwright-bench-")))
        server = await owned.enter_async_context(LiveKitServer(progress=say))
        vendors = await owned.enter_async_context(VendorProcess(rules=RULES))
        control = await owned.enter_async_context(Control(vendors.url))
        systems = [await owned.enter_async_context(SystemProcess(name, say)) for name in plan.systems]
        ground = _Ground(plan, results, server, vendors.url, control, folder, Voice())
        agenda = Agenda(plan, results)

        async def work() -> None:
            while (job := agenda.next()) is not None:
                row, name, number, answers = job
                system = next(one for one in systems if one.name == name)
                try:
                    result = await ground.call(system, row, number, answers)
                finally:
                    agenda.ended(row, name, answers)
                results.calls.append(result)
                say(f"{agenda.progress()}  {progress(result)}")

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(plan.concurrency):
                    workers.create_task(work())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the first one ended the others


class Agenda:
    """Which call comes next: row by row, the systems in turn, until each has been judged often enough. Pure."""

    def __init__(self, plan: Plan, results: Results) -> None:
        self._plan = plan
        self._results = results
        self._started: Counter[tuple[str, str]] = Counter()
        self._under_way: Counter[tuple[str, str]] = Counter()  # answers of calls that have not ended

    def next(self) -> tuple[str, str, int, int] | None:
        """(row, system, number of the call in its row, answers to judge); None when there is enough of all."""
        for row in self._plan.rows:
            open_ = [name for name in self._plan.systems if self._missing(row, name) > 0]
            if open_:
                name = min(open_, key=lambda one: self._started[row, one])
                answers = min(PER_CALL, self._missing(row, name))
                number = self._started[row, name]
                self._started[row, name] += 1
                self._under_way[row, name] += answers
                return row, name, number, answers
        return None

    def ended(self, row: str, system: str, answers: int) -> None:
        """That call is over; what it gave is in the results."""
        self._under_way[row, system] -= answers

    def progress(self) -> str:
        """How much of all has been judged."""
        plan = self._plan
        wanted = plan.interruptions * len(plan.rows) * len(plan.systems)
        got = sum(min(plan.interruptions, self._judged(row, name)) for row in plan.rows for name in plan.systems)
        return f"{got}/{wanted}"

    def _missing(self, row: str, system: str) -> int:
        if self._started[row, system] >= self._plan.most:
            return 0
        return self._plan.interruptions - self._judged(row, system) - self._under_way[row, system]

    def _judged(self, row: str, system: str) -> int:
        """Interrupted answers that were judged; whole ones in the row that is about those."""
        whole = row == "whole"
        return sum(
            not verdict.unjudged and verdict.interrupted != whole
            for call in self._results.calls
            if (call.row, call.system) == (row, system)
            for verdict in call.verdicts
        )


def progress(result: CallResult) -> str:
    """One call in one line."""
    judged = [verdict for verdict in result.verdicts if not verdict.unjudged]
    cut = [verdict for verdict in judged if verdict.interrupted]
    parts = [f"{sum(verdict.exact for verdict in cut)} of {len(cut)} interrupted answers exact"] if cut else []
    if whole := [verdict for verdict in judged if not verdict.interrupted]:
        parts.append(f"{sum(not verdict.lost for verdict in whole)} of {len(whole)} whole ones kept")
    if stops := [f"{verdict.stop_ms:.0f}" for verdict in cut if verdict.stop_ms is not None]:
        parts.append(f"stop {' '.join(stops)} ms")
    if left := len(result.verdicts) - len(judged):
        parts.append(f"{left} not judged")
    name = result.row if result.row == result.scene.name else f"{result.row} ({result.scene.name})"
    line = f"{name}, {result.system}, seed {result.seed}: {'; '.join(parts) or 'nothing judged'}"
    return f"{line}; FAILED: {result.failure}" if result.failure else line


@dataclass(frozen=True)
class _Ground:
    """What all calls of a run stand on."""

    plan: Plan
    results: Results
    livekit: Credentials
    stand_ins: str
    control: Control
    folder: Path
    voice: Voice

    async def call(self, system: SystemProcess, row: str, number: int, answers: int) -> CallResult:
        """One call from its order to its verdicts."""
        seed = self.plan.seed + number
        staged = scene(row, number)
        spoken = script(staged, seed, answers)
        name = f"{row}-{system.name}-{seed}-{secrets.token_hex(3)}"
        key = f"bench-{secrets.token_hex(8)}"
        await self.control.configure(key, staged.settings(seed))
        announce = Announcer(self.stand_ins, key)
        caller = Caller(
            self.livekit.url,
            token(self.livekit, name, "caller"),
            voice=self.voice,
            voice_name=spoken.voice,
            seed=seed,
            announce=announce,
        )
        request = CallRequest(
            call=name,
            room=name,
            livekit=LiveKit(url=self.livekit.url, key=self.livekit.api_key, secret=self.livekit.api_secret),
            stand_ins=self.stand_ins,
            key=key,
            agent=SCRIPT,
            folder=self.folder,
            tts=staged.tts,
            queue_ms=staged.queue_ms,
        )
        wait_ms, settings, failure = 0.0, {}, ""
        try:
            for line in spoken.lines:
                await caller.prepare(line.text)
            ordered = await system.start(request)
            async with asyncio.timeout(READY_LIMIT_S):
                ready = await asyncio.shield(ordered.ready)
            wait_ms, settings = ready.wait_ms, ready.settings
            async with announce, caller:
                talk = _Talk(caller, self.control, key, self.results.stop_s(system.name))
                failure = await talk.hold(spoken)
            async with asyncio.timeout(END_LIMIT_S):
                ended = await asyncio.shield(ordered.ended)
            if not ended.ok:
                failure = failure or f"the system ended the call: {ended.reason}"
        except SimulatorError as error:
            failure = str(error)
        except TimeoutError:
            failure = f"{system.name} did not {'leave the room' if settings else 'come into the room'} in time"
        if self.plan.tapes is not None:
            await asyncio.to_thread(caller.tape.save, self.plan.tapes / f"{name}.wav")
        try:
            verdicts = await self._judge(spoken, caller, key)
        except Exception as error:  # the calls of an hour are not to be lost by what one recording does to the judge
            failure = failure or f"the judge failed: {type(error).__name__}: {error}"
            pairs = pairwise(spoken.lines)
            verdicts = tuple(Verdict(line.topic, following.text, unjudged=failure) for line, following in pairs)
        return CallResult(row, staged, system.name, seed, verdicts, wait_ms, dict(settings), failure)

    async def _judge(self, spoken: Script, caller: Caller, key: str) -> tuple[Verdict, ...]:
        if not caller.tape.said:
            return judge(spoken.lines, caller.tape, (), ())
        requests = (await self.control.account(key))["requests"]
        tape = caller.tape
        sent = [(produced, produced.at) for produced in await self.control.speech(key) if produced.at is not None]
        sources = [_source(produced, at - tape.origin_s) for produced, at in sent]

        def work() -> tuple[Verdict, ...]:
            found = ear.listen(sources, tape.heard_samples())
            return judge(spoken.lines, tape, list(zip(sources, found, strict=True)), requests)

        return await asyncio.to_thread(work)


def _source(produced: Produced, at_s: float) -> ear.Source:
    words = tuple(ear.SourceWord(word.text, word.start, word.end) for word in produced.words)
    return ear.Source(produced.context_id, produced.rate, produced.pcm, words, at_s)


class _Talk:
    """The caller's side of one call: says each line at its point of the answer before it."""

    def __init__(self, caller: Caller, control: Control, key: str, stop_s: float) -> None:
        self._caller = caller
        self._control = control
        self._key = key
        self._stop_s = stop_s
        self._lag_s = SOUND_LAG_S

    async def hold(self, spoken: Script) -> str:
        """Say all lines; why it was not possible, "" if it was."""
        if await self._caller.agent_quiet(QUIET_MS, ANSWER_LIMIT_S):
            await self._learn_lag()
        for number, line in enumerate(spoken.lines):
            await self._caller.say(line.text)
            said_at = time.monotonic()
            if number + 1 == len(spoken.lines):
                await self._begun()
            elif self._caller.ended is None:
                if line.fault is not None:
                    await self._control.order(self._key, line.fault)
                await self._until_it_is_time(line, said_at)
            if self._caller.ended is not None:
                return f"the call ended after '{line.text}': {self._caller.ended}"
        return ""

    async def _until_it_is_time(self, line: Line, said_at: float) -> None:
        """Wait for the point of the next line; where the agent is mute, for as long as a caller would."""
        if line.point is None:
            await self._whole(said_at)
            return
        early_s = SAY_LEAD_S + (self._stop_s if line.point.silence else 0.0)
        if line.point.mark == "end":
            mark = await self._end(said_at)
        elif line.point.s < early_s:
            mark = await self._foreseen(said_at)
        else:
            mark = await self._begun()
        if mark is not None:
            await self._caller.pause(max(0.0, mark + line.point.s - early_s - time.monotonic()))

    async def _begun(self) -> float | None:
        """When the answer began to sound; None if it does not in time."""
        await self._wait_for(lambda: self._caller.watch.begun_s is not None, ANSWER_LIMIT_S)
        return self._caller.watch.begun_s

    async def _foreseen(self, said_at: float) -> float | None:
        """When the answer begins to sound, told from what the voice has just begun to send."""
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while self._caller.watch.begun_s is None and time.monotonic() < deadline:
            if (sent := self._first_audible(await self._served(), said_at)) is not None:
                return sent + self._lag_s
            if not await self._caller.pause(POLL_S):
                return None
        return self._caller.watch.begun_s

    async def _end(self, said_at: float) -> float | None:
        """When the answer will have sounded, told from what the voice has sent ahead of it."""
        begun = await self._begun()
        await self._sent(said_at)
        sent = [produced for produced in await self._control.speech(self._key) if (produced.at or 0.0) >= said_at]
        return None if begun is None else begun + sum(_audible_s(produced) for produced in sent)

    async def _whole(self, said_at: float) -> None:
        """Wait until the agent has said all it has to say; silence alone may be a tool or a stall."""
        if await self._begun() is not None:
            await self._sent(said_at)
            await self._wait_for(lambda: self._caller.watch.done(time.monotonic(), QUIET_MS / 1000), WHOLE_LIMIT_S)

    async def _sent(self, said_at: float) -> None:
        """Wait until the model has written the whole answer and the voice has sent it."""
        deadline = time.monotonic() + WHOLE_LIMIT_S
        while time.monotonic() < deadline and not settled(await self._served(), said_at):
            if not await self._caller.pause(LOG_POLL_S):
                return

    async def _learn_lag(self) -> None:
        """How long sound is on its way, by the greeting."""
        begun, sent = self._caller.watch.begun_s, self._first_audible(await self._served(), 0.0)
        if begun is not None and sent is not None:
            self._lag_s = min(max(begun - sent, 0.0), 2 * SOUND_LAG_S)

    def _first_audible(self, served: Sequence[Served], since: float) -> float | None:
        """When the voice sent its first audible sample since then, as it will be played; None if it has not."""
        begun = (line for line in served if line.stage == "tts" and line.what == "first_audio" and line.at >= since)
        return next((line.at + line.leading_silence_ms / 1000 for line in begun), None)

    async def _served(self) -> list[Served]:
        return [Served.model_validate(line) for line in (await self._control.account(self._key))["served"]]

    async def _wait_for(self, reached: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not reached() and time.monotonic() < deadline and await self._caller.pause(POLL_S):
            pass


def _audible_s(produced: Produced) -> float:
    """From the first word to the end of the last, as far as it was sent."""
    if not produced.words:
        return 0.0
    end = min(produced.words[-1].end, len(produced.pcm) // 2)
    return (end - produced.words[0].start) / produced.rate
