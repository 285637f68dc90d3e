"""Placement: at which sample each word lies, in speech that came without timestamps.

A coarse forced alignment. A written word becomes the sounds it is made of, in five classes that differ to
any ear (vowel, sonorant, sibilant, soft fricative, stop) with their usual lengths; the audio becomes, every
10 ms, a loudness and a mean frequency. A Viterbi search over sounds with explicit lengths, and over pauses
that punctuation makes likely, finds the cheapest way to lay one upon the other as the audio comes in.
Pure. The spelling rules are English; in another language a letter still tells a vowel from a stop.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from processors.sounds import LONGER, Sound, sounds_of
from processors.spoken import ABBREVIATIONS, spoken

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a word lies, in samples from the first of the stretch; empty for a word with nothing to say."""

    start: int
    end: int


# ---- the audio, as loudness and mean frequency ------------------------------------------------------

_STEP_MS = 10
_SILENT_DB = -80.0  # digital silence, not a noise floor
# Level in dB against loud speech, and mean frequency in octaves against 1 kHz: mean and spread of each sound.
# Textbook acoustics, rounded after looking at eight voices of two unrelated synthesizers.
_MEAN = np.array([[-4.0, -0.6], [-8.0, -1.2], [-15.0, 1.8], [-21.0, 0.8], [-24.0, 0.4], [-52.0, 0.0]])
_SPREAD = np.array([[5.0, 0.8], [6.0, 0.8], [7.0, 0.7], [8.0, 1.1], [11.0, 1.3], [10.0, 1.5]])
_TRUST = 0.3  # of a step's likelihood: neighbouring steps say the same thing again


class Pace:
    """What has been learned of one voice: how fast and how loud it is. One for a call, shared by its stretches."""

    def __init__(self) -> None:
        self.factor = 1.0
        """Lengths of this voice, as a multiple of the usual ones."""
        self._seen_steps = 0.0
        self._levels = np.zeros(100)  # how often each level was heard, in whole dB below full scale
        self._levels[20] = 4  # until it has spoken, a voice is taken to be as loud as most

    def learn(self, expected_steps: float, spoken_steps: float) -> None:
        """A stretch is complete; it took `spoken_steps` where `expected_steps` are usual."""
        self._seen_steps = min(self._seen_steps + expected_steps, 3000.0)
        ratio = min(max(spoken_steps / expected_steps, 0.5), 2.0)
        self.factor *= (ratio / self.factor) ** min(1.0, expected_steps / self._seen_steps)

    def hear(self, level_db: float) -> float:
        """Count a step's level; the level of loud speech, dB: nine tenths of the audible steps are below."""
        if level_db > -60:
            self._levels[min(99, max(0, round(-level_db)))] += 1
        above = np.cumsum(self._levels)
        return -float(np.searchsorted(above, above[-1] / 10))


class _Steps:
    """PCM in chunks of any size → how loud and how high each step of it is."""

    def __init__(self, rate: int) -> None:
        self.samples = rate * _STEP_MS // 1000
        self._rate = rate
        self._rest = b""
        self._last = 0.0
        self._previous: list[Array] = []
        self._floor: Array | None = None

    def feed(self, pcm: bytes, *, last: bool = False) -> list[tuple[float, float]]:
        """The (level in dBFS, octaves against 1 kHz) of each step that can be told; the newest waits for its
        neighbour unless it is the `last`."""
        data = self._rest + pcm
        whole = len(data) // (2 * self.samples)
        self._rest = data[whole * 2 * self.samples :]
        wave = np.frombuffer(data, dtype="<i2", count=whole * self.samples).astype(np.float64) / 32768
        change = np.diff(wave, prepend=self._last)
        self._last = float(wave[-1]) if whole else self._last
        energies = np.stack([(w.reshape(whole, self.samples) ** 2).mean(axis=1) for w in (wave, change)], axis=1)
        told = []
        for energy in [*energies, *self._previous[-1:]] if last else energies:
            self._previous = [*self._previous, energy][-3:]
            if len(self._previous) > 1:
                before, here, after = (
                    self._previous if len(self._previous) == 3 else (self._previous[0], *self._previous)
                )
                told.append(self._measure((before + 2 * here + after) / 4))
        return told

    def _measure(self, energy: Array) -> tuple[float, float]:
        if 10 * np.log10(energy[0] + 1e-12) > _SILENT_DB:
            self._floor = energy if self._floor is None else np.minimum(self._floor * 1.001, energy)
            energy = np.maximum(energy - 1.3 * self._floor, 0.003 * energy)
        radians = 2 * np.arcsin(min(1.0, np.sqrt((energy[1] + 1e-12) / (energy[0] + 1e-10)) / 2))
        return 10 * float(np.log10(energy[0] + 1e-9)), float(np.log2(radians * self._rate / (2 * np.pi * 1000) + 1e-3))


# ---- one laid upon the other ---------------------------------------------------------------------------

_LONGEST = 40  # steps of one sound
_LENGTH_SPREAD = 0.35  # of the logarithm of a sound's length
_NUMBER_SPREAD = 0.5  # … in a number, which every voice reads in its own way
_MUTE = 4.0  # cost of a written sound that is not spoken
_PAUSE_STEP = 0.02  # cost of each step of a pause …
_PAUSE_BEGINS = 3.0  # … and of the first
_PAUSE_CHANCE = {"sentence": 0.9, "clause": 0.7, "": 0.03}
_BAND = 64  # sounds looked at on either side of the likeliest
_NEVER = 1e9


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sound of `steps` steps, give or take a factor of e to the `spread`; or a pause, to be had by `chance`."""

    kind: Sound
    steps: float = 1.0
    spread: float = 1.0
    chance: float = 0.0


class _Lattice:
    """Viterbi search over sounds of explicit length, one column a unit, one row a step."""

    def __init__(self) -> None:
        self.units: list[_Unit] = []
        self.steps = 0
        self.reached = 0
        """Units that are over, on the likeliest path."""
        self._sum = np.zeros(len(Sound))  # cost of all steps, had they been of one kind
        self._back: list[tuple[int, npt.NDArray[np.int16]]] = []  # a row: first column, steps taken by each
        self._kinds = np.zeros(0, dtype=np.intp)
        self._skip = np.zeros(0)
        self._enter = np.zeros(0)
        self._length_costs = np.zeros((_LONGEST, 0))  # the longest first
        self._began = np.zeros((2 * _LONGEST, 0))  # a ring, twice: cost of having begun a unit, less the sum until then
        self._pausing = np.zeros(0)
        self._pause_steps = np.zeros(0, dtype=np.int16)
        self.over = np.zeros(0)
        """For each unit, the cost of all audio so far being just what leads up to its end."""

    def append(self, units: Sequence[_Unit]) -> None:
        """More to be said. What is spoken already may not have reached the end of what was there."""
        pause = np.array([unit.kind is Sound.PAUSE for unit in units])
        steps, spread, chance = (
            np.array([getattr(unit, name) for unit in units]) for name in ("steps", "spread", "chance")
        )
        taken = np.arange(_LONGEST, 0, -1, dtype=np.float64)[:, None]
        length_costs = np.log(taken / steps) ** 2 / (2 * spread**2)

        def widen(array: Array, values: Array | float = _NEVER) -> Array:
            return np.concatenate([array, np.broadcast_to(values, (*array.shape[:-1], len(units)))], axis=-1)

        self.units += units
        self._kinds = np.array([unit.kind for unit in self.units], dtype=np.intp)
        self._skip = widen(self._skip, np.where(pause, -np.log(1 - chance), _MUTE))
        self._enter = widen(self._enter, np.where(pause, _PAUSE_BEGINS - np.log(np.maximum(chance, 1e-3)), _NEVER))
        self._length_costs = widen(self._length_costs, np.where(pause, _NEVER, length_costs))
        self._began, self._pausing, self.over = widen(self._began), widen(self._pausing), widen(self.over)
        self._pause_steps = np.concatenate([self._pause_steps, np.zeros(len(units), dtype=np.int16)])
        if not self.steps:
            self.over = np.cumsum(self._skip)
            self._begin(0, len(self.units), 0.0)

    def branch(self) -> _Lattice:
        """One that can be advanced without changing this one."""
        other = copy.copy(self)
        other._back = self._back[:]
        other._began, other._pausing, other._pause_steps = (
            self._began.copy(),
            self._pausing.copy(),
            self._pause_steps.copy(),
        )
        return other

    def advance(self, costs: Array) -> None:
        """One more step of audio, with its cost for each kind of sound."""
        low, high = max(0, self.reached - _BAND), min(len(self.units), self.reached + _BAND)
        band = slice(low, high)
        self._sum = self._sum + costs
        row = self.steps % _LONGEST + 1
        self._pausing[band] += _PAUSE_STEP
        self._pause_steps[band] += 1
        newest = self._began[row - 1 + _LONGEST, band]
        fresh = newest < self._pausing[band]
        self._pausing[band] = np.where(fresh, newest, self._pausing[band])
        self._pause_steps[band] = np.where(fresh, 1, self._pause_steps[band])
        cases = self._began[row : row + _LONGEST, band] + self._length_costs[:, band]
        shortest = cases.argmin(axis=0)
        sounded = cases[shortest, np.arange(high - low)]
        paused = self._pausing[band] + self._enter[band]
        own = np.minimum(sounded, paused) + self._sum[self._kinds[band]]
        taken = np.where(paused < sounded, self._pause_steps[band], _LONGEST - shortest)
        skipped = np.cumsum(self._skip[band])
        finished = np.minimum.accumulate(own - skipped) + skipped
        self._back.append((low, np.where(finished < own - 1e-9, 0, taken).astype(np.int16)))
        self.over = np.full(len(self.units), _NEVER)
        self.over[band] = finished
        self.steps += 1
        self.reached = low + int(finished.argmin()) + 1
        self._begin(low, high, _NEVER)

    def _begin(self, low: int, high: int, nothing: float) -> None:
        """Write down what it costs to begin each sound now."""
        row = self.steps % _LONGEST
        began = np.full(len(self.units), _NEVER)
        if low == 0 and high:
            began[0] = nothing
        ends = slice(low + 1, min(high + 1, len(self.units)))
        began[ends] = self.over[low : ends.stop - 1] - self._sum[self._kinds[ends]]
        self._began[row] = self._began[row + _LONGEST] = began

    def trace(self, units: int) -> list[int]:
        """At which step each of the first `units` begins, and where the last one ends."""
        step, bounds = self.steps, [self.steps]
        for unit in range(units - 1, -1, -1):
            if step:
                low, taken = self._back[step - 1]
                step -= int(taken[unit - low])
            bounds.append(step)
        return bounds[::-1]


_DROPPED = 8.0  # cost of a vendor having left out the end of a text …
_DROPPED_UNIT = 0.4  # … and of each unit in it, about what one costs that is spoken
_LOOKAHEAD = 8  # units of text there must be beyond the audio before it is looked at for good …
_GLIMPSE = 100  # … and steps looked at beyond, each time the question is asked
_FIRST_PAUSE = _Unit(Sound.PAUSE, chance=0.6)
_USUAL_PAUSE_MS = 150.0
_MARK = re.compile(r"[^\w\s%$€£]+$")


def _mark(word: str) -> str:
    """Which kind of pause the punctuation behind a word asks for."""
    found = _MARK.search(word)
    marks = set(found[0]) if found else set()
    if marks & set(".!?…。！？"):
        return "" if word.lower().rstrip(".") in ABBREVIATIONS else "sentence"
    return "clause" if marks & set(",;:–—-、，") else ""


class Placement:
    """The words of one stretch of speech (one TTS context). Text and audio come in any order, in any pieces.

    `rate` is that of the audio, 8 kHz or more; sounds are told apart by what lies below 4 kHz and above.
    """

    def __init__(self, rate: int, pace: Pace) -> None:
        if rate < 8000:
            raise ValueError(f"rate must be at least 8000 samples a second, not {rate}")
        self._pace = pace
        self._factor = pace.factor
        self._steps = _Steps(rate)
        self._lattice = _Lattice()
        self._pending: list[Array] = []  # the steps' costs that the lattice has not seen
        self._spans: list[tuple[int, int]] = []  # the units of each word
        self._finished = False
        self._placed: list[Placed] | None = None

    def add_text(self, words: Sequence[str]) -> None:
        """More written words, in order, punctuation included."""
        units = [] if self._lattice.units else [_FIRST_PAUSE]
        base = len(self._lattice.units)
        for word, following in pairwise([*words, ""]):
            said = [sound for part in spoken(word) for sound in sounds_of(part)]
            if not said:
                self._spans.append((self._spans[-1][1],) * 2 if self._spans else (0, 0))
                continue
            mark = _mark(word) or ("" if spoken(following) else _mark(following))
            last_vowel = max((index for index, (kind, _) in enumerate(said) if kind is Sound.V), default=0)
            spread = _NUMBER_SPREAD if any(c.isdecimal() for c in word) else _LENGTH_SPREAD
            begin = base + len(units)
            for index, (kind, length_ms) in enumerate(said):
                factor = self._factor * (LONGER if mark and index >= last_vowel else 1.0)
                units.append(_Unit(kind, length_ms * factor / _STEP_MS, spread))
            self._spans.append((begin, base + len(units)))
            units.append(_Unit(Sound.PAUSE, chance=_PAUSE_CHANCE[mark]))
        if words:
            self._lattice.append(units)
            self._advance()

    def add_audio(self, pcm: bytes) -> None:
        """More s16le mono."""
        self._hear(self._steps.feed(pcm))

    def finish(self) -> None:
        """No more audio will come: words without any are empty, at its end. The pace learns."""
        if self._finished:
            return
        self._finished = True
        self._hear(self._steps.feed(b"", last=True))
        if self._lattice.steps:
            ends = self._end()
            bounds = self._lattice.trace(ends)
            spans = [
                (unit.steps / self._factor, end - begin)
                for unit, (begin, end) in zip(self._lattice.units, pairwise(bounds), strict=False)
                if unit.kind is not Sound.PAUSE
            ]
            if spans:
                self._pace.learn(sum(usual for usual, _ in spans), sum(taken for _, taken in spans))

    def words(self) -> list[Placed]:
        """Where each word so far lies, as far as is known; what the audio has not reached yet, at the voice's pace."""
        if self._placed is None:
            self._placed = self._place()
        return self._placed

    def _hear(self, steps: Sequence[tuple[float, float]]) -> None:
        if steps:
            heard = np.array(
                [(max(-60.0, level_db - self._pace.hear(level_db)), octaves) for level_db, octaves in steps]
            )
            odds = np.minimum(((heard[:, None] - _MEAN) / _SPREAD) ** 2, 16).sum(axis=2) / 2
            self._pending += list(_TRUST * (odds + np.log(_SPREAD).sum(axis=1)))
        self._advance()

    def _advance(self) -> None:
        self._placed = None
        lattice, done = self._lattice, 0
        while done < len(self._pending) and (
            lattice.reached + _LOOKAHEAD < len(lattice.units) or (self._finished and lattice.units)
        ):
            lattice.advance(self._pending[done])
            done += 1
        del self._pending[:done]

    def _end(self) -> int:
        """How many units the whole of the audio holds: all, unless their end fits far better elsewhere."""
        whole = len(self._lattice.units)
        left_out = np.arange(whole - 1, -1, -1)
        dropped = np.where(left_out > 0, _DROPPED + _DROPPED_UNIT * left_out, 0.0)
        return int((self._lattice.over + dropped).argmin()) + 1

    def _place(self) -> list[Placed]:
        lattice = self._lattice
        if not lattice.units:
            return [Placed(0, 0)] * len(self._spans)
        if self._finished:
            bounds = lattice.trace(self._end()) if lattice.steps else [0]
        else:
            if self._pending:
                lattice = lattice.branch()
                for costs in self._pending[:_GLIMPSE]:
                    lattice.advance(costs)
            bounds = lattice.trace(lattice.reached)
        at = float(bounds[-1])
        for unit in lattice.units[len(bounds) - 1 :]:
            if not self._finished:
                pause = _USUAL_PAUSE_MS / _STEP_MS if unit.chance > 0.5 else 0.0
                at += pause if unit.kind is Sound.PAUSE else unit.steps
            bounds.append(round(at))
        samples = self._steps.samples
        return [Placed(bounds[begin] * samples, bounds[end] * samples) for begin, end in self._spans]
