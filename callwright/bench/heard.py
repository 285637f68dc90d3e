"""`bench heard`: whole calls in which the caller talks over the answers; is what was heard what the model is told?

The next line of the caller is the interruption, so one answer after the other is cut and each is judged by the
request that the line after it makes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pydantic import JsonValue

from callwright.bench import ear
from callwright.bench.agenda import Agenda, Job, work_off
from callwright.bench.ground import Ground, GroundCall, Say
from callwright.bench.heard_metrics import Verdict, judge
from callwright.bench.heard_scenes import RULES, SCRIPT, Line, Scene, Script, scene, script
from callwright.bench.latency import ANSWER_LIMIT_S, QUIET_MS, settled
from callwright.simulators import caller as callers
from callwright.simulators.account import Served
from callwright.simulators.produced import Produced
from callwright.simulators.tape import RATE

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

    def judged(self, row: str, system: str) -> int:
        """Interrupted answers that were judged; whole ones in the row that is about those."""
        whole = row == "whole"
        return sum(
            not verdict.unjudged and verdict.interrupted != whole
            for call in self.calls
            if (call.row, call.system) == (row, system)
            for verdict in call.verdicts
        )

    def stop_s(self, system: str) -> float:
        """How long the system has taken to fall silent so far (median)."""
        stops = [v.stop_ms for call in self.calls if call.system == system for v in call.verdicts if v.stop_ms]
        return statistics.median(stops) / 1000 if stops else STOP_S


def agenda(plan: Plan, results: Results) -> Agenda:
    """The calls of `plan`; some answers end before the caller speaks over them, so there may be more of them."""
    return Agenda(plan.rows, plan.systems, results.judged, wanted=plan.interruptions, per_call=PER_CALL, most=plan.most)


async def run(plan: Plan, results: Results, say: Say) -> None:
    """Hold all calls of `plan`, one line of progress each, and put what they gave into `results`.

    A call that fails is a result too. Raises SimulatorError when there is no ground to measure on.
    """
    async with Ground(plan.systems, RULES, say) as ground:
        calls = agenda(plan, results)

        async def hold(job: Job) -> None:
            try:
                result = await _hold(ground, plan, job, results.stop_s(job.system))
            finally:
                calls.ended(job)
            results.calls.append(result)
            say(f"{calls.progress()}  {progress(result)}")

        await work_off(calls, hold, concurrency=plan.concurrency)


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


async def _hold(ground: Ground, plan: Plan, job: Job, stop_s: float) -> CallResult:
    """One call from its order to its verdicts."""
    seed = plan.seed + job.number
    staged = scene(job.row, job.number)
    spoken = script(staged, seed, job.size)
    async with ground.call(
        job.system,
        f"{job.row}-{job.system}-{seed}",
        staged.settings(seed),
        agent=SCRIPT,
        voice_name=spoken.voice,
        tts=staged.tts,
        queue_ms=staged.queue_ms,
    ) as call:
        for line in spoken.lines:
            await call.caller.prepare(line.text)
        async with call.joined():
            call.failure = await _Talk(call, stop_s).hold(spoken)
    if plan.tapes is not None:
        await asyncio.to_thread(call.caller.tape.save, plan.tapes / f"{call.name}.wav")
    failure = call.failure
    try:
        verdicts = await _judged(call, spoken)
    except Exception as error:  # the calls of an hour are not to be lost by what one recording does to the judge
        failure = failure or f"the judge failed: {type(error).__name__}: {error}"
        pairs = pairwise(spoken.lines)
        verdicts = tuple(Verdict(line.topic, following.text, unjudged=failure) for line, following in pairs)
    return CallResult(job.row, staged, job.system, seed, verdicts, call.wait_ms, dict(call.settings), failure)


async def _judged(call: GroundCall, spoken: Script) -> tuple[Verdict, ...]:
    tape = call.caller.tape
    if not tape.said:
        return judge(spoken.lines, tape, (), ())
    requests = (await call.control.account(call.key))["requests"]
    sources = await call.sources()

    def work() -> tuple[Verdict, ...]:
        found = ear.listen(sources, tape.heard_samples())
        return judge(spoken.lines, tape, list(zip(sources, found, strict=True)), requests)

    return await asyncio.to_thread(work)


class _Talk:
    """The caller's side of one call: says each line at its point of the answer before it."""

    def __init__(self, call: GroundCall, stop_s: float) -> None:
        self._call = call
        self._caller = call.caller
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
                    await self._call.control.order(self._call.key, line.fault)
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
            if (sent := self._first_audible(await self._call.served(), said_at)) is not None:
                return sent + self._lag_s
            if not await self._caller.pause(POLL_S):
                return None
        return self._caller.watch.begun_s

    async def _end(self, said_at: float) -> float | None:
        """When the answer will have sounded, told from what the voice has sent ahead of it."""
        begun = await self._begun()
        await self._sent(said_at)
        sent = [
            produced for produced in await self._call.control.speech(self._call.key) if (produced.at or 0.0) >= said_at
        ]
        return None if begun is None else begun + sum(_audible_s(produced) for produced in sent)

    async def _whole(self, said_at: float) -> None:
        """Wait until the agent has said all it has to say; silence alone may be a tool or a stall."""
        if await self._begun() is not None:
            await self._sent(said_at)
            await self._wait_for(lambda: self._caller.watch.done(time.monotonic(), QUIET_MS / 1000), WHOLE_LIMIT_S)

    async def _sent(self, said_at: float) -> None:
        """Wait until the model has written the whole answer and the voice has sent it."""
        deadline = time.monotonic() + WHOLE_LIMIT_S
        while time.monotonic() < deadline and not settled(await self._call.served(), said_at):
            if not await self._caller.pause(LOG_POLL_S):
                return

    async def _learn_lag(self) -> None:
        """How long sound is on its way, by the greeting."""
        begun, sent = self._caller.watch.begun_s, self._first_audible(await self._call.served(), 0.0)
        if begun is not None and sent is not None:
            self._lag_s = min(max(begun - sent, 0.0), 2 * SOUND_LAG_S)

    def _first_audible(self, served: Sequence[Served], since: float) -> float | None:
        """When the voice sent its first audible sample since then, as it will be played; None if it has not."""
        begun = (line for line in served if line.stage == "tts" and line.what == "first_audio" and line.at >= since)
        return next((line.at + line.leading_silence_ms / 1000 for line in begun), None)

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
