"""A fixed line, synthesized in one request: what a vendor's batch endpoint is asked, and what may come back.

Facts from the vendors' documents as of 2026-10. Every function gives s16le mono at the asked rate.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from callwright.vendors.endpoint import Root
from callwright.vendors.row import Settings

LONGEST_S = 60
"""A line that sounds longer is none: what a server sends beyond that is not read."""


class RenderError(Exception):
    """A line could not be rendered; `category` says why, in the words of Pipecat's `ErrorCategory`."""

    def __init__(self, category: str) -> None:
        super().__init__(category)
        self.category = category


async def cartesia(
    client: httpx.AsyncClient, root: Root, key: str, model: str, settings: Settings, text: str, rate: int
) -> bytes:
    """`POST /tts/bytes`."""
    body: dict[str, Any] = {
        "model_id": model,
        "transcript": text,
        "voice": {"mode": "id", "id": settings.get("voice")},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": rate},
    }
    body |= _given(settings, "language", "pronunciation_dict_id")
    if generation := _given(settings, "speed", "volume", "emotion"):
        body["generation_config"] = generation
    headers = {"X-API-Key": key, "Cartesia-Version": "2026-03-01"}
    return await _pcm(client, f"{root.http}/tts/bytes", rate, json=body, headers=headers)


async def deepgram(
    client: httpx.AsyncClient, root: Root, key: str, model: str, settings: Settings, text: str, rate: int
) -> bytes:
    """`POST /v1/speak`; the voice's name is what Deepgram calls the model."""
    query: dict[str, Any] = {"model": settings.get("voice"), "encoding": "linear16", "sample_rate": rate}
    query |= {"container": "none", **_given(settings, "speed")}
    if settings.get("mip_opt_out") is not None:
        query["mip_opt_out"] = str(settings["mip_opt_out"]).lower()
    headers = {"Authorization": f"Token {key}"}
    return await _pcm(client, f"{root.http}/v1/speak", rate, params=query, json={"text": text}, headers=headers)


async def elevenlabs(
    client: httpx.AsyncClient, root: Root, key: str, model: str, settings: Settings, text: str, rate: int
) -> bytes:
    """`POST /v1/text-to-speech/{voice}`."""
    body: dict[str, Any] = {"text": text, "model_id": model, **_given(settings, "apply_text_normalization")}
    if settings.get("language") is not None:
        body["language_code"] = settings["language"]
    if tone := _given(settings, "stability", "similarity_boost", "style", "use_speaker_boost", "speed"):
        body["voice_settings"] = tone
    query: dict[str, Any] = {"output_format": f"pcm_{rate}"}
    if settings.get("enable_logging") is not None:
        query["enable_logging"] = str(settings["enable_logging"]).lower()
    url = f"{root.http}/v1/text-to-speech/{quote(str(settings.get('voice')), safe='')}"
    return await _pcm(client, url, rate, params=query, json=body, headers={"xi-api-key": key})


def _given(settings: Settings, *names: str) -> dict[str, Any]:
    return {name: settings[name] for name in names if settings.get(name) is not None}


async def _pcm(client: httpx.AsyncClient, url: str, rate: int, **request: Any) -> bytes:
    """The body of the answer, if it can be sound; it is a stranger's, so that neither length nor kind is trusted."""
    from pipecat.utils.errors import classify_http_status_code

    limit, pcm = 2 * rate * LONGEST_S, bytearray()
    try:
        async with client.stream("POST", url, **request) as answer:
            if answer.status_code != 200:
                raise RenderError(classify_http_status_code(answer.status_code).value)
            if "json" in answer.headers.get("content-type", ""):
                raise RenderError("malformed")
            async for chunk in answer.aiter_bytes():
                pcm += chunk
                if len(pcm) > limit:
                    raise RenderError("malformed")
    except httpx.TimeoutException:
        raise RenderError("timeout") from None
    except httpx.HTTPError:
        raise RenderError("connectivity") from None
    if not pcm or len(pcm) % 2 or pcm.startswith(b"RIFF"):
        raise RenderError("malformed")
    return bytes(pcm)
