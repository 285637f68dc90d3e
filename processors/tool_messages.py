"""The tool calls and their answers among the messages, made such that every vendor takes them. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from processors.tool_runs import free_id

UNANSWERED = ("IN_PROGRESS", "CANCELLED")
"""What Pipecat writes where no answer stands."""


def tidy(messages: Sequence[object]) -> None:
    """Make ids unique and arguments objects, in place: a vendor refuses the whole conversation otherwise.

    Some vendors count their calls anew in each reply, so that ids come again. The second use of `x` becomes `x-2`,
    as in the ledger.
    """
    taken: set[str] = set()
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        for call in message.get("tool_calls") or ():
            given = call["id"]
            call["id"] = free_id(given, taken)
            if call["id"] != given:
                _rename(messages[at + 1 :], given, call["id"])
            taken.add(call["id"])
            call["function"]["arguments"] = _object(call["function"]["arguments"])


def places(messages: Iterable[object]) -> list[str]:
    """The ids of the tool messages, in order."""
    return [str(message["tool_call_id"]) for message in _answers(messages)]


def fill(messages: Iterable[object], content: Callable[[str], str | None]) -> None:
    """Write into each tool message what `content` says for its id; None leaves it."""
    for message in _answers(messages):
        said = content(str(message["tool_call_id"]))
        if said is not None and message.get("content") != said:
            message["content"] = said


def unanswered(messages: Iterable[object]) -> list[str]:
    """The ids of those tool messages that hold no answer."""
    return [str(message["tool_call_id"]) for message in _answers(messages) if message.get("content") in UNANSWERED]


def _answers(messages: Iterable[object]) -> Iterable[dict[str, Any]]:
    for message in messages:
        if isinstance(message, dict) and message.get("role") == "tool":
            yield message


def _rename(messages: Iterable[object], old: str, new: str) -> None:
    """The answer to the call before these messages is the first of that name among them."""
    for message in _answers(messages):
        if message["tool_call_id"] == old:
            message["tool_call_id"] = new
            return


def _object(arguments: str) -> str:
    try:
        is_object = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        is_object = False
    return arguments.encode("utf-8", "replace").decode() if is_object else "{}"
