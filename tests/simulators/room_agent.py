"""A participant that answers with a tone: the agent the caller's own tests talk to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import numpy as np
from livekit import rtc

from callwright.simulators.caller import RATE
from callwright.simulators.livekit import Credentials, token
from callwright.simulators.sound import Samples, is_loud

FRAME = RATE // 50


def tone(seconds: float, hertz: float = 440.0, amplitude: float = 6000.0) -> Samples:
    at = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * at)).astype(np.int16)


@dataclass(frozen=True)
class RenderedWord:
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Rendered:
    pcm: bytes
    rate: int
    words: tuple[RenderedWord, ...]


class ToneVoice:
    """Speaks every word as 200 ms of tone: a voice that is known to the sample."""

    async def speak(self, text: str, *, voice: str, rate: int, speed: float) -> Rendered:
        size = round(0.2 * rate / speed)
        words = tuple(RenderedWord(w, k * size, (k + 1) * size) for k, w in enumerate(text.split()))
        at = np.arange(size * len(words)) / rate
        pcm = (9000 * np.sin(2 * np.pi * 300 * at)).astype(np.int16)
        return Rendered(pcm.tobytes(), rate, words)


@dataclass
class ToneAgent:
    """Answers `delay_s` after the caller falls silent for 100 ms, with `answer_s` of tone; `greeting_s` of
    it at once. `stops` (s): how long after hearing the caller it stops speaking (None: never)."""

    credentials: Credentials
    room_name: str
    kind: Literal["standard", "agent"] = "agent"
    delay_s: float = 0.3
    answer_s: float = 0.6
    greeting_s: float = 0.0
    stops_s: float | None = None
    answers: bool = True
    identity: str = "agent"
    dtmf: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.room = rtc.Room()
        self._tasks: list[asyncio.Task[None]] = []
        self._queue = tone(self.greeting_s)
        self._heard_at: float | None = None
        self._caller_since: float | None = None
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=40)

        def subscribed(track: rtc.Track, *_: object) -> None:
            self._tasks.append(asyncio.create_task(self._listen(track)))

        self.room.on("track_subscribed", subscribed)
        self.room.on("sip_dtmf_received", lambda event: self.dtmf.append(event.digit))
        signed = token(self.credentials, self.room_name, self.identity, kind=self.kind)
        await self.room.connect(self.credentials.url, signed)
        track = rtc.LocalAudioTrack.create_audio_track("agent", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)
        self._tasks.append(asyncio.create_task(self._speak()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        await self.room.disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._source.aclose()

    async def caption(self, text: str, *, track: str = "") -> None:
        writer = await self.room.local_participant.stream_text(
            topic="lk.transcription",
            attributes={"lk.segment_id": "one", "lk.transcription_final": "true", "lk.transcribed_track_id": track},
        )
        for word in text.split():
            await writer.write(word + " ")
        await writer.aclose()

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
        loop = asyncio.get_running_loop()
        try:
            async for event in stream:
                now = loop.time()
                if is_loud(np.frombuffer(event.frame.data, np.int16)):
                    self._heard_at = now
                    self._caller_since = self._caller_since or now
                    if self.stops_s is not None and now - self._caller_since > self.stops_s:
                        self._queue = tone(0)
                elif self._heard_at is not None and now - self._heard_at > 0.1:
                    self._caller_since = None
                    if self.answers and now - self._heard_at > self.delay_s:
                        self._heard_at = None
                        self._queue = tone(self.answer_s)
        finally:
            await stream.aclose()

    async def _speak(self) -> None:
        while True:
            frame = np.zeros(FRAME, np.int16)
            piece, self._queue = self._queue[:FRAME], self._queue[FRAME:]
            frame[: len(piece)] = piece
            await self._source.capture_frame(rtc.AudioFrame(frame.tobytes(), RATE, 1, FRAME))
