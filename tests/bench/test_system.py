"""The process of a system under test, seen by its owner."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from callwright.bench import system as systems
from callwright.bench.system import System, SystemProcess
from callwright.bench.systems.protocol import CallRequest, LiveKit
from callwright.simulators.errors import SimulatorError


@pytest.fixture(autouse=True)
def silly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(systems.SYSTEMS, "silly", System("silly_system"))
    monkeypatch.setitem(systems.SYSTEMS, "missing", System("no_such_system"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def request(room: str, call: str = "one", **environment: str) -> CallRequest:
    return CallRequest(
        call=call,
        room=room,
        livekit=LiveKit(url="ws://127.0.0.1:1", key="key", secret="secret"),
        stand_ins="http://127.0.0.1:2",
        key="account",
        agent=Path("agent.py"),
        folder=Path("folder"),
        environment=environment,
    )


async def test_a_call_is_reported_ready_and_ended() -> None:
    async with SystemProcess("silly") as system:
        call = await system.start(request("go", SILLY="yes"))
        ready, ended = await asyncio.wait_for(asyncio.gather(call.ready, call.ended), 10)
    assert (ready.wait_ms, ready.settings) == (200, {"told": "yes"})
    assert (ended.reason, ended.ok) == ("done", True)


async def test_calls_at_once_are_told_apart() -> None:
    async with SystemProcess("silly") as system:
        staying = await system.start(request("stay", "first"))
        going = await system.start(request("go", "second"))
        assert (await asyncio.wait_for(going.ended, 10)).call == "second"
        assert not staying.ended.done()


async def test_a_call_that_raises_is_ended_and_the_next_one_is_held() -> None:
    async with SystemProcess("silly") as system:
        failed = await system.start(request("raise", "first"))
        ended = await asyncio.wait_for(failed.ended, 10)
        assert (ended.ok, ended.reason) == (False, "ValueError: no such thing")
        with pytest.raises(SimulatorError, match="never came into the room: ValueError"):
            await failed.ready
        assert (await asyncio.wait_for((await system.start(request("go"))).ended, 10)).ok


async def test_the_death_of_the_process_fails_its_calls() -> None:
    async with SystemProcess("silly") as system:
        staying = await system.start(request("stay", "first"))
        await asyncio.wait_for(staying.ready, 10)
        await system.start(request("die", "second"))
        with pytest.raises(SimulatorError, match="has died"):
            await asyncio.wait_for(staying.ended, 10)
        late = await system.start(request("go", "third"))
        with pytest.raises(SimulatorError, match="has died"):
            await asyncio.wait_for(late.ready, 10)


async def test_the_process_ends_with_its_owner_whatever_call_is_under_way() -> None:
    async with SystemProcess("silly") as system:
        call = await system.start(request("stay"))
        await asyncio.wait_for(call.ready, 10)
        process = system._process
        assert process is not None
    assert process.returncode == 0


async def test_a_system_that_does_not_come_up_is_an_error_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SimulatorError, match="the system 'missing' did not come up"):
        async with SystemProcess("missing"):
            pass
    assert "no_such_system" in capfd.readouterr().err
