"""A call on one axis: every text stands where it sounded, and rows break where nobody speaks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from callwright.clock import ManualClock
from callwright.records import events as e
from callwright.records.bars import ToolBar, TroubleBar
from callwright.records.journal import Entry
from callwright.records.plot import Plot, Stretch, plot

RATE = 1000  # a sample a millisecond
STARTED = e.CallStarted("frontdesk", "demo", {}, {}, None, RATE)


def at(*timed: tuple[float, e.Event]) -> list[Entry]:
    """Entries at so many ms after sample 0."""
    clock = ManualClock()
    entries: list[Entry] = []
    for moment, event in [(0, STARTED), (0, e.RecordingClock(0)), *timed]:
        clock.advance(ms=moment - clock.monotonic_ns() / 1e6)
        entries.append(Entry(len(entries) + 1, clock.monotonic_ns(), clock.wall(), event))
    return entries


def drawn(*timed: tuple[float, e.Event], recorded: int = 0) -> Plot:
    found = plot(at(*timed), recorded)
    assert found is not None
    return found


def words(*timed: tuple[str, int, int]) -> tuple[e.HeardWord, ...]:
    return tuple(e.HeardWord(text, start, end) for text, start, end in timed)


def said(turn: int, start: int, end: int, text: str = "") -> Sequence[tuple[float, e.Event]]:
    """The agent speaks, as a journal without words tells it."""
    texts = [(end, e.AgentText(turn, text, "answer", interrupted=False))] if text else []
    return (
        (start, e.AgentSpeechStarted(turn, start)),
        *texts,
        (end, e.AgentSpeechEnded(turn, end, interrupted=False)),
    )


def asked(turn: int, start: int, end: int, text: str = "please") -> Sequence[tuple[float, e.Event]]:
    return (start, e.SpeechStarted(start)), (end, e.SpeechEnded(end)), (end, e.TurnStarted(turn, text, end))


def test_without_a_rate_nothing_has_a_place() -> None:
    assert plot(at()[1:]) is None


def test_a_turn_reaches_from_its_first_speech_to_its_last() -> None:
    call = drawn(
        (1_000, e.SpeechStarted(1_000)),
        (1_500, e.SpeechEnded(1_500)),
        (1_900, e.SpeechStarted(1_900)),
        (2_600, e.SpeechEnded(2_600)),
        (2_900, e.TurnStarted(1, "I would … like that", 2_600)),
        *asked(2, 5_000, 6_000),
    )
    assert [(turn.start, turn.end) for turn in call.turns] == [(1_000, 2_600), (5_000, 6_000)]
    assert call.caller == (Stretch(1_000, 1_500), Stretch(1_900, 2_600), Stretch(5_000, 6_000))


def test_a_tool_stands_at_the_time_of_its_entries() -> None:
    call = drawn(
        (500.5, e.ToolStarted(1, "a", "book", {})),
        (800, e.ToolEnded(1, "a", "book", ok=False, result=None, error="taken")),
        (900, e.ToolStarted(1, "b", "wait", {})),
        (2_000, e.CallEnded("caller_left", "", ok=True)),
    )
    assert call.tools == (ToolBar("book", 501, 800, ok=False), ToolBar("wait", 900, 2_001, ok=None))


def test_a_tool_that_was_not_waited_for_reaches_to_its_true_end() -> None:
    call = drawn(
        (500, e.ToolStarted(1, "a", "pay", {})),
        (700, e.ToolPending(1, "a", "pay")),
        (900, e.ToolJoined(2, "b", "pay", {}, run="a")),
        (1_000, e.ToolEnded(1, "a", "pay", ok=False, result=None, error="has not ended")),
        (1_600, e.ToolLate(1, "a", "pay", ok=True, result=1)),
    )
    assert call.tools == (
        ToolBar("pay", 500, 1_600, ok=True, notes=("not waited for", "late")),
        ToolBar("pay", 900, 900, ok=None, joined=True),
    )


def test_a_trouble_reaches_back_to_when_the_wait_for_it_began() -> None:
    call = drawn(
        (300, e.StageTroubled(1, "stt", "deepgram", "no_transcript", 1_500, "next")),
        (2_000, e.StageTroubled(1, "llm", "anthropic", "no_first_token", 1_200, "hedge")),
    )
    assert call.troubles == (
        TroubleBar("stt", "no_transcript", "next", 0, 300),
        TroubleBar("llm", "no_first_token", "hedge", 800, 2_000),
    )


def test_what_was_cut_off_ends_at_the_cut() -> None:
    heard = words(("One", 1_000, 1_300), ("moment", 1_300, 1_800))
    call = drawn(
        (1_000, e.AgentSpeechStarted(1, 1_000)),
        (2_000, e.AgentSpeechEnded(1, 1_950, interrupted=True)),
        (2_010, e.AgentText(1, "One moment", "answer", interrupted=True, words=heard, unheard="please.")),
    )
    (utterance,) = call.utterances
    assert (utterance.start, utterance.end, utterance.cut, utterance.unheard) == (1_000, 1_950, 1_950, "please.")
    assert call.cuts == (1_950,)


def test_a_filler_and_an_answer_in_one_stretch_share_it() -> None:
    call = drawn(
        (1_000, e.AgentSpeechStarted(1, 1_000)),
        (1_600, e.AgentText(1, "Hm.", "filler", False, words(("Hm.", 1_000, 1_500)), remembered=False)),
        (3_100, e.AgentSpeechEnded(1, 3_050, interrupted=False)),
        (3_110, e.AgentText(1, "It is free.", "answer", False, words(("It", 1_700, 2_000), ("is", 2_000, 2_500)))),
    )
    assert [(one.role, one.start, one.end, one.cut) for one in call.utterances] == [
        ("filler", 1_000, 1_700, None),
        ("answer", 1_700, 3_050, None),
    ]


def test_a_journal_without_words_spreads_each_text_over_its_own_sound() -> None:
    call = drawn(*said(1, 1_000, 2_000, "One moment."), *said(1, 3_000, 4_000, "It is free."))
    assert [(one.start, one.end) for one in call.utterances] == [(1_000, 2_000), (3_000, 4_000)]
    assert [word.text for word in call.utterances[1].words] == ["It", "is", "free."]
    for utterance in call.utterances:
        assert all(word.estimated and utterance.start <= word.start < word.end for word in utterance.words)
        assert utterance.words[-1].end <= utterance.end


def test_a_text_without_any_sound_stands_where_it_was_noted() -> None:
    call = drawn((1_200, e.AgentText(1, "", "answer", interrupted=True, unheard="Hello.")))
    (utterance,) = call.utterances
    assert (utterance.start, utterance.cut, utterance.words) == (1_200, 1_200, ())


def test_a_recording_longer_than_its_journal_is_shown_to_its_end() -> None:
    assert drawn(recorded=7_000).length == 7_000
    assert drawn(*said(1, 1_000, 2_000), recorded=1_500).length == 2_001


def test_rows_break_before_the_caller_speaks() -> None:
    call = drawn(
        *said(0, 500, 3_000), *asked(1, 4_000, 6_000), *said(1, 7_000, 9_000), *asked(2, 10_000, 11_000),
        *said(2, 11_500, 20_000),
    )  # fmt: skip
    rows = call.rows()
    assert rows[0] == Stretch(0, 9_700)
    assert rows[-1].end == call.length


@pytest.mark.parametrize("length", [5_000, 12_000, 12_001, 100_000])
def test_rows_cover_the_call_and_none_is_too_long(length: int) -> None:
    silent = drawn(recorded=length)
    endless = drawn(*said(1, 0, length, "la " * (length // 400)), recorded=length)
    for call in (silent, endless):
        rows = call.rows()
        assert rows[0].start == 0
        assert all(before.end == after.start for before, after in pairwise(rows))
        assert rows[-1].end == call.length
        assert all(0 < row.end - row.start <= 12_000 for row in rows)


def test_without_a_pause_a_row_breaks_between_words() -> None:
    call = drawn(*said(1, 0, 30_000, "la " * 75))
    assert {row.start for row in call.rows()} <= {word.start for word in call.utterances[0].words}
