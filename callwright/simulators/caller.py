"""The person at the other end of the room: speaks, listens, and records both on one clock.

An ordinary participant: one microphone track, fed without a break from the moment of joining (silence when
it does not speak), so that it is known to the sample when anything left. What an ordinary client could not
know (the agent's inside, a vendor's log) the caller does not know either.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import soxr  # type: ignore[import-untyped]
from livekit import rtc

from callwright.simulators.account import SpokenWord
from callwright.simulators.account import Utterance as Announcement
from callwright.simulators.answer_watch import AnswerWatch
from callwright.simulators.errors import SimulatorError
from callwright.simulators.sound import Samples, is_loud
from callwright.simulators.tape import RATE, Caption, Said, SaidWord, Tape, Utterance

log = logging.getLogger(__name__)

FRAME = RATE // 20
"""50 ms. Each frame costs a round trip through the binding's thread and the event loop: with five callers and
five agents in one process on 2 overloaded cores (load 7) 20 ms frames lost up to 0.9 s against the clock."""

QUEUE_MS = 200
"""What the source holds ahead: a stall of the event loop shorter than this does not tear the speech (130 ms were
seen there). It delays what is said, which a person does too, and not what is measured."""

TICK = RATE // 100
"""The source lets go of 10 ms at a time. When a capture returns, the sample that lies `QUEUE_MS` behind the
captured end goes out with the next tick: measured against a sink on the same track, 10.0 ± 0.4 ms at queues of
20–200 ms."""

JOIN_LIMIT_S = 10.0
RECONNECT_LIMIT_S = 8.0
"""The SDK itself tries for 25 s to come back to a server that died; nobody holds a telephone that long."""

POLL_S = 0.02
"""How often a wait looks again; a person does not react within it."""
CAPTIONS = "lk.transcription"
STATE = "lk.agent.state"


class Word(Protocol):
    """A spoken word: `start` and `end` in samples of its speech."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class Speech(Protocol):
    """Rendered speech: s16le mono at `rate`, with true word boundaries."""

    @property
    def pcm(self) -> bytes: ...
    @property
    def rate(self) -> int: ...
    @property
    def words(self) -> Sequence[Word]: ...


class Speaker(Protocol):
    """An engine that speaks (`callwright.simulators.voice.Voice` is one)."""

    async def speak(self, text: str, *, voice: str, rate: int, speed: float) -> Speech: ...


Announce = Callable[[Announcement], Awaitable[None]]
"""Told what the caller is about to say, before the first sample leaves: for ears that are told (the
oracle)."""

OnCaption = Callable[[Caption], None]


@dataclass
class Saying:
    """An utterance under way; `await saying.done()` is the utterance once its last sample has left."""

    text: str
    samples: Samples
    words: tuple[SaidWord, ...]
    kind: str
    at: int = 0
    _left: asyncio.Future[Utterance] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def done(self) -> Utterance:
        """Wait until the last sample left the source. SimulatorError if the call ended before."""
        return await asyncio.shield(self._left)


class Caller:
    """A participant who speaks and records; an async context manager that joins, and leaves at the end.

    `agent_sounding`, `agent_quiet` and the captions are about the room's agent: the participants of kind
    agent, or where there are none everybody else. Raises SimulatorError when the room cannot be joined.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        voice: Speaker,
        voice_name: str = "rms",
        speed: float = 1.0,
        noise_dbfs: float | None = None,
        seed: int = 0,
        announce: Announce | None = None,
        on_caption: OnCaption | None = None,
    ) -> None:
        self._url = url
        self._token = token
        self._voice = voice
        self._voice_name = voice_name
        self._speed = speed
        self._rng = np.random.default_rng(seed)
        self._noise = _noise_loop(noise_dbfs, self._rng)
        self._announce = announce
        self.on_caption = on_caption
        logging.getLogger("livekit").addFilter(_BINDING_LOG)  # adding it twice adds it once
        self._room = rtc.Room()
        self._source: rtc.AudioSource | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: deque[Saying] = deque()
        self._leaving: deque[tuple[Saying, Said]] = deque()
        self._microphone = ""
        self._caption_words: dict[str, int] = {}
        self._marked_words = 0
        self._heard_agent = asyncio.Event()
        self.tape = Tape()
        self.watch = AnswerWatch(time.monotonic())
        self.ended: str | None = None
        self.joined_s = 0.0
        """How long joining took (connect and publish)."""

    async def __aenter__(self) -> Self:
        started = time.monotonic()
        connected = self._listen()
        try:
            async with asyncio.timeout(JOIN_LIMIT_S):
                await self._room.connect(self._url, self._token)
                self._source = rtc.AudioSource(RATE, 1, queue_size_ms=QUEUE_MS)
                track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
                options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
                published = await self._room.local_participant.publish_track(track, options)
                self._microphone = published.sid
                for participant in self._room.remote_participants.values():
                    connected(participant)
        except (rtc.ConnectError, rtc.participant.PublishTrackError, TimeoutError) as error:
            await self._close()
            raise SimulatorError(_why_not_joined(self._url, str(error))) from None  # it quotes the token
        except BaseException:
            await self._close()
            raise
        self.joined_s = time.monotonic() - started
        self._own(self._feed(self._source))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    # Speaking

    async def say(self, text: str) -> Utterance:
        """Say it and return when the last sample has left. SimulatorError if the call ends first."""
        return await (await self.start_say(text)).done()

    async def start_say(self, text: str) -> Saying:
        """Begin to say it (after what is still being said) and return at once."""
        speech = await self.prepare(text)
        samples = _at_rate(np.frombuffer(speech.pcm, np.int16), speech.rate)
        scale = RATE / speech.rate
        words = tuple(SaidWord(w.text, round(w.start * scale), round(w.end * scale)) for w in speech.words)
        return await self._begin(Saying(text, samples, words, "speech"))

    async def cough(self, duration_s: float = 0.35, dbfs: float = -20.0) -> Utterance:
        """A burst of noise that no recogniser makes words of."""
        return await (await self._begin(Saying("", _cough(duration_s, dbfs, self._rng), (), "noise"))).done()

    async def prepare(self, text: str) -> Speech:
        """Render it now (engines cache), so that saying it later begins at once."""
        return await self._voice.speak(text, voice=self._voice_name, rate=RATE, speed=self._speed)

    async def dtmf(self, digits: str) -> None:
        """Press keys, 100 ms apart, as LiveKit carries them (SIP DTMF packets)."""
        for digit in digits:
            code = 10 if digit == "*" else 11 if digit == "#" else int(digit)
            await self._room.local_participant.publish_dtmf(code=code, digit=digit)
            await asyncio.sleep(0.1)

    async def hang_up(self) -> None:
        """Leave the room, in mid-word if need be; a second call does nothing."""
        self._end("caller")
        await self._close()

    # Listening

    @property
    def agent_sounding(self) -> bool:
        """Whether the agent is heard at this moment."""
        return self.watch.sounding(time.monotonic())

    @property
    def captions(self) -> list[Caption]:
        """Every caption of the call so far, both sides."""
        return self.tape.captions

    async def agent_joined(self, timeout_s: float = 20.0) -> float:
        """Wait for the agent's first received audio frame; returns the seconds it took.

        SimulatorError if none comes in time or the call ends.
        """
        started = time.monotonic()
        if not await self._until(self._heard_agent.is_set, timeout_s):
            raise SimulatorError(
                f"no agent came into room {self._room.name!r} within {timeout_s:.0f} s; "
                "is one running for that room and this LiveKit server?"
            )
        return time.monotonic() - started

    async def agent_quiet(self, quiet_ms: float = 700, timeout_s: float = 15.0, longest_s: float = 120.0) -> bool:
        """Wait until the agent has answered and then been silent for `quiet_ms`.

        False if it has not begun within `timeout_s` (a mute turn) or goes on for more than `longest_s`.
        """
        begun = await self._until(lambda: self.watch.begun_s is not None, timeout_s)
        return begun and await self._until(lambda: self.watch.done(time.monotonic(), quiet_ms / 1000), longest_s)

    async def agent_words(self, count: int, timeout_s: float = 15.0) -> bool:
        """Wait until the agent has spoken about `count` words of this answer; False if it does not in
        time."""
        return await self._until(lambda: self.watch.spoke(count), timeout_s)

    async def pause(self, seconds: float) -> bool:
        """Say nothing for a while; False if the call ended meanwhile."""
        return not await self._until(lambda: False, seconds) and self.ended is None

    # Inside

    async def _until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not reached():
            left = deadline - time.monotonic()
            if left <= 0 or self.ended is not None:
                return False
            await asyncio.sleep(min(POLL_S, left))
        return True

    async def _begin(self, saying: Saying) -> Saying:
        if self.ended is not None:
            raise SimulatorError(f"the call is over ({self.ended}): nothing can be said")
        if self._announce is not None:
            spans = tuple(SpokenWord(word=w.text, start=w.start / RATE, end=w.end / RATE) for w in saying.words)
            await self._announce(Announcement(text=saying.text, words=spans, duration=len(saying.samples) / RATE))
        self._queue.append(saying)
        return saying

    async def _feed(self, source: rtc.AudioSource) -> None:
        """Speech or silence without a break; the source's back-pressure is the clock."""
        lane = self.tape.sent
        while self.ended is None:
            samples = self._next_frame()
            lane.append(samples)
            try:
                await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, FRAME))
            except Exception as error:  # the binding raises bare Exception once the track is gone
                self._end(f"the microphone failed: {error}")
                return
            next_out = lane.count - QUEUE_MS * RATE // 1000
            lane.observe(time.monotonic() + TICK / RATE, next_out)
            while self._leaving and self._leaving[0][1].end <= next_out:
                saying, said = self._leaving.popleft()
                if saying.kind == "speech":
                    self._mark()
                saying._left.set_result(self.tape.place(said))

    def _next_frame(self) -> Samples:
        start = self.tape.sent.count
        frame = np.zeros(FRAME, np.int16)
        filled = 0
        while self._queue and filled < FRAME:
            saying = self._queue[0]
            if saying.at == 0:
                self._note(saying, start + filled)
            piece = saying.samples[saying.at : saying.at + FRAME - filled]
            frame[filled : filled + len(piece)] = piece
            filled += len(piece)
            saying.at += len(piece)
            if saying.at >= len(saying.samples):
                self._queue.popleft()
        if self._noise is not None:
            at = np.arange(start, start + FRAME) % len(self._noise)
            frame = np.clip(frame.astype(np.int32) + self._noise[at], -32768, 32767).astype(np.int16)
        return frame

    def _note(self, saying: Saying, first: int) -> None:
        words = tuple(SaidWord(w.text, first + w.start, first + w.end) for w in saying.words)
        said = Said(saying.text, first, first + len(saying.samples), words, saying.kind)
        self.tape.said.append(said)
        self._leaving.append((saying, said))

    def _mark(self) -> None:
        self._marked_words = sum(self._caption_words.values())
        self.watch.mark(time.monotonic())

    def _listen(self) -> Callable[[rtc.RemoteParticipant], None]:
        room = self._room

        def subscribed(
            track: rtc.Track, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
        ) -> None:
            if track.kind == rtc.TrackKind.KIND_AUDIO:
                self._own(self._hear(track, participant))

        def connected(participant: rtc.RemoteParticipant) -> None:
            if STATE in participant.attributes and self._is_agent(participant):
                self.watch.state(participant.attributes[STATE])

        def attributes(changed: dict[str, str], participant: rtc.Participant) -> None:
            if STATE in changed and isinstance(participant, rtc.RemoteParticipant):
                connected(participant)

        def left(participant: rtc.RemoteParticipant) -> None:
            # When the server dies, everybody is reported gone just before we learn that it is us.
            heard = any(who == participant.identity for who, _ in self.tape.heard)
            agent = participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
            here = room.connection_state == rtc.ConnectionState.CONN_CONNECTED
            if here and heard and (agent or not room.remote_participants):
                self._end("agent left")

        def disconnected(reason: int) -> None:
            name = rtc.DisconnectReason.Name(reason)  # type: ignore[arg-type]
            self._end(f"room closed: {name.lower()}")

        def reconnecting() -> None:
            self._own(self._give_up(room))

        def captioned(reader: rtc.TextStreamReader, identity: str) -> None:
            self._own(self._read_caption(reader, identity))

        room.on("track_subscribed", subscribed)
        room.on("participant_connected", connected)
        room.on("participant_attributes_changed", attributes)
        room.on("participant_disconnected", left)
        room.on("disconnected", disconnected)
        room.on("reconnecting", reconnecting)
        room.register_text_stream_handler(CAPTIONS, captioned)
        return connected

    async def _give_up(self, room: rtc.Room) -> None:
        await asyncio.sleep(RECONNECT_LIMIT_S)
        if room.connection_state != rtc.ConnectionState.CONN_CONNECTED:
            self._end(f"room closed: LiveKit gone for {RECONNECT_LIMIT_S:.0f} s")

    def _is_agent(self, participant: rtc.RemoteParticipant) -> bool:
        agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        if participant.kind == agent:
            return True
        return all(other.kind != agent for other in self._room.remote_participants.values())

    async def _hear(self, track: rtc.Track, participant: rtc.RemoteParticipant) -> None:
        lane = self.tape.hear(participant.identity)
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
        try:
            async for event in stream:
                now = time.monotonic()
                samples = np.frombuffer(event.frame.data, np.int16).copy()
                lane.observe(now, lane.count)
                lane.append(samples)
                if self._is_agent(participant):
                    self._heard_agent.set()
                    if is_loud(samples):
                        self.watch.sound(now, len(samples) / RATE)
        finally:
            await stream.aclose()

    async def _read_caption(self, reader: rtc.TextStreamReader, identity: str) -> None:
        attributes = reader.info.attributes or {}
        segment = attributes.get("lk.segment_id", reader.info.stream_id)
        if attributes.get("lk.transcribed_track_id") == self._microphone:
            identity = self._room.local_participant.identity  # what we said, as the agent understood it
        text = ""
        try:
            with suppress(rtc.StreamError):
                async for chunk in reader:
                    text += chunk
                    self._caption(identity, text, segment, final=False)
            final = (reader.info.attributes or {}).get("lk.transcription_final") != "false"
            self._caption(identity, text, segment, final=final)
        finally:
            reader.close()

    def _caption(self, identity: str, text: str, segment: str, *, final: bool) -> None:
        caption = Caption(identity, text, final, segment, self.tape.now())
        self.tape.captions.append(caption)
        if identity != self._room.local_participant.identity:
            self._caption_words[segment] = len(text.split())
            self.watch.words(sum(self._caption_words.values()) - self._marked_words)
        if self.on_caption is not None:
            self.on_caption(caption)

    def _end(self, why: str) -> None:
        if self.ended is not None:
            return
        self.ended = why
        for saying in [*self._queue, *(saying for saying, _ in self._leaving)]:
            if not saying._left.done():
                saying._left.set_exception(SimulatorError(f"the call ended ({why}) before all was said"))
                saying._left.exception()  # nobody has to be waiting for it
        self._queue.clear()
        self._leaving.clear()

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the caller failed: %s", type(error).__name__)
            self._end(f"the caller failed: {error!r}")

    async def _close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._room.disconnect()
        if self._source is not None:
            await self._source.aclose()
            self._source = None


def _why_not_joined(url: str, error: str) -> str:
    if "401" in error or "403" in error:
        return f"LiveKit at {url} refuses the token: check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
    if "onnection refused" in error or "dns" in error.lower():
        return f"nothing answers at {url}: is LiveKit running there? (LIVEKIT_URL)"
    why = _TOKEN.sub("…", error)[:200] or f"no answer in {JOIN_LIMIT_S:.0f} s"
    return f"the caller cannot join at {url}: {why}"


class _BindingLog(logging.Filter):
    """The binding logs the whole token when a server refuses it; nobody else may sign in with our logs.

    And it complains of a dropped handle when two participants leave at the same moment, which does no harm.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        message = _TOKEN.sub("…", record.getMessage())
        record.msg, record.args = message, ()
        return "drop unknown FFI handle" not in message


_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_BINDING_LOG = _BindingLog()


def _at_rate(samples: Samples, rate: int) -> Samples:
    return samples if rate == RATE else np.asarray(soxr.resample(samples, rate, RATE), dtype=np.int16)


def _noise_loop(dbfs: float | None, rng: np.random.Generator) -> Samples | None:
    """Two seconds of hiss, darker than white as rooms are, at this RMS level; None for none."""
    return None if dbfs is None else _hiss(2 * RATE, dbfs, rng)


def _hiss(count: int, dbfs: float, rng: np.random.Generator) -> Samples:
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    sound = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 100.0)) * (hertz < 8000), count)
    scaled = sound / np.sqrt(np.mean(sound * sound)) * 32768 * 10 ** (dbfs / 20)
    return np.asarray(np.clip(scaled, -32768, 32767), dtype=np.int16)


def _cough(duration_s: float, dbfs: float, rng: np.random.Generator) -> Samples:
    """Two pushes of breath: sharp attack, quick decay."""
    count = round(duration_s * RATE)
    at = np.arange(count) / count * 2 % 1.0
    shape = np.minimum(at / 0.05, 1.0) * np.exp(-4.0 * at)
    return np.asarray(_hiss(count, dbfs + 6, rng) * shape, dtype=np.int16)
