"""What the scripted model makes of imperfectly recognised words."""

from __future__ import annotations

import pytest

from callwright.simulators import listening
from callwright.simulators.listening import ClockTime


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("appointment", "I would like to book an appointment."),
        ("appointment", "i'd like to but can apply and meant please"),
        ("reschedule", "i need to re schedule"),
        ("goodbye", "Good-bye!"),
        ("that's all", "No, that’s all."),
        ("book", "book"),
    ],
)
def test_a_phrase_is_heard(phrase: str, text: str) -> None:
    assert listening.heard(phrase, text)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("that's all", "yes that's right"),
        ("monday", "i want to"),
        ("book", "look"),
        ("book", "booking.com"),
        ("cancel", ""),
        ("move", "more"),
    ],
)
def test_a_phrase_is_not_heard_where_it_was_not_said(phrase: str, text: str) -> None:
    assert not listening.heard(phrase, text)


def test_the_very_words_are_surer_than_something_alike() -> None:
    assert listening.likeness("appointment", "an appointment") == 1
    assert 0 < listening.likeness("appointment", "an appointement") < 1


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("On Tuesday, please.", "tuesday"),
        ("not monday wednesday", "wednesday"),
        ("tomorrow would be fine", "tomorrow"),
        ("wensday afternoon", "wednesday"),
        ("as soon as possible", None),
        ("i want to", None),
    ],
)
def test_a_day_is_understood(text: str, day: str | None) -> None:
    assert listening.day(text) == day


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("ten thirty please", ClockTime(10, 30)),
        ("at half past two", ClockTime(14, 30)),
        ("quarter to nine", ClockTime(8, 45)),
        ("a quarter past eleven", ClockTime(11, 15)),
        ("nine o'clock", ClockTime(9, 0)),
        ("at three", ClockTime(15, 0)),
        ("10:30", ClockTime(10, 30)),
        ("2 p.m. is fine", ClockTime(14, 0)),
        ("seven in the morning, at seven", ClockTime(7, 0)),
        ("two forty five", ClockTime(14, 45)),
        ("twelve thirty", ClockTime(12, 30)),
        ("the second one", None),
        ("i have two children", None),
    ],
)
def test_a_time_is_understood(text: str, time: ClockTime | None) -> None:
    assert listening.clock_time(text) == time


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes, please.", True),
        ("yeah that's right", True),
        ("okay go ahead", True),
        ("please do", True),
        ("No, thank you.", False),
        ("nope tempt you", False),
        ("that's not right", False),
        ("the second line please", None),
        ("tuesday", None),
    ],
)
def test_yes_and_no_are_told_apart(text: str, answer: bool | None) -> None:
    assert listening.yes_no(text) is answer


@pytest.mark.parametrize(
    ("text", "asked", "name"),
    [
        ("My name is Mary Johnson.", False, "Mary Johnson"),
        ("hello my name is mary johnson i'd like an appointment", False, "Mary Johnson"),
        ("Mary Johnson.", True, "Mary Johnson"),
        ("it's mary johnson please", True, "Mary Johnson"),
        ("Mary Johnson.", False, None),
        ("uh", True, None),
        ("why do you need to know that now of all times", True, None),
    ],
)
def test_a_name_is_heard_after_a_cue_or_when_it_was_asked_for(text: str, asked: bool, name: str | None) -> None:
    assert listening.person_name(text, ["my name is"], asked=asked) == name


@pytest.mark.parametrize(
    ("text", "number"),
    [("the first one", 0), ("the second", 1), ("the last one", -1), ("the later one", -1), ("yes", None)],
)
def test_a_number_in_a_row_is_understood(text: str, number: int | None) -> None:
    assert listening.ordinal(text) == number


def test_what_a_program_added_is_not_the_callers() -> None:
    assert listening.plain("[The caller is connected.]") == ""
    assert listening.plain('<note n="1">Steps: book\n</note> yes please') == "yes please"
