"""When somebody is making a sound: energy of a stream in frames of 10 ms. Pure; positions in samples at 16 kHz."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16000
FRAME = RATE // 100
THRESHOLD_DBFS = -45.0
_ONSET_FRAMES = 2  # so many loud frames in a row begin a sound: one alone is a click
_HANG_FRAMES = 10  # a gap shorter than 100 ms (a stop consonant) is part of the sound


class Activity:
    """Feed it a stream; it says whether there is sound now, since when, and when the last one was."""

    def __init__(self, threshold_dbfs: float = THRESHOLD_DBFS) -> None:
        self._level = 32768 * 10 ** (threshold_dbfs / 20)
        self._rest: NDArray[np.int16] = np.zeros(0, dtype=np.int16)
        self._loud_run = 0
        self.position = 0  # end of the last whole frame
        self.active = False
        self.onset = -1  # where the present or latest sound began; -1 before the first
        self.last_sound = 0  # end of the latest loud frame

    def push(self, samples: NDArray[np.int16]) -> None:
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // FRAME
        self._rest = samples[count * FRAME :]
        frames = samples[: count * FRAME].reshape(count, FRAME).astype(np.float64)
        for loud in np.sqrt((frames**2).mean(axis=1)) >= self._level if count else ():
            self._frame(bool(loud))

    def _frame(self, loud: bool) -> None:
        start = self.position
        self.position += FRAME
        if loud:
            self._loud_run += 1
            self.last_sound = self.position
            if not self.active and self._loud_run >= _ONSET_FRAMES:
                self.active = True
                self.onset = start - (self._loud_run - 1) * FRAME
        else:
            self._loud_run = 0
            if self.active and self.position - self.last_sound >= _HANG_FRAMES * FRAME:
                self.active = False

    @property
    def sounding(self) -> bool:
        """Whether the sound is going on, not only its hang-over."""
        return self.active and self.silence < 3 * FRAME

    @property
    def silence(self) -> int:
        """Samples since the last sound."""
        return self.position - self.last_sound
