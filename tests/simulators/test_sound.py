"""Where a recording is loud, by the one definition."""

from __future__ import annotations

import numpy as np
import pytest

from callwright.simulators.sound import Samples, is_loud, last, loud_windows, onset, stretches

RATE = 48000
MS = RATE // 1000


def level(dbfs: float, ms: int) -> Samples:
    """A square wave of exactly this RMS."""
    wave = np.where(np.arange(ms * MS) // 24 % 2, 1.0, -1.0) * 32768 * 10 ** (dbfs / 20)
    return wave.round().astype(np.int16)


def silence(ms: int) -> Samples:
    return np.zeros(ms * MS, np.int16)


@pytest.mark.parametrize(("dbfs", "loud"), [(-44.5, True), (-45.5, False), (-3.0, True), (-90.0, False)])
def test_the_floor_is_at_minus_45_dbfs(dbfs: float, loud: bool) -> None:
    assert is_loud(level(dbfs, 10)) is loud


def test_no_samples_are_not_loud() -> None:
    assert not is_loud(silence(0))
    assert onset(silence(0), RATE) is None


def test_speech_begins_with_its_first_loud_window_and_ends_with_its_last() -> None:
    samples = np.concatenate([silence(100), level(-20, 50), silence(30), level(-20, 20), silence(100)])
    assert onset(samples, RATE) == 100 * MS
    assert last(samples, RATE) == 200 * MS


def test_a_search_stays_within_its_bounds() -> None:
    samples = np.concatenate([level(-20, 50), silence(50), level(-20, 50)])
    assert onset(samples, RATE, 60 * MS) == 100 * MS
    assert last(samples, RATE, 0, 90 * MS) == 50 * MS
    assert onset(samples, RATE, 50 * MS, 100 * MS) is None


def test_a_short_silence_does_not_part_a_stretch_and_a_long_one_does() -> None:
    samples = np.concatenate([level(-20, 50), silence(190), level(-20, 50), silence(200), level(-20, 50)])
    assert stretches(samples, RATE) == [(0, 290 * MS), (490 * MS, 540 * MS)]


def test_a_clipped_recording_is_measured_without_overflow() -> None:
    assert loud_windows(np.full(10 * MS, -32768, np.int16), RATE).tolist() == [True]
