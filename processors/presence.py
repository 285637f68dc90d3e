"""Presence: what LiveKit's stock clients see of the agent, its state and both sides' captions.

The state follows the frames behind the room's output; the captions follow the floor.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid

from livekit import rtc
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    FunctionCallsStartedFrame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from callwright.parts import Parts
from callwright.room import TRANSCRIPTION_FINAL, Room
from callwright.speech import Utterance
from processors.floor import Settled
from processors.floor_keeper import FloorKeeper


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


class AgentCaptions:
    """Publishes the agent's words in `lk.transcription` as they are heard, one segment an utterance.

    Told without waiting; one task writes, in order. Captions are for display: losing one never harms the call.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._written: dict[Utterance, int] = {}
        self._writers: dict[Utterance, rtc.TextStreamWriter | None] = {}
        self._news: asyncio.Queue[tuple[Utterance, str | None]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def heard(self, utterance: Utterance, text: str) -> None:
        """So much of it has been heard by now."""
        written = self._written.get(utterance, 0)
        if len(text) > written:
            self._written[utterance] = len(text)
            self._tell(utterance, text[written:])

    def settled(self, settled: Settled, cut: bool) -> None:
        """No more of it will be heard."""
        if self._written.pop(settled.utterance, 0):
            self._tell(settled.utterance, None)

    def _tell(self, utterance: Utterance, text: str | None) -> None:
        self._news.put_nowait((utterance, text))
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while True:
            utterance, text = await self._news.get()
            try:
                if text is None:
                    writer = self._writers.pop(utterance, None)
                    if writer:
                        await writer.aclose(attributes={TRANSCRIPTION_FINAL: "true"})
                    continue
                if utterance not in self._writers:
                    self._writers[utterance] = await self._room.open_caption(f"SG_{uuid.uuid4().hex[:12]}")
                if writer := self._writers[utterance]:
                    await writer.write(text)
            except Exception:
                self._writers[utterance] = None  # the room is going

    async def aclose(self) -> None:
        """Close what is open."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for writer in self._writers.values():
            if writer:
                with contextlib.suppress(Exception):
                    await writer.aclose(attributes={TRANSCRIPTION_FINAL: "true"})


class Presence(FrameProcessor):
    """Publishes `lk.agent.state` and the agent's captions."""

    def __init__(self, parts: Parts, keeper: FloorKeeper) -> None:
        super().__init__()
        self._room = parts.room
        self._state = AgentState()
        captions = AgentCaptions(parts.room)
        keeper.tell(heard=captions.heard, settled=captions.settled)
        parts.on_close(captions.aclose)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, BotStartedSpeakingFrame | BotStoppedSpeakingFrame):
            self._state.speech(isinstance(frame, BotStartedSpeakingFrame))
        elif isinstance(frame, UserStartedSpeakingFrame):
            self._state.caller_started()
        elif isinstance(frame, UserStoppedSpeakingFrame):
            self._state.caller_finished()
        elif isinstance(frame, FunctionCallsStartedFrame):
            self._state.tools_called()
        elif isinstance(frame, LLMFullResponseEndFrame):
            self._state.answered()
        else:
            return
        self._room.show_state(self._state.state)


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
