"""An utterance as the voices get it."""

from __future__ import annotations

from pipecat.utils.text.base_text_aggregator import TextType

from callwright.failover.utterance import Spoken
from callwright.speech import Piece, Say, Utterance


def spoken(*texts: str) -> Spoken:
    made = Spoken()
    utterance = Utterance("answer", 1)
    end = 0
    for text in texts:
        end += len(text)
        made.add(Piece(text, TextType.SENTENCE, raw_text=text, utterance=utterance, end=end))
    return made


def test_what_was_given_is_not_given_again() -> None:
    made = spoken("One,", " two.")
    piece = made.take()
    assert isinstance(piece, Piece)
    assert (piece.text, piece.end) == ("One, two.", 9)
    assert made.take() is None


def test_what_did_not_stand_is_given_as_one_piece_of_the_same_utterance() -> None:
    made = spoken("One,", " two.", " Three.")
    made.take()
    made.given = 4
    piece = made.take()
    assert isinstance(piece, Piece)
    assert (piece.text, piece.end, piece.utterance) == (" two. Three.", 16, made.utterance)


def test_marks_alone_are_nothing_to_say() -> None:
    made = spoken(" …", " —")
    assert not made.waiting
    assert made.take() is None


def test_a_voice_that_waits_for_full_stops_owes_nothing_before_one() -> None:
    made = spoken("One. Two,")
    made.take()
    assert made.due(0, by_piece=True) == 6
    assert made.due(0, by_piece=False) == 3
    assert made.due(4, by_piece=False) == 0
    made.end()
    assert made.due(0, by_piece=False) == 6


def test_a_fixed_line_is_whole() -> None:
    made = Spoken.line(Say("Goodbye.", utterance=Utterance("farewell", 1, text="Goodbye.")))
    assert made.ended
    piece = made.take()
    assert isinstance(piece, Piece)
    assert piece.end == 8
