"""The recording of a call: caller left, agent right, both on one coordinate, streamed to a WAV file.

Writers say where their samples belong, not when they came: sample 0 is the start of the recording, a place
nobody wrote is silence, and what is written later wins. The newest seconds stay in memory, because the
agent's audio is submitted before it is played and may be cut back; older ones are corrected on the disk.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from callwright.errors import RecordsError

# Longer than any output queue (1 s at most), so that an interruption is cut in memory.
WINDOW_S: Final = 3
# What memory holds beyond the window before it goes to the disk: one write a second.
FLUSH_S: Final = 1
CHANNELS: Final = 2
FRAME_BYTES: Final = 2 * CHANNELS
HEADER_BYTES: Final = 44
# Sizes in a WAV header have 32 bits: 6.2 h at 48 kHz.
MAX_FRAMES: Final = (2**32 - 1 - HEADER_BYTES) // FRAME_BYTES
CALLER: Final = 0
AGENT: Final = 1

Samples = npt.NDArray[np.int16]


class Recording:
    """A two-channel 16-bit WAV file being written. Both sides write from the event loop; no locks.

    Creating it raises RecordsError; writing never raises: the first failure ends the recording and is kept in
    `error`, and what was flushed before stays readable.
    """

    def __init__(self, path: Path | str, rate: int) -> None:
        """Create the file (mode 0600, missing directories 0700); an existing one is refused, not replaced."""
        if rate <= 0:
            raise ValueError(f"a sample rate is positive, not {rate}")
        self.path = Path(path)
        self.rate = rate
        self.error: RecordsError | None = None
        self._window = WINDOW_S * rate
        self._buffer: Samples = np.zeros(((WINDOW_S + FLUSH_S) * rate, CHANNELS), dtype="<i2")
        self._base = 0  # the frame at which the buffer starts: everything before it is on the disk
        self._ends = [0, 0]  # per channel, the frame after its last one
        self._file: BinaryIO | None = None
        try:
            missing = [parent for parent in self.path.absolute().parents if not parent.exists()]
            for directory in reversed(missing):
                directory.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            self._file = os.fdopen(descriptor, "w+b", buffering=0)
            self._write_header()
        except OSError as error:
            if self._file is not None:
                self._file.close()
            raise RecordsError(f"cannot record to {self.path}: {error.strerror}") from error

    @property
    def frames(self) -> int:
        """The recording's length in samples per channel."""
        return max(self._base, *self._ends)

    @property
    def duration_s(self) -> float:
        return self.frames / self.rate

    def caller(self, position: int, pcm: bytes) -> None:
        """Put mono s16le samples of the caller at `position`; what lies before sample 0 is left out."""
        self._put(CALLER, position, pcm)

    def agent(self, position: int, pcm: bytes) -> None:
        """Put mono s16le samples of the agent at `position`; what lies before sample 0 is left out."""
        self._put(AGENT, position, pcm)

    def cut_agent(self, position: int) -> None:
        """Agent samples at and after `position` were never played: they become silence."""
        end = self._ends[AGENT]
        if self._file is None or position >= end:
            return
        position = max(position, 0)
        try:
            on_disk = min(end, self._base)
            for start in range(position, on_disk, self._window):
                self._patch(AGENT, start, np.zeros(min(self._window, on_disk - start), dtype="<i2"))
            if end > self._base:
                self._buffer[max(position - self._base, 0) : end - self._base, AGENT] = 0
        except OSError as error:
            self._fail(error)
        self._ends[AGENT] = position

    def close(self) -> None:
        """Write the rest; never raises (see `error`). Writing afterwards does nothing."""
        if self._file is None:
            return
        try:
            self._flush(self.frames)
            os.fsync(self._file.fileno())
        except OSError as error:
            self._fail(error)
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, channel: int, position: int, pcm: bytes) -> None:
        if self._file is None:
            return
        if len(pcm) % 2:
            self._stop(RecordsError(f"recording {self.path} stopped: half a sample was written to it"))
            return
        samples: Samples = np.frombuffer(pcm, dtype="<i2")
        if position < 0:
            samples, position = samples[-position:], 0
        if position + len(samples) > MAX_FRAMES:
            self._stop(RecordsError(f"recording {self.path} stopped: a WAV file ends at 4 GiB"))
            return
        try:
            # In pieces of a window at most: a whole answer rendered at once must not need a larger buffer.
            for start in range(0, len(samples), self._window):
                self._put_piece(channel, position + start, samples[start : start + self._window])
        except OSError as error:
            self._fail(error)

    def _put_piece(self, channel: int, position: int, samples: Samples) -> None:
        end = position + len(samples)
        if end > self._base + len(self._buffer):
            self._flush(end - self._window)
        late = min(max(self._base - position, 0), len(samples))
        if late:
            self._patch(channel, position, samples[:late])
        start = position + late - self._base
        if late < len(samples):
            self._buffer[start : end - self._base, channel] = samples[late:]
        self._ends[channel] = max(self._ends[channel], end)

    def _flush(self, until: int) -> None:
        """Bring everything before frame `until` to the disk, then the header that says so."""
        assert self._file is not None
        count = until - self._base
        if count <= 0:
            return
        inside = min(count, len(self._buffer))
        self._file.seek(HEADER_BYTES + self._base * FRAME_BYTES)
        self._write(self._buffer[:inside].tobytes())
        if count > inside:
            # A hole longer than the buffer: the file system fills it with zeros, which are silence.
            self._file.truncate(HEADER_BYTES + until * FRAME_BYTES)
        kept = len(self._buffer) - inside
        self._buffer[:kept] = self._buffer[inside:].copy()
        self._buffer[kept:] = 0
        self._base = until
        self._write_header()

    def _patch(self, channel: int, position: int, samples: Samples) -> None:
        """Replace one channel of frames that are on the disk already."""
        assert self._file is not None
        offset = HEADER_BYTES + position * FRAME_BYTES
        self._file.seek(offset)
        frames = np.zeros((len(samples), CHANNELS), dtype="<i2")
        stored = np.frombuffer(self._file.read(len(samples) * FRAME_BYTES), dtype="<i2").reshape(-1, CHANNELS)
        frames[: len(stored)] = stored
        frames[:, channel] = samples
        self._file.seek(offset)
        self._write(frames.tobytes())

    def _write_header(self) -> None:
        assert self._file is not None
        size = self._base * FRAME_BYTES
        self._file.seek(0)
        self._write(
            struct.pack(
                "<4sI4s4sIHHIIHH4sI",
                *(b"RIFF", HEADER_BYTES - 8 + size, b"WAVE"),
                *(b"fmt ", 16, 1, CHANNELS, self.rate, self.rate * FRAME_BYTES, FRAME_BYTES, 16),
                *(b"data", size),
            )
        )

    def _write(self, data: bytes) -> None:
        """Write all of it: an unbuffered file may take only a part."""
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _fail(self, error: OSError) -> None:
        self._stop(RecordsError(f"recording {self.path} stopped: {error.strerror or error}"))

    def _stop(self, error: RecordsError) -> None:
        """End the recording where it is. The first reason is the one that counts."""
        self.error = self.error or error
        if self._file is not None:
            with suppress(OSError):  # the disk is the reason already, or would be the second one
                self._flush(self.frames)
            with suppress(OSError):
                self._file.close()
            self._file = None
