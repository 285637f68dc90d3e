"""The command as a user runs it: a script of theirs, any server that speaks the protocols, exit codes."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

import pytest

from callwright.simulators.announce import Announcer
from callwright.simulators.play import run_script
from callwright.simulators.process import Control
from callwright.simulators.script import parse

from .conftest import AT_ONCE, Line

COLD_START_S = 45.0
"""How long a fresh process may take to import the engine and join: about 15 s where two others want each core."""

SCRIPT = """
from callwright import Agent, Call, tool


@tool
async def hang_up(call: Call) -> str:
    \"\"\"End the call.\"\"\"
    await call.end("Goodbye then.")
    return "ending"


agent = Agent(name="shop", prompt="Be brief.", greeting="Hello, how can I help?", tools=[hang_up])

if __name__ == "__main__":
    agent.run()
"""


def environment(line: Line, **more: str) -> dict[str, str]:
    """A user's environment with no vendor's key in it."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {
        **kept,
        **line.livekit.environment(),
        "CALLWRIGHT_DATABASE": f"sqlite:///{line.folder / 'calls.db'}",
        "CALLWRIGHT_RECORDINGS": str(line.folder / "recordings"),
        **more,
    }


async def start(arguments: Sequence[str], env: dict[str, str], cwd: Path) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, env=env, cwd=cwd, stdout=PIPE, stderr=PIPE)


async def finish(process: Process, limit_s: float = 40) -> tuple[int, str, str]:
    async with asyncio.timeout(limit_s):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("how", ["callwright run", "python script"])
async def test_a_script_talks_through_any_servers_that_speak_the_protocols(line: Line, how: str) -> None:
    script = line.folder / "shop.py"
    script.write_text(SCRIPT)
    command = ["-m", "callwright", "run", str(script)] if how == "callwright run" else [str(script)]
    urls = [word for stage in ("stt", "llm", "tts") for word in ("--set", f"{stage}.base_url={line.url}")]
    local_key = "callwright-local"  # what the engine shows a server on this machine when no key is set
    async with Control(line.url) as control, Announcer(line.url, local_key) as announce:
        await control.configure(local_key, AT_ONCE)
        process = await start([*command, "--room", line.room, *urls], environment(line), line.folder)
        try:
            async with line.caller(announce=announce) as caller:
                await caller.agent_joined(COLD_START_S)
                steps = [
                    "wait: {quiet_ms: 600}",
                    "say: Good morning, this is Mary.",
                    "wait: {quiet_ms: 600}",
                    "hang_up",
                ]
                report = await run_script(parse("steps:\n" + "\n".join(f"  - {s}" for s in steps)), caller)
            code, out, err = await finish(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert code == 0, err
    assert report.mute_turns == 0
    assert "I heard you say: Good morning, this is Mary." in out
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["run", "nowhere.py", "--room", "r"], "no agent script at nowhere.py", 2),
        (["run", "shop.py", "--room", "r"], "set DEEPGRAM_API_KEY", 2),
        (
            ["run", "shop.py", "--room", "r", "--set", "tts.vendor=elevanlabs"],
            "unknown vendor 'elevanlabs' for tts; did you mean 'elevenlabs'?",
            2,
        ),
        (["run", "shop.py", "--room", "r", "--set", "tts.modle=x"], "modle", 2),
        (["run", "shop.py"], "--room", 2),
        (["show", "nothing"], "", 2),
        (["nonsense"], "nonsense", 2),
    ],
)
async def test_wrong_input_is_one_line_and_an_exit_code(line: Line, arguments: list[str], told: str, code: int) -> None:
    (line.folder / "shop.py").write_text(SCRIPT)
    process = await start(["-m", "callwright", *arguments], environment(line), line.folder)
    found, out, err = await finish(process)
    assert found == code, out + err
    assert told in err
    assert len(err.strip().splitlines()) == 1, err
    assert "Traceback" not in err


async def test_ctrl_c_ends_a_call_with_a_farewell_and_complete_records(line: Line) -> None:
    import signal

    script = line.folder / "shop.py"
    script.write_text(SCRIPT)
    urls = [word for stage in ("stt", "llm", "tts") for word in ("--set", f"{stage}.base_url={line.url}")]
    process = await start(
        ["-m", "callwright", "run", str(script), "--room", line.room, *urls], environment(line), line.folder
    )
    async with line.caller() as caller:
        await caller.agent_joined(COLD_START_S)
        await caller.agent_quiet(600, 20)
        process.send_signal(signal.SIGINT)
        code, out, err = await finish(process)
    assert code == 0, err
    assert "Thank you for calling. Goodbye." in out
    assert "ended by SIGINT" in out
    assert "Traceback" not in err
