"""`bench faults`: whole calls in which one vendor misbehaves in two of six turns; does the caller get an answer?

The faults strike the first account; a system that can turn to another vendor has a second account with the same
vendors, which are well. Whether a fault struck is read from the vendor's log: one that found nothing to strike proves
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from callwright.bench import fault_metrics, wire
from callwright.bench.agenda import Agenda, Job, work_off
from callwright.bench.fault_metrics import Effect
from callwright.bench.fault_scenes import FAULTS, SCENES, Question, Scene, Script, script
from callwright.bench.ground import Ground, GroundCall, Say
from callwright.bench.latency import ANSWER_LIMIT_S, QUIET_MS, settled
from callwright.bench.scenes.silence import EFFECTS, agent
from callwright.bench.silence import heard
from callwright.bench.silence_scenes import RULES, SCRIPT
from callwright.bench.store import Store
from callwright.simulators import brain_rules

ANSWERED_LIMIT_S = 12.0
"""Once an answer has begun, so long is waited for its end: some never end."""

POLL_S = 0.1

IDLE_S = 0.3
"""From a fault's order to the caller's word, so that what strikes an idle connection strikes it idle."""


@dataclass(frozen=True)
class Plan:
    """What to run: `faults` faulted turns of every system in every row, `concurrency` calls at once."""

    systems: tuple[str, ...]
    rows: tuple[str, ...]
    faults: int = FAULTS
    concurrency: int = 2
    seed: int = 0
    tapes: Path | None = None
    """Where every call's recording is kept; None keeps none."""


@dataclass(frozen=True)
class CallResult:
    """One call as it was judged. `failure` says in a line why it did not run to its end, "" if it survived."""

    row: str
    scene: Scene
    system: str
    seed: int
    effects: tuple[Effect, ...] = ()
    faults: int = 0
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    failure: str = ""


@dataclass
class Results:
    """What has been judged so far; complete or not, it can be reported at any time."""

    calls: list[CallResult] = field(default_factory=list)

    def judged(self, row: str, system: str) -> int:
        """How many faulted turns of the row the system has been through."""
        return sum(call.faults for call in self.calls if (call.row, call.system) == (row, system))


async def run(plan: Plan, results: Results, say: Say) -> None:
    """Hold all calls of `plan`, one line of progress each, and put what they gave into `results`.

    A call that fails is a result too. Raises SimulatorError when there is no ground to measure on.
    """
    agenda = Agenda(plan.rows, plan.systems, results.judged, wanted=plan.faults, per_call=FAULTS)
    async with Ground(plan.systems, RULES, say) as ground:
        store = Store()

        async def hold(job: Job) -> None:
            try:
                result = await _hold(ground, plan, job, store)
            finally:
                agenda.ended(job)
            results.calls.append(result)
            say(f"{agenda.progress()}  {progress(result)}")

        await work_off(agenda, hold, concurrency=plan.concurrency)


def progress(result: CallResult) -> str:
    """One call in one line."""
    verdicts = [
        f"{'answered' if e.recovered else 'told' if e.told else 'MUTE' if e.mute else 'NOT ANSWERED'}, "
        f"silent for {e.silence_ms:.0f} ms{'' if e.struck else ', NOT STRUCK'}"
        for e in result.effects
        if e.faulted
    ]
    line = f"{result.row}, {result.system}, seed {result.seed}: {'; '.join(verdicts) or '–'}"
    return f"{line}; FAILED: {result.failure}" if result.failure else line


async def _hold(ground: Ground, plan: Plan, job: Job, store: Store) -> CallResult:
    """One call from its order to its verdict."""
    seed = plan.seed + job.number
    scene = SCENES[job.row]
    spoken, struck = script(scene, seed), list[bool]()
    settings = scene.settings(seed)
    with contextlib.ExitStack() as judging:
        async with ground.call(
            job.system,
            f"{job.row}-{job.system}-{seed}",
            settings,
            agent=SCRIPT,
            voice_name=spoken.voice,
            backup=settings,
            environment={EFFECTS: str(ground.folder)},
        ) as call:
            judging.enter_context(store.beside(job.system, call))
            for question in spoken.questions:
                await call.caller.prepare(question.text)
            async with call.joined():
                call.failure = await _talk(call, scene, spoken, struck)
        if plan.tapes is not None:
            await asyncio.to_thread(call.caller.tape.save, plan.tapes / f"{call.name}.wav")
        result = CallResult(
            job.row, scene, job.system, seed, faults=FAULTS, settings=dict(call.settings), failure=call.failure
        )
        try:
            return replace(result, effects=await _judged(result, call, spoken.questions, struck, store))
        except Exception as error:  # the calls of an hour are not to be lost by what one recording does to the judge
            return replace(result, failure=call.failure or f"the judge failed: {type(error).__name__}: {error}")


async def _talk(call: GroundCall, scene: Scene, spoken: Script, struck: list[bool]) -> str:
    """Ask all questions, each after the answer before it; why it was not possible, "" if it was.

    `struck` gets, for each fault that was ordered, whether it struck.
    """
    caller = call.caller
    await caller.agent_quiet(QUIET_MS, ANSWER_LIMIT_S)
    for question in spoken.questions:
        before = await _strikes(call, scene) if question.faulted else 0
        if question.faulted:
            for fault in scene.faults:
                await call.control.order(call.key, fault)
            await caller.pause(IDLE_S)
        said = await caller.say(question.text)
        await _answered(call, caller.tape.seconds(said.end))
        if question.faulted:
            await call.control.clear_faults(call.key)
            struck.append(await _strikes(call, scene) > before)
        if caller.ended is not None:
            return f"the call ended after '{question.text}': {caller.ended}"
    return ""


async def _answered(call: GroundCall, asked_at: float) -> None:
    """Wait until the answer has been said, or none will be.

    What a voice was told to drop is not settled: it was in trouble, and another has still to say it.
    """
    caller = call.caller
    if not await caller.agent_quiet(QUIET_MS, ANSWER_LIMIT_S):
        return
    deadline = time.monotonic() + ANSWERED_LIMIT_S
    while caller.ended is None and time.monotonic() < deadline:
        served = [line for line in await call.served() if line.what != "cancelled"]
        if settled(served, asked_at) and caller.watch.done(time.monotonic(), QUIET_MS / 1000):
            return
        await caller.pause(POLL_S)


async def _strikes(call: GroundCall, scene: Scene) -> int:
    return scene.strikes(wire.served(await call.control.account(call.key)))


async def _judged(
    result: CallResult, call: GroundCall, questions: tuple[Question, ...], struck: list[bool], store: Store
) -> tuple[Effect, ...]:
    rules = brain_rules.load(RULES)
    replies = []
    for key in (call.key, call.backup_key):
        account = await call.control.account(key)
        replies += wire.replies(account["requests"], wire.served(account), rules)
    await store.look()
    streamed, lines = store.split(result.system, await call.sources())

    def work() -> tuple[Effect, ...]:
        spoken = heard(call, streamed, lines, replies, [agent.greeting or ""])
        return fault_metrics.effects(questions, call.caller.tape, spoken, replies, struck, result.scene.stage)

    return await asyncio.to_thread(work)
