"""`bench silence`: whole calls in which the agent has to ask others, who take their time; is it ever silent?

The caller gives an order, waits until everything has been done and told, and gives the next one; in one row it
speaks up meanwhile. What the tools did is read from the files that they wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from callwright.bench import lines as rendered
from callwright.bench import silence_metrics, wire
from callwright.bench.agenda import Agenda, Job, work_off
from callwright.bench.ear import Source
from callwright.bench.ground import Ground, GroundCall, Say
from callwright.bench.latency import ANSWER_LIMIT_S, QUIET_MS, settled
from callwright.bench.scenes.silence import EFFECTS, agent
from callwright.bench.silence_metrics import THRESHOLD_MS, Effects, Fillers, Turn
from callwright.bench.silence_scenes import PER_CALL, RULES, SCENES, SCRIPT, Line, Scene, Script, script
from callwright.bench.store import Store
from callwright.bench.utterances import Spoken, utterances
from callwright.simulators import brain_rules
from callwright.trouble import fixed_lines

TOLD_LIMIT_S = 10.0
"""Longest wait for what is still missing once the tools must have ended: a mute agent is mute by then."""

POLL_S = 0.1


@dataclass(frozen=True)
class Plan:
    """What to run: `turns` orders of the caller to every system in every row, `concurrency` calls at once."""

    systems: tuple[str, ...]
    rows: tuple[str, ...]
    turns: int = 12
    concurrency: int = 2
    seed: int = 0
    threshold_ms: float = THRESHOLD_MS
    tapes: Path | None = None
    """Where every call's recording is kept; None keeps none."""


@dataclass(frozen=True)
class CallResult:
    """One call as it was judged. `failure` says in a line why it did not run to its end, "" if it did."""

    row: str
    scene: Scene
    system: str
    seed: int
    turns: tuple[Turn, ...] = ()
    fillers: Fillers = field(default_factory=Fillers)
    effects: Effects = field(default_factory=Effects)
    orders: int = 0
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    failure: str = ""


@dataclass
class Results:
    """What has been judged so far; complete or not, it can be reported at any time."""

    calls: list[CallResult] = field(default_factory=list)

    def judged(self, row: str, system: str) -> int:
        """How many orders of the row have been given to the system."""
        return sum(call.orders for call in self.calls if (call.row, call.system) == (row, system))


async def run(plan: Plan, results: Results, say: Say) -> None:
    """Hold all calls of `plan`, one line of progress each, and put what they gave into `results`.

    A call that fails is a result too. Raises SimulatorError when there is no ground to measure on.
    """
    agenda = Agenda(plan.rows, plan.systems, results.judged, wanted=plan.turns, per_call=PER_CALL)
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
    silences = " ".join(f"{turn.longest_silence_ms:.0f}" for turn in result.turns)
    line = f"{result.row}, {result.system}, seed {result.seed}: silent for {silences or '–'} ms"
    if mute := sum(turn.mute for turn in result.turns):
        line += f", {mute} MUTE"
    effects = result.effects
    for count, what in ((effects.lost, "LOST"), (effects.doubled, "DOUBLED")):
        if count:
            line += f", {count} {what}"
    return f"{line}; FAILED: {result.failure}" if result.failure else line


async def _hold(ground: Ground, plan: Plan, job: Job, store: Store) -> CallResult:
    """One call from its order to its verdict."""
    seed = plan.seed + job.number
    scene = SCENES[job.row]
    spoken = script(scene, seed, job.size)
    with contextlib.ExitStack() as judging:
        async with ground.call(
            job.system,
            f"{job.row}-{job.system}-{seed}",
            scene.settings(seed),
            agent=SCRIPT,
            voice_name=spoken.voice,
            environment={EFFECTS: str(ground.folder)},
        ) as call:
            judging.enter_context(store.beside(job.system, call))
            for text in spoken.texts:
                await call.caller.prepare(text)
            async with call.joined():
                call.failure = await _Talk(call, ground.folder).hold(spoken)
        if plan.tapes is not None:
            await asyncio.to_thread(call.caller.tape.save, plan.tapes / f"{call.name}.wav")
        result = CallResult(
            job.row, scene, job.system, seed, orders=job.size, settings=dict(call.settings), failure=call.failure
        )
        try:
            return await _judged(result, call, ground.folder, store, plan.threshold_ms)
        except Exception as error:  # the calls of an hour are not to be lost by what one recording does to the judge
            return replace(result, failure=call.failure or f"the judge failed: {type(error).__name__}: {error}")


async def _judged(result: CallResult, call: GroundCall, folder: Path, store: Store, threshold_ms: float) -> CallResult:
    tape = call.caller.tape
    account = await call.control.account(call.key)
    replies = wire.replies(account["requests"], await call.served(), brain_rules.load(RULES))
    await store.look()
    streamed, lines = store.split(result.system, await call.sources())
    done = world(folder, call.name)

    def work() -> CallResult:
        spoken = heard(call, streamed, lines, replies, fixed_lines(agent))
        return replace(
            result,
            turns=silence_metrics.turns(tape, spoken, threshold_ms=threshold_ms),
            fillers=silence_metrics.fillers(spoken, tape, wire.shown(account["requests"]), replies),
            effects=silence_metrics.effects(done, replies),
        )

    return await asyncio.to_thread(work)


def heard(
    call: GroundCall,
    streamed: list[Source],
    lines: list[Source],
    replies: list[wire.Reply],
    fixed: list[str],
) -> list[Spoken]:
    """All that the caller heard the agent say. Takes the processor for seconds."""
    samples = call.caller.tape.heard_samples()
    found = rendered.listen(streamed, lines, samples)
    origin_s = call.caller.tape.origin_s
    return utterances([one for one, _ in found], [one for _, one in found], replies, fixed, samples, origin_s=origin_s)


def world(folder: Path, call: str) -> list[dict[str, Any]]:
    """What the tools of a call did, in order; a line that is being written is left out."""
    file = folder / f"{call}.jsonl"
    if not file.exists():
        return []
    text = file.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class _Talk:
    """The caller's side of one call: gives an order, waits until all is done and told."""

    def __init__(self, call: GroundCall, folder: Path) -> None:
        self._call = call
        self._caller = call.caller
        self._folder = folder

    async def hold(self, spoken: Script) -> str:
        """Say all lines; why it was not possible, "" if it was."""
        await self._caller.agent_quiet(QUIET_MS, ANSWER_LIMIT_S)
        for line in spoken.lines:
            said = await self._caller.say(line.text)
            asked_at = said_at = self._caller.tape.seconds(said.end)
            if line.barge and await self._caller.pause(max(0.0, asked_at + line.barge_s - time.monotonic())):
                said_at = self._caller.tape.seconds((await self._caller.say(line.barge)).end)
            await self._told(line, said_at, asked_at + line.takes_s)
            if self._caller.ended is not None:
                return f"the call ended after '{line.text}': {self._caller.ended}"
        return ""

    async def _told(self, line: Line, said_at: float, done_at: float) -> None:
        """Wait until the tools have done their work and the agent has said all it has to say about it.

        `said_at` is when the caller said the last of it, `done_at` when the tools could have ended at the earliest.
        """
        deadline = max(said_at, done_at) + TOLD_LIMIT_S
        while self._caller.ended is None and time.monotonic() < deadline:
            done = [one for one in world(self._folder, self._call.name) if one["what"] == "done"]
            mine = [one["at"] for one in done if str(one["ticket"]).startswith(f"{line.topic}/")]
            since = max([said_at, *mine])
            if len(mine) >= line.questions and settled(await self._call.served(), since):
                if self._caller.watch.done(time.monotonic(), QUIET_MS / 1000):
                    return
                # It is sounding, or will be: an answer is heard to its end.
                deadline = max(deadline, time.monotonic() + 1.0) if self._caller.agent_sounding else deadline
            await self._caller.pause(POLL_S)
