"""Where the agent's audio stands, in samples."""

from callwright.playout import Playout

RATE = 24_000
CHUNK = 960  # 40 ms


def test_chunks_submitted_into_a_filled_queue_are_contiguous_to_the_sample() -> None:
    playout = Playout(RATE)
    assert playout.submit(CHUNK, now=1000, queued=0) == 1000
    # The clock has moved by 5 samples more than the queue says: bookkeeping noise, not a gap.
    assert playout.submit(CHUNK, now=1485, queued=480) == 1960
    assert playout.end == 1960 + CHUNK


def test_after_silence_a_chunk_begins_now() -> None:
    playout = Playout(RATE)
    playout.submit(CHUNK, now=0, queued=0)
    assert playout.submit(CHUNK, now=50_000, queued=0) == 50_000


def test_what_is_cleared_will_not_sound_and_the_next_chunk_begins_now() -> None:
    playout = Playout(RATE)
    playout.submit(CHUNK, now=0, queued=0)
    playout.submit(CHUNK, now=0, queued=CHUNK)
    assert playout.clear(700) == 2 * CHUNK - 700
    assert playout.submit(CHUNK, now=5000, queued=0) == 5000
