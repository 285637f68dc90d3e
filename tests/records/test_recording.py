"""A recording puts every sample where it belongs, whatever the order in which it comes."""

from __future__ import annotations

import stat
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.errors import RecordsError
from callwright.records import recording as module
from callwright.records.recording import Recording

RATE = 100  # small, so that the window of 3 s has 300 samples
CALLER, AGENT = 0, 1


def pcm(*values: int) -> bytes:
    return np.array(values, dtype="<i2").tobytes()


def load(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        data = file.readframes(file.getnframes())
        assert len(data) == file.getnframes() * 4
    return np.frombuffer(data, dtype="<i2").reshape(-1, 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "call.wav"


def test_the_caller_is_left_and_the_agent_right_on_one_coordinate(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.caller(0, pcm(1, 2, 3))
        recording.agent(2, pcm(9, 8))
        assert recording.frames == 4
        assert recording.duration_s == 0.04
    assert load(path).tolist() == [[1, 0], [2, 0], [3, 9], [0, 8]]


def test_a_place_nobody_wrote_is_silence(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.caller(5, pcm(7))
    assert load(path)[:, CALLER].tolist() == [0, 0, 0, 0, 0, 7]


def test_what_is_written_later_wins(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.agent(0, pcm(1, 1, 1, 1))
        recording.agent(1, pcm(2, 2))
    assert load(path)[:, AGENT].tolist() == [1, 2, 2, 1]


def test_samples_before_the_start_are_left_out(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.caller(-2, pcm(1, 2, 3))
        recording.caller(-9, pcm(5, 6))
    assert load(path)[:, CALLER].tolist() == [3]


def test_what_was_never_played_becomes_silence_and_the_caller_stays(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.caller(0, pcm(*[5] * 10))
        recording.agent(0, pcm(*[7] * 10))
        recording.cut_agent(4)
        recording.agent(8, pcm(3))
    assert load(path)[:, AGENT].tolist() == [7] * 4 + [0] * 4 + [3, 0]
    assert load(path)[:, CALLER].tolist() == [5] * 10


def test_a_cut_takes_its_samples_off_the_end(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.caller(0, pcm(5))
        recording.agent(0, pcm(*[7] * 10))
        recording.cut_agent(4)
        assert recording.frames == 4
    assert len(load(path)) == 4


def test_a_cut_reaches_what_is_on_the_disk_already(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.agent(0, pcm(*[7] * 2_000))
        recording.cut_agent(10)
        recording.caller(1_999, pcm(1))
    agent = load(path)[:, AGENT]
    assert agent[:10].tolist() == [7] * 10
    assert not agent[10:].any()


def test_a_sample_that_comes_after_its_place_was_flushed_is_put_there(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.agent(0, pcm(*[7] * 2_000))
        recording.caller(0, pcm(*range(1, 1_001)))
    assert load(path)[:1_000, CALLER].tolist() == list(range(1, 1_001))
    assert load(path)[:, AGENT].tolist() == [7] * 2_000


def test_a_file_cut_off_by_a_crash_is_readable_up_to_the_last_flush(path: Path) -> None:
    recording = Recording(path, RATE)
    for second in range(10):
        recording.caller(second * RATE, pcm(*[second + 1] * RATE))
    # Neither closed nor flushed: what a killed process leaves behind.
    frames = load(path)
    assert len(frames) >= (10 - module.WINDOW_S - module.FLUSH_S) * RATE
    assert frames[-1, CALLER] == len(frames) // RATE
    recording.close()
    assert len(load(path)) == 10 * RATE


def test_memory_stays_flat_over_an_hour(path: Path) -> None:
    rate = 8_000
    with Recording(path, rate) as recording:
        second = pcm(*[1] * rate)
        for start in range(10):
            recording.caller(start * rate, second)
        tracemalloc.start()
        try:
            for start in range(10, 3_600):
                recording.caller(start * rate, second)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()
        assert recording.frames == 3_600 * rate
    assert path.stat().st_size == 44 + 3_600 * rate * 4


def test_a_long_silence_costs_no_memory(path: Path) -> None:
    with Recording(path, RATE) as recording:
        recording.caller(0, pcm(1))
        recording.agent(1_000_000, pcm(2))
    frames = load(path)
    assert len(frames) == 1_000_001
    assert frames[0].tolist() == [1, 0]
    assert frames[-1].tolist() == [0, 2]
    assert not frames[1:-1].any()


def test_the_file_is_private_and_an_old_one_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "recordings" / "call.wav"
    Recording(path, RATE).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(load(path)) == 0
    with pytest.raises(RecordsError, match=r"cannot record to .*File exists"):
        Recording(path, RATE)


def test_a_place_where_no_file_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordsError, match="cannot record to"):
        Recording(tmp_path / "file" / "call.wav", RATE)


def test_a_full_disk_never_raises_and_is_remembered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(path, RATE)
    recording.caller(0, pcm(*[1] * 450))

    def full(self: Recording, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recording, "_write", full)
    recording.caller(450, pcm(*[1] * 1_000))
    recording.agent(0, pcm(1))
    recording.cut_agent(0)
    recording.close()
    assert recording.error is not None
    assert "No space left" in str(recording.error)


def test_half_a_sample_stops_the_recording_with_a_reason(path: Path) -> None:
    recording = Recording(path, RATE)
    recording.caller(0, pcm(4))
    recording.caller(1, b"\0\0\0")
    recording.close()
    assert "half a sample" in str(recording.error)
    assert load(path).tolist() == [[4, 0]]


def test_a_recording_too_long_for_the_format_stops(path: Path) -> None:
    recording = Recording(path, RATE)
    recording.caller(0, pcm(4))
    recording.caller(module.MAX_FRAMES, pcm(1))
    recording.close()
    assert "4 GiB" in str(recording.error)
    assert load(path).tolist() == [[4, 0]]


WRITES = st.lists(
    st.tuples(st.sampled_from(["caller", "agent", "cut"]), st.integers(-50, 1_500), st.integers(0, 900)),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(writes=WRITES)
def test_any_order_of_writes_equals_a_tape_in_memory(
    writes: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tape") / "call.wav"
    tape = np.zeros((3_000, 2), dtype="<i2")
    with Recording(path, RATE) as recording:
        for number, (what, position, count) in enumerate(writes, start=1):
            if what == "cut":
                recording.cut_agent(position)
                tape[max(position, 0) :, AGENT] = 0
                continue
            getattr(recording, what)(position, pcm(*[number] * count))
            channel = CALLER if what == "caller" else AGENT
            tape[max(position, 0) : max(position + count, 0), channel] = number
        assert recording.error is None
    frames = load(path)
    assert np.array_equal(frames, tape[: len(frames)])
    assert not tape[len(frames) :].any()
