"""A vendor's voice, made to tell: which text went out under which context, where its words lie, when it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipecat.frames.frames import AggregatedTextFrame, Frame, InterruptionFrame, TTSSpeakFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.tts_service import TTSService

from callwright.upstream.voice import connect, disconnect


class VoiceListener(Protocol):
    """Who is told. A stretch is what the vendor makes under one context."""

    def sent(self, stretch: str, cause: Frame) -> None:
        """The text of `cause` is about to go to the vendor as (part of) `stretch`."""
        ...

    def timed(self, stretch: str, words: Sequence[tuple[str, float, float | None]]) -> None:
        """The vendor's own (text, start, end) in seconds from the stretch's first sample; end None if it has none."""
        ...

    def over(self, stretch: str) -> None:
        """Nothing more will come of it, behind all that came; without a TTSStoppedFrame before, it was broken off."""
        ...


@dataclass
class Afresh(InterruptionFrame):
    """For one voice in trouble: drop what is being said, and let the next thing go over a new connection."""


class Voice(TTSService):
    """What every vendor's voice can do once it is attentive."""

    listener: VoiceListener | None = None
    leaving = False
    """From being told to begin afresh until it has hung up on its vendor: what fails now is over already."""
    lost = False
    """Whether its connection has broken, where it keeps one, and no later one has brought anything yet."""
    _cause: Frame | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, Afresh):
            self.leaving = True
            try:
                await super().process_frame(frame, direction)
                await disconnect(self)
            finally:
                self.leaving = False
            await connect(self)
            return
        if not isinstance(frame, AggregatedTextFrame | TTSSpeakFrame):
            await super().process_frame(frame, direction)
            return
        self._cause = frame
        try:
            await super().process_frame(frame, direction)
        finally:  # it may be cut off by what arrives beside it, and touches nothing of that
            self._cause = None

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        if self.listener and self._cause:
            self.listener.sent(context_id, self._cause)
        async for frame in super().run_tts(text, context_id):
            yield frame

    async def add_word_timestamps(
        self, word_times: list[tuple[str, float]], context_id: str | None = None, *args: Any, **options: Any
    ) -> None:
        if self.listener and context_id and self.audio_context_available(context_id):
            self.listener.timed(context_id, self.with_ends(word_times))
        await super().add_word_timestamps(word_times, context_id, *args, **options)

    async def on_audio_context_completed(self, context_id: str) -> None:
        if self.listener:
            self.listener.over(context_id)
        await super().on_audio_context_completed(context_id)

    def with_ends(self, word_times: list[tuple[str, float]]) -> list[tuple[str, float, float | None]]:
        """The words with their ends where the vendor tells them; Pipecat passes only the starts on."""
        return [(word, start, None) for word, start in word_times]


def attentive(service: type[TTSService], *mixins: type) -> type[TTSService]:
    """A vendor's class that tells a listener what it says; `mixins` know more about that vendor's messages."""
    return type(service.__name__, (*mixins, Voice, service), {})
