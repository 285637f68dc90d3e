"""One utterance on its way from a voice to a client, the same for every vendor.

Text is rendered as soon as it is known; audio goes out in chunks at the account's pace, each after the faults
ordered for it; what was sent is logged and, on request, kept. The vendor's own form is its `Wire`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from callwright.simulators.account import Account, World
from callwright.simulators.encodings import Samples
from callwright.simulators.faults import Fault, Within
from callwright.simulators.outbox import stall
from callwright.simulators.produced import Production
from callwright.simulators.voice import Speech

_PAUSE_S = {".": 0.18, "?": 0.18, "!": 0.18, "…": 0.18, ",": 0.08, ";": 0.08, ":": 0.08}  # between two pieces

Placed = tuple[str, int, int]
"""A word and where it lies: text, start, end, in samples from the beginning of the utterance."""


class Wire(Protocol):
    """How one vendor tells one client of an utterance."""

    async def audio(self, samples: Samples, *, step_ms: float) -> None:
        """A chunk, sent `step_ms` after its text came."""

    async def words(self, words: Sequence[Placed]) -> None:
        """Words that begin in the audio sent so far and have not been told of."""

    async def done(self) -> None:
        """All is out."""

    async def struck(self, fault: Fault) -> None:
        """A fault, other than a wait, that ends the utterance."""


@dataclass
class _Piece:
    speech: asyncio.Task[Speech]
    text: str
    cause_at: float  # when the first of its text arrived


class Speaking:
    """`say` pieces of text, `end`; meanwhile `run` sends them."""

    def __init__(
        self,
        world: World,
        account: Account,
        wire: Wire,
        *,
        context_id: str,
        voice: str,
        rate: int,
        speed: float = 1.0,
        volume: float = 1.0,
    ) -> None:
        self._world = world
        self._account = account
        self._wire = wire
        self._context_id = context_id
        self._voice = voice
        self._rate = rate
        self._speed = speed
        self._volume = volume
        self._settings = account.settings
        self._within = Within(account.faults, "tts")
        self._pace = self._settings.tts_pace if self._settings.paced else None  # times real time; None: all at once
        self._plan: asyncio.Queue[_Piece | Callable[[], Awaitable[None]] | None] = asyncio.Queue()
        self._renders: set[asyncio.Task[Speech]] = set()
        self._position = 0  # samples sent
        self._next_chunk_at = 0.0
        self._words: deque[Placed] = deque()  # not told of yet
        self._ends_with = ""  # last letter of the latest piece
        self._produced: Production | None = None
        self._task: asyncio.Task[object] | None = None  # the one in `run`
        self._busy = False  # with what a cancel does not stop
        self._over = False
        self._cancelled = False
        self._recalled = False  # `cancel` has cancelled the task

    def asked(self, text: str) -> None:
        """Text has come, to be said now or later."""
        if self._produced is None and self._settings.keep_speech and text.strip():
            self._produced = Production(self._context_id, self._rate)
            self._account.speech.append(self._produced)
        if self._produced is not None:
            self._produced.asked(text)

    def say(self, text: str, cause_at: float) -> None:
        """Speak `text` after all that was said before; `cause_at`: when the first of it came."""
        if self._over:
            return
        speak = self._world.voice.speak(text, voice=self._voice, rate=self._rate, speed=self._speed)
        render = asyncio.create_task(speak)
        self._renders.add(render)
        self._plan.put_nowait(_Piece(render, text, cause_at))

    def then(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do `act` when all that was said before is out."""
        self._plan.put_nowait(act)

    def end(self) -> None:
        """Nothing more will be said."""
        self._plan.put_nowait(None)

    def cancel(self) -> None:
        """Send no more than the chunk under way: its messages still go out, as with the vendors, and nothing after.

        `run` returns when that is done; during a "hang", only when it is over.
        """
        if self._cancelled or self._over:
            return
        self._cancelled = True
        self._account.log("tts", "cancelled", context_id=self._context_id)
        if self._task is not None and not self._busy:
            self._recalled = True
            self._task.cancel()

    async def run(self) -> None:
        """Returns when the utterance is out, cancelled or ended by a fault.

        Raises SimulatorError when the speech engine fails, ConnectionError when the client is gone.
        """
        self._task = asyncio.current_task()
        try:
            await self._run()
        except asyncio.CancelledError:
            if not self._recalled or self._task is None or self._task.uncancel():
                raise  # somebody else's
        finally:
            self._task = None
            self._over = True
            for render in self._renders:
                render.cancel()
            await asyncio.gather(*self._renders, return_exceptions=True)

    async def _run(self) -> None:
        fault = None if self._cancelled else self._account.faults.take("tts", "before")
        if fault is not None and not await self._survives(fault):
            return
        while not self._cancelled:
            item = await self._plan.get()
            if item is None:
                await self._done()
                return
            if not isinstance(item, _Piece):
                await item()
            elif not await self._speak(item):
                return

    async def _done(self) -> None:
        with self._committed():
            await self._wire.done()
            detail = {"samples": self._position, "rate": self._rate}
            self._account.log("tts", "done", context_id=self._context_id, detail={**detail})

    async def _speak(self, piece: _Piece) -> bool:
        """Send one piece; False when a fault or a cancel has ended the utterance."""
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
        samples = louder(samples, self._volume)
        begin = self._position + silence
        words = [(word.text, begin + word.start, begin + word.end) for word in speech.words]
        self._words.extend(words)
        if self._produced is not None:
            self._produced.planned(words)
        audio = np.concatenate([np.zeros(silence, dtype="<i2"), samples])
        size = max(1, self._rate * self._settings.tts_chunk_ms // 1000)
        for at in range(0, len(audio), size):
            if not await self._chunk(audio[at : at + size], piece, silence + speech.leading_silence):
                return False
        await self._tell(begin + len(samples) + 1)  # a dash at the end begins where the audio ends
        return True

    async def _chunk(self, audio: Samples, piece: _Piece, leading: int) -> bool:
        if self._pace is not None:
            await self._world.sleep_until(self._next_chunk_at)
        fault = self._within.strikes()
        if fault is not None and not await self._survives(fault):
            return False
        with self._committed():
            now = self._world.monotonic()
            await self._wire.audio(audio, step_ms=(now - piece.cause_at) * 1000)
            if self._produced is not None:
                self._produced.sent(audio, now)
            if self._position == 0:
                self._account.log(
                    "tts",
                    "first_audio",
                    request_at=piece.cause_at,
                    leading_silence_ms=leading * 1000 / self._rate,
                    context_id=self._context_id,
                    detail={"letters": len(piece.text)},
                )
            self._schedule(len(audio))
            self._position += len(audio)
            await self._tell(self._position)
        return not self._cancelled

    def _schedule(self, samples: int) -> None:
        """When the next chunk is due; a sleep that took a little longer is made up for."""
        if self._pace is None:
            return
        lasts = samples / self._rate / self._pace
        now = self._world.monotonic()
        on_time = self._position > 0 and now < self._next_chunk_at + lasts
        self._next_chunk_at = (self._next_chunk_at if on_time else now) + lasts

    async def _tell(self, until: int) -> None:
        """Tell of the words that begin before `until`: as the vendors do, after the audio they begin in."""
        ready: list[Placed] = []
        while self._words and self._words[0][1] < until:
            ready.append(self._words.popleft())
        if ready:
            await self._wire.words(ready)

    async def _survives(self, fault: Fault) -> bool:
        """Let a fault happen; whether the utterance goes on after it."""
        self._account.log(
            "tts", "fault", context_id=self._context_id, detail={"kind": fault.kind, "moment": fault.moment}
        )
        if fault.kind in ("stall", "silence"):  # what is said later in this utterance is not said either
            await stall(self._world, fault)
        elif fault.kind == "hang":
            with self._committed():
                await stall(self._world, fault)
        elif fault.kind == "trickle":
            self._pace = fault.trickle
        elif fault.kind in ("truncate", "empty"):
            await self._done()
            return False
        else:
            await self._wire.struck(fault)
            return False
        return True

    @contextmanager
    def _committed(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False


def louder(samples: Samples, volume: float) -> Samples:
    """The samples at `volume` times their loudness, clipped."""
    if volume == 1:
        return samples
    return np.clip(samples.astype(np.float64) * volume, -32768, 32767).astype(np.int16)
