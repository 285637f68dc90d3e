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
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from callwright.room import Room


class Presence(FrameProcessor):
    """Publishes `lk.agent.state` and the agent's `lk.transcription` stream, one segment an answer."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self._room = room
        self._writer: rtc.TextStreamWriter | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            await self._caption(frame.text)
        elif isinstance(frame, BotStartedSpeakingFrame):
            self._room.show_state("speaking")
        elif isinstance(frame, UserStoppedSpeakingFrame):
            self._room.show_state("thinking")
        elif isinstance(frame, BotStoppedSpeakingFrame | UserStartedSpeakingFrame):
            self._room.show_state("listening")
        if isinstance(frame, InterruptionFrame | LLMFullResponseEndFrame | UserStartedSpeakingFrame):
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
