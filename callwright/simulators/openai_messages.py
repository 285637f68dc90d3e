"""The messages of a request to OpenAI, read and checked in the vendor's words: roles, contents, calls and results.

Rules and messages are those of errors reported in public.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from callwright.simulators.conversation import JSON, Block, Message, merged
from callwright.simulators.openai_request import RequestRefused, empty_array, missing, wrong_type, wrong_value

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_PARTS = ("text", "image_url", "input_audio", "refusal", "audio", "file")
_ID_LENGTH = 40


def read_messages(raw: JSON) -> tuple[Message, ...]:
    """What the caller, the tools and the model said. Instructions and unknown parts of a content are left out."""
    if not isinstance(raw, list):
        raise missing("messages") if raw is None else wrong_type("messages", "an array of objects", raw)
    if not raw:
        raise empty_array("messages")
    messages: list[Message] = []
    for number, message in enumerate(raw):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            raise wrong_type(where, "an object", message)
        role = message.get("role")
        if role is None:
            raise missing(f"{where}.role")
        if role not in _ROLES:
            raise wrong_value(f"{where}.role", role, _ROLES)
        calls = tuple(_calls(message, where)) if role == "assistant" else ()
        text = _text(message, where, number, optional=bool(calls) or message.get("refusal") is not None)
        blocks = (Block("text", text),) if text else ()
        if role == "assistant":
            messages.append(Message("assistant", blocks + calls))
        elif role == "tool":
            messages.append(Message("user", (Block("tool_result", text, id=_answered(message, number)),)))
        elif role == "user":
            messages.append(Message("user", blocks))
    _check_pairs(raw)
    return merged(messages)


def _text(message: Mapping[str, JSON], where: str, number: int, *, optional: bool) -> str:
    content = message.get("content")
    if content is None:
        if optional:
            return ""
        words = "Invalid value for 'content': expected a string, got null."
        raise RequestRefused(words, f"messages.[{number}].content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(f"{where}.content", "one of a string or array of objects", content)
    return "".join(_part(part, f"{where}.content[{place}]") for place, part in enumerate(content))


def _part(part: JSON, where: str) -> str:
    if not isinstance(part, dict):
        raise wrong_type(where, "an object", part)
    kind = part.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    if kind not in _PARTS:
        raise wrong_value(f"{where}.type", kind, _PARTS)
    if kind != "text":
        return ""
    text = part.get("text")
    if not isinstance(text, str):
        raise missing(f"{where}.text") if text is None else wrong_type(f"{where}.text", "a string", text)
    return text


def _calls(message: Mapping[str, JSON], where: str) -> Iterator[Block]:
    raw = message.get("tool_calls")
    where = f"{where}.tool_calls"
    if raw is None:
        return
    if not isinstance(raw, list):
        raise wrong_type(where, "an array of objects", raw)
    if not raw:
        raise empty_array(where)
    for number, call in enumerate(raw):
        at = f"{where}[{number}]"
        if not isinstance(call, dict):
            raise wrong_type(at, "an object", call)
        for name in ("id", "type", "function"):
            if call.get(name) is None:
                raise missing(f"{at}.{name}")
        function, call_id = call["function"], _text_at(call["id"], f"{at}.id")
        if len(call_id) > _ID_LENGTH:
            words = f"Expected a string with maximum length {_ID_LENGTH}, but got a string with length {len(call_id)}"
            raise RequestRefused(
                f"Invalid '{at}.id': string too long. {words} instead.", f"{at}.id", "string_above_max_length"
            )
        if not isinstance(function, dict):
            raise wrong_type(f"{at}.function", "an object", function)
        for name in ("name", "arguments"):
            if function.get(name) is None:
                raise missing(f"{at}.function.{name}")
        name = _text_at(function["name"], f"{at}.function.name")
        arguments = _text_at(function["arguments"], f"{at}.function.arguments")
        yield Block("tool_use", id=call_id, name=name, input=_arguments(arguments))


def _text_at(value: JSON, where: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(where, "a string", value)
    return value


def _arguments(text: str) -> Mapping[str, JSON]:
    """The vendor takes back whatever its model wrote, JSON or not."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def _answered(message: Mapping[str, JSON], number: int) -> str:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        words = "Missing parameter 'tool_call_id': messages with role 'tool' must have a 'tool_call_id'."
        raise RequestRefused(words, f"messages.[{number}].tool_call_id")
    return call_id


def _check_pairs(raw: Sequence[JSON]) -> None:
    """Every call is answered at once by a tool message, and every tool message answers a call."""
    asked: list[str] | None = None  # by the assistant's message that tool messages may follow
    left: list[str] = []
    at = 0
    for number, message in enumerate(raw):
        assert isinstance(message, dict)
        if message["role"] == "tool":
            call_id = str(message["tool_call_id"])
            if asked is None:
                words = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                raise RequestRefused(f"Invalid parameter: {words}", f"messages.[{number}].role")
            if call_id not in asked:
                words = f"'tool_call_id' of '{call_id}' not found in 'tool_calls' of previous message."
                raise RequestRefused(f"Invalid parameter: {words}", f"messages.[{number}].tool_call_id")
            left = [other for other in left if other != call_id]
            continue
        _refuse_unanswered(left, at)
        calls = message.get("tool_calls") if message["role"] == "assistant" else None
        asked = [str(call["id"]) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else None
        left, at = list(asked or ()), number
    _refuse_unanswered(left, at)


def _refuse_unanswered(left: Sequence[str], number: int) -> None:
    if left:
        raise RequestRefused(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(left)}",
            f"messages.[{number}].role",
        )
