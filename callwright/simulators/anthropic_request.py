"""A request to Anthropic's Messages API as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from callwright.simulators.anthropic_models import Model

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Ttl = Literal["5m", "1h"]
Role = Literal["user", "assistant"]


class RequestRefused(Exception):
    """The request is refused: HTTP status, the vendor's error type, and its message."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Block:
    """One content block. `text` is that of a text block or a tool result; `id` the tool use it is or answers.

    `canonical` is what the prompt cache hashes (without cache_control); `size` is its UTF-8 bytes of content.
    """

    kind: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Mapping[str, JSON] | None = None
    is_error: bool = False
    marker: Ttl | None = None
    canonical: str = ""
    size: int = 0


@dataclass(frozen=True)
class Message:
    """One turn; consecutive messages of one role have been merged, as the vendor does."""

    role: Role
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class OfferedTool:
    """A tool the model may call."""

    name: str
    schema: Mapping[str, JSON]
    marker: Ttl | None
    canonical: str


@dataclass(frozen=True)
class ToolChoice:
    """Whether and which tools must be called."""

    kind: Literal["auto", "any", "tool", "none"] = "auto"
    name: str = ""
    parallel: bool = True


@dataclass(frozen=True)
class MessagesRequest:
    """A valid request. `message_settings` are the parameters whose change invalidates cached messages."""

    model: Model
    max_tokens: int
    stream: bool
    tools: tuple[OfferedTool, ...]
    system: tuple[Block, ...]
    messages: tuple[Message, ...]
    tool_choice: ToolChoice
    stop_sequences: tuple[str, ...]
    message_settings: str
