"""The floor: what the agent says, and how much of it the caller has heard. Integers of samples.

Pure: it is told what text went to the voice, what the voice made of it, what was handed to the room and
what has left the room's queue. Everything that depends on what was heard asks here; nothing else guesses.

A word counts as heard when at least half of its audio left for the caller in one go (shared definition of
the benches). A stretch is what the voice makes under one context; an utterance may need several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cache

from callwright.records.events import HeardWord
from callwright.speech import Role, Utterance
from processors.placement import Pace, Placed, Placement, spoken

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")
_SENTENCE = re.compile(r"[^.!?…。？！]*[.!?…。？！]+[\"'”’)\]]*|[^.!?…。？！]+$")

ONSET_MS = 30
"""A word that is said again begins this much earlier, unless the word before still sounds: its onset is soft."""


LETTERS_PER_S = 14
"""Of ordinary speech: 150 words a minute of five letters and a space are 15; where nothing better is known."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What the voice says about its own audio: this text sounds from `start`; `end` None where it does not say.

    Samples from the first one of the stretch. The text may be a word, a sentence or a part of a word.
    """

    text: str
    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What is left of an utterance that is over."""

    utterance: Utterance
    heard: str
    unheard: str
    words: tuple[HeardWord, ...]

    @property
    def interrupted(self) -> bool:
        return bool(self.unheard)


@dataclass(frozen=True, slots=True)
class _Token:
    """One word of the utterance, as the model spelled it: characters [start, end) of its text."""

    start: int
    end: int


@dataclass(slots=True)
class _Run:
    """Samples [first, first + count) of a stretch, handed over as numbers `index`…, to sound at `position`."""

    first: int
    count: int
    index: int
    position: int


@dataclass(eq=False)
class _Stretch:
    """One context of the voice: the text that went in, the audio and times that came out, what was played."""

    name: str
    utterance: Utterance
    rate: int
    pace: Pace
    tokens: list[_Token] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    pcm: bytearray = field(default_factory=bytearray)
    closed: bool = False
    runs: list[_Run] = field(default_factory=list)
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

    def places(self, played: int) -> list[Placed | None]:
        """Where each token lies; None where nothing is known of it yet."""
        words = [self.utterance.spoken[token.start : token.end] for token in self.tokens]
        if not self.timed:
            self._listen(words, played)
            return list(self._placement.words()) if self._placement else [None] * len(words)
        if self._places is None:
            self._places = self._by_times(words)
        return self._places

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
            for word in _TOKEN.findall(item.text)
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


class Floor:
    """What the agent says in one call. `rate` in Hz is the one of the voice and of the room."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._pace = Pace()
        self._stretches: dict[str, _Stretch] = {}
        self._open: list[Utterance] = []
        self._played = 0

    # -- what is said

    def open(self, role: Role, turn: int, *, remembered: bool = True) -> Utterance:
        """A new utterance, queued behind those that are open."""
        utterance = Utterance(role, turn, remembered)
        self._open.append(utterance)
        return utterance

    @property
    def busy(self) -> bool:
        """Whether the agent has something to say that is not over."""
        return bool(self._open)

    def is_open(self, utterance: Utterance) -> bool:
        return utterance in self._open

    @property
    def speaking(self) -> list[Utterance]:
        """What is open and has reached the voice, oldest first."""
        with_voice = {id(stretch.utterance) for stretch in self._stretches.values()}
        return [utterance for utterance in self._open if id(utterance) in with_voice]

    def sent(self, stretch: str, utterance: Utterance, words: str, *, end: int) -> None:
        """`words` went to the voice under the context `stretch`; they stand for `utterance.text` up to `end`."""
        if utterance not in self._open:
            return
        found = self._stretches.get(stretch)
        if found is None:
            found = self._stretches[stretch] = _Stretch(stretch, utterance, self.rate, self._pace)
        start = len(utterance.spoken)
        utterance.spoken += words
        utterance.sent = end
        found.tokens += [_Token(m.start(), m.end()) for m in _TOKEN.finditer(utterance.spoken, start)]
        found.changed()

    def utterance(self, stretch: str) -> Utterance | None:
        """What that stretch is part of."""
        found = self._stretches.get(stretch)
        return None if found is None else found.utterance

    def stretches(self, utterance: Utterance) -> list[str]:
        """The stretches that are parts of it."""
        return [name for name, one in self._stretches.items() if one.utterance is utterance]

    def timed(self, stretch: str, words: Sequence[Timed]) -> None:
        """The voice says where its words lie; they come in order.

        A voice whose connection was made anew counts from 0 again: what it times lies behind what it had made.
        """
        found = self._stretches.get(stretch)
        if found is None or not words:
            return
        if found.timed and words[0].start + found.shift < found.timed[-1].start:
            found.shift = found.samples
        found.timed += [
            Timed(word.text, word.start + found.shift, None if word.end is None else word.end + found.shift)
            for word in words
        ]
        found.changed()

    def received(self, stretch: str, pcm: bytes) -> None:
        """The voice has made more audio, s16le mono."""
        if (found := self._stretches.get(stretch)) is not None:
            found.pcm += pcm
            if found.timed and found.timed[-1].end is None:
                found.changed()

    def closed(self, stretch: str) -> None:
        """The voice has made all it will make of that stretch."""
        if (found := self._stretches.get(stretch)) is not None:
            found.closed = True
            found.changed()

    # -- what is heard

    def submitted(self, stretch: str, offset: int, samples: int, *, index: int, position: int) -> None:
        """Samples of a stretch were handed to the room as numbers `index`…; they will sound at `position`."""
        found = self._stretches.get(stretch)
        if found is None:
            return
        last = found.runs[-1] if found.runs else None
        contiguous = last is not None and (
            last.first + last.count == offset
            and last.index + last.count == index
            and last.position + last.count == position
        )
        if last is not None and contiguous:
            last.count += samples
        else:
            found.runs.append(_Run(offset, samples, index, position))

    def played(self, index: int) -> None:
        """All samples before number `index` have left for the caller."""
        self._played = index

    def silenced(self, index: int) -> None:
        """The room's queue was emptied: nothing from number `index` on was heard, and the count goes on there."""
        self._played = index
        for stretch in self._stretches.values():
            for run in stretch.runs:
                run.count = max(0, min(run.count, index - run.index))
            stretch.runs = [run for run in stretch.runs if run.count]

    def heard(self, utterance: Utterance) -> str:
        """The words of it that were heard so far, in the model's own spelling."""
        return _joined(utterance.spoken, self._heard_ranges(utterance))

    def _heard_ranges(self, utterance: Utterance) -> list[tuple[int, int]]:
        ranges = []
        for stretch in self._of(utterance):
            if count := stretch.heard(self._played):
                ranges.append((stretch.tokens[0].start, stretch.tokens[count - 1].end))
        return ranges

    def saying(self) -> str:
        """The sentence that is being heard; "" when none is."""
        for stretch in reversed(self._stretches.values()):
            if count := stretch.heard(self._played):
                at = stretch.tokens[count - 1].start
                for sentence in _SENTENCE.finditer(stretch.utterance.spoken):
                    if sentence.start() <= at < sentence.end():
                        return sentence.group().strip()
        return ""

    def resume_point(self) -> tuple[str, int] | None:
        """(stretch, offset) of the word that was broken off, to be said again from there; None: just go on."""
        sounded = [stretch for stretch in self._stretches.values() if stretch.runs]
        if not sounded:
            return None
        stretch = max(sounded, key=lambda one: one.runs[-1].index)
        stopped_at = stretch.runs[-1].first + stretch.runs[-1].count
        count = stretch.heard(self._played)
        places = stretch.places(self._played)
        if count >= len(places) or (broken := places[count]) is None or broken.start >= stopped_at:
            return None
        before = places[count - 1] if count else None
        onset = broken.start - self.rate * ONSET_MS // 1000
        return stretch.name, max(0, before.end if before else 0, onset)

    # -- when it is over

    def over(self, utterance: Utterance) -> Settled | None:
        """All of it that will ever be played was played; what is left. None when it was over before."""
        if utterance not in self._open:
            return None
        self._open.remove(utterance)
        settled = self._settle(utterance)
        for name in [name for name, one in self._stretches.items() if one.utterance is utterance]:
            del self._stretches[name]
        return settled

    def cut(self) -> list[Settled]:
        """The floor is taken: everything open is over where it stands."""
        return [settled for utterance in list(self._open) if (settled := self.over(utterance))]

    def _settle(self, utterance: Utterance) -> Settled:
        ranges = self._heard_ranges(utterance)
        rest = (utterance.spoken[ranges[-1][1] :] if ranges else utterance.spoken) + utterance.text[utterance.sent :]
        unheard = rest.strip() if any(letter.isalnum() for letter in rest) else ""
        return Settled(utterance, self.heard(utterance), unheard, self.words(utterance))

    def words(self, utterance: Utterance) -> tuple[HeardWord, ...]:
        """The words heard so far and where on the call's time line they sounded."""
        found = []
        for stretch in self._of(utterance):
            places = stretch.places(self._played)
            for number in range(stretch.heard(self._played)):
                token, place = stretch.tokens[number], places[number]
                if place is None or place.end == place.start:
                    continue
                start = stretch.position(place.start, self._played)
                length = place.end - place.start
                found.append(
                    HeardWord(utterance.spoken[token.start : token.end], start, start + length, stretch.estimated)
                )
        return tuple(found)

    def _of(self, utterance: Utterance) -> list[_Stretch]:
        return [one for one in self._stretches.values() if one.utterance is utterance and one.tokens]


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


def _joined(text: str, ranges: list[tuple[int, int]]) -> str:
    """The ranges of `text` as one string; what lies between two of them is kept if it is only white space."""
    joined = ""
    at = 0
    for start, end in ranges:
        gap = text[at:start]
        joined += gap if not gap.strip() else " " if joined else ""
        joined += text[start:end]
        at = end
    return joined.strip()
