"""What the words of a transcript say about the end of a turn."""

import pytest

from processors.completeness import Completeness, judge


@pytest.mark.parametrize(
    "text",
    [
        "No, that is all, thank you.",
        "What is it for?",
        "Tuesday morning, please.",
        "Stop!",
        "My name is Mary Johnson.",
    ],
)
def test_a_closed_sentence_is_finished(text: str) -> None:
    assert judge(text) is Completeness.FINISHED


@pytest.mark.parametrize(
    "text", ["I would like to", "My name is Doctor. And my", "On Tuesday and.", "Well,", "I want the."]
)
def test_a_sentence_that_must_go_on_is_unfinished(text: str) -> None:
    assert judge(text) is Completeness.UNFINISHED


@pytest.mark.parametrize("text", ["i would like to book an appointment", "Yes, I can.", "", "mary johnson"])
def test_without_a_sign_nothing_is_known(text: str) -> None:
    assert judge(text) is Completeness.UNKNOWN


def test_in_a_language_without_a_list_nothing_is_claimed() -> None:
    assert judge("Ich möchte bitte einen.", "de") is Completeness.UNKNOWN
