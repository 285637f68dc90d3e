"""What came of one sound over the agent's answer, from the caller's recording alone. Pure.

The aligned recording says which stretch of the voice's own audio sounded when. Where that order breaks (audio is
missing, comes late or comes again), the agent fell silent; pauses that lie in the voice's audio are none.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from callwright.bench.ear import Heard, Passage, Source
from callwright.bench.overlap_set import Kind
from callwright.simulators import sound
from callwright.simulators.sound import Samples
from callwright.simulators.tape import RATE

YIELD_MS = 1500
"""An agent that is silent by then has yielded (metrics.md)."""

BREAK_MS = 150
"""So much more silence than the voice's audio has is a break; jitter buffers stretch by less."""

EDGE_MS = 60
"""A passage's edge may lie this far from the last sound: the line's tail, and a word's soft end."""


@dataclass(frozen=True)
class Moment:
    """Where on the tape (samples): the sound over the answer, and until when its consequences count."""

    onset: int
    until: int


@dataclass(frozen=True)
class Effect:
    """What the sound did to the answer.

    stop_ms    the sound's first loud sample -> the agent's last one before its silence; None: it went on. 0 where
               the agent was pausing anyway
    silent_ms  how much longer the answer's silences were than the voice made them; of those that ended
    resumed    the agent went on with the answer after its last silence
    words/lost of the answer: all, and those never heard of what was still to be said at the sound's first sample
    unjudged   why nothing can be said, "" if it can; the rest is empty then
    """

    kind: Kind
    stop_ms: float | None = None
    silent_ms: float = 0.0
    resumed: bool = False
    words: int = 0
    lost: int = 0
    unjudged: str = ""

    @property
    def yielded(self) -> bool:
        """The agent stopped in time and for good."""
        return self.stop_ms is not None and self.stop_ms <= YIELD_MS and not self.resumed

    @property
    def kept(self) -> bool:
        """It did not stop, or lost nothing by it."""
        return self.stop_ms is None or (self.resumed and not self.lost)


@dataclass(frozen=True)
class _Stretch:
    """A passage of the answer on the tape: samples there, words and places in the voice's audio."""

    source: Source
    passage: Passage
    place: int  # of the source's first word in the answer

    def said(self, at: int) -> int:
        """How many words of the answer have been said when the tape is at `at`."""
        sample = min(self.passage.end, self.passage.first + (at - self.begin) * self.source.rate // RATE)
        return self.place + sum(word.end <= sample for word in self.source.words if _words(word.text))

    @property
    def begin(self) -> int:
        return self.passage.at

    @property
    def end(self) -> int:
        return self.passage.at + self._tape(self.passage.end - self.passage.first)

    def silence(self, first: int, end: int) -> int:
        """Tape samples of its source's [first, end), if no word lies there: only then it is a pause."""
        for word in self.source.words:
            within = min(end, word.end) - max(first, word.start)
            if word.end > word.start and 2 * within >= word.end - word.start:
                return 0
        return self._tape(max(0, end - first))

    def _tape(self, samples: int) -> int:
        return round(samples * RATE / self.source.rate)


@dataclass(frozen=True)
class _Break:
    stop: int
    resume: int | None
    extra: int


def effect(
    kind: Kind, moment: Moment, answer: str, sources: Sequence[Source], heard: Sequence[Heard], tape: Samples
) -> Effect:
    """What the sound at `moment` did to `answer`. `tape` is what the caller received, from position 0."""
    expected = _words(answer)
    by_id = {source.context_id: source for source in sources}
    found: set[int] = set()
    stretches: list[_Stretch] = []
    for one in heard:
        source = by_id[one.context_id]
        at = _place(_words(" ".join(word.text for word in source.words)), expected)
        if at is None:
            continue
        if at == 0 and stretches:
            break  # asked anew, the agent answers anew: that is another answer
        found |= {at + index for index, got in enumerate(_spoken(source, one)) if got}
        stretches += [_Stretch(source, passage, at) for passage in one.passages]
    stretches = sorted((s for s in stretches if s.begin < moment.until), key=lambda s: s.begin)
    if not stretches:
        return Effect(kind, unjudged="the answer was not heard")
    if stretches[0].begin >= moment.onset:
        return Effect(kind, unjudged="the answer had not begun")
    said = max(stretch.said(moment.onset) for stretch in stretches if stretch.begin < moment.onset)
    lost = len(set(range(said, len(expected))) - found)
    cut = len(expected) - 1 not in found
    if not cut and stretches[-1].end <= moment.onset:
        return Effect(kind, unjudged="the answer was over")
    loud = _Loud(tape)
    breaks = [b for b in _breaks(stretches, loud) if b.resume is None or b.resume > moment.onset]
    if cut:
        breaks.append(_Break(loud.last(stretches[-1].end), None, 0))
    if not breaks:
        return Effect(kind, words=len(expected), lost=lost)
    # A true interruption is over at the last silence; a false one is felt from the first.
    counted = breaks[-1] if kind == "interruption" else breaks[0]
    return Effect(
        kind,
        stop_ms=max(0, counted.stop - moment.onset) * 1000 / RATE,
        silent_ms=sum(b.extra for b in breaks) * 1000 / RATE,
        resumed=breaks[-1].resume is not None,
        words=len(expected),
        lost=lost,
    )


def _breaks(stretches: Sequence[_Stretch], loud: _Loud) -> list[_Break]:
    found = []
    for one, after in itertools.pairwise(stretches):
        gap = after.begin - one.end
        if one.source is after.source:
            own = one.silence(one.passage.end, after.passage.first)
        else:
            own = one.silence(one.passage.end, len(one.source.pcm) // 2) + after.silence(0, after.passage.first)
        if gap - own < BREAK_MS * RATE // 1000:
            continue
        found.append(_Break(loud.last(one.end), loud.first(after.begin), gap - own))
    return found


class _Loud:
    """Where a tape is loud."""

    def __init__(self, tape: Samples) -> None:
        self._stretches = sound.stretches(tape, RATE, join_ms=20)

    def last(self, at: int) -> int:
        """The end of the sound that goes on at `at`, or of the last one before it."""
        edge = at + EDGE_MS * RATE // 1000
        before = [(begin, end) for begin, end in self._stretches if begin < edge]
        if not before:
            return at
        return min(before[-1][1], edge)

    def first(self, at: int) -> int:
        """The beginning of the first sound from `at` on."""
        edge = at - EDGE_MS * RATE // 1000
        return next((max(begin, edge) for begin, end in self._stretches if end > edge), at)


def _words(text: str) -> list[str]:
    return [word for word in (re.sub(r"[^\w']", "", word.lower()) for word in text.split()) if word]


def _spoken(source: Source, heard: Heard) -> list[bool]:
    """Which of the source's words were heard, of those that `_words` counts."""
    return [got for word, got in zip(source.words, heard.heard, strict=True) if _words(word.text)]


def _place(words: Sequence[str], answer: Sequence[str]) -> int | None:
    """Where in the answer these words stand, all in a row; None if they are not of the answer."""
    if not words:
        return None
    size = len(words)
    return next((at for at in range(len(answer) - size + 1) if list(answer[at : at + size]) == list(words)), None)
