"""A model is too slow where the caller would hear it, and nowhere else; on a clock made of numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from callwright.failover.token_watch import LOOK_MS, SPARE_MS, UNSPOKEN, TokenWatch

GAP_MS = 1000.0
LONGEST_MS = 400.0


def even(rng: random.Random) -> Iterator[float]:
    """Gaps between tokens: log-normal, of 60 to 150 a second."""
    median = rng.uniform(4, 10)
    while True:
        yield min(LONGEST_MS, rng.lognormvariate(0, 1.0) * median)


def bursts(rng: random.Random) -> Iterator[float]:
    """Up to 40 tokens at once, then a pause."""
    while True:
        yield from (0.0 for _ in range(rng.randint(1, 40)))
        yield min(LONGEST_MS, rng.lognormvariate(0, 0.6) * 150)


@pytest.mark.parametrize("gaps", [even, bursts])
def test_a_healthy_model_is_never_taken_for_a_slow_one_though_nothing_is_left_to_be_heard(gaps: object) -> None:
    rng = random.Random(5)
    for _ in range(300):
        now = rng.uniform(0, 1000)
        watch = TokenWatch(GAP_MS, now)
        stream = gaps(rng)  # type: ignore[operator]
        for _ in range(200):
            now += next(stream)
            assert watch.wakes_at >= now, "it would have been looked at, and replaced"
            watch.wrote(now, rng.randint(1, 8))


@pytest.mark.parametrize("per_s", [1, 2])
def test_a_model_of_a_token_or_two_a_second_is_found_out_within_a_second(per_s: int) -> None:
    watch = TokenWatch(GAP_MS, 0)
    for token in range(8):
        watch.wrote(token * 8, 4)
    fast = 7 * 8.0
    now = fast
    while now < 3000:
        now += 1000 / per_s
        while (wakes := watch.wakes_at) < now:
            if watch.stopped(wakes, 0):
                assert fast < wakes <= fast + GAP_MS
                return
        watch.wrote(now, 4)
    pytest.fail("never found out")


def test_as_slow_as_it_is_spoken_is_fast_enough() -> None:
    watch = TokenWatch(GAP_MS, 0)
    for token in range(100):
        now = token * 5000 / 14
        assert not watch.stopped(now, 0)
        watch.wrote(now, 5)


def test_what_is_not_spoken_is_no_sign_of_words() -> None:
    watch = TokenWatch(GAP_MS, 0)
    watch.wrote(0, 20)
    for now in range(50, 1000, 50):
        watch.wrote(now, 0)
    assert watch.stopped(GAP_MS, 0)


def test_a_thought_or_a_tool_call_may_take_longer_than_a_word() -> None:
    watch = TokenWatch(GAP_MS, 0)
    watch.wrote(0, 20)
    watch.alive(500)
    assert not watch.stopped(500 + UNSPOKEN * GAP_MS - 1, 0)
    assert watch.stopped(500 + UNSPOKEN * GAP_MS, 0)
    watch.wrote(3000, 1)
    assert not watch.stopped(3000 + GAP_MS - 1, 0), "words are counted from the first one"
    assert watch.stopped(3000 + GAP_MS, 0)


def test_enough_to_be_heard_is_time_to_wait_and_it_is_looked_at_again_when_that_runs_out() -> None:
    watch = TokenWatch(GAP_MS, 0)
    watch.wrote(0, 40)
    assert not watch.stopped(GAP_MS, SPARE_MS + 800)
    assert watch.wakes_at == GAP_MS + 800
    assert not watch.stopped(GAP_MS + 800, SPARE_MS + 1), "more sound was made meanwhile"
    assert watch.wakes_at == GAP_MS + 800 + LOOK_MS
    assert watch.stopped(GAP_MS + 800 + LOOK_MS, SPARE_MS)
