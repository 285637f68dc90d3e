"""When the agent says something only to break a silence, and what: on a clock of ms that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.filler_lines import Lines
from processors.fillers import Fillers, Waits
from processors.reply_times import ReplyTimes

FIRST = ("One moment.", "Just a second.", "Let me see.")
LATER = ("I'm still on it.", "Thank you for waiting.", "Please stay with me.")
ACKNOWLEDGEMENTS = ("Okay.", "Right.")
TOOL = ("I'll check the calendar.", "The calendar is open now.")


def policy(waits: Waits | None = None, *, expected: bool = True) -> Fillers:
    return Fillers(waits or Waits(), Lines(FIRST, LATER, ACKNOWLEDGEMENTS), expected=expected)


def turn(fillers: Fillers, at: float = 0.0, *, decided: float = 350.0) -> None:
    """The caller spoke until `at`; the model is asked."""
    fillers.turn_began()
    fillers.caller_started()
    fillers.caller_stopped(at)
    fillers.turn_ended()
    fillers.asked(at + decided)


def due(fillers: Fillers) -> float:
    at = fillers.due_at()
    assert at is not None
    return at


def say(fillers: Fillers, *, lasts: float = 1000.0) -> tuple[float, str]:
    """The next line is said as soon as it is due; when it fell silent, and what it was."""
    at = due(fillers)
    line = fillers.take(at)
    assert line is not None
    fillers.began(at + 20, filler=True)
    fillers.fell_silent(at + 20 + lasts)
    return at + 20 + lasts, line


# -- when


def test_nothing_is_due_before_the_model_is_asked_or_while_the_caller_speaks() -> None:
    fillers = policy()
    assert fillers.due_at() is None
    fillers.caller_started()
    fillers.turn_ended()
    fillers.asked(0.0)
    assert fillers.due_at() is None


def test_while_a_tool_runs_a_line_sounds_when_the_silence_is_long_enough_counted_from_the_callers_last_word() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 550)
    assert 600 < due(fillers) <= 700
    assert fillers.take(due(fillers) - 1) is None
    assert fillers.take(due(fillers)) == TOOL[0]


def test_a_tool_that_begins_late_is_given_a_moment_too() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 1500)
    assert 1500 < due(fillers) <= 1600


def test_an_answer_that_is_written_is_waited_for() -> None:
    fillers = policy()
    turn(fillers)
    fillers.wrote(680)
    assert due(fillers) > 1000
    fillers.began(900, filler=False)
    assert fillers.due_at() is None
    fillers.fell_silent(2000)
    assert fillers.due_at() is None  # it was the answer: nobody waits any more


def test_a_voice_that_does_not_say_what_was_written_is_late_and_a_line_sounds_meanwhile() -> None:
    fillers = policy()
    turn(fillers)
    fillers.wrote(1300)
    assert due(fillers) >= 1700 - 40  # a voice may take so long
    assert fillers.take(due(fillers))
    assert fillers.wanted  # the words were there before
    fillers.wrote(1720)  # the model goes on writing
    assert fillers.wanted
    fillers.line_passed(1730)
    assert not fillers.wanted


def test_a_late_voice_is_waited_for_as_long_as_a_late_model() -> None:
    fillers = policy()
    turn(fillers)
    fillers.wrote(680)
    assert due(fillers) >= Waits().latest_ms - 40


def test_after_let_me_check_nothing_is_added_before_that_was_silent_for_long() -> None:
    fillers = policy()
    turn(fillers)
    fillers.wrote(600)
    fillers.tool_started("1", TOOL, 700)
    fillers.reply_ended()
    fillers.began(850, filler=False)
    assert fillers.due_at() is None
    fillers.fell_silent(2000)
    assert 2000 + 600 < due(fillers) <= 2000 + 700
    assert fillers.take(due(fillers)) == TOOL[1]  # the first would say it again


def test_after_let_me_check_the_next_line_is_of_a_wait_that_goes_on() -> None:
    fillers = policy()
    turn(fillers)
    fillers.wrote(600)
    fillers.tool_started("1", TOOL[:1], 700)
    fillers.reply_ended()
    fillers.began(850, filler=False)
    fillers.fell_silent(2000)
    _, line = say(fillers)
    assert line in LATER


def test_silences_grow_and_each_line_is_another() -> None:
    waits = Waits(intervals_ms=(1000, 2000, 4000))
    fillers = policy(waits)
    turn(fillers)
    fillers.tool_started("1", TOOL, 500)
    silent, first = say(fillers)
    said, gaps = [first], []
    for _ in range(6):
        gaps.append(due(fillers) - silent)
        silent, line = say(fillers)
        said.append(line)
    assert [round(gap, -3) for gap in gaps] == [1000, 2000, 4000, 4000, 4000, 4000]
    assert said[:2] == list(TOOL)
    assert len(set(said[:5])) == 5


def test_between_a_tools_result_and_the_answer_the_silence_goes_on_counting() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 500)
    fillers.reply_ended()
    silent, _ = say(fillers)
    fillers.tool_ended("1", silent + 100)
    fillers.asked(silent + 110)
    assert silent + 600 <= due(fillers) <= silent + 1100


def test_the_end_of_a_reply_that_comes_after_the_next_request_ends_nothing() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 500)
    fillers.tool_ended("1", 501)
    fillers.asked(502)
    fillers.reply_ended()
    assert fillers.due_at() is not None


def test_a_model_that_is_never_asked_again_is_not_waited_for_without_end() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 500)
    fillers.reply_ended()
    fillers.tool_ended("1", 600)
    count = 0
    while fillers.due_at() is not None:
        say(fillers)
        count += 1
    assert count <= 3


def test_an_empty_reply_is_not_waited_for() -> None:
    fillers = policy()
    turn(fillers)
    fillers.reply_ended()
    assert fillers.due_at() is None


def test_what_the_model_says_of_itself_when_nobody_asked_is_not_announced() -> None:
    fillers = policy()
    fillers.asked(60_000)
    assert fillers.due_at() is None


def test_nothing_is_said_once_the_call_is_ending() -> None:
    fillers = policy()
    turn(fillers)
    fillers.call_ending()
    fillers.tool_started("1", TOOL, 500)
    assert fillers.due_at() is None


def test_the_caller_taking_the_floor_ends_the_wait() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 500)
    fillers.caller_started()
    fillers.turn_began()
    fillers.caller_stopped(3000)
    assert fillers.due_at() is None


def test_a_sound_of_the_caller_that_takes_no_floor_only_makes_it_wait() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 500)
    say(fillers, lasts=500)
    fillers.caller_started()
    assert fillers.due_at() is None
    fillers.caller_stopped(4000)
    assert due(fillers) > 4300


def test_a_line_taken_is_no_longer_wanted_when_the_answers_words_are_there() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 500)
    fillers.take(due(fillers))
    assert fillers.wanted
    fillers.wrote(710)
    assert not fillers.wanted


def test_a_guess_that_does_not_sound_yet_gives_way_to_the_tools_own_line() -> None:
    fillers = policy()
    turn(fillers)
    guessed = due(fillers)
    assert fillers.take(guessed) in ACKNOWLEDGEMENTS
    fillers.tool_started("1", (), guessed + 5)
    assert fillers.wanted  # it has none that would be better
    fillers.tool_started("2", TOOL, guessed + 10)
    assert not fillers.wanted
    fillers.withdrawn()
    assert due(fillers) <= guessed + 10 + Waits().tool_after_ms
    assert fillers.take(due(fillers)) == TOOL[0]


def test_what_was_withdrawn_was_not_said() -> None:
    fillers = policy()
    turn(fillers)
    line = fillers.take(due(fillers))
    fillers.withdrawn()
    fillers.withdrawn()
    assert fillers.take(due(fillers)) == line


def test_another_line_on_its_way_to_the_caller_is_enough() -> None:
    fillers = policy()
    turn(fillers)
    fillers.tool_started("1", TOOL, 500)
    assert due(fillers) < 700
    fillers.line_passed(600)  # the tool itself said one: its words are awaited, then the silence after them
    assert due(fillers) > 900


# -- the model's habits


def test_a_quick_model_that_has_not_written_yet_will_soon_and_a_slow_one_will_not() -> None:
    quick, slow = ReplyTimes(), ReplyTimes()
    for ms in (240, 250, 260, 280, 230, 300):
        quick.add(ms)
        slow.add(4 * ms)
    assert quick.likely(330, 150) > 0.5
    assert slow.likely(330, 150) < 0.2


def answered(fillers: Fillers, at: float) -> None:
    """The model's answer sounds."""
    fillers.wrote(at - 200)
    fillers.reply_ended()
    fillers.began(at, filler=False)
    fillers.fell_silent(at + 2000)


def early(fillers: Fillers, at: float) -> bool:
    """Whether a line is due soon in a turn of which nothing is known."""
    turn(fillers, at)
    return due(fillers) < at + Waits().expected_ms + 1


def test_a_line_is_guessed_where_waits_are_long_and_else_late() -> None:
    fillers = policy()
    expected = []
    for number, waited in enumerate((1400, 1400, 5000, 5000, 5000, 1400, 5000)):
        expected.append(early(fillers, 20_000 * number))
        answered(fillers, 20_000 * number + waited)
    assert expected == [True, False, False, False, True, True, False]


def test_an_agent_without_tools_is_given_time_from_the_first_turn_on_and_then_acknowledges() -> None:
    fillers = policy(expected=False)
    assert not early(fillers, 0)
    assert Waits().latest_ms - 100 < due(fillers) <= Waits().latest_ms
    silent, line = say(fillers)
    assert line in ACKNOWLEDGEMENTS
    assert silent + Waits().expected_ms - 100 < due(fillers) <= silent + Waits().expected_ms  # by now it is a long wait
    _, line = say(fillers)
    assert line in FIRST


def test_what_nobody_waited_for_is_no_wait() -> None:
    fillers = policy(expected=False)
    fillers.began(60_000, filler=False)  # the greeting, or news
    fillers.fell_silent(62_000)
    assert not early(fillers, 70_000)


# -- what


def test_lines_of_the_tool_come_first_and_only_in_their_wait() -> None:
    lines = Lines(FIRST, LATER)
    assert lines.next(TOOL, said_now=0) == TOOL[0]
    lines.said(TOOL[0])
    assert lines.next(TOOL, said_now=1) == TOOL[1]
    lines.said(TOOL[1])
    assert lines.next(TOOL, said_now=2) == LATER[0]
    assert lines.next((), said_now=0) == FIRST[0]


def test_an_acknowledgement_says_nothing_of_a_wait() -> None:
    lines = Lines(FIRST, LATER, ACKNOWLEDGEMENTS)
    assert lines.next((), said_now=0, guess=True) == ACKNOWLEDGEMENTS[0]
    lines.said(ACKNOWLEDGEMENTS[0])
    assert lines.next(TOOL, said_now=1) == TOOL[0]
    assert lines.next((), said_now=1) == FIRST[0]
    assert lines.next((), said_now=1, announced=True) == LATER[0]
    assert Lines(FIRST, LATER).next((), said_now=0, guess=True) == FIRST[0]


def test_with_nothing_but_one_line_it_is_not_said_twice_running() -> None:
    lines = Lines((), ())
    lines.said("I'll check.")
    assert lines.next(("I'll check.",), said_now=0) is None


# -- whatever happens


@dataclass
class World:
    """Any order of events; what was taken, and when."""

    fillers: Fillers = field(default_factory=policy)
    now: float = 0.0
    caller: bool = False
    caller_at: float = -10_000.0
    sounding: bool = False
    taken: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)

    def do(self, what: str) -> None:
        fillers = self.fillers
        match what:
            case "speak":
                fillers.caller_started()
                self.caller = True
            case "stop" if self.caller:
                fillers.caller_stopped(self.now - 200)
                self.caller, self.caller_at = False, self.now - 200
            case "floor":
                fillers.turn_began()
                self.tools.clear()
            case "decided":
                fillers.turn_ended()
                fillers.asked(self.now)
            case "write":
                fillers.wrote(self.now)
            case "tool":
                self.tools.append(str(len(self.tools)))
                fillers.tool_started(self.tools[-1], TOOL[:1], self.now)
            case "result" if self.tools:
                fillers.tool_ended(self.tools.pop(), self.now)
                if not self.tools:
                    fillers.asked(self.now)
            case "end":
                fillers.reply_ended()
            case "sound":
                fillers.began(self.now, filler=False)
                self.sounding = True
            case "silent" if self.sounding:
                fillers.fell_silent(self.now)
                self.sounding = False
            case _:
                pass

    def pass_time(self, ms: float) -> None:
        """Lines are taken when they are due; each sounds at once and for a second, unless cut by what comes."""
        end = self.now + ms
        while (at := self.fillers.due_at()) is not None and at <= end:
            self.now = max(self.now, at)
            assert not self.caller
            assert not self.sounding
            assert self.now >= self.caller_at + 300 - 100, "too near to the caller's voice"
            line = self.fillers.take(self.now)
            if line is None:
                break
            assert self.taken[-1:] != [line]
            self.taken.append(line)
            self.fillers.began(self.now, filler=True)
            self.now += 1000
            self.fillers.fell_silent(self.now)
        self.now = max(self.now, end)


EVENTS = ["speak", "stop", "floor", "decided", "write", "tool", "result", "end", "sound", "silent"]


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from([0.0, 50.0, 300.0, 1500.0, 9000.0])), max_size=40))
def test_no_line_over_anybody_nor_the_same_twice_running(story: list[tuple[str, float]]) -> None:
    world = World()
    for what, ms in story:
        world.do(what)
        world.pass_time(ms)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    decided=st.floats(100, 1500),
    first_token=st.floats(0, 5000),
    tool_ms=st.floats(0, 8000),
    lasts=st.floats(300, 3000),
)
def test_until_the_answer_is_written_no_silence_is_longer_than_the_bound(
    decided: float, first_token: float, tool_ms: float, lasts: float
) -> None:
    waits = Waits(intervals_ms=(800, 900))
    fillers = policy(waits)
    turn(fillers, decided=decided)
    events = [
        (decided + first_token, lambda at: fillers.tool_started("1", TOOL, at)),
        (decided + first_token + tool_ms, lambda at: fillers.tool_ended("1", at)),
        (decided + first_token + tool_ms, fillers.asked),
        (decided + 2 * first_token + tool_ms, fillers.wrote),
    ]
    silent = 0.0
    longest = 0.0
    sounds_to: float | None = None
    for at, event in events:
        while True:
            if sounds_to is not None:
                if sounds_to > at:
                    break
                fillers.fell_silent(sounds_to)
                silent, sounds_to = sounds_to, None
            due_at = fillers.due_at()
            if due_at is None or due_at > at:
                break
            now = max(due_at, silent)
            assert fillers.take(now) is not None
            longest = max(longest, now + 40 - silent)
            fillers.began(now + 40, filler=True)
            sounds_to = now + 40 + lasts
        event(at)
        if sounds_to is None:
            assert at - silent <= max(waits.latest_ms, decided + waits.asked_ms) + 1 or at == events[0][0]
    assert longest <= max(waits.latest_ms, decided + waits.asked_ms) + 60
