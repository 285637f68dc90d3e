"""What the model is offered, and what reaches a tool's body."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal

import pytest

from callwright import Call, tool
from callwright.errors import AgentError
from callwright.tools import ArgumentError, ResultError


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
