"""Numbered samples, and frames that come between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pipecat.frames.frames import ControlFrame

RATE = 1000  # a sample is a millisecond


@dataclass
class Mark(ControlFrame):
    """A frame whose time comes."""

    label: str = ""


@dataclass
class Kept(Mark):
    """One that no interruption may drop."""

    interruptible: bool = field(default=False, init=False)


def pcm(first: int, count: int) -> bytes:
    """Samples that are numbered."""
    return np.arange(first, first + count, dtype=np.int16).tobytes()


def speech(lead: int, count: int) -> bytes:
    """Silence, then sound; each sample of it has its number, and 1000 to be loud."""
    return bytes(2 * lead) + pcm(1000 + lead, count)
