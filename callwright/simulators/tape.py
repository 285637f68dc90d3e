"""What a caller sent and what it heard, on one clock, addressed in samples.

The rate is 48 kHz: the one WebRTC and Opus work at, so that no resampler moves a sample between the agent's
source, this tape and a bench. Position 0 is the moment the tape was made.

Both lanes are streams of which we see only late echoes: "sample n has passed by now". Lateness (the event
loop was busy) is never negative and passes; a gap in the stream (the sender ran dry, the track paused) is
for good. So the true place of a sample is the *smallest* lateness seen from there on, and a lasting step of
it is a gap. That rule, `align`, is all the clockwork there is.
"""

from __future__ import annotations

import json
import os
import time
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from callwright.simulators.sound import Samples

RATE = 48000

GAP_S = 0.008
"""A lasting step below this is jitter: both ends work in blocks of 10 ms, so true gaps are multiples of
that."""

SUPPORT = 10
"""A step is believed once so many later observations agree (0.1 s of what is heard, 0.5 s of what is sent): a
stall at the very end bends nothing."""

_WRITE = os.O_CREAT | os.O_TRUNC | os.O_WRONLY


@dataclass(frozen=True)
class Segment:
    """From stream sample `first` on (until the next segment), sample n passed at `offset_s` + n / rate."""

    first: int
    offset_s: float


def align(at_s: Sequence[float], passed: Sequence[int], rate: int = RATE) -> list[Segment]:
    """The segments of a stream of which sample `passed[k]` was seen to have passed at the latest at
    `at_s[k]`.

    Both sequences rise. No observations, no segments.
    """
    if not len(at_s):
        return []
    lateness = np.asarray(at_s, dtype=np.float64) - np.asarray(passed, dtype=np.float64) / rate
    best_from = np.minimum.accumulate(lateness[::-1])[::-1]
    segments = [Segment(0, float(best_from[0]))]
    for k in range(1, max(1, len(best_from) - SUPPORT)):
        if best_from[k] - segments[-1].offset_s > GAP_S:
            segments.append(Segment(int(passed[k]), float(best_from[k])))
    return segments


class Lane:
    """One stream of samples and when they were seen to pass (s on the monotonic clock)."""

    def __init__(self, rate: int = RATE) -> None:
        self.rate = rate
        self.count = 0
        self._chunks: list[Samples] = []
        self._at_s: list[float] = []
        self._passed: list[int] = []

    def append(self, samples: Samples) -> None:
        """Add samples to the end of the stream; they are kept, not copied."""
        self._chunks.append(samples)
        self.count += len(samples)

    def observe(self, at_s: float, passed: int) -> None:
        """At `at_s` at the latest, sample number `passed` of the stream went by; below 0 says nothing."""
        if passed < 0:
            return
        self._at_s.append(at_s)
        self._passed.append(passed)

    def segments(self) -> list[Segment]:
        """How the stream lies on the clock, as far as is known by now."""
        return align(self._at_s, self._passed, self.rate)

    def samples(self) -> Samples:
        """The stream as it is, gaps not filled."""
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)


@dataclass(frozen=True)
class SaidWord:
    """A word and its samples on the tape."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Utterance:
    """What the caller said, and where on the tape's sent lane; `kind` is speech or noise (a cough: no
    words)."""

    text: str
    start: int
    end: int
    words: tuple[SaidWord, ...] = ()
    kind: str = "speech"


@dataclass(frozen=True)
class Caption:
    """What the room's captions said (`lk.transcription`): cumulative text of one segment, at a tape
    position."""

    identity: str
    text: str
    final: bool
    segment_id: str
    at: int


@dataclass(frozen=True)
class Said:
    """An utterance as the sent stream knows it; `Tape.place` turns it into tape positions."""

    text: str
    first: int
    end: int
    words: tuple[SaidWord, ...]
    kind: str


@dataclass
class Tape:
    """Both lanes of a call. `origin_s` is position 0 on `time.monotonic`'s clock."""

    origin_s: float = field(default_factory=time.monotonic)
    rate: ClassVar[int] = RATE
    sent: Lane = field(default_factory=Lane)
    heard: list[tuple[str, Lane]] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    captions: list[Caption] = field(default_factory=list)

    def position(self, at_s: float) -> int:
        """The tape position of a moment of the monotonic clock."""
        return round((at_s - self.origin_s) * self.rate)

    def now(self) -> int:
        """The tape position of this moment."""
        return self.position(time.monotonic())

    def seconds(self, position: int) -> float:
        """The moment on the monotonic clock of a tape position."""
        return self.origin_s + position / self.rate

    def hear(self, identity: str) -> Lane:
        """A new heard lane, for one track of `identity`."""
        lane = Lane(self.rate)
        self.heard.append((identity, lane))
        return lane

    @property
    def utterances(self) -> list[Utterance]:
        """What was said, placed as well as is known by now."""
        segments = self.sent.segments()
        return [self._place(said, segments) for said in self.said]

    def place(self, said: Said) -> Utterance:
        """One utterance on the tape, placed as well as is known by now."""
        return self._place(said, self.sent.segments())

    def sent_samples(self) -> Samples:
        """The sent lane from position 0, silence where nothing left."""
        return self._laid([self.sent])

    def heard_samples(self, identity: str | None = None) -> Samples:
        """The heard lanes (of one participant, or of all, mixed) from position 0, silence where nothing
        came."""
        return self._laid([lane for who, lane in self.heard if identity in (None, who)])

    @property
    def gaps(self) -> dict[str, int]:
        """How often each lane broke: a caller whose machine stalled, an agent that paused its track."""
        return {
            "sent": max(0, len(self.sent.segments()) - 1),
            "heard": sum(max(0, len(lane.segments()) - 1) for _, lane in self.heard),
        }

    def save(self, path: Path) -> None:
        """Write `path` (WAV, left sent, right heard) and beside it, with .json, what was said and where.

        Both files are for their owner's eyes only: they hold every word of both sides.

        Raises OSError if it cannot be written.
        """
        left, right = self.sent_samples(), self.heard_samples()
        both = np.zeros((max(len(left), len(right)), 2), np.int16)
        both[: len(left), 0] = left
        both[: len(right), 1] = right
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, _WRITE, 0o600), "wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(self.rate)
            out.writeframes(both.astype("<i2").tobytes())
        side = {
            "rate": self.rate,
            "channels": ["sent", "heard"],
            "gaps": self.gaps,
            "utterances": [asdict(utterance) for utterance in self.utterances],
            "captions": [asdict(caption) for caption in self.captions],
        }
        with os.fdopen(os.open(path.with_suffix(".json"), _WRITE, 0o600), "w") as text:
            text.write(json.dumps(side, indent=1, ensure_ascii=False) + "\n")

    def _place(self, said: Said, segments: list[Segment]) -> Utterance:
        def at(index: int) -> int:
            return self._position(segments, index)

        words = tuple(SaidWord(word.text, at(word.start), at(word.end - 1) + 1) for word in said.words)
        return Utterance(said.text, at(said.first), at(said.end - 1) + 1, words, said.kind)

    def _position(self, segments: list[Segment], index: int) -> int:
        within = [segment for segment in segments if segment.first <= index] or segments[:1]
        return (self.position(within[-1].offset_s) if within else 0) + index

    def _laid(self, lanes: list[Lane]) -> Samples:
        pieces = [piece for lane in lanes for piece in self._pieces(lane)]
        mix: npt.NDArray[np.int32] = np.zeros(max((at + len(p) for at, p in pieces), default=0), np.int32)
        for at, samples in pieces:
            mix[max(0, at) : at + len(samples)] += samples[max(0, -at) :]
        return np.clip(mix, -32768, 32767).astype(np.int16)

    def _pieces(self, lane: Lane) -> list[tuple[int, Samples]]:
        samples, segments = lane.samples(), lane.segments()
        if not segments:
            return []  # nothing is known to have left yet
        ends = [segment.first for segment in segments[1:]] + [len(samples)]
        return [
            (self.position(segment.offset_s) + segment.first, samples[segment.first : end])
            for segment, end in zip(segments, ends, strict=True)
            if end > segment.first
        ]
