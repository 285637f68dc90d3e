"""A request to OpenAI's chat completions as typed values, and the vendor's forms of refusing one."""

from __future__ import annotations

from dataclasses import dataclass

from callwright.simulators import conversation
from callwright.simulators.conversation import JSON, Message, OfferedTool, ToolChoice
from callwright.simulators.openai_models import Model


class RequestRefused(conversation.RequestRefused):
    """The request is refused; `param` names what is wrong with it, `code` why."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, *, status: int = 400) -> None:
        super().__init__(message, status=status)
        self.param = param
        self.code = code


@dataclass(frozen=True)
class ChatRequest:
    """A valid request. `messages` are what the model's rules go by: the system's are only in `prompt`."""

    model: Model
    max_tokens: int | None
    stream: bool
    include_usage: bool
    tools: tuple[OfferedTool, ...]
    messages: tuple[Message, ...]
    tool_choice: ToolChoice
    stop: tuple[str, ...]
    prompt: bytes  # all the model is given, in its order: what is counted and cached
    cache_group: str


def missing(where: str) -> RequestRefused:
    return RequestRefused(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")


def wrong_type(where: str, expected: str, value: JSON) -> RequestRefused:
    words = f"Invalid type for '{where}': expected {expected}, but got {_kind(value)} instead."
    return RequestRefused(words, where, "invalid_type")


def wrong_value(where: str, value: JSON, supported: tuple[str, ...]) -> RequestRefused:
    *most, last = [f"'{name}'" for name in supported]
    words = f"Invalid value: '{value}'. Supported values are: {', '.join(most)}, and {last}."
    return RequestRefused(words, where, "invalid_value")


def empty_array(where: str) -> RequestRefused:
    words = "Expected an array with minimum length 1, but got an empty array instead."
    return RequestRefused(f"Invalid '{where}': empty array. {words}", where, "empty_array")


def _kind(value: JSON) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    return names.get(type(value), "an object")
