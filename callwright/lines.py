"""Lines: what an agent says word for word, rendered beforehand in its own voice and kept on disk.

A line that lies here sounds at once, and when no vendor works. One that does not is spoken as any other text.
The folder is shared by all calls of a machine: a file is written whole or not at all, named by everything that
its sound depends on, and believed only if it reads well.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import hashlib
import json
import os
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

import httpx
import numpy as np

from callwright.pace import Pace, letters
from callwright.stage import StageConfig
from callwright.vendors import RenderError, find, parse_root

AT_ONCE = 2
"""Requests under way: the vendors' smallest plans allow two, and the call's own voice needs room as well."""
PATIENCE_S = 10.0
"""For one line; nobody waits for it."""
LIMIT_BYTES = 256 * 2**20
"""Some 90 minutes at 24 kHz: hundreds of agents' lines."""
LIMIT_DAYS = 30.0
"""A line not said for so long belongs to an agent that is gone or has changed."""
QUIETEST = 330
"""Peak of 16-bit samples, -40 dBFS: below it a rendering is silence, which must never be kept for a line."""
SHORTEST = 0.4
"""Of the usual length of its text: what is shorter was cut off."""
MARGIN_MS = 20
"""Of the silence around a line's sound that is left to it: its onset is soft, and so is its end."""


class Witness(Protocol):
    """Who is told what became of the lines."""

    def line_rendered(self, stage: StageConfig, characters: int) -> None:
        """A vendor rendered a line of so many characters, and charges for it."""
        ...

    def line_failed(self, stage: StageConfig, category: str) -> None:
        """A vendor did not render one; why, as Pipecat's `ErrorCategory` or timeout, malformed, disk."""
        ...


@dataclass(frozen=True)
class Shelf:
    """The folder. Every method is blocking and safe beside other processes."""

    folder: Path
    limit_bytes: int = LIMIT_BYTES
    limit_days: float = LIMIT_DAYS

    def read(self, name: str, rate: int) -> bytes | None:
        """The sound of that name at that rate; None where there is none, or what is there is not it."""
        path = self.folder / f"{name}.wav"
        try:
            with wave.open(str(path), "rb") as file:
                if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, rate):
                    return None
                wanted = file.getnframes()
                pcm = file.readframes(wanted)
        except (OSError, EOFError, wave.Error):
            return None
        if not wanted or len(pcm) != 2 * wanted:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # it is in use: pruning takes the longest unused first
        return pcm

    def write(self, name: str, rate: int, pcm: bytes) -> None:
        """Keep it; OSError when the disk does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{name[:16]}-")
        try:
            with os.fdopen(handle, "wb") as raw, wave.open(raw, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(rate)
                file.writeframes(pcm)
            os.replace(temporary, self.folder / f"{name}.wav")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def prune(self, now: float) -> None:
        """Drop what has not been used for long, then the longest unused until the rest fits. `now` is a Unix time."""
        found = []
        for entry in os.scandir(self.folder) if self.folder.is_dir() else ():
            with contextlib.suppress(OSError):
                found.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if total <= self.limit_bytes and now - used <= self.limit_days * 86_400:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size


class Lines:
    """The lines of one call: `prepare` them in the background, `find` them when they are to be said.

    `voices` are the configured ones, the agent's own first: another renders a line only when those before cannot.
    """

    def __init__(self, shelf: Shelf, voices: Iterable[StageConfig], rate: int, witness: Witness) -> None:
        self._shelf = shelf
        self._voices = tuple(voices)
        self._rate = rate
        self._witness = witness
        self._ready: dict[str, bytes] = {}

    def find(self, text: str) -> bytes | None:
        """The line as s16le mono at the room's rate, without touching disk or network."""
        return self._ready.get(text)

    async def prepare(self, texts: Iterable[str]) -> None:
        """Read every line, or have it rendered, in the order given; never raises for a vendor or a disk."""
        wanted = [text for text in dict.fromkeys(texts) if letters(text)]
        missing = [text for text in wanted if not await self._read(text)]
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client, asyncio.TaskGroup() as group:
            for text in missing:
                group.create_task(self._make(client, text))
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._shelf.prune, time.time())

    async def _read(self, text: str) -> bool:
        pcm = await asyncio.to_thread(self._shelf.read, name_of(self._voices[0], text, self._rate), self._rate)
        if pcm is not None:
            self._ready[text] = self._sound(pcm)
        return pcm is not None

    def _sound(self, pcm: bytes) -> bytes:
        """The line without the silence around it: vendors put some 200 ms before the first sound."""
        loud = np.flatnonzero(np.abs(np.frombuffer(pcm, np.int16).astype(np.int32)) >= QUIETEST)
        if not loud.size:
            return pcm
        margin = self._rate * MARGIN_MS // 1000
        return pcm[2 * max(0, int(loud[0]) - margin) : 2 * (int(loud[-1]) + 1 + margin)]

    async def _make(self, client: httpx.AsyncClient, text: str) -> None:
        for voice in self._voices:
            name = name_of(voice, text, self._rate)
            async with _oven().making(str(self._shelf.folder / name)):
                # Another call of this process may have made it meanwhile.
                if (pcm := await asyncio.to_thread(self._shelf.read, name, self._rate)) is not None:
                    self._ready[text] = self._sound(pcm)
                    return
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        pcm = await _render(client, voice, text, self._rate)
                except (RenderError, TimeoutError) as failure:
                    self._witness.line_failed(voice, getattr(failure, "category", "timeout"))
                    continue
                self._witness.line_rendered(voice, len(text))
                self._ready[text] = self._sound(pcm)
                try:
                    await asyncio.to_thread(self._shelf.write, name, self._rate, pcm)
                except OSError:
                    self._witness.line_failed(voice, "disk")
                return


class _Oven:
    """What all calls of one event loop share: each line is made once, and `AT_ONCE` of them at a time."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def making(self, name: str) -> AsyncIterator[None]:
        lock = self._making.setdefault(name, asyncio.Lock())
        async with lock, self._slots:
            yield


_OVENS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Oven] = WeakKeyDictionary()


def _oven() -> _Oven:
    return _OVENS.setdefault(asyncio.get_running_loop(), _Oven())


def name_of(voice: StageConfig, text: str, rate: int) -> str:
    """A file's name: a hash over all that the sound depends on. No key is part of it."""
    what = [voice.vendor, voice.model, voice.base_url, dict(voice.settings), text, rate]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


async def _render(client: httpx.AsyncClient, voice: StageConfig, text: str, rate: int) -> bytes:
    row = find("tts", voice.vendor)
    if row.render is None or voice.api_key is None:
        raise RenderError("not offered")
    root = row.default_root() if voice.base_url is None else parse_root(voice.base_url, endings=row.endings)
    wanted = {name: setting.default for name, setting in row.settings.items()} | dict(voice.settings)
    pcm = await row.render(client, root, voice.api_key.get_secret_value(), voice.model, wanted, text, rate)
    samples = array.array("h", pcm)
    if max(max(samples), -min(samples)) < QUIETEST:
        raise RenderError("silent")
    if len(samples) * 1000 / rate < SHORTEST * Pace().expected_ms(letters(text)):
        raise RenderError("truncated")
    return pcm
