"""Audio as it travels: raw encodings to and from 16-bit samples.

G.711 tables follow ITU-T G.711 (1988); telephone vendors call them mulaw and alaw.
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

Samples = NDArray[np.int16]

BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_f32le": 4, "pcm_mulaw": 1, "pcm_alaw": 1, "pcm_s32le": 4}


def decode(data: bytes, encoding: str) -> Samples:
    """Whole samples of `data` (one of BYTES_PER_SAMPLE) as 16-bit; KeyError for an unknown encoding."""
    if encoding == "pcm_s16le":
        return np.frombuffer(data, dtype="<i2").astype(np.int16, copy=False)
    if encoding == "pcm_s32le":
        return (np.frombuffer(data, dtype="<i4") >> 16).astype(np.int16)
    if encoding == "pcm_f32le":
        return np.asarray(np.clip(np.frombuffer(data, dtype="<f4") * 32768, -32768, 32767), dtype=np.int16)
    table = {"pcm_mulaw": _mulaw_table, "pcm_alaw": _alaw_table}[encoding]()
    return table[np.frombuffer(data, dtype=np.uint8)]


def encode(samples: Samples, encoding: str) -> bytes:
    """16-bit samples in one of BYTES_PER_SAMPLE; KeyError for an unknown encoding."""
    if encoding == "pcm_s16le":
        return samples.astype("<i2", copy=False).tobytes()
    if encoding == "pcm_s32le":
        return (samples.astype("<i4") << 16).tobytes()
    if encoding == "pcm_f32le":
        return (samples.astype("<f4") / 32768).tobytes()
    table = {"pcm_mulaw": _mulaw_table, "pcm_alaw": _alaw_table}[encoding]()
    order = np.lexsort((-np.arange(256), table))  # of the two codes for 0 the higher, as G.711 has it
    levels = table[order].astype(np.int32)
    above = np.clip(np.searchsorted(levels, samples), 1, len(levels) - 1)
    wanted = samples.astype(np.int32)
    nearer_below = wanted - levels[above - 1] <= levels[above] - wanted
    return order[np.where(nearer_below, above - 1, above)].astype(np.uint8).tobytes()


@cache
def _mulaw_table() -> Samples:
    codes = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((codes & 0x0F) << 3) + 0x84 << ((codes >> 4) & 7)) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)


@cache
def _alaw_table() -> Samples:
    codes = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (codes >> 4) & 7, (codes & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(codes & 0x80, magnitude, -magnitude).astype(np.int16)


_WAV_FORMATS = {"pcm_s16le": 1, "pcm_f32le": 3, "pcm_alaw": 6, "pcm_mulaw": 7}


def wav_header(encoding: str, rate: int) -> bytes:
    """A RIFF header for a mono stream of unknown length; KeyError for an encoding WAV files do not carry."""
    width = BYTES_PER_SAMPLE[encoding]
    head = struct.pack("<HHIIHH", _WAV_FORMATS[encoding], 1, rate, rate * width, width, width * 8)
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + head + b"data\xff\xff\xff\xff"


class Intake:
    """Turns a client's raw stream, cut anywhere, into 16-bit mono samples at `out_rate`.

    Channels are averaged. KeyError for an unknown encoding.
    """

    def __init__(self, encoding: str, rate: int, channels: int = 1, *, out_rate: int = 16000) -> None:
        self._encoding = encoding
        self._channels = channels
        self._frame_bytes = BYTES_PER_SAMPLE[encoding] * channels
        self._rest = b""
        self._resampler = None if rate == out_rate else soxr.ResampleStream(rate, out_rate, 1, dtype="int16")

    def push(self, data: bytes) -> Samples:
        data = self._rest + data
        whole = len(data) // self._frame_bytes * self._frame_bytes
        self._rest = data[whole:]
        samples = decode(data[:whole], self._encoding)
        if self._channels > 1:
            samples = samples.reshape(-1, self._channels).mean(axis=1).astype(np.int16)
        if self._resampler is None or not len(samples):
            return samples
        resampled: Samples = self._resampler.resample_chunk(samples)
        return resampled
