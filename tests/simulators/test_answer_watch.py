"""When an agent is done, by ear."""

from __future__ import annotations

from callwright.simulators.answer_watch import BUSY_LIMIT_S, AnswerWatch


def sound(watch: AnswerWatch, start_s: float, end_s: float) -> None:
    """Loud windows of 10 ms from `start_s` until `end_s`."""
    for k in range(round((end_s - start_s) * 100)):
        watch.sound(start_s + k * 0.01, 0.01)


def test_an_agent_that_was_never_heard_is_not_done() -> None:
    watch = AnswerWatch(0.0)
    assert not watch.done(100.0, 0.7)
    assert not watch.sounding(100.0)


def test_an_answer_and_then_quiet_is_done() -> None:
    watch = AnswerWatch(0.0)
    sound(watch, 1.0, 2.0)
    assert watch.begun_s == 1.0
    assert watch.sounding(2.05)
    assert not watch.done(2.5, 0.7)
    assert watch.done(2.7, 0.7)


def test_after_a_mark_the_answer_before_does_not_count() -> None:
    watch = AnswerWatch(0.0)
    sound(watch, 1.0, 2.0)
    watch.mark(4.0)
    assert watch.begun_s is None
    assert not watch.done(10.0, 0.7)


def test_the_tail_of_what_was_talked_over_is_not_an_answer() -> None:
    watch = AnswerWatch(0.0)
    sound(watch, 1.0, 3.0)
    watch.mark(3.0)
    sound(watch, 3.0, 3.4)
    assert watch.begun_s is None
    sound(watch, 4.5, 5.0)
    assert watch.begun_s == 4.5


def test_an_agent_that_speaks_on_did_not_yield_and_that_is_its_answer() -> None:
    watch = AnswerWatch(0.0)
    sound(watch, 1.0, 3.0)
    watch.mark(3.0)
    sound(watch, 3.0, 4.5)
    assert watch.begun_s == 3.0
    assert watch.done(5.2, 0.7)


def test_a_filler_is_not_the_end_while_the_agent_says_it_is_thinking() -> None:
    watch = AnswerWatch(0.0)
    watch.state("thinking")
    sound(watch, 1.0, 1.5)
    assert not watch.done(3.0, 0.7)
    watch.state("listening")
    assert watch.done(3.0, 0.7)


def test_an_agent_stuck_in_a_state_is_not_waited_for_for_ever() -> None:
    watch = AnswerWatch(0.0)
    watch.state("speaking")
    sound(watch, 1.0, 1.5)
    assert watch.done(1.51 + BUSY_LIMIT_S, 0.7)


def test_without_captions_words_are_told_by_the_length_of_sound() -> None:
    watch = AnswerWatch(0.0)
    sound(watch, 1.0, 1.8)
    assert watch.spoke(2)
    assert not watch.spoke(3)


def test_captions_that_run_ahead_of_the_sound_are_held_back() -> None:
    watch = AnswerWatch(0.0)
    watch.words(20)
    assert not watch.spoke(3)
    sound(watch, 1.0, 1.3)
    assert not watch.spoke(3)
    sound(watch, 1.3, 1.5)
    assert watch.spoke(3)


def test_captions_that_lag_are_believed() -> None:
    watch = AnswerWatch(0.0)
    sound(watch, 1.0, 3.0)
    watch.words(2)
    assert not watch.spoke(3)
    watch.words(3)
    assert watch.spoke(3)
