"""The hold sound: quiet, endless, and no reason for a call to fail."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processors.hold_sound import HoldSound, load, soft

RATE = 24_000


def write(path: Path, samples: np.ndarray[Any, Any], *, rate: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def test_the_soft_sound_is_quiet_never_silent_and_has_no_seam() -> None:
    samples = np.frombuffer(soft(RATE), np.int16).astype(float)
    assert np.abs(samples).max() <= 32768 * 10 ** (-33 / 20) + 1
    tenths = samples.reshape(-1, RATE // 10)
    assert np.sqrt((tenths**2).mean(axis=1)).min() > 32768 * 10 ** (-60 / 20)
    steps = np.abs(np.diff(samples))
    assert abs(samples[0] - samples[-1]) <= steps.max()


def test_a_file_of_any_rate_and_in_stereo_becomes_mono_at_ours(tmp_path: Path) -> None:
    tone = (8000 * np.sin(np.arange(16_000) / 16_000 * 2 * np.pi * 440)).astype(np.int16)
    path = write(tmp_path / "music.wav", np.repeat(tone, 2), rate=16_000, channels=2)
    made = np.frombuffer(load(str(path), RATE), np.int16)
    assert abs(len(made) - RATE) <= 2
    assert 7500 < np.abs(made).max() < 8500


def test_what_is_no_sound_is_told_and_leaves_the_call_without(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("hello")
    bytes_ = write(tmp_path / "bytes.wav", np.zeros(100, np.uint8), rate=8000, width=1)
    for path in (text, bytes_):
        with pytest.raises(ValueError, match=path.name):
            load(str(path), RATE)
        nobody: Any = None
        assert HoldSound.named(str(path), nobody, nobody, RATE) is None
    assert HoldSound.named(None, nobody, nobody, RATE) is None
