"""A voice: text in, samples and the place of each written word in them out.

The caller and the vendors' stand-ins speak with it. A speech-synthesis program renders outside the event
loop; what it rendered is kept in memory and, given a folder, on disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from callwright.simulators.errors import SimulatorError
from callwright.simulators.espeak import Espeak
from callwright.simulators.flite import Flite

_CACHE_FORMAT = 1  # part of the cache key: raise it when rendering or mapping changes
_MEMORY_LIMIT_BYTES = 64 * 2**20
_KEEP_BEFORE_MS = 10  # of the engine's own silence kept before the first phone …
_KEEP_AFTER_MS = 40  # … and after the last one, whose release outlasts its printed end
_MISSING = "no speech engine found: neither flite nor espeak-ng is on PATH; install it with: apt-get install flite"


@dataclass(frozen=True)
class Word:
    """A written word, punctuation included; `start` and `end` in samples at `Speech.rate`.

    `start == end` for a word in which there is nothing to say (a lone dash).
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Speech:
    """What was said: s16le mono samples at `rate`; the first word begins after `leading_silence` samples."""

    pcm: bytes
    rate: int
    words: tuple[Word, ...]
    leading_silence: int

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / self.rate


class Engine(Protocol):
    """A synthesis program; `render` blocks and may raise SimulatorError."""

    name: str
    voices: tuple[str, ...]
    default_voice: str

    def render(
        self, words: Sequence[str], voice: str, speed: float
    ) -> tuple[NDArray[np.int16], int, list[tuple[float, float]]]: ...


def find_engine() -> Engine:
    """flite, else espeak-ng, from PATH. Raises SimulatorError when there is neither."""
    if program := shutil.which("flite"):
        return Flite(program)
    if program := shutil.which("espeak-ng"):
        return Espeak(program)
    raise SimulatorError(_MISSING)


class Voice:
    """Speaks in the voices of the engine found on this machine.

    Raises SimulatorError when there is no engine. One instance belongs to one event loop.
    """

    def __init__(self, cache_dir: Path | None = None, *, engine: Engine | None = None) -> None:
        self._engine = engine or find_engine()
        self._folder = cache_dir
        self._memory: OrderedDict[str, Speech] = OrderedDict()
        self._held_bytes = 0
        self._busy: dict[str, asyncio.Lock] = {}
        self._at_once = asyncio.Semaphore(max(1, (os.cpu_count() or 2) // 2))

    @property
    def engine(self) -> str:
        return self._engine.name

    @property
    def voices(self) -> tuple[str, ...]:
        return self._engine.voices

    def named(self, voice: str) -> str:
        """The engine's voice for any name: its own names are themselves, others are spread over them."""
        if voice in self.voices:
            return voice
        digest = hashlib.sha256(voice.encode()).digest()
        return self.voices[digest[0] % len(self.voices)]

    async def speak(self, text: str, *, voice: str = "slt", rate: int = 24000, speed: float = 1.0) -> Speech:
        """Say `text`, at `speed` times the voice's normal pace.

        Every whitespace-separated word of `text` is once in `words`, in order; inline tags are no words.
        Raises SimulatorError when the engine fails.
        """
        if rate <= 0 or speed <= 0:
            raise ValueError("rate and speed must be positive")
        voice = self.named(voice)
        words = spoken_words(text)
        key = hashlib.sha256(
            json.dumps([_CACHE_FORMAT, self._engine.name, voice, words, rate, round(speed, 3)]).encode()
        ).hexdigest()
        speech = self._recall(key)
        if speech is not None:
            return speech
        lock = self._busy.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                speech = self._recall(key)
                if speech is None:
                    async with self._at_once:
                        speech = await asyncio.to_thread(self._find_or_render, key, words, voice, rate, speed)
                    self._remember(key, speech)
                return speech
        finally:
            if not lock.locked():
                self._busy.pop(key, None)

    def _recall(self, key: str) -> Speech | None:
        speech = self._memory.get(key)
        if speech is not None:
            self._memory.move_to_end(key)
        return speech

    def _remember(self, key: str, speech: Speech) -> None:
        self._memory[key] = speech
        self._held_bytes += len(speech.pcm)
        while self._held_bytes > _MEMORY_LIMIT_BYTES and len(self._memory) > 1:
            _, oldest = self._memory.popitem(last=False)
            self._held_bytes -= len(oldest.pcm)

    def _find_or_render(self, key: str, words: list[str], voice: str, rate: int, speed: float) -> Speech:
        file = None if self._folder is None else self._folder / key[:2] / f"{key}.speech"
        if file is not None and (stored := _load(file)) is not None:
            return stored
        speech = self._render(words, voice, rate, speed)
        if file is not None:
            _store(file, speech)
        return speech

    def _render(self, words: list[str], voice: str, rate: int, speed: float) -> Speech:
        pronounceable = [(index, plain) for index, word in enumerate(words) if (plain := _plain(word))]
        if not pronounceable:
            return Speech(b"", rate, tuple(Word(word, 0, 0) for word in words), 0)
        pcm, native, found = self._engine.render([plain for _, plain in pronounceable], voice, speed)
        said = [span for span in found if span[1] > span[0]]
        if not said:
            return Speech(b"", rate, tuple(Word(word, 0, 0) for word in words), 0)
        begin = max(0, round(said[0][0] * native) - native * _KEEP_BEFORE_MS // 1000)
        stop = min(len(pcm), round(said[-1][1] * native) + native * _KEEP_AFTER_MS // 1000)
        resampled = soxr.resample(pcm[begin:stop], native, rate) if native != rate else pcm[begin:stop]
        span_of = dict(zip((index for index, _ in pronounceable), found, strict=True))
        placed: list[Word] = []
        latest = round((said[0][0] * native - begin) * rate / native)
        for index, word in enumerate(words):
            start, end = latest, latest
            span = span_of.get(index)
            if span is not None and span[1] > span[0]:
                start, end = (
                    min(len(resampled), max(latest, round((at * native - begin) * rate / native))) for at in span
                )
            placed.append(Word(word, start, end))
            latest = end
        leading = next(word.start for word in placed if word.end > word.start)
        return Speech(np.asarray(resampled, dtype="<i2").tobytes(), rate, tuple(placed), leading)


_TAG = re.compile(r"<[^<>]*>")
_ASCII = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "€": " euro "})


def spoken_words(text: str) -> list[str]:
    """The written words of `text`, without inline tags (`<break time="1s"/>`): those are never read out."""
    return _TAG.sub(" ", text).split()


def _plain(word: str) -> str:
    """`word` in the ASCII that the engines read; empty when nothing of it can be spoken."""
    ascii_word = unicodedata.normalize("NFKD", word.translate(_ASCII)).encode("ascii", "ignore").decode()
    ascii_word = "".join(ascii_word.split())
    return ascii_word if any(letter.isalnum() for letter in ascii_word) else ""


def _load(file: Path) -> Speech | None:
    """A stored speech; None when there is none or it cannot be read (it is then made again)."""
    try:
        head, _, pcm = file.read_bytes().partition(b"\n")
        facts = json.loads(head)
        words = tuple(Word(str(text), int(start), int(end)) for text, start, end in facts["words"])
        if len(pcm) != facts["bytes"]:
            return None
        return Speech(pcm, int(facts["rate"]), words, int(facts["leading_silence"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _store(file: Path, speech: Speech) -> None:
    """Write whole or not at all; a cache that cannot be written is not an error."""
    head = {
        "rate": speech.rate,
        "leading_silence": speech.leading_silence,
        "bytes": len(speech.pcm),
        "words": [(word.text, word.start, word.end) for word in speech.words],
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as unfinished:
            unfinished.write(json.dumps(head).encode() + b"\n" + speech.pcm)
        Path(unfinished.name).replace(file)
    except OSError:
        return
