"""Where audio that arrives over a network belongs on our clock."""

from __future__ import annotations

from collections import deque


class Arrival:
    """Places the frames of a stream, to the sample, by when they arrive. Pure.

    A stream is contiguous, its arrival is not: a frame is never early, but may be late. So the place
    is kept contiguous, and corrected only when for `window` frames none has come as early as it says
    (samples were lost on the way), or one has come earlier (the first frames were late).
    """

    def __init__(self, rate: int, *, window: int = 50, tolerance_ms: int = 20) -> None:
        self._tolerance = rate * tolerance_ms // 1000
        self._jump = rate // 5
        self._late: deque[int] = deque(maxlen=window)
        self._end: int | None = None

    def place(self, samples: int, now: int) -> int:
        """The position of the first of `samples` that arrived complete at position `now`."""
        arrived = now - samples
        if self._end is None or arrived - self._end > self._jump:
            self._restart(arrived)
        assert self._end is not None
        self._late.append(arrived - self._end)
        earliest = min(self._late)
        if earliest < -self._tolerance or (len(self._late) == self._late.maxlen and earliest > self._tolerance):
            self._restart(self._end + earliest)
        start = max(self._end, 0)
        self._end = start + samples
        return start

    def _restart(self, position: int) -> None:
        self._end = position
        self._late.clear()
