"""When the ears fail and who listens then, decided on a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.failover.ears_watch import EarsWaits, EarsWatch, Failed, GiveUp, Use

WAITS = EarsWaits(transcript_ms=1000, connect_ms=1000, budget_ms=6000)


def watch(vendors: int = 2, *, up: bool = True, judges: float = 0.0) -> EarsWatch:
    ears = EarsWatch(WAITS, [judges] + [0.0] * (vendors - 1))
    if up:
        assert steps(ears, 0) == [Use(0)]
        ears.connected(0)
    return ears


def steps(ears: EarsWatch, now: float) -> list[Failed | Use | GiveUp]:
    found = []
    while (step := ears.next(now)) is not None:
        found.append(step)
        assert len(found) < 10, found
    return found


def says(ears: EarsWatch, start: float, end: float) -> None:
    ears.speech_began(start)
    ears.speech_ended(end)


def test_the_first_choice_is_connected_first() -> None:
    assert steps(watch(up=False), 0) == [Use(0)]


def test_words_in_time_are_no_trouble() -> None:
    ears = watch()
    says(ears, 1000, 2000)
    assert ears.owed
    assert ears.final(2350, words=True, settled=True)
    assert ears.idle
    assert ears.wakes_at() is None


def test_speech_without_a_transcript_goes_to_the_next_vendor_in_time() -> None:
    ears = watch()
    says(ears, 1000, 2000)
    assert ears.wakes_at() == 3000
    assert steps(ears, 2999) == []
    assert steps(ears, 3000) == [Failed(0, "no_transcript", "timeout", False, 1000, "next"), Use(1)]


def test_the_next_vendor_has_as_long_from_when_it_was_given_the_words() -> None:
    ears = watch()
    says(ears, 1000, 2000)
    steps(ears, 3000)
    ears.connected(3200)
    assert steps(ears, 4199) == []
    assert [type(step) for step in steps(ears, 4200)] == [Failed, Use]


def test_interims_alone_are_no_transcript() -> None:
    ears = watch()
    ears.speech_began(1000)
    ears.interim()
    ears.speech_ended(2000)
    assert [type(step) for step in steps(ears, 3000)] == [Failed, Use]


def test_a_vendor_that_judges_the_end_itself_is_given_the_time_once_it_writes() -> None:
    silent, writing = watch(judges=5000), watch(judges=5000)
    for ears in (silent, writing):
        says(ears, 1000, 2000)
    writing.interim()
    assert steps(silent, 3000) != []
    assert steps(writing, 7999) == []
    assert steps(writing, 8000) != []


def test_a_vendor_that_settled_before_the_pause_was_noticed_owes_nothing() -> None:
    ears = watch()
    ears.speech_began(1000)
    assert ears.final(2100, words=True, settled=True)
    assert ears.speech_ended(2000)
    assert ears.idle


def test_a_click_owes_nothing() -> None:
    ears = watch()
    says(ears, 1000, 1250)
    assert ears.idle
    assert ears.expected_by(1300) is None
    assert steps(ears, 9000) == []


def test_a_drop_while_the_caller_speaks_is_acted_on_at_once() -> None:
    ears = watch()
    ears.speech_began(1000)
    ears.failed("connectivity")
    assert steps(ears, 1500) == [Failed(0, "dropped", "connectivity", False, 1500, "next"), Use(1)]


def test_a_drop_between_turns_is_mended_before_the_next_word() -> None:
    alone = watch(vendors=1)
    alone.failed("unknown")
    assert steps(alone, 500) == [Failed(0, "dropped", "unknown", False, 500, "retry"), Use(0)]


def test_a_refusal_is_not_repeated_while_nobody_speaks_but_is_as_soon_as_somebody_does() -> None:
    alone = watch(vendors=1)
    alone.failed("unknown")
    steps(alone, 500)
    alone.failed("server")
    assert [type(step) for step in steps(alone, 600)] == [Failed]
    assert alone.wakes_at() == 600 + 15_000
    alone.speech_began(2000)
    assert steps(alone, 2000) == [Use(0)]


def test_a_connection_that_is_never_made_is_a_failure_too() -> None:
    ears = watch(up=False)
    steps(ears, 0)
    assert steps(ears, WAITS.connect_ms) == [Failed(0, "dropped", "timeout", False, WAITS.connect_ms, "next"), Use(1)]


@pytest.mark.parametrize("category", ["authentication", "authorization", "quota", "invalid_request"])
def test_when_everybody_refuses_for_good_it_says_so_once(category: str) -> None:
    ears = watch(up=False)
    steps(ears, 0)
    ears.failed(category)
    assert [type(step) for step in steps(ears, 10)] == [Failed, Use]
    ears.failed(category)
    found = steps(ears, 20)
    assert found[1:] == [GiveUp(1, 1, 0.0, True)]
    assert isinstance(found[0], Failed)
    assert found[0].permanent
    assert steps(ears, 100_000) == []


def test_one_cough_is_not_the_vendors_fault_but_two_clear_empty_utterances_are() -> None:
    ears = watch()
    says(ears, 1000, 2000)
    assert ears.final(2300, words=False, settled=True)
    says(ears, 5000, 6000)
    assert not ears.final(6300, words=False, settled=True)
    assert ears.owed
    assert steps(ears, 6300) == [Failed(0, "empty", "unknown", False, 300, "next"), Use(1)]
    ears.connected(6400)
    assert ears.final(6600, words=False, settled=True)  # two vendors agree that there was nothing
    assert ears.idle
    assert steps(ears, 6600) == [Use(0)]  # so the first has done nothing wrong


def test_coughs_and_words_between_do_not_count() -> None:
    ears = watch()
    for start in (1000, 3000, 5000):
        says(ears, start, start + 400)
        assert ears.final(start + 700, words=False, settled=True)
    for start in (10_000, 15_000):
        says(ears, start, start + 1000)
        assert ears.final(start + 1300, words=False, settled=True)
        says(ears, start + 2000, start + 3000)
        assert ears.final(start + 3300, words=True, settled=True)


def test_an_empty_answer_behind_words_is_not_empty() -> None:
    ears = watch()
    for start in (1000, 5000, 9000):
        ears.speech_began(start)
        assert ears.final(start + 900, words=True, settled=False)
        ears.speech_ended(start + 1000)
        assert ears.final(start + 1300, words=False, settled=True)


def test_words_that_a_vendor_showed_and_took_back_are_asked_of_the_next() -> None:
    ears = watch()
    ears.speech_began(1000)
    ears.interim()
    ears.speech_ended(2000)
    assert not ears.final(2300, words=False, settled=True)
    assert steps(ears, 2300) == [Failed(0, "empty", "unknown", False, 300, "next"), Use(1)]
    ears.connected(2350)
    assert ears.final(2600, words=False, settled=True)
    assert steps(ears, 2600) == [Use(0)]  # the second agrees that there were none: the first was right


def test_the_caller_is_asked_again_before_two_seconds_of_silence_are_over() -> None:
    ears = EarsWatch(EarsWaits(), [0.0])
    ears.next(0)
    ears.connected(50)
    ears.speech_began(1000)
    ears.speech_ended(3000)
    now = 3000.0
    while not isinstance(ears.next(now), GiveUp):
        now = max(now, ears.wakes_at() or now)
    assert now - 3000 < 1900


def test_the_first_choice_is_asked_again_when_it_has_rested_and_nobody_speaks() -> None:
    ears = watch()
    ears.failed("connectivity")
    steps(ears, 1000)
    ears.connected(1100)
    assert ears.wakes_at() == 6000
    ears.speech_began(5900)
    assert steps(ears, 6000) == []
    ears.speech_ended(7000)
    assert ears.final(7300, words=True, settled=True)
    assert steps(ears, 7300) == [Use(0)]


def test_when_nothing_comes_of_it_the_caller_is_asked_to_say_it_again() -> None:
    ears = watch(vendors=1)
    says(ears, 1000, 2000)
    now, gave_up = 2000.0, None
    while gave_up is None:
        for step in steps(ears, now):
            if isinstance(step, Use):
                ears.connected(now + 10)
            if isinstance(step, GiveUp):
                gave_up = step
        now = max(now, ears.wakes_at() or now)
        assert now < 20_000
    assert gave_up == GiveUp(0, 1, WAITS.transcript_ms + WAITS.budget_ms, False)
    assert ears.idle
    assert ears.expected_by(now) is None


def test_words_are_expected_until_they_come_or_are_given_up() -> None:
    ears = watch()
    ears.speech_began(1000)
    assert ears.expected_by(1500) is None
    ears.speech_ended(2000)
    assert (ears.expected_by(2200) or 0) > 3000
    steps(ears, 3000)
    ears.connected(3100)
    assert (ears.expected_by(3100) or 0) > 4100
    ears.final(3300, words=True, settled=True)
    assert ears.expected_by(3300) is None


HAPPENINGS = st.sampled_from(["begin", "end", "interim", "words", "settled", "empty", "error", "refuse", "up", "wait"])


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(HAPPENINGS, st.integers(0, 3000)), max_size=60),
)
def test_whatever_happens_it_knows_what_to_do_and_lets_nobody_wait_for_ever(
    vendors: int, happenings: list[tuple[str, int]]
) -> None:
    ears, now, uses = EarsWatch(WAITS, [0.0] * vendors), 0.0, 0
    owed_since: float | None = None

    def look() -> None:
        nonlocal uses, owed_since
        for step in steps(ears, now):
            if isinstance(step, Use):
                assert 0 <= step.vendor < vendors
                uses += 1
            if isinstance(step, GiveUp):
                assert ears.idle
        owed_since = (owed_since if owed_since is not None else now) if ears.owed else None
        # Every trouble is bounded, and so are all of them together.
        bound = (vendors + 1) * (WAITS.transcript_ms + WAITS.connect_ms) + WAITS.budget_ms
        assert owed_since is None or now - owed_since <= bound
        assert ears.wakes_at() is None or ears.wakes_at() > now  # type: ignore[operator]
        assert not ears.owed or (ears.expected_by(now) or 0) > now

    look()
    for what, wait_ms in happenings:
        until = now + wait_ms
        while (at := ears.wakes_at()) is not None and at <= until:
            now = at
            look()
        now = until
        match what:
            case "begin":
                ears.speech_began(now)
            case "end":
                ears.speech_ended(now)
            case "interim":
                ears.interim()
            case "words" | "settled" | "empty":
                ears.final(now, words=what != "empty", settled=what != "words")
            case "error":
                ears.failed("connectivity")
            case "refuse":
                ears.failed("rate_limit")
            case "up":
                ears.connected(now)
        look()
    # Whatever was owed is settled or given up in the end, with or without the vendors' help.
    ears.speech_ended(now)
    for _ in range(200):
        if not ears.owed:
            break
        now = max(now, ears.wakes_at() or now)
        look()
    assert not ears.owed
