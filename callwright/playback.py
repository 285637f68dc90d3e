"""Playback: the agent's speech on its way into the room, able to stop at once and to go on from any word.

Pipecat's own sender forgets which utterance a sample belongs to and can only throw away. This one keeps a
stretch (what the voice makes under one context) until it has been played (`speech_queue`): a pause loses nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from pipecat.frames.frames import Frame

from callwright.speech_queue import TICK_MS, Chunk, SpeechQueue

CHUNK_MS = 40
"""What is handed to the room at once: 20 ms costs a third more of a core, and nothing is gained (livekit.md §4.1)."""

REFILL_MS = 200
"""A voice that let the room run dry within a sentence gets so far ahead, or so much time, before it is heard again: one
pause in place of a gap after every chunk, each of which costs the ear, and the count of what was heard, a few ms."""

LOOK_S = 0.04
"""How often what has been played is looked at while nothing is handed over."""


class Outlet(Protocol):
    """The room's audio source, as far as playback needs it."""

    @property
    def open(self) -> bool:
        """Whether somebody could hear."""
        ...

    def queued(self) -> int:
        """Samples handed over that have not left yet."""
        ...

    async def send(self, pcm: bytes) -> bool:
        """Hand over s16le mono; returns when it fits into the source's queue, false if it was not taken."""
        ...

    def clear(self) -> None:
        """Drop what has not left."""
        ...


class Listener(Protocol):
    """Who is told where the agent's speech stands. `index` counts samples handed over since the call began."""

    def submitted(self, chunk: Chunk, index: int, queued: int) -> None:
        """`chunk` is handed over; its first sample is number `index`, and `queued` samples lie before it."""
        ...

    def played(self, index: int) -> None:
        """All samples before `index` have left the source."""
        ...

    def silenced(self, index: int, dropped: int) -> None:
        """The source was emptied: of what was handed over, the `dropped` samples from `index` on were not heard."""
        ...


@dataclass(frozen=True, slots=True)
class _Sent:
    index: int
    stretch: str
    offset: int
    samples: int


class Playback:
    """Hands a `SpeechQueue` to the room's source in time. `run` it in a task.

    `push` takes the frames whose time has come, `sounding` is told when speech begins and when all is played.
    """

    def __init__(self, rate: int, listener: Listener) -> None:
        self._chunk = rate * CHUNK_MS // 1000
        self._tick = rate * TICK_MS // 1000
        self._rate = rate
        self._refill = rate * REFILL_MS // 1000
        self._refill_by: float | None = None
        self._listener = listener
        self._queue = SpeechQueue(rate)
        self._sent: deque[_Sent] = deque()
        self._due: deque[tuple[int, Frame]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._outlet: Outlet | None = None
        self._held = False
        self._refusing = False
        self._speaking = False
        self._silences = 0
        self.submitted = 0

    # -- what is to be said

    def append(self, stretch: str, pcm: bytes, *, awaited: bool = False) -> None:
        """As `SpeechQueue.append`; refused from a cut until `accept`."""
        if not self._refusing:
            self._queue.append(stretch, pcm, awaited=awaited)
            self._news()

    def close(self, stretch: str, *, over: bool = False) -> None:
        self._queue.close(stretch, over=over)
        self._wake.set()

    def trim(self, stretch: str, end: int) -> None:
        """Play nothing of `stretch` from sample `end` on, as far as it has not been handed over."""
        self._queue.trim(stretch, end)
        self._wake.set()

    @property
    def store(self) -> int:
        """Samples that the caller has still to hear."""
        return self._queue.waiting + self.submitted - self.played

    def mark(self, frame: Frame) -> None:
        """Have `frame` pushed when everything before it has been played."""
        self._queue.mark(frame)
        self._news()

    def _news(self) -> None:
        self._idle.clear()
        self._wake.set()

    # -- stop and go

    @property
    def played(self) -> int:
        """How many samples have left the source."""
        return self.submitted - (self._outlet.queued() if self._outlet else 0)

    @property
    def held(self) -> bool:
        return self._held

    async def drain(self) -> None:
        """Wait until everything has been played."""
        await self._idle.wait()

    def hold(self) -> None:
        """Fall silent at once and lose nothing."""
        if not self._held:
            self._held = True
            self._silence()

    def release(self, at: tuple[str, int] | None = None) -> None:
        """Go on, from sample `at` = (stretch, offset), or from where it stopped."""
        if at is not None:
            self._queue.rewind(*at)
        self._held = False
        self._wake.set()

    def cut(self) -> None:
        """Fall silent at once and drop everything; what still comes is refused until `accept`. A hold stays."""
        self._refusing = True
        self._silence()
        self._due.extend((self.submitted, frame) for frame in self._queue.clear())
        self._wake.set()

    def accept(self) -> None:
        """What comes from now on is new."""
        self._refusing = False

    def _silence(self, *, not_taken: int = 0) -> None:
        self._silences += 1
        index = min(self.played, self.submitted - not_taken)
        dropped = self.submitted - index
        if self._outlet:
            self._outlet.clear()
        self.submitted = index
        rewound = False
        while self._sent and self._sent[-1].index >= index:
            sent = self._sent.pop()
            self._queue.rewind(sent.stretch, sent.offset)
            rewound = True
        if self._sent and (heard := index - self._sent[-1].index) < self._sent[-1].samples:
            sent = self._sent.pop()
            self._sent.append(_Sent(sent.index, sent.stretch, sent.offset, heard))
            self._queue.rewind(sent.stretch, sent.offset + heard)
            rewound = True
        late = [frame for at, frame in self._due if at > index]
        for _ in late:
            self._due.pop()
        if not rewound:  # only padding was dropped; else their place in the queue is reached again
            self._due.extend((index, frame) for frame in late)
        self._listener.silenced(index, dropped)

    # -- in time

    async def run(
        self,
        outlet: Outlet,
        push: Callable[[Frame], Awaitable[None]],
        sounding: Callable[[bool], Awaitable[None]],
    ) -> None:
        """Play until cancelled."""
        self._outlet = outlet
        while True:
            self._wake.clear()
            closed = self._held or not outlet.open or self._refilling()
            item = None if closed else self._queue.take(self._chunk)
            if isinstance(item, Chunk):
                await self._submit(item, outlet)
                if not self._speaking:
                    self._speaking = True
                    await sounding(True)
            elif item is not None:
                self._due.append((self.submitted, item))
            played = self.played
            self._listener.played(played)
            while self._due and self._due[0][0] <= played:
                await push(self._due.popleft()[1])
            if item is None:
                await self._rest(played, sounding)

    def _refilling(self) -> bool:
        """Whether a voice that let the room run dry is left to get ahead."""
        ready = self._queue.building
        if not ready or ready >= self._refill or self.played < self.submitted:
            self._refill_by = None
            return False
        now = asyncio.get_running_loop().time()
        self._refill_by = self._refill_by or now + REFILL_MS / 1000
        return now < self._refill_by

    async def _submit(self, chunk: Chunk, outlet: Outlet) -> None:
        self._sent.append(_Sent(self.submitted, chunk.stretch, chunk.offset, chunk.samples))
        while len(self._sent) > 1 and self._sent[0].index + self._rate * 5 < self.submitted:
            self._sent.popleft()  # no source holds 5 s
        padding = -chunk.samples % self._tick
        self._listener.submitted(replace(chunk, padding=padding), self.submitted, outlet.queued())
        self.submitted += chunk.samples + padding
        silences = self._silences
        if not await outlet.send(chunk.pcm + bytes(2 * padding)) and silences == self._silences:
            self._silence(not_taken=chunk.samples + padding)
            await asyncio.sleep(LOOK_S)  # and try again

    async def _rest(self, played: int, sounding: Callable[[bool], Awaitable[None]]) -> None:
        """Nothing can be handed over: wait for news, or for what was handed over to be played."""
        if played >= self.submitted and not self._held and self._queue.drained and not self._due:
            self._queue.forget()
            self._idle.set()
            if self._speaking:
                self._speaking = False
                await sounding(False)
                return
            limit = None
        elif played < self.submitted:
            limit = min(LOOK_S, max(0.005, (self.submitted - played) / self._rate))
        else:
            limit = LOOK_S if self._refill_by else None
        try:
            async with asyncio.timeout(limit):
                await self._wake.wait()
        except TimeoutError:
            pass
