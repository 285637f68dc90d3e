"""Deepgram's Aura in one HTTP request: `POST /v1/speak` with {"text": …}, answered with audio.

Follows Deepgram's OpenAPI description as its SDK 7.16 has it and its page on errors; the wording of the refusals of a
text (empty, or over 2,000 characters) is not documented. Raw samples and WAV are served, compressed audio is not.
"""

from __future__ import annotations

import json
import uuid

from aiohttp import web

from callwright.simulators.account import World
from callwright.simulators.batch import Order, deliver
from callwright.simulators.deepgram import key_of, refusal
from callwright.simulators.deepgram_speak import Options
from callwright.simulators.encodings import wav_header
from callwright.simulators.errors import SimulatorError
from callwright.simulators.speaking import at_the_door

_MOST_CHARACTERS = 2000
_TYPES = {"pcm_s16le": "audio/l16", "pcm_mulaw": "audio/mulaw", "pcm_alaw": "audio/alaw"}


def routes(world: World) -> list[web.RouteDef]:
    async def speak(request: web.Request) -> web.StreamResponse:
        account = world.accounts.find(key_of(request)[0])
        if account is None:
            return refusal(401)
        refused = await at_the_door(world, request, account, refusal, batch=True)
        if refused is not None:
            return refused
        try:
            options, container = _options(request)
            text = _text(await request.read())
        except ValueError as error:
            account.log("tts", "refused", detail={"status": 400})
            return refusal(400, str(error))
        if len(text) > _MOST_CHARACTERS:
            account.log("tts", "refused", detail={"status": 413})
            return refusal(413)
        head = wav_header(options.encoding, options.rate) if container == "wav" else b""
        headers = {
            "Content-Type": "audio/wav" if container == "wav" else f"{_TYPES[options.encoding]};rate={options.rate}",
            "dg-request-id": str(uuid.uuid4()),
            "dg-model-name": options.model,
            "dg-char-count": str(len(text)),
        }
        order = Order(text, options.model, options.rate, options.encoding, speed=options.speed, head=head)
        try:
            return await deliver(world, request, account, order, headers, refusal)
        except SimulatorError:
            account.log("tts", "failed", detail={"status": 500})
            return refusal(500)

    return [web.post("/v1/speak", speak)]


def _options(request: web.Request) -> tuple[Options, str]:
    """Raises ValueError with Deepgram's sort of sentence."""
    if "encoding" not in request.query:
        raise ValueError("Bad Request: the vendor's default encoding, mp3, is not served here; linear16 is")
    container = request.query.get("container", "wav")
    if container not in ("wav", "none"):
        raise ValueError(f"UNSUPPORTED_AUDIO_FORMAT: container={container}: wav or none is needed")
    return Options.read(request.query), container


def _text(body: bytes) -> str:
    try:
        text = json.loads(body)["text"]
    except (ValueError, TypeError, KeyError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise ValueError("Content-type was application/json, but we could not process the JSON payload.")
    if not text.strip():
        raise ValueError("Bad Request: the text has no characters")
    return text
