"""`callwright call`: what is printed, and how it fails."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulators"))
from room_agent import ToneAgent

from callwright.commands import main
from callwright.commands._calling import Order, place_call
from callwright.errors import ConfigError, RoomError
from callwright.simulators.livekit import LiveKitServer

SCRIPT = "steps: [{wait: agent_done}, {say: Good morning.}, {wait: {timeout_s: 6}}, hang_up]"


@pytest.fixture(autouse=True)
def binding_is_quiet() -> Iterator[None]:
    """What the binding logs, it logs from threads of its own, which Python then takes for threads left behind."""
    logger = logging.getLogger("livekit")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.fixture
async def server() -> AsyncIterator[LiveKitServer]:
    async with LiveKitServer() as running:
        yield running


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "caller.yaml"
    path.write_text(SCRIPT)
    return path


async def test_a_call_is_printed_and_recorded(
    server: LiveKitServer, script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ToneAgent(server, "r", greeting_s=0.6) as agent:
        calling = asyncio.create_task(place_call(Order("r", script, record=tmp_path / "rec"), server.environment()))
        await asyncio.sleep(1)
        await agent.caption("Hello, this is the clinic.")
        report = await calling
    printed = capsys.readouterr().out
    assert "caller  Good morning." in printed
    assert "agent   Hello, this is the clinic." in printed
    assert "1 turns, 0 mute, response gap p50" in printed
    assert report.ended == "caller"
    assert sorted(path.suffix for path in (tmp_path / "rec").iterdir()) == [".json", ".wav"]


async def test_an_agent_that_stays_silent_is_a_failure(server: LiveKitServer, script: Path) -> None:
    script.write_text("steps: [{say: Good morning.}, {wait: {timeout_s: 0.5}}]")
    async with ToneAgent(server, "r", answers=False):
        with pytest.raises(RoomError, match="the agent stayed silent once"):
            await place_call(Order("r", script), server.environment())


async def test_an_agent_that_leaves_before_all_is_said_is_a_failure(server: LiveKitServer, script: Path) -> None:
    script.write_text("steps: [{say: Good morning.}, {wait: {timeout_s: 30}}, {say: Hello}]")
    async with ToneAgent(server, "r", answers=False) as agent:
        calling = asyncio.create_task(place_call(Order("r", script), server.environment()))
        await asyncio.sleep(2)
        await agent.leave()
        with pytest.raises(RoomError, match="broke off after 1 of 3 steps: agent left"):
            await calling


async def test_no_agent_within_the_time_is_a_failure(server: LiveKitServer, script: Path) -> None:
    with pytest.raises(RoomError, match="no agent came into room 'r'"):
        await place_call(Order("r", script, agent_within_s=0.2), server.environment())


async def test_stand_ins_that_are_not_there_are_a_failure(server: LiveKitServer, script: Path) -> None:
    async with ToneAgent(server, "r", greeting_s=0.3):
        with pytest.raises(RoomError, match=r"no stand-ins at http://127\.0\.0\.1:1"):
            await place_call(Order("r", script, announce_to="http://127.0.0.1:1"), server.environment())


async def test_a_script_with_a_mistake_is_refused_before_anything_is_dialled(script: Path) -> None:
    script.write_text("steps: [{sey: hello}]")
    with pytest.raises(ConfigError, match="did you mean 'say'"):
        await place_call(Order("r", script), {})


def test_a_dead_livekit_is_one_line_and_code_3(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret-of-at-least-thirty-two-characters")
    with pytest.raises(SystemExit) as ended:
        main(["call", "--room", "r", "--script", str(script), "--url", "ws://127.0.0.1:1"])
    assert ended.value.code == 3
    error = capsys.readouterr().err.strip()
    assert error == "callwright: nothing answers at ws://127.0.0.1:1: is LiveKit running there? (LIVEKIT_URL)"


def test_missing_keys_are_named_with_code_2(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["call", "--room", "r", "--script", str(script)])
    assert ended.value.code == 2
    assert "LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET not set" in capsys.readouterr().err
