"""Speech rendered in one HTTP request, the same for every vendor: for lines that are wanted beforehand.

The voice, the silence before the first sound and the pace are those of the streaming endpoints; the draws are their
own, so that what is rendered beforehand does not shift the delays of a call. One line "batch" of the log tells of each
rendering. Only faults ordered with `batch` strike here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from aiohttp import web

from callwright.simulators.account import Account, World
from callwright.simulators.encodings import Samples, encode
from callwright.simulators.faults import Within
from callwright.simulators.outbox import abort, stall
from callwright.simulators.produced import Production
from callwright.simulators.speaking import Refuse, louder, never_a_word, strike_ahead

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Order:
    """What is to be said, and in which form; `head` goes out before the audio."""

    text: str
    voice: str
    rate: int
    encoding: str  # one of `encodings`
    speed: float = 1.0
    volume: float = 1.0
    head: bytes = b""


async def deliver(
    world: World, request: web.Request, account: Account, order: Order, headers: Headers, refuse: Refuse
) -> web.StreamResponse:
    """Answer `request` with the speech. Raises SimulatorError when the engine fails.

    refuse: the vendor's answer for a status, wording and Retry-After.
    """
    asked_at = world.monotonic()
    fault = account.faults.take("tts", "before", batch=True)
    if fault is not None and (struck := await strike_ahead(world, request, account, fault, refuse)) is not None:
        return struck
    rendering = _Rendering(world, request, account, order, asked_at)
    mute = fault is not None and fault.kind in ("truncate", "empty")
    response = web.StreamResponse(headers=headers)
    try:
        await rendering.render(mute=mute)
        await response.prepare(request)
        await response.write(order.head)
        if await rendering.send(response):
            await response.write_eof()
    except ConnectionError:
        return response  # the client is gone
    finally:
        rendering.log()
    return response


class _Rendering:
    """One order on its way to the client."""

    def __init__(self, world: World, request: web.Request, account: Account, order: Order, asked_at: float) -> None:
        self._world = world
        self._request = request
        self._account = account
        self._order = order
        self._asked_at = asked_at
        self._id = f"batch-{uuid.uuid4().hex[:12]}"
        self._audio: Samples = np.zeros(0, dtype=np.int16)
        self._leading = 0
        self._sent = 0
        self._produced: Production | None = None
        if account.settings.keep_speech:
            self._produced = Production(self._id, order.rate)
            self._produced.asked(order.text)
            account.speech.append(self._produced)

    async def render(self, *, mute: bool) -> None:
        """Have it spoken, not before the account's delay is over."""
        order, settings = self._order, self._account.settings
        rng = self._account.random_for("tts_batch")
        delay = settings.tts_first_audio.draw(rng) * settings.speed
        silence = round(rng.uniform(*settings.tts_leading_silence_ms) * order.rate / 1000)
        if not mute:
            speech = await self._world.voice.speak(order.text, voice=order.voice, rate=order.rate, speed=order.speed)
            samples = louder(np.frombuffer(speech.pcm, dtype="<i2"), order.volume)
            self._audio = np.concatenate([np.zeros(silence, dtype="<i2"), samples])
            self._leading = silence + speech.leading_silence
            if self._produced is not None:
                self._produced.planned((word.text, silence + word.start, silence + word.end) for word in speech.words)
        await self._world.sleep_until(self._asked_at + delay)

    async def send(self, response: web.StreamResponse) -> bool:
        """Send the audio at the account's pace; False when a fault has torn the connection down."""
        order, settings = self._order, self._account.settings
        within = Within(self._account.faults, "tts", batch=True)
        pace = settings.tts_pace if settings.paced else None
        size = max(1, order.rate * settings.tts_chunk_ms // 1000)
        due = self._world.monotonic()
        for at in range(0, len(self._audio), size):
            await self._world.sleep_until(due)
            if (fault := within.strikes()) is not None:
                self._account.log("tts", "fault", context_id=self._id, detail={"kind": fault.kind, "moment": "within"})
                if fault.kind == "truncate":
                    return True
                if fault.kind == "drop":
                    abort(self._request)
                    return False
                if fault.kind == "silence":
                    await never_a_word(self._world, self._request)
                    return False
                if fault.kind == "stall":
                    await stall(self._world, fault)
                else:
                    pace, due = fault.trickle, self._world.monotonic()
            chunk = self._audio[at : at + size]
            await response.write(encode(chunk, order.encoding))
            if self._produced is not None:
                self._produced.sent(chunk, self._world.monotonic())
            self._sent += len(chunk)
            if pace is not None:
                due += len(chunk) / order.rate / pace
        return True

    def log(self) -> None:
        """What was billed and what went out."""
        self._account.log(
            "tts",
            "batch",
            request_at=self._asked_at,
            leading_silence_ms=self._leading * 1000 / self._order.rate,
            context_id=self._id,
            detail={
                "characters": len(self._order.text),
                "samples": self._sent,
                "rate": self._order.rate,
                "whole": 0 < self._sent == len(self._audio),
            },
        )
