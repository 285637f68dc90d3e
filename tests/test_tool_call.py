"""The call, as a tool has it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from callwright import Agent
from callwright.call import LiveCall
from callwright.config import load
from callwright.tool_call import CallRecords, RunCall, conversation
from callwright.tool_result import ResultError


class _Journal:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.awaited: list[int | None] = []

    def append(self, event: Any) -> int:
        self.events.append(event)
        return len(self.events)

    async def durable(self, seq: int | None = None) -> None:
        self.awaited.append(seq)


async def test_a_note_is_durable_and_then_every_tool_of_the_call_reads_it() -> None:
    journal: Any = _Journal()
    records = CallRecords(journal, lambda: 3)
    await records.of("a").note("order", {"number": float("nan")})
    assert journal.awaited == [1]
    (event,) = journal.events
    assert (event.turn, event.tool_call_id, event.name, event.value) == (3, "a", "order", {"number": "NaN"})
    assert records.of("b").notes == {"order": {"number": "NaN"}}
    with pytest.raises(TypeError):
        records.notes["order"] = 7  # type: ignore[index]


async def test_what_is_not_json_is_not_noted() -> None:
    journal: Any = _Journal()
    with pytest.raises(ResultError):
        await CallRecords(journal, lambda: 1).note("thing", object())
    assert journal.events == []


async def test_a_run_has_the_call_and_a_key_of_its_own() -> None:
    call: Any = SimpleNamespace(id="c", caller="Mary", ending=False, memory=(("caller", "Hi"),), idempotency_key="c")
    run = RunCall(call, "key", call)
    assert (run.id, run.caller, run.ending, run.memory, run.idempotency_key) == ("c", "Mary", False, call.memory, "key")
    call.ending = True
    assert run.ending


async def test_a_transfer_ends_the_call_and_says_truly_that_nobody_was_connected() -> None:
    config = load(file=None, overrides=[], environ={})
    call = LiveCall(Agent(name="a", prompt="p"), config, "room")
    assert call.memory == ()
    await call.transfer("the nurse")
    assert call.ending
    assert call._reason is not None
    assert call._reason.reason == "transferred"
    assert "the nurse" in call._reason.detail
    assert "no telephony yet" in call._reason.detail


def test_notes_to_the_model_are_no_part_of_the_conversation() -> None:
    messages = [
        {"role": "user", "content": "[The caller is connected.]"},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "Book it."},
        {"role": "assistant", "tool_calls": []},
        {"role": "tool", "content": "{}", "tool_call_id": "a"},
        {"role": "user", "content": "<tool_news>x</tool_news>"},
        {"role": "developer", "content": "Ask again."},
    ]
    assert conversation(messages) == (("agent", "Good day."), ("caller", "Book it."))
