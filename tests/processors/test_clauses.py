"""When the model's words are enough to begin speaking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import Frame, LLMFullResponseEndFrame, LLMFullResponseStartFrame, LLMTextFrame
from pipecat.processors.frame_processor import FrameDirection

from callwright.speech import BROKEN_OFF, Kept, Piece, Utterance, UtteranceEnd
from processors.clauses import ClauseCutter, Clauses


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


async def broken(text: str, how: str) -> tuple[Utterance, list[Frame]]:
    """An answer that ends in its middle: its utterance, and what the cutter pushes."""
    clauses, out = Clauses(), list[Frame]()

    async def push(frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        assert (direction is FrameDirection.UPSTREAM) == isinstance(frame, Kept)
        out.append(frame)

    clauses.push_frame = push  # type: ignore[method-assign]
    utterance = Utterance("answer", 1, text=text)
    start, end = LLMFullResponseStartFrame(), LLMFullResponseEndFrame()
    start.metadata["utterance"], end.metadata[BROKEN_OFF] = utterance, how
    for frame in (start, LLMTextFrame(text), end):
        await clauses.process_frame(frame, FrameDirection.DOWNSTREAM)
    return utterance, out


@pytest.mark.parametrize("how", ["dropped", "limit"])
async def test_an_answer_that_broke_off_is_what_went_to_the_voice_and_no_more(how: str) -> None:
    utterance, out = await broken("Your table is booked. For eight, on", how)
    assert [frame.text for frame in out if isinstance(frame, Piece)] == ["Your table is booked."]
    assert utterance.text == "Your table is booked."
    assert [frame.utterance for frame in out if isinstance(frame, Kept)] == [utterance]
    assert isinstance(out[-1], UtteranceEnd)


async def test_what_broke_off_before_its_first_piece_is_forgotten_but_at_the_limit_of_its_length_it_is_said() -> None:
    utterance, out = await broken("Your table", "dropped")
    assert utterance.text == ""
    assert not [frame for frame in out if isinstance(frame, Piece)]
    utterance, out = await broken("Your table", "limit")
    assert utterance.text == "Your table"
    assert [frame.text for frame in out if isinstance(frame, Piece)] == ["Your table"]
