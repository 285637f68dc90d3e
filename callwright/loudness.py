"""Loudness: how long ago a speaker's last audible sample was, and when the first one comes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FLOOR_DBFS = -45.0
"""Below this nothing counts as speech, however quiet the speaker."""

BELOW_PEAK_DB = 30.0
"""What is this far below the loudest of the utterance is breath or room, not a word's end."""

SILENT_DBFS = FLOOR_DBFS - 10.0
"""Below this nothing is heard at all: an "f" or a "th" that begins a word lies up to 30 dB beneath its vowel."""


def silent_start(pcm: bytes | bytearray, rate: int) -> int:
    """How many samples of silence 16-bit mono begins with, in whole windows of 10 ms; a last part of one counts not."""
    window = rate // 100
    samples = np.frombuffer(pcm, np.int16)[: len(pcm) // 2 // window * window].astype(np.float64)
    power = (samples.reshape(-1, window) ** 2).mean(axis=1)
    audible = np.flatnonzero(power > 32768.0**2 * 10 ** (SILENT_DBFS / 10))
    return window * (int(audible[0]) if audible.size else len(power))


class Loudness:
    """Measures the silence at the end of a stream of 16-bit mono, in windows of 10 ms. Pure.

    A voice activity model answers in windows of 32 ms and lags behind the end of a word; this tells, to
    10 ms, when the sound ended, so that a configured wait is as long as it says.
    """

    def __init__(self, rate: int) -> None:
        self._window = rate // 100
        self._rest = np.zeros(0, dtype=np.int16)
        self._peak_db = FLOOR_DBFS
        self._quiet_windows = 0

    @property
    def quiet_ms(self) -> int:
        """Milliseconds since the end of the last loud window."""
        return self._quiet_windows * 10

    def begin(self) -> None:
        """A new utterance: its own loudness counts."""
        self._peak_db = FLOOR_DBFS

    def feed(self, samples: npt.NDArray[np.int16]) -> None:
        """Take the next samples of the stream."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // self._window * self._window
        self._rest = samples[whole:]
        windows = samples[:whole].reshape(-1, self._window).astype(np.float64)
        for power in (windows**2).mean(axis=1):
            level_db = 10 * np.log10(power / 32768.0**2 + 1e-12)
            self._peak_db = max(self._peak_db, level_db)
            loud = level_db > max(FLOOR_DBFS, self._peak_db - BELOW_PEAK_DB)
            self._quiet_windows = 0 if loud else self._quiet_windows + 1
