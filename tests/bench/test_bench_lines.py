"""Lines from a store are found on the tape wherever they were played, however often, beside what was streamed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from callwright.bench.ear import Heard, Source, SourceWord
from callwright.bench.lines import listen
from callwright.simulators.tape import RATE
from callwright.simulators.voice import Voice, find_engine

SOURCE_RATE = 24000
MOMENT, STILL, ANSWER = "One moment, please.", "I am still looking.", "One teacher for every ten pupils comes free."
OTHER = "Lessons for beginners are given on Monday mornings."
Wave = NDArray[np.int16]


@lru_cache
def source(text: str, at_s: float = 0.0) -> Source:
    speech = asyncio.run(Voice(engine=find_engine()).speak(text, rate=SOURCE_RATE))
    words = tuple(SourceWord(word.text, word.start, word.end) for word in speech.words)
    return Source(text, SOURCE_RATE, speech.pcm, words, at_s, text)


def pcm(of: Source) -> Wave:
    return np.frombuffer(of.pcm, "<i2")


def silence(seconds: float) -> Wave:
    return np.zeros(round(seconds * SOURCE_RATE), np.int16)


def on_tape(*parts: Wave) -> Wave:
    wide = soxr.resample(np.concatenate(parts).astype(np.float32), SOURCE_RATE, RATE)
    wide = wide + np.random.default_rng(1).normal(0, 1, len(wide)) * (30 + 0.1 * np.abs(wide))
    return np.asarray(np.clip(wide, -32768, 32767), np.int16)


def story(found: list[tuple[Source, Heard]]) -> list[tuple[str, int]]:
    """What was heard and how many words of it, in the order of the tape."""
    played = [(heard.passages[0].at, of.text, len(heard.words)) for of, heard in found if heard.passages]
    return [(text, words) for _, text, words in sorted(played)]


def test_a_line_is_found_each_time_it_was_played_and_the_answer_between() -> None:
    moment, answer = source(MOMENT), source(ANSWER, 3.0)
    tape = on_tape(silence(1), pcm(moment), silence(2), pcm(answer), silence(1), pcm(moment), silence(1))
    found = listen([answer], [source(STILL), moment], tape)
    assert story(found) == [(MOMENT, 3), (ANSWER, 8), (MOMENT, 3)]


def test_a_line_that_was_never_played_is_not_found() -> None:
    answer = source(ANSWER, 0.5)
    found = listen([answer], [source(MOMENT), source(STILL)], on_tape(silence(1), pcm(answer), silence(1)))
    assert story(found) == [(ANSWER, 8)]


@pytest.mark.parametrize(("words", "text"), [(2, OTHER), (2, ANSWER)])
def test_a_line_cut_short_by_the_answer_is_found_as_far_as_it_was_played(words: int, text: str) -> None:
    moment, answer = source(MOMENT), source(text, 1.0)
    cut = moment.words[words - 1].end
    found = listen([answer], [moment], on_tape(silence(1), pcm(moment)[:cut], silence(0.1), pcm(answer), silence(1)))
    assert story(found) == [(MOMENT, words), (text, 8)]


def test_a_line_that_is_streamed_instead_is_that_line_all_the_same() -> None:
    moment = source(MOMENT)
    streamed = replace(moment, context_id="streamed", at_s=0.5)
    found = listen([streamed], [moment], on_tape(silence(1), pcm(moment), silence(1)))
    assert story(found) == [(MOMENT, 3)]
