"""Where the agent's audio stands: submitted to the room, played, cleared. Integers of samples."""

from __future__ import annotations


class Playout:
    """Places every submitted sample on the call's own time line (sample 0 = start of the recording).

    Pure: it is told how much was submitted and how much the source still held at that moment. The
    source plays in real time, so a chunk submitted while the queue holds audio begins where the
    queue ends; into an empty queue it begins now.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._end = 0
        self.submitted = 0

    def submit(self, samples: int, *, now: int, queued: int) -> int:
        """The position at which a chunk of `samples` will begin to sound."""
        expected = now + queued
        # Within 20 ms the queue's bookkeeping and ours agree: stay contiguous, to the sample.
        start = self._end if queued > 0 and abs(expected - self._end) < self.rate // 50 else max(expected, now)
        self._end = start + samples
        self.submitted += samples
        return start

    def clear(self, dropped: int) -> int:
        """The last `dropped` samples will not be heard after all; the position from which on there is silence."""
        self._end -= dropped
        self.submitted -= dropped
        return self._end

    @property
    def end(self) -> int:
        """The position at which everything submitted so far has been played."""
        return self._end
