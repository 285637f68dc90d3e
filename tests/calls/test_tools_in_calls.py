"""Tools in a call that does not stand still."""

from __future__ import annotations

import asyncio
import dataclasses
import json

from callwright import Agent, tool
from callwright.simulators.process import Control

from .conftest import AT_ONCE, Line

RULES = """
fallback: ["I heard you say: {caller}"]
rules:
  - name: book
    when: {heard: ["book"]}
    say: "One moment please, I will do that for you now."
    call: [{tool: reserve, with: {}}]
  - name: done
    when: {after: reserve}
    say: "It is booked."
"""


async def test_a_tool_that_the_caller_talked_over_is_done_once_and_the_model_is_told(line: Line) -> None:
    done: list[str] = []

    @tool
    async def reserve() -> str:
        """Reserve it."""
        await asyncio.sleep(2.5)
        done.append("reserved")
        return "reserved as number 7"

    rules = line.folder / "booking.rules.yaml"
    rules.write_text(RULES)
    own = dataclasses.replace(line, settings=AT_ONCE.model_copy(update={"brain_rules": str(rules)}), entries=[])
    agent = Agent(name="booking", prompt="Book.", greeting="Hello?", tools=[reserve])
    steps = [
        "wait: {quiet_ms: 600}",
        "say: Please book it.",
        "wait: {agent_words: 3}",
        "talk_over: Tell me the weather.",
        "silence: 4",
        "say: Are you there?",
        "wait: {quiet_ms: 600}",
        "hang_up",
    ]
    outcome, report, _ = await own.hold(agent, steps)
    assert report.mute_turns == 0
    assert done == ["reserved"]
    assert [record.ok for record in outcome.record.tools] == [True]
    async with Control(own.url) as control:
        requests = (await control.account(own.key))["requests"]
    told = [
        json.dumps(block)
        for message in requests[-1]["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
    assert len(told) == 1
    assert "reserved as number 7" in told[0]
    assert "CANCELLED" not in told[0]
