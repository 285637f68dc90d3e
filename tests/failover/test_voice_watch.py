"""When a voice is in trouble, and who goes on: on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callwright.failover.voice_watch import LAST_MS, SOUND_MS, Take, Troubles
from callwright.pace import Pace
from callwright.sections import WatchConfig

LIMITS = WatchConfig()
LETTERS = 42
LENGTH_MS = Pace().expected_ms(LETTERS)  # 3 s


def take(letters: int = LETTERS, *, ended: bool = False) -> Take:
    made = Take(LIMITS, Pace())
    made.due(0, letters)
    if ended:
        made.ended()
    return made


def test_no_audio_in_time_is_trouble_and_not_a_moment_before() -> None:
    made = take()
    assert made.look(LIMITS.first_audio_ms - 1, 0) is None
    assert made.look(LIMITS.first_audio_ms, 0) == "no_first_audio"
    assert made.waited_ms(LIMITS.first_audio_ms) == LIMITS.first_audio_ms


def test_a_voice_that_owes_nothing_may_be_silent() -> None:
    made = Take(LIMITS, Pace())
    made.due(0, 0)
    assert made.look(60_000, 0) is None
    assert made.done(None) is None


def test_the_wait_counts_from_the_first_text_that_was_due() -> None:
    made = Take(LIMITS, Pace())
    made.due(0, 0)
    made.due(5000, 10)
    assert made.look(5000 + LIMITS.first_audio_ms - 1, 0) is None
    assert made.look(5000 + LIMITS.first_audio_ms, 0) == "no_first_audio"


def test_silence_by_the_second_is_no_audio() -> None:
    made = take()
    made.audio(100, LIMITS.first_audio_ms - 100, sounding=False)
    assert made.look(110, 0) is None  # any voice begins with some
    made.audio(120, 200, sounding=False)
    assert made.look(130, 0) == "empty"


def test_a_click_is_no_sound() -> None:
    made = take()
    made.audio(400, SOUND_MS - 1, sounding=True)
    assert not made.sounded
    assert made.look(LIMITS.first_audio_ms, 0) == "no_first_audio"


def test_a_click_after_the_sound_does_not_end_the_silence() -> None:
    made = take()
    made.audio(0, SOUND_MS, sounding=True)
    made.audio(LIMITS.audio_gap_ms - 1, 1, sounding=True)
    assert made.look(LIMITS.audio_gap_ms, 0) == "audio_stopped"


@pytest.mark.parametrize("apart_ms", [20, 35])
def test_small_chunks_close_together_are_sound(apart_ms: float) -> None:
    made = take()
    made.audio(100, 20, sounding=True)
    made.audio(100 + apart_ms, 20, sounding=True)
    assert made.sounded


def test_a_voice_that_stops_is_let_alone_while_there_is_enough_to_play() -> None:
    made = take()
    made.audio(200, 1000, sounding=True)
    assert made.look(1900, 500) is None
    assert made.look(1950, 150) == "audio_stopped"


def test_a_pause_shorter_than_the_limit_is_a_pause() -> None:
    made = take()
    made.audio(200, 500, sounding=True)
    assert made.look(200 + LIMITS.audio_gap_ms - 1, 100) is None
    assert made.look(200 + LIMITS.audio_gap_ms, 100) == "audio_stopped"


def test_a_voice_that_has_said_all_its_text_waits_for_more() -> None:
    made = take()
    made.audio(200, LENGTH_MS, sounding=True)
    assert made.look(60_000, 0) is None
    made.due(60_000, 2 * LETTERS)
    assert made.look(60_700, 0) is None  # it is given the time of a gap
    assert made.look(60_000 + LIMITS.audio_gap_ms, 0) == "audio_stopped"


def test_all_said_and_no_end_marker_is_the_end() -> None:
    made = take(ended=True)
    made.audio(200, 0.9 * LENGTH_MS, sounding=True)
    assert made.look(200 + LIMITS.audio_gap_ms - 1, 0) is None
    assert made.look(200 + LIMITS.audio_gap_ms, 0) == "over"


@pytest.mark.parametrize("ms", [30, 50])  # every 100 ms: less than counts as a sound, and more
def test_a_trickle_is_trouble_although_something_always_comes(ms: int) -> None:
    made = take()
    made.audio(0, 50, sounding=True)
    for now in range(0, 2400, 100):
        if now:
            made.audio(now, ms, sounding=True)
        for look in (0, 40, 80):
            if (found := made.look(now + look, ms - look)) is not None:
                assert found == "audio_stopped"
                assert 600 <= now <= 2000
                return
    pytest.fail("the caller was let starve")


@pytest.mark.parametrize(
    ("made_ms", "unsaid", "what"),
    [
        (0, None, "empty"),
        (0.3 * LENGTH_MS, None, "truncated"),
        (0.7 * LENGTH_MS, None, None),
        (0.7 * LENGTH_MS, 20, "truncated"),  # it says itself that words are missing
        (0.35 * LENGTH_MS, 0, None),  # a fast voice that has come to its last word
        (LENGTH_MS, 20, None),  # it only did not say where its last words lie
    ],
)
def test_done_is_believed_if_the_sound_is_long_enough(made_ms: float, unsaid: int | None, what: str | None) -> None:
    made = take(ended=True)
    if made_ms:
        made.audio(200, made_ms, sounding=True)
    assert made.done(unsaid) == what


def test_a_known_voice_is_held_to_its_own_pace() -> None:
    pace = Pace()
    pace.learn(200, pace.expected_ms(200))
    made = Take(LIMITS, pace)
    made.due(0, LETTERS)
    made.audio(200, 0.5 * LENGTH_MS, sounding=True)
    assert made.done(None) == "truncated"


def test_one_vendor_is_asked_once_more_and_then_no_more() -> None:
    troubles = Troubles(LIMITS)
    assert troubles.trouble(1000, 0, 1000, [0], ()).action == "retry"
    assert troubles.trouble(2000, 0, 1000, [0], ()).action == "gave_up"


def test_the_last_attempt_is_given_more_time() -> None:
    troubles = Troubles(LIMITS)
    assert troubles.patience == LIMITS
    troubles.trouble(1000, 0, 1000, [0], ())
    assert troubles.patience.first_audio_ms == LAST_MS
    assert troubles.patience.audio_gap_ms == LIMITS.audio_gap_ms
    patient = WatchConfig(first_audio_ms=3000)
    troubles = Troubles(patient)
    troubles.trouble(3000, 0, 3000, [0], ())
    assert troubles.patience == patient


def test_the_next_comes_before_a_second_try() -> None:
    troubles = Troubles(LIMITS)
    assert (troubles.trouble(1000, 0, 1000, [0, 1], ()).vendor) == 1
    last = troubles.trouble(1500, 1, 500, [0, 1], ())
    assert (last.action, last.vendor) == ("next", 0)
    assert troubles.trouble(2000, 0, 500, [0, 1], ()).vendor is None


def test_who_will_refuse_again_is_not_asked_again() -> None:
    troubles = Troubles(LIMITS)
    assert troubles.trouble(10, 0, 10, [0], {0}).action == "gave_up"
    assert Troubles(LIMITS).trouble(10, 0, 10, [1, 0], {0}).vendor == 1


def test_a_sound_begins_the_budget_anew() -> None:
    troubles = Troubles(LIMITS)
    troubles.trouble(1000, 0, 1000, [0, 1], ())
    troubles.sounded()
    assert troubles.trouble(60_000, 1, 800, [0, 1], ()).action == "next"


@given(
    waits=st.lists(st.floats(0, 3000), min_size=1, max_size=20),
    vendors=st.integers(1, 4),
    barred=st.sets(st.integers(0, 3)),
    budget=st.integers(500, 8000),
)
def test_it_always_ends_within_the_budget_and_one_wait(
    waits: list[float], vendors: int, barred: set[int], budget: int
) -> None:
    troubles = Troubles(WatchConfig(turn_budget_ms=budget))
    now, vendor, asked, order = 0.0, 0, 1, list(range(vendors))
    for wait in [*waits, *[3000.0] * 20]:
        assert now < budget
        now += wait
        verdict = troubles.trouble(now, vendor, wait, order, barred)
        assert (verdict.vendor is None) == (verdict.action == "gave_up")
        if verdict.vendor is None:
            break
        assert verdict.vendor not in barred
        vendor, asked = verdict.vendor, asked + 1
    else:
        pytest.fail("it went on for ever")
    assert asked <= vendors + 1


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 400), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 200),
)
@example([(201, 0, False), (201, 1, True), (401, 0, False)], 1)  # a click, once taken for the first audio
def test_a_caller_never_waits_longer_than_the_limits(events: list[tuple[int, int, bool]], letters: int) -> None:
    """Whatever comes when, as long as text is owed and nothing sounds the watch speaks up.

    The caller hears a sound once `SOUND_MS` of it have been played with no longer break in between.
    """
    made = take(letters)
    now, store, silent, piece, gap = 0.0, 0.0, 0.0, 0.0, 0.0
    for pause, ms, sounding in events:
        for _ in range(0, pause, 40):
            now += 40
            heard = min(store, 40)
            store -= heard
            if heard:
                piece = heard if gap > SOUND_MS else piece + heard
                gap = 0.0
            gap += 40 - heard
            silent = gap if piece >= SOUND_MS and heard else silent + 40 - heard
            if made.look(now, store) is not None:
                return
        if made.owes and not store:
            limit = LIMITS.audio_gap_ms if made.sounded else LIMITS.first_audio_ms
            assert silent <= limit + 80  # two looks
        if ms:
            made.audio(now, ms, sounding=sounding)
            store += ms if sounding else 0
