"""Tapes whose every sample is known."""

from __future__ import annotations

import numpy as np

from callwright.simulators.tape import RATE, Lane, Said, Tape

BLOCK = RATE // 100


def tape(
    *,
    said: list[tuple[float, float]],
    heard: list[tuple[float, float]],
    length_s: float | None = None,
    trailing_silence_s: float = 0.0,
    kind: str = "speech",
) -> Tape:
    """A tape on which the caller sounds in `said` and the agent in `heard` (seconds), both lanes of equal length."""
    length = length_s or max(end for _, end in said + heard) + 0.5
    made = Tape(origin_s=0.0)
    _fill(made.sent, said, length)
    _fill(made.hear("agent"), heard, length)
    for start, end in said:
        stop = round((end + trailing_silence_s) * RATE)
        made.said.append(Said("said", round(start * RATE), stop, (), kind))
    return made


def _fill(lane: Lane, sounds: list[tuple[float, float]], length_s: float) -> None:
    samples = np.zeros(round(length_s * RATE), np.int16)
    for start, end in sounds:
        samples[round(start * RATE) : round(end * RATE)] = 8000
    for at in range(0, len(samples), BLOCK):
        lane.observe(at / RATE, at)
        lane.append(samples[at : at + BLOCK])
