"""What stands of a stretch whose voice broke off: nothing heard is said twice, nothing unheard is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.speech import Utterance
from processors.floor import Floor
from processors.stretch import Timed

RATE = 8000
WORD = RATE // 4
TEXT = "Well, your appointment is on Monday at nine. See you then."
WORDS = TEXT.split()


def broken(samples: int, timed: int) -> tuple[Floor, Utterance]:
    floor = Floor(RATE)
    utterance = floor.open("answer", 1)
    utterance.text = TEXT
    floor.sent("a", utterance, TEXT, end=len(TEXT))
    floor.timed("a", [Timed(word, n * WORD, (n + 1) * WORD) for n, word in enumerate(WORDS[:timed])])
    floor.received("a", bytes(2 * samples))
    return floor, utterance


def test_a_word_cut_in_half_is_said_again_and_its_half_is_not_played() -> None:
    floor, utterance = broken(2 * WORD + WORD // 2, 3)
    assert floor.withdraw("a", 2 * WORD + WORD // 2) == (TEXT.index("appointment"), 2 * WORD)
    assert utterance.sent == len("Well, your ")


@pytest.mark.parametrize(("played", "heard"), [(3 * WORD // 4, "Well, your appointment"), (WORD // 3, "Well, your")])
def test_a_word_cut_in_half_counts_as_heard_if_half_of_it_was(played: int, heard: str) -> None:
    floor, utterance = broken(2 * WORD + played, 3)
    floor.submitted("a", 0, 2 * WORD + played, index=0, position=0)
    floor.played(2 * WORD + played)
    assert floor.heard(utterance) == heard
    floor.withdraw("a", 2 * WORD + played)
    assert floor.heard(utterance) == heard
    settled = floor.over(utterance)
    assert settled is not None
    assert settled.heard == heard
    assert settled.unheard == TEXT[len(heard) :].strip()
    assert [word.text for word in settled.words] == heard.split()


def test_a_word_said_again_is_one_word_and_counts_where_it_was_said_in_full() -> None:
    begun = 3 * WORD - WORD // 4
    floor, utterance = broken(begun, 3)
    floor.submitted("a", 0, begun, index=0, position=0)
    floor.played(begun)
    floor.withdraw("a", begun)
    rest = TEXT[TEXT.index("appointment") :]
    floor.sent("b", utterance, rest, end=len(TEXT))
    floor.timed("b", [Timed(word, n * WORD, (n + 1) * WORD) for n, word in enumerate(rest.split())])
    floor.received("b", bytes(2 * 2 * WORD))
    floor.submitted("b", 0, 2 * WORD, index=begun, position=RATE)
    floor.played(begun + 2 * WORD)
    assert floor.heard(utterance) == "Well, your appointment is"
    assert utterance.spoken == TEXT
    settled = floor.over(utterance)
    assert settled is not None
    assert [(word.text, word.start) for word in settled.words][2:] == [("appointment", RATE), ("is", RATE + WORD)]
    assert settled.unheard == "on Monday at nine. See you then."


def test_audio_whose_words_are_not_told_yet_is_given_up() -> None:
    floor, _ = broken(5 * WORD, 2)
    assert floor.withdraw("a", 5 * WORD) == (TEXT.index("appointment"), 2 * WORD)


def test_a_stretch_that_was_said_whole_stands() -> None:
    floor, utterance = broken(len(WORDS) * WORD, len(WORDS))
    assert floor.unsaid("a", len(WORDS) * WORD) == ""
    assert floor.withdraw("a", len(WORDS) * WORD) == (len(TEXT), len(WORDS) * WORD)
    assert utterance.spoken == TEXT


def test_what_is_missing_is_told_where_words_are_timed() -> None:
    floor, _ = broken(9 * WORD, 9)
    assert floor.unsaid("a", 9 * WORD) == "you then."
    assert Floor(RATE).unsaid("a", 0) is None


def test_an_unknown_stretch_has_nothing_to_withdraw() -> None:
    assert Floor(RATE).withdraw("a", 100) is None


def test_without_times_it_goes_back_to_a_mark_that_was_not_heard() -> None:
    floor, utterance = broken(RATE * 6 // 5, 0)  # 1.2 s: somewhere in the third word or behind it
    found = floor.withdraw("a", RATE * 6 // 5)
    assert found is not None
    assert utterance.spoken in ("", "Well, ")
    assert found[0] == len(utterance.spoken)


@given(st.integers(0, len(WORDS) * WORD), st.integers(0, len(WORDS)))
def test_what_stands_and_what_is_sent_again_are_the_whole_text(samples: int, timed: int) -> None:
    floor, utterance = broken(samples, min(timed, samples // WORD + 1))
    found = floor.withdraw("a", samples)
    assert found is not None
    at, end = found
    assert 0 <= end <= samples
    floor.closed("a")
    floor.submitted("a", 0, end, index=0, position=0)
    floor.played(end)
    rest = TEXT[at:]
    if rest.strip():
        floor.sent("b", utterance, rest, end=len(TEXT))
        words = rest.split()
        floor.timed("b", [Timed(word, n * WORD, (n + 1) * WORD) for n, word in enumerate(words)])
        floor.received("b", bytes(2 * WORD * len(words)))
        floor.closed("b")
        floor.submitted("b", 0, WORD * len(words), index=end, position=end)
        floor.played(end + WORD * len(words))
    assert utterance.spoken == TEXT
    assert utterance.sent == len(TEXT)
    settled = floor.over(utterance)
    assert settled is not None
    if timed or at == 0:
        assert settled.heard == TEXT
        assert settled.unheard == ""
