"""The agent's speech before it is played: in the order in which it is said, kept until it is over. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from pipecat.frames.frames import Frame

from callwright.loudness import silent_start

FADE_MS = 10
"""Over so long a stretch that is cut short fades out: a sudden end would click."""

LEAD_MS = 400
"""So much silence ahead of an awaited stretch is dropped at most: vendors send 150 to 250 ms before the first sound."""

ONSET_MS = 30
"""Of that silence is left to it: its onset is soft."""

AHEAD_MS = 80
"""So much of it is there before it is heard: the silence before it no longer covers for a voice that stutters."""

TICK_MS = 10
"""LiveKit's source lets go of 10 ms at a time; a shorter rest would wait in it for company."""


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
