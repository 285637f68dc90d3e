"""The watch over a model that answers: whether its words come fast enough to be spoken. Pure; ms of any one clock.

What the caller has still to hear is time in which nobody notices how slow a model is. Where that runs out, it does not
help that the last token is not long ago: one a second makes a word now and then. So what counts is how long the last
few words took, all together, and how much is left to be heard.
"""

from __future__ import annotations

from collections import deque

SLOWEST_LETTERS_PER_S = 10.0
"""Sentences of 60 to 80 letters, each said at 14 letters a second while the next is written so slowly, are 1.7 to 2.3 s
apart. That is a model of two or three tokens a second; the published ones write 50 and more."""

SPARE_MS = 1500.0
"""With more than this left to be heard nothing is done: another model's first token takes 640 ms (p50; p95 1615), the
voice's first sound 400 more."""

UNSPOKEN = 1.5
"""A thought or a tool call may take so many times as long as words: vendors hold an argument back until it is whole."""

LOOK_MS = 40.0


class TokenWatch:
    """Of one attempt. `gap_ms`: over how long its pace is taken."""

    def __init__(self, gap_ms: float, now: float) -> None:
        self._gap_ms = gap_ms
        self._enough = SLOWEST_LETTERS_PER_S * gap_ms / 1000
        self._written: deque[tuple[float, int]] = deque()  # (when, letters): the last that are enough
        self._letters = 0
        self.alive(now)

    def alive(self, now: float) -> None:
        """It works, at something that is not spoken."""
        self._began, self._limit_ms = now, UNSPOKEN * self._gap_ms
        self._written.clear()
        self._letters = 0
        self._look_at = now

    def wrote(self, now: float, letters: int) -> None:
        """It wrote so many letters that are to be spoken."""
        if letters <= 0:
            return
        if not self._written:
            self._began, self._limit_ms = now, self._gap_ms
        self._written.append((now, letters))
        self._letters += letters
        while self._letters - self._written[0][1] >= self._enough:
            self._letters -= self._written.popleft()[1]

    @property
    def since(self) -> float:
        """Since when it has written no more than just enough."""
        return self._written[0][0] if self._letters >= self._enough else self._began

    def stopped(self, now: float, store_ms: float) -> bool:
        """Whether it is too slow, with `store_ms` left to be heard. Ask at `wakes_at` if nothing comes."""
        if now < self.since + self._limit_ms:
            return False
        self._look_at = now + max(LOOK_MS, store_ms - SPARE_MS)
        return store_ms <= SPARE_MS

    @property
    def wakes_at(self) -> float:
        return max(self.since + self._limit_ms, self._look_at)
