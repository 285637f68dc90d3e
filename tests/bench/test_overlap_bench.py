"""`bench overlap`: the set of sounds, what a recording shows of their effect, and two real answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import numpy as np
import pytest
from rich.console import Console

from callwright.bench import overlap, overlap_set
from callwright.bench.ear import Heard, Passage, Source, SourceWord
from callwright.bench.heard_scenes import RULES
from callwright.bench.overlap import CallResult, Plan, Results, level_dbfs, run
from callwright.bench.overlap_metrics import Effect, Moment, effect
from callwright.bench.overlap_report import render, sound_lines, summarise
from callwright.bench.overlap_set import BACKCHANNELS, BACKGROUND, INTERRUPTIONS, NOISES, Utterance, scenes
from callwright.bench.report import Provenance
from callwright.simulators import brain_rules
from callwright.simulators.brain import Brain
from callwright.simulators.tape import RATE
from processors.overlap import Claim, claim

MADE = Provenance(git="abc123", date="2026-11-20T12:00:00+00:00", machine={"cores": 2})

# ---------------------------------------------------------------------- the set


def test_the_set_is_as_large_as_promised() -> None:
    assert len(INTERRUPTIONS) >= 40
    assert len(BACKCHANNELS) >= 25
    assert len(NOISES) >= 5
    assert len(BACKGROUND) >= 8
    assert all(15 <= one.below_db <= 25 for one in BACKGROUND)
    assert sum(bool(one.text) for one in BACKGROUND) * 2 == len(BACKGROUND)


def test_the_same_seed_makes_the_same_calls() -> None:
    made = scenes(3, 8, 6)
    assert made == scenes(3, 8, 6)
    assert made != scenes(4, 8, 6)
    assert {scene.voice for scene in made} == set(overlap_set.VOICES)
    assert {scene.noise_dbfs for scene in made} == {None, -50.0}
    for scene in made:
        assert sum(one.kind == "interruption" for one in scene.utterances) == 3
        assert scene.other != scene.voice


def test_nothing_comes_twice_before_everything_has_come_once() -> None:
    said = [one.spoken for scene in scenes(0, 16, 6) for one in scene.utterances if one.kind == "interruption"]
    assert len(said) == 48
    assert set(said) == {one.spoken for one in INTERRUPTIONS}


def test_no_interruption_asks_for_another_answer() -> None:
    """It would be answered with words that the judge looks for."""
    desk = Brain(brain_rules.load(RULES))
    topics = [phrase for phrases in desk._rules.slots["topic"].choices.values() for phrase in phrases]
    for one in (*INTERRUPTIONS, *BACKCHANNELS, *BACKGROUND):
        assert not [topic for topic in topics if topic in one.text.lower()]


@pytest.mark.parametrize("one", INTERRUPTIONS, ids=lambda one: one.text)
def test_the_words_of_an_interruption_want_the_floor(one: Utterance) -> None:
    assert claim(one.text) in (Claim.FLOOR, Claim.STOP)


@pytest.mark.parametrize("one", BACKCHANNELS, ids=lambda one: one.text or one.spoken)
def test_the_words_of_a_backchannel_do_not(one: Utterance) -> None:
    assert claim(one.text) in (Claim.LISTENING, Claim.NOTHING)


# ---------------------------------------------------------------------- the judge

ANSWER = "one two three four five six"


def source(name: str, words: str, at_s: float = 1.0) -> Source:
    """Each word half a second; the voice's samples are those of the tape."""
    texts = words.split()
    half = RATE // 2
    spans = tuple(SourceWord(text, at * half, (at + 1) * half) for at, text in enumerate(texts))
    return Source(name, RATE, bytes(2 * half * len(texts)), spans, at_s)


def judged(
    *passages: tuple[float, float, float], onset_s: float, heard: Sequence[int], kind: overlap_set.Kind = "interruption"
) -> Effect:
    """Seconds: (first, end) of the answer's audio sounded at a place of the tape."""
    tape = np.zeros(RATE * 20, np.int16)
    placed = []
    for first, end, at in passages:
        tape[round(at * RATE) : round((at + end - first) * RATE)] = 5000
        placed.append(Passage(round(first * RATE), round(end * RATE), round(at * RATE)))
    own = source("a", ANSWER)
    texts = tuple(ANSWER.split())
    result = Heard("a", tuple(placed), tuple(at in heard for at in range(6)), texts)
    moment = Moment(round(onset_s * RATE), RATE * 20)
    return effect(kind, moment, ANSWER, [own], [result], tape)


def test_an_answer_that_ends_is_yielded() -> None:
    found = judged((0, 1.4, 2), onset_s=3, heard=(0, 1))
    assert found.yielded
    assert found.stop_ms == pytest.approx(400)
    assert found.lost == 4


def test_one_that_ends_too_late_is_not() -> None:
    assert not judged((0, 2.6, 2), onset_s=3, heard=range(5)).yielded


def test_one_that_falls_silent_and_goes_on_to_the_end_has_not_yielded() -> None:
    found = judged((0, 1.4, 2), (1, 3, 4), onset_s=3, heard=range(6))
    assert not found.yielded
    assert found.resumed
    assert found.kept
    assert found.silent_ms == pytest.approx(600)


def test_of_a_false_start_the_last_silence_counts() -> None:
    found = judged((0, 1.4, 2), (1, 1.5, 4), onset_s=3.2, heard=(0, 1, 2))
    assert found.yielded
    assert found.stop_ms == pytest.approx(1300)


def test_what_is_heard_to_the_end_without_a_break_is_kept() -> None:
    found = judged((0, 3, 2), onset_s=3, heard=range(6), kind="backchannel")
    assert found.stop_ms is None
    assert found.kept
    assert not found.yielded


def test_what_goes_on_without_some_words_is_not_kept() -> None:
    found = judged((0, 1.2, 2), (2, 3, 4), onset_s=3, heard=(0, 1, 4, 5), kind="noise")
    assert found.resumed
    assert not found.kept
    assert found.lost == 2


def test_a_break_before_the_sound_is_not_its_effect() -> None:
    assert judged((0, 1, 2), (1, 3, 4), onset_s=5, heard=range(6), kind="noise").stop_ms is None


@pytest.mark.parametrize(("onset_s", "why"), [(1.5, "the answer had not begun"), (9, "the answer was over")])
def test_a_sound_beside_the_answer_is_not_judged(onset_s: float, why: str) -> None:
    assert judged((0, 3, 2), onset_s=onset_s, heard=range(6)).unjudged == why


def test_an_answer_in_several_contexts_is_one() -> None:
    tape = np.zeros(RATE * 20, np.int16)
    tape[2 * RATE : 5 * RATE] = 5000
    parts = [source("a", "one two three"), source("b", "Four, five six.")]
    half = round(1.5 * RATE)
    heard = [
        Heard("a", (Passage(0, half, 2 * RATE),), (True,) * 3, ("one", "two", "three")),
        Heard("b", (Passage(0, half, 2 * RATE + half),), (True,) * 3, ("Four,", "five", "six.")),
    ]
    found = effect("noise", Moment(3 * RATE, 20 * RATE), ANSWER, parts, heard, tape)
    assert (found.stop_ms, found.lost) == (None, 0)


def test_an_answer_that_is_given_anew_is_another_one() -> None:
    tape = np.zeros(RATE * 20, np.int16)
    tape[2 * RATE : 3 * RATE] = 5000
    tape[6 * RATE : 9 * RATE] = 5000
    texts = tuple(ANSWER.split())
    heard = [
        Heard("a", (Passage(0, RATE, 2 * RATE),), (True, True, False, False, False, False), texts),
        Heard("b", (Passage(0, 3 * RATE, 6 * RATE),), (True,) * 6, texts),
    ]
    parts = [source("a", ANSWER), source("b", ANSWER, at_s=5)]
    found = effect("interruption", Moment(round(2.6 * RATE), 20 * RATE), ANSWER, parts, heard, tape)
    assert found.yielded
    assert found.lost == 4


def test_the_level_is_that_of_the_sound_not_of_the_silence() -> None:
    loud = np.full(RATE, 3277, "<i2")
    silent = np.zeros(RATE, "<i2")
    assert level_dbfs(np.concatenate([loud, silent]).tobytes(), RATE) == pytest.approx(-20, abs=0.1)
    assert level_dbfs(silent.tobytes(), RATE) == -100


# ---------------------------------------------------------------------- the report


def test_the_report_says_what_each_ratio_is_of() -> None:
    plan = Plan(("callwright",), sounds=6)
    effects = (
        Effect("interruption", 400, words=6, lost=3),
        Effect("interruption", None, words=6),
        Effect("backchannel", 300, 700, resumed=True, words=6),
        Effect("noise", None, words=6),
        Effect("background", 500, words=6, lost=4),
        Effect("interruption", unjudged="the answer was over"),
    )
    results = Results([CallResult("callwright", 0, plan.scenes()[0], effects)])
    (summary,) = summarise(plan, results)
    found = json.loads(json.dumps(summary.to_json(MADE)))
    assert (found["bench"], found["n"]) == ("overlap", 5)
    assert found["metrics"]["yield_rate"] == 0.5
    assert found["metrics"]["backchannel_kept_rate"] == 0.6667
    assert found["metrics"]["resume_rate"] == 0.5
    assert found["metrics"]["silent_ms"]["p50"] == 700
    assert found["metrics"]["not_judged"] == 1
    console = Console(record=True, width=120)
    console.print(render([summary], MADE))
    assert "0.667 of 3" in console.export_text()
    assert len(list(sound_lines(results))) == 6


async def test_two_real_answers_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveKit, stand-ins and stock Pipecat, which stops for everything that it takes for speech; 50 s."""
    monkeypatch.setattr(overlap, "ROUNDS", 2)
    plan = Plan(("pipecat",), sounds=2, concurrency=1)
    results = Results()
    async with asyncio.timeout(150):
        await run(plan, results, lambda line: None)
    (call,) = results.calls
    assert call.failure == ""
    assert [one.unjudged for one in call.effects] == ["", ""]
    (true,) = [one for one in call.effects if one.kind == "interruption"]
    assert true.yielded
    assert true.lost > 0
