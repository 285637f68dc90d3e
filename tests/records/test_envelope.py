"""The outline of a recording: where each side sounds, column by column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callwright.errors import RecordsError
from callwright.records.envelope import envelope
from callwright.records.recording import Recording

RATE = 8_000


def test_each_side_shows_where_it_sounds(tmp_path: Path) -> None:
    loud = np.full(RATE, 16_000, dtype="<i2").tobytes()
    with Recording(tmp_path / "c.wav", RATE) as recording:
        recording.caller(0, loud)
        recording.agent(2 * RATE, loud[: -2 * 3])
    found = envelope(tmp_path / "c.wav", RATE)
    assert found.length == 3 * RATE - 3
    per_second = RATE // found.hop
    assert len(found.caller) == len(found.agent) == 3 * per_second
    assert (found.caller[:per_second, 1] == 1).all()
    assert not found.caller[per_second:].any()
    assert not found.agent[: 2 * per_second].any()
    assert (found.agent[2 * per_second :, 1] == 1).all()


def test_near_silence_is_not_blown_up(tmp_path: Path) -> None:
    with Recording(tmp_path / "c.wav", RATE) as recording:
        recording.caller(0, np.full(RATE, 33, dtype="<i2").tobytes())
    assert 0 < envelope(tmp_path / "c.wav", RATE).caller.max() < 0.2


def test_an_empty_recording_has_no_columns(tmp_path: Path) -> None:
    Recording(tmp_path / "c.wav", RATE).close()
    found = envelope(tmp_path / "c.wav", RATE)
    assert (found.length, len(found.caller)) == (0, 0)


def test_what_is_no_recording_of_the_call_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    Recording(tmp_path / "c.wav", RATE).close()
    for path, rate in ((tmp_path / "gone.wav", RATE), (tmp_path / "text.wav", RATE), (tmp_path / "c.wav", 2 * RATE)):
        with pytest.raises(RecordsError, match=path.name):
            envelope(path, rate)
