"""A spoken call, held by a script and replayed from its record alone."""

from __future__ import annotations

import os

from callwright.simulators.announce import Announcer
from callwright.simulators.play import run_script
from callwright.simulators.process import Control
from callwright.simulators.script import parse

from .conftest import AT_ONCE, Line
from .test_command import COLD_START_S, environment, finish, start

SCRIPT = """
from callwright import Agent, Call, tool


@tool(side_effect=False)
async def opening_hours(call: Call) -> dict:
    \"\"\"Look up the opening hours.\"\"\"
    await call.say("Let me look.")
    return {"opens": 9, "closes": 17}


agent = Agent(name="shop", prompt="Be brief.", greeting="Hello, how can I help?", tools=[opening_hours])
"""
RULES = """
fallback: ["I heard you say: {caller}"]
rules:
  - name: look
    when: {heard: ["open"]}
    call: [{tool: opening_hours, with: {}}]
  - name: tell
    when: {after: opening_hours}
    say: "We are open from nine to five."
"""
STEPS = ["wait: {quiet_ms: 600}", "say: When are you open?", "wait: {quiet_ms: 1500}", "hang_up"]


async def test_a_call_replays_without_a_room_and_shows_what_has_changed(line: Line) -> None:
    script, rules = line.folder / "shop.py", line.folder / "shop.rules.yaml"
    script.write_text(SCRIPT)
    rules.write_text(RULES)
    served = [
        word
        for stage in ("stt", "llm", "tts")
        for word in ("--set", f"{stage}.base_url={line.url}", "--set", f"{stage}.api_key={line.key}")
    ]
    async with Control(line.url) as control, Announcer(line.url, line.key) as announce:
        await control.configure(line.key, AT_ONCE.model_copy(update={"brain_rules": str(rules)}))
        run = ["-m", "callwright", "run", "shop.py", "--room", line.room, *served]
        process = await start(run, environment(line), line.folder)
        try:
            async with line.caller(announce=announce) as caller:
                await caller.agent_joined(COLD_START_S)
                await run_script(parse("steps:\n" + "\n".join(f"  - {step}" for step in STEPS)), caller)
            code, out, err = await finish(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert code == 0, err
    assert "opening_hours ✓" in out
    bare = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "CALLWRIGHT_DATABASE": environment(line)["CALLWRIGHT_DATABASE"],
    }
    elsewhere = line.folder / "elsewhere"
    elsewhere.mkdir()
    code, out, err = await finish(await start(["-m", "callwright", "replay", "last"], bare, elsewhere))
    assert code == 0, out + err
    assert "1 tool call: 1 same" in out
    script.write_text(SCRIPT.replace("17", "18").replace("Let me look.", "I shall look."))
    code, out, err = await finish(await start(["-m", "callwright", "replay", "last"], bare, elsewhere))
    assert code == 1, out + err
    for told in ("closes: 17", "said: ", "I shall look.", "1 tool call: 1 differs"):
        assert told in out
