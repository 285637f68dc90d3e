"""One utterance of Cartesia's voice: text comes in pieces, audio and word times go out at the vendor's pace."""

from __future__ import annotations

import asyncio
import base64
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from callwright.simulators.account import Account, World
from callwright.simulators.cartesia_request import CartesiaError, Generation, ordered_error
from callwright.simulators.encodings import Samples, encode
from callwright.simulators.errors import SimulatorError
from callwright.simulators.faults import Fault, Within
from callwright.simulators.outbox import stall
from callwright.simulators.voice import Speech

_PARTIAL_WORD_S = 0.3  # a word whose rest may still come is held back no longer than this
_SENTENCE_END = re.compile(r"[.?!…]+[\"')\]]*(?=\s|$)")
_SAFE_END = re.compile(r"[\s.,;:?!…\"')\]–—]$")
_PAUSE_S = {".": 0.18, "?": 0.18, "!": 0.18, "…": 0.18, ",": 0.08, ";": 0.08, ":": 0.08}  # between two pieces

Message = dict[str, Any]


class TextBuffer:
    """Decides which text is spoken when: pure, times are passed in.

    Transcripts are joined verbatim. With a buffer delay, text waits for the end of a sentence or for the delay;
    without one it goes at once. Either way a word that may be incomplete waits for its rest.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._held = ""
        self._since = 0.0
        self._latest = 0.0

    def push(self, text: str, now: float) -> None:
        if not self._held.strip():
            self._since = now
        self._held += text
        self._latest = now

    @property
    def deadline(self) -> float | None:
        """When `take` should be called even if nothing more comes."""
        if not self._held.strip():
            return None
        speakable = self._since + self._delay_s
        whole_words = _SAFE_END.search(self._held) or re.search(r"\S\s+\S", self._held)
        return speakable if whole_words else max(speakable, self._latest + _PARTIAL_WORD_S)

    def take(self, now: float, *, everything: bool = False) -> str:
        """The text to speak now; empty when it is better to wait."""
        if not self._held.strip():
            return self._cut(0)
        if everything:
            return self._cut(len(self._held))
        if now < self._since + self._delay_s:
            ends = [match.end() for match in _SENTENCE_END.finditer(self._held)]
            return self._cut(ends[-1] if ends else 0)
        if _SAFE_END.search(self._held) or now >= self._latest + _PARTIAL_WORD_S:
            return self._cut(len(self._held))
        whole = re.match(r".*\s", self._held, re.DOTALL)
        return self._cut(whole.end() if whole else 0)

    def _cut(self, at: int) -> str:
        text, self._held = self._held[:at], self._held[at:]
        self._since = self._latest if at else self._since
        return text if text.strip() else ""


@dataclass
class _Piece:
    speech: asyncio.Task[Speech]
    text: str
    cause_at: float  # when the first of its text arrived


@dataclass
class _Flush:
    flush_id: int


@dataclass
class _End:
    pass


class Context:
    """Speaks until its last piece is out; `run` in a task, cancel the task to cancel the context.

    send: takes each message to the client.  strike: does what a fault wants done to the connection.
    """

    def __init__(
        self,
        world: World,
        account: Account,
        first: Generation,
        send: Callable[[Message], Awaitable[None]],
        strike: Callable[[Fault], Awaitable[None]],
        version: str,
    ) -> None:
        self.first = first
        self._world = world
        self._account = account
        self._send = send
        self._strike = strike
        self._version = version
        self._settings = account.settings
        self._rate = first.output_format.sample_rate
        self._buffer = TextBuffer(first.max_buffer_delay_ms / 1000)
        self._news = asyncio.Event()
        self._ended = False  # continue:false has come
        self._flushes: deque[int] = deque()
        self._flush_count = 0
        self._text_at: float | None = None  # when the text now in the buffer began to arrive
        self._plan: asyncio.Queue[_Piece | _Flush | _End] = asyncio.Queue()
        self._renders: set[asyncio.Task[Speech]] = set()
        self._within = Within(account.faults, "tts")
        self._position = 0  # samples sent since the beginning of the context
        self._next_chunk_at = 0.0
        self._words: deque[tuple[str, int, int]] = deque()  # not reported yet; samples from the context's start
        self._ends_with = ""  # last letter of the latest piece
        self.push(first)

    def push(self, generation: Generation) -> None:
        """More text, or the end of it."""
        now = self._world.monotonic()
        self._buffer.push(generation.transcript, now)
        if generation.transcript.strip() and self._text_at is None:
            self._text_at = now
        if generation.flush:
            self._flush_count += 1
            self._flushes.append(self._flush_count)
        self._ended = self._ended or not generation.more
        # Here and not in a task: without a buffer delay each transcript is spoken by itself, however close they come.
        self._cut()
        self._news.set()

    @property
    def ended(self) -> bool:
        return self._ended

    async def run(self) -> None:
        """Raises nothing of its own; CancelledError when cancelled."""
        try:
            fault = self._account.faults.take("tts", "before")
            if fault is not None and not await self._survives(fault):
                return
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                await self._emit()
                watch.cancel()
        except* SimulatorError:
            error = CartesiaError(500, "the speech engine failed", title="Internal server error")
            self._account.log("tts", "failed", context_id=self.first.context_id, detail={"status": 500})
            await self._send(error.frame(self.first.context_id, self._version))
        except* ConnectionError:
            pass  # the client is gone
        finally:
            for render in self._renders:
                render.cancel()
            await asyncio.gather(*self._renders, return_exceptions=True)

    def _cut(self) -> None:
        """Turn buffered text into pieces; a piece is rendered as soon as it is known."""
        now = self._world.monotonic()
        text = self._buffer.take(now, everything=self._ended or bool(self._flushes))
        if text:
            speak = self._world.voice.speak(
                text,
                voice=self.first.voice.id or self._world.voice.voices[0],
                rate=self._rate,
                speed=self.first.generation_config.speed,
            )
            render = asyncio.create_task(speak)
            self._renders.add(render)
            self._plan.put_nowait(_Piece(render, text, now if self._text_at is None else self._text_at))
            self._text_at = now if self._buffer.deadline is not None else None
        while self._flushes:
            self._plan.put_nowait(_Flush(self._flushes.popleft()))
        if self._ended:
            self._plan.put_nowait(_End())

    async def _watch(self) -> None:
        """Let text go whose time in the buffer is over."""
        while not self._ended:
            self._news.clear()
            deadline = self._buffer.deadline
            left = None if deadline is None else max(0.001, deadline - self._world.monotonic())
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                self._cut()

    async def _emit(self) -> None:
        while True:
            item = await self._plan.get()
            if isinstance(item, _Piece):
                if not await self._speak(item):
                    return
            elif isinstance(item, _Flush):
                await self._message("flush_done", flush_done=True, flush_id=item.flush_id)
            else:
                await self._done()
                return

    async def _done(self) -> None:
        await self._send({"type": "done", "context_id": self.first.context_id, "done": True, "status_code": 200})
        self._account.log(
            "tts",
            "done",
            context_id=self.first.context_id,
            detail={"samples": self._position, "rate": self._rate},
        )

    async def _speak(self, piece: _Piece) -> bool:
        """Send one piece; False when a fault has ended the context."""
        due = piece.cause_at + self._account.draw("tts_first_audio") if self._position == 0 else 0.0
        speech = await piece.speech
        self._renders.discard(piece.speech)
        samples = np.frombuffer(speech.pcm, dtype="<i2")
        silence = 0
        if len(samples) and self._position == 0:
            low, high = self._settings.tts_leading_silence_ms
            silence_ms = self._account.random_for("tts_leading_silence_ms").uniform(low, high)
            silence = round(silence_ms * self._rate / 1000)
            await self._world.sleep_until(due)
        elif len(samples):
            silence = round(_PAUSE_S.get(self._ends_with, 0.0) * self._rate)
        self._ends_with = piece.text.rstrip()[-1:]
        volume = self.first.generation_config.volume
        if volume != 1:
            samples = np.clip(samples.astype(np.float64) * volume, -32768, 32767).astype("<i2")
        begin = self._position + silence
        self._words.extend((word.text, begin + word.start, begin + word.end) for word in speech.words)
        audio = np.concatenate([np.zeros(silence, dtype="<i2"), samples])
        size = max(1, self._rate * self._settings.tts_chunk_ms // 1000)
        for at in range(0, len(audio), size):
            if not await self._chunk(audio[at : at + size], piece, silence + speech.leading_silence):
                return False
        await self._report_words(len(audio) + self._position)
        return True

    async def _chunk(self, audio: Samples, piece: _Piece, leading: int) -> bool:
        if self._settings.paced:
            await self._world.sleep_until(self._next_chunk_at)
        fault = self._within.strikes()
        if fault is not None and not await self._survives(fault):
            return False
        encoding = self.first.output_format.encoding
        now = self._world.monotonic()
        await self._message(
            "chunk",
            data=base64.b64encode(encode(audio, encoding)).decode(),
            step_time=round((now - piece.cause_at) * 1000, 3),
        )
        if self._position == 0:
            self._account.log(
                "tts",
                "first_audio",
                request_at=piece.cause_at,
                leading_silence_ms=leading * 1000 / self._rate,
                context_id=self.first.context_id,
                detail={"letters": len(piece.text)},
            )
        self._position += len(audio)
        if self._settings.paced:
            now = self._world.monotonic()
            self._next_chunk_at = max(self._next_chunk_at, now) + len(audio) / self._rate / self._settings.tts_pace
        await self._report_words(self._position)
        return True

    async def _report_words(self, until: int) -> None:
        """Tell of the words that begin before `until`: as the vendor does, after the audio they begin in."""
        ready: list[tuple[str, int, int]] = []
        while self._words and self._words[0][1] < until:
            ready.append(self._words.popleft())
        if ready and self.first.add_timestamps:
            await self._message(
                "timestamps",
                word_timestamps={
                    "words": [text for text, _, _ in ready],
                    "start": [round(start / self._rate, 4) for _, start, _ in ready],
                    "end": [round(end / self._rate, 4) for _, _, end in ready],
                },
            )

    async def _message(self, kind: str, **fields: Any) -> None:
        await self._send(
            {"type": kind, "context_id": self.first.context_id, "done": False, "status_code": 206, **fields}
        )

    async def _survives(self, fault: Fault) -> bool:
        """Let a fault happen; whether the context goes on after it."""
        self._account.log("tts", "fault", context_id=self.first.context_id, detail={"kind": fault.kind})
        if fault.kind == "stall":
            await stall(self._world, fault)
            return True
        if fault.kind == "status":
            error = ordered_error(fault.status, fault.message)
            await self._send(error.frame(None if fault.anonymous else self.first.context_id, self._version))
        elif fault.kind in ("truncate", "empty"):
            await self._done()
        elif fault.kind != "silence":
            await self._strike(fault)
        return False
