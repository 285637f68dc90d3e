"""Every system of the bench holds the same call: it greets, answers, and remembers what it has answered."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from callwright.bench.environment import COMPLETE
from callwright.bench.system import SYSTEMS, SystemProcess
from callwright.bench.systems.protocol import CallRequest, Ended, LiveKit, VoiceVendor
from callwright.simulators.account import AccountSettings
from callwright.simulators.announce import Announcer
from callwright.simulators.process import Control
from tests.calls.conftest import Line

FRONTDESK = Path(__file__).parents[2] / "agents" / "frontdesk.py"


def order(line: Line, **options: object) -> CallRequest:
    return CallRequest(
        call=line.room,
        room=line.room,
        livekit=LiveKit(url=line.livekit.url, key=line.livekit.api_key, secret=line.livekit.api_secret),
        stand_ins=line.url,
        key=line.key,
        agent=FRONTDESK,
        folder=line.folder,
        environment={"FRONTDESK_CALENDAR": str(line.folder / "calendar.db")},
        **options,  # type: ignore[arg-type]
    )


def needs_its_environment(name: str) -> None:
    environment = SYSTEMS[name].environment
    if environment is not None and not (environment.folder() / COMPLETE).exists():
        pytest.skip(f"{name} is not installed; 'callwright bench latency --system {name}' does that")


@pytest.mark.parametrize(
    ("name", "tts"),
    [
        ("callwright", "deepgram"),
        ("pipecat", "deepgram"),
        ("livekit-agents", "deepgram"),
        ("livekit-agents", "cartesia"),
    ],
)
async def test_a_system_greets_answers_and_remembers(name: str, tts: VoiceVendor, line: Line) -> None:
    needs_its_environment(name)
    rules = str(FRONTDESK.with_name("frontdesk.rules.yaml"))
    async with Control(line.url) as control, Announcer(line.url, line.key) as announce:
        await control.configure(line.key, AccountSettings(ears="oracle", speed=0, brain_rules=rules))
        async with SystemProcess(name) as system:
            call = await system.start(order(line, tts=tts))
            await asyncio.wait_for(call.ready, 30)
            async with line.caller(announce=announce) as caller:
                assert await caller.agent_quiet(), "no greeting"
                for text in ("Hi, I would like to book an appointment.", "My name is Anna Keller."):
                    await caller.say(text)
                    assert await caller.agent_quiet(), f"no answer to: {text}"
            ended = await asyncio.wait_for(call.ended, 20)
        requests = (await control.account(line.key))["requests"]
    assert ended == Ended(call=line.room, reason=ended.reason, ok=True)
    asked = [request["messages"] for request in requests if "Anna Keller" in str(request["messages"][-1])]
    assert asked, "the second question never reached the model"
    assert "May I have your name, please?" in str(asked[0][-2])


async def test_livekit_agents_says_that_its_queue_cannot_be_set(line: Line) -> None:
    needs_its_environment("livekit-agents")
    async with SystemProcess("livekit-agents") as system:
        ended = await asyncio.wait_for((await system.start(order(line, queue_ms=50))).ended, 20)
    assert not ended.ok
    assert "no option for the room's queue" in ended.reason
