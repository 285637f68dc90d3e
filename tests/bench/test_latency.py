"""The run itself: when an answer is over, what a call's line says, and one real call in small."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from callwright.bench.ear import Source, SourceWord
from callwright.bench.latency import CallResult, Plan, Results, answers, progress, run, settled
from callwright.bench.metrics import HeardTurn
from callwright.bench.report import summarise
from callwright.bench.spread import Spread
from callwright.bench.wire import Reply
from callwright.simulators.account import Delay, Served
from callwright.simulators.sound import Samples
from callwright.simulators.tape import RATE
from callwright.simulators.voice import Voice, find_engine

SCRIPT = Path(__file__).parents[2] / "agents" / "frontdesk.py"
RULES = SCRIPT.with_name("frontdesk.rules.yaml")


def reply(at: float, stop_reason: str) -> Served:
    return Served(stage="llm", what="reply", at=at, request_at=at - 1, detail={"stop_reason": stop_reason})


def voice(at: float, what: str = "done") -> Served:
    return Served(stage="tts", what=what, at=at)


def test_an_answer_is_over_when_the_model_and_the_voice_are() -> None:
    assert settled([reply(11, "end_turn"), voice(12)], 10)


@pytest.mark.parametrize(
    "log",
    [
        [],
        [reply(9, "end_turn"), voice(9.5)],  # of the turn before
        [reply(11, "end_turn")],
        [voice(10.9), reply(11, "end_turn")],  # it has not sent the last words yet
        [reply(11, "tool_use"), voice(12)],
        [reply(11, "tool_use"), voice(12), reply(13, "end_turn")],
    ],
)
def test_a_pause_while_a_tool_runs_is_not_the_end_of_the_answer(log: list[Served]) -> None:
    assert not settled(log, 10)


def test_both_settings_differ_in_the_vendors_delays_alone() -> None:
    plan = Plan(("callwright",), SCRIPT, RULES)
    usual, none = plan.settings("default", 4), plan.settings("zero", 4)
    assert usual.llm_first_token == Delay(637, 1615)
    assert usual.tts_leading_silence_ms == (150, 250)
    assert (none.speed, none.tts_leading_silence_ms) == (0, (0, 0))
    assert none.model_copy(update={"speed": 1.0, "tts_leading_silence_ms": (150, 250)}) == usual


def test_a_failed_call_says_so_in_its_line() -> None:
    turn = HeardTurn("said", 1.0, 9.0, (), overlapped=False, mute=True)
    result = CallResult("pipecat", "zero", 3, (turn,), (), 200, {}, 2, "the system ended the call: it broke")
    line = progress(result, 90)
    assert line == ("pipecat, delays zero, seed 3: gap – ms, added – ms; FAILED: the system ended the call: it broke")


ANSWER = "I have Tuesday at nine. Which would you like?"


@lru_cache
def source(text: str, at_s: float, context: str) -> Source:
    speech = asyncio.run(Voice(engine=find_engine()).speak(text, rate=RATE))
    words = tuple(SourceWord(word.text, word.start, word.end) for word in speech.words)
    return Source(context, RATE, speech.pcm, words, at_s, text)


def on_tape(*parts: float | Source) -> Samples:
    """Seconds of silence, and what sounds."""
    pieces = [np.zeros(round(one * RATE)) if isinstance(one, float) else np.frombuffer(one.pcm, "<i2") for one in parts]
    tape = np.concatenate(pieces)
    noise = np.random.default_rng(1).normal(0, 1, len(tape)) * (30 + 0.1 * np.abs(tape))
    return np.asarray(np.clip(tape + noise, -32768, 32767), np.int16)


@pytest.mark.parametrize("gap_s", [0.5, 0.01])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("I'm still on it.", ANSWER),
        ("Let me see.", "Let me see."),  # what the program says, the model says too, with the same sound
        ("Let me see.", f"Let me see. {ANSWER}"),
    ],
)
def test_the_answer_is_told_from_the_line_before_it(line: str, said: str, gap_s: float) -> None:
    filler = source(line, 0.0, "batch-1")
    length_s = len(filler.pcm) / 2 / RATE
    answer = source(said, 1.0 + length_s - 0.1, "c1")
    tape = on_tape(1.0, filler, gap_s, answer, 1.0)
    (first, *_) = answers([answer], [filler], [Reply(said, (), 0.5, 2.0, whole=True)], tape)
    assert (first.kind, first.context) == ("answer", "c1")
    leading_s = answer.words[0].start / RATE
    assert first.begin == pytest.approx(1.0 + length_s + gap_s + leading_s, abs=0.03)


async def test_one_real_call_is_measured_from_end_to_end() -> None:
    """LiveKit, stand-ins and the system in their own processes; 25 to 30 s."""
    plan = Plan(("callwright",), SCRIPT, RULES, calls=1, delays=("zero",), seed=2, turns=2, echo_pairs=1)
    results, lines = Results(), list[str]()
    async with asyncio.timeout(90):
        await run(plan, results, lines.append)
    (call,) = results.calls
    assert call.failure == ""
    assert len(call.turns) == 2
    (summary,) = summarise(plan, results)
    assert summary.n == 2
    assert summary.metrics["mute_turns"] == 0
    assert summary.metrics["unmatched_turns"] == 0
    added, ratio = summary.metrics["added_latency_ms"], summary.metrics["cache_read_ratio"]
    assert isinstance(added, Spread)
    assert -50 < added.p50 < 1000  # plausible on any machine; how good it is, is not a test's to say
    assert isinstance(ratio, float)
    assert ratio >= 0.85
    assert 20 < results.transport_ms < 300
    assert lines[-1].startswith("1/1  callwright, delays zero, seed 2: gap ")
