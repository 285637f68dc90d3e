"""Tools in a call that does not stand still."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

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
        await asyncio.sleep(4.5)  # longer than the caller takes to be answered about the weather
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
        "silence: 5",
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
    (told,) = _of_tools(requests[-1])
    assert "still running" in told  # what was shown to the caller's next turn stays as it was
    shown = [json.dumps(request["messages"]) for request in requests]
    assert shown[-1].count("reserved as number 7") == 1
    assert "CANCELLED" not in shown[-1]


async def test_the_agent_goes_on_without_a_slow_tool_and_tells_its_result_unasked(line: Line) -> None:
    done: list[str] = []

    @tool(limit_s=1.0)
    async def reserve() -> str:
        """Reserve it."""
        await asyncio.sleep(3)
        done.append("reserved")
        return "reserved as number 7"

    rules = line.folder / "slow.rules.yaml"
    rules.write_text(RULES)
    own = dataclasses.replace(line, settings=AT_ONCE.model_copy(update={"brain_rules": str(rules)}), entries=[])
    agent = Agent(name="booking", prompt="Book.", greeting="Hello?", tools=[reserve])
    steps = ["wait: {quiet_ms: 600}", "say: Please book it.", "silence: 7", "hang_up"]
    outcome, report, _ = await own.hold(agent, steps)
    assert report.mute_turns == 0
    assert done == ["reserved"]
    kinds = [entry.event.kind for entry in own.entries if entry.event.kind.startswith("tool_")]
    assert kinds == ["tool_started", "tool_pending", "tool_ended", "tool_news"]
    async with Control(own.url) as control:
        requests = (await control.account(own.key))["requests"]
    assert len(requests) == 3  # the caller's turn, the placeholder, the news
    assert "still running" in _of_tools(requests[1])[0]
    assert "<tool_news>" in json.dumps(requests[2]["messages"][-1])
    assert [turn.number for turn in outcome.record.turns if turn.tools] == [1]


def _of_tools(request: dict[str, Any]) -> list[str]:
    """The tool results that one request shows the model."""
    return [
        json.dumps(block)
        for message in request["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
