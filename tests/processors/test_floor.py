"""How much of what the agent says was heard: to the sample, in the model's own spelling."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from callwright.speech import Role, Utterance
from processors.floor import Floor
from processors.stretch import Timed

RATE = 8000
MS = RATE // 1000

Words = list[tuple[str, int, int]]
"""(text, start, end) in ms of the stretch."""

HELLO: Words = [("Hello", 0, 400), ("dear", 400, 800), ("caller.", 800, 1200)]


@dataclass
class Agent:
    """A floor, and what a voice and a room would tell it. Times are ms."""

    floor: Floor = field(default_factory=lambda: Floor(RATE))
    index: int = 0
    position: int = 0

    def open(self, text: str = "", role: Role = "answer") -> Utterance:
        utterance = self.floor.open(role, 1)
        utterance.text = text
        return utterance

    def voice(
        self, utterance: Utterance, said: str, words: Words, *, stretch: str = "a", ms: int | None = None
    ) -> None:
        """The voice has made a stretch of `said`: `words` are its own, `ms` its length."""
        self.floor.sent(stretch, utterance, said, end=len(utterance.text))
        self.floor.timed(stretch, [Timed(text, start * MS, end * MS) for text, start, end in words])
        self.floor.received(stretch, bytes(2 * MS * (words[-1][2] if ms is None else ms)))
        self.floor.closed(stretch)

    def hand_over(self, start: int, end: int, *, stretch: str = "a") -> None:
        self.hand_over_samples(start * MS, end * MS, stretch=stretch)

    def hand_over_samples(self, start: int, end: int, *, stretch: str = "a") -> None:
        self.floor.submitted(stretch, start, end - start, index=self.index, position=self.position)
        self.index += end - start
        self.position += end - start

    def play(self, start: int, end: int, *, stretch: str = "a") -> None:
        """[start, end) is handed over and leaves for the caller."""
        self.hand_over(start, end, stretch=stretch)
        self.floor.played(self.index)

    def silence(self, *, dropped: int = 0) -> None:
        """The room is emptied; `dropped` ms of what was handed over had not left."""
        self.index -= dropped * MS
        self.position -= dropped * MS
        self.floor.silenced(self.index)


def said(text: str = "Hello dear caller.", words: Words = HELLO) -> tuple[Agent, Utterance]:
    agent = Agent()
    utterance = agent.open(text)
    agent.voice(utterance, text, words)
    return agent, utterance


# -- the half-word rule


def test_a_word_is_heard_from_its_middle_sample_on() -> None:
    agent, utterance = said()
    agent.hand_over(0, 1200)
    middle = 600 * MS
    agent.floor.played(middle - 1)
    assert agent.floor.heard(utterance) == "Hello"
    agent.floor.played(middle)
    assert agent.floor.heard(utterance) == "Hello dear"


@pytest.mark.parametrize(("length", "needed"), [(1, 1), (2, 1), (3, 2), (101, 51)])
def test_half_of_an_odd_word_is_rounded_up(length: int, needed: int) -> None:
    floor = Floor(RATE)
    utterance = floor.open("answer", 1)
    floor.sent("a", utterance, "Yes", end=3)
    floor.timed("a", [Timed("Yes", 10, 10 + length)])
    floor.submitted("a", 0, 1000, index=0, position=0)
    floor.played(10 + needed - 1)
    assert floor.heard(utterance) == ""
    floor.played(10 + needed)
    assert floor.heard(utterance) == "Yes"


def test_what_is_handed_over_is_not_yet_heard() -> None:
    agent, utterance = said()
    agent.hand_over(0, 1200)
    assert agent.floor.heard(utterance) == ""
    assert agent.floor.saying() == ""


def test_what_was_dropped_from_the_queue_was_not_heard_however_much_is_counted_later() -> None:
    agent, utterance = said()
    agent.hand_over(0, 1200)
    agent.silence(dropped=700)
    agent.floor.played(agent.index + 5000 * MS)  # somebody else's samples
    assert agent.floor.heard(utterance) == "Hello"


def test_two_pieces_of_a_word_with_a_jump_between_are_not_one_hearing() -> None:
    agent, utterance = said()
    agent.play(0, 560)  # 40 % of "dear"
    agent.play(640, 800)  # the last 40 %
    assert agent.floor.heard(utterance) == "Hello"


def test_a_stall_of_the_source_does_not_break_a_word() -> None:
    agent, utterance = said()
    agent.play(0, 560)
    agent.position += 1500 * MS  # the source ran dry
    agent.play(560, 640)
    assert agent.floor.heard(utterance) == "Hello dear"


# -- several stretches, replays


def test_stretches_of_one_utterance_are_one_text_in_its_own_spacing() -> None:
    agent = Agent()
    utterance = agent.open("Well,\n\nyes.  Of course.")
    agent.voice(utterance, "Well,", [("Well", 0, 300)])
    agent.voice(utterance, "\n\nyes.", [("yes", 0, 300)], stretch="b")
    agent.voice(utterance, "  Of course.", [("Of", 0, 100), ("course", 100, 500)], stretch="c")
    agent.play(0, 300)
    agent.play(0, 300, stretch="b")
    assert agent.floor.heard(utterance) == "Well,\n\nyes."
    agent.play(0, 100, stretch="c")
    assert agent.floor.heard(utterance) == "Well,\n\nyes.  Of"


def test_a_word_that_was_broken_off_is_said_again_from_its_onset_and_counts_once() -> None:
    agent, utterance = said(words=[("Hello", 0, 400), ("dear", 500, 800), ("caller.", 800, 1200)])
    agent.hand_over(0, 1200)
    agent.floor.played(600 * MS)
    agent.silence(dropped=600)
    assert agent.floor.resume_point() == ("a", 470 * MS)  # 30 ms earlier: its onset is soft
    agent.position += 2000 * MS
    agent.play(470, 1200)
    assert agent.floor.heard(utterance) == "Hello dear caller."
    assert [word.text for word in agent.floor.words(utterance)] == ["Hello", "dear", "caller."]


# -- when the silence before a stretch was not played


LATE: Words = [("Hello", 0, 400), ("dear", 400, 800), ("caller.", 800, 1200)]
"""As some vendors tell it: the first word begins with the silence."""


def test_of_a_word_that_begins_with_dropped_silence_half_of_what_is_played_must_be_heard() -> None:
    agent, utterance = said(words=LATE)
    agent.position = 5000 * MS
    agent.hand_over(170, 1200)
    agent.floor.played(115 * MS - 1)
    assert agent.floor.heard(utterance) == ""
    agent.floor.played(115 * MS)
    assert agent.floor.heard(utterance) == "Hello"
    agent.floor.played(agent.index)
    spans = [(word.text, word.start - 5000 * MS, word.end - 5000 * MS) for word in agent.floor.words(utterance)]
    assert spans == [("Hello", 0, 230 * MS), ("dear", 230 * MS, 630 * MS), ("caller.", 630 * MS, 1030 * MS)]


def test_words_that_lie_behind_the_dropped_silence_are_counted_as_ever() -> None:
    agent, utterance = said(words=[("Hello", 200, 400), ("dear", 400, 800), ("caller.", 800, 1200)])
    agent.hand_over(170, 1200)
    agent.floor.played(130 * MS - 1)
    assert agent.floor.heard(utterance) == ""
    agent.floor.played(430 * MS)
    assert agent.floor.heard(utterance) == "Hello dear"


def test_a_word_that_is_said_to_lie_in_dropped_silence_comes_with_the_first_sample() -> None:
    agent, utterance = said(text="Yes.", words=[("Yes.", 0, 150)])
    agent.floor.received("a", bytes(2 * MS * 300))
    agent.hand_over(170, 450)
    assert agent.floor.heard(utterance) == ""
    agent.floor.played(1)
    assert agent.floor.heard(utterance) == "Yes."


def test_what_was_interrupted_goes_on_and_is_exact_across_a_dropped_beginning() -> None:
    agent, utterance = said(words=LATE)
    agent.hand_over(170, 1200)
    agent.floor.played(100 * MS)  # less than half of "Hello"
    agent.silence(dropped=930)
    assert agent.floor.heard(utterance) == ""
    assert agent.floor.resume_point() == ("a", 140 * MS)
    agent.hand_over(170, 1200)  # which the queue no longer has
    agent.floor.played(agent.index - 500 * MS)
    assert agent.floor.heard(utterance) == "Hello dear"
    agent.silence(dropped=500)
    (settled,) = agent.floor.cut()
    assert (settled.heard, settled.unheard) == ("Hello dear", "caller.")


def test_a_hold_before_anything_was_heard_leaves_a_dropped_beginning_dropped() -> None:
    agent, utterance = said(words=LATE)
    agent.hand_over(170, 1200)
    agent.silence(dropped=1030)
    assert agent.floor.resume_point() is None
    agent.play(170, 1200)
    assert agent.floor.heard(utterance) == "Hello dear caller."
    assert agent.floor.words(utterance)[0].start == 0


def test_a_filler_whose_silence_was_dropped_ends_where_its_word_does() -> None:
    agent, _ = said(words=[("Hello", 200, 400), ("dear", 400, 800), ("caller.", 800, 1200)])
    agent.hand_over(170, 500)
    assert agent.floor.reached("a") == 500 * MS
    assert agent.floor.word_end_after("a", agent.floor.reached("a")) == 800 * MS


def test_the_onset_does_not_reach_into_the_word_before() -> None:
    agent, _ = said()
    agent.play(0, 500)
    assert agent.floor.resume_point() == ("a", 400 * MS)


def test_a_word_whose_half_was_heard_is_gone_on_with() -> None:
    agent, _ = said()
    agent.play(0, 650)
    assert agent.floor.resume_point() is None


def test_between_two_words_speech_just_goes_on() -> None:
    agent, _ = said()
    assert agent.floor.resume_point() is None
    agent.play(0, 400)
    assert agent.floor.resume_point() is None
    agent.play(400, 1200)
    assert agent.floor.resume_point() is None


def test_speech_resumes_in_the_stretch_that_sounded_last() -> None:
    agent = Agent()
    utterance = agent.open("One. Two three.")
    agent.voice(utterance, "One.", [("One.", 0, 400)])
    agent.voice(utterance, " Two three.", [("Two", 0, 300), ("three.", 300, 600)], stretch="b")
    agent.play(0, 400)
    agent.play(0, 350, stretch="b")
    assert agent.floor.resume_point() == ("b", 300 * MS)


# -- what the voice says about its words


def test_a_word_that_is_read_as_several_is_heard_at_half_of_them_all() -> None:
    words: Words = [
        ("It", 0, 100),
        ("is", 100, 200),
        ("ninety", 200, 600),
        ("dollars", 600, 1000),
        ("now.", 1000, 1200),
    ]
    agent, utterance = said("It is $90 now.", words)
    agent.hand_over(0, 1200)
    agent.floor.played(599 * MS)
    assert agent.floor.heard(utterance) == "It is"
    agent.floor.played(600 * MS)
    assert agent.floor.heard(utterance) == "It is $90"
    agent.floor.played(1200 * MS)
    assert agent.floor.heard(utterance) == "It is $90 now."


def test_what_the_voice_passes_over_goes_with_the_word_before() -> None:
    agent, utterance = said("Hello — dear caller.")
    agent.play(0, 300)
    assert agent.floor.heard(utterance) == "Hello —"
    agent.play(300, 1200)
    assert agent.floor.heard(utterance) == "Hello — dear caller."
    assert [word.text for word in agent.floor.words(utterance)] == ["Hello", "dear", "caller."]


def test_a_word_passed_over_at_the_start_is_not_heard_by_itself() -> None:
    agent, utterance = said("… Hello dear caller.")
    agent.play(0, 100)
    assert agent.floor.heard(utterance) == ""
    agent.play(100, 400)
    assert agent.floor.heard(utterance) == "… Hello"


def test_spelling_and_punctuation_of_the_voice_do_not_matter() -> None:
    agent, utterance = said("“Hello,” DEAR caller!", [("hello", 0, 400), ("Dear,", 400, 800), ("caller", 800, 1200)])
    agent.play(0, 800)
    assert agent.floor.heard(utterance) == "“Hello,” DEAR"


def test_words_that_only_have_a_start_end_where_the_next_begins() -> None:
    agent = Agent()
    utterance = agent.open("Hello dear caller.")
    agent.floor.sent("a", utterance, utterance.text, end=len(utterance.text))
    agent.floor.timed("a", [Timed("Hello", 0), Timed("dear", 400 * MS), Timed("caller.", 800 * MS)])
    agent.floor.received("a", bytes(2 * 1200 * MS))
    agent.hand_over(0, 1200)
    agent.floor.played(200 * MS - 1)
    assert agent.floor.heard(utterance) == ""
    agent.floor.played(200 * MS)
    assert agent.floor.heard(utterance) == "Hello"
    agent.floor.played(1200 * MS)
    assert agent.floor.heard(utterance) == "Hello dear caller."


def test_a_voice_that_times_sentences_is_listened_to_within_them() -> None:
    agent = Agent()
    utterance = agent.open("Hello there. Good bye now.")
    agent.floor.sent("a", utterance, utterance.text, end=len(utterance.text))
    agent.floor.received("a", _syllables(6))
    agent.floor.timed("a", [Timed("Hello there.", 0, 600 * MS), Timed("Good bye now.", 600 * MS, 1800 * MS)])
    agent.floor.closed("a")
    agent.hand_over(0, 1800)
    agent.floor.played(600 * MS)
    assert agent.floor.heard(utterance) == "Hello there."
    agent.floor.played(1800 * MS)
    assert agent.floor.heard(utterance) == "Hello there. Good bye now."
    assert not any(word.estimated for word in agent.floor.words(utterance))


def test_a_voice_without_times_is_listened_to_and_its_words_are_marked() -> None:
    agent = Agent()
    utterance = agent.open("Hello dear caller.")
    agent.floor.sent("a", utterance, utterance.text, end=len(utterance.text))
    agent.floor.received("a", _syllables(5))
    agent.floor.closed("a")
    agent.play(0, 100)
    assert agent.floor.heard(utterance) == ""
    agent.play(100, 700)
    assert agent.floor.heard(utterance) in ("Hello", "Hello dear")
    agent.play(700, 1500)
    assert agent.floor.heard(utterance) == "Hello dear caller."
    assert all(word.estimated for word in agent.floor.words(utterance))


def test_a_word_that_counted_as_heard_is_not_taken_back_while_speech_goes_on() -> None:
    agent = Agent()
    utterance = agent.open("Hello dear caller.")
    agent.floor.sent("a", utterance, utterance.text, end=len(utterance.text))
    agent.floor.received("a", _syllables(5))
    agent.floor.closed("a")
    heard = []
    for at in range(0, 1500, 100):
        agent.play(at, at + 100)
        heard.append(agent.floor.heard(utterance))
    assert heard == sorted(heard, key=len)


def _syllables(count: int) -> bytes:
    """Tones of 200 ms with 100 ms of near silence between."""
    tone = np.sin(2 * np.pi * 200 / RATE * np.arange(200 * MS)) * 8000
    hush = np.zeros(100 * MS)
    return np.concatenate([tone, hush] * count).astype("<i2").tobytes()


def test_a_last_word_that_the_voice_never_times_was_heard_when_all_was_played() -> None:
    agent, utterance = said("Hello dear caller.", HELLO[:2])
    agent.floor.received("a", bytes(2 * 400 * MS))
    agent.play(0, 1200)
    settled = agent.floor.over(utterance)
    assert settled is not None
    assert (settled.heard, settled.unheard) == ("Hello dear caller.", "")


def test_a_last_word_of_which_the_voice_made_less_than_half_was_not_heard() -> None:
    agent = Agent()
    utterance = agent.open("Hello dear caller.")
    agent.voice(utterance, utterance.text, HELLO, ms=950)  # 150 of the last word's 400 ms
    agent.play(0, 950)
    settled = agent.floor.over(utterance)
    assert settled is not None
    assert (settled.heard, settled.unheard) == ("Hello dear", "caller.")


def test_a_word_behind_a_number_is_not_heard_before_its_time_has_come() -> None:
    agent = Agent()
    utterance = agent.open("It is $90 today.")
    agent.floor.sent("a", utterance, utterance.text, end=len(utterance.text))
    words = [("It", 0, 100), ("is", 100, 200), ("ninety", 200, 600)]  # "dollars" and "today" are on their way
    agent.floor.timed("a", [Timed(text, start * MS, end * MS) for text, start, end in words])
    agent.floor.received("a", bytes(2 * 600 * MS))
    agent.play(0, 600)
    assert agent.floor.heard(utterance) in ("It is", "It is $90")


# -- what was written, and what went to the voice


def test_a_text_changed_on_the_way_is_kept_as_it_was_spoken() -> None:
    agent = Agent()
    utterance = agent.open("Ask Dr. Wu. He knows.")
    agent.floor.sent("a", utterance, "Ask Doctor Wu.", end=len("Ask Dr. Wu."))
    agent.floor.timed("a", [Timed("Ask", 0, 80), Timed("Doctor", 80, 160), Timed("Wu.", 160, 240)])
    agent.hand_over_samples(0, 160)
    agent.floor.played(160)
    settled = agent.floor.over(utterance)
    assert settled is not None
    assert (settled.heard, settled.unheard) == ("Ask Doctor", "Wu. He knows.")


def test_what_never_reached_the_voice_is_unheard() -> None:
    agent, utterance = said()
    utterance.text += " How are you?"
    agent.play(0, 800)
    settled = agent.floor.over(utterance)
    assert settled is not None
    assert settled.unheard == "caller. How are you?"
    assert settled.unheard


def test_a_voice_that_made_nothing_was_not_heard() -> None:
    agent = Agent()
    utterance = agent.open("Hello dear caller.")
    agent.floor.sent("a", utterance, utterance.text, end=len(utterance.text))
    agent.floor.closed("a")
    settled = agent.floor.over(utterance)
    assert settled is not None
    assert (settled.heard, settled.unheard, settled.words) == ("", "Hello dear caller.", ())


def test_a_rest_without_a_letter_is_not_missed() -> None:
    agent, utterance = said("Hello dear caller. —")
    agent.play(0, 1200)
    settled = agent.floor.over(utterance)
    assert settled is not None
    assert not settled.unheard


def test_an_answer_without_words_leaves_nothing() -> None:
    floor = Floor(RATE)
    settled = floor.over(floor.open("answer", 1))
    assert settled is not None
    assert (settled.heard, settled.unheard) == ("", "")


# -- saying


def test_the_sentence_being_said_is_the_one_of_the_last_word_heard() -> None:
    agent, _ = said("Done. Anything else?", [("Done.", 0, 400), ("Anything", 400, 800), ("else?", 800, 1200)])
    agent.play(0, 399)
    assert agent.floor.saying() == "Done."
    agent.play(399, 700)
    assert agent.floor.saying() == "Anything else?"
    agent.play(700, 1200)
    assert agent.floor.saying() == "Anything else?"


# -- where words sounded


def test_words_have_the_places_at_which_they_sounded() -> None:
    agent, utterance = said()
    agent.position = 1000 * MS
    agent.play(0, 600)
    agent.position += 500 * MS  # a stall in the middle of "dear"
    agent.play(600, 1200)
    starts = [(word.text, word.start // MS, word.end // MS) for word in agent.floor.words(utterance)]
    assert starts == [("Hello", 1000, 1400), ("dear", 1400, 1800), ("caller.", 2300, 2700)]


def test_a_word_said_again_has_the_place_of_the_second_time() -> None:
    agent, utterance = said()
    agent.play(0, 500)
    agent.silence()
    agent.position = 5000 * MS
    agent.play(400, 1200)
    assert [(word.text, word.start // MS) for word in agent.floor.words(utterance)] == [
        ("Hello", 0),
        ("dear", 5000),
        ("caller.", 5400),
    ]


# -- when it is over


def test_an_utterance_is_over_once() -> None:
    agent, utterance = said()
    agent.play(0, 1200)
    assert agent.floor.busy
    settled = agent.floor.over(utterance)
    assert settled is not None
    assert (settled.heard, settled.unheard) == ("Hello dear caller.", "")
    assert agent.floor.over(utterance) is None
    assert not agent.floor.busy
    assert not agent.floor.is_open(utterance)


def test_a_cut_ends_everything_in_order_and_nothing_is_added_later() -> None:
    agent, first = said()
    second = agent.open("And more.", role="statement")
    agent.play(0, 400)
    assert [(one.utterance, one.heard) for one in agent.floor.cut()] == [(first, "Hello"), (second, "")]
    agent.floor.sent("a", first, " Late.", end=99)
    agent.floor.sent("b", second, "And more.", end=9)
    agent.play(400, 1200)
    assert agent.floor.cut() == []
    assert agent.floor.speaking == []
    assert agent.floor.utterance("a") is None


def test_only_what_has_reached_the_voice_is_being_spoken() -> None:
    agent, first = said()
    second = agent.open("And more.")
    assert agent.floor.speaking == [first]
    agent.voice(second, "And more.", [("And", 0, 100), ("more.", 100, 200)], stretch="b")
    assert agent.floor.speaking == [first, second]


# -- where it may end for something better


@pytest.mark.parametrize(
    ("reached", "end"),
    [
        (0, 0),  # nothing of it was handed over
        (100, 430),  # in "Hello", whose end is soft
        (430, 430),
        (460, 460),  # in the pause before "dear"
        (600, 830),
        (900, 1230),  # less than 400 ms are left: all of it
        (1240, 1240),
    ],
)
def test_what_is_cut_short_ends_with_the_word_being_said(reached: int, end: int) -> None:
    words = [("Hello", 0, 400), ("dear", 500, 800), ("caller.", 860, 1200)]
    agent = Agent()
    utterance = agent.open("Hello dear caller.", "filler")
    agent.voice(utterance, "Hello dear caller.", words, ms=1400)
    if reached:
        agent.hand_over(0, reached)
    assert agent.floor.reached("a") == reached * MS
    assert agent.floor.word_end_after("a", reached * MS) == end * MS


def test_the_soft_end_of_a_word_does_not_reach_into_the_next() -> None:
    agent, _ = said()
    assert agent.floor.word_end_after("a", 100 * MS) == 400 * MS


def test_a_word_whose_end_is_not_known_is_not_cut() -> None:
    agent = Agent()
    utterance = agent.open("Hello dear caller.", "filler")
    agent.floor.sent("a", utterance, "Hello dear caller.", end=18)
    agent.floor.timed("a", [Timed("Hello", 0, 400 * MS)])
    agent.floor.received("a", bytes(2 * MS * 900))
    assert agent.floor.word_end_after("a", 600 * MS) == 900 * MS


def test_a_sound_without_words_ends_at_once() -> None:
    agent = Agent()
    utterance = agent.open("", "filler")
    agent.floor.sent("a", utterance, "", end=0)
    agent.floor.received("a", bytes(2 * MS * 900))
    assert agent.floor.word_end_after("a", 600 * MS) == 610 * MS


def test_a_line_whose_words_were_placed_by_sound_alone_is_let_to_its_near_end() -> None:
    floor = Floor(RATE)
    utterance = floor.open("filler", 1)
    utterance.text = "One moment, please."
    floor.sent("a", utterance, utterance.text, end=len(utterance.text))
    rng = np.random.default_rng(1)
    floor.received("a", rng.integers(-9000, 9000, 1500 * MS, dtype=np.int16).tobytes())
    floor.submitted("a", 0, 1000 * MS, index=0, position=0)
    floor.played(1000 * MS)
    assert floor.word_end_after("a", 950 * MS) < 1500 * MS, "more of it may come"
    floor.closed("a")
    assert floor.word_end_after("a", 950 * MS) == 1500 * MS
    assert floor.word_end_after("a", 200 * MS) < 1500 * MS
