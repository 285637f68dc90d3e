"""A speech recogniser in a process of its own, and the pool that owns such processes.

pocketsphinx holds Python's global lock while it loads (about 250 ms) and decodes, which would stall the event
loop of whoever hosts the stand-ins; so each stream's decoder lives in a child process, which ends when its
standard input does. This file is both sides: run as a script it is the child and imports only pocketsphinx.

Parent to child: one byte of command, four of length (little-endian), payload.
  N  a new stream begins       S  a segment of it begins     A  audio, s16le mono at 16 kHz
  H  what is it so far         F  the segment ends
Child to parent, after H and F: a line of JSON, [[word, start_s, end_s, confidence], …] from the segment's start.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

RATE = 16000
_HEADER = struct.Struct("<cI")
_FRAMES_PER_SECOND = 100
_GOODBYE_S = 2.0
# Cepstral means follow the speaker: kept within a stream, not beyond it. These begin a stream: what they come to
# after twenty sentences, averaged over flite's four voices. With pocketsphinx's own (40, 3, -1) 23 % of the words of
# a first sentence are wrong (voice "rms", 20 sentences), with these 6 %, and 4 % once they have followed the speaker.
_FIRST_MEANS = "54.45,4.37,5.13,20.57,-2.71,0.79,3.55,-8.13,-2.73,-2.85,5.85,1.54,1.51"


@dataclass(frozen=True)
class HeardWord:
    """A recognised word, lower case; seconds; confidence 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float


class Recogniser:
    """One child process. Segments follow one another; not to be used by two streams at once."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self._unanswered = 0

    @classmethod
    async def start(cls) -> Recogniser:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(Path(__file__).resolve()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def new_stream(self) -> None:
        """Forget the last speaker."""
        await self._send(b"N")

    async def begin(self) -> None:
        """A segment begins."""
        await self._send(b"S")

    async def feed(self, pcm: bytes) -> None:
        await self._send(b"A", pcm)

    async def hypothesis(self) -> tuple[HeardWord, ...]:
        return await self._ask(b"H")

    async def finish(self) -> tuple[HeardWord, ...]:
        return await self._ask(b"F")

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def aclose(self) -> None:
        """End the child; it is killed if it does not go within two seconds."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _send(self, command: bytes, payload: bytes = b"") -> None:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(_HEADER.pack(command, len(payload)) + payload)
        await stdin.drain()

    async def _ask(self, command: bytes) -> tuple[HeardWord, ...]:
        async with self._turn:
            self._unanswered += 1
            await self._send(command)
            while self._unanswered:  # more than one when somebody asked and was cancelled
                line = await self._process.stdout.readline() if self._process.stdout else b""
                if not line:
                    raise ConnectionResetError("the recogniser process ended")
                self._unanswered -= 1
        return tuple(HeardWord(*word) for word in json.loads(line))


class Recognisers:
    """Owns the recogniser processes: lends an idle one or starts another, ends them all on `aclose`."""

    def __init__(self) -> None:
        self._idle: list[Recogniser] = []
        self._all: set[Recogniser] = set()

    async def __aenter__(self) -> Recognisers:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def warm(self) -> None:
        """Have one ready, its models loaded, before anybody speaks."""
        recogniser = await self.borrow()
        await recogniser.begin()
        await recogniser.finish()
        self.give_back(recogniser)

    async def borrow(self) -> Recogniser:
        while self._idle:
            recogniser = self._idle.pop()
            if recogniser.alive:
                return recogniser
            self._all.discard(recogniser)
        recogniser = await Recogniser.start()
        self._all.add(recogniser)
        return recogniser

    def give_back(self, recogniser: Recogniser) -> None:
        """Return one; whatever it was listening to is forgotten by the next `new_stream`."""
        if recogniser in self._all:
            self._idle.append(recogniser)

    async def aclose(self) -> None:
        everyone, self._all, self._idle = list(self._all), set(), []
        await asyncio.gather(*(recogniser.aclose() for recogniser in everyone))


def _clean(segments: Iterator[Any] | None) -> list[tuple[str, float, float, float]]:
    words: list[tuple[str, float, float, float]] = []
    for segment in segments or ():
        name = segment.word.partition("(")[0]  # "read(2)" is the second pronunciation of "read"
        if not name or name[0] in "<[+":
            continue  # silence, noise, breath
        confidence = max(0.0, min(1.0, float(segment.prob)))
        start, end = segment.start_frame / _FRAMES_PER_SECOND, (segment.end_frame + 1) / _FRAMES_PER_SECOND
        words.append((name.lower(), start, end, confidence))
    return words


def main() -> None:
    """The child: reads commands until its input ends."""
    from pocketsphinx import Decoder  # type: ignore[import-untyped]

    # Measured on 20 sentences each of flite's voices "rms" and "slt". The second pass (fwdflat) takes 50 to 110 ms
    # after the last word and mends nothing. At most 3000 states a frame and every second frame's densities take
    # 0.055 s of processor per second of speech instead of 0.08, with 2 % and 13 % of words wrong (before: 4, 13).
    decoder = Decoder(loglevel="FATAL", fwdflat=False, maxhmmpf=3000, ds=2)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    open_segment = False
    while len(header := source.read(_HEADER.size)) == _HEADER.size:
        command, length = _HEADER.unpack(header)
        payload = source.read(length)
        if command in (b"N", b"S"):
            if open_segment:
                decoder.end_utt()
            open_segment = command == b"S"
            if open_segment:
                decoder.start_utt()
            else:
                decoder.set_cmn(_FIRST_MEANS)
        elif command == b"A" and open_segment:
            decoder.process_raw(payload, False, False)
        elif command in (b"H", b"F"):
            if command == b"F" and open_segment:
                decoder.end_utt()
                open_segment = False
            found = _clean(decoder.seg()) if decoder.hyp() is not None else []
            sink.write(json.dumps(found).encode() + b"\n")
            sink.flush()


if __name__ == "__main__":
    main()
