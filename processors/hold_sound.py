"""The hold sound: what fills the silence of a long wait, between the lines, if the configuration asks for one.

It is a stretch of the agent's sound like any other, a filler without words: the floor knows it, the caller's voice
silences it, and whatever the agent says next ends it at once.
"""

from __future__ import annotations

import asyncio
import wave
from itertools import count
from pathlib import Path

import numpy as np
import soxr  # type: ignore[import-untyped]
from loguru import logger

from callwright.playback import Playback
from callwright.sections import SOFT
from callwright.speech import Say, Utterance
from processors.floor_keeper import FloorKeeper

PIECE_MS = 200
"""How much is queued at a time; so much more may be ahead of what sounds."""

LONGEST_S = 600
"""No more of a file is read."""

_names = count()


def load(name: str, rate: int) -> bytes:
    """The sound called `name` ("soft" or a WAV file's path), 16-bit mono at `rate` Hz, to be looped.

    Raises ValueError or OSError where the file cannot be read or is not 16-bit PCM.
    """
    if name == SOFT:
        return soft(rate)
    try:
        with wave.open(str(Path(name)), "rb") as file:
            if file.getsampwidth() != 2:
                raise ValueError(f"{name} has {8 * file.getsampwidth()} bits a sample; 16 are wanted")
            samples = np.frombuffer(file.readframes(LONGEST_S * file.getframerate()), np.int16)
            mono = samples.reshape(-1, file.getnchannels()).mean(axis=1)
            made = soxr.resample(mono, file.getframerate(), rate)
            return bytes(made.clip(-32768, 32767).astype(np.int16))
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{name} is no WAV file ({error})") from None


def soft(rate: int) -> bytes:
    """Eight seconds of a quiet chord that swells and sinks, -33 dBFS at its loudest; its end meets its beginning."""
    seconds = 8
    at = np.arange(seconds * rate) / rate
    chord = np.zeros(len(at))
    for number, tone in enumerate((196.0, 246.875, 293.625, 392.0)):  # whole periods in 8 s
        swell = 0.75 + 0.25 * np.sin(2 * np.pi * (at / seconds + number / 4))
        chord += swell * np.sin(2 * np.pi * tone * at)
    peak = 32768 * 10 ** (-33 / 20)
    return bytes((chord / np.abs(chord).max() * peak).astype(np.int16))


class HoldSound:
    """Plays `pcm` over and over from `start` to `stop`, or to whatever else is said."""

    def __init__(self, pcm: bytes, keeper: FloorKeeper, playback: Playback, rate: int) -> None:
        self._pcm = pcm
        self._keeper = keeper
        self._playback = playback
        self._piece = rate * PIECE_MS // 1000
        self._utterance: Utterance | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def named(cls, name: str | None, keeper: FloorKeeper, playback: Playback, rate: int) -> HoldSound | None:
        """The configured one; None if there is none, or if it cannot be read: that must not end a call."""
        if name is None:
            return None
        try:
            return cls(load(name, rate), keeper, playback, rate)
        except (OSError, ValueError) as error:
            logger.warning("there is no hold sound: {}", error)
            return None

    def sounds(self, utterance: Utterance) -> bool:
        """Whether `utterance` is this sound."""
        return utterance is self._utterance

    @property
    def running(self) -> bool:
        return self._utterance is not None

    def start(self) -> None:
        if self._utterance is None and len(self._pcm) > 1:
            self._utterance = self._keeper.open("filler", remembered=False)
            self._task = asyncio.ensure_future(self._play(self._utterance))

    def stop(self) -> None:
        """No more of it; what is queued fades."""
        utterance, self._utterance = self._utterance, None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if utterance is not None:
            self._keeper.trim(utterance)
            self._keeper.ended(utterance)

    async def aclose(self) -> None:
        task = self._task
        self.stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _play(self, utterance: Utterance) -> None:
        name = f"hold sound {next(_names)}"
        self._keeper.sent(name, Say("", role="filler", remembered=False, utterance=utterance))
        begun, made = self._playback.played, 0
        while True:
            if made - (self._playback.played - begun) > self._piece:
                await asyncio.sleep(PIECE_MS / 4000)
                continue
            at = 2 * made % len(self._pcm)
            piece = self._pcm[at : at + 2 * self._piece]
            self._keeper.made(name, piece)
            self._playback.append(name, piece)
            made += len(piece) // 2
