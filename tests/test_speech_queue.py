"""The queue of the agent's speech: in order, nothing lost, from any sample on."""

from __future__ import annotations

import numpy as np
import pytest

from callwright.speech_queue import AHEAD_MS, LEAD_MS, ONSET_MS, Chunk, SpeechQueue
from tests.speech_by_hand import RATE, Kept, Mark, pcm, speech

CHUNK = 40


def taken(queue: SpeechQueue, limit: int = CHUNK) -> list[tuple[str, int, int] | str]:
    """All that can be taken: (stretch, offset, samples), or a frame's label."""
    found: list[tuple[str, int, int] | str] = []
    while (item := queue.take(limit)) is not None:
        if isinstance(item, Chunk):
            found.append((item.stretch, item.offset, item.samples))
        else:
            assert isinstance(item, Mark)
            found.append(item.label)
    return found


def test_stretches_and_frames_are_taken_in_the_order_in_which_they_began() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 50))
    queue.append("b", pcm(0, 20))
    queue.mark(Mark(label="behind b"))
    queue.append("a", pcm(50, 10))  # later, but its place is before b
    queue.close("a")
    queue.close("b")
    assert taken(queue) == [("a", 0, 40), ("a", 40, 20), ("b", 0, 20), "behind b"]
    assert queue.drained


def test_a_stretch_that_is_not_over_holds_up_what_is_behind_it() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 20))
    queue.mark(Mark(label="behind a"))
    assert taken(queue) == [("a", 0, 20)]
    assert not queue.drained
    queue.close("a")
    assert taken(queue) == ["behind a"]


def test_a_rest_below_a_tick_waits_for_company_until_the_stretch_is_over() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 27))
    assert taken(queue) == [("a", 0, 20)]
    queue.append("a", pcm(27, 4))
    assert taken(queue) == [("a", 20, 10)]
    queue.close("a")
    assert taken(queue) == [("a", 30, 1)]


def test_going_back_takes_again_all_that_follows() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 40))
    queue.mark(Mark(label="between"))
    queue.append("b", pcm(0, 20))
    queue.close("a")
    queue.close("b")
    assert len(taken(queue)) == 3
    queue.rewind("a", 30)
    assert taken(queue) == [("a", 30, 10), "between", ("b", 0, 20)]


def test_the_end_of_a_stretch_is_nothing_to_go_back_to() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 40))
    queue.close("a")
    taken(queue)
    queue.rewind("a", 40)
    assert taken(queue) == []


def test_audio_that_comes_after_its_stretch_was_closed_goes_on_where_it_ended() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 40))
    queue.close("a")
    queue.append("b", pcm(0, 20))
    queue.close("b")
    taken(queue)
    queue.append("a", pcm(40, 20))
    assert taken(queue) == [("a", 40, 20)]
    queue.rewind("a", 50)
    assert taken(queue) == [("a", 50, 10)]


def test_audio_that_comes_after_its_stretch_was_forgotten_goes_on_where_it_ended() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 40))
    queue.close("a")  # the voice paused for longer than its stop time; the model was slow
    taken(queue)
    queue.forget()
    queue.append("a", pcm(40, 20))
    assert taken(queue) == [("a", 40, 20)]


def test_only_frames_that_may_not_be_dropped_survive_a_clearing() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 40))
    queue.mark(Mark(label="lost"))
    queue.mark(Kept(label="kept"))
    assert [frame.label for frame in queue.clear() if isinstance(frame, Mark)] == ["kept"]
    assert queue.drained
    assert queue.take(CHUNK) is None


def test_a_stretch_cut_short_fades_and_what_is_behind_it_follows_at_once() -> None:
    queue = SpeechQueue(RATE)
    queue.append("filler", np.full(200, 1000, np.int16).tobytes())
    queue.append("answer", pcm(0, 20))
    queue.close("answer")
    first = queue.take(CHUNK)
    queue.trim("filler", 70)
    rest = queue.take(CHUNK)
    assert isinstance(first, Chunk)
    assert isinstance(rest, Chunk)
    assert (first.samples, rest.offset, rest.samples) == (40, 40, 30)
    samples = np.frombuffer(rest.pcm, np.int16)
    assert samples[:20].tolist() == [1000] * 20
    assert samples[-1] == 0
    assert max(abs(np.diff(samples.astype(int)))) <= 112
    assert taken(queue) == [("answer", 0, 20)]


def test_what_was_taken_cannot_be_cut_short() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 100))
    queue.take(CHUNK)
    queue.trim("a", 10)
    assert taken(queue) == []
    assert queue.drained


def test_a_stretch_cut_short_takes_no_more_audio_even_if_none_had_come() -> None:
    queue = SpeechQueue(RATE)
    queue.trim("late", 0)
    queue.append("late", pcm(0, 100))
    queue.append("a", pcm(0, 100))
    queue.trim("a", 0)
    queue.append("a", pcm(100, 100))
    assert taken(queue) == []


def test_one_that_ends_where_it_would_have_ended_is_left_as_it_is() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", pcm(0, 100))
    queue.trim("a", 100)
    chunk = queue.take(100)
    assert isinstance(chunk, Chunk)
    assert chunk.pcm == pcm(0, 100)


# -- the silence before it


def test_an_awaited_stretch_begins_with_its_sound_and_its_samples_keep_their_numbers() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", speech(200, 100), awaited=True)
    chunk = queue.take(60)
    assert isinstance(chunk, Chunk)
    assert (chunk.offset, chunk.pcm) == (200 - ONSET_MS, speech(ONSET_MS, 0) + pcm(1200, 30))
    assert taken(queue) == [("a", 230, 40), ("a", 270, 30)]


@pytest.mark.parametrize("size", [3, 10, 25, 100])
def test_it_is_the_same_however_the_voice_cuts_it_and_nothing_is_heard_before_there_is_enough(size: int) -> None:
    queue = SpeechQueue(RATE)
    whole = speech(200, 300)
    found: list[tuple[str, int, int] | str] = []
    for at in range(0, len(whole), 2 * size):
        queue.append("a", whole[at : at + 2 * size], awaited=True)
        found += taken(queue, limit=1000)
        assert bool(found) == (at // 2 + size >= 200 + AHEAD_MS)
    queue.close("a")
    found += taken(queue, limit=1000)
    pieces = [one for one in found if not isinstance(one, str)]
    assert pieces[0][1] == 200 - ONSET_MS
    assert [one[1] for one in pieces[1:]] == [one[1] + one[2] for one in pieces[:-1]]
    assert pieces[-1][1] + pieces[-1][2] == 500


def test_of_a_long_silence_only_so_much_is_dropped() -> None:
    queue = SpeechQueue(RATE)
    for _ in range(6):
        queue.append("a", bytes(2 * 100), awaited=True)
    assert taken(queue, limit=1000) == [("a", LEAD_MS, 600 - LEAD_MS)]


def test_what_sounds_at_once_loses_nothing() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", speech(20, 10), awaited=True)
    assert taken(queue) == []
    queue.close("a")
    assert taken(queue) == [("a", 0, 30)]


def test_a_stretch_that_nobody_waits_for_keeps_its_pause() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", speech(200, 100))
    assert taken(queue, limit=1000) == [("a", 0, 300)]


def test_a_stretch_that_goes_on_after_it_was_played_keeps_its_pause() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", speech(200, 100), awaited=True)
    queue.close("a")
    taken(queue)
    queue.append("a", speech(200, 100), awaited=True)
    queue.close("a")
    assert taken(queue, limit=1000) == [("a", 300, 300)]
    queue.forget()
    queue.append("a", speech(200, 100), awaited=True)
    assert taken(queue, limit=1000) == [("a", 600, 300)]


def test_a_stretch_that_never_sounds_holds_nothing_up_once_it_is_closed() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", bytes(2 * 100), awaited=True)
    queue.append("b", speech(0, 100))
    assert taken(queue) == []
    queue.close("a")
    queue.close("b")
    assert taken(queue, limit=1000) == [("a", 100 - ONSET_MS, ONSET_MS), ("b", 0, 100)]


def test_a_trim_and_a_rewind_count_from_the_first_sample_that_was_made() -> None:
    queue = SpeechQueue(RATE)
    queue.append("a", speech(200, 200), awaited=True)
    queue.trim("a", 300)
    queue.append("a", speech(0, 100))
    assert taken(queue, limit=1000) == [("a", 170, 130)]
    queue.rewind("a", 250)
    assert taken(queue, limit=1000) == [("a", 250, 50)]
    queue.rewind("a", 0)
    assert taken(queue, limit=1000) == [("a", 170, 130)]
    queue.append("b", speech(200, 200), awaited=True)
    queue.trim("b", 100)  # in the silence
    assert taken(queue) == []
    assert queue.drained


# -- what a voice broke off


def test_a_trimmed_stretch_ends_there_whatever_still_comes() -> None:
    queue = SpeechQueue(8000)
    queue.append("a", bytes(2 * 800))
    queue.trim("a", 480)
    queue.append("a", bytes(2 * 800))
    queue.append("b", bytes(2 * 160))
    queue.close("b")
    taken = [chunk for chunk in iter(lambda: queue.take(320), None) if isinstance(chunk, Chunk)]
    assert [(chunk.stretch, chunk.offset, chunk.samples) for chunk in taken] == [
        ("a", 0, 320),
        ("a", 320, 160),
        ("b", 0, 160),
    ]
    assert queue.drained


def test_what_is_trimmed_before_it_came_is_taken_as_far_as_it_stands() -> None:
    queue = SpeechQueue(8000)
    queue.trim("a", 480)
    queue.append("a", bytes(2 * 400))
    assert queue.waiting == 400
    queue.append("a", bytes(2 * 400))
    assert queue.waiting == 480


def test_what_was_taken_already_is_not_called_back() -> None:
    queue = SpeechQueue(8000)
    queue.append("a", bytes(2 * 800))
    queue.take(640)
    queue.trim("a", 480)
    assert queue.waiting == 0
    assert queue.take(320) is None
    assert queue.drained
