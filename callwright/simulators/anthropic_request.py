"""A request to Anthropic's Messages API as typed values."""

from __future__ import annotations

from dataclasses import dataclass

from callwright.simulators import conversation
from callwright.simulators.anthropic_models import Model
from callwright.simulators.conversation import Block, Message, OfferedTool, ToolChoice


class RequestRefused(conversation.RequestRefused):
    """The request is refused: HTTP status, the vendor's error type, and its message."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error") -> None:
        super().__init__(message, status=status)
        self.kind = kind


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
