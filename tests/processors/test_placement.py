"""Where words lie in speech without timestamps, measured against voices that know."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from callwright.simulators.voice import Speech, Voice
from processors.placement import Pace, Placed, Placement
from processors.spoken import spoken

RATE = 24000
SENTENCES = (
    "Your appointment is on Tuesday, March the 4th at 9:30 in the morning.",
    "That comes to $90, which your insurance covers in full.",
    "Please bring your insurance card, a photo ID, and a list of your medications.",
    "Mr. Alexander Thompson will call you back within the hour.",
    "However, if you register before the 15th, you will receive a 10% discount.",
    "Sure, one moment please.",
)


def silence(ms: int) -> bytes:
    return bytes(2 * RATE * ms // 1000)


async def say(voice: str) -> list[tuple[list[str], bytes, list[Placed]]]:
    """Pairs of sentences as a vendor sends them: 200 ms of silence, and 180 ms between the two."""
    engine = Voice()
    stretches = []
    for pair in zip(SENTENCES[::2], SENTENCES[1::2], strict=True):
        words: list[str] = []
        truth: list[Placed] = []
        pcm = silence(200)
        for number, text in enumerate(pair):
            speech: Speech = await engine.speak(text, voice=voice, rate=RATE)
            pcm += silence(180) if number else b""
            at = len(pcm) // 2
            words += [word.text for word in speech.words]
            truth += [Placed(at + word.start, at + word.end) for word in speech.words]
            pcm += speech.pcm
        stretches.append((words, pcm, truth))
    return stretches


def heard(words: list[Placed], cuts: np.ndarray) -> np.ndarray:
    """How many words count as heard at each cut: those of which at least half was played."""
    return np.searchsorted([(word.start + word.end) / 2 for word in words], cuts, side="right")


def place(words: list[str], pcm: bytes, pace: Pace | None = None, *, finish: bool = True) -> list[Placed]:
    placement = Placement(RATE, pace or Pace())
    placement.add_text(words)
    for at in range(0, len(pcm), 4801):  # an odd number: a vendor may cut a sample in two
        placement.add_audio(pcm[at : at + 4801])
    if finish:
        placement.finish()
    return placement.words()


@pytest.mark.parametrize("voice", ["slt", "rms", "kal16"])
async def test_at_a_random_cut_the_words_heard_are_within_one_of_the_truth(voice: str) -> None:
    pace = Pace()
    off: list[int] = []
    for words, pcm, truth in await say(voice):
        cuts = np.arange(0, len(pcm) // 2, 480)
        off += list(np.abs(heard(place(words, pcm, pace), cuts) - heard(truth, cuts)))
    assert np.mean(np.array(off) <= 1) >= 0.97
    assert np.mean(np.array(off) == 0) >= 0.85


async def test_while_audio_is_coming_what_has_come_is_placed_within_one_word() -> None:
    off: list[int] = []
    for words, pcm, truth in await say("rms"):
        placement = Placement(RATE, Pace())
        placement.add_text(words)
        for at in range(0, len(pcm), 9600):
            placement.add_audio(pcm[at : at + 9600])
            cut = np.array([max(0, at // 2 - 2400)])  # 300 ms behind the newest audio
            off += list(np.abs(heard(placement.words(), cut) - heard(truth, cut)))
    assert np.mean(np.array(off) <= 1) >= 0.93


async def test_text_that_comes_clause_by_clause_is_placed_as_if_it_had_come_at_once() -> None:
    words, pcm, truth = (await say("rms"))[0]
    placement = Placement(RATE, Pace())
    placement.add_text(words[:4])
    placement.add_audio(pcm[: len(pcm) // 2])
    placement.add_text(words[4:12])
    placement.add_text(words[12:])
    placement.add_audio(pcm[len(pcm) // 2 :])
    placement.finish()
    cuts = np.arange(0, len(pcm) // 2, 480)
    assert np.mean(np.abs(heard(placement.words(), cuts) - heard(truth, cuts)) <= 1) >= 0.97


async def test_words_that_the_vendor_never_spoke_are_empty_at_the_end() -> None:
    words, pcm, _ = (await say("rms"))[1]
    unsaid = ["and", "this", "is", "what", "the", "vendor", "never", "came", "to", "say", "to", "anybody", "at", "all"]
    placed = place(words + unsaid, pcm)
    assert all(word.start == word.end for word in placed[-len(unsaid) + 2 :])
    assert placed[-1].end <= len(pcm) // 2


async def test_words_follow_each_other_and_stay_within_the_audio() -> None:
    words, pcm, _ = (await say("slt"))[0]
    for finish in (True, False):
        placed = place(words, pcm, finish=finish)
        assert len(placed) == len(words)
        assert all(a.start <= a.end <= b.start <= b.end for a, b in pairwise(placed))
    assert place(words, pcm)[-1].end <= len(pcm) // 2


def test_without_audio_the_words_lie_where_they_would_at_a_usual_pace_and_at_the_end_nowhere() -> None:
    placement = Placement(RATE, Pace())
    placement.add_text(["Good", "morning."])
    assert 0.2 * RATE < placement.words()[-1].end < 1.5 * RATE
    placement.finish()
    assert placement.words() == [Placed(0, 0), Placed(0, 0)]


async def test_a_dash_alone_is_empty_behind_the_word_before_it() -> None:
    speech = await Voice().speak("Good question let me check", rate=RATE)
    placed = place(["Good", "question", "–", "let", "me", "check"], speech.pcm)
    assert placed[2].start == placed[2].end == placed[1].end


async def test_the_pace_learns_a_slow_voice() -> None:
    speech = await Voice().speak(SENTENCES[0], voice="rms", rate=RATE, speed=0.75)
    pace = Pace()
    place(SENTENCES[0].split(), speech.pcm, pace)
    assert pace.factor > 1.15


async def test_a_minute_of_speech_costs_less_than_it_lasts_by_far() -> None:
    words, pcm, _ = (await say("rms"))[0]
    placement = Placement(RATE, Pace())
    for _ in range(6):
        placement.add_text(words)
        placement.add_audio(pcm)
    began = time.process_time()
    placement.words()
    assert time.process_time() - began < 0.05
    assert placement.words() is placement.words()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("$90,", "ninety dollars"),
        ("9:30", "nine thirty"),
        ("10:05", "ten oh five"),
        ("$19.99", "nineteen dollars and ninety nine cents"),
        ("21st", "twenty first"),
        ("20th", "twentieth"),
        ("1,200", "one thousand two hundred"),
        ("2026.", "twenty twenty six"),
        ("4.5%", "four point five percent"),
        ("555-0199", "five five five zero one nine nine"),
        ("Dr.", "doctor"),
        ("I’m", "i'm"),
        ("–", ""),
    ],
)
def test_a_written_word_is_known_by_what_is_said(written: str, said: str) -> None:
    assert " ".join(spoken(written)) == said


def test_a_rate_that_cannot_carry_speech_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="rate must be at least 8000"):
        Placement(0, Pace())
