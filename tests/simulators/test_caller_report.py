"""Turns and gaps, measured on a tape made by hand."""

from __future__ import annotations

import pytest
from tape_by_hand import tape

from callwright.simulators.caller_report import turns


def test_the_gap_runs_from_the_last_sound_said_to_the_first_heard() -> None:
    (turn,) = turns(tape(said=[(1.0, 2.0)], heard=[(2.6, 3.5)]))
    assert turn.response_gap_ms == pytest.approx(600)
    assert not turn.mute


def test_silence_at_the_end_of_an_utterance_is_not_speech() -> None:
    (turn,) = turns(tape(said=[(1.0, 2.0)], heard=[(2.6, 3.5)], trailing_silence_s=0.2))
    assert turn.response_gap_ms == pytest.approx(600)


def test_five_seconds_of_nothing_are_a_mute_turn() -> None:
    (turn,) = turns(tape(said=[(1.0, 2.0)], heard=[], length_s=7.1))
    assert turn.mute
    assert turn.response_gap_ms is None


def test_an_answer_after_five_seconds_comes_too_late() -> None:
    (turn,) = turns(tape(said=[(1.0, 2.0)], heard=[(7.5, 8.0)]))
    assert turn.mute
    assert turn.response_gap_ms == pytest.approx(5500)


def test_a_call_that_ends_at_once_leaves_no_mute_turn() -> None:
    (turn,) = turns(tape(said=[(1.0, 2.0)], heard=[], length_s=3.0))
    assert not turn.mute
    assert turn.response_gap_ms is None


def test_the_tail_of_what_was_talked_over_is_not_the_answer() -> None:
    (turn,) = turns(tape(said=[(2.0, 2.5)], heard=[(1.0, 2.8), (3.5, 4.0)]))
    assert turn.response_gap_ms == pytest.approx(1000)
    assert not turn.overlapped


def test_an_agent_that_speaks_on_is_no_gap_and_not_mute() -> None:
    (turn,) = turns(tape(said=[(2.0, 2.5)], heard=[(1.0, 6.0)], length_s=12.0))
    assert turn.overlapped
    assert turn.response_gap_ms is None
    assert not turn.mute


def test_each_turn_has_its_own_answer() -> None:
    first, second = turns(tape(said=[(1.0, 2.0), (5.0, 6.0)], heard=[(2.5, 3.0), (6.8, 7.0)]))
    assert first.response_gap_ms == pytest.approx(500)
    assert second.response_gap_ms == pytest.approx(800)


def test_an_answer_to_the_second_of_two_things_said_is_not_the_firsts() -> None:
    first, second = turns(tape(said=[(1.0, 2.0), (2.5, 3.0)], heard=[(3.7, 4.0)]))
    assert first.response_gap_ms is None
    assert not first.mute
    assert second.response_gap_ms == pytest.approx(700)


def test_a_cough_is_not_a_turn() -> None:
    assert turns(tape(said=[(1.0, 1.3)], heard=[], kind="noise", length_s=10.0)) == ()
