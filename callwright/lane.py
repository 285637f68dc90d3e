"""One lane of the recording: brings a stream to the recording's rate, keeping its place."""

from __future__ import annotations

import numpy as np
import soxr  # type: ignore[import-untyped]


class Lane:
    """Resamples contiguous 16-bit mono from `rate` to `recording_rate`, placed in samples of the latter."""

    def __init__(self, rate: int, recording_rate: int) -> None:
        self._stream = soxr.ResampleStream(rate, recording_rate, 1, dtype="int16")
        self._slack = recording_rate // 66
        self._end: int | None = None

    def place(self, position: int, pcm: bytes) -> tuple[int, bytes]:
        """Where the next resampled samples belong, and the samples."""
        # The resampler holds back a few ms, so its own end lags; a difference beyond that is a correction.
        start = position if self._end is None or abs(position - self._end) > self._slack else self._end
        made = self._stream.resample_chunk(np.frombuffer(pcm, dtype=np.int16))
        self._end = start + len(made)
        return start, made.tobytes()
