"""What the model is offered, and what reaches a tool's body."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import pytest

from callwright import Call, tool
from callwright.errors import AgentError
from callwright.tool_call import conversation
from callwright.tool_result import cut
from callwright.tools import ArgumentError, ResultError, ToolPolicy


@dataclass
class Slot:
    start: datetime.datetime
    practitioner: str


@tool
async def book(patient: int, day: datetime.date, kind: Literal["new", "check-up"] = "check-up") -> Slot:
    """Book an appointment.

    Use it only after the caller has agreed.

    Args:
        patient: The patient's number.
        day: The day, as 2026-12-24.
        kind: What it is for.
    """
    return Slot(datetime.datetime.combine(day, datetime.time(9)), f"Dr. {kind} {patient}")


class NoCall:
    id = "c1"
    caller = "caller"
    ending = False

    def __init__(self) -> None:
        self.farewell: str | None = None

    async def say(self, text: str) -> None:
        raise AssertionError

    async def end(self, farewell: str | None = None) -> None:
        self.farewell = farewell


def test_the_schema_comes_from_signature_and_docstring() -> None:
    assert book.name == "book"
    assert book.description == "Book an appointment.\n\nUse it only after the caller has agreed."
    properties = book.schema["properties"]
    assert properties == {
        "patient": {"type": "integer", "description": "The patient's number."},
        "day": {"type": "string", "format": "date", "description": "The day, as 2026-12-24."},
        "kind": {
            "type": "string",
            "enum": ["new", "check-up"],
            "default": "check-up",
            "description": "What it is for.",
        },
    }
    assert book.schema["required"] == ["patient", "day"]


async def test_arguments_arrive_typed_and_results_leave_as_json() -> None:
    assert await book.run({"patient": 7, "day": "2026-12-24"}, NoCall()) == {
        "start": "2026-12-24T09:00:00",
        "practitioner": "Dr. check-up 7",
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"day": "2026-12-24"}, "patient: Field required"),
        ({"patient": "seven", "day": "2026-12-24"}, "patient: Input should be a valid integer"),
        ({"patient": 7, "day": "Tuesday"}, "day: Input should be a valid date"),
        ({"patient": 7, "day": "2026-12-24", "kind": "visit"}, "kind: Input should be 'new' or 'check-up'"),
        ({"patient": 7, "day": "2026-12-24", "force": True}, "force: Extra inputs are not permitted"),
    ],
)
async def test_wrong_arguments_never_reach_the_body(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ArgumentError, match="book was not run") as refusal:
        await book.run(arguments, NoCall())  # type: ignore[arg-type]
    assert told in str(refusal.value)


async def test_the_call_is_given_to_the_tool_and_hidden_from_the_model() -> None:
    @tool
    async def end_call(call: Call, reason: str = "") -> None:
        """End the call."""
        await call.end(f"Goodbye {reason}")

    assert list(end_call.schema["properties"]) == ["reason"]  # type: ignore[arg-type]
    call = NoCall()
    assert await end_call.run({"reason": "now"}, call) is None
    assert call.farewell == "Goodbye now"


async def test_a_result_that_is_not_json_is_said_so() -> None:
    @tool
    async def broken() -> object:
        """Return something strange."""
        return object()

    with pytest.raises(ResultError, match="it returned a object"):
        await broken.run({}, NoCall())


def test_nested_types_are_inlined() -> None:
    @tool
    async def offer(slots: list[Slot]) -> str:
        """Offer slots."""
        return ""

    assert "$ref" not in str(offer.schema)
    assert "start" in str(offer.schema)


def test_a_function_that_is_not_async_is_refused_with_its_place() -> None:
    def plain() -> None:
        """Do."""

    with pytest.raises(AgentError, match=r"test_tools\.py:\d+: a tool must be an async function"):
        tool(plain)  # type: ignore[arg-type]


def test_a_parameter_without_a_type_is_refused() -> None:
    async def vague(name) -> None:  # type: ignore[no-untyped-def]
        """Do."""

    with pytest.raises(AgentError, match="parameter 'name' of tool 'vague' has no type"):
        tool(vague)


def test_a_tool_without_a_docstring_is_refused() -> None:
    async def silent(name: str) -> None: ...

    with pytest.raises(AgentError, match="needs a docstring"):
        tool(silent)


# -- the policy


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"limit_s": 0}, "limit_s is a number of seconds above 0, not 0"),
        ({"limit_s": float("inf")}, "limit_s is a number of seconds above 0"),
        ({"limit_s": "8"}, "limit_s is a number of seconds above 0"),
        ({"limit_s": 20, "cancel_after_s": 10}, r"cancel_after_s \(10\) must not be below limit_s \(20\)"),
        ({"side_effect": False, "retries": -1}, "retries is a whole number from 0 to 10, not -1"),
        ({"side_effect": False, "retries": True}, "retries is a whole number"),
        ({"retries": 2}, "retries could do a side effect twice"),
        ({"cancellable": True}, "never cut in half"),
        ({"key": "slot"}, "key is a function of the arguments"),
        ({"fillers": "I'll check."}, "fillers is a sequence of lines"),
        ({"fillers": 3}, "fillers is a sequence of lines"),
        ({"fillers": [" "]}, "fillers is a sequence of lines"),
        ({"limits_s": 3}, "knows no limits_s"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused_with_its_place(policy: dict[str, object], told: str) -> None:
    async def look_up() -> None:
        """Look it up."""

    with pytest.raises(AgentError, match=rf"test_tools\.py:\d+: tool 'look_up': .*{told}"):
        tool(**policy)(look_up)  # type: ignore[arg-type]


def test_a_tool_has_a_side_effect_unless_it_says_otherwise() -> None:
    assert book.policy.side_effect
    assert book.policy.attempts == 1


def test_only_what_cannot_be_done_twice_is_tried_again() -> None:
    assert ToolPolicy(side_effect=False).attempts == 3
    assert ToolPolicy(key=len).attempts == 3
    assert ToolPolicy(side_effect=False, retries=0).attempts == 1


def test_fillers_are_kept_as_a_tuple() -> None:
    assert ToolPolicy(fillers=["I'll check."]).fillers == ("I'll check.",)  # type: ignore[arg-type]


def test_two_calls_are_the_same_deed_by_their_validated_arguments() -> None:
    def identity(arguments: dict[str, object]) -> str:
        return book.identity(book.validate(arguments))  # type: ignore[arg-type]

    same = identity({"patient": 7, "day": "2026-12-24"})
    assert identity({"day": "2026-12-24", "patient": "7", "kind": "check-up"}) == same
    assert identity({"patient": 8, "day": "2026-12-24"}) != same


def test_a_key_says_what_makes_two_calls_the_same_deed() -> None:
    @tool(key=lambda given: given["slot"])
    async def reserve(slot: int, remark: str = "") -> None:
        """Reserve."""

    assert reserve.identity({"slot": 3, "remark": "soon"}) == reserve.identity({"slot": 3, "remark": ""})
    assert reserve.identity({"slot": 3}) != reserve.identity({"slot": 4})


# -- results in parts


async def test_an_async_generator_is_a_tool_whose_last_part_is_its_result() -> None:
    closed: list[bool] = []

    @tool(side_effect=False)
    async def search(day: str) -> AsyncIterator[list[str]]:
        """Search."""
        try:
            yield [day]
            yield [day, "ten"]
        finally:
            closed.append(True)

    assert search.streams
    assert await search.run({"day": "monday"}, NoCall()) == ["monday", "ten"]
    assert await search("monday") == ["monday", "ten"]
    assert [part async for part in search.parts({"day": "monday"}, NoCall())] == [["monday"], ["monday", "ten"]]
    stream = search.parts({"day": "monday"}, NoCall())
    await anext(stream)
    await stream.aclose()
    assert closed == [True] * 4


# -- what is left of a result


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("short", "short"),
        ("x" * 30, "x" * 18),
        ('"' * 30, '"' * 9),
        (["abc", "def", "ghi", "jkl"], ["abc", "def"]),
        (["x" * 40], '["' + "x" * 15),
        ({"a": "x" * 40}, '{"a": "' + "x" * 8),
    ],
)
def test_of_a_long_result_whole_items_or_the_beginning_are_kept(value: object, kept: object) -> None:
    left, missing = cut(value, 20)  # type: ignore[arg-type]
    assert left == kept
    assert (missing > 0) == (left != value)
    assert len(json.dumps(left)) <= 20


def test_notes_to_the_model_are_no_part_of_the_conversation() -> None:
    messages = [
        {"role": "user", "content": "[The caller is connected.]"},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "Book it."},
        {"role": "assistant", "tool_calls": []},
        {"role": "tool", "content": "{}", "tool_call_id": "a"},
        {"role": "developer", "content": "Ask again."},
    ]
    assert conversation(messages) == (("agent", "Good day."), ("caller", "Book it."))
