"""Running one agent: its script, its configuration, its stand-ins where asked, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from callwright.agent import Agent, load
from callwright.config import Config, with_stand_ins
from callwright.config import load as load_config
from callwright.ending import Ending
from callwright.errors import ConfigError
from callwright.simulators.account import AccountSettings
from callwright.simulators.process import VendorProcess
from callwright.stage import Stage

if TYPE_CHECKING:  # the engine takes seconds to import; wrong input is told before
    from callwright.call import LiveCall, Outcome
    from callwright.records.journal import Entry


def prepare(script: Path, file: Path | None, settings: Sequence[str]) -> tuple[Agent, Config]:
    """The agent and its effective configuration; AgentError or ConfigError in one line."""
    agent = load(script)
    defaults = dict(agent.config)
    if agent.voice:
        defaults["tts"] = {**dict(defaults.get("tts", {})), "voice": agent.voice}
    return agent, load_config(file=file, overrides=settings, agent=defaults, environ=os.environ)


def stages_without_key(config: Config) -> list[Stage]:
    """The stages that only a stand-in could serve."""
    return [missing.stage for missing in config.missing() if missing.stage]


def require_keys(config: Config) -> None:
    """ConfigError naming every variable to set, and the way out without keys."""
    missing = config.missing()
    if missing:
        told = "; ".join(map(str, missing))
        if any(gone.stage for gone in missing):
            told += " — or let local stand-ins serve: --stand-ins"
        raise ConfigError(told)


def rules_beside(script: Path) -> Path | None:
    """The stand-in model's rules for an agent: `NAME.rules.yaml` beside `NAME.py`, if it is there."""
    rules = script.with_name(f"{script.stem}.rules.yaml")
    return rules if rules.is_file() else None


@contextlib.asynccontextmanager
async def standing_in(
    config: Config, stages: Sequence[Stage], rules: Path | None, *, default: AccountSettings | None = None
) -> AsyncIterator[tuple[Config, str]]:
    """`config` with stand-ins behind `stages` for as long as the block lasts, and their URL ("" if none)."""
    if not stages:
        yield config, ""
        return
    async with VendorProcess(rules=rules, default=default) as vendors:
        yield with_stand_ins(config, stages, vendors.url, f"local-{secrets.token_hex(8)}"), vendors.url


@contextlib.contextmanager
def ended_by_signals(call: LiveCall, farewell: str) -> Iterator[None]:
    """SIGINT or SIGTERM ends the call politely; the second one at once."""
    loop = asyncio.get_running_loop()
    seen = 0

    def on_signal(number: int) -> None:
        nonlocal seen
        seen += 1
        ending = Ending("signal", f"ended by {signal.Signals(number).name}", ok=True)
        if seen == 1:
            call.hang_up(ending, farewell)
        else:
            call.drop(ending)

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def hold(
    script: Path,
    room: str,
    file: Path | None,
    settings: Sequence[str],
    *,
    stand_ins: bool,
    say: Callable[[str], None],
    watch: Callable[[Entry], None],
) -> Outcome:
    """Hold one call of the agent at `script` in `room`; `say` is told what a user should know meanwhile."""
    agent, config = prepare(script, file, settings)
    stages = stages_without_key(config) if stand_ins else []
    rules = rules_beside(script)
    if "llm" in stages and rules is None:
        say(f"llm: no {script.stem}.rules.yaml beside {script.name}: the stand-in model only repeats what it hears")
    async with standing_in(config, stages, rules) as (config, _):
        require_keys(config)
        for note in config.notes:
            say(note)
        for stage in stages:
            say(f"{stage}: a local stand-in for {config.stage(stage).vendor} (no key set)")
        from callwright.call import LiveCall

        call = LiveCall(agent, config, room, script=script, watch=watch)
        with ended_by_signals(call, agent.farewell):
            say(f"call {call.id}: joining room '{room}' at {config.room.url}")
            return await call.run()
