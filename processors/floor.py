"""The floor: what the agent says, and how much of it the caller has heard. Integers of samples.

Pure: it is told what text went to the voice, what the voice made of it, what was handed to the room and
what has left the room's queue. Everything that depends on what was heard asks here; nothing else guesses.

A word counts as heard when at least half of its audio left for the caller in one go (shared definition of
the benches). A stretch is what the voice makes under one context; an utterance may need several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from callwright.records.events import HeardWord
from callwright.speech import Role, Utterance
from callwright.speech_queue import FADE_MS
from processors.placement import Pace
from processors.stretch import WORD, Run, Stretch, Timed, Token

_SENTENCE = re.compile(r"[^.!?…。？！]*[.!?…。？！]+[\"'”’)\]]*|[^.!?…。？！]+$")

ONSET_MS = 30
"""A word that is said again begins this much earlier, unless the word before still sounds: its onset is soft."""

RELEASE_MS = 30
"""A word that is the last one gets this much more, unless the next begins before: its end is soft."""

NEARLY_MS = 400
"""What is so near its end is let to its end."""

LINE_MS = 600
"""The same where words were placed by their sound alone, all of which is there: a word's end may be missed by more than
40 ms, and then the word is heard to break off."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is left of an utterance that is over."""

    utterance: Utterance
    heard: str
    unheard: str
    words: tuple[HeardWord, ...]


class Floor:
    """What the agent says in one call. `rate` in Hz is the one of the voice and of the room."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._pace = Pace()
        self._stretches: dict[str, Stretch] = {}
        self._open: list[Utterance] = []
        self._again: dict[Utterance, int] = {}  # from here on its text goes to the voice once more
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
            found = self._stretches[stretch] = Stretch(stretch, utterance, self.rate, self._pace)
        start = self._again.pop(utterance, len(utterance.spoken))
        utterance.spoken = utterance.spoken[:start] + words
        utterance.sent = end
        found.tokens += [Token(m.start(), m.end()) for m in WORD.finditer(utterance.spoken, start)]
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

    def unsaid(self, stretch: str, samples: int) -> str | None:
        """What of its text does not stand with its first `samples`; None where the voice told of no words."""
        found = self._stretches.get(stretch)
        if found is None or found.estimated or not found.tokens:
            return None
        count, _ = found.stands(samples, self._played)
        spoken = found.utterance.spoken
        return spoken[found.tokens[count].start : found.tokens[-1].end] if count < len(found.tokens) else ""

    def withdraw(self, stretch: str, samples: int) -> tuple[int, int] | None:
        """The voice makes only the first `samples` of it: what it did not say is to be sent again, as another stretch.

        (characters of `utterance.spoken` that stand, sample at which the stretch now ends); None if it is unknown. A
        word that was broken off is sent again, and counts as heard meanwhile if half of it was.
        """
        found = self._stretches.get(stretch)
        if found is None:
            return None
        count, offset = found.stands(samples, self._played)
        utterance = found.utterance
        at = found.tokens[count].start if count < len(found.tokens) else len(utterance.spoken)
        utterance.sent = max(0, utterance.sent - (len(utterance.spoken) - at))
        found.withdraw(count, offset, self._played)
        utterance.spoken = utterance.spoken[: max(at, found.tokens[-1].end if found.tokens else 0)]
        self._again[utterance] = at
        return at, offset

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
            found.runs.append(Run(offset, samples, index, position))

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

    def reached(self, stretch: str) -> int:
        """How many samples of the stretch were handed to the room, as far as they went; 0 if none."""
        found = self._stretches.get(stretch)
        return found.runs[-1].first + found.runs[-1].count if found and found.runs else 0

    def word_end_after(self, stretch: str, offset: int) -> int:
        """Where the stretch may end if it is not to go on past sample `offset` for longer than it must.

        That is the end of the word being said there, or of the last word if it is near; `offset` itself between
        two words or before the first. What is not known to be a word's end is never given: then it is all that
        was made.
        """
        found = self._stretches.get(stretch)
        if found is None or offset == 0:
            return 0
        if not found.tokens:
            return min(found.samples, offset + self.rate * FADE_MS // 1000)
        if found.estimated and found.closed and found.samples - offset < self.rate * LINE_MS // 1000:
            return found.samples
        places = found.places(self._played)
        release = self.rate * RELEASE_MS // 1000
        said = [place for place in places if place is not None and place.end > place.start]
        whole = bool(said) and places[-1] is not None and found.closed
        if whole and said[-1].end - offset < self.rate * NEARLY_MS // 1000:
            return min(found.samples, max(offset, said[-1].end + release))
        for place, after in zip(said, [*said[1:], None], strict=True):
            limit = min(found.samples, place.end + release, *([after.start] if after else []))
            if offset <= max(place.start, limit):
                return offset if offset <= place.start else max(offset, limit)
        return max(offset, found.samples)

    # -- when it is over

    def over(self, utterance: Utterance) -> Settled | None:
        """All of it that will ever be played was played; what is left. None when it was over before."""
        if utterance not in self._open:
            return None
        self._open.remove(utterance)
        settled = self._settle(utterance)
        self._again.pop(utterance, None)
        for name in [name for name, one in self._stretches.items() if one.utterance is utterance]:
            del self._stretches[name]
        return settled

    def cut(self) -> list[Settled]:
        """The floor is taken: everything open is over where it stands."""
        return [settled for utterance in list(self._open) if (settled := self.over(utterance))]

    def _settle(self, utterance: Utterance) -> Settled:
        ranges = self._heard_ranges(utterance)
        at = ranges[-1][1] if ranges else 0
        again = self._again.get(utterance, len(utterance.spoken))
        rest = utterance.spoken[at:again] + utterance.text[utterance.sent + max(0, at - again) :]
        unheard = rest.strip() if any(letter.isalnum() for letter in rest) else ""
        return Settled(utterance, self.heard(utterance), unheard, self.words(utterance))

    def words(self, utterance: Utterance) -> tuple[HeardWord, ...]:
        """The words heard so far and where on the call's time line they sounded."""
        found: dict[int, HeardWord] = {}  # a word said again is the one that was said in full
        for stretch in self._of(utterance):
            places = stretch.places(self._played)
            for number in range(stretch.heard(self._played)):
                token, place = stretch.tokens[number], places[number]
                if place is None or place.end == place.start:
                    continue
                start = stretch.position(place.start, self._played)
                length = place.end - place.start
                word = utterance.spoken[token.start : token.end]
                found[token.start] = HeardWord(word, start, start + length, stretch.estimated)
        return tuple(found.values())

    def _of(self, utterance: Utterance) -> list[Stretch]:
        return [one for one in self._stretches.values() if one.utterance is utterance and one.tokens]


def _joined(text: str, ranges: list[tuple[int, int]]) -> str:
    """The ranges of `text` as one string; what lies between two of them is kept if it is only white space."""
    joined = ""
    at = 0
    for begin, end in ranges:
        start = max(begin, at)  # a word that was broken off was said again
        gap = text[at:start]
        joined += gap if not gap.strip() else " " if joined else ""
        joined += text[start:end]
        at = end
    return joined.strip()
