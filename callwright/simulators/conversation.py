"""What a model is asked, whichever vendor's form it came in: messages of typed blocks, tools, and a choice of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Ttl = Literal["5m", "1h"]
Role = Literal["user", "assistant"]


@dataclass(frozen=True)
class Block:
    """One content block. `text` is that of a text block or a tool result; `id` the tool use it is or answers.

    `canonical` is what a prompt cache hashes (without cache_control); `size` is its UTF-8 bytes of content.
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
    """One turn; consecutive messages of one role have been merged."""

    role: Role
    blocks: tuple[Block, ...]


def merged(messages: list[Message]) -> tuple[Message, ...]:
    """The messages with neighbours of one role made one, so that roles alternate."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, joined[-1].blocks + message.blocks)
        else:
            joined.append(message)
    return tuple(joined)


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


class Conversation(Protocol):
    """What a model sees of a request."""

    @property
    def messages(self) -> tuple[Message, ...]: ...

    @property
    def tools(self) -> tuple[OfferedTool, ...]: ...

    @property
    def tool_choice(self) -> ToolChoice: ...


class RequestRefused(Exception):
    """The vendor would refuse the request; `status` is HTTP's, the message the vendor's."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
