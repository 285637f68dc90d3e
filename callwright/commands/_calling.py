"""What `callwright call` does: one scripted caller, printed as it goes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from callwright.errors import CallwrightError, ConfigError, RoomError, SetupError
from callwright.simulators.announce import Announcer
from callwright.simulators.caller import Caller
from callwright.simulators.caller_report import CallerReport
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit import LiveKitKeys, token
from callwright.simulators.livekit_install import cache_folder
from callwright.simulators.play import run_script
from callwright.simulators.script import Script, Step, load
from callwright.simulators.tape import Caption
from callwright.simulators.voice import Voice


@dataclass(frozen=True)
class Order:
    """One call to make, as the command line says it."""

    room: str
    script: Path
    url: str | None = None
    voice: str | None = None
    record: Path | None = None
    announce_to: str | None = None
    announce_key: str = "stand-in"
    agent_within_s: float = 20.0


async def place_call(order: Order, environment: Mapping[str, str] = os.environ) -> CallerReport:
    """Make the call and print it.

    Raises ConfigError (script, environment), SetupError (no voice) or RoomError (LiveKit, no agent, no
    answer).
    """
    try:
        script = load(order.script)
        given = {"LIVEKIT_URL": order.url} if order.url else {}
        keys = LiveKitKeys.from_environment({**environment, **given})
    except SimulatorError as error:
        raise ConfigError(str(error)) from error
    try:
        voice = Voice(cache_folder() / "voice")
    except SimulatorError as error:
        raise SetupError(str(error)) from error
    try:
        report = await _call(order, script, keys, voice)
    except SimulatorError as error:
        raise RoomError(str(error)) from error
    _print_report(report)
    if complaint := _complaint(report):
        raise complaint
    return report


async def _call(order: Order, script: Script, keys: LiveKitKeys, voice: Voice) -> CallerReport:
    identity = f"caller-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        announce = None
        if order.announce_to:
            announce = await stack.enter_async_context(Announcer(order.announce_to, order.announce_key))
        caller = Caller(
            keys.url,
            token(keys, order.room, identity, ttl_s=600),
            voice=voice,
            voice_name=order.voice or script.voice,
            speed=script.speed,
            noise_dbfs=script.noise_dbfs,
            seed=script.seed,
            announce=announce,
        )
        screen = _Screen(caller, identity)
        caller.on_caption = screen.caption
        await stack.enter_async_context(caller)
        print(f"in room {order.room} after {caller.joined_s * 1000:.0f} ms; waiting for the agent", flush=True)
        print(f"the agent is here ({await caller.agent_joined(order.agent_within_s):.1f} s)", flush=True)
        try:
            return await run_script(script, caller, screen.step)
        finally:
            if order.record is not None:
                path = order.record / f"{order.room}-{identity}.wav"
                caller.tape.save(path)
                print(f"recorded in {path}", flush=True)


class _Screen:
    """What scrolls by: steps, and captions once they are final."""

    def __init__(self, caller: Caller, identity: str) -> None:
        self._caller = caller
        self._identity = identity
        self._shown: set[str] = set()

    def caption(self, caption: Caption) -> None:
        if caption.final and caption.identity != self._identity and caption.segment_id not in self._shown:
            self._shown.add(caption.segment_id)
            self._line("agent", caption.text.strip())

    def step(self, number: int, step: Step) -> None:
        if step.kind in ("say", "talk_over", "start_saying"):
            self._line("caller", getattr(step, "text", ""))
        elif step.kind != "wait":
            self._line("caller", f"({step.kind.replace('_', ' ')})")

    def _line(self, who: str, text: str) -> None:
        seconds = self._caller.tape.now() / self._caller.tape.rate
        print(f"{seconds:7.1f} s  {who:<6}  {text}", flush=True)


def _print_report(report: CallerReport) -> None:
    for turn in report.turns:
        if turn.response_gap_ms is not None:
            said = f"answered after {turn.response_gap_ms:.0f} ms"
        elif turn.overlapped:
            said = "the agent spoke on"
        else:
            said = "no answer" if turn.mute else "no answer in the time it had"
        print(f"  {said:<28} {turn.text}")
    gaps = sorted(report.response_gaps_ms)
    middle = f", response gap p50 {gaps[len(gaps) // 2]:.0f} ms" if gaps else ""
    print(f"{len(report.turns)} turns, {report.mute_turns} mute{middle}; ended by: {report.ended}", flush=True)


def _complaint(report: CallerReport) -> CallwrightError | None:
    if report.ended != "caller" and (report.unsaid or report.ended != "agent left"):
        return RoomError(f"the call broke off after {report.steps_done} of {report.steps} steps: {report.ended}")
    if report.mute_turns or report.mute_waits:
        count = max(report.mute_turns, report.mute_waits)
        often = "once" if count == 1 else f"{count} times"
        return RoomError(f"the agent stayed silent {often}; its own log and 'callwright show' tell why")
    return None
