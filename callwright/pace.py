"""Pace: how long a text takes to say, before a voice has been heard, and once it has. Pure."""

from __future__ import annotations

from dataclasses import dataclass

LETTERS_PER_S = 14
"""Of ordinary speech: 150 words a minute of five letters and a space are 15; where nothing better is known."""

_DIGIT = 4
"""A digit is said with about so many letters ("seven"); a sign of a currency or of a percentage with seven."""
_SLOWEST, _FASTEST = 1.5, 0.6
"""Bounds of what is learned, as multiples of the usual: beyond them it is the text that was misjudged."""
_MEMORY = 300.0
"""Letters after which what was learned first counts for little."""


def letters(text: str) -> int:
    """How many letters are said for `text`; 0 when there is nothing in it to say."""
    return sum(
        _DIGIT if character.isdigit() else 1 if character.isalpha() else 7 if character in "$€£%&@" else 0
        for character in text
    )


@dataclass
class Pace:
    """One voice's: `factor` times the usual length, learned from `heard` letters (no more than count)."""

    factor: float = 1.0
    heard: float = 0.0

    def expected_ms(self, said: int) -> float:
        """How long so many letters take."""
        return 1000 / LETTERS_PER_S * said * self.factor

    def learn(self, said: int, took_ms: float) -> None:
        """So many letters took so long, pauses included."""
        if said <= 0 or took_ms <= 0:
            return
        self.heard = min(self.heard + said, _MEMORY)
        ratio = took_ms * LETTERS_PER_S / 1000 / said
        factor = self.factor + (ratio - self.factor) * min(1.0, said / self.heard)
        self.factor = min(max(factor, _FASTEST), _SLOWEST)
