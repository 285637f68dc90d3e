"""Lines rendered beforehand, found on the tape wherever they were played, however often. Pure.

A voice that streams is heard once, in the order in which it was asked; a line from a store is not, so that it is
looked for by itself: where its first sounds lie (normalised cross-correlation), then how far the tape goes on saying
it (`ear.listen`). What was found is silenced on the tape, so that nothing is found twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from callwright.bench import ear
from callwright.bench.ear import Heard, Passage, Source
from callwright.simulators import sound
from callwright.simulators.sound import Samples
from callwright.simulators.tape import RATE

_WORK = 8000
"""Where lines are looked for (Hz); the ear then hears them at its own rate."""

SEEK_MS = 250
"""Of a line's first sound that is looked for: shorter pieces are alike by chance."""

SURE_MS = 600
"""Two sentences of one voice share no sound so long; a line heard for so long, or whole, is that line."""

LEAST_MS = 200
"""Less than this of a line is not taken for the line."""

BREAK_MS = 30
"""A line from a store is played without a break; jitter buffers shift it by less."""

_WORD = re.compile(r"\w+")
_ALIKE = 0.8
_MARGIN_S = 0.05


def beforehand(source: Source) -> bool:
    """Whether the source is a line that was rendered beforehand: no model wrote it."""
    return source.context_id.startswith("batch-")  # `Produced.context_id`


def listen(streamed: Sequence[Source], lines: Sequence[Source], tape: Samples) -> list[tuple[Source, Heard]]:
    """What was heard of the streamed sources, each once, and every playing of every line, as a source of its own.

    A playing's `at_s` is when it began to sound: from a store it was there before. Of one that was cut within
    `SURE_MS` the sound may be missed, or taken for the beginning of the answer after it.
    """
    sure, rest = _played(lines, tape, SURE_MS)
    streams = list(zip(streamed, ear.listen(streamed, rest), strict=True))
    short, _ = _played(lines, _without(streams, rest), LEAST_MS)
    return [*streams, *sure, *short]


def without(lines: Sequence[Source], streamed: Sequence[Source], tape: Samples) -> Samples:
    """The tape without the playings of `lines`, of which only what is cut within `SURE_MS` may be left.

    Where the model has the same words said, with the same sound, time tells them apart: a playing that began before
    the voice had sent them is the line's.
    """
    played, _ = _played(lines, tape, SURE_MS)
    own: set[int] = set()
    others = []
    for line, heard in sorted(played, key=lambda one: one[0].at_s):
        may_be = (at for at, one in enumerate(streamed) if one.at_s <= line.at_s and at not in own and _says(one, line))
        if (source := next(may_be, None)) is None:
            others.append((line, heard))
        else:
            own.add(source)
    return _without(others, tape)


def _says(source: Source, line: Source) -> bool:
    said, wanted = (f" {' '.join(_WORD.findall(one.text.casefold()))} " for one in (source, line))
    return wanted in said


def _played(lines: Sequence[Source], tape: Samples, least_ms: int) -> tuple[list[tuple[Source, Heard]], Samples]:
    """The playings of which so much was heard, or all; and the tape without them."""
    found: list[tuple[Source, Heard]] = []
    candidates = sorted((at, number) for number, line in enumerate(lines) for at in _places(line, tape))
    while candidates:
        here = [one for one in candidates if one[0] - candidates[0][0] < SEEK_MS / 1000]
        candidates = candidates[len(here) :]
        heard = [one for at, number in here if (one := _hear(lines[number], at, tape, least_ms)) is not None]
        if heard:
            found.append(max(heard, key=lambda one: _length_ms(one[1], one[0].rate)))
            tape = _without(found[-1:], tape)
    return found, tape


def _without(played: Sequence[tuple[Source, Heard]], tape: Samples) -> Samples:
    rest = tape.copy()
    for source, heard in played:
        for passage in heard.passages:
            rest[passage.at : passage.at + round((passage.end - passage.first) * RATE / source.rate)] = 0
    return rest


def _hear(line: Source, at_s: float, tape: Samples, least_ms: int) -> tuple[Source, Heard] | None:
    """The line as it sounded from `at_s` on; None if too little of it did."""
    begin = max(0, round((at_s - _MARGIN_S) * RATE))
    length_s = len(line.pcm) / 2 / line.rate
    piece = tape[begin : begin + round((length_s + 1.0) * RATE)]
    (heard,) = ear.listen([replace(line, at_s=0.0)], piece)
    kept = _unbroken(heard.passages, line.rate)
    verdicts = ear.words_heard(line.words, kept, line.rate)
    heard = replace(heard, passages=tuple(replace(one, at=one.at + begin) for one in kept), heard=verdicts)
    if _length_ms(heard, line.rate) < least_ms and not (heard.heard and all(heard.heard)):
        return None
    return replace(line, at_s=heard.passages[0].at / RATE), heard


def _unbroken(passages: Sequence[Passage], rate: int) -> list[Passage]:
    """The first passage and those that go on with it without a break: what else is alike is another's."""
    kept = list(passages[:1])
    for one in passages[1:]:
        moved = (one.at - kept[0].at) / RATE - (one.first - kept[0].first) / rate
        if one.first < kept[-1].end or abs(moved) * 1000 > BREAK_MS:
            break
        kept.append(one)
    return kept


def _length_ms(heard: Heard, rate: int) -> float:
    return sum(passage.end - passage.first for passage in heard.passages) * 1000 / rate


def _places(line: Source, tape: Samples) -> list[float]:
    """Where on the tape (s) the line may begin."""
    pcm = np.frombuffer(line.pcm, "<i2")
    onset = sound.onset(pcm, line.rate)
    if onset is None:
        return []
    wanted = _wave(pcm[onset:], line.rate)[: SEEK_MS * _WORK // 1000]
    wide = _wave(tape, RATE)
    if len(wide) < len(wanted):
        return []
    size = 1 << (len(wide) + len(wanted) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(wide, size) * np.fft.rfft(wanted, size).conj(), size)
    product = product[: len(wide) - len(wanted) + 1]
    sums = np.concatenate([[0.0], np.cumsum(wide.astype(np.float64) ** 2)])
    energy = sums[len(wanted) :] - sums[: -len(wanted)]
    own = float(wanted @ wanted)
    alike = np.where((energy > own / 4) & (energy < own * 4), product / np.sqrt(np.maximum(energy * own, 1e-9)), 0.0)
    found = []
    while alike.max() >= _ALIKE:
        place = int(np.argmax(alike))
        found.append(place / _WORK)
        alike[max(0, place - len(wanted) // 2) : place + len(wanted) // 2] = 0
    return found


def _wave(pcm: NDArray[np.int16], rate: int) -> NDArray[np.float32]:
    wave: NDArray[np.float32] = soxr.resample(pcm.astype(np.float32) / 32768, rate, _WORK)
    return wave
