"""Deepgram's streaming speech-to-text, version 1: `GET /v1/listen`.

Follows Deepgram's AsyncAPI description (api-specs repository, 2026-07-22) and its documented timing: interims
transcribe everything since the last final; finals cover disjoint, growing spans; `Finalize` is answered by a final
with `from_finalize`; silence of `endpointing` ms ends an utterance with `speech_final`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web
from multidict import MultiMapping
from numpy.typing import NDArray

from callwright.simulators.account import Account, World
from callwright.simulators.activity import RATE
from callwright.simulators.ears import Ears, Words, open_ears
from callwright.simulators.encodings import Intake
from callwright.simulators.faults import Fault, Within
from callwright.simulators.idle import strike_when_idle
from callwright.simulators.outbox import Outbox, abort, stall

IDLE_S = 10.0  # without audio or KeepAlive for this long Deepgram closes with NET-0001
_MODELS = re.compile(r"(nova|nova-2|nova-3|enhanced|base|whisper)(-[a-z0-9]+)*")
ENCODINGS = {"linear16": "pcm_s16le", "linear32": "pcm_s32le", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
_SLICE = RATE // 10  # of a long message, so that no pause within it is missed
_MIN_PAUSE_MS = 150  # a shorter gap lies within speech (stop consonants, flite's comma)
_SILENT_SPAN_S = 5.0  # after so much silence the span ends with an empty final
_QUESTION = re.compile(r"(who|what|when|where|why|which|how|is|are|am|do|does|did|can|could|would|will|should|have)\b")
_CAPITAL = re.compile(
    r"i('\w+)?|(mon|tues|wednes|thurs|fri|satur|sun)day|january|february|april|june|july|august|"
    r"september|october|november|december"
)
_ERRORS = {
    400: ("Bad Request", "Bad Request: the request could not be read."),
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", "Project does not have enough credits for an ASR request."),
    403: ("INSUFFICIENT_PERMISSIONS", "User does not have sufficient permissions for the requested operation."),
    413: ("Payload Too Large", "Input text exceeds maximum character limit of 2000."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    503: ("Service Unavailable", "Please try again later"),
}  # fmt: skip


def routes(world: World) -> list[web.RouteDef]:
    async def listen(request: web.Request) -> web.StreamResponse:
        admitted = await admit(request, world)
        if isinstance(admitted, web.StreamResponse):
            return admitted
        try:
            options = Options.read(request.query)
        except ValueError as error:
            return refusal(400, str(error))
        return await Listen(world, request, admitted, options).run()

    return [web.get("/v1/listen", listen)]


def key_of(request: web.Request) -> tuple[str | None, str | None]:
    """The client's API key, and the websocket subprotocol to agree to (browsers put the key there)."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() in ("token", "bearer") and key:
        return key.strip(), None
    offered = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if len(offered) == 2 and offered[0].lower() in ("token", "bearer"):
        return offered[1], offered[0]
    return None, None


@dataclass(frozen=True)
class Admitted:
    """A client that was let in; `mute`: by order it will never get a word."""

    account: Account
    mute: bool


async def admit(request: web.Request, world: World) -> Admitted | web.StreamResponse:
    """The client's account, or the answer that refuses it: bad key, ordered fault."""
    account = world.accounts.find(key_of(request)[0])
    if account is None:
        return refusal(401)
    mute = False
    fault = account.faults.take("stt", "connect")
    if fault is not None:
        account.log("stt", "fault", detail={"kind": fault.kind, "moment": fault.moment})
        if fault.kind == "stall":
            await stall(world, fault)
        elif fault.kind in ("refuse_connect", "drop"):
            abort(request)
            return web.Response(status=503)
        elif fault.kind == "status":
            account.log("stt", "refused", detail={"status": fault.status or 503})
            return refusal(fault.status or 503, fault.message, fault.retry_after)
        else:
            mute = True  # silence: connected, and never a word
    return Admitted(account, mute)


def refusal(status: int, message: str | None = None, retry_after: float | None = None) -> web.Response:
    """A refused upgrade in Deepgram's form."""
    code, usual = _ERRORS.get(status, ("Internal Server Error", "Please try again later"))
    request_id = str(uuid.uuid4())
    names = ("error_code", "err_msg") if status >= 500 else ("err_code", "err_msg")
    headers = {"dg-request-id": request_id, "dg-error": message or usual}
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:g}"
    body = {names[0]: code, names[1]: message or usual, "request_id": request_id}
    return web.json_response(body, status=status, headers=headers)


@dataclass(frozen=True)
class Options:
    """The query parameters that change what this stand-in does; the rest are accepted and have no effect."""

    model: str
    encoding: str
    rate: int
    channels: int
    interim_results: bool
    punctuate: bool
    vad_events: bool
    endpointing_ms: int | None  # None: never speech_final
    utterance_end_ms: int | None

    @classmethod
    def read(cls, query: MultiMapping[str]) -> Options:
        """Raises ValueError with Deepgram's sort of sentence."""
        model = query.get("model", "base-general")
        if not _MODELS.fullmatch(model):
            raise ValueError("Bad Request: No such model/language/tier combination found.")
        encoding = query.get("encoding")
        if encoding not in ENCODINGS:
            raise ValueError(f"Bad Request: encoding={encoding!r} is not served here; one of {', '.join(ENCODINGS)} is")
        interim = _flag(query, "interim_results")
        utterance_end = query.get("utterance_end_ms")
        if utterance_end is not None and not interim:
            raise ValueError("INVALID_QUERY_PARAMETER: utterance_end_ms requires interim_results=true")
        endpointing = query.get("endpointing", "10")
        return cls(
            model=model,
            encoding=ENCODINGS[encoding],
            rate=_whole(query, "sample_rate", None, 8000, 48000),
            channels=_whole(query, "channels", 1, 1, 20),
            interim_results=interim,
            punctuate=_flag(query, "punctuate") or _flag(query, "smart_format"),
            vad_events=_flag(query, "vad_events"),
            endpointing_ms=None
            if endpointing == "false"
            else 10
            if endpointing == "true"
            else _whole(query, "endpointing", 10, 0, 60000),
            utterance_end_ms=None if utterance_end is None else _whole(query, "utterance_end_ms", None, 1000, 60000),
        )


def _flag(query: MultiMapping[str], name: str) -> bool:
    return query.get(name, "false").lower() == "true"


def _whole(query: MultiMapping[str], name: str, default: int | None, low: int, high: int) -> int:
    text = query.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"INVALID_QUERY_PARAMETER: {name}={text} must be a whole number from {low} to {high}")
    return int(text)


class Listen:
    """One connection."""

    def __init__(self, world: World, request: web.Request, admitted: Admitted, options: Options) -> None:
        self._world = world
        self._request = request
        self._account = account = admitted.account
        self._mute = admitted.mute
        self._options = options
        self._request_id = str(uuid.uuid4())
        self._intake = Intake(options.encoding, options.rate, options.channels)
        self._within = Within(account.faults, "stt")
        self._received = 0  # samples at 16 kHz
        self._span_start = 0
        self._next_interim = 0
        self._last_interim: Words = ()
        self._speaking = False
        self._seen_onset = -1
        self._pause_ms = 0.0  # how much silence ends the present utterance
        self._sound_ended_at = 0.0  # monotonic, when the last sample with sound arrived
        self._last_word_end: float | None = None  # of a final, until its UtteranceEnd
        self._digest = hashlib.sha256()

    async def run(self) -> web.WebSocketResponse:
        _, protocol = key_of(self._request)
        socket = web.WebSocketResponse(max_msg_size=0, protocols=[protocol] if protocol else [])
        socket.headers["dg-request-id"] = self._request_id
        await socket.prepare(self._request)
        self._socket = socket
        self._outbox = Outbox(self._world, self._request, socket)
        self._ears: Ears = await open_ears(self._account, self._world.recognisers)
        sender = asyncio.create_task(self._outbox.run())
        lurking = asyncio.create_task(
            strike_when_idle(self._world, self._account, "stt", idle=self._is_idle, strike=self._outbox.strike)
        )
        try:
            if await self._receive():
                self._outbox.finish()
                await sender
        finally:
            lurking.cancel()
            sender.cancel()
            await asyncio.gather(sender, lurking, return_exceptions=True)
            await self._ears.aclose()
        return socket

    def _is_idle(self) -> bool:
        return not self._speaking and not self._outbox.pending

    async def _receive(self) -> bool:
        """Until the client is done (True: it still wants to hear the end) or gone."""
        audio_came = False
        last_sign = self._world.monotonic()
        while True:
            try:
                async with asyncio.timeout(max(0.0, last_sign + IDLE_S - self._world.monotonic())):
                    message = await self._socket.receive()
            except TimeoutError:
                await self._socket.close(
                    code=1011,
                    message=b"NET-0001: no audio data or text message was received within the timeout window",
                )
                return False
            if message.type is WSMsgType.BINARY:
                if not message.data:
                    await self._close_stream()
                    return True
                audio_came = True
                last_sign = self._world.monotonic()
                await self._audio(message.data)
            elif message.type is WSMsgType.TEXT:
                command = self._command(message.data)
                if command == "KeepAlive" and audio_came:
                    last_sign = self._world.monotonic()
                elif command == "Finalize":
                    await self._finalize()
                elif command == "CloseStream":
                    await self._close_stream()
                    return True
            else:
                return False

    def _command(self, text: str) -> str | None:
        try:
            body = json.loads(text)
            kind = body["type"]
        except (ValueError, TypeError, KeyError):
            kind = None
            body = {}
        if kind == "Configure":
            if self._options.model.startswith("nova-3") or not body.get("keyterms"):
                reply = {"type": "ConfigureSuccess", "request_id": self._request_id}
                self._outbox.put(reply | ({"keyterms": body["keyterms"]} if "keyterms" in body else {}))
            else:
                self._outbox.put(
                    {
                        "type": "ConfigureFailure",
                        "request_id": self._request_id,
                        "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
                        "description": "Keyterms are supported by Nova-3 only.",
                    }
                )
            return "Configure"
        if kind not in ("KeepAlive", "Finalize", "CloseStream"):
            description = "Could not deserialize last text message"
            error = {"type": "Error", "variant": "SchemaError", "description": description, "message": description}
            self._outbox.put(error)
            return None
        return str(kind)

    async def _audio(self, data: bytes) -> None:
        self._digest.update(data)
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
        if not self._speaking and (activity.sounding or activity.onset > self._seen_onset):
            self._speaking = True
            self._seen_onset = activity.onset
            endpointing = self._options.endpointing_ms or 0
            self._pause_ms = max(_MIN_PAUSE_MS, endpointing + self._account.draw("stt_speech_final") * 1000)
            self._next_interim = activity.onset + self._interim_step
            if self._options.vad_events:
                self._outbox.put({"type": "SpeechStarted", "channel": [0, 1], "timestamp": _s(activity.onset)})
        if self._speaking:
            if self._options.endpointing_ms is not None and activity.silence * 1000 / RATE >= self._pause_ms:
                await self._final(await self._ears.finish(), now, cause_at=self._sound_ended_at, speech_final=True)
            elif self._options.interim_results and self._received >= self._next_interim:
                self._next_interim = self._received + self._interim_step
                words = await self._ears.hypothesis()
                if words and words != self._last_interim:
                    self._last_interim = words
                    self._results(words, now, is_final=False)
        elif self._received - self._span_start >= _SILENT_SPAN_S * RATE:
            self._results((), now, is_final=True)
        limit = self._options.utterance_end_ms
        if limit is None or self._last_word_end is None or self._speaking:
            return
        if _s(self._received) - self._last_word_end >= limit / 1000:
            self._outbox.put({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": self._last_word_end})
            self._last_word_end = None

    @property
    def _interim_step(self) -> int:
        return self._account.settings.stt_interim_ms * RATE // 1000

    async def _finalize(self) -> None:
        now = self._world.monotonic()
        fault = self._account.faults.take("stt", "before")
        delay = self._account.draw("stt_final")
        words = await self._ears.finish()
        if fault is not None:
            self._account.log("stt", "fault", detail={"kind": fault.kind, "moment": fault.moment})
            if fault.kind == "silence":
                self._speaking = False
                return
            if fault.kind == "empty":
                words, fault = (), None
        await self._final(words, now + delay, cause_at=now, from_finalize=True, fault=fault)

    async def _close_stream(self) -> None:
        now = self._world.monotonic()
        words = await self._ears.finish()
        if words:
            await self._final(words, now + self._account.draw("stt_final"), cause_at=now)
        self._outbox.put(
            {
                "type": "Metadata",
                "transaction_key": "deprecated",
                "request_id": self._request_id,
                "sha256": self._digest.hexdigest(),
                "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
                "duration": _s(self._received),
                "channels": self._options.channels,
            }
        )

    async def _final(
        self,
        words: Words,
        due: float,
        *,
        cause_at: float,
        speech_final: bool = False,
        from_finalize: bool = False,
        fault: Fault | None = None,
    ) -> None:
        self._speaking = False
        self._last_interim = ()

        def sent() -> None:
            self._account.log(
                "stt",
                "speech_final" if speech_final else "final",
                request_at=cause_at,
                request_id=self._request_id,
                detail={"words": len(words), "ears": self._ears.name},
            )

        self._results(
            words,
            due,
            is_final=True,
            speech_final=speech_final,
            from_finalize=from_finalize,
            fault=fault,
            after=sent,
        )
        if words:
            self._last_word_end = round(words[-1].end, 3)

    def _results(
        self,
        words: Words,
        due: float,
        *,
        is_final: bool,
        speech_final: bool = False,
        from_finalize: bool = False,
        fault: Fault | None = None,
        after: Any = None,
    ) -> None:
        if self._mute:
            return
        strike = fault
        if strike is None and (strike := self._within.strikes()) is not None:
            self._account.log("stt", "fault", detail={"kind": strike.kind, "moment": strike.moment})
            if strike.kind == "silence":
                self._mute = True
                return
            if strike.kind == "empty":
                words, strike = (), None
        start = self._span_start
        message = {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": round((self._received - start) / RATE, 3),
            "start": _s(start),
            "is_final": is_final,
            "speech_final": speech_final,
            "channel": {"alternatives": [alternative(words, punctuate=self._options.punctuate, ended=is_final)]},
            "metadata": {
                "request_id": self._request_id,
                "model_info": {"name": self._ears.name, "version": "0", "arch": "stand-in"},
                "model_uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, self._ears.name)),
            },
            "from_finalize": from_finalize,
        }
        if is_final:
            self._span_start = self._received
        self._outbox.put(message, due=due, fault=strike, after=after)


def alternative(words: Words, *, punctuate: bool, ended: bool = True) -> dict[str, Any]:
    """Words as one of Deepgram's alternatives."""
    shown = punctuated(words, ended=ended) if punctuate else [word.text for word in words]
    return {
        "transcript": " ".join(shown),
        "confidence": round(sum(word.confidence for word in words) / len(words), 4) if words else 0.0,
        "words": [
            {
                "word": re.sub(r"[^\w'’-]", "", word.text.lower()) or word.text,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            | ({"punctuated_word": text} if punctuate else {})
            for word, text in zip(words, shown, strict=True)
        ],
    }


def punctuated(words: Words, *, ended: bool = True) -> Sequence[str]:
    """Words as Deepgram's punctuation would write them; those with punctuation of their own stay as they are."""
    texts = [word.text for word in words]
    if not texts or any(text != text.lower() or not text[-1].isalnum() for text in texts):
        return texts
    texts = [text.capitalize() if _CAPITAL.fullmatch(text) else text for text in texts]
    if ended:
        texts[-1] += "?" if _QUESTION.match(texts[0]) else "."
    texts[0] = texts[0][0].upper() + texts[0][1:]
    return texts


def _s(samples: int) -> float:
    return round(samples / RATE, 3)
