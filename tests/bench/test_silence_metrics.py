"""The judge of tools and fillers on calls whose truth is known: right systems pass, and wrong ones do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callwright.bench import silence_metrics
from callwright.bench.silence_metrics import Fillers, Turn, effects, turns
from callwright.bench.utterances import Kind, Spoken
from callwright.bench.wire import Reply
from callwright.simulators.brain import Use
from tests.simulators.tape_by_hand import tape

END = 1.0
"""The caller of these tests speaks from 0 to 1 s."""


def spoken(kind: Kind, begin: float, end: float, text: str = "", *, ready: float | None = None, **rest: int) -> Spoken:
    of = {"answer": 1, "preamble": 0}.get(kind)
    text = text or {"filler": "One moment please."}.get(kind, "The ferry leaves from the second pier.")
    return Spoken(kind, text, begin, end, begin if ready is None else ready, of, bool(rest.get("in_word")))


def judged(
    *heard: Spoken, said: tuple[tuple[float, float], ...] = ((0, END),), length_s: float = 12
) -> tuple[Turn, ...]:
    made = tape(said=list(said), heard=[(one.begin, one.end) for one in heard], length_s=length_s)
    return turns(made, heard)


def one(*heard: Spoken, length_s: float = 12) -> Turn:
    (found,) = judged(*heard, length_s=length_s)
    return found


def near(ms: float | None, expected: float) -> bool:
    return ms is not None and abs(ms - expected) <= 10


# ---------------------------------------------------------------------- silence


def test_a_tool_bridged_by_a_filler() -> None:
    found = one(spoken("filler", 1.8, 3), spoken("filler", 4.1, 5), spoken("answer", 5.5, 9))
    assert near(found.first_sound_ms, 800)
    assert near(found.first_filler_ms, 800)
    assert near(found.response_gap_ms, 4500)
    assert near(found.longest_silence_ms, 1100)
    assert (found.waited, found.needless, found.mute) == (True, False, False)


def test_a_silent_wait_is_as_long_as_it_was() -> None:
    found = one(spoken("answer", 6.5, 9))
    assert near(found.longest_silence_ms, 5500)
    assert near(found.first_sound_ms, 5500)
    assert found.mute
    assert found.first_filler_ms is None


def test_silence_after_the_last_word_of_the_answer_is_the_callers_to_break() -> None:
    assert near(one(spoken("answer", 1.5, 4)).longest_silence_ms, 500)


def test_a_filler_that_nothing_follows_does_not_end_the_silence() -> None:
    assert near(one(spoken("filler", 1.8, 3)).longest_silence_ms, 9000)


def test_an_agent_that_says_nothing_is_mute_until_the_caller_speaks_again() -> None:
    first, second = judged(spoken("answer", 9.5, 11), said=((0, 1), (8, 9)))
    assert (first.mute, second.mute) == (True, False)
    assert near(first.longest_silence_ms, 7000)
    assert near(second.first_sound_ms, 500)


def test_silence_between_a_preamble_and_the_answer_counts() -> None:
    found = one(spoken("preamble", 1.6, 3), spoken("answer", 6, 8))
    assert near(found.longest_silence_ms, 3000)
    assert near(found.response_gap_ms, 5000)
    assert near(found.first_sound_ms, 600)


def test_an_agent_that_speaks_over_the_callers_end_has_no_gap() -> None:
    found = one(spoken("answer", 0.5, 4))
    assert found.overlapped
    assert found.first_sound_ms is None
    assert near(found.longest_silence_ms, 0)


# ---------------------------------------------------------------------- fillers


def test_a_filler_is_needless_when_the_answer_was_there_within_the_threshold() -> None:
    early = one(spoken("filler", 1.5, 2.5), spoken("answer", 2.6, 5, ready=1.6))
    assert early.needless
    assert not early.waited
    late = one(spoken("filler", 1.8, 2.5), spoken("answer", 2.6, 5, ready=1.75))
    assert not late.needless
    assert late.waited


def test_the_hand_over_is_judged_where_the_answer_had_to_wait_for_the_filler() -> None:
    assert near(one(spoken("filler", 1.8, 2.5), spoken("answer", 2.9, 5, ready=2.1)).handover_gap_ms, 400)
    assert one(spoken("filler", 1.8, 2.5), spoken("answer", 2.9, 5, ready=2.6)).handover_gap_ms is None


REPLIES = (
    Reply("", (Use("ask", {"topic": "ferry", "question": 1}),), 1.2, 1.5, True),
    Reply("The ferry leaves from the second pier.", (), 2.0, 2.4, True),
)


def fillers(*heard: Spoken, said: tuple[tuple[float, float], ...] = ((0, END),), shown: str = "") -> Fillers:
    made = tape(said=list(said), heard=[(one.begin, one.end) for one in heard], length_s=12)
    return silence_metrics.fillers(heard, made, [["Good day."], [shown]], REPLIES)


def test_a_filler_cut_in_a_word_by_the_answer_is_a_fault_and_one_cut_by_the_caller_is_none() -> None:
    cut = spoken("filler", 1.8, 2.5, in_word=True)
    assert fillers(cut, spoken("answer", 2.6, 4)).cut_in_word == 1
    assert fillers(replace(cut, in_word=False), spoken("answer", 2.6, 4)).overlap == 0
    assert fillers(cut, said=((0, 1), (2.3, 3))).cut_in_word == 0


def test_a_filler_between_two_pieces_of_an_answer_is_over_it() -> None:
    first, second = spoken("answer", 1.6, 3), spoken("answer", 4.5, 6)
    assert fillers(first, spoken("filler", 3.2, 4.2), second).over_answer == 1
    assert fillers(spoken("filler", 1.1, 1.5), first, second).over_answer == 0
    assert fillers(spoken("preamble", 1.6, 3), spoken("filler", 3.5, 4.2), second).over_answer == 0


def test_the_same_line_twice_running_is_a_fault_even_across_turns() -> None:
    a, b = spoken("filler", 1.8, 2.5), spoken("filler", 4, 4.7, "one moment, please")
    assert fillers(a, b).repeated == 1
    assert fillers(a, spoken("filler", 3, 3.5, "Still looking."), b).repeated == 0


def test_a_filler_begun_over_the_caller_is_counted() -> None:
    assert fillers(spoken("filler", 0.5, 1.5)).over_caller == 1
    assert fillers(spoken("filler", 1.5, 2.5)).over_caller == 0


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("One moment please. The ferry leaves.", 3),
        ("one moment", 2),
        ("The one pier.", 0),
        ("The ferry leaves from the second pier.", 0),
    ],
)
def test_words_of_a_filler_in_the_context_are_counted(shown: str, words: int) -> None:
    assert fillers(spoken("filler", 1.8, 2.5), shown=shown).in_context == words


def test_words_that_the_model_wrote_itself_are_no_filler_in_the_context() -> None:
    line = spoken("filler", 1.8, 2.5, "The ferry leaves")
    assert fillers(line, shown="The ferry leaves from the second pier.").in_context == 0


# ---------------------------------------------------------------------- the world


def ask(*questions: int, whole: bool = True) -> Reply:
    return Reply("", tuple(Use("ask", {"topic": "ferry", "question": n}) for n in questions), 1, 2, whole)


def did(*lines: str) -> list[dict[str, object]]:
    """ "+1" begins the first question's effect, "1" completes it."""
    return [{"ticket": f"ferry/{line[-1]}", "what": "begun" if line[0] == "+" else "done", "at": 1.0} for line in lines]


def test_everything_done_once() -> None:
    found = effects(did("+1", "+2", "1", "2"), [ask(1, 2)])
    assert (found.asked, found.lost, found.cut, found.doubled) == (2, 0, 0, 0)


def test_a_system_that_runs_only_the_last_of_several_calls_loses_the_others() -> None:
    assert effects(did("+2", "2"), [ask(1, 2)]).lost == 1


def test_a_system_that_cancels_a_tool_has_lost_it_and_cut_it() -> None:
    found = effects(did("+1"), [ask(1)])
    assert (found.lost, found.cut) == (1, 1)


def test_a_system_that_does_it_again_has_doubled_it_even_if_the_model_asked_again() -> None:
    found = effects(did("+1", "1", "+1", "1"), [ask(1), ask(1)])
    assert (found.asked, found.doubled, found.asked_again) == (1, 1, 1)


def test_what_was_asked_in_a_reply_that_was_broken_off_may_be_missing_but_not_doubled() -> None:
    assert effects([], [ask(1, whole=False)]).lost == 0
    assert effects(did("+1", "1", "+1", "1"), [ask(1, whole=False)]).doubled == 1
