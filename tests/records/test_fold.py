"""The fold says what happened in a call, and says so when it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from callwright.clock import ManualClock
from callwright.records import events as e
from callwright.records.fold import UNKNOWN_END, CallRecord, fold
from callwright.records.journal import Entry
from callwright.records.prices import PriceBook

RATE = 48_000
PRICES = PriceBook.load()
STAGES = {
    "stt": e.Stage("deepgram", "nova-3-general", stand_in=True),
    "llm": e.Stage("anthropic", "claude-haiku-5-5"),
    "tts": e.Stage("cartesia", "sonic-3.6", stand_in=True),
}
STARTED = e.CallStarted("frontdesk", "demo", STAGES, {"pipeline": "cascade"}, "/recordings/c.wav", RATE)


def ms(milliseconds: float) -> int:
    """A sample of the recording, by its time after the recording's start."""
    return round(milliseconds * RATE / 1000)


def at(*timed: tuple[float, e.Event]) -> list[Entry]:
    """Entries at so many ms after the journal's start."""
    clock = ManualClock()
    entries: list[Entry] = []
    now = 0.0
    for seq, (moment, event) in enumerate(timed, start=1):
        clock.advance(ms=moment - now)
        now = moment
        entries.append(Entry(seq, clock.monotonic_ns(), clock.wall(), event))
    return entries


# The recording starts 50 ms after the journal: sample x lies at x + 50 ms.
TURN: tuple[tuple[float, e.Event], ...] = (
    (0, STARTED),
    (50, e.RecordingClock(0)),
    (1_250, e.SpeechStarted(ms(1_000))),
    (2_250, e.SpeechEnded(ms(2_000))),
    (2_250, e.StageStarted(1, "stt", "deepgram", "nova-3-general", 1)),
    (2_300, e.Transcript("book an appointment", final=True, sample=ms(2_000))),
    (2_350, e.TurnStarted(1, "book an appointment", ms(2_000))),
    (2_360, e.StageStarted(1, "llm", "anthropic", "claude-haiku-5-5", 1)),
    (2_650, e.StageFirstByte(1, "llm", 1)),
    (2_660, e.ToolStarted(1, "t1", "free_slots", {"day": "tuesday"})),
    (2_672.5, e.ToolEnded(1, "t1", "free_slots", ok=True, result=["10:30"])),
    (2_700, e.StageEnded(1, "llm", 1)),
    (2_705, e.StageStarted(1, "llm", "anthropic", "claude-haiku-5-5", 2)),
    (2_900, e.StageFirstByte(1, "llm", 2)),
    (2_910, e.StageStarted(1, "tts", "cartesia", "sonic-3.6", 1)),
    (3_050, e.StageFirstByte(1, "tts", 1)),
    (3_070, e.AgentSpeechStarted(1, ms(3_000))),
    (3_100, e.Usage(1, "llm", "anthropic", "claude-haiku-5-5", {"input_tokens": 1_000, "requests": 1})),
    (3_100, e.Usage(1, "llm", "anthropic", "claude-haiku-5-5", {"input_tokens": 2_000, "requests": 1})),
    (3_100, e.Usage(1, "tts", "cartesia", "sonic-3.6", {"characters": 40})),
    (5_050, e.AgentSpeechEnded(1, ms(4_900), interrupted=False)),
    (5_060, e.AgentText(1, "Tuesday at ten thirty?", "answer", interrupted=False)),
    (9_000, e.CallEnded("caller_left", "the caller hung up", ok=True)),
)


def folded(timed: Iterable[tuple[float, e.Event]]) -> CallRecord:
    return fold("c", at(*timed), PRICES)


def test_a_turns_times_count_from_the_callers_last_sample() -> None:
    (turn,) = folded(TURN).turns
    assert turn.number == 1
    assert turn.stt_final_ms == pytest.approx(250)
    assert turn.committed_ms == pytest.approx(300)
    assert turn.llm_start_ms == pytest.approx(310)
    assert turn.llm_first_token_ms == pytest.approx(600)
    assert turn.tts_first_audio_ms == pytest.approx(1_000)
    assert turn.first_sound_ms == 1_000
    assert turn.end_ms == 2_900


def test_what_was_said_and_done_belongs_to_its_turn() -> None:
    record = folded(TURN)
    (turn,) = record.turns
    assert (turn.caller_text, turn.agent_text) == ("book an appointment", "Tuesday at ten thirty?")
    assert not turn.interrupted
    (tool,) = turn.tools
    assert (tool.name, tool.arguments, tool.ok, tool.result) == (
        "free_slots",
        {"day": "tuesday"},
        True,
        ["10:30"],
    )
    assert tool.ms == 12.5
    assert record.tools == (tool,)
    assert [(span.stage, span.request) for span in turn.spans] == [
        ("stt", 1),
        ("llm", 1),
        ("llm", 2),
        ("tts", 1),
    ]
    assert turn.spans[1].end_ms == pytest.approx(650)


def test_the_calls_own_facts() -> None:
    record = folded(TURN)
    assert (record.call_id, record.agent, record.room) == ("c", "frontdesk", "demo")
    assert record.duration_s == 9
    assert record.ended is not None
    assert (record.ended - record.started).total_seconds() == 9
    assert (record.reason, record.detail, record.ok) == ("caller_left", "the caller hung up", True)
    assert record.stages == STAGES
    assert record.recording == "/recordings/c.wav"
    assert record.caller_turns == 1


def test_usage_is_summed_by_model_and_priced_by_request() -> None:
    record = folded(TURN)
    llm, tts = record.usage
    assert llm.quantities == {"input_tokens": 3_000, "requests": 2}
    assert llm.cost_usd == pytest.approx(3_000 * 0.10 / 1e6)
    assert (llm.stand_in, tts.stand_in) == (False, True)
    assert (llm.dated, tts.dated) == ("2026-10-10", "2026-06-24")
    assert record.cost_usd == pytest.approx(0.0003 + 0.002)
    assert record.turns[0].cost_usd == pytest.approx(record.cost_usd)
    assert record.unpriced == ()


def test_two_small_prompts_are_not_priced_as_a_large_one() -> None:
    usage = e.Usage(1, "llm", "anthropic", "claude-haiku-5-5", {"input_tokens": 90_000})
    record = folded([*TURN[:-1], (8_000, usage), (8_001, usage), TURN[-1]])
    assert record.usage[0].cost_usd == pytest.approx(183_000 * 0.10 / 1e6)


def test_what_has_no_price_makes_the_cost_unknown_and_is_named() -> None:
    unknown = e.Usage(1, "tts", "nobody", "voice-1", {"characters": 5})
    record = folded([*TURN[:-1], (8_000, unknown), TURN[-1]])
    assert record.cost_usd is None
    assert record.priced_usd == pytest.approx(0.0023)
    assert record.unpriced == ("nobody voice-1",)
    assert record.turns[0].cost_usd is None
    assert record.usage[-1].cost_usd is None


def test_a_call_that_crashed_is_folded_as_far_as_it_went() -> None:
    for length in range(1, len(TURN)):
        record = folded(TURN[:length])
        assert record.ended is None
        assert record.reason == UNKNOWN_END
        assert not record.ok
        assert record.duration_s == TURN[length - 1][0] / 1000


def test_a_tool_that_never_ended_has_no_outcome() -> None:
    (tool,) = folded(TURN[:10]).tools
    assert (tool.ok, tool.ms, tool.result) == (None, None, None)


def test_two_tools_at_once_are_told_apart_by_their_ids() -> None:
    record = folded(
        [
            (0, STARTED),
            (10, e.ToolStarted(1, "a", "find", {"n": 1})),
            (20, e.ToolStarted(1, "b", "find", {"n": 2})),
            (35, e.ToolEnded(1, "b", "find", ok=False, result=None, error="not found")),
            # The answer came when the caller had begun a new turn.
            (60, e.ToolEnded(2, "a", "find", ok=True, result=7)),
        ]
    )
    first, second = record.tools
    assert (first.turn, first.ok, first.ms, first.result) == (1, True, 50, 7)
    assert (second.ok, second.ms, second.error) == (False, 15, "not found")


def test_an_end_without_a_beginning_is_kept() -> None:
    (tool,) = folded([(0, STARTED), (5, e.ToolEnded(1, "x", "book", ok=True, result=1))]).tools
    assert (tool.name, tool.arguments, tool.ok, tool.ms) == ("book", {}, True, None)


def test_a_request_that_ends_in_the_next_turn_stays_in_its_own() -> None:
    record = folded(
        [
            (0, STARTED),
            (5, e.StageStarted(1, "llm", "v", "m", 1)),
            (6, e.TurnStarted(2, "wait", -1)),
            (7, e.StageEnded(2, "llm", 1, error="interrupted")),
        ]
    )
    assert [len(turn.spans) for turn in record.turns] == [1, 0]
    assert record.turns[0].spans[0].error == "interrupted"


def test_the_greeting_is_turn_zero_and_no_turn_of_the_caller() -> None:
    record = folded(
        [
            (0, STARTED),
            (1, e.RecordingClock(0)),
            (5, e.AgentSpeechStarted(0, 100)),
            (9, e.AgentText(0, "Good morning.", "greeting", interrupted=True)),
        ]
    )
    (greeting,) = record.turns
    assert (greeting.number, greeting.agent_text, greeting.interrupted) == (0, "Good morning.", True)
    assert greeting.first_sound_ms is None
    assert record.caller_turns == 0


def test_speech_that_never_became_a_turn_is_none() -> None:
    record = folded([(0, STARTED), (5, e.StageStarted(1, "stt", "v", "m", 1))])
    assert record.turns == ()


def test_the_stretches_of_one_answer_are_joined_with_their_roles() -> None:
    record = folded(
        [
            (0, STARTED),
            (1, e.TurnStarted(1, "hello", -1)),
            (2, e.AgentText(1, "One moment. ", "filler", interrupted=False)),
            (3, e.AgentText(1, "Here it", "answer", interrupted=True)),
        ]
    )
    (turn,) = record.turns
    assert turn.agent_text == "One moment. Here it"
    assert [line.role for line in turn.lines] == ["filler", "answer"]
    assert turn.interrupted


def test_without_the_recordings_clock_the_earliest_report_ties_it_to_the_journal() -> None:
    (turn,) = folded(entry for entry in TURN if not isinstance(entry[1], e.RecordingClock)).turns
    # The detector told of the speech's start 250 ms after the journal's own zero said it lay there.
    assert turn.llm_start_ms == pytest.approx(110)
    assert turn.first_sound_ms == 1_000  # both ends on the recording: needs no clock


def test_a_later_reading_of_the_recordings_clock_counts_from_there_on() -> None:
    drifted = [*TURN[:2], (1_060, e.RecordingClock(ms(1_000))), *TURN[2:]]
    (turn,) = folded(drifted).turns
    assert turn.llm_start_ms == pytest.approx(300)


def test_a_call_continued_by_another_process_is_timed_by_the_wall_clock() -> None:
    entries = at(*TURN)
    last = entries[-1]
    entries[-1] = Entry(last.seq, -5_000_000_000, last.wall, last.event)
    assert fold("c", entries, PRICES).duration_s == 9


def test_events_from_the_future_are_passed_over() -> None:
    record = folded([*TURN[:-1], (8_000, e.Unknown("hologram", {"turn": "?"})), TURN[-1]])
    assert record.turns == folded(TURN).turns


def test_a_journal_without_its_first_event_still_folds() -> None:
    record = folded(TURN[2:])
    assert (record.agent, record.stages, record.recording) == ("", {}, None)
    assert record.turns[0].agent_text == "Tuesday at ten thirty?"
    assert record.turns[0].first_sound_ms is None  # the rate is not known


def test_no_journal_no_record() -> None:
    with pytest.raises(ValueError, match="no journal"):
        fold("c", [], PRICES)


def test_the_record_is_json() -> None:
    failure = e.VendorFailed(1, "tts", "cartesia", "timeout", "no audio", permanent=False)
    data = folded([*TURN[:-1], (8_000, failure), TURN[-1]]).to_json()
    again = json.loads(json.dumps(data, allow_nan=False))
    assert again == data
    assert again["started"] == "2026-01-01T00:00:00+00:00"
    assert again["stages"]["stt"] == {"vendor": "deepgram", "model": "nova-3-general", "stand_in": True}
    assert again["turns"][0]["tools"][0]["name"] == "free_slots"
    assert again["failures"][0]["category"] == "timeout"
    assert again["config"] == {"pipeline": "cascade"}


# --- what came first: a filler or the answer ---------------------------------------------------------------


def words(text: str, *starts_ms: float) -> tuple[e.HeardWord, ...]:
    return tuple(e.HeardWord(word, ms(at), ms(at + 200)) for word, at in zip(text.split(), starts_ms, strict=True))


def spoken(*lines: e.Event) -> CallRecord:
    """A turn whose caller fell silent at 2000 ms; the agent sounded at 3000 ms without a break."""
    return folded([*TURN[:17], *((6_000 + number, line) for number, line in enumerate(lines))])


FILLER = e.AgentText(
    1, "One moment.", "filler", interrupted=False, words=words("One moment.", 3_000, 3_250), remembered=False
)


def test_a_filler_is_the_first_sound_and_not_the_answer() -> None:
    answer = e.AgentText(1, "Tuesday then?", "answer", interrupted=False, words=words("Tuesday then?", 3_600, 3_900))
    (turn,) = spoken(FILLER, answer).turns
    assert (turn.first_sound_ms, turn.response_gap_ms) == (1_000, 1_600)


def test_a_turn_that_got_nothing_but_a_filler_has_no_answer() -> None:
    (turn,) = spoken(FILLER).turns
    assert (turn.first_sound_ms, turn.response_gap_ms) == (1_000, None)


def test_an_answer_without_places_is_the_first_sound_unless_a_filler_was() -> None:
    answer = e.AgentText(1, "Tuesday then?", "answer", interrupted=False)
    assert spoken(answer).turns[0].response_gap_ms == 1_000
    assert spoken(FILLER, answer).turns[0].response_gap_ms is None


def test_what_holds_the_line_before_the_answer_is_no_answer_either() -> None:
    """A hold sound has no words and no line of its own."""
    answer = e.AgentText(1, "Tuesday?", "answer", interrupted=False, words=words("Tuesday?", 4_200))
    assert spoken(answer).turns[0].response_gap_ms == 2_200


# --- what a stage's vendors did ------------------------------------------------------------------------------


def test_troubles_are_kept_in_order_also_of_a_turn_that_never_was_one() -> None:
    record = folded(
        [
            (0, STARTED),
            (5, e.StageTroubled(1, "stt", "deepgram", "no_transcript", 1_500, "gave_up")),
            (9, e.StageTroubled(2, "llm", "anthropic", "refused", 12, "retry")),
        ]
    )
    assert record.turns == ()
    assert [(one.turn, one.what, one.waited_ms, one.action) for one in record.troubles] == [
        (1, "no_transcript", 1_500, "gave_up"),
        (2, "refused", 12, "retry"),
    ]
