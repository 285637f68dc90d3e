"""The outline of a recording's two lanes: enough of the sound to draw it."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from callwright.errors import RecordsError
from callwright.records.recording import AGENT, CALLER, CHANNELS

COLUMNS_PER_S = 125
# What is louder than all but one in a thousand columns is drawn as loudest; below -40 dBFS nothing is blown up.
LOUDEST = 0.999
FLOOR = 0.01 * 32768

Outline = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Envelope:
    """Per lane an array of (columns, 2): the lowest and highest sample of every `hop` samples, 1 as the loudest."""

    hop: int
    length: int
    caller: Outline
    agent: Outline


def envelope(path: Path, rate: int) -> Envelope:
    """Read the outline of a recording made at `rate`, a second at a time. Raises RecordsError."""
    hop = max(rate // COLUMNS_PER_S, 1)
    columns: list[Outline] = []
    length = 0
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (CHANNELS, 2, rate):
                raise RecordsError(f"{path} is not the recording of this call: another format")
            while data := file.readframes(hop * COLUMNS_PER_S):
                frames = np.frombuffer(data, dtype="<i2").reshape(-1, CHANNELS)
                length += len(frames)
                whole = np.pad(frames, ((0, -len(frames) % hop), (0, 0))).reshape(-1, hop, CHANNELS)
                columns.append(np.stack((whole.min(axis=1), whole.max(axis=1)), axis=2).astype(np.float32))
    except (OSError, EOFError, wave.Error) as error:
        raise RecordsError(f"cannot read the recording {path}: {error}") from error
    both = np.concatenate(columns) if columns else np.zeros((0, CHANNELS, 2), dtype=np.float32)
    return Envelope(hop, length, _scaled(both[:, CALLER]), _scaled(both[:, AGENT]))


def _scaled(lane: Outline) -> Outline:
    loudest = float(np.quantile(np.abs(lane), LOUDEST)) if lane.size else 0.0
    scaled: Outline = np.clip(lane / np.float32(max(loudest, FLOOR)), -1, 1)
    return scaled
