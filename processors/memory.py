"""Memory: the conversation as the model is shown it, kept true to what the caller heard.

Stands directly behind the mind, so that text and tool calls enter the context in the model's own order and
spelling. What was heard is not guessed from frames: the floor says it, and the message is set to that.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMAssistantAggregator
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from callwright.speech import Kept, Say, Utterance
from processors.floor import Settled
from processors.floor_keeper import FloorKeeper

Message = dict[str, object]

HEARD_PART = "[The caller spoke over you and heard your last words only as far as they stand above.]"
HEARD_NOTHING = "[The caller spoke before you: nothing of your last answer was heard.]"
LOST_PART = "[A fault cut your last words off: the caller heard them only as far as they stand above.]"

_NOTES = (HEARD_PART, HEARD_NOTHING, LOST_PART)
_TOOL_FRAMES = (
    FunctionCallsStartedFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallCancelFrame,
)


class History:
    """The assistant's messages in the context: one for each utterance. Pure but for the context it edits.

    A message holds all that was written until the utterance is over, then exactly what was heard; one of
    which nothing was heard goes. Only messages of the present turn change, so that a vendor's cache holds.
    """

    def __init__(self, context: LLMContext) -> None:
        self._context = context
        self._messages: dict[Utterance, Message] = {}

    def show(self, utterance: Utterance) -> None:
        """Let the model see the utterance as it has been written so far."""
        if not utterance.remembered or not utterance.text.strip():
            return
        message = self._messages.get(utterance)
        if message is None:
            message = self._messages[utterance] = {"role": "assistant"}
            messages = self._context.messages
            # A line said while a tool runs stands before the call: between it and its result nothing may.
            at = len(messages) if utterance.role == "answer" else _before_tools(messages)
            self._context.set_messages([*messages[:at], message, *messages[at:]])  # type: ignore[list-item]
        message["content"] = utterance.text.strip()

    def revise(self, utterance: Utterance) -> None:
        """The utterance broke off, and less of it will be said than was written."""
        message = self._messages.get(utterance)
        if message is None:
            return
        if text := utterance.text.strip():
            message["content"] = text
        else:
            self._forget(utterance)

    def _forget(self, utterance: Utterance) -> None:
        message = self._messages.pop(utterance)
        self._context.set_messages([one for one in self._context.messages if one is not message])

    def settle(self, settled: Settled, *, cut: bool) -> None:
        """The utterance is over: keep what was heard, and say so if that was not all."""
        message = self._messages.get(settled.utterance)
        if message is None:
            return
        if settled.heard:
            message["content"] = settled.heard
            del self._messages[settled.utterance]
        else:
            self._forget(settled.utterance)
        if settled.unheard:
            note = (HEARD_PART if settled.heard else HEARD_NOTHING) if cut else LOST_PART
            noted = any(
                isinstance(last, dict) and last.get("content") in _NOTES for last in self._context.messages[-1:]
            )
            if not noted:  # one cut, one note
                self._context.add_message({"role": "user", "content": note})


def _before_tools(messages: Sequence[object]) -> int:
    """The index before the tool calls, and their results, that the messages end with."""
    at = len(messages)
    while at and _is_tool(messages[at - 1]):
        at -= 1
    return at


def _is_tool(message: object) -> bool:
    return isinstance(message, dict) and (message.get("role") == "tool" or bool(message.get("tool_calls")))


class Memory(LLMAssistantAggregator):
    """Writes the model's side of the conversation; tool calls and results are Pipecat's part of it."""

    def __init__(self, context: LLMContext, keeper: FloorKeeper) -> None:
        super().__init__(context)
        self._keeper = keeper
        self._history = History(context)
        self._writing: Utterance | None = None
        keeper.tell(settled=lambda settled, cut: self._history.settle(settled, cut=cut))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        # Pipecat would aggregate text by the time it arrives, and hold tool results back until the agent is
        # silent because their text is not in the context before; here it is.
        if isinstance(frame, LLMFullResponseStartFrame):
            frame.metadata["utterance"] = self._writing = self._keeper.open("answer")
        elif isinstance(frame, LLMTextFrame):
            self._write(frame.text)
        elif isinstance(frame, LLMFullResponseEndFrame):
            self._writing = None
        elif isinstance(frame, Say):
            frame.utterance = self._keeper.open(frame.role, remembered=frame.remembered)
            frame.utterance.text = frame.text
            self._history.show(frame.utterance)
        elif isinstance(frame, Kept):
            self._history.revise(frame.utterance)
        elif not isinstance(frame, BotStartedSpeakingFrame | BotStoppedSpeakingFrame):
            if isinstance(frame, InterruptionFrame):
                self._keeper.cut()  # here, where utterances begin: what begins behind it is not meant
            await super().process_frame(frame, direction)
            if isinstance(frame, _TOOL_FRAMES):
                await self.push_frame(frame, direction)  # others behind us want to know
            return
        await FrameProcessor.process_frame(self, frame, direction)
        await self.push_frame(frame, direction)

    def _write(self, text: str) -> None:
        if self._writing and self._keeper.floor.is_open(self._writing):
            self._writing.text += text
            self._history.show(self._writing)
