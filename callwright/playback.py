"""Playback: the agent's speech on its way into the room, able to stop at once and to go on from any word.

Pipecat's own sender forgets which utterance a sample belongs to and can only throw away. This one keeps a
stretch (what the voice makes under one context) until it has been played, so that a pause loses nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from pipecat.frames.frames import Frame

from callwright.loudness import silent_start

FADE_MS = 10
"""Over so long a stretch that is cut short fades out: a sudden end would click."""

CHUNK_MS = 40
"""What is handed to the room at once: 20 ms costs a third more of a core, and nothing is gained (livekit.md §4.1)."""

LEAD_MS = 400
"""So much silence ahead of an awaited stretch is dropped at most: vendors send 150 to 250 ms before the first sound."""

ONSET_MS = 30
"""Of that silence is left to it: its onset is soft."""

AHEAD_MS = 80
"""So much of it is there before it is heard: the silence before it no longer covers for a voice that stutters."""

TICK_MS = 10
"""LiveKit's source lets go of 10 ms at a time; a shorter rest would wait in it for company."""

REFILL_MS = 200
"""A voice that let the room run dry within a sentence gets so far ahead, or so much time, before it is heard again: one
pause in place of a gap after every chunk, each of which costs the ear, and the count of what was heard, a few ms."""

LOOK_S = 0.04
"""How often what has been played is looked at while nothing is handed over."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples [offset, offset + len) of a stretch; s16le mono. `padding` samples of silence follow it."""

    stretch: str
    offset: int
    pcm: bytes
    padding: int = 0

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


@dataclass
class _Track:
    """One stretch, or what came of it after it had been taken for finished. `base`: offset of its first sample."""

    stretch: str
    base: int = 0
    lead: int = 0  # samples of silence at its beginning that may still be dropped; until it is settled none is taken
    at: int = 0  # samples already taken
    closed: bool = False
    pcm: bytearray = field(default_factory=bytearray)

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


class SpeechQueue:
    """Stretches of speech in the order they are played, with frames between them. Pure.

    Nothing is forgotten before `forget`, so that `rewind` can go back to any sample.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._tick = rate * TICK_MS // 1000
        self._fade = rate * FADE_MS // 1000
        self._items: list[_Track | Frame] = []
        self._next = 0
        self._over: deque[str] = deque(maxlen=64)
        self._forgotten: dict[str, int] = {}  # stretches of the last speech, and where they ended
        self._trimmed: dict[str, int] = {}

    def append(self, stretch: str, pcm: bytes, *, awaited: bool = False) -> None:
        """More audio of `stretch`; a new one is played after all others, one that is over is not played.

        Of a new one that is `awaited` the silence at its beginning is dropped; its samples keep their numbers.
        """
        if stretch in self._over:
            return
        index, track = self._find(stretch)
        if track is None or index < self._next:
            base = track.base + track.samples if track else self._forgotten.get(stretch, 0)
            track = _Track(stretch, base, lead=self._rate * LEAD_MS // 1000 if awaited and not base else 0)
            self._items.append(track)
        if (end := self._trimmed.get(stretch)) is not None:
            pcm = pcm[: 2 * max(0, end - track.base - track.samples)]
        track.pcm += pcm
        track.closed = stretch in self._trimmed
        if track.lead:
            self._drop_lead(track)

    def _drop_lead(self, track: _Track) -> None:
        silent = silent_start(track.pcm, self._rate)
        drop = min(track.lead, max(0, silent - self._rate * ONSET_MS // 1000))
        del track.pcm[: 2 * drop]
        track.base += drop
        track.lead -= drop
        if track.samples + drop - silent >= self._rate * AHEAD_MS // 1000:
            track.lead = 0

    def close(self, stretch: str, *, over: bool = False) -> None:
        """No more audio of `stretch` is expected; if it is `over`, none is taken either."""
        _, track = self._find(stretch)
        if track is not None:
            track.closed = True
        if over:
            self._over.append(stretch)

    def trim(self, stretch: str, end: int) -> None:
        """Nothing of `stretch` from sample `end` on is played, unless it is taken already; it needs no `close`."""
        self._trimmed[stretch] = end
        for item in self._items:
            if isinstance(item, _Track) and item.stretch == stretch:
                keep = max(item.at, end - item.base)
                if keep < item.samples:
                    del item.pcm[2 * keep :]
                    _fade_out(item.pcm, min(self._fade, keep - item.at))
                item.closed = True

    @property
    def waiting(self) -> int:
        """Samples that are left to take."""
        return sum(item.samples - item.at for item in self._items[self._next :] if isinstance(item, _Track))

    def mark(self, frame: Frame) -> None:
        """`frame` is due when everything queued before it has been played."""
        self._items.append(frame)

    def take(self, limit: int) -> Chunk | Frame | None:
        """What comes next: at most `limit` samples of one stretch, or a frame; None when it is not there yet."""
        while self._next < len(self._items):
            item = self._items[self._next]
            if isinstance(item, Frame):
                self._next += 1
                return item
            left = item.samples - item.at
            if not item.closed:
                left = 0 if item.lead else left - left % self._tick
            if left > 0:
                size = min(left, limit)
                chunk = Chunk(item.stretch, item.base + item.at, bytes(item.pcm[2 * item.at : 2 * (item.at + size)]))
                item.at += size
                return chunk
            if not item.closed:
                return None
            self._next += 1
        return None

    @property
    def building(self) -> int | None:
        """Samples ready of a stretch that was begun and is still being made; None if no such one is next."""
        item = self._items[self._next] if self._next < len(self._items) else None
        if isinstance(item, _Track) and item.at > 0 and not item.closed:
            return item.samples - item.at
        return None

    @property
    def drained(self) -> bool:
        """Whether nothing is left to take and nothing more is announced."""
        return self._next == len(self._items)

    def rewind(self, stretch: str, offset: int) -> None:
        """Go back to sample `offset` of `stretch`: it and all that follows is taken again."""
        for index, item in enumerate(self._items):
            if isinstance(item, Frame) or item.stretch != stretch or offset >= item.base + item.samples:
                continue
            item.at = max(0, offset - item.base)
            for later in self._items[index + 1 :]:
                if isinstance(later, _Track):
                    later.at = 0
            self._next = min(self._next, index)
            return

    def clear(self) -> list[Frame]:
        """Drop everything; the frames that were still waiting and must not be lost."""
        kept = [item for item in self._items[self._next :] if isinstance(item, Frame) and not item.interruptible]
        self._items.clear()
        self._trimmed.clear()
        self._next = 0
        return kept

    def forget(self) -> None:
        """Let go of what has been taken; call it when all of that was played."""
        self._forgotten = {
            item.stretch: item.base + item.samples for item in self._items[: self._next] if isinstance(item, _Track)
        }
        del self._items[: self._next]
        self._next = 0

    def _find(self, stretch: str) -> tuple[int, _Track | None]:
        for index in range(len(self._items) - 1, -1, -1):
            item = self._items[index]
            if isinstance(item, _Track) and item.stretch == stretch:
                return index, item
        return -1, None


def _fade_out(pcm: bytearray, samples: int) -> None:
    """Let the last `samples` of `pcm` go down to nothing."""
    if samples > 0:
        last = np.frombuffer(pcm[-2 * samples :], np.int16)
        pcm[-2 * samples :] = (last * np.linspace(1.0, 0.0, samples)).astype(np.int16).tobytes()


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
