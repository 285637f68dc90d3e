"""Deepgram's Aura text-to-speech over a websocket: `GET /v1/speak`.

Follows Deepgram's AsyncAPI description as its SDK 7.16 has it, and its pages on Flush, Clear and Close. A connection
is one stream: raw audio in binary messages, without word times. What is asked for between two Flush messages is one
utterance, a context of the log. Sentences are spoken as soon as they are whole, the rest at the Flush.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import WSMsgType, web
from multidict import MultiMapping

from callwright.simulators.account import Account, World
from callwright.simulators.deepgram import key_of, refusal
from callwright.simulators.encodings import Samples, encode
from callwright.simulators.errors import SimulatorError
from callwright.simulators.faults import Fault
from callwright.simulators.idle import strike_when_idle
from callwright.simulators.outbox import hang_up
from callwright.simulators.speaking import Placed, Speaking, at_the_door
from callwright.simulators.text_buffer import TextBuffer

_MODEL = re.compile(r"aura-(2-)?[a-z]+-[a-z]{2}")
_ENCODINGS = {"linear16": "pcm_s16le", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
_RATES = {
    "linear16": (8000, 16000, 24000, 32000, 44100, 48000),
    "mulaw": (8000, 16000),
    "alaw": (8000, 16000),
}
_FLUSHES = 20  # so many in …
_FLUSH_WINDOW_S = 60.0  # … this time; the rest is ignored with a Warning (developers.deepgram.com/docs/tts-ws-flush)


def routes(world: World) -> list[web.RouteDef]:
    async def speak(request: web.Request) -> web.StreamResponse:
        account = world.accounts.find(key_of(request)[0])
        if account is None:
            return refusal(401)
        refused = await at_the_door(world, request, account, refusal)
        if refused is not None:
            return refused
        try:
            options = Options.read(request.query)
        except ValueError as error:
            account.log("tts", "refused", detail={"status": 400})
            return refusal(400, str(error))
        return await Stream(world, request, account, options).run()

    return [web.get("/v1/speak", speak)]


@dataclass(frozen=True)
class Options:
    """The query parameters that change what this stand-in does; the rest are accepted and have no effect."""

    model: str
    encoding: str
    rate: int
    speed: float

    @classmethod
    def read(cls, query: MultiMapping[str]) -> Options:
        """Raises ValueError with Deepgram's sort of sentence."""
        model = query.get("model", "aura-asteria-en")
        if not _MODEL.fullmatch(model):
            raise ValueError("Bad Request: No such model/version combination found.")
        encoding = query.get("encoding", "linear16")
        if encoding not in _ENCODINGS:
            raise ValueError(f"INVALID_QUERY_PARAMETER: encoding={encoding}: one of {', '.join(_ENCODINGS)} is needed")
        rate = query.get("sample_rate", str(24000 if encoding == "linear16" else 8000))
        if rate not in map(str, _RATES[encoding]):
            allowed = ", ".join(map(str, _RATES[encoding]))
            raise ValueError(f"UNSUPPORTED_AUDIO_FORMAT: sample_rate={rate}: {encoding} has {allowed}")
        return cls(model, _ENCODINGS[encoding], int(rate), _speed(query.get("speed", "1")))


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0.7 <= speed <= 1.5:
        raise ValueError(f"INVALID_QUERY_PARAMETER: speed={text} must be from 0.7 to 1.5")
    return speed


class Stream:
    """One connection: `_receive` takes what the client wants, `_talk` does it in order."""

    def __init__(self, world: World, request: web.Request, account: Account, options: Options) -> None:
        self._world = world
        self._request = request
        self._account = account
        self._options = options
        self._request_id = str(uuid.uuid4())
        self._socket = web.WebSocketResponse(max_msg_size=0)
        self._plan: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._open: dict[_Utterance, None] = {}  # those not yet out, in order
        self._current: _Utterance | None = None  # the one that takes text
        self._opened = 0
        self._confirmed = 0
        self._flushes: deque[float] = deque()

    async def run(self) -> web.WebSocketResponse:
        self._socket.headers["dg-request-id"] = self._request_id
        await self._socket.prepare(self._request)
        talking = asyncio.create_task(self._talk())
        lurking = asyncio.create_task(
            strike_when_idle(self._world, self._account, "tts", idle=self._is_idle, strike=self.struck)
        )
        try:
            while (message := await self._socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._take(message.data)
        finally:
            lurking.cancel()
            talking.cancel()
            await asyncio.gather(talking, lurking, return_exceptions=True)
        return self._socket

    def _is_idle(self) -> bool:
        return not self._open

    async def _talk(self) -> None:
        try:
            await self.message(
                "Metadata",
                request_id=self._request_id,
                model_name=self._options.model,
                model_version="stand-in",
                model_uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, self._options.model)),
            )
            while not self._socket.closed:
                await (await self._plan.get())()
        except SimulatorError:
            self._account.log("tts", "failed", request_id=self._request_id, detail={"status": 500})
            await self._socket.close(code=1011, message=b"NET-0000: the speech engine failed")
        except ConnectionError:
            return  # the client is gone

    async def _take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            await self._socket.close(code=1003, message=b"MESSAGE-0000: a text message is needed")
            return
        try:
            body = json.loads(data)
            kind, text = body["type"], body.get("text")
        except (ValueError, TypeError, KeyError, AttributeError):
            kind = text = None
        if kind == "Speak" and isinstance(text, str):
            self._speak(text)
        elif kind == "Flush":
            await self._flush()
        elif kind == "Clear":
            self._clear()
        elif kind == "Close":
            self._end_current()
            self._plan.put_nowait(self._close)
        else:
            await self._socket.close(code=1008, message=b"DATA-0000: the message could not be understood")

    def _speak(self, text: str) -> None:
        if self._current is None:
            self._opened += 1
            self._current = utterance = _Utterance(
                self, self._world, self._account, self._options, f"{self._request_id}/{self._opened}"
            )
            self._open[utterance] = None

            async def say() -> None:
                try:
                    await utterance.speaking.run()
                finally:
                    self._open.pop(utterance, None)

            self._plan.put_nowait(say)
        self._current.push(text, self._world.monotonic())

    async def _flush(self) -> None:
        now = self._world.monotonic()
        while self._flushes and self._flushes[0] <= now - _FLUSH_WINDOW_S:
            self._flushes.popleft()
        if len(self._flushes) == _FLUSHES:
            description = "The limit of Flush messages is reached; this one is ignored."
            await self.message("Warning", description=description, code="EXCESSIVE_FLUSH")
            return
        self._flushes.append(now)
        if not self._end_current():
            self._plan.put_nowait(partial(self.confirm, "Flushed"))

    def _end_current(self) -> bool:
        """Let all text go that is held; False when there was no utterance."""
        utterance, self._current = self._current, None
        if utterance is None:
            return False
        utterance.end(self._world.monotonic())
        return True

    def _clear(self) -> None:
        self._current = None
        for utterance in self._open:
            utterance.speaking.cancel()
        self._plan.put_nowait(partial(self.confirm, "Cleared"))  # which comes when the chunk under way is out

    async def _close(self) -> None:
        await self._socket.close()

    async def confirm(self, what: str) -> None:
        await self.message(what, sequence_id=self._confirmed)
        self._confirmed += 1

    async def message(self, kind: str, **fields: Any) -> None:
        if not self._socket.closed:
            await self._socket.send_str(json.dumps({"type": kind, **fields}))

    async def audio(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def struck(self, fault: Fault) -> None:
        """A fault that is the connection's."""
        if fault.kind == "malformed":
            await self._socket.send_str('{"type": "Flushed", "sequence_id": ')
        elif fault.kind == "status":
            await self._socket.close(code=1011, message=(fault.message or "NET-0000").encode())
        else:
            await hang_up(self._request, self._socket, fault)


class _Utterance:
    """What is asked for up to a Flush."""

    def __init__(self, stream: Stream, world: World, account: Account, options: Options, context_id: str) -> None:
        self._stream = stream
        self._encoding = options.encoding
        self._buffer = TextBuffer(math.inf)
        self._text_at: float | None = None  # when the text now in the buffer began to arrive
        self.speaking = Speaking(
            world,
            account,
            self,
            context_id=context_id,
            voice=options.model,
            rate=options.rate,
            speed=options.speed,
        )

    def push(self, text: str, now: float) -> None:
        self.speaking.asked(text)
        self._buffer.push(text, now)
        if text.strip() and self._text_at is None:
            self._text_at = now
        self._cut(now)

    def end(self, now: float) -> None:
        self._cut(now, everything=True)
        self.speaking.end()

    def _cut(self, now: float, *, everything: bool = False) -> None:
        if text := self._buffer.take(now, everything=everything):
            self.speaking.say(text, now if self._text_at is None else self._text_at)
            self._text_at = now if self._buffer.deadline is not None else None

    async def audio(self, samples: Samples, *, step_ms: float) -> None:
        await self._stream.audio(encode(samples, self._encoding))

    async def words(self, words: Sequence[Placed]) -> None:
        """Aura tells of none."""

    async def done(self) -> None:
        await self._stream.confirm("Flushed")

    async def struck(self, fault: Fault) -> None:
        await self._stream.struck(fault)
