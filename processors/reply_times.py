"""Reply times: how long this call's model takes to its first sign, and how likely that is in the next moment. Pure."""

from __future__ import annotations

import math
import statistics
from collections import deque

PRIOR_MS = (250, 640)
"""First tokens before any was seen: the medians of a quick model and of a slow one."""


class ReplyTimes:
    """How long this call's model takes to its first sign: log-normal, as such delays are, fitted to the last dozen.

    What was never seen, a reply later than all others, is the case that matters; counting would know nothing of it.
    """

    def __init__(self) -> None:
        self._logs = deque((math.log(ms) for ms in PRIOR_MS), maxlen=12)
        self._fit()

    def add(self, ms: float) -> None:
        self._logs.append(math.log(max(ms, 1.0)))
        self._fit()

    def _fit(self) -> None:
        self._median = statistics.fmean(self._logs)
        self._spread = max(statistics.pstdev(self._logs), 0.05)

    def likely(self, waited_ms: float, within_ms: float) -> float:
        """How likely a reply that has not come in `waited_ms` comes within the next `within_ms`; 0..1."""
        open_still = 1.0 - self._share(waited_ms)
        return (self._share(waited_ms + within_ms) - self._share(waited_ms)) / open_still if open_still > 1e-9 else 1.0

    def _share(self, ms: float) -> float:
        """Of all replies, those that have come after `ms`."""
        if ms <= 0:
            return 0.0
        return 0.5 * (1.0 + math.erf((math.log(ms) - self._median) / (self._spread * math.sqrt(2.0))))
