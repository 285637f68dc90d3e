"""One context of Cartesia's: text comes in pieces, chunks and word times go out as JSON messages."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from callwright.simulators.account import Account, World
from callwright.simulators.cartesia_request import CartesiaError, Generation, ordered_error
from callwright.simulators.encodings import Samples, encode
from callwright.simulators.errors import SimulatorError
from callwright.simulators.faults import Fault
from callwright.simulators.speaking import Placed, Speaking
from callwright.simulators.text_buffer import TextBuffer

Message = dict[str, Any]


class Context:
    """Speaks until its last piece is out; `run` in a task.

    send: takes each message to the client.  strike: does what a fault wants done to the connection.
    """

    def __init__(
        self,
        world: World,
        account: Account,
        first: Generation,
        send: Callable[[Message], Awaitable[None]],
        strike: Callable[[Fault], Awaitable[None]],
        version: str,
    ) -> None:
        self.first = first
        self._world = world
        self._account = account
        self._send = send
        self._strike = strike
        self._version = version
        self._rate = first.output_format.sample_rate
        self._speaking = Speaking(
            world,
            account,
            self,
            context_id=first.context_id,
            voice=first.voice.id or world.voice.voices[0],
            rate=self._rate,
            speed=first.generation_config.speed,
            volume=first.generation_config.volume,
        )
        self._buffer = TextBuffer(first.max_buffer_delay_ms / 1000)
        self._news = asyncio.Event()
        self._ended = False  # continue:false has come
        self._flush_count = 0
        self._text_at: float | None = None  # when the text now in the buffer began to arrive
        self.push(first)

    def push(self, generation: Generation) -> None:
        """More text, or the end of it."""
        now = self._world.monotonic()
        self._speaking.asked(generation.transcript)
        self._buffer.push(generation.transcript, now)
        if generation.transcript.strip() and self._text_at is None:
            self._text_at = now
        self._ended = self._ended or not generation.more
        # Here and not in a task: without a buffer delay each transcript is spoken by itself, however close they come.
        self._cut(everything=self._ended or generation.flush)
        if generation.flush:
            self._flush_count += 1
            self._speaking.then(partial(self._message, "flush_done", flush_done=True, flush_id=self._flush_count))
        if self._ended:
            self._speaking.end()
        self._news.set()

    @property
    def ended(self) -> bool:
        return self._ended

    def cancel(self) -> None:
        self._speaking.cancel()

    async def run(self) -> None:
        """Raises nothing of its own."""
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                await self._speaking.run()
                watch.cancel()
        except* SimulatorError:
            error = CartesiaError(500, "the speech engine failed", title="Internal server error")
            self._account.log("tts", "failed", context_id=self.first.context_id, detail={"status": 500})
            await self._send(error.frame(self.first.context_id, self._version))
        except* ConnectionError:
            pass  # the client is gone

    def _cut(self, *, everything: bool = False) -> None:
        """Have buffered text spoken whose time has come."""
        now = self._world.monotonic()
        if text := self._buffer.take(now, everything=everything):
            self._speaking.say(text, now if self._text_at is None else self._text_at)
            self._text_at = now if self._buffer.deadline is not None else None

    async def _watch(self) -> None:
        """Let text go whose time in the buffer is over."""
        while not self._ended:
            self._news.clear()
            deadline = self._buffer.deadline
            left = None if deadline is None else max(0.001, deadline - self._world.monotonic())
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                self._cut()

    async def audio(self, samples: Samples, *, step_ms: float) -> None:
        data = encode(samples, self.first.output_format.encoding)
        await self._message("chunk", data=base64.b64encode(data).decode(), step_time=round(step_ms, 3))

    async def words(self, words: Sequence[Placed]) -> None:
        if self.first.add_timestamps:
            await self._message(
                "timestamps",
                word_timestamps={
                    "words": [text for text, _, _ in words],
                    "start": [round(start / self._rate, 4) for _, start, _ in words],
                    "end": [round(end / self._rate, 4) for _, _, end in words],
                },
            )

    async def done(self) -> None:
        await self._send({"type": "done", "context_id": self.first.context_id, "done": True, "status_code": 200})

    async def struck(self, fault: Fault) -> None:
        if fault.kind == "status":
            error = ordered_error(fault.status, fault.message)
            await self._send(error.frame(None if fault.anonymous else self.first.context_id, self._version))
        else:
            await self._strike(fault)

    async def _message(self, kind: str, **fields: Any) -> None:
        await self._send(
            {"type": kind, "context_id": self.first.context_id, "done": False, "status_code": 206, **fields}
        )
