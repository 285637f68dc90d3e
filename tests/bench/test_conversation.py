"""The measuring caller's words, held against the shipped agent: rules, tools and calendar, without sound."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from callwright import agent as agents
from callwright.bench.conversation import VOICES, conversation
from callwright.simulators import brain_rules
from callwright.simulators.anthropic_parse import parse_request
from callwright.simulators.brain import Brain

SCRIPT = Path(__file__).parents[2] / "agents" / "frontdesk.py"


class Nobody:
    """A call in which tools can do nothing."""

    id = caller = ""

    async def say(self, text: str) -> None: ...

    async def end(self, farewell: str | None = None) -> None: ...


def test_the_same_seed_makes_the_same_conversation() -> None:
    assert conversation(7) == conversation(7)
    assert len({conversation(seed) for seed in range(20)}) > 15


def test_a_shorter_call_is_the_beginning_of_the_longer_one() -> None:
    assert conversation(3, turns=2).lines == conversation(3).lines[:2]


def test_every_line_ends_as_punctuated_speech_does() -> None:
    for seed in range(40):
        spoken = conversation(seed)
        assert spoken.voice in VOICES
        assert len(spoken.lines) == 6
        assert all(line[0].isupper() and line[-1] in ".?" for line in spoken.lines)


@pytest.mark.parametrize("seed", range(20))
async def test_every_conversation_ends_in_an_appointment(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRONTDESK_CALENDAR", str(tmp_path / "calendar.db"))
    agent = agents.load(SCRIPT)
    brain = Brain(brain_rules.load(SCRIPT.with_name("frontdesk.rules.yaml")))
    tools = {tool.name: tool for tool in agent.tools}
    offered = [{"name": t.name, "description": t.description, "input_schema": t.schema} for t in agent.tools]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "(connected)"}]
    messages.append({"role": "assistant", "content": agent.greeting})
    said: list[str] = []
    for line in conversation(seed).lines:
        messages.append({"role": "user", "content": line})
        while True:
            body = {"model": "claude-haiku-5-5", "max_tokens": 400, "tools": offered, "messages": messages}
            answer = brain.answer(parse_request(body))
            # A turn that begins with a tool and no word would be measured with two requests.
            assert answer.text
            said.append(answer.text)
            content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}]
            results = []
            for number, use in enumerate(answer.uses):
                use_id = f"toolu_{len(messages)}_{number}"
                content.append({"type": "tool_use", "id": use_id, "name": use.tool, "input": dict(use.arguments)})
                result = await tools[use.tool].run(dict(use.arguments), Nobody())
                results.append({"type": "tool_result", "tool_use_id": use_id, "content": json.dumps(result)})
            messages.append({"role": "assistant", "content": content})
            if not results:
                break
            messages.append({"role": "user", "content": results})
    assert not any(text in ("Sorry, could you say that again?",) for text in said), said
    assert said[-1].startswith("Of course. All right,"), said
    assert ("you are booked" in said[-1]) or ("it is moved" in said[-1])
    with sqlite3.connect(tmp_path / "calendar.db") as db:
        assert db.execute("SELECT count(*) FROM appointments WHERE status = 'active'").fetchone()[0] >= 4
