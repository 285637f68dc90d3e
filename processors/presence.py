"""Presence: what LiveKit's stock clients see of the agent, its state and both sides' captions.

Sits behind the room's output, where a word passes when it is due to be heard.
"""

from __future__ import annotations

import uuid

from livekit import rtc
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    FunctionCallsStartedFrame,
    InterimTranscriptionFrame,
    LLMAssistantPushAggregationFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from callwright.room import Room

_SEGMENT_ENDS = (LLMFullResponseEndFrame, LLMAssistantPushAggregationFrame, UserStartedSpeakingFrame)


class AgentState:
    """What `lk.agent.state` should be: listening, thinking or speaking. Pure.

    Between "one moment" and the answer that a tool is looked up for, the agent is thinking, not listening:
    a client that shows "listening" there invites the caller to speak into the answer.
    """

    def __init__(self) -> None:
        self._speaking = False
        self._owing = False  # the caller, or a tool's result, is still to be answered
        self._called = False  # the answer now being spoken also called a tool

    @property
    def state(self) -> str:
        return "speaking" if self._speaking else "thinking" if self._owing else "listening"

    def caller_started(self) -> None:
        """The caller speaks; whatever was owed is void."""
        self._owing = self._called = False

    def caller_finished(self) -> None:
        self._owing = True

    def tools_called(self) -> None:
        self._owing = self._called = True

    def answered(self) -> None:
        """An answer of the model has been spoken to its end."""
        self._owing, self._called = self._called, False

    def speech(self, sounding: bool) -> None:
        self._speaking = sounding


class Presence(FrameProcessor):
    """Publishes `lk.agent.state` and the agent's `lk.transcription` stream, one segment an answer."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self._room = room
        self._state = AgentState()
        self._writer: rtc.TextStreamWriter | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            await self._caption(frame.text)
        elif isinstance(frame, BotStartedSpeakingFrame | BotStoppedSpeakingFrame):
            self._state.speech(isinstance(frame, BotStartedSpeakingFrame))
        elif isinstance(frame, UserStartedSpeakingFrame):
            self._state.caller_started()
        elif isinstance(frame, UserStoppedSpeakingFrame):
            self._state.caller_finished()
        elif isinstance(frame, FunctionCallsStartedFrame):
            self._state.tools_called()
        elif isinstance(frame, LLMFullResponseEndFrame):
            self._state.answered()
        elif not isinstance(frame, LLMAssistantPushAggregationFrame):
            return
        self._room.show_state(self._state.state)
        if isinstance(frame, _SEGMENT_ENDS):
            await self._close()

    async def _caption(self, text: str) -> None:
        try:
            if self._writer is None:
                self._writer = await self._room.open_caption(f"SG_{uuid.uuid4().hex[:12]}")
                if self._writer is None:
                    return
            else:
                text = text if text.startswith(" ") else f" {text}"
            await self._writer.write(text)
        except Exception:
            self._writer = None  # the room is going; captions are for display only

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                await writer.aclose(attributes={"lk.transcription_final": "true"})
            except Exception:
                return  # as above

    async def cleanup(self) -> None:
        await self._close()
        await super().cleanup()  # type: ignore[no-untyped-call]


class CallerCaptions(FrameProcessor):
    """Publishes what the caller is understood to say; stands behind the ears."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self._room = room
        self._segment = ""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame) and frame.text.strip():
            self._segment = self._segment or f"SG_{uuid.uuid4().hex[:12]}"
            final = isinstance(frame, TranscriptionFrame)
            self._room.caption_caller(self._segment, frame.text, final=final)
            if final:
                self._segment = ""
        await self.push_frame(frame, direction)
