"""Ears hear what has arrived, when it has arrived."""

from __future__ import annotations

import asyncio
import shutil
import time

import numpy as np
import pytest

from callwright.simulators.account import Account, SpokenWord, Utterance
from callwright.simulators.activity import Activity
from callwright.simulators.ears import OracleEars, PocketSphinxEars, Voicing
from callwright.simulators.encodings import BYTES_PER_SAMPLE, Intake, decode, encode
from callwright.simulators.recogniser import Recognisers
from callwright.simulators.voice import Voice

RATE = 16000
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
THREE = Utterance(
    text="One two three.",
    words=tuple(SpokenWord(word=w, start=i, end=i + 0.5) for i, w in enumerate(["one", "two", "three."])),
    duration=2.5,
)
YES = Utterance(text="Yes.", words=(SpokenWord(word="yes", start=0.1, end=0.4),), duration=0.5)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.int16)


def tone(seconds: float, hertz: float = 150, level: float = 5000) -> np.ndarray:
    return (level * np.sin(np.arange(round(seconds * RATE)) * 2 * np.pi * hertz / RATE)).astype(np.int16)


def texts(words: tuple) -> list[str]:
    return [word.text for word in words]


def test_a_sound_begins_at_its_onset_and_ends_a_moment_after_it() -> None:
    activity = Activity()
    activity.push(silence(0.5))
    activity.push(tone(0.3))
    assert activity.active
    assert activity.onset == pytest.approx(0.5 * RATE, abs=160)
    activity.push(silence(0.2))
    assert not activity.active
    assert activity.silence == pytest.approx(0.2 * RATE, abs=160)


def test_how_the_stream_is_cut_changes_nothing() -> None:
    sound = np.concatenate([silence(0.11), tone(0.2), silence(0.35)])
    whole, cut = Activity(), Activity()
    whole.push(sound)
    for at in range(0, len(sound), 37):
        cut.push(sound[at : at + 37])
    assert (cut.onset, cut.last_sound, cut.active) == (whole.onset, whole.last_sound, whole.active)


def test_a_single_click_is_no_sound() -> None:
    activity = Activity()
    activity.push(np.concatenate([silence(0.1), tone(0.01), silence(0.1)]))
    assert not activity.active
    assert activity.onset == -1


async def test_the_oracle_lets_a_word_out_when_its_audio_has_arrived() -> None:
    account = Account("k")
    ears = OracleEars(account)
    account.announce(THREE)
    await ears.feed(silence(1))
    assert await ears.hypothesis() == ()
    await ears.feed(tone(0.3))
    assert await ears.hypothesis() == ()
    await ears.feed(tone(0.3))
    assert texts(await ears.hypothesis()) == ["One"]
    await ears.feed(tone(1.0))
    assert texts(await ears.hypothesis()) == ["One", "two"]


async def test_words_that_never_arrived_are_never_heard() -> None:
    account = Account("k")
    ears = OracleEars(account)
    account.announce(THREE)
    await ears.feed(tone(1.2))  # hung up in the middle of "two"
    assert texts(await ears.finish()) == ["One"]


async def test_each_segment_has_only_its_own_words() -> None:
    account = Account("k")
    ears = OracleEars(account)
    account.announce(THREE)
    await ears.feed(tone(0.6))
    assert texts(await ears.finish()) == ["One"]
    await ears.feed(tone(1.9))
    assert texts(await ears.finish()) == ["two", "three."]
    assert await ears.finish() == ()


async def test_the_next_sound_belongs_to_the_next_utterance() -> None:
    account = Account("k")
    ears = OracleEars(account)
    account.announce(THREE)
    account.announce(YES)
    await ears.feed(tone(2.5))
    await ears.feed(silence(0.4))
    await ears.feed(tone(0.4))
    words = await ears.finish()
    assert texts(words) == ["One", "two", "three.", "Yes."]
    assert words[-1].start == pytest.approx(2.9, abs=0.02)


async def test_a_pause_within_an_utterance_does_not_end_it() -> None:
    account = Account("k")
    ears = OracleEars(account)
    account.announce(THREE)
    for _ in range(3):
        await ears.feed(tone(0.5))
        await ears.feed(silence(0.5))
    assert texts(await ears.finish()) == ["One", "two", "three."]


async def test_a_noise_uses_up_its_announcement_and_says_nothing() -> None:
    account = Account("k")
    ears = OracleEars(account)
    account.announce(Utterance(text="", duration=0.3))
    account.announce(THREE)
    await ears.feed(np.concatenate([tone(0.3), silence(0.5)]))
    assert await ears.finish() == ()
    await ears.feed(tone(2.6))
    assert texts(await ears.finish()) == ["One", "two", "three."]


async def test_an_announcement_may_come_just_after_its_sound() -> None:
    account = Account("k")
    ears = OracleEars(account)
    await ears.feed(tone(0.3))
    account.announce(THREE)
    await ears.feed(tone(0.3))
    assert texts(await ears.hypothesis()) == ["One"]


async def test_a_stream_in_the_place_of_another_hears_what_it_is_given_again_and_what_comes_next() -> None:
    account = Account("k")
    first = OracleEars(account)
    account.announce(THREE)
    await first.feed(tone(2.5))
    account.announce(YES)
    await first.feed(np.concatenate([silence(0.4), tone(0.2)]))  # and breaks, within "yes"
    second = OracleEars(account)
    assert await second.hypothesis() == ()
    await second.feed(tone(0.1))
    assert await second.hypothesis() == ()  # its own sound has to arrive
    await second.feed(tone(0.3))
    assert texts(await second.finish()) == ["Yes."]
    account.announce(THREE)
    await second.feed(np.concatenate([silence(0.6), tone(0.6)]))
    assert texts(await second.finish()) == ["One"]
    assert texts(await first.finish()) == ["One", "two", "three."]


async def test_a_stream_that_replaces_another_between_utterances_hears_the_next_one() -> None:
    account = Account("k")
    account.announce(THREE)
    await OracleEars(account).feed(tone(2.5))
    ears = OracleEars(account)
    account.announce(YES)
    await ears.feed(tone(0.5))
    assert texts(await ears.finish()) == ["Yes."]


async def test_what_has_expired_is_not_given_again() -> None:
    now = 100.0
    account = Account("k", monotonic=lambda: now)
    account.announce(THREE)
    now = 100.0 + THREE.duration + 5.1
    ears = OracleEars(account)
    await ears.feed(tone(1))
    assert await ears.finish() == ()


async def test_streams_side_by_side_each_hear_everything_once() -> None:
    account = Account("k")
    streams = [OracleEars(account), OracleEars(account)]
    for utterance, words in ((THREE, ["One", "two", "three."]), (YES, ["Yes."])):
        account.announce(utterance)
        for ears in streams:
            await ears.feed(np.concatenate([tone(utterance.duration), silence(0.4)]))
            assert texts(await ears.finish()) == words
    for ears in streams:
        await ears.feed(tone(1))  # nobody announced it
        assert await ears.finish() == ()


async def test_an_announcement_nobody_spoke_expires() -> None:
    now = 100.0
    account = Account("k", monotonic=lambda: now)
    account.announce(THREE)
    now = 100.0 + THREE.duration + 5.1
    account.announce(Utterance(text="Yes.", words=(SpokenWord(word="yes", start=0, end=0.3),), duration=0.3))
    ears = OracleEars(account)
    await ears.feed(tone(0.5))
    assert texts(await ears.finish()) == ["Yes."]


def test_noise_has_no_voice_and_a_hum_at_a_pitch_has() -> None:
    noise, hum = Voicing(), Voicing()
    rng = np.random.default_rng(1)
    noise.push((rng.standard_normal(RATE) * 4000).astype(np.int16))
    hum.push(tone(0.2))
    assert (noise.enough, hum.enough) == (False, True)


@needs_flite
async def test_pocketsphinx_hears_a_sentence_and_no_words_in_a_cough() -> None:
    speech = await Voice().speak("Yes, that's right, thank you.", voice="rms", rate=RATE)
    rng = np.random.default_rng(1)
    cough = (rng.standard_normal(5000) * 6000 * np.exp(-np.arange(5000) / 1500)).astype(np.int16)
    async with Recognisers() as recognisers:
        ears = PocketSphinxEars(recognisers)
        await ears.feed(np.concatenate([silence(0.5), cough, silence(0.3)]))
        assert await ears.finish() == ()
        await ears.feed(np.concatenate([np.frombuffer(speech.pcm, dtype="<i2"), silence(0.2)]))
        words = await ears.finish()
        await ears.aclose()
    assert texts(words) == ["yes", "that's", "right", "thank", "you"]
    assert words[0].start == pytest.approx((0.8 * RATE + 5000) / RATE, abs=0.1)


@needs_flite
async def test_the_event_loop_does_not_stall_while_pocketsphinx_listens() -> None:
    speech = await Voice().speak("Do you have anything on Monday morning?", voice="rms", rate=RATE)
    pcm = np.frombuffer(speech.pcm, dtype="<i2")
    gaps: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    async with Recognisers() as recognisers:
        await recognisers.warm()
        ears = PocketSphinxEars(recognisers)
        watcher = asyncio.create_task(watch())
        for at in range(0, len(pcm), 320):
            await ears.feed(pcm[at : at + 320])
        assert await ears.finish()
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        await ears.aclose()
    # Decoding in this process would hold it for 10 % of the audio's length and, at the end, for 5 to 20 ms at once.
    assert np.percentile(gaps, 90) < 0.02


async def test_a_recogniser_is_lent_again_and_ends_with_its_owner() -> None:
    async with Recognisers() as recognisers:
        first = await recognisers.borrow()
        recognisers.give_back(first)
        assert await recognisers.borrow() is first
        assert first.alive
    assert not first.alive


@pytest.mark.parametrize("encoding", sorted(BYTES_PER_SAMPLE))
def test_audio_survives_every_encoding(encoding: str) -> None:
    samples = tone(0.1, level=12000)
    back = decode(encode(samples, encoding), encoding).astype(int)
    tolerance = 520 if encoding in ("pcm_mulaw", "pcm_alaw") else 1
    assert np.abs(back - samples).max() <= tolerance


def test_g711_codes_are_the_standards_own() -> None:
    assert encode(np.array([0, 32124, -32124], dtype=np.int16), "pcm_mulaw") == bytes([0xFF, 0x80, 0x00])
    assert encode(np.array([8, -8, 32256], dtype=np.int16), "pcm_alaw") == bytes([0xD5, 0x55, 0xAA])


def test_an_intake_takes_frames_cut_anywhere_and_any_rate() -> None:
    source = tone(1.0)
    data = encode(source, "pcm_s16le")
    intake = Intake("pcm_s16le", RATE)
    parts = [intake.push(data[at : at + 333]) for at in range(0, len(data), 333)]
    assert np.array_equal(np.concatenate(parts), source)
    upsampled = Intake("pcm_s16le", 48000).push(encode(np.repeat(source, 3), "pcm_s16le"))
    assert len(upsampled) == pytest.approx(RATE, rel=0.05)


async def test_a_question_whose_asker_was_cancelled_does_not_shift_the_answers() -> None:
    async with Recognisers() as recognisers:
        recogniser = await recognisers.borrow()
        await recogniser.new_stream()
        asker = asyncio.create_task(recogniser.hypothesis())
        await asyncio.sleep(0)
        asker.cancel()
        await asyncio.gather(asker, return_exceptions=True)
        await recogniser.begin()
        await recogniser.feed(encode(tone(0.5), "pcm_s16le"))
        await recogniser.finish()
        assert recogniser._unanswered == 0
