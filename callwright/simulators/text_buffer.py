"""Text that comes to a voice in pieces, and when it is spoken."""

from __future__ import annotations

import re

_PARTIAL_WORD_S = 0.3  # a word whose rest may still come is held back no longer than this
_SENTENCE_END = re.compile(r"[.?!…]+[\"')\]]*(?=\s|$)")
_SAFE_END = re.compile(r"[\s.,;:?!…\"')\]–—]$")


class TextBuffer:
    """Decides which text is spoken when: pure, times are passed in.

    Transcripts are joined verbatim. With a buffer delay, text waits for the end of a sentence or for the delay;
    without one it goes at once. Either way a word that may be incomplete waits for its rest.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._held = ""
        self._since = 0.0
        self._latest = 0.0

    def push(self, text: str, now: float) -> None:
        if not self._held.strip():
            self._since = now
        self._held += text
        self._latest = now

    @property
    def deadline(self) -> float | None:
        """When `take` should be called even if nothing more comes."""
        if not self._held.strip():
            return None
        speakable = self._since + self._delay_s
        whole_words = _SAFE_END.search(self._held) or re.search(r"\S\s+\S", self._held)
        return speakable if whole_words else max(speakable, self._latest + _PARTIAL_WORD_S)

    def take(self, now: float, *, everything: bool = False) -> str:
        """The text to speak now; empty when it is better to wait."""
        if not self._held.strip():
            return self._cut(0)
        if everything:
            return self._cut(len(self._held))
        if now < self._since + self._delay_s:
            ends = [match.end() for match in _SENTENCE_END.finditer(self._held)]
            return self._cut(ends[-1] if ends else 0)
        if _SAFE_END.search(self._held) or now >= self._latest + _PARTIAL_WORD_S:
            return self._cut(len(self._held))
        whole = re.match(r".*\s", self._held, re.DOTALL)
        return self._cut(whole.end() if whole else 0)

    def _cut(self, at: int) -> str:
        text, self._held = self._held[:at], self._held[at:]
        self._since = self._latest if at else self._since
        return text if text.strip() else ""
