"""The demo: a LiveKit server, stand-ins for the vendors without a key, an agent, and a caller who rings it.

Everything it starts is its own and ends with it. What it proves is a real call: audio that crossed a
real LiveKit server, recognised from sound, acted on by tools, recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from livekit import api

from callwright import agent as agents
from callwright.agent import Agent
from callwright.call import LiveCall, Outcome
from callwright.config import Config
from callwright.errors import AgentError
from callwright.records.fold import CallRecord
from callwright.records.journal import Entry
from callwright.room import Credentials, token
from callwright.running import (
    ended_by_signals,
    prepare,
    require_keys,
    rules_beside,
    stages_without_key,
    standing_in,
)
from callwright.simulators.caller import Caller
from callwright.simulators.caller_report import CallerReport
from callwright.simulators.livekit import LiveKitServer
from callwright.simulators.play import run_script
from callwright.simulators.script import load as load_script
from callwright.simulators.voice import Voice
from callwright.stage import STAGES
from callwright.tools import JSON

Say = Callable[[str], None]
ROOM_VARIABLES = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")


@dataclass(frozen=True)
class Demo:
    """A finished demo call, seen from both ends."""

    config: Config
    outcome: Outcome
    report: CallerReport
    shown: dict[str, JSON]
    """What the agent's script itself reports (`demo_result()`)."""

    def to_json(self) -> dict[str, JSON]:
        record = self.outcome.record
        gaps = sorted(self.report.response_gaps_ms)
        return {
            "call_id": record.call_id,
            "stages": {
                name: {
                    "vendor": self.config.stage(name).vendor,
                    "model": self.config.stage(name).model,
                    "stand_in": self.config.stage(name).stand_in,
                }
                for name in STAGES
            },
            "turns": sum(1 for turn in record.turns if turn.number > 0),
            "tool_calls": _tool_calls(record),
            "mute_turns": self.report.mute_turns,
            "response_gap_ms": {"p50": quantile(gaps, 0.5), "p95": quantile(gaps, 0.95)},
            "cost_usd": record.cost_usd,
            "recording": record.recording,
            "end_reason": record.reason,
            **self.shown,
        }


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank quantile of sorted values; None of none."""
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * share // 1).__int__() - 1))], 1)


def _tool_calls(record: CallRecord) -> list[JSON]:
    return [
        {"name": tool.name, "ok": tool.ok, "ms": None if tool.ms is None else round(tool.ms, 1)}
        for turn in record.turns
        for tool in turn.tools
    ]


def default_script() -> Path:
    """The shipped front desk, which lies beside the package in the repository."""
    path = Path(__file__).resolve().parent.parent / "agents" / "frontdesk.py"
    if not path.is_file():
        raise AgentError("the shipped agents are in the repository, not in the package; name an AGENT.py of yours")
    return path


def caller_script_beside(script: Path) -> Path:
    """What the simulated caller says to an agent: `NAME.caller.yaml` beside `NAME.py`."""
    path = script.with_name(f"{script.stem}.caller.yaml")
    if not path.is_file():
        raise AgentError(f"the simulated caller needs lines: write {path.name} beside {script.name}")
    return path


@contextlib.asynccontextmanager
async def livekit(say: Say) -> AsyncIterator[dict[str, str]]:
    """The environment of a LiveKit server: the one the user named, else one started here."""
    named = {name: os.environ[name] for name in ROOM_VARIABLES if os.environ.get(name)}
    if len(named) == len(ROOM_VARIABLES):
        say(f"LiveKit: the server at {named['LIVEKIT_URL']}")
        yield named
        return
    async with LiveKitServer(progress=say) as server:
        say(f"LiveKit: a server of our own at {server.url}")
        yield server.environment()


async def run(
    script: Path,
    *,
    room: str,
    file: Path | None,
    settings: Sequence[str],
    command: str,
    once: bool,
    say: Say,
    watch: Callable[[Entry], None],
    done: Callable[[Demo], None],
) -> Demo:
    """Set everything up, hold the demo call, hand it to `done`; unless `once`, stay for callers by hand."""
    agents_data = Path(platformdirs.user_data_dir("callwright")) / "demo"
    agents_data.mkdir(parents=True, exist_ok=True, mode=0o700)
    calendar = agents_data / f"{script.stem}.db"
    calendar.unlink(missing_ok=True)  # every demo begins with the same calendar
    os.environ["FRONTDESK_CALENDAR"] = str(calendar)
    caller_script = caller_script_beside(script)
    ours = not all(os.environ.get(name) for name in ROOM_VARIABLES)
    async with livekit(say) as environment:
        os.environ.update(environment)
        agent, config = prepare(script, file, settings)
        stages = stages_without_key(config)
        for stage in STAGES:
            served = config.stage(stage)
            by = "local stand-in (no key set)" if stage in stages else "the real vendor"
            say(f"{stage}: {served.vendor} {served.model} — {by}")
        async with standing_in(config, stages, rules_beside(script)) as (config, _):
            require_keys(config)
            demo = await _ring(script, agent, config, room, caller_script, environment, watch)
            done(demo)
            if not once:
                await _stay(script, agent, config, room, caller_script, environment, command, say, watch, ours=ours)
            return demo


async def _ring(
    script: Path,
    agent: Agent,
    config: Config,
    room: str,
    caller_script: Path,
    environment: dict[str, str],
    watch: Callable[[Entry], None],
) -> Demo:
    """One call: the agent in the room, the simulated caller at the other end."""
    credentials = Credentials(*(environment[name] for name in ROOM_VARIABLES))
    call = LiveCall(agent, config, room, script=script, watch=watch)
    with ended_by_signals(call, agent.farewell):
        agent_side = asyncio.create_task(call.run())
        caller_side = asyncio.create_task(_call_in(caller_script, credentials, room))
        sides: set[asyncio.Task[Any]] = {agent_side, caller_side}
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for side in sides:
                side.cancel()  # where one failed, the other would wait for it in vain
            await asyncio.wait(sides)
    if not agent_side.cancelled():
        agent_side.result()  # its failure says more than the caller's
    report, outcome = caller_side.result(), agent_side.result()
    module = agents.load_module(script)
    shown = module.demo_result() if hasattr(module, "demo_result") else {}
    return Demo(config, outcome, report, shown)


async def _call_in(script: Path, credentials: Credentials, room: str) -> CallerReport:
    """The simulated caller's side of the call."""
    lines = load_script(script)
    async with Caller(
        credentials.url,
        token(credentials, room, "caller", ttl_s=600),
        voice=Voice(),
        voice_name=lines.voice,
        speed=lines.speed,
        noise_dbfs=lines.noise_dbfs,
        seed=lines.seed,
    ) as caller:
        return await run_script(lines, caller)


async def _stay(
    script: Path,
    agent: Agent,
    config: Config,
    room: str,
    caller_script: Path,
    environment: dict[str, str],
    command: str,
    say: Say,
    watch: Callable[[Entry], None],
    *,
    ours: bool,
) -> None:
    """Answer further callers, one after the other, until Ctrl-C."""
    credentials = Credentials(*(environment[name] for name in ROOM_VARIABLES))
    patient = config.model_copy(update={"call": config.call.model_copy(update={"wait_for_caller_s": 86_400.0})})
    made = token(credentials, room, f"caller-{int(time.time())}", ttl_s=6 * 3600)
    # The keys of a server of the user's own are not ours to print.
    keys = " ".join(f"{name}={shlex.quote(environment[name])}" for name in ROOM_VARIABLES) if ours else ""
    say("")
    say("The agent stays in the room. Join it by hand:")
    say("  · in a browser: https://meet.livekit.io/?tab=custom with this URL and token (good for 6 hours)")
    say(f"      {credentials.url}")
    say(f"      {made}")
    say("  · with the simulated caller, from another terminal:")
    say(f"      {keys} {command} call --room {room} --script {caller_script}")
    say("  · with LiveKit's own command line: lk room join --url … --token … --publish-demo")
    say("Ctrl-C ends it.")
    while True:
        call = LiveCall(agent, patient, room, script=script, watch=watch)
        with ended_by_signals(call, agent.farewell):
            outcome = await call.run()
        if outcome.ending.reason == "signal" or not outcome.ending.ok:
            return
        await _left_alone(credentials, room)


async def _left_alone(credentials: Credentials, room: str) -> None:
    """Wait until the last caller has left: who was just said goodbye to is not greeted again."""
    async with api.LiveKitAPI(credentials.url, credentials.api_key, credentials.api_secret) as server:
        asked = api.ListParticipantsRequest(room=room)
        while (await server.room.list_participants(asked)).participants:  # noqa: ASYNC110 the server only answers
            await asyncio.sleep(0.5)
