"""How long a text takes to say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.pace import LETTERS_PER_S, Pace, letters


def test_marks_and_spaces_are_not_said_but_digits_and_signs_are_words() -> None:
    assert letters(" … — !") == 0
    assert letters("It is, well.") == 8
    assert letters("$9") == 11


def test_before_a_voice_is_heard_it_is_like_most() -> None:
    assert Pace().expected_ms(LETTERS_PER_S) == pytest.approx(1000)


def test_a_slow_voice_is_known_after_a_sentence() -> None:
    pace = Pace()
    pace.learn(40, 1.3 * pace.expected_ms(40))
    assert pace.factor == pytest.approx(1.3)


@given(st.lists(st.tuples(st.integers(-5, 500), st.floats(-100, 1e6)), max_size=30))
def test_nothing_it_hears_makes_it_absurd(heard: list[tuple[int, float]]) -> None:
    pace = Pace()
    for said, took_ms in heard:
        pace.learn(said, took_ms)
        assert 0.6 <= pace.factor <= 1.5
