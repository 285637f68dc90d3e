"""What the caller hears while a tool runs, and what the model is told of it: nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json

from callwright import Agent, tool
from callwright.records.events import AgentText
from callwright.simulators.caller_report import CallerReport
from callwright.simulators.process import Control

from .conftest import AT_ONCE, Line

CHECKING = "I will check the calendar for that day."

RULES = """
fallback: ["I heard you say: {caller}"]
rules:
  - name: look
    when: {heard: ["free"]}
    call: [{tool: look, with: {}}]
  - name: found
    when: {after: look}
    say: "Tuesday at nine is free."
"""

STEPS = ["wait: {quiet_ms: 600}", "say: Are you free on Tuesday?", "silence: 9", "hang_up"]


@tool(fillers=(CHECKING,))
async def look() -> str:
    """Look into the calendar."""
    await asyncio.sleep(4)
    return "Tuesday at nine"


async def call(line: Line, *overrides: str) -> tuple[Line, CallerReport, list[AgentText], str]:
    rules = line.folder / "calendar.rules.yaml"
    rules.write_text(RULES)
    own = dataclasses.replace(line, settings=AT_ONCE.model_copy(update={"brain_rules": str(rules)}), entries=[])
    agent = Agent(name="calendar", prompt="Look.", greeting="Hello?", tools=[look])
    _, report, _ = await own.hold(agent, STEPS, *overrides)
    said = [entry.event for entry in own.entries if isinstance(entry.event, AgentText)]
    async with Control(own.url) as control:
        requests = (await control.account(own.key))["requests"]
    return own, report, said, json.dumps(requests)


async def test_a_tool_of_four_seconds_is_bridged_and_the_model_never_sees_how(line: Line) -> None:
    _, report, said, requests = await call(line)
    fillers = [text for text in said if text.role == "filler"]
    assert report.mute_turns == 0
    assert report.response_gaps_ms[0] <= 1200
    assert fillers[0].text == CHECKING
    assert len(fillers) >= 2
    assert len({text.text for text in fillers}) == len(fillers)
    assert said[-1].text == "Tuesday at nine is free."
    assert not any(text.text in requests for text in fillers if text.text)
    rate = 24_000
    words = [word for text in said if text.role != "greeting" for word in text.words]
    pauses = [(b.start - a.end) / rate for a, b in itertools.pairwise(words)]
    assert max(pauses) <= 1.3


async def test_switched_off_nothing_is_said_until_the_answer(line: Line) -> None:
    _, report, said, _ = await call(line, "filler.enabled=false")
    assert [text.role for text in said] == ["greeting", "answer"]
    assert report.response_gaps_ms[0] >= 4000
