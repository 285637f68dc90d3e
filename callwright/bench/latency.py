"""Whole calls through a real LiveKit server, systems in turn, measured from the caller's end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from callwright.bench import ear, wire
from callwright.bench import lines as rendered
from callwright.bench.agenda import Agenda, Job
from callwright.bench.conversation import Conversation, conversation
from callwright.bench.ear import Source
from callwright.bench.ground import Ground, GroundCall, Say
from callwright.bench.metrics import HeardTurn, TurnTimes, heard_turns, turn_times
from callwright.bench.store import Store
from callwright.bench.utterances import Spoken, utterances
from callwright.bench.wire import Reply
from callwright.simulators import brain_rules, echo
from callwright.simulators.account import AccountSettings, Served
from callwright.simulators.sound import Samples

Delays = Literal["default", "zero"]

QUIET_MS = 600
"""So much silence of the agent after its answer, and the caller speaks; pauses within sentences are shorter."""

ANSWER_LIMIT_S = 15.0
"""A caller gives up waiting for a first sound after this long; the turn was mute long before."""

SETTLE_LIMIT_S = 12.0
"""An answer that the vendors' log does not show as finished is not waited for longer than this."""

FLUSH_S = 0.05
"""The log may note the end of the model's answer this much after the client has acted on it."""


@dataclass(frozen=True)
class Plan:
    """What to run: `calls` calls of every system at every setting of the delays, `concurrency` at once."""

    systems: tuple[str, ...]
    agent: Path
    rules: Path
    calls: int = 20
    delays: tuple[Delays, ...] = ("default", "zero")
    concurrency: int = 1
    seed: int = 0
    turns: int = 6
    noise_dbfs: float | None = None
    """Level of the noise behind the caller; below -45, or the end of speech could not be measured."""
    echo_pairs: int = 3
    """Pairs that measure the transport, before the calls and again after them (2.5 s each)."""

    def settings(self, delays: Delays, seed: int) -> AccountSettings:
        """How the vendors behave towards one call; the same for every system."""
        common = AccountSettings(seed=seed, ears="oracle", brain_rules=str(self.rules), keep_speech=True)
        if delays == "default":
            return common
        return common.model_copy(update={"speed": 0.0, "tts_leading_silence_ms": (0, 0)})


@dataclass(frozen=True)
class CallResult:
    """One call as it was measured. `failure` says in a line why it did not run to its end, "" if it did."""

    system: str
    delays: Delays
    seed: int
    turns: tuple[HeardTurn, ...]
    served: tuple[Served, ...]
    wait_ms: float
    settings: dict[str, JsonValue]
    lines: int
    failure: str = ""

    def times(self, transport_ms: float) -> tuple[TurnTimes, ...]:
        """The figures of its turns."""
        return tuple(
            turn_times(turn, self.served, wait_ms=self.wait_ms, transport_ms=transport_ms) for turn in self.turns
        )


@dataclass
class Results:
    """What has been measured so far; complete or not, it can be reported at any time."""

    calls: list[CallResult] = field(default_factory=list)
    there_ms: list[float] = field(default_factory=list)
    back_ms: list[float] = field(default_factory=list)

    @property
    def transport_ms(self) -> float:
        """Both crossings, over all echo pairs of the run; 0 before any."""
        if not self.there_ms or not self.back_ms:
            return 0.0
        return echo.Transport(tuple(self.there_ms), tuple(self.back_ms)).ms

    def held(self, delays: str, system: str) -> int:
        """How many calls of the system at this setting are over."""
        return sum((call.delays, call.system) == (delays, system) for call in self.calls)

    def add_echo(self, measured: echo.Transport) -> None:
        self.there_ms += measured.there_ms
        self.back_ms += measured.back_ms


async def run(plan: Plan, results: Results, say: Say) -> None:
    """Hold all calls of `plan`, one line of progress each, and put what they gave into `results`.

    A call that fails is a result too. Raises SimulatorError when there is no ground to measure on.
    """
    async with Ground(plan.systems, plan.rules, say) as ground:
        results.add_echo(await echo.measure(ground.livekit, pairs=plan.echo_pairs))
        say(f"transport, both crossings: {results.transport_ms:.1f} ms")
        store = Store()
        agenda = Agenda(plan.delays, plan.systems, results.held, wanted=plan.calls)
        while jobs := agenda.round(plan.concurrency):
            over = asyncio.Barrier(len(jobs))
            async with aclosing(_as_they_end([_hold(ground, plan, job, store, over) for job in jobs])) as ended:
                async for result in ended:
                    results.calls.append(result)
                    say(f"{agenda.progress()}  {progress(result, results.transport_ms)}")
            for job in jobs:
                agenda.ended(job)
        results.add_echo(await echo.measure(ground.livekit, pairs=plan.echo_pairs))


async def _as_they_end(calls: Sequence[Coroutine[None, None, CallResult]]) -> AsyncGenerator[CallResult, None]:
    """All of them at once, each as it ends; none outlives the loop over them."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        for ended in asyncio.as_completed(tasks):
            yield await ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def progress(result: CallResult, transport_ms: float) -> str:
    """One call in one line."""
    times = result.times(transport_ms)
    gaps = " ".join("–" if t.response_gap_ms is None else f"{t.response_gap_ms:.0f}" for t in times)
    added = " ".join("–" if t.added_latency_ms is None else f"{t.added_latency_ms:.0f}" for t in times)
    line = f"{result.system}, delays {result.delays}, seed {result.seed}: gap {gaps or '–'} ms, added {added or '–'} ms"
    return f"{line}; FAILED: {result.failure}" if result.failure else line


async def _hold(ground: Ground, plan: Plan, job: Job, store: Store, over: asyncio.Barrier) -> CallResult:
    """One call from its order to its verdict, which waits until all calls of the round are `over`: it takes a core."""
    seed = plan.seed + job.number
    delays: Delays = "default" if job.row == "default" else "zero"
    spoken = conversation(seed, turns=plan.turns)
    # A fresh calendar for every call; calls held at once in one process share one.
    calendar = ground.folder / f"{job.system}-{delays}-{job.number // plan.concurrency}.calendar.db"
    async with ground.call(
        job.system,
        f"{job.system}-{delays}-{seed}",
        plan.settings(delays, seed),
        agent=plan.agent,
        voice_name=spoken.voice,
        noise_dbfs=plan.noise_dbfs,
        environment={"FRONTDESK_CALENDAR": str(calendar)},
    ) as call:
        for text in spoken.lines:
            await call.caller.prepare(text)
        async with call.joined():
            call.failure = await _talk(call, spoken)
    await over.wait()
    result = CallResult(
        system=job.system,
        delays=delays,
        seed=seed,
        turns=(),
        served=tuple(await call.served()),
        wait_ms=call.wait_ms,
        settings=dict(call.settings),
        lines=len(spoken.lines),
        failure=call.failure,
    )
    try:
        return replace(result, turns=await _judged(result, call, plan.rules, store))
    except Exception as error:  # the calls of an hour are not to be lost by what one recording does to the judge
        return replace(result, failure=call.failure or f"the judge failed: {type(error).__name__}: {error}")


async def _judged(result: CallResult, call: GroundCall, rules: Path, store: Store) -> tuple[HeardTurn, ...]:
    tape = call.caller.tape
    account = await call.control.account(call.key)
    replies = wire.replies(account["requests"], result.served, brain_rules.load(rules))
    streamed, lines = store.split(result.system, await call.sources())

    def work() -> tuple[HeardTurn, ...]:
        return heard_turns(tape, answers(streamed, lines, replies, tape.heard_samples(), origin_s=tape.origin_s))

    return await asyncio.to_thread(work)


def answers(
    streamed: Sequence[Source], lines: Sequence[Source], replies: Sequence[Reply], tape: Samples, *, origin_s: float = 0
) -> list[Spoken]:
    """What was heard of `streamed`; `lines` that were played meanwhile are not taken for it. Takes seconds."""
    heard = ear.listen(streamed, rendered.without(lines, streamed, tape))
    return utterances(streamed, heard, replies, (), tape, origin_s=origin_s)


async def _talk(call: GroundCall, spoken: Conversation) -> str:
    """Say the lines, each after the agent's answer; why it was not possible, "" if it was."""
    caller = call.caller
    await caller.agent_quiet(QUIET_MS, ANSWER_LIMIT_S)
    for text in spoken.lines:
        said = await caller.say(text)
        await answered(call, caller.tape.seconds(said.end))
        if caller.ended is not None:
            return f"the call ended after '{text}': {caller.ended}"
    return ""


async def answered(call: GroundCall, asked_at: float, limit_s: float = SETTLE_LIMIT_S) -> None:
    """Wait until the agent has said all it has to say, once it has begun for at most `limit_s`.

    Not by silence alone: while a tool runs the agent may be silent in the middle of its answer for seconds.
    """
    caller = call.caller
    if not await caller.agent_quiet(QUIET_MS, ANSWER_LIMIT_S):
        return
    deadline = time.monotonic() + limit_s
    while caller.ended is None and time.monotonic() < deadline:
        if settled(await call.served(), asked_at) and caller.watch.done(time.monotonic(), QUIET_MS / 1000):
            return
        await caller.pause(0.1)


def settled(served: Sequence[Served], asked_at: float) -> bool:
    """Whether the answer to what was said until `asked_at` is complete as far as the vendors know.

    The model's last reply asked for no tool, and the voice has sent all of it.
    """
    replies = [line for line in served if line.stage == "llm" and line.what == "reply" and line.at >= asked_at]
    if not replies or replies[-1].detail.get("stop_reason") == "tool_use":
        return False
    written = replies[-1].at - FLUSH_S
    return any(line.stage == "tts" and line.what in ("done", "cancelled") and line.at >= written for line in served)
