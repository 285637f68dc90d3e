"""What stands around the voices in a test: a floor without a room, and somebody who writes things down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from callwright.speech import Piece, Role, Say, Utterance
from callwright.stage import StageConfig
from processors.floor import Floor
from processors.stretch import Timed


class Keeper:
    """A floor without a room: everything that is made is there to be played, and counts as played."""

    def __init__(self, rate: int, word_ms: int | None = None) -> None:
        """`word_ms`: how long each word is, where the voice tells only where it begins."""
        self.floor = Floor(rate)
        self._rate = rate
        self._word_ms = word_ms
        self.stretches: list[tuple[str, str]] = []
        self.trimmed: dict[str, int] = {}

    def utterance(self, role: Role, text: str = "") -> Utterance:
        made = self.floor.open(role, 1)
        made.text = text
        return made

    def sent(self, stretch: str, cause: Piece | Say) -> None:
        self.stretches.append((stretch, cause.text))
        assert cause.utterance
        end = cause.end if isinstance(cause, Piece) else len(cause.text)
        self.floor.sent(stretch, cause.utterance, cause.text, end=end)

    def timed(self, stretch: str, words: Sequence[tuple[str, float, float | None]]) -> None:
        timed = []
        for word, at, end in words:
            ends = at + self._word_ms / 1000 if self._word_ms else end
            timed.append(Timed(word, round(at * self._rate), None if ends is None else round(ends * self._rate)))
        self.floor.timed(stretch, timed)

    def unsaid(self, stretch: str, samples: int) -> str | None:
        return self.floor.unsaid(stretch, samples)

    def withdraw(self, stretch: str, samples: int) -> int | None:
        found = self.floor.withdraw(stretch, samples)
        if found is None:
            return None
        self.trimmed[stretch] = found[1]
        return found[0]


@dataclass
class Notes:
    """The witness."""

    asked: list[str] = field(default_factory=list)
    ended: list[str | None] = field(default_factory=list)
    troubles: list[tuple[str, str, str, str | None]] = field(default_factory=list)
    used: list[tuple[str, int]] = field(default_factory=list)
    gave_up: list[tuple[int, bool, str]] = field(default_factory=list)
    sounded: int = 0

    def voice_asked(self, voice: StageConfig) -> None:
        self.asked.append(voice.model)

    def voice_sounds(self) -> None:
        self.sounded += 1

    def voice_ended(self, error: str | None) -> None:
        self.ended.append(error)

    def voice_used(self, voice: StageConfig, characters: int) -> None:
        self.used.append((voice.model, characters))

    def voice_troubled(self, voice: StageConfig, what: str, waited_ms: int, action: str, category: str | None) -> None:
        self.troubles.append((voice.model, what, action, category))
