"""What of the agent's sound is whose: the model's answer, its words before a tool, a filler, the greeting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from callwright.bench.ear import Heard, Passage, Source, SourceWord
from callwright.bench.utterances import utterances
from callwright.bench.wire import Reply
from callwright.simulators.brain import Use
from callwright.simulators.tape import RATE

ANSWER = "The ferry leaves from the second pier."
PREAMBLE = "Gladly, the telephone is in my hand."
REPLIES = (
    Reply(PREAMBLE, (Use("ask", {}),), asked_at=101, ended_at=102, whole=True),
    Reply(ANSWER, (), asked_at=105, ended_at=106, whole=True),
)


def source(text: str, at_s: float, *, begun: int | None = None) -> Source:
    """A voice that takes half a second for each word; only the first `begun` words were sent."""
    words = tuple(SourceWord(word, n * RATE // 2, (n + 1) * RATE // 2) for n, word in enumerate(text.split()[:begun]))
    return Source(text[:6], RATE, bytes(RATE * len(words)), words, at_s, text)


def heard(of: Source, *passages: tuple[float, float, float]) -> Heard:
    """Seconds: (first, end) of the source sounded at a place of the tape."""
    placed = tuple(Passage(round(a * RATE), round(b * RATE), round(at * RATE)) for a, b, at in passages)
    return Heard(of.context_id, placed, (), ())


TAPE = np.full(30 * RATE, 5000, np.int16)


def found(*pairs: tuple[Source, Heard]) -> list[tuple[str, str, float, float, bool]]:
    sources, results = zip(*pairs, strict=True)
    made = utterances(sources, results, REPLIES, ["Good day."], TAPE, origin_s=100)
    return [(one.kind, one.text, one.begin, one.end, one.in_word) for one in made]


def test_each_is_known_by_its_words() -> None:
    greeting, own, filler, answer = (
        source("Good day.", 0),
        source(PREAMBLE, 1.5),
        source("Still looking for you.", 5),
        source(ANSWER, 6),
    )
    kinds = found(
        (greeting, heard(greeting, (0, 1, 0))),
        (own, heard(own, (0, 3.5, 2))),
        (filler, heard(filler, (0, 2, 6))),
        (answer, heard(answer, (0, 3.5, 8))),
    )
    assert [kind for kind, *_ in kinds] == ["fixed", "preamble", "filler", "answer"]


def test_what_was_never_heard_is_not_there() -> None:
    answer = source(ANSWER, 6)
    assert found((answer, heard(answer))) == []


def test_one_context_may_hold_a_preamble_a_filler_and_an_answer() -> None:
    whole = source(f"{PREAMBLE} One moment. {ANSWER}", 5.5)
    parts = found((whole, heard(whole, (0, 8, 6))))
    assert [(kind, text) for kind, text, *_ in parts] == [
        ("preamble", PREAMBLE),
        ("filler", "One moment."),
        ("answer", ANSWER),
    ]
    assert parts[1][2:4] == pytest.approx((9.5, 10.5), abs=0.011)


def test_a_line_cut_after_a_word_that_stands_in_an_answer_is_still_that_line() -> None:
    line = source("The other one, please.", 7, begun=1)
    assert found((line, heard(line, (0, 0.5, 7))))[0][0] == "filler"


def test_a_line_rendered_beforehand_is_no_words_of_the_models_even_if_it_wrote_the_same() -> None:
    line = replace(source(PREAMBLE, 1.5), context_id="batch-1")
    assert found((line, heard(line, (0, 3.5, 2))))[0][0] == "filler"


def test_the_last_words_of_a_line_are_not_taken_for_those_of_an_answer() -> None:
    line = source("I am looking at the pier.", 7)
    assert [kind for kind, *_ in found((line, heard(line, (0, 3, 7))))] == ["filler"]


def test_words_of_a_reply_that_was_asked_for_later_are_not_its() -> None:
    early = source(ANSWER, 2)
    assert found((early, heard(early, (0, 3.5, 2))))[0][0] == "filler"


@pytest.mark.parametrize(("end", "in_word"), [(1.25, True), (1.0, False), (1.03, False), (2.0, False)])
def test_a_cut_in_a_word_is_told_from_one_between_words(end: float, in_word: bool) -> None:
    line = source("Still looking for you.", 5)
    assert found((line, heard(line, (0, end, 6))))[0][4] is in_word
