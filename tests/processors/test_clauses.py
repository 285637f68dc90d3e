"""When the model's words are enough to begin speaking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.clauses import ClauseCutter


def pieces(text: str, **options: int) -> list[str]:
    cutter = ClauseCutter(**options)
    out: list[str] = []
    for character in text:
        out += cutter.feed(character)
    rest = cutter.flush()
    return [*out, rest] if rest else out


def test_the_first_piece_is_the_first_clause() -> None:
    assert pieces("Sure, I can book that for you. What day?") == [
        "Sure,",
        " I can book that for you.",
        " What day?",
    ]


def test_without_a_clause_mark_the_first_piece_ends_at_a_word() -> None:
    text = "I can see three free slots on Tuesday morning with Doctor Lee."
    assert pieces(text) == ["I can see three", " free slots on Tuesday morning with Doctor Lee."]


def test_later_pieces_are_sentences_not_clauses() -> None:
    assert pieces("Yes. On Monday, at nine, I am free. And you?") == [
        "Yes.",
        " On Monday, at nine, I am free.",
        " And you?",
    ]


@pytest.mark.parametrize("text", ["It costs 1,200.50 dollars in all", "At 9.30 then, is that fine"])
def test_a_mark_inside_a_number_does_not_cut(text: str) -> None:
    for piece in pieces(text):
        assert not piece[-1].isdigit() or text.endswith(piece)


def test_a_title_ends_no_sentence() -> None:
    assert pieces("Fine. You will see Dr. Smith on Monday.") == [
        "Fine.",
        " You will see Dr. Smith on Monday.",
    ]


def test_a_closing_quote_belongs_to_its_sentence() -> None:
    assert pieces('He said "yes." Then he left.')[0] == 'He said "yes."'


@given(st.text(alphabet='ab ,.!?;9\n"“Dr', max_size=200), st.integers(1, 7))
def test_no_character_is_lost_or_doubled_however_tokens_fall(text: str, size: int) -> None:
    cutter = ClauseCutter()
    out: list[str] = []
    for start in range(0, len(text), size):
        out += cutter.feed(text[start : start + size])
    out.append(cutter.flush())
    assert "".join(out).rstrip() == text.rstrip()
