"""Deepgram Flux, speech-to-text that knows when a turn is over: `GET /v2/listen`.

Follows Deepgram's AsyncAPI description (api-specs repository, 2026-07-22). The vendor's turn model is stood in for
by silence: a turn is over when so much silence has followed its last sound as was drawn from `flux_end_of_turn`.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web
from multidict import MultiMapping
from numpy.typing import NDArray

from callwright.simulators.account import World
from callwright.simulators.activity import RATE
from callwright.simulators.deepgram import ENCODINGS, Admitted, admit, key_of, punctuated, refusal
from callwright.simulators.ears import Ears, Words, open_ears
from callwright.simulators.encodings import Intake
from callwright.simulators.faults import Fault, Within
from callwright.simulators.idle import strike_when_idle
from callwright.simulators.outbox import Outbox

_MODELS = ("flux-general-en", "flux-general-multi")
_EAGER_LEAD_S = 0.2  # EagerEndOfTurn comes 150 to 250 ms before EndOfTurn (Deepgram)
_SLICE = RATE // 10  # of a long message, so that no pause within it is missed
_MIN_PAUSE_S = 0.15  # a shorter gap lies within speech


def routes(world: World) -> list[web.RouteDef]:
    async def listen(request: web.Request) -> web.StreamResponse:
        admitted = await admit(request, world)
        if isinstance(admitted, web.StreamResponse):
            return admitted
        try:
            options = Options.read(request.query)
        except ValueError as error:
            return refusal(400, str(error))
        return await Turns(world, request, admitted, options).run()

    return [web.get("/v2/listen", listen)]


@dataclass(frozen=True)
class Thresholds:
    """When the vendor takes a turn for finished: confidence 0.5 to 1 (1: never), and silence in ms."""

    eot_threshold: float = 0.7
    eager_eot_threshold: float | None = None
    eot_timeout_ms: int = 5000

    def changed(self, values: dict[str, Any]) -> Thresholds:
        """Raises ValueError for a value outside its range."""
        new = replace(self, **{name: values[name] for name in _LIMITS if name in values})
        for name, (low, high) in _LIMITS.items():
            value = getattr(new, name)
            if value is not None and not (isinstance(value, int | float) and low <= value <= high):
                raise ValueError(f"{name} must be between {low} and {high}")
        if new.eager_eot_threshold is not None and new.eager_eot_threshold > new.eot_threshold:
            raise ValueError("eager_eot_threshold must not be greater than eot_threshold")
        return new


_LIMITS = {"eot_threshold": (0.5, 1.0), "eager_eot_threshold": (0.3, 0.9), "eot_timeout_ms": (500, 60000)}


@dataclass(frozen=True)
class Options:
    """The query parameters that change what this stand-in does; the rest are accepted and have no effect."""

    encoding: str
    rate: int
    thresholds: Thresholds

    @classmethod
    def read(cls, query: MultiMapping[str]) -> Options:
        """Raises ValueError with a sentence for the client."""
        if query.get("model") not in _MODELS:
            raise ValueError(f"Bad Request: model must be one of {', '.join(_MODELS)}")
        encoding, rate = query.get("encoding", ""), query.get("sample_rate", "")
        if encoding not in ENCODINGS:
            raise ValueError(f"Bad Request: encoding must be one of {', '.join(ENCODINGS)} here")
        if not rate.isdecimal() or not 8000 <= int(rate) <= 48000:
            raise ValueError("Bad Request: sample_rate must be a whole number from 8000 to 48000")
        try:
            values = {name: float(query[name]) for name in _LIMITS if name in query}
            return cls(ENCODINGS[encoding], int(rate), Thresholds().changed(values))
        except ValueError as error:
            raise ValueError(f"Bad Request: {error}") from error


class State(Enum):
    IDLE = "idle"
    IN_TURN = "in turn"
    EAGER = "eager"


class Turns:
    """One connection. Transcripts grow within a turn; every event names the window of audio it is about."""

    def __init__(self, world: World, request: web.Request, admitted: Admitted, options: Options) -> None:
        self._world = world
        self._request = request
        self._account = account = admitted.account
        self._mute = admitted.mute
        self._options = options
        self._thresholds = options.thresholds
        self._request_id = str(uuid.uuid4())
        self._sequence = 0
        self._intake = Intake(options.encoding, options.rate)
        self._within = Within(account.faults, "stt")
        self._received = 0
        self._state = State.IDLE
        self._turn = 0
        self._window_start = 0
        self._next_update = 0
        self._words: Words = ()  # of the turn so far
        self._eager_words: Words = ()
        self._wait_s = 0.0  # of silence that ends this turn
        self._sound_ended_at = 0.0  # monotonic, when the last sample with sound arrived

    async def run(self) -> web.WebSocketResponse:
        _, protocol = key_of(self._request)
        socket = web.WebSocketResponse(max_msg_size=0, protocols=[protocol] if protocol else [])
        socket.headers["dg-request-id"] = self._request_id
        await socket.prepare(self._request)
        self._outbox = Outbox(self._world, self._request, socket)
        self._ears: Ears = await open_ears(self._account, self._world.recognisers)
        sender = asyncio.create_task(self._outbox.run())
        lurking = asyncio.create_task(
            strike_when_idle(self._world, self._account, "stt", idle=self._is_idle, strike=self._outbox.strike)
        )
        try:
            self._put("Connected", strike=self._strikes())
            if await self._receive(socket):
                self._outbox.finish()
                await sender
        finally:
            lurking.cancel()
            sender.cancel()
            await asyncio.gather(sender, lurking, return_exceptions=True)
            await self._ears.aclose()
        return socket

    def _is_idle(self) -> bool:
        return self._state is State.IDLE and not self._ears.activity.active and not self._outbox.pending

    async def _receive(self, socket: web.WebSocketResponse) -> bool:
        """Until the client is gone, or is done or told of an error (True: what is queued is still sent)."""
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await self._audio(message.data)
            elif message.type is WSMsgType.TEXT and not await self._command(message.data):
                return True
        return False

    async def _command(self, text: str) -> bool:
        """Obey a text message; False when it ends the connection."""
        try:
            body = json.loads(text)
            kind = body["type"]
        except (ValueError, TypeError, KeyError):
            kind, body = None, {}
        if kind == "CloseStream":
            return False
        if kind == "ForceEndTurn":
            if self._state is not State.IDLE:
                await self._end_turn("manual", self._world.monotonic())
            return True
        if kind == "Configure":
            self._configure(body)
            return True
        self._put("Error", code="UNPARSABLE_CLIENT_MESSAGE", description="The message could not be understood.")
        return False

    def _configure(self, body: dict[str, Any]) -> None:
        try:
            self._thresholds = self._thresholds.changed(body.get("thresholds") or {})
        except (ValueError, TypeError) as error:
            self._put("ConfigureFailure", code="INVALID_CONFIGURATION", description=str(error))
            return
        thresholds = {
            "eot_threshold": self._thresholds.eot_threshold,
            "eager_eot_threshold": self._thresholds.eager_eot_threshold,
            "eot_timeout_ms": self._thresholds.eot_timeout_ms,
        }
        self._put("ConfigureSuccess", thresholds=thresholds, keyterms=body.get("keyterms") or [])

    async def _audio(self, data: bytes) -> None:
        samples = self._intake.push(data)
        for at in range(0, len(samples), _SLICE):
            await self._hear(samples[at : at + _SLICE])

    async def _hear(self, samples: NDArray[np.int16]) -> None:
        self._received += len(samples)
        sound_before = self._ears.activity.last_sound
        await self._ears.feed(samples)
        activity = self._ears.activity
        now = self._world.monotonic()
        if activity.last_sound > sound_before:
            self._sound_ended_at = now
        silence_s = activity.silence / RATE
        if self._state is State.EAGER and activity.active and silence_s < _MIN_PAUSE_S:
            self._state = State.IN_TURN
            self._turn_info("TurnResumed", confidence=0.1)
        if self._received >= self._next_update:
            self._next_update = self._received + self._account.settings.stt_interim_ms * RATE // 1000
            await self._update()
        if self._state is State.IDLE:
            return
        by_timeout = silence_s * 1000 >= self._thresholds.eot_timeout_ms
        by_model = self._thresholds.eot_threshold < 1 and silence_s >= max(_MIN_PAUSE_S, self._wait_s)
        if by_timeout or by_model:
            await self._end_turn("model" if by_model else "timeout", self._sound_ended_at)
        elif (
            self._state is State.IN_TURN
            and self._thresholds.eager_eot_threshold is not None
            and silence_s >= max(_MIN_PAUSE_S, self._wait_s - _EAGER_LEAD_S)
        ):
            self._words = await self._ears.hypothesis()
            if self._words:
                self._eager_words = self._words
                self._state = State.EAGER
                self._turn_info("EagerEndOfTurn", confidence=self._thresholds.eager_eot_threshold + 0.05)

    async def _update(self) -> None:
        words = await self._ears.hypothesis()
        if self._state is State.IDLE:
            if words:
                self._state = State.IN_TURN
                self._words = words
                self._wait_s = self._account.draw("flux_end_of_turn")
                self._turn_info("StartOfTurn", confidence=0.1)
        elif self._state is State.IN_TURN:
            self._words = words or self._words
            self._turn_info("Update", confidence=0.2)

    async def _end_turn(self, trigger: str, cause_at: float) -> None:
        words = await self._ears.finish()
        if self._state is State.EAGER and words != self._eager_words:
            self._turn_info("TurnResumed", confidence=0.1)
        self._words = words or self._words
        self._state = State.IDLE
        fault = self._account.faults.take("stt", "before")
        if fault is not None:
            self._account.log("stt", "fault", detail={"kind": fault.kind, "moment": fault.moment})
        if fault is None or fault.kind != "silence":
            if fault is not None and fault.kind == "empty":
                self._words, fault = (), None
            self._turn_info("EndOfTurn", confidence=0.9, trigger=trigger, ordered=fault, cause_at=cause_at, final=True)
        self._turn += 1
        self._window_start = self._received
        self._words = self._eager_words = ()

    def _turn_info(
        self,
        event: str,
        *,
        confidence: float,
        trigger: str | None = None,
        ordered: Fault | None = None,
        cause_at: float = 0.0,
        final: bool = False,
    ) -> None:
        strike = ordered or self._strikes()
        words = self._words
        if strike is not None and strike.kind == "empty":
            words, strike = (), None
        shown = punctuated(words, ended=final)

        def sent() -> None:
            if final:
                self._account.log(
                    "stt",
                    "turn_end",
                    request_at=cause_at,
                    request_id=self._request_id,
                    detail={"words": len(shown), "ears": self._ears.name, "trigger": trigger},
                )

        self._put(
            "TurnInfo",
            strike=strike,
            after=sent,
            event=event,
            turn_index=self._turn,
            audio_window_start=round(self._window_start / RATE, 3),
            audio_window_end=round(self._received / RATE, 3),
            transcript=" ".join(shown),
            words=[
                {
                    "word": text,
                    "confidence": round(word.confidence, 4),
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                }
                for word, text in zip(words, shown, strict=True)
            ],
            end_of_turn_confidence=round(min(1.0, confidence), 3),
            **({} if trigger is None else {"trigger": trigger}),
        )

    def _strikes(self) -> Fault | None:
        """The fault ordered for the message that is about to be sent."""
        fault = None if self._mute else self._within.strikes()
        if fault is not None:
            self._account.log("stt", "fault", detail={"kind": fault.kind, "moment": fault.moment})
            self._mute = fault.kind == "silence"
        return fault

    def _put(self, kind: str, *, strike: Fault | None = None, after: Any = None, **fields: Any) -> None:
        if self._mute:
            return
        message = {"type": kind, "request_id": self._request_id, "sequence_id": self._sequence, **fields}
        if strike is not None and strike.kind == "status":
            # Flux says what is wrong, then closes.
            error = {"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": strike.message or "Ordered."}
            self._outbox.put(error | {"request_id": self._request_id, "sequence_id": self._sequence})
            strike = strike.model_copy(update={"kind": "drop", "close_code": strike.close_code or 1011})
        self._sequence += 1
        self._outbox.put(message, fault=strike, after=after)
