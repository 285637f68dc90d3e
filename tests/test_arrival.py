"""Placing a stream on our clock although the network delivers it unevenly."""

import itertools
import random

from callwright.arrival import Arrival

RATE = 24_000
FRAME = RATE // 50
MS = RATE // 1000


def test_an_even_stream_is_contiguous() -> None:
    arrival = Arrival(RATE)
    assert [arrival.place(FRAME, 1000 + n * FRAME) for n in range(1, 4)] == [1000, 1000 + FRAME, 1000 + 2 * FRAME]


def test_jitter_moves_nothing() -> None:
    rng = random.Random(1)
    arrival = Arrival(RATE)
    starts = [arrival.place(FRAME, (n + 1) * FRAME + rng.choice((0, 0, 5, 15)) * MS) for n in range(500)]
    assert {second - first for first, second in itertools.pairwise(starts[100:])} == {FRAME}
    assert abs(starts[-1] - 499 * FRAME) <= 15 * MS


def test_a_late_first_frame_does_not_shift_the_call() -> None:
    arrival = Arrival(RATE)
    arrival.place(FRAME, FRAME + 90 * MS)
    assert arrival.place(FRAME, 2 * FRAME) == FRAME


def test_samples_lost_on_the_way_leave_a_hole_not_a_shift() -> None:
    arrival = Arrival(RATE)
    starts = [arrival.place(FRAME, (n + 1) * FRAME) for n in range(10)]
    # 80 ms never come; what follows is on time.
    starts += [arrival.place(FRAME, (n + 1) * FRAME + 80 * MS) for n in range(10, 120)]
    assert starts[-1] == 119 * FRAME + 80 * MS


def test_a_long_gap_is_seen_at_once() -> None:
    arrival = Arrival(RATE)
    arrival.place(FRAME, FRAME)
    assert arrival.place(FRAME, 50 * FRAME) == 49 * FRAME
