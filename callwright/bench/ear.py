"""What the caller really heard: the voice's own audio, found again in the recording. Pure.

Each stretch of sound on the tape is looked for in the sources (normalised cross-correlation), then followed
for as long as the tape goes on saying what the source says. Where it begins and where it stops is the most
likely change point: every sample speaks for or against the source lying beneath the tape (`_Search._evidence`), and
the sum of what they say is largest at the cut.
Nothing here knows what the agent believed it played.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

RATE = 48000
"""Of the tape: what WebRTC and Opus work at."""

_WORK = 16000
"""Where sounds are compared. Speech keeps its waveform through Opus below 8 kHz; above, the codec makes up noise."""
_STEP = RATE // _WORK
_MS = _WORK // 1000

_QUIET = 10 ** (-55 / 20)
"""Amplitude (full scale 1) below which a sound says nothing: it may be the codec's."""
_LOUD_WINDOW = 5 * _MS

_SEEK_MS = (200, 100, 50)
"""What is looked for: long is certain, short is found even when a cut follows at once."""
_GAP = _SEEK_MS[0] * _MS
"""Silence laid around a source, so that a sound may hang over its ends."""
_SEEK_LEAST = 25 * _MS

_ALIKE = 0.85
"""Correlation from which two sounds of `_SEEK_MS` are one: through Opus a sound kept 0.91–0.98 over 500 ms."""
_SURE = 0.85
"""Correlation from which the lag is corrected, which must not happen by chance."""
_TIE = 0.02
"""Candidates this close to the best are the same sound; then the order of the sources decides."""

_LONG = 400 * _MS
"""Two sentences of one voice share no sound so long."""
_BESIDE = 40 * _MS
"""Sound between where a stretch begins and where it might be expected to begin."""
_PLAIN = 150 * _MS
"""A source that goes on for so long needs no comparison with others; less is not taken for a replay."""
_NEAR = 60 * _MS
"""How far beside the expected place a source may go on: concealed packets, and time taken back afterwards."""
_UNKNOWN = 500 * _MS
"""Sound found in no source that may still be the way's doing."""
_PAUSE = 80 * _MS
"""A voice that repeats itself has paused."""

_GOES_ON, _BEGINS, _AGAIN, _PASSES_OVER = range(4)
"""What a stretch may be to the one before it, from the usual to the odd: more of the same source; a later source from
its beginning; some of the same source again; some of any without what comes before it."""

_WINDOW = 20 * _MS
_DRIFT = 3 * _MS // 4
"""Lag change looked for in every window: Opus lays hiss up to 0.6 ms beside the voice it belongs to."""
_JUMP = 20 * _MS
"""Lag change looked for when that fails: a jitter buffer drops or doubles a pitch period."""

_COHERENT = 0.45
"""Coherence of two sounds above which one is taken for the other: voice kept 0.8–0.99 through Opus, hiss 0.5–0.7."""
_CLEAR = 0.3
"""Mean evidence of a stretch above which there is no doubt: 0.33–0.45 undisturbed; 0.1–0.25 where pieces of sound come
with gaps between, and where one vowel was taken for another."""
_PATIENCE = 2.5
"""Evidence against the source (in windows) after which it has surely stopped; silence is 5–6 windows of it."""
_SLACK = _MS
"""Evidence (in samples) that decides nothing: within it, the middle is taken."""
_EDGE = 4 * _MS
"""How far beside the place told by coherence a cut may be."""
_ZEROS = np.zeros(_WORK, np.float32)

_BACK_MS = 100
"""A passage that begins further back than this in what was heard already is a hearing of its own."""

_Wave = NDArray[np.float32]


@dataclass(frozen=True)
class SourceWord:
    """A word and its place in its source, in samples; `start == end` if nothing is said for it."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """What the voice made for one context: s16le mono at `rate`.

    `at_s` is when the voice first sent some of it, in seconds from the beginning of the tape: it cannot have been heard
    before. `text` is all that was asked for, sent or not, where that is known.
    """

    context_id: str
    rate: int
    pcm: bytes
    words: tuple[SourceWord, ...]
    at_s: float
    text: str = ""


@dataclass(frozen=True)
class Passage:
    """Source samples [first, end) sounded without a break, beginning at position `at` of the tape."""

    first: int
    end: int
    at: int


@dataclass(frozen=True)
class Heard:
    """What reached the caller of one source: `heard` has one verdict for each of its words."""

    context_id: str
    passages: tuple[Passage, ...]
    heard: tuple[bool, ...]
    texts: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The words that were heard, in order."""
        return [text for text, heard in zip(self.texts, self.heard, strict=True) if heard]


def listen(sources: Sequence[Source], tape: NDArray[np.int16], *, since: int = 0) -> list[Heard]:
    """What of each source is on the tape (48 kHz mono) from position `since` on, in the order of the sources given.

    Sources sound one after another in the order of their `at_s`; one that was never heard has no passages. What begins
    again from its start is a later source of the same text if one had been sent by then, and else a replay. Every
    sound of that voice on the tape must be in some source: speech that is in none may be taken for short pieces of one
    that was not heard yet.
    """
    order = sorted(range(len(sources)), key=lambda index: sources[index].at_s)
    found = _Search([sources[index] for index in order], tape, since).passages()
    passages = {index: found[place] for place, index in enumerate(order)}
    return [
        Heard(s.context_id, passages[i], words_heard(s.words, passages[i], s.rate), tuple(w.text for w in s.words))
        for i, s in enumerate(sources)
    ]


def words_heard(words: Sequence[SourceWord], passages: Sequence[Passage], rate: int) -> tuple[bool, ...]:
    """Which words were heard: those of which one hearing brought at least half of the samples.

    A hearing is a run of passages each of which goes on where the one before stopped. A word in which nothing is said
    was heard if the word before it was (at the beginning: the word after).
    """
    hearings: list[list[Passage]] = []
    for passage in passages:
        if hearings and passage.first >= hearings[-1][-1].end - _BACK_MS * rate // 1000:
            hearings[-1].append(passage)
        else:
            hearings.append([passage])
    verdicts = [any(2 * _heard_of(word, hearing) >= word.end - word.start for hearing in hearings) for word in words]
    spoken = [index for index, word in enumerate(words) if word.end > word.start]
    before = [
        max((i for i in spoken if i <= index), default=spoken[0] if spoken else -1) for index in range(len(words))
    ]
    return tuple(i >= 0 and verdicts[i] for i in before)


def _heard_of(word: SourceWord, hearing: Sequence[Passage]) -> int:
    """How many samples of the word the passages, which rise but for a small overlap, bring."""
    heard, upto = 0, word.start
    for passage in hearing:
        first, end = max(passage.first, upto), min(passage.end, word.end)
        if end > first:
            heard, upto = heard + end - first, end
    return heard


@dataclass(frozen=True)
class _Match:
    """Tape sample `at` says what sample `first` of source `index` says (both at `_WORK`)."""

    index: int
    first: int
    at: int


@dataclass(frozen=True)
class _Stretch:
    """Source samples [first, end) on the tape from `at` until `until`; surely so only until `sure` (all at `_WORK`).

    `until - at` differs from `end - first` where a jitter buffer stretched time. `likely` is the sum of the evidence.
    """

    index: int
    first: int
    end: int
    at: int
    until: int
    sure: int
    likely: float


class _Search:
    """One pass over the tape."""

    def __init__(self, sources: Sequence[Source], tape: NDArray[np.int16], since: int) -> None:
        self._sources = sources
        self._since = since
        self._waves = [_wave(np.frombuffer(source.pcm, "<i2"), source.rate) for source in sources]
        self._sounds = [_loud(wave) for wave in self._waves]
        self._power = [_power(wave) for wave in self._waves]
        self._tape = _wave(tape[since:], RATE)
        self._tape_power = _power(self._tape)
        self._ready = [round(source.at_s * _WORK) - since // _STEP for source in sources]
        self._spectra: dict[int, NDArray[Any]] = {}
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._loud = _loud(self._tape)

    def passages(self) -> list[tuple[Passage, ...]]:
        """The passages of each source, in the order of the sources."""
        stretches: list[_Stretch] = []
        at = 0
        while (at := self._next_sound(at)) < len(self._tape):
            stretch = self._hear(at, stretches)
            if stretch is None:
                at += _SEEK_LEAST
                continue
            if stretches and stretches[-1].until > stretch.at:
                stretches[-1] = _shortened(stretches[-1], stretch.at)
            stretches.append(stretch)
            at = stretch.until
        return [
            tuple(self._passage(one) for one in stretches if one.index == index) for index in range(len(self._sources))
        ]

    def _hear(self, at: int, before: Sequence[_Stretch]) -> _Stretch | None:
        """What begins to sound at `at`, or goes on sounding; None if it is in no source."""
        length = self._sounding(at)
        counts = sorted({min(length, ms * _MS) for ms in _SEEK_MS if length >= _SEEK_LEAST}, reverse=True)
        for count in counts:
            found = self._followed(self._near(at, count, before), at, before)
            if not any(stretch.until - at >= _PLAIN for stretch in found):
                found += self._followed(self._anywhere(at, count, before), at, before)
            if found:
                best = max(stretch.likely for stretch in found)
                even = [stretch for stretch in found if stretch.likely >= best - _BESIDE * _CLEAR]
                return self._joined(min(even, key=lambda one: self._oddity(one, before)), before)
        return None

    def _followed(self, matches: Sequence[_Match], at: int, before: Sequence[_Stretch]) -> list[_Stretch]:
        """The stretches of these matches that can be believed."""
        stretches = (self._follow(match, before) for match in matches)
        return [one for one in stretches if one.until - at >= _SEEK_LEAST and self._believed(one, before)]

    def _believed(self, stretch: _Stretch, before: Sequence[_Stretch]) -> bool:
        """Whether it begins where a voice would begin or go on, or is long and clear; a stray vowel does neither."""
        kind, _ = self._oddity(stretch, before)
        if kind in (_GOES_ON, _BEGINS):
            return True
        length = stretch.until - stretch.at
        if stretch.likely < _CLEAR * length:
            return False
        if length >= _LONG or kind == _PASSES_OVER:
            return length >= _LONG
        begin, end = before[-1].until, stretch.at
        source = self._sources[stretch.index]
        starts = (round(word.start * _WORK / source.rate) for word in source.words)
        return (
            length >= _PLAIN
            and end - begin - self._tape_sound(begin, end) >= _PAUSE
            and any(self._sound_between(stretch.index, start, stretch.first) <= _BESIDE for start in starts)
        )

    def _oddity(self, stretch: _Stretch, before: Sequence[_Stretch]) -> tuple[int, float]:
        """How strange it would be to hear this now: of what kind, and how much of it, in seconds."""
        index, first = stretch.index, stretch.first
        last = before[-1] if before else _Stretch(0, 0, 0, 0, 0, 0, 0)
        same = bool(before) and index == last.index
        # Sound that was not found in any source may be what lies between, a little longer or shorter.
        unknown = min(self._tape_sound(last.until, stretch.at), _UNKNOWN)
        skipped = self._sound_between(index, last.end if same else 0, first)
        if same and first < last.end:
            return (_GOES_ON if skipped <= _BESIDE else _AGAIN), skipped / _WORK
        if skipped > unknown * 5 // 4 + _BESIDE:
            return _PASSES_OVER, skipped / _WORK
        if same:
            return _GOES_ON, skipped / _WORK
        waited = stretch.at - max(last.until, self._ready[index])
        return _BEGINS, waited / _WORK + 0.2 * (index - last.index)

    def _joined(self, stretch: _Stretch, before: Sequence[_Stretch]) -> _Stretch:
        """The stretch with what the way here spoiled of its source just before it."""
        if not before or before[-1].index != stretch.index or self._oddity(stretch, before)[0] != _GOES_ON:
            return stretch
        lost = max(0, stretch.first - before[-1].end)
        return replace(stretch, first=stretch.first - lost, at=max(before[-1].until, stretch.at - lost))

    def _sound_between(self, index: int, one: int, other: int) -> int:
        """Samples of sound between two places of a source."""
        return _sound(self._sounds[index], *sorted((one, other)))

    def _tape_sound(self, begin: int, end: int) -> int:
        return _sound(self._loud, begin, end)

    def _passage(self, stretch: _Stretch) -> Passage:
        source = self._sources[stretch.index]
        count = len(source.pcm) // 2
        first, end = (min(count, round(place * source.rate / _WORK)) for place in (stretch.first, stretch.end))
        return Passage(first, end, self._since + stretch.at * _STEP)

    def _next_sound(self, at: int) -> int:
        found = np.flatnonzero(self._loud[at // _LOUD_WINDOW :])
        return max(at, (at // _LOUD_WINDOW + int(found[0])) * _LOUD_WINDOW) if len(found) else len(self._tape)

    def _sounding(self, at: int) -> int:
        """Samples from `at` to the next 15 ms of quiet, at most the longest that is looked for."""
        loud = self._loud[at // _LOUD_WINDOW :][: _SEEK_MS[0] * _MS // _LOUD_WINDOW]
        quiet = np.convolve(~loud, np.ones(3), "valid") > 2.5
        return (int(np.argmax(quiet)) if quiet.any() else len(loud)) * _LOUD_WINDOW

    def _near(self, at: int, count: int, before: Sequence[_Stretch]) -> list[_Match]:
        """Where the source that sounded last goes on with what the tape says from `at`."""
        if not before:
            return []
        last = before[-1]
        expected = last.end + min(at - last.until, self._tape_sound(last.until, at) + _BESIDE)
        low = max(0, min(last.end, expected) - _NEAR)
        sought = self._tape[at : at + count]
        count = len(sought)  # the tape may end before
        piece = self._waves[last.index][low : expected + _NEAR + count]
        if len(piece) < count:
            return []
        sums = np.concatenate([[0.0], np.cumsum(piece * piece, dtype=np.float64)])
        alike = _alike(np.correlate(piece, sought, "valid"), sums[count:] - sums[:-count], sought)
        place = int(np.argmax(alike))
        return [_Match(last.index, low + place, at)] if alike[place] >= _ALIKE else []

    def _anywhere(self, at: int, count: int, before: Sequence[_Stretch]) -> list[_Match]:
        """Which sources, and where in them, say what the tape says from `at`."""
        current = before[-1].index if before else 0
        sought = self._tape[at : at + count]
        found = [
            pair
            for index in range(current, len(self._waves))
            if self._ready[index] <= at
            for pair in self._places(index, sought, at)
        ]
        best = max((alike for alike, _ in found), default=0.0)
        return [match for alike, match in found if alike >= best - _TIE]

    def _places(self, index: int, sought: _Wave, at: int) -> list[tuple[float, _Match]]:
        """Where in one source the sought sound is most alike: the best place and those that equal it.

        Every second sample is enough to tell; `_track` finds the rest.
        """
        wave, half = self._waves[index], sought[::2]
        count, gap = len(wave) // 2, _GAP // 2
        size = _fft_size(count + 2 * gap)
        if index not in self._spectra:
            padded = np.pad(wave[: 2 * count : 2], gap)
            self._spectra[index] = np.fft.rfft(padded, size)
            self._sums[index] = np.cumsum(np.pad(padded.astype(np.float64) ** 2, (1, 0)))
        product = np.fft.irfft(np.fft.rfft(half, size).conj() * self._spectra[index], size)[: count + gap]
        power = self._sums[index]
        alike = _alike(product, power[len(half) : len(half) + len(product)] - power[: len(product)], half)
        found: list[tuple[float, _Match]] = []
        while (best := float(alike.max())) >= max(_ALIKE, (found[0][0] if found else 0) - _TIE):
            place = int(np.argmax(alike))
            first = 2 * (place - gap)
            found.append((best, _Match(index, max(0, first), at + max(0, -first))))
            alike[max(0, place - _JUMP // 2) : place + _JUMP // 2] = 0
        return [pair for pair in found if pair[1].at < len(self._tape)]  # one may begin only behind its end

    def _follow(self, match: _Match, before: Sequence[_Stretch]) -> _Stretch:
        """How far the tape says what the source says, backwards and forwards from the match."""
        count = len(self._waves[match.index])
        back = min(match.at - (before[-1].sure if before else 0), match.first)
        places = np.concatenate([np.arange(match.first - back, match.first), self._lay(match)])
        total = np.concatenate([[0.0], np.cumsum(self._evidence(match.index, places, match.at - back))])
        low, high = _plateau(total[back:])
        end = back + high
        if places[end - 1] + 1 < count:
            end = self._cut(match.index, places, match.at - back, back + low, end)
        first_low, first_high = _plateau(-total[: min(end, back + _SEEK_LEAST) + 1])
        begin = 0 if first_low == 0 and back == match.first else (first_low + first_high) // 2
        last = int(places[end - 1]) + 1 if end > begin else int(places[begin])
        at = match.at - back
        likely = float(total[end] - total[begin])
        return _Stretch(match.index, int(places[begin]), last, at + begin, at + end, at + back + low, likely)

    def _cut(self, index: int, places: NDArray[np.int64], at: int, low: int, high: int) -> int:
        """The sample in [low, high] from which the tape no longer follows the source laid beneath it from `at` on.

        A codec rings on for some 2 ms at a quarter of the amplitude, which is still coherent; so here the amplitude
        decides (likelihood of y = gs against y = 0, the gain g taken just before).
        """
        middle, begin, end = (low + high) // 2, max(0, low - _EDGE), min(len(places), high + _EDGE)
        source = self._waves[index][places[max(0, begin - _WINDOW // 2) : end]].astype(np.float64)
        heard = self._tape[at + end - len(source) : at + end]
        known = len(source) - (end - begin)
        energy = float(source[:known] @ source[:known])
        gain = min(1.0, float(heard[:known] @ source[:known]) / energy) if energy > known * _QUIET**2 else 0.0
        if gain < 0.5:
            return middle
        follows = gain * (2 * heard * source - gain * source * source)[known:]
        scale = gain**2 * float(np.mean(source * source)) + _QUIET**2
        first, last = _plateau(np.concatenate([[0.0], np.cumsum(follows / scale)]), _SLACK // 4)
        return begin + (first + last) // 2

    def _lay(self, match: _Match) -> NDArray[np.int64]:
        """The place in the source that lies beneath each sample of the tape from the match on.

        Follows the jitter buffer's small shifts, and goes on for `_PATIENCE` windows after the tape has stopped
        following the source.
        """
        count = len(self._waves[match.index])
        laid: list[NDArray[np.int64]] = []
        lag, at, total, best = match.at - match.first, match.at, 0.0, 0.0
        while at < len(self._tape) and total >= best - _PATIENCE:
            lag, nudge = self._track(match.index, at, lag)
            places = np.arange(at - lag, min(at - lag + _WINDOW, count))[: len(self._tape) - at]
            if not len(places):
                break
            laid.append(places + nudge)
            total += float(self._evidence(match.index, places + nudge, at).sum()) / _WINDOW
            best = max(best, total)
            at += len(places)
        return np.asarray(np.clip(np.concatenate([np.zeros(0, np.int64), *laid]), 0, count - 1))

    def _evidence(self, index: int, places: NDArray[np.int64], at: int) -> NDArray[np.float64]:
        """Per sample, for the tape following the source (y = s): above 0 where it does, below where it does not.

        The coherence 2ys / (s² + y²) is 1 for the same sound, about 0 for another one and for silence on either side;
        what is quiet on both sides says nothing.
        """
        places = np.clip(places, 0, len(self._waves[index]) - 1)
        source, heard = self._waves[index][places], self._tape[at : at + len(places)]
        both = self._power[index][places] + self._tape_power[at : at + len(places)]
        return (2.0 * heard * source - _COHERENT * (heard * heard + source * source)) / (both + _QUIET**2)

    def _track(self, index: int, at: int, lag: int) -> tuple[int, int]:
        """The lag at `at`, from that just before it, and by how much the codec moved this one window beside it."""
        shift, alike = self._shift(index, at, lag, _DRIFT, _WINDOW)
        if alike >= _SURE:
            return lag + shift, 0
        jump, far = self._shift(index, at, lag, _JUMP, 3 * _WINDOW)
        if far >= _SURE and abs(jump) > _DRIFT:
            return lag + jump, 0
        return lag, -shift if alike >= 0.5 else 0

    def _shift(self, index: int, at: int, lag: int, reach: int, count: int) -> tuple[int, float]:
        """The change of lag, up to `reach`, at which the tape is most like the source, and how much so."""
        heard = self._tape[at : at + count]
        wave = self._waves[index]
        first = at - lag - reach
        piece = wave[max(0, first) : first + len(heard) + 2 * reach]
        left = max(0, -first)
        piece = np.concatenate([_ZEROS[:left], piece, _ZEROS[: len(heard) + 2 * reach - left - len(piece)]])
        product = np.correlate(piece, heard, "valid")
        sums = np.concatenate([[0.0], np.cumsum(piece * piece, dtype=np.float64)])
        floor = len(heard) * _QUIET**2
        alike = product / np.sqrt((sums[len(heard) :] - sums[: -len(heard)] + floor) * (float(heard @ heard) + floor))
        # A pure vowel is like itself at every pitch period: the smaller change wins.
        place = int(np.argmax(alike - 0.02 * np.abs(np.arange(-reach, reach + 1)) / reach))
        return reach - place, float(alike[place])


def _wave(pcm: NDArray[np.int16], rate: int) -> _Wave:
    """Samples at the working rate, full scale 1."""
    wave: _Wave = soxr.resample(pcm.astype(np.float32) / 32768, rate, _WORK)
    return wave


def _loud(wave: _Wave) -> NDArray[np.bool_]:
    count = len(wave) // _LOUD_WINDOW
    windows = wave[: count * _LOUD_WINDOW].reshape(count, _LOUD_WINDOW)
    return np.asarray(np.mean(windows * windows, axis=1) > _QUIET**2)


def _power(wave: _Wave) -> NDArray[np.float64]:
    """Mean square around each sample."""
    sums = np.cumsum(np.pad(wave.astype(np.float64) ** 2, (_WINDOW // 2 + 1, _WINDOW // 2)))
    return np.asarray((sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW)


def _sound(loud: NDArray[np.bool_], begin: int, end: int) -> int:
    return int(np.count_nonzero(loud[begin // _LOUD_WINDOW : end // _LOUD_WINDOW])) * _LOUD_WINDOW


def _alike(product: NDArray[Any], energy: NDArray[np.float64], sought: _Wave) -> NDArray[np.float64]:
    """Correlation of a sound with places of a source; 0 where these are much louder or fainter."""
    own = float(sought @ sought)
    fits = (energy > own / 4) & (energy < own * 4)
    return np.where(fits, product / np.sqrt(np.maximum(energy, 1e-9) * max(own, 1e-9)), 0)


def _fft_size(least: int) -> int:
    """The least size of the form 2^n, 3·2^n or 5·2^n that is enough."""
    return min(odd << max(0, (-(-least // odd) - 1).bit_length()) for odd in (1, 3, 5))


def _plateau(total: NDArray[np.float64], slack: float = _SLACK) -> tuple[int, int]:
    """The first and last place around the greatest value to which nothing worth mentioning is lost."""
    top = int(np.argmax(total))
    below = np.flatnonzero(total < total[top] - slack)
    left, right = below[below < top], below[below > top]
    return (int(left[-1]) + 1 if len(left) else 0), (int(right[0]) - 1 if len(right) else len(total) - 1)


def _shortened(stretch: _Stretch, until: int) -> _Stretch:
    """The stretch without what lies after `until`."""
    cut = max(0, stretch.until - until)
    return replace(stretch, end=max(stretch.first, stretch.end - cut), until=until)
