"""What was said and is not written down is kept to the sample."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import InputAudioRawFrame, VADUserStoppedSpeakingFrame

from callwright.failover.backlog import Backlog

RATE = 16_000


def audio(start: int, samples: int) -> InputAudioRawFrame:
    """Samples that each say which one they are."""
    return InputAudioRawFrame(np.arange(start, start + samples).astype(np.int16).tobytes(), RATE, 1)


def kept(backlog: Backlog, number: int = 0) -> list[int]:
    """The samples that are given from that number on."""
    found: list[int] = []
    while item := backlog.after(number):
        number = item.number + 1
        if isinstance(item.frame, InputAudioRawFrame):
            found += np.frombuffer(item.frame.audio, np.int16).tolist()
    return found


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20), st.integers(0, 8000))
def test_what_is_written_is_not_given_again_and_the_rest_is_to_the_sample(sizes: list[int], covered: int) -> None:
    backlog = Backlog(RATE)
    for size in sizes:
        backlog.add(audio(backlog.position, size))
    backlog.cover(covered)
    assert kept(backlog) == list(range(min(covered, sum(sizes)), sum(sizes)))


@given(st.lists(st.integers(1, 400), min_size=2, max_size=20), st.data())
def test_who_reads_on_while_it_grows_and_is_covered_gets_every_sample_once(
    sizes: list[int], data: st.DataObject
) -> None:
    backlog, number, read = Backlog(RATE), 0, list[int]()
    for size in sizes:
        backlog.add(audio(backlog.position, size))
        while item := backlog.after(number):
            number = item.number + 1
            assert isinstance(item.frame, InputAudioRawFrame)
            read += np.frombuffer(item.frame.audio, np.int16).tolist()
        backlog.cover(data.draw(st.integers(0, backlog.position)))
    assert read == list(range(sum(sizes)))


def test_a_mark_has_its_place_and_goes_with_the_sound_before_it() -> None:
    backlog = Backlog(RATE)
    backlog.add(audio(0, 320))
    backlog.add(VADUserStoppedSpeakingFrame())
    backlog.add(audio(320, 320))
    mark = backlog.after(1)
    assert mark is not None
    assert (mark.start, mark.end) == (320, 320)
    backlog.cover(320)
    first = backlog.after(0)
    assert first is not None
    assert (first.number, first.start) == (2, 320)


def test_only_the_last_of_a_long_silence_is_kept() -> None:
    backlog = Backlog(RATE)
    for _ in range(100):
        backlog.add(audio(backlog.position, 320))
    backlog.keep(500)
    assert kept(backlog) == list(range(24_000, 32_000))


def test_it_holds_half_a_minute_and_no_more() -> None:
    backlog = Backlog(RATE, limit_ms=1000)
    for _ in range(80):
        backlog.add(audio(backlog.position, 320))
    assert len(kept(backlog)) == RATE


def test_nothing_before_what_is_written_comes_back() -> None:
    backlog = Backlog(RATE)
    backlog.add(audio(0, 640))
    backlog.cover(640)
    backlog.cover(320)
    assert backlog.covered == 640
    assert kept(backlog) == []
