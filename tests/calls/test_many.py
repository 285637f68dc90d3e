"""Several calls in one process, as a worker that serves them holds them: the callers are elsewhere."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from callwright.bench.system import SystemProcess
from callwright.bench.systems.protocol import CallRequest, LiveKit
from callwright.records.calls import load
from callwright.records.database import Database
from callwright.simulators.announce import Announcer
from callwright.simulators.process import Control

from .conftest import Line

CALLS = 5
ECHO = """from callwright import Agent

agent = Agent(name="echo", prompt="Repeat what you hear.", greeting="Hello?")
"""


async def hold(line: Line, system: SystemProcess, script: Path, lines: list[str]) -> int:
    """One call, in which the caller says `lines`; after how many of them there was no answer."""
    request = CallRequest(
        call=line.room,
        room=line.room,
        livekit=LiveKit(url=line.livekit.url, key=line.livekit.api_key, secret=line.livekit.api_secret),
        stand_ins=line.url,
        key=line.key,
        agent=script,
        folder=line.folder,
    )
    async with Control(line.url) as control, Announcer(line.url, line.key) as announce:
        await control.configure(line.key, line.settings)
        call = await system.start(request)
        await asyncio.wait_for(call.ready, 30)
        async with line.caller(announce=announce) as caller:
            mute = 0 if await caller.agent_quiet() else 1
            for text in lines:
                await caller.say(text)
                mute += not await caller.agent_quiet()
        ended = await asyncio.wait_for(call.ended, 20)
    assert ended.ok, ended.reason
    return mute


async def test_five_calls_at_once_all_complete_and_none_is_mute(line: Line) -> None:
    script = line.folder / "echo.py"
    script.write_text(ECHO)
    each = [dataclasses.replace(line, room=f"{line.room}-{n}", key=f"{line.key}-{n}", entries=[]) for n in range(CALLS)]
    said = [[f"Good morning, I am caller number {n}.", "Goodbye."] for n in range(CALLS)]
    async with SystemProcess("callwright") as system:
        mute = await asyncio.gather(*(hold(one, system, script, said[n]) for n, one in enumerate(each)))
    assert mute == [0] * CALLS
    database = Database.open(f"sqlite:///{line.folder / 'calls.db'}")
    try:
        for n, one in enumerate(each):
            record = load(database, one.room)
            assert [turn.caller_text for turn in record.turns if turn.number] == said[n]
    finally:
        database.close()
