"""The voice says what it is told and knows where each word lies."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from callwright.simulators.errors import SimulatorError
from callwright.simulators.flite import partition
from callwright.simulators.recogniser import Recognisers
from callwright.simulators.voice import Voice, find_engine

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


class Buzzer:
    """An engine that buzzes 0.1 s for each word and counts how often it was asked."""

    name = "buzzer"
    voices: tuple[str, ...] = ("low", "high")
    default_voice = "low"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def render(
        self, words: Sequence[str], voice: str, speed: float
    ) -> tuple[NDArray[np.int16], int, list[tuple[float, float]]]:
        self.asked.append(list(words))
        pcm = np.full(1600 * len(words), 1000, dtype=np.int16)
        return pcm, 16000, [(index / 10, (index + 1) / 10) for index in range(len(words))]


async def test_every_written_word_is_there_once_and_in_order() -> None:
    text = "Well — it's 3:30 p.m., “café” 😀 time?"
    speech = await Voice(engine=Buzzer()).speak(text, rate=24000)
    assert [word.text for word in speech.words] == text.split()
    ends = [edge for word in speech.words for edge in (word.start, word.end)]
    assert ends == sorted(ends)
    assert ends[-1] <= speech.samples


async def test_a_word_with_nothing_to_say_takes_no_time() -> None:
    speech = await Voice(engine=Buzzer()).speak("Well — yes")
    assert [word.end > word.start for word in speech.words] == [True, False, True]


async def test_inline_tags_are_obeyed_by_vendors_and_never_read_out() -> None:
    engine = Buzzer()
    await Voice(engine=engine).speak('One <break time="1s"/> two')
    assert engine.asked == [["One", "two"]]


async def test_text_without_words_is_silent() -> None:
    speech = await Voice(engine=Buzzer()).speak("...")
    assert (speech.pcm, speech.samples, [word.text for word in speech.words]) == (b"", 0, ["..."])


async def test_the_same_text_is_rendered_once_and_kept_on_disk(tmp_path: Path) -> None:
    engine = Buzzer()
    voice = Voice(tmp_path, engine=engine)
    first = await voice.speak("Hello there")
    assert await voice.speak("Hello there") == first
    assert await Voice(tmp_path, engine=engine).speak("Hello there") == first
    assert len(engine.asked) == 1
    await voice.speak("Hello there", rate=8000)
    assert len(engine.asked) == 2


async def test_a_damaged_file_in_the_cache_is_made_again(tmp_path: Path) -> None:
    engine = Buzzer()
    first = await Voice(tmp_path, engine=engine).speak("Hello")
    (file,) = tmp_path.rglob("*.speech")
    file.write_bytes(file.read_bytes()[:-10])
    assert await Voice(tmp_path, engine=engine).speak("Hello") == first


async def test_any_voice_id_gets_a_voice_and_always_the_same() -> None:
    voice = Voice(engine=Buzzer())
    assert voice.named("low") == "low"
    assert {voice.named(f"id {number}") for number in range(20)} == {"low", "high"}
    assert voice.named("some uuid") == voice.named("some uuid")


def test_no_engine_is_one_line_that_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(SimulatorError, match="apt-get install flite"):
        find_engine()


def same(expected: str, actual: str) -> float:
    return 0.0 if expected == actual else 1.0


def test_symbols_that_context_adds_belong_to_the_group_before_them() -> None:
    groups = [["five", "dollars"], ["million"], ["now"]]
    assert partition(groups, ["five", "million", "dollars", "now"], same) == [(0, 1), (1, 3), (3, 4)]


def test_a_group_that_expects_nothing_gets_nothing() -> None:
    assert partition([["a"], [], ["b"]], ["a", "b"], same) == [(0, 1), (1, 1), (1, 2)]


def test_a_group_all_of_whose_symbols_changed_still_gets_its_share() -> None:
    assert partition([["a"], ["x", "y"], ["c"]], ["a", "p", "q", "c"], same) == [(0, 1), (1, 3), (3, 4)]


@needs_flite
async def test_flite_speaks_in_four_voices_at_any_rate() -> None:
    voice = Voice()
    for name in voice.voices:
        for rate in (8000, 24000):
            speech = await voice.speak("Good morning.", voice=name, rate=rate)
            assert 0.5 < speech.duration < 2.0
            assert np.abs(np.frombuffer(speech.pcm, dtype="<i2")).max() > 3000


@needs_flite
async def test_twice_the_speed_is_half_the_time() -> None:
    voice = Voice()
    normal = await voice.speak("Good morning to you all.")
    fast = await voice.speak("Good morning to you all.", speed=2.0)
    assert 0.4 < fast.duration / normal.duration < 0.65


@needs_flite
@pytest.mark.parametrize(
    ("text", "slow"),
    [
        ("Call me at 555-0123 today.", "555-0123"),  # seven spoken words
        ("It costs $20.50 now.", "$20.50"),
        ("The year 1998 was good.", "1998"),
        ("See www.example.com for it.", "www.example.com"),
    ],
)
async def test_a_written_word_of_many_spoken_words_gets_all_their_time(text: str, slow: str) -> None:
    speech = await Voice().speak(text, voice="rms")
    length = {word.text: (word.end - word.start) / speech.rate for word in speech.words}
    assert max(length, key=lambda word: length[word]) == slow
    assert length[slow] > 0.8
    assert all(0.05 < seconds < 0.8 for word, seconds in length.items() if word != slow)


@needs_flite
async def test_an_independent_listener_finds_the_words_where_flite_says_they_are() -> None:
    speech = await Voice().speak("My name is John Carter.", voice="rms", rate=16000)
    async with Recognisers() as recognisers:
        recogniser = await recognisers.borrow()
        await recogniser.new_stream()
        await recogniser.begin()
        await recogniser.feed(speech.pcm + bytes(6400))
        heard = await recogniser.finish()
    assert [word.text for word in heard] == ["my", "name", "is", "john", "carter"]
    for said, found in zip(speech.words, heard, strict=True):
        assert abs(said.start / 16000 - found.start) < 0.08
        assert abs(said.end / 16000 - found.end) < 0.08


@needs_flite
async def test_there_is_sound_in_every_word_and_little_before_the_first() -> None:
    speech = await Voice().speak("Doctor Smith can see you on Monday, at ten.", voice="slt")
    pcm = np.abs(np.frombuffer(speech.pcm, dtype="<i2").astype(int))
    assert speech.leading_silence == speech.words[0].start <= speech.rate // 50
    for word in speech.words:
        assert pcm[word.start : word.end].max() > 2000, word.text
