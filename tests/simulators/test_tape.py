"""Streams that are seen late, laid on one clock."""

from __future__ import annotations

import json
import random
import wave
from pathlib import Path

import numpy as np
import pytest

from callwright.simulators.tape import RATE, Caption, Lane, Said, SaidWord, Segment, Tape, align

BLOCK = RATE // 100


def observed(
    count: int, *, start_s: float = 10.0, late: dict[int, float] | None = None
) -> tuple[list[float], list[int]]:
    """Blocks of 10 ms, each seen the moment it passes, but for the late ones."""
    at = [start_s + k * 0.01 + (late or {}).get(k, 0.0) for k in range(count)]
    return at, [k * BLOCK for k in range(count)]


def test_nothing_seen_is_nowhere() -> None:
    assert align([], []) == []


def test_a_busy_event_loop_bends_nothing() -> None:
    stall = {k: 0.3 - (k - 20) * 0.01 for k in range(20, 50)}  # all seen at once, 0.3 s late
    assert align(*observed(200, late=stall)) == [Segment(0, pytest.approx(10.0))]


@pytest.mark.parametrize("seed", range(20))
def test_random_lateness_is_not_taken_for_a_gap(seed: int) -> None:
    dice = random.Random(seed)
    late = {k: dice.expovariate(1 / 0.004) for k in range(500)}
    segments = align(*observed(500, late=late))
    assert len(segments) == 1
    assert segments[0].offset_s == pytest.approx(10.0, abs=0.001)


def test_a_stream_that_paused_goes_on_later() -> None:
    at, passed = observed(100)
    at = at[:50] + [moment + 0.5 for moment in at[50:]]
    assert align(at, passed) == [Segment(0, pytest.approx(10.0)), Segment(50 * BLOCK, pytest.approx(10.5))]


def test_a_stall_at_the_very_end_is_not_a_gap() -> None:
    assert len(align(*observed(100, late={98: 0.2, 99: 0.2}))) == 1


def test_what_is_said_to_have_passed_before_the_first_sample_says_nothing() -> None:
    lane = Lane()
    lane.observe(1.0, -960)
    assert lane.segments() == []


def lane_of(tape: Tape, lane: Lane, samples: list[int], start_s: float) -> None:
    for k, value in enumerate(samples):
        lane.observe(start_s + k * 0.01, lane.count)
        lane.append(np.full(BLOCK, value, np.int16))


def test_both_lanes_lie_on_one_clock() -> None:
    tape = Tape(origin_s=100.0)
    lane_of(tape, tape.sent, [1, 2], 100.5)
    lane_of(tape, tape.hear("agent"), [3, 4], 100.75)
    sent, heard = tape.sent_samples(), tape.heard_samples()
    assert np.flatnonzero(sent)[0] == RATE // 2
    assert np.flatnonzero(heard)[0] == RATE * 3 // 4
    assert heard[-1] == 4


def test_two_tracks_are_mixed_and_one_can_be_asked_for() -> None:
    tape = Tape(origin_s=0.0)
    lane_of(tape, tape.hear("agent"), [100] * 3, 0.0)
    lane_of(tape, tape.hear("guest"), [30000] * 3, 0.01)
    assert tape.heard_samples()[BLOCK] == 30100
    assert tape.heard_samples("agent").max() == 100
    assert len(tape.heard_samples("nobody")) == 0


def test_a_mix_that_is_too_loud_is_clipped_not_wrapped() -> None:
    tape = Tape(origin_s=0.0)
    for who in ("one", "two"):
        lane_of(tape, tape.hear(who), [30000], 0.0)
    assert tape.heard_samples().max() == 32767


def test_sound_from_before_the_tape_is_cut_off() -> None:
    tape = Tape(origin_s=0.015)
    lane_of(tape, tape.hear("agent"), [1, 2, 3], 0.0)
    assert tape.heard_samples()[0] == 2


def test_a_gap_is_silence_and_is_counted() -> None:
    tape = Tape(origin_s=0.0)
    lane = tape.hear("agent")
    lane_of(tape, lane, [5] * 30, 0.0)
    lane_of(tape, lane, [6] * 30, 0.5)
    heard = tape.heard_samples()
    assert tape.gaps == {"sent": 0, "heard": 1}
    assert heard[30 * BLOCK - 1] == 5
    assert heard[30 * BLOCK] == 0
    assert heard[RATE // 2] == 6


def said_on(tape: Tape) -> None:
    lane_of(tape, tape.sent, [1] * 40, 0.25)
    tape.said.append(
        Said("yes please", 480, 9600, (SaidWord("yes", 480, 4800), SaidWord("please", 4800, 9600)), "speech")
    )


def test_an_utterance_is_placed_by_when_its_samples_left() -> None:
    tape = Tape(origin_s=0.0)
    said_on(tape)
    (utterance,) = tape.utterances
    assert (utterance.start, utterance.end) == (12000 + 480, 12000 + 9600)
    assert [word.start for word in utterance.words] == [12480, 16800]


def test_a_saved_tape_is_left_what_was_sent_and_right_what_was_heard(tmp_path: Path) -> None:
    tape = Tape(origin_s=0.0)
    said_on(tape)
    lane_of(tape, tape.hear("agent"), [7] * 100, 0.3)
    tape.captions.append(Caption("agent", "Hello.", True, "s1", 24000))
    tape.save(tmp_path / "calls" / "one.wav")
    with wave.open(str(tmp_path / "calls" / "one.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, RATE, 2)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert np.array_equal(both[: len(tape.sent_samples()), 0], tape.sent_samples())
    assert np.array_equal(both[:, 1], tape.heard_samples())
    side = json.loads((tmp_path / "calls" / "one.json").read_text())
    assert side["utterances"][0]["words"][1] == {"text": "please", "start": 16800, "end": 21600}
    assert side["captions"][0]["text"] == "Hello."


def test_an_empty_tape_can_be_saved(tmp_path: Path) -> None:
    Tape().save(tmp_path / "empty.wav")
    with wave.open(str(tmp_path / "empty.wav")) as file:
        assert file.getnframes() == 0
