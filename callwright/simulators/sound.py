"""Where a recording is loud: the one definition of *speech onset and end* every measurement uses.

A 10 ms window is loud when its RMS is above −45 dBFS (0 dBFS: amplitude 32768). Speech begins with the first
sample of the first loud window and ends with the last sample of the last one. Everything here is pure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

WINDOW_MS = 10
FLOOR_DBFS = -45.0
_FLOOR = 32768.0 * 10 ** (FLOOR_DBFS / 20)


def is_loud(samples: Samples) -> bool:
    """Whether these few samples, taken as one window, are above the floor; no samples are not."""
    if not len(samples):
        return False
    wide = samples.astype(np.float32)
    return float(np.dot(wide, wide)) > len(samples) * _FLOOR * _FLOOR


def loud_windows(samples: Samples, rate: int) -> npt.NDArray[np.bool_]:
    """For each whole 10 ms window from the start, whether it is loud."""
    size = rate * WINDOW_MS // 1000
    count = len(samples) // size
    windows = samples[: count * size].reshape(count, size).astype(np.float32)
    return np.asarray(np.mean(windows * windows, axis=1) > _FLOOR * _FLOOR)


def onset(samples: Samples, rate: int, start: int = 0, end: int | None = None) -> int | None:
    """The first sample of the first loud window at or after `start`, before `end`; None if silent."""
    start = max(0, start)
    found = np.flatnonzero(loud_windows(samples[start:end], rate))
    return start + int(found[0]) * (rate * WINDOW_MS // 1000) if len(found) else None


def last(samples: Samples, rate: int, start: int = 0, end: int | None = None) -> int | None:
    """One past the last sample of the last loud window within `start`–`end`; None if silent."""
    start = max(0, start)
    found = np.flatnonzero(loud_windows(samples[start:end], rate))
    return start + (int(found[-1]) + 1) * (rate * WINDOW_MS // 1000) if len(found) else None


def stretches(samples: Samples, rate: int, *, join_ms: int = 200) -> list[tuple[int, int]]:
    """Stretches of sound: (first sample, one past the last); a silence below `join_ms` does not part them."""
    size = rate * WINDOW_MS // 1000
    found: list[tuple[int, int]] = []
    for window in np.flatnonzero(loud_windows(samples, rate)):
        begin = int(window) * size
        if found and begin - found[-1][1] < join_ms * rate // 1000:
            found[-1] = (found[-1][0], begin + size)
        else:
            found.append((begin, begin + size))
    return found
