"""Conversation time on tapes and served logs made by hand: every figure is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from callwright.bench.metrics import HeardTurn, Injected, Parts, TurnTimes, cache_read_ratio, heard_turns, turn_times
from callwright.bench.utterances import Spoken
from callwright.simulators.account import Served
from callwright.simulators.tape import RATE, Lane, Said, Tape

BLOCK = RATE // 100
WAIT_MS, TRANSPORT_MS = 200.0, 90.0


def served(stage: str, what: str, asked: float, at: float, **more: object) -> Served:
    return Served.model_validate(
        {"stage": stage, "what": what, "request_at": asked, "at": at, "delay_ms": (at - asked) * 1000, **more}
    )


def turn(
    *sounds: tuple[float, float], end: float = 10.0, until: float = 20.0, answer: float | None = None, **more: bool
) -> HeardTurn:
    """One whose first sound is the answer, if nothing else is said."""
    begun = answer if answer is not None or not sounds else sounds[0][0]
    return HeardTurn("said", end, until, sounds, more.get("overlapped", False), more.get("mute", False), begun, "c1")


def figures(heard: HeardTurn, log: list[Served]) -> TurnTimes:
    return turn_times(heard, log, wait_ms=WAIT_MS, transport_ms=TRANSPORT_MS)


# Speech ends at 10 s. 45 ms to the agent, 200 ms wait and 15 ms more: Finalize. 60 ms: the final. 20 ms: the
# prompt. 640 ms: first token. 25 ms: text to the voice. 190 ms: first audio, 200 ms of it silent; queued 30 ms,
# 45 ms to the caller: sound at 11.47 s.
PLAIN = [
    served("stt", "final", 10.26, 10.32, detail={"words": 3}),
    served("llm", "first_token", 10.34, 10.98, request_id="r1"),
    served("tts", "first_audio", 11.005, 11.195, leading_silence_ms=200, context_id="c1"),
]


def test_what_the_vendors_took_is_not_ours() -> None:
    times = figures(turn((11.47, 13.0)), PLAIN)
    assert times.response_gap_ms == times.first_sound_ms == pytest.approx(1470)
    assert times.injected == Injected(stt_ms=pytest.approx(60), llm_ms=pytest.approx(640), tts_ms=pytest.approx(190))
    assert times.added_latency_ms == pytest.approx(1470 - 60 - 640 - 190 - 200 - 90)
    assert times.unmatched == ""


def test_the_parts_add_up_to_what_was_added() -> None:
    times = figures(turn((11.47, 13.0)), PLAIN)
    assert times.parts == Parts(
        hearing_ms=pytest.approx(15),
        deciding_ms=pytest.approx(20),
        wording_ms=pytest.approx(25),
        speaking_ms=pytest.approx(230),  # with the silence that was played
    )
    assert times.added_latency_ms == pytest.approx(15 + 20 + 25 + 230)


def test_what_belongs_to_other_turns_is_left_out() -> None:
    earlier = [
        served("tts", "first_audio", 1.0, 1.2, context_id="greeting"),
        served("stt", "final", 5.0, 5.1),
        served("llm", "first_token", 5.2, 6.0, request_id="r0"),
        served("tts", "first_audio", 6.1, 6.4, context_id="c0"),
    ]
    later = [
        served("stt", "final", 20.3, 20.4),
        served("llm", "first_token", 20.5, 21.0, request_id="r2"),
        served("tts", "first_audio", 21.1, 21.4, context_id="c2"),
    ]
    assert figures(turn((11.47, 13.0)), earlier + PLAIN + later) == figures(turn((11.47, 13.0)), PLAIN)


def test_a_final_that_the_system_did_not_wait_for_is_not_subtracted() -> None:
    log = [served("stt", "final", 10.26, 10.5), *PLAIN[1:]]
    times = figures(turn((11.47, 13.0)), log)
    assert times.injected is not None
    assert times.injected.stt_ms == 0
    assert times.added_latency_ms == pytest.approx(1470 - 640 - 190 - 200 - 90)
    assert times.parts is not None
    assert times.parts.deciding_ms == pytest.approx(80)  # from the Finalize to the prompt


def test_a_breath_that_was_finalised_does_not_hide_the_end_of_the_turn() -> None:
    late = [served("stt", "final", 10.1, 10.15), *PLAIN]
    assert figures(turn((11.47, 13.0)), late) == figures(turn((11.47, 13.0)), PLAIN)


def test_a_request_that_only_called_a_tool_is_waited_for_too() -> None:
    log = [
        PLAIN[0],
        served("llm", "first_token", 10.34, 10.98, request_id="r1"),
        served("llm", "first_token", 11.08, 11.58, request_id="r2"),
        served("tts", "first_audio", 11.6, 11.8, leading_silence_ms=100, context_id="c1"),
    ]
    times = figures(turn((11.95, 13.0)), log)
    assert times.injected is not None
    assert times.injected.llm_ms == pytest.approx(640 + 500)
    assert times.parts is not None
    parts = times.parts
    assert parts.deciding_ms == pytest.approx(20 + 100)  # the tool's own time, and the call's words, are ours
    total = parts.hearing_ms + parts.deciding_ms + parts.wording_ms + parts.speaking_ms
    assert times.added_latency_ms == pytest.approx(total)


def test_what_is_asked_after_the_first_words_is_not_part_of_the_gap() -> None:
    more = [
        served("llm", "first_token", 12.0, 13.0, request_id="r2"),
        served("tts", "first_audio", 13.1, 13.3, context_id="c2"),
    ]
    with_tool = figures(turn((11.47, 11.9), (13.6, 14.0)), PLAIN + more)
    assert with_tool.added_latency_ms == figures(turn((11.47, 13.0)), PLAIN).added_latency_ms


def test_a_request_that_was_taken_back_is_not_the_answers() -> None:
    taken_back = [
        served("llm", "first_token", 10.3, 10.31, request_id="r0"),
        served("llm", "cancelled", 10.3, 10.33, request_id="r0"),
    ]
    times = figures(turn((11.47, 13.0)), taken_back + PLAIN)
    assert times.injected is not None
    assert times.injected.llm_ms == pytest.approx(640)


def test_a_filler_is_a_sound_but_no_answer() -> None:
    filler = served("tts", "first_audio", 10.5, 10.6, context_id="filler")
    log = sorted([*PLAIN, filler], key=lambda line: line.at)
    times = figures(turn((10.7, 11.0), (11.47, 13.0), answer=11.47), log)
    assert times.first_sound_ms == pytest.approx(700)
    assert times.response_gap_ms == pytest.approx(1470)
    assert times.added_latency_ms == figures(turn((11.47, 13.0)), PLAIN).added_latency_ms


def test_a_filler_that_streams_while_a_tool_runs_is_not_the_answers_voice() -> None:
    log = [
        *PLAIN[:2],
        served("tts", "first_audio", 11.4, 11.5, context_id="filler"),
        served("llm", "first_token", 12.0, 12.5, request_id="r2"),
        served("tts", "first_audio", 12.52, 12.7, leading_silence_ms=100, context_id="c1"),
    ]
    times = figures(turn((11.6, 12.2), (12.9, 14.0), answer=12.9), log)
    assert times.injected is not None
    assert times.injected.tts_ms == pytest.approx(180)
    assert times.injected.llm_ms == pytest.approx(640 + 500)


def test_an_answer_begins_within_the_sound_that_a_filler_began() -> None:
    times = figures(turn((10.7, 13.0), answer=11.6), PLAIN)
    assert (times.first_sound_ms, times.response_gap_ms) == (pytest.approx(700), pytest.approx(1600))
    assert times.added_latency_ms == pytest.approx(1600 - 60 - 640 - 190 - 200 - 90)


def test_a_turn_that_got_nothing_but_a_filler_has_no_gap() -> None:
    times = figures(HeardTurn("said", 10, 20, ((10.7, 11.0),), overlapped=False, mute=False), PLAIN)
    assert (times.first_sound_ms, times.response_gap_ms) == (pytest.approx(700), None)
    assert times.unmatched == "no word of the model's was heard"


def test_the_longest_silence_is_found_within_the_answer_too() -> None:
    assert figures(turn((11.47, 12.0), (14.5, 15.0), (15.2, 16.0)), PLAIN).longest_silence_ms == pytest.approx(2500)
    assert figures(turn((11.47, 12.0), (12.2, 16.0)), PLAIN).longest_silence_ms == pytest.approx(1470)


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ([], "no Finalize came"),
        (PLAIN[:1], "the model was not asked"),
        (PLAIN[:2], "the voice was not asked"),
        (PLAIN[1:], "no Finalize came"),
    ],
)
def test_a_turn_that_cannot_be_matched_says_so_and_keeps_its_gap(log: list[Served], why: str) -> None:
    times = figures(turn((11.47, 13.0)), log)
    assert why in times.unmatched
    assert times.response_gap_ms == pytest.approx(1470)
    assert times.added_latency_ms is None


def test_a_mute_turn_has_no_gap_and_counts() -> None:
    times = figures(turn(mute=True), PLAIN)
    assert times.mute
    assert times.response_gap_ms is None
    assert times.longest_silence_ms == pytest.approx(10_000)
    assert times.unmatched == "no sound came"


def test_an_agent_that_talked_on_leaves_no_gap() -> None:
    times = figures(turn((10.0, 12.0), overlapped=True), PLAIN)
    assert times.response_gap_ms is None
    assert "was speaking" in times.unmatched


def test_the_cache_counts_from_the_second_turn_on() -> None:
    def reply(asked: float, fresh: int, read: int, written: int) -> Served:
        usage = {"input_tokens": fresh, "cache_read_input_tokens": read, "cache_creation_input_tokens": written}
        return served("llm", "reply", asked, asked + 1, detail={"usage": usage | {"output_tokens": 50}})

    log = [reply(10.3, 10, 0, 2000), reply(20.3, 20, 1800, 180), reply(23.0, 0, 1000, 0)]
    both = [turn(), turn(end=20.0, until=30.0)]
    assert cache_read_ratio(both, log) == (2800, 3000)
    assert cache_read_ratio(both[:1], log) == (0, 0)


# ---------------------------------------------------------------------- tapes


def tape(*, said: list[tuple[float, float]], heard: list[tuple[float, float]], length_s: float) -> Tape:
    made = Tape(origin_s=100.0)
    for lane, sounds in ((made.sent, said), (made.hear("agent"), heard)):
        _fill(lane, sounds, length_s)
    for start, end in said:
        made.said.append(Said("said", round(start * RATE), round((end + 0.1) * RATE), (), "speech"))
    return made


def _fill(lane: Lane, sounds: list[tuple[float, float]], length_s: float) -> None:
    samples = np.zeros(round(length_s * RATE), np.int16)
    for start, end in sounds:
        samples[round(start * RATE) : round(end * RATE)] = 8000
    for at in range(0, len(samples), BLOCK):
        lane.observe(100 + at / RATE, at)
        lane.append(samples[at : at + BLOCK])


def test_turns_are_found_on_the_monotonic_clock() -> None:
    first, second = heard_turns(
        tape(said=[(1, 2), (6, 7)], heard=[(0.2, 0.5), (2.8, 3.2), (4, 5), (7.5, 8)], length_s=9), ()
    )
    assert first.end == pytest.approx(102)
    assert first.until == pytest.approx(106)
    assert [pytest.approx(pair) for pair in first.sounds] == [(102.8, 103.2), (104, 105)]
    assert second.until == pytest.approx(109)
    assert [pytest.approx(pair) for pair in second.sounds] == [(107.5, 108)]


def test_the_tail_of_what_was_talked_over_is_no_sound_of_the_turn() -> None:
    (heard,) = heard_turns(tape(said=[(1, 2)], heard=[(0.5, 2.1), (2.25, 2.4), (3, 4)], length_s=6), ())
    assert [pytest.approx(pair) for pair in heard.sounds] == [(103, 104)]


def test_five_seconds_of_nothing_are_mute() -> None:
    (heard,) = heard_turns(tape(said=[(1, 2)], heard=[], length_s=8), ())
    assert heard.mute
    assert heard.sounds == ()


def test_the_answer_is_the_first_of_the_models_words_after_the_caller() -> None:
    spoken = [
        Spoken("answer", "before", 0.2, 0.9, 0.1, reply=0, context="a"),
        Spoken("filler", "one moment", 2.8, 3.2, 2.0, context="b"),
        Spoken("preamble", "let me see", 3.25, 4.0, 3.0, reply=1, context="c"),
        Spoken("answer", "it is free", 5.0, 6.0, 4.9, reply=2, context="d"),
    ]
    (heard,) = heard_turns(tape(said=[(1, 2)], heard=[(2.8, 4.0), (5, 6)], length_s=7), spoken)
    assert (heard.answer, heard.voice) == (pytest.approx(103.25), "c")
