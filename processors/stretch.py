"""A stretch: what the voice makes under one context. Where its words lie, and how much of it was played.

Pure. All counts are samples from the stretch's first one, if not said otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cache

from callwright.pace import LETTERS_PER_S
from callwright.speech import Utterance
from processors.placement import Pace, Placed, Placement
from processors.spoken import spoken

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")
"""A word as it is written; in scripts without spaces each character is one."""


_MARKS = tuple(",.;:!?…–—。，！？")


@dataclass(frozen=True, slots=True)
class Timed:
    """What the voice says about its own audio: this text sounds from `start`; `end` None where it does not say.

    Samples from the first one of the stretch. The text may be a word, a sentence or a part of a word.
    """

    text: str
    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One word of the utterance, as the model spelled it: characters [start, end) of its text."""

    start: int
    end: int


@dataclass(slots=True)
class Run:
    """Samples [first, first + count) of a stretch, handed over as numbers `index`…, to sound at `position`."""

    first: int
    count: int
    index: int
    position: int


@dataclass(eq=False)
class Stretch:
    """One context of the voice: the text that went in, the audio and times that came out, what was played."""

    name: str
    utterance: Utterance
    rate: int
    pace: Pace
    tokens: list[Token] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    pcm: bytearray = field(default_factory=bytearray)
    closed: bool = False
    runs: list[Run] = field(default_factory=list)
    shift: int = 0
    count: int = 0
    _placement: Placement | None = None
    _fed: tuple[int, int] = (0, 0)
    _places: list[Placed | None] | None = None

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2

    @property
    def estimated(self) -> bool:
        return not self.timed

    def changed(self) -> None:
        self._places = None

    @property
    def begin(self) -> int:
        """The first sample that is played: silence before it may have been dropped."""
        return self.runs[0].first if self.runs else 0

    def places(self, played: int) -> list[Placed | None]:
        """Where each token lies in what is played; None where nothing is known of it yet."""
        words = [self.utterance.spoken[token.start : token.end] for token in self.tokens]
        if not self.timed:
            self._listen(words, played)
            places = list(self._placement.words()[: len(words)]) if self._placement else [None] * len(words)
            return [self._audible(place) for place in places]
        if self._places is None:
            self._places = self._by_times(words)
        return [self._audible(place) for place in self._places]

    def _audible(self, place: Placed | None) -> Placed | None:
        """The part of a word that is played; one that is said to lie in dropped silence comes with the first sample."""
        begin = self.begin
        if place is None or place.start >= begin:
            return place
        return Placed(begin, max(place.end, begin + (place.end > place.start)))

    def _listen(self, words: list[str], played: int) -> None:
        """Let the placement hear what was played and a second more, no faster: its work is never a stall."""
        if self._placement is None:
            self._placement = Placement(self.rate, self.pace)
        texts, sounds = self._fed
        if words[texts:]:
            self._placement.add_text(words[texts:])
        reach = min(self.samples, max((end for _, end, _ in self.hearings(played)), default=0) + self.rate)
        if reach > sounds:
            self._placement.add_audio(bytes(self.pcm[2 * sounds : 2 * reach]))
            if self.closed and reach == self.samples:
                self._placement.finish()
        self._fed = (len(words), max(reach, sounds))

    def _by_times(self, words: list[str]) -> list[Placed | None]:
        mine = [(said, token) for token, word in enumerate(words) for said in _said(word)]
        theirs = [
            (said, number)
            for number, item in enumerate(self.timed)
            for word in WORD.findall(item.text)
            for said in _said(word)
        ]
        found: dict[int, list[int]] = {}  # token → the entries of `timed` in which it was found
        left = [said for said, _ in mine], [said for said, _ in theirs]
        for what, a, b, c, d in SequenceMatcher(None, *left, autojunk=False).get_opcodes():
            if what == "replace" and b == len(mine) and d == len(theirs):  # the rest of the words may still come
                b = a + _as_long(left[0][a:b], sum(map(len, left[1][c:d])))
            if what in ("equal", "replace"):
                for k in range(b - a):
                    found.setdefault(mine[a + k][1], []).append(theirs[c + k * (d - c) // (b - a)][1])
        last = max(found, default=0)
        if not self.closed and len(found.get(last, ())) < len(_said(words[last])):
            found.pop(last, None)  # "ninety", but not yet "dollars"
        return self._filled(words, self._spans(words, found))

    def _spans(self, words: list[str], found: dict[int, list[int]]) -> list[Placed | None]:
        """Each token from its first to its last entry; those of one entry share it by their sound."""
        places: list[Placed | None] = [None] * len(words)
        sharing: dict[int, list[int]] = {}
        for token, numbers in found.items():
            if min(numbers) == max(numbers):
                sharing.setdefault(numbers[0], []).append(token)
            else:
                places[token] = Placed(self.timed[min(numbers)].start, self._end(max(numbers)))
        for number, tokens in sharing.items():
            inside = self._within([words[token] for token in tokens], self.timed[number].start, self._end(number))
            for token, place in zip(tokens, inside, strict=True):
                places[token] = place
        return places

    def _filled(self, words: list[str], places: list[Placed | None]) -> list[Placed | None]:
        """Tokens that the voice passed over have no length; those it has not come to stay unknown.

        If it has ended and there is sound enough left for them, it only did not say where they lie.
        """
        known = [number for number, place in enumerate(places) if place is not None]
        for number in range(known[-1] if known else 0):
            if places[number] is None:
                before = places[number - 1] if number else None
                at = before.end if before else 0
                places[number] = Placed(at, at)
        rest = words[known[-1] + 1 :] if known else []
        last = places[known[-1]] if known else None
        letters = sum(len(said) for word in rest for said in _said(word))
        if last and rest and self.closed and 2 * (self.samples - last.end) >= self.rate * letters // LETTERS_PER_S:
            places[known[-1] + 1 :] = self._within(rest, last.end, self.samples)
        return places

    def _end(self, number: int) -> int:
        item = self.timed[number]
        if item.end is not None:
            return max(item.start, item.end)
        if number + 1 < len(self.timed):
            return max(item.start, self.timed[number + 1].start)
        return max(
            item.start, min(self.samples, item.start + self.rate * len(item.text) // LETTERS_PER_S) or item.start
        )

    def _within(self, words: list[str], start: int, end: int) -> list[Placed]:
        """Words of one timed span; a sentence's are placed by its sound."""
        if len(words) == 1:
            return [Placed(start, end)]
        inside = Placement(self.rate, self.pace)
        inside.add_text(words)
        inside.add_audio(bytes(self.pcm[2 * start : 2 * end]))
        if self.samples >= end:
            inside.finish()
        return [Placed(start + place.start, start + place.end) for place in inside.words()]

    def stands(self, samples: int, played: int) -> tuple[int, int]:
        """(tokens, offset): the voice makes only `samples`; so many tokens stand with them, which end at `offset`.

        The token that was broken off does not stand. Where words were placed by their sound alone, those back to the
        last mark of punctuation do not either, unless they were heard: better said again than lost.
        """
        places = self.places(played)
        count = 0
        slack = self.rate * 20 // 1000
        while count < len(places) and (place := places[count]) is not None and place.end <= samples + slack:
            count += 1
        if self.estimated and count < len(places):
            heard, clause = self.heard(played), count
            while clause > heard and not self._ends_clause(clause - 1):
                clause -= 1
            count = max(clause, heard)
        if count == len(self.tokens):
            return count, samples
        following, before = places[count], places[count - 1] if count else None
        end = following.start if following else before.end if before and self.timed else samples
        return count, min(samples, end)

    def withdraw(self, count: int, offset: int, played: int) -> None:
        """Only the first `count` tokens are part of it, and nothing from sample `offset` on.

        The token that was broken off stays: if half of it was heard, it counts until it is said again.
        """
        places = self.places(played)
        broken = places[count] if self.timed and count < len(places) else None
        if broken is not None and broken.start < self.samples:
            count, offset = count + 1, broken.end
        del self.tokens[count:]
        self.timed = [one for one in self.timed if one.start < offset]
        if broken is not None and self.timed and self.timed[-1].end is None:
            self.timed[-1] = replace(self.timed[-1], end=offset)
        self.closed = True
        self.count = min(self.count, count)
        self.changed()

    def _ends_clause(self, token: int) -> bool:
        return self.utterance.spoken[self.tokens[token].start : self.tokens[token].end].rstrip("\"'”’)]")[-1:] in _MARKS

    # -- what was played

    def hearings(self, played: int) -> list[tuple[int, int, int]]:
        """(first, end, position of first) of what left for the caller without a jump, oldest first."""
        found: list[tuple[int, int, int]] = []
        for run in self.runs:
            count = min(run.count, played - run.index)
            if count <= 0:
                continue
            if found and found[-1][1] == run.first:
                found[-1] = (found[-1][0], run.first + count, found[-1][2])
            else:
                found.append((run.first, run.first + count, run.position))
        return found

    def heard(self, played: int) -> int:
        """How many tokens, counted from the first, were heard."""
        hearings = self.hearings(played)
        heard = 0
        for number, place in enumerate(self.places(played)):
            if place is None:
                break
            if place.end == place.start:
                heard += heard == number and number > 0  # nothing to say: goes with the word before
            elif any(2 * (min(place.end, end) - max(place.start, first)) >= place.end - place.start
                     for first, end, _ in hearings):  # fmt: skip
                heard = number + 1
        self.count = max(self.count, heard)  # what was heard is not taken back by a better estimate
        return self.count

    def position(self, offset: int, played: int) -> int:
        """Where on the call's time line sample `offset` last sounded."""
        for run in reversed(self.runs):
            if run.first <= offset < run.first + run.count and run.index < played:
                return run.position + offset - run.first
        last = self.runs[-1]
        return last.position + last.count


@cache
def _said(word: str) -> tuple[str, ...]:
    """The words that are said for a written one; one without letters, for a dash, has none."""
    return tuple(spoken(word)) or ((word.casefold(),) if any(letter.isalnum() for letter in word) else ())


def _as_long(words: list[str], letters: int) -> int:
    """How many of `words`, at least one, have together about so many letters."""
    total = 0
    for number, word in enumerate(words):
        if number and total + len(word) / 2 > letters:
            return number
        total += len(word)
    return len(words)
