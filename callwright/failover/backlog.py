"""What the caller has said and no vendor has written down yet: the sound, and where speech began and ended in it.

Pure. Positions are samples since the first that was taken in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pipecat.frames.frames import Frame, InputAudioRawFrame

LIMIT_MS = 30_000.0
"""More is not kept: a turn of half a minute is rare, and its end matters more than its beginning."""


@dataclass(frozen=True)
class Item:
    """A frame, the how-many-th it is, and the samples [start, end) it holds; a mark in the sound holds none."""

    number: int
    start: int
    end: int
    frame: Frame


class Backlog:
    """Takes 16-bit mono audio and, between it, marks; gives them again from any number that is still there."""

    def __init__(self, rate: int, *, limit_ms: float = LIMIT_MS) -> None:
        self.position = 0
        """How many samples were taken in."""
        self.covered = 0
        """All before this position is written down; it is not given again."""
        self._rate = rate
        self._limit = round(limit_ms * rate / 1000)
        self._items: deque[Item] = deque()
        self._count = 0

    def add(self, frame: Frame) -> None:
        """One more frame of audio, or a mark at the present position."""
        start = self.position
        if isinstance(frame, InputAudioRawFrame):
            self.position += len(frame.audio) // 2
        self._items.append(Item(self._count, start, self.position, frame))
        self._count += 1
        self._forget(self.position - self._limit)

    def cover(self, position: int) -> None:
        """What lies before `position` is written down."""
        self.covered = max(self.covered, min(position, self.position))
        self._forget(self.covered)

    def keep(self, ms: float) -> None:
        """Forget all but the last `ms`: nobody spoke before."""
        self._forget(self.position - round(ms * self._rate / 1000))

    def after(self, number: int) -> Item | None:
        """The item of that number, or the first still kept behind it; None when there is none yet."""
        if not self._items or number >= self._count:
            return None
        return self._items[max(0, number - self._items[0].number)]

    def _forget(self, position: int) -> None:
        items = self._items
        while items and items[0].end <= position:
            items.popleft()
        if items and items[0].start < position:
            items[0] = _cut(items[0], position)


def _cut(item: Item, position: int) -> Item:
    """The rest of an item of audio from `position` on."""
    frame = item.frame
    assert isinstance(frame, InputAudioRawFrame)
    rest = InputAudioRawFrame(frame.audio[2 * (position - item.start) :], frame.sample_rate, frame.num_channels)
    return Item(item.number, position, item.end, rest)
