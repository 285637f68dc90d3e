"""What the caller heard is found in the recording, whatever happened to the sound on its way."""

from __future__ import annotations

import asyncio
import random
import time
from functools import lru_cache

import numpy as np
import pytest
import soxr  # type: ignore[import-untyped]
from livekit import rtc
from numpy.typing import NDArray

from callwright.bench.ear import RATE, Heard, Passage, Source, SourceWord, listen, words_heard
from callwright.simulators.caller import Caller
from callwright.simulators.livekit import LiveKitServer, token
from callwright.simulators.voice import Voice, find_engine

SOURCE_RATE = 24000
TEXTS = (
    "We have an opening on Tuesday at half past nine.",
    "Your appointment with Doctor Peterson costs forty five dollars.",
    "One moment, please.",
)
Wave = NDArray[np.int16]


@lru_cache
def spoken(text: str) -> tuple[bytes, tuple[SourceWord, ...]]:
    speech = asyncio.run(Voice(engine=find_engine()).speak(text, rate=SOURCE_RATE))
    return speech.pcm, tuple(SourceWord(word.text, word.start, word.end) for word in speech.words)


def source(text: str, at_s: float = 0.0) -> Source:
    pcm, words = spoken(text)
    return Source(f"{text[:8]}@{at_s}", SOURCE_RATE, pcm, words, at_s)


def pcm(of: Source) -> Wave:
    return np.frombuffer(of.pcm, "<i2")


def silence(seconds: float) -> Wave:
    return np.zeros(round(seconds * SOURCE_RATE), np.int16)


def on_tape(*parts: Wave, noise: float = 30.0) -> Wave:
    """What a caller would record of these sounds: 48 kHz, with the noise a codec adds."""
    wide = soxr.resample(np.concatenate(parts).astype(np.float32), SOURCE_RATE, RATE)
    wide = wide + np.random.default_rng(1).normal(0, 1, len(wide)) * (noise + 0.1 * np.abs(wide))
    return np.asarray(np.clip(wide, -32768, 32767), np.int16)


def near(position: int, expected: float, ms: float = 5.0) -> bool:
    return abs(position - expected) <= ms * SOURCE_RATE / 1000


WORDS = (SourceWord("one", 0, 100), SourceWord("—", 100, 100), SourceWord("two", 100, 300))


@pytest.mark.parametrize(
    ("passages", "heard"),
    [
        ([], (False, False, False)),
        ([(0, 49)], (False, False, False)),
        ([(0, 50)], (True, True, False)),
        ([(0, 150), (150, 200)], (True, True, True)),  # a stall does not part a word
        ([(0, 180), (100, 190)], (True, True, False)),  # replayed from its start: the best passage is 90 of 200
    ],
)
def test_a_word_counts_as_heard_from_half_of_its_audio(
    passages: list[tuple[int, int]], heard: tuple[bool, ...]
) -> None:
    assert words_heard(WORDS, [Passage(first, end, 0) for first, end in passages], 1000) == heard


def test_what_was_said_to_the_end_is_heard_whole() -> None:
    one = source(TEXTS[0])
    (heard,) = listen([one], on_tape(silence(0.5), pcm(one), silence(0.5)))
    assert heard.words == TEXTS[0].split()
    (passage,) = heard.passages
    assert passage.end == len(pcm(one))
    assert abs(passage.at - passage.first * 2 - RATE // 2) < RATE // 100


def test_what_was_never_said_was_not_heard() -> None:
    one, two = source(TEXTS[0]), source(TEXTS[1], 0.1)
    heard = listen([one, two], on_tape(silence(0.5), pcm(two)))
    assert [h.words for h in heard] == [[], TEXTS[1].split()]
    assert [h.words for h in listen([one], on_tape(silence(2)))] == [[]]
    assert listen([], on_tape(silence(2))) == []


def test_a_tape_may_end_in_the_middle_of_a_sound() -> None:
    one, two = source(TEXTS[0]), source(TEXTS[1])
    for spare in range(0, 120, 13):  # whatever part of a window is left over
        rest = pcm(two)[two.words[2].start :][: 3000 + spare]
        (heard,) = listen([one], on_tape(silence(0.3), pcm(one)[: one.words[3].end + spare], rest))
        assert heard.words[:4] == TEXTS[0].split()[:4]


@pytest.mark.parametrize("word", [2, 4, 6])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_cut_within_a_word_decides_whether_it_was_heard(word: int, share: float) -> None:
    one = source(TEXTS[1])
    cut = round(one.words[word].start + share * (one.words[word].end - one.words[word].start))
    (heard,) = listen([one], on_tape(silence(0.3), pcm(one)[:cut], silence(0.7)))
    assert heard.words == TEXTS[1].split()[: word + (share > 0.5)]


def test_the_next_may_begin_where_the_one_before_was_cut() -> None:
    one, two = source(TEXTS[0], 0.0), source(TEXTS[1], 0.5)
    first, second = listen([one, two], on_tape(silence(0.3), pcm(one)[:30000], pcm(two), silence(0.3)))
    assert near(first.passages[-1].end, 30000)
    assert second.words == TEXTS[1].split()


def test_a_stall_in_a_word_does_not_part_it() -> None:
    one = source(TEXTS[1])
    middle = (one.words[4].start + one.words[4].end) // 2
    (heard,) = listen([one], on_tape(pcm(one)[:middle], silence(1.0), pcm(one)[middle:], silence(0.3)))
    assert heard.words == TEXTS[1].split()
    assert len(heard.passages) == 2
    assert near(heard.passages[0].end, middle)
    assert near(heard.passages[1].first, middle)


def test_a_word_said_again_after_a_pause_is_judged_by_its_best_hearing() -> None:
    one = source(TEXTS[1])
    start, end = one.words[4].start, one.words[4].end
    third, most = start + (end - start) // 3, start + 2 * (end - start) // 5
    (heard,) = listen([one], on_tape(pcm(one)[:third], silence(1.0), pcm(one)[start:most], silence(0.5)))
    assert heard.words == TEXTS[1].split()[:4]


def test_the_same_words_said_twice_are_two_contexts() -> None:
    one, two = source(TEXTS[2], 0.0), source(TEXTS[2], 4.0)
    both = listen([one, two], on_tape(silence(0.3), pcm(one), silence(3), pcm(two), silence(0.3)))
    assert [len(heard.passages) for heard in both] == [1, 1]
    late = listen([one, two], on_tape(silence(4.3), pcm(two), silence(0.3)))
    assert [heard.words for heard in late] == [[], TEXTS[2].split()]


@pytest.mark.parametrize("cut_ms", [480, 900, 2000])
@pytest.mark.parametrize("waited_s", [0.4, 3.0])
def test_what_begins_again_is_the_later_source_of_the_same_text(cut_ms: int, waited_s: float) -> None:
    """Cut, and said once more from the start: with a source that was sent for it, however long that waited."""
    one, two = source(TEXTS[1], 0.0), source(TEXTS[1], 0.6 + cut_ms / 1000)
    cut = pcm(one)[: cut_ms * SOURCE_RATE // 1000]
    first, second = listen([one, two], on_tape(silence(0.3), cut, silence(waited_s), pcm(two), silence(0.3)))
    assert near(first.passages[-1].end, len(cut))
    assert second.words == TEXTS[1].split()


def test_what_is_said_again_before_a_later_source_was_sent_is_a_replay() -> None:
    one, two = source(TEXTS[1], 0.0), source(TEXTS[1], 30.0)
    first, second = listen([one, two], on_tape(silence(0.3), pcm(one)[:30000], silence(0.5), pcm(one), silence(0.3)))
    assert first.words == TEXTS[1].split()
    assert second.words == []


def test_a_word_said_again_is_a_replay_even_if_a_later_source_has_it_too() -> None:
    """Nobody begins a sentence in its middle."""
    one, two = source(TEXTS[1], 0.0), source(TEXTS[1], 1.0)
    start, end = one.words[4].start, one.words[4].end
    cut = (start + end) // 2
    first, second = listen([one, two], on_tape(pcm(one)[:cut], silence(1.0), pcm(one)[start:], silence(0.3)))
    assert first.words == TEXTS[1].split()
    assert near(first.passages[-1].first, start)
    assert second.passages == ()


@pytest.mark.parametrize("word", [3, 6])
def test_a_voice_slower_than_speech_is_followed_from_piece_to_piece(word: int) -> None:
    one = source(TEXTS[1])
    cut = one.words[word].start + 7 * (one.words[word].end - one.words[word].start) // 10
    pieces = [pcm(one)[at : min(at + 2400, cut)] for at in range(0, cut, 2400)]
    parts = [part for piece in pieces for part in (piece, silence(0.025))]
    (heard,) = listen([one], on_tape(silence(0.3), *parts, silence(0.5)))
    assert heard.words == TEXTS[1].split()[: word + 1]
    assert near(heard.passages[-1].end, cut)


@pytest.mark.parametrize(("share", "heard"), [(0.4, False), (0.6, True)])
def test_half_of_a_word_is_half_of_its_true_length_even_if_no_more_was_sent(share: float, heard: bool) -> None:
    whole = source(TEXTS[1])
    word = whole.words[4]
    sent = round(word.start + share * (word.end - word.start))
    cut = Source("cut", SOURCE_RATE, whole.pcm[: 2 * sent], whole.words[:5], 0.0)
    (one,) = listen([cut], on_tape(silence(0.3), pcm(cut), silence(0.5)))
    assert one.heard == (True,) * 4 + (heard,)


def test_a_source_without_sound_was_not_heard() -> None:
    assert (
        listen([Source("", SOURCE_RATE, b"", (), 0.0)], on_tape(silence(0.2), pcm(source(TEXTS[2]))))[0].passages == ()
    )


def test_time_that_a_jitter_buffer_stretched_is_followed() -> None:
    one = source(TEXTS[0])
    stretched = soxr.resample(pcm(one)[24000:48000].astype(np.float32), 100, 101).astype(np.int16)
    (heard,) = listen([one], on_tape(silence(0.3), pcm(one)[:24000], stretched, pcm(one)[48000:60000], silence(0.5)))
    assert near(heard.passages[-1].end, 60000)


def test_what_lies_before_the_given_position_is_not_listened_to() -> None:
    one = source(TEXTS[0])
    since = (len(pcm(one)) + len(silence(0.3))) * 2
    tape = on_tape(pcm(one), silence(0.6), pcm(one)[:30000], silence(0.3))
    (heard,) = listen([one], tape, since=since)
    (passage,) = heard.passages
    assert near(passage.end, 30000)
    assert passage.at >= since


def test_a_minute_takes_less_than_a_second() -> None:
    sources = [source(TEXTS[n % 2], n * 10.0) for n in range(6)]
    tape = on_tape(*(part for one in sources for part in (silence(10 - len(pcm(one)) / SOURCE_RATE), pcm(one))))
    started = time.process_time()
    heard = listen(sources, tape)
    assert time.process_time() - started < 1.0
    assert all(h.words == TEXTS[n % 2].split() for n, h in enumerate(heard))


# Through a real LiveKit server and Opus

CUTS = 24


async def test_cuts_through_a_real_room_are_found_to_the_word() -> None:
    """What really left the source is known to the sample from a stream on the track itself, before Opus."""
    rng = random.Random(7)
    voice = Voice()
    speeches = [await voice.speak(text, rate=SOURCE_RATE) for text in TEXTS[:2]]
    left: list[Wave] = []
    sources: list[Source] = []
    async with LiveKitServer() as server, Caller(server.url, token(server, "room", "caller"), voice=voice) as caller:
        room = rtc.Room()
        await room.connect(server.url, token(server, "room", "agent", kind="agent"))
        out = rtc.AudioSource(SOURCE_RATE, 1, queue_size_ms=100)
        track = rtc.LocalAudioTrack.create_audio_track("voice", out)
        await room.local_participant.publish_track(track, rtc.TrackPublishOptions())
        tap = rtc.AudioStream(track, sample_rate=SOURCE_RATE, num_channels=1)

        async def watch() -> None:
            async for event in tap:
                left.append(np.frombuffer(event.frame.data, np.int16).copy())

        watching = asyncio.create_task(watch())
        await caller.pause(1.0)
        for number in range(CUTS):
            speech = speeches[number % 2]
            words = tuple(SourceWord(word.text, word.start, word.end) for word in speech.words)
            at_s = caller.tape.now() / RATE
            sources.append(Source(str(number), SOURCE_RATE, speech.pcm, words, at_s))
            await _speak(out, np.frombuffer(speech.pcm, np.int16), until_s=rng.uniform(0.4, 1.6))
            out.clear_queue()
            await caller.pause(rng.choice((0.0, 0.1, 0.3)))
        await caller.pause(0.5)
        tape = caller.tape.heard_samples("agent")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await tap.aclose()
        await out.aclose()
        await room.disconnect()
    truth = _ends(sources, np.concatenate(left))
    heard = listen(sources, tape)
    errors = np.array([_end(one) - end for one, end in zip(heard, truth, strict=True)]) / SOURCE_RATE * 1000
    wrong = [
        (one.words, end)
        for of, one, end in zip(sources, heard, truth, strict=True)
        if one.heard != words_heard(of.words, [Passage(0, end, 0)], SOURCE_RATE)
    ]
    print(f"cut error ms: mean {errors.mean():.1f}, median {np.median(errors):.1f}, worst {np.abs(errors).max():.1f}")
    assert abs(np.median(errors)) < 1.5
    assert np.mean(np.abs(errors) < 5) > 0.7  # the others were cut in silence, where no ear can tell
    assert len(wrong) <= 1, wrong


async def _speak(out: rtc.AudioSource, samples: Wave, *, until_s: float) -> None:
    """Speak as fast as the source takes it, until about so much has left it."""
    frame = SOURCE_RATE // 50
    for at in range(0, len(samples) - frame, frame):
        await out.capture_frame(rtc.AudioFrame(samples[at : at + frame].tobytes(), SOURCE_RATE, 1, frame))
        if (at + frame) / SOURCE_RATE - out.queued_duration >= until_s:
            return


def _end(heard: Heard) -> int:
    return heard.passages[-1].end if heard.passages else 0


def _ends(sources: list[Source], left: Wave) -> list[int]:
    """How many samples of each source left, found bit by bit."""
    ends, upto = [], 0
    for one in sources:
        samples = pcm(one)
        first = int(np.flatnonzero(np.abs(samples) > 200)[0])
        mark = samples[first : first + 400]
        places = np.flatnonzero(left[upto : len(left) - 400] == mark[0]) + upto
        begin = next(int(p) for p in places if np.array_equal(left[p : p + 400], mark)) - first
        length = min(len(samples), len(left) - begin)
        differs = np.flatnonzero(left[begin : begin + length] != samples[:length])
        ends.append(int(differs[0]) if len(differs) else length)
        upto = begin + ends[-1]
    return ends
