"""How long ago the last audible sample was, and when the first one comes."""

import numpy as np
import pytest

from callwright.loudness import Loudness, silent_start

RATE = 16_000


def tone(ms: int, dbfs: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    t = np.arange(RATE * ms // 1000)
    return (np.sin(t * 0.3) * 32768 * 2**0.5 * 10 ** (dbfs / 20)).astype(np.int16)


@pytest.mark.parametrize("frame_ms", [7, 10, 20, 33])
def test_silence_is_measured_from_the_end_of_the_sound(frame_ms: int) -> None:
    loudness = Loudness(RATE)
    stream = np.concatenate([tone(500, -20), np.zeros(RATE // 5, np.int16)])
    for start in range(0, len(stream), RATE * frame_ms // 1000):
        loudness.feed(stream[start : start + RATE * frame_ms // 1000])
    assert loudness.quiet_ms == 200


def test_a_quiet_tail_of_a_loud_speaker_is_silence() -> None:
    loudness = Loudness(RATE)
    loudness.feed(np.concatenate([tone(300, -6), tone(100, -40)]))
    assert loudness.quiet_ms == 100


def test_a_quiet_speaker_is_heard_in_the_next_utterance() -> None:
    loudness = Loudness(RATE)
    loudness.feed(tone(300, -6))
    loudness.begin()
    loudness.feed(tone(300, -40))
    assert loudness.quiet_ms == 0


def test_a_room_above_the_floor_never_counts_as_silence() -> None:
    loudness = Loudness(RATE)
    loudness.feed(np.concatenate([tone(300, -25), tone(1000, -42)]))
    assert loudness.quiet_ms == 0


@pytest.mark.parametrize(("dbfs", "silent_ms"), [(-6, 200), (-45, 200), (-52, 200), (-58, 500)])
def test_a_soft_onset_is_a_sound_and_what_nobody_hears_is_silence(dbfs: float, silent_ms: int) -> None:
    pcm = np.concatenate([np.zeros(RATE // 5, np.int16), tone(300, dbfs)]).tobytes()
    assert silent_start(pcm, RATE) == silent_ms * RATE // 1000


def test_less_than_a_window_is_not_judged() -> None:
    assert silent_start(b"", RATE) == 0
    assert silent_start(bytes(2 * 159), RATE) == 0
    assert silent_start(bytes(2 * 350), RATE) == 320
