"""How long sound takes through this LiveKit server: source to sink, each way, in one process and on one
clock.

Two callers in a room of their own play chirps to each other, and each finds the other's in what it received
by cross-correlation. The jitter buffer settles anew for each connection (2 cores, loopback: between 46 and
59 ms one way, within a connection constant to 0.1 ms), so several pairs are measured and the median counts.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from statistics import median

import numpy as np

from callwright.simulators.caller import Caller
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit import Credentials, token
from callwright.simulators.sound import Samples
from callwright.simulators.tape import RATE

CHIRP_S = 0.05
EVERY_S = 0.6
SETTLE_S = 1.0
"""A jitter buffer corrects its first guess within the first second; chirps before that are not counted."""

REACH_S = 0.5
"""A crossing that takes longer is not found; shorter than `EVERY_S`, so that no chirp is taken for the
next."""

ALIKE = 0.4
"""Correlation (0–1) below which a chirp was not received: Opus leaves above 0.8, chance finds under 0.15."""


@dataclass(frozen=True)
class Transport:
    """One-way times of every chirp of every pair, ms. `ms` is the metric: both crossings added."""

    there_ms: tuple[float, ...]
    back_ms: tuple[float, ...]

    @property
    def ms(self) -> float:
        """Median there plus median back."""
        return median(self.there_ms) + median(self.back_ms)

    @property
    def spread_ms(self) -> float:
        """Between the fastest and the slowest crossing of all."""
        both = self.there_ms + self.back_ms
        return max(both) - min(both)


async def measure(credentials: Credentials, *, pairs: int = 3, chirps: int = 2) -> Transport:
    """Measure with `pairs` fresh pairs one after the other (2.5 s each).

    Raises SimulatorError if the server cannot be joined or no chirp comes through.
    """
    there: list[float] = []
    back: list[float] = []
    for _ in range(pairs):
        one, two = await _pair(credentials, chirps)
        there += one
        back += two
    if not there or not back:
        raise SimulatorError(f"no sound crosses {credentials.url}: are its UDP ports reachable from here?")
    return Transport(tuple(there), tuple(back))


async def _pair(credentials: Credentials, chirps: int) -> tuple[list[float], list[float]]:
    room = f"echo-{secrets.token_hex(4)}"
    voice = _Chirps()
    async with (
        Caller(credentials.url, token(credentials, room, "one"), voice=voice) as one,
        Caller(credentials.url, token(credentials, room, "two"), voice=voice) as two,
    ):
        await asyncio.gather(one.agent_joined(), two.agent_joined())
        await one.pause(SETTLE_S)
        for _ in range(chirps):
            await asyncio.gather(one.say("chirp"), two.say("chirp"))
            await one.pause(EVERY_S)
    return _crossings(one, two), _crossings(two, one)


def _crossings(source: Caller, sink: Caller) -> list[float]:
    heard = sink.tape.heard_samples()
    found = []
    for utterance in source.tape.utterances:
        left = sink.tape.position(source.tape.seconds(utterance.start))
        delay = find(_chirp(), heard[left : left + round((REACH_S + CHIRP_S) * RATE)])
        if delay is not None:
            found.append(delay / RATE * 1000)
    return found


def find(pattern: Samples, within: Samples) -> int | None:
    """Where `pattern` begins in `within` (best normalised cross-correlation); None if it is not there."""
    if len(within) < len(pattern):
        return None
    known, signal = pattern.astype(np.float64), within.astype(np.float64)
    size = len(known) + len(signal)
    match = np.fft.irfft(np.fft.rfft(signal, size) * np.conj(np.fft.rfft(known, size)), size)
    match = match[: len(signal) - len(known) + 1]
    energy = np.concatenate(([0.0], np.cumsum(signal * signal)))
    local = energy[len(known) :] - energy[: -len(known)]
    alike = match / np.sqrt(np.maximum(local, 1.0) * np.dot(known, known))
    best = int(np.argmax(alike))
    return best if alike[best] >= ALIKE else None


def _chirp() -> Samples:
    """400 to 3000 Hz in 50 ms: found to the sample, and untouched by any voice codec."""
    at = np.arange(round(CHIRP_S * RATE)) / RATE
    phase = 2 * np.pi * (400 * at + (3000 - 400) / (2 * CHIRP_S) * at * at)
    return np.asarray(12000 * np.sin(phase) * np.hanning(len(at)), dtype=np.int16)


@dataclass(frozen=True)
class _Sound:
    pcm: bytes
    rate: int
    words: tuple[()] = ()


class _Chirps:
    """A voice that says everything as one chirp."""

    async def speak(self, text: str, *, voice: str, rate: int, speed: float) -> _Sound:
        return _Sound(_chirp().tobytes(), RATE)
