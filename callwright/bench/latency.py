"""Whole calls through a real LiveKit server, systems in turn, measured from the caller's end."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from callwright.bench.conversation import Conversation, conversation
from callwright.bench.metrics import HeardTurn, TurnTimes, heard_turns, turn_times
from callwright.bench.system import SystemProcess
from callwright.bench.systems.protocol import CallRequest, LiveKit
from callwright.simulators import echo
from callwright.simulators.account import AccountSettings, Served
from callwright.simulators.announce import Announcer
from callwright.simulators.caller import Caller
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit import Credentials, LiveKitServer, token
from callwright.simulators.process import Control, VendorProcess
from callwright.simulators.voice import Voice

Delays = Literal["default", "zero"]
Say = Callable[[str], None]

READY_LIMIT_S = 30.0
END_LIMIT_S = 20.0
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
        common = AccountSettings(seed=seed, ears="oracle", brain_rules=str(self.rules))
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

    def add_echo(self, measured: echo.Transport) -> None:
        self.there_ms += measured.there_ms
        self.back_ms += measured.back_ms


async def run(plan: Plan, results: Results, say: Say) -> None:
    """Hold all calls of `plan`, one line of progress each, and put what they gave into `results`.

    A call that fails is a result too. Raises SimulatorError when there is no ground to measure on: no LiveKit
    server, no stand-ins, a system that does not come up.
    """
    async with AsyncExitStack() as owned:
        folder = Path(owned.enter_context(tempfile.TemporaryDirectory(prefix="callwright-bench-")))
        server = await owned.enter_async_context(LiveKitServer(progress=say))
        vendors = await owned.enter_async_context(VendorProcess(rules=plan.rules))
        control = await owned.enter_async_context(Control(vendors.url))
        systems = [await owned.enter_async_context(SystemProcess(name, progress=say)) for name in plan.systems]
        results.add_echo(await echo.measure(server, pairs=plan.echo_pairs))
        say(f"transport, both crossings: {results.transport_ms:.1f} ms")
        ground = _Ground(plan, server, vendors.url, control, folder, Voice())
        total = plan.calls * len(plan.delays) * len(systems)
        for delays in plan.delays:
            for first in range(0, plan.calls, plan.concurrency):
                seeds = range(first, min(first + plan.concurrency, plan.calls))
                for system in systems:
                    calls = [ground.call(system, delays, plan.seed + seed) for seed in seeds]
                    async with aclosing(_as_they_end(calls)) as ended:
                        async for result in ended:
                            results.calls.append(result)
                            say(f"{len(results.calls)}/{total}  {progress(result, results.transport_ms)}")
        results.add_echo(await echo.measure(server, pairs=plan.echo_pairs))


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


@dataclass(frozen=True)
class _Ground:
    """What all calls of a run stand on."""

    plan: Plan
    livekit: Credentials
    stand_ins: str
    control: Control
    folder: Path
    voice: Voice

    async def call(self, system: SystemProcess, delays: Delays, seed: int) -> CallResult:
        """One call from its order to its log."""
        spoken = conversation(seed, turns=self.plan.turns)
        name = f"{system.name}-{delays}-{seed}-{secrets.token_hex(3)}"
        key = f"bench-{secrets.token_hex(8)}"
        await self.control.configure(key, self.plan.settings(delays, seed))
        announce = Announcer(self.stand_ins, key)
        caller = Caller(
            self.livekit.url,
            token(self.livekit, name, "caller"),
            voice=self.voice,
            voice_name=spoken.voice,
            seed=seed,
            noise_dbfs=self.plan.noise_dbfs,
            announce=announce,
        )
        request = CallRequest(
            call=name,
            room=name,
            livekit=LiveKit(url=self.livekit.url, key=self.livekit.api_key, secret=self.livekit.api_secret),
            stand_ins=self.stand_ins,
            key=key,
            agent=self.plan.agent,
            folder=self.folder,
            environment={"FRONTDESK_CALENDAR": str(self._calendar(system, delays, seed))},
        )
        wait_ms, settings, failure = 0.0, {}, ""
        try:
            for text in spoken.lines:
                await caller.prepare(text)
            ordered = await system.start(request)
            async with asyncio.timeout(READY_LIMIT_S):
                ready = await asyncio.shield(ordered.ready)
            wait_ms, settings = ready.wait_ms, ready.settings
            async with announce, caller:
                failure = await self._talk(caller, key, spoken)
            async with asyncio.timeout(END_LIMIT_S):
                ended = await asyncio.shield(ordered.ended)
            if not ended.ok:
                failure = failure or f"the system ended the call: {ended.reason}"
        except SimulatorError as error:
            failure = str(error)
        except TimeoutError:
            failure = f"{system.name} did not {'leave the room' if settings else 'come into the room'} in time"
        served = (await self.control.account(key))["served"]
        return CallResult(
            system=system.name,
            delays=delays,
            seed=seed,
            turns=heard_turns(caller.tape),
            served=tuple(Served.model_validate(line) for line in served),
            wait_ms=wait_ms,
            settings=dict(settings),
            lines=len(spoken.lines),
            failure=failure,
        )

    def _calendar(self, system: SystemProcess, delays: Delays, seed: int) -> Path:
        """A fresh calendar for every call; calls held at once in one process share one."""
        group = (seed - self.plan.seed) // self.plan.concurrency
        return self.folder / f"{system.name}-{delays}-{group}.calendar.db"

    async def _talk(self, caller: Caller, key: str, spoken: Conversation) -> str:
        """Say the lines, each after the agent's answer; why it was not possible, "" if it was."""
        await caller.agent_quiet(QUIET_MS, ANSWER_LIMIT_S)
        for text in spoken.lines:
            said = await caller.say(text)
            await self._answered(caller, key, caller.tape.seconds(said.end))
            if caller.ended is not None:
                return f"the call ended after '{text}': {caller.ended}"
        return ""

    async def _answered(self, caller: Caller, key: str, asked_at: float) -> None:
        """Wait until the agent has said all it has to say.

        Not by silence alone: while a tool runs the agent may be silent in the middle of its answer for seconds.
        """
        if not await caller.agent_quiet(QUIET_MS, ANSWER_LIMIT_S):
            return
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while caller.ended is None and time.monotonic() < deadline:
            served = [Served.model_validate(line) for line in (await self.control.account(key))["served"]]
            if settled(served, asked_at) and caller.watch.done(time.monotonic(), QUIET_MS / 1000):
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
