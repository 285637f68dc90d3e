"""The judge of `bench heard`: requests and recordings made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from callwright.bench.ear import Heard, Passage, Source, SourceWord
from callwright.bench.heard_metrics import Verdict, differing, judge, tokens
from callwright.bench.heard_scenes import Line
from callwright.simulators.tape import RATE
from tests.simulators.tape_by_hand import tape

ANSWER = "It opens at 6:30, and closes late."
LINES = (
    Line("Tell me about the gift shop.", "gift shop", ANSWER),
    Line("No wait, the fish market.", "fish market", ""),
)
SOURCE_RATE = 24000
WORD_S = 0.5


def produced(text: str, at_s: float, sounded_s: float) -> tuple[Source, Heard]:
    """A voice that says `text`, half a second a word; the first `sounded_s` of it were heard from `at_s` on."""
    words = text.split()
    size = round(WORD_S * SOURCE_RATE)
    spans = tuple(SourceWord(word, at * size, (at + 1) * size) for at, word in enumerate(words))
    heard = tuple(sounded_s >= (at + 0.5) * WORD_S for at in range(len(words)))
    passages = (Passage(0, round(sounded_s * SOURCE_RATE), round(at_s * RATE)),) if sounded_s else ()
    source = Source("c", SOURCE_RATE, b"", spans, at_s)
    return source, Heard("c", passages, heard, tuple(words))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def agent(*texts: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text} for text in texts]}


CALLED: list[dict[str, Any]] = [
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "search", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "{}"}]},
]


def verdict(
    messages: Sequence[dict[str, Any]],
    *,
    sounded_s: float = 1.7,
    onset_s: float = 3.5,
    voices: Sequence[tuple[Source, Heard]] | None = None,
    lines: Sequence[Line] = LINES,
) -> Verdict:
    """The answer begins to sound at 2 s; the caller asks from 0 to 1 s, and speaks up at `onset_s`."""
    made = tape(said=[(0.0, 1.0), (onset_s, onset_s + 1)], heard=[(2.0, 2.0 + sounded_s)] if sounded_s else [])
    voices = [produced(ANSWER, 2.0, sounded_s)] if voices is None else voices
    (found,) = judge(lines, made, voices, [{"messages": messages}])
    return found


def asked(*between: dict[str, Any]) -> list[dict[str, Any]]:
    return [user("Tell me about the gift shop."), *between, user("No wait, the fish market.")]


def test_the_words_heard_are_the_words_in_the_context() -> None:
    found = verdict(asked(agent("It opens at…")))
    assert (found.interrupted, found.exact, found.verbatim) == (True, True, False)
    assert (found.heard, found.over, found.under) == ("It opens at", 0, 0)
    assert found.stop_ms == pytest.approx(200)
    assert found.onset_s == pytest.approx(1.5)
    assert (found.asked, found.text) == (LINES[0].text, LINES[1].text)


def test_a_cut_is_told_by_the_word_it_fell_into() -> None:
    cut = verdict(asked(agent("It opens at"))).cut
    assert cut is not None
    assert (cut.word, cut.into_ms, cut.of_ms) == ("6:30,", pytest.approx(200), pytest.approx(500))
    assert cut.margin_ms == pytest.approx(50)


def test_words_too_many_and_too_few_are_counted() -> None:
    assert (verdict(asked(agent("It opens at 6:30, and"))).over, verdict(asked(agent("It opens"))).under) == (2, 1)
    assert verdict(asked()).under == 3
    assert differing(["a", "b", "c"], ["a", "c"]) == (1, 0)


def test_a_lone_mark_is_no_word() -> None:
    assert tokens("Well – it's “6:30”, isn't it?…") == ["well", "it's", "6:30", "isn't", "it"]


def test_an_answer_of_which_nothing_was_heard_leaves_nothing() -> None:
    both = [user("Tell me about the gift shop. No wait, the fish market.")]
    found = verdict(both, sounded_s=0, onset_s=1.6)
    assert (found.exact, found.interrupted, found.unjudged, found.stop_ms) == (True, True, "", None)
    assert verdict(asked(agent("It")), sounded_s=0, onset_s=1.6).over == 1


def test_an_agent_that_was_waited_for_and_never_spoke_is_not_judged() -> None:
    assert verdict(asked(), sounded_s=0, onset_s=9.0, voices=[]).unjudged == "the agent never spoke"


@pytest.mark.parametrize(
    ("expected", "heard"),
    [(ANSWER, "It opens at"), ("It opens opens at 6:30, and closes late.", "It opens opens at")],
)
def test_a_word_that_was_broken_off_and_said_again_is_one_word(expected: str, heard: str) -> None:
    again = expected.replace("It ", "").replace("opens opens", "opens")
    voices = [produced(expected, 2.0, 0.8), produced(again, 3.0, 1.2)]
    lines = (Line(LINES[0].text, LINES[0].topic, expected), LINES[1])
    found = verdict(asked(agent("It opens at")), sounded_s=2.2, onset_s=4.0, voices=voices, lines=lines)
    assert found.heard == heard


def test_an_answer_to_something_else_is_not_judged() -> None:
    strange = [produced("I did not understand.", 2.0, 1.7)]
    assert verdict(asked(), voices=strange).unjudged == "the agent said something else: I did not understand."


def test_without_a_request_nothing_is_judged() -> None:
    assert verdict([user("Tell me about the gift shop.")]).unjudged == "no request holds the caller's next line"


def test_the_first_request_with_the_next_line_decides() -> None:
    made = tape(said=[(0.0, 1.0), (3.5, 4.5)], heard=[(2.0, 3.7)])
    requests = [{"messages": asked()[:1]}, {"messages": asked(agent("It opens at"))}, {"messages": asked(agent("It"))}]
    (found,) = judge(LINES, made, [produced(ANSWER, 2.0, 1.7)], requests)
    assert found.exact


@pytest.mark.parametrize("spoken", [["One moment, please.", "It opens"], ["One moment, please. It opens"]])
def test_a_filler_counts_on_neither_side(spoken: list[str]) -> None:
    lines = (Line(LINES[0].text, "gift shop", ANSWER, filler="One moment, please."), LINES[1])
    voices = [produced(text, 1.5 + number, 5.0) for number, text in enumerate(spoken)]
    context = asked(*CALLED, agent("One moment, please. It opens"))
    found = verdict(context, sounded_s=2.5, onset_s=4.4, voices=voices, lines=lines)
    assert (found.heard, found.context, found.exact) == ("It opens", "It opens", True)


WHOLE_S = 3.5


def test_an_answer_heard_to_its_end_stands_in_the_context_once() -> None:
    found = verdict(asked(agent(ANSWER)), sounded_s=WHOLE_S, onset_s=6.0)
    assert (found.interrupted, found.lost, found.stop_ms) == (False, "", None)
    with_tool = asked(agent("It opens at 6:30,"), *CALLED, agent("and closes late."))
    assert verdict(with_tool, sounded_s=WHOLE_S, onset_s=6.0).lost == ""


@pytest.mark.parametrize(
    ("messages", "lost"),
    [
        (asked(), "missing"),
        (asked(agent("It opens at 6:30, and")), "changed"),
        (asked(agent(ANSWER, ANSWER)), "changed"),
        ([*asked(agent(ANSWER)), agent(ANSWER)], "doubled"),
        (asked(agent("It opens at 6:30,", "and closes late.")), "split"),
    ],
)
def test_a_whole_answer_can_be_lost_in_several_ways(messages: list[dict[str, Any]], lost: str) -> None:
    assert verdict(messages, sounded_s=WHOLE_S, onset_s=6.0).lost == lost


def test_a_line_that_was_never_said_is_counted() -> None:
    made = tape(said=[(0.0, 1.0)], heard=[(2.0, 3.0)])
    (found,) = judge(LINES, made, [], [])
    assert found.unjudged == "the call ended before"
