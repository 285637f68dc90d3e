"""Speech in one HTTP request, as the vendors' SDKs and a plain client get it."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment

from callwright.simulators.account import AccountSettings, Delay
from callwright.simulators.faults import POSSIBLE_IN_BATCH, Fault, Kind, Moment
from callwright.simulators.server import VendorServer

pytestmark = pytest.mark.skipif(
    shutil.which("flite") is None and shutil.which("espeak-ng") is None, reason="no speech engine is installed"
)
RATE = 16000
TEXT = "One moment, please."
PATIENCE_S = 1.0


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    default = AccountSettings(ears="oracle", speed=0, keep_speech=True, tts_leading_silence_ms=(200, 200))
    async with VendorServer(default=default) as server:
        yield server


def cartesia(**change: Any) -> dict[str, Any]:
    form = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE}
    voice = {"mode": "id", "id": "slt"}
    body = {"model_id": "sonic-3.6", "transcript": TEXT, "voice": voice, "output_format": form, "language": "en"}
    headers = {"X-API-Key": "k", "Cartesia-Version": "2026-03-01"}
    return {"url": "/tts/bytes", "json": body | change, "headers": headers}


def aura(text: Any = TEXT, key: str = "k", **query: Any) -> dict[str, Any]:
    params = {"model": "aura-2-thalia-en", "encoding": "linear16", "sample_rate": str(RATE), "container": "none"}
    return {
        "url": "/v1/speak",
        "params": params | query,
        "json": {"text": text},
        "headers": {"Authorization": f"Token {key}"},
    }


async def post(server: VendorServer, order: dict[str, Any], patience_s: float = 20) -> tuple[int, Any, bytes]:
    """Status, headers and body. Raises aiohttp's errors for a body that breaks off."""
    timeout = aiohttp.ClientTimeout(sock_read=patience_s)
    async with (
        aiohttp.ClientSession(server.url, timeout=timeout) as http,
        http.post(order["url"], **{name: value for name, value in order.items() if name != "url"}) as response,
    ):
        return response.status, response.headers, await response.read()


@pytest.mark.parametrize("order", [cartesia(), aura()], ids=["cartesia", "aura"])
async def test_a_line_is_rendered_whole_with_its_silence_and_logged_by_its_characters(
    server: VendorServer, order: dict[str, Any]
) -> None:
    status, _, body = await post(server, order)
    assert status == 200
    pcm = np.abs(np.frombuffer(body, dtype="<i2").astype(int))
    assert pcm[: RATE // 5].max() == 0
    assert pcm.max() > 1500
    account = server.accounts.get("k")
    (line,) = account.served
    assert (line.stage, line.what, line.detail["whole"]) == ("tts", "batch", True)
    assert (line.detail["characters"], line.detail["samples"]) == (len(TEXT), len(pcm))
    assert line.leading_silence_ms >= 200
    (kept,) = [production.so_far() for production in account.speech]
    assert (kept.text, kept.pcm, kept.context_id) == (TEXT, body, line.context_id)
    assert kept.context_id.startswith("batch-")
    assert [word.text for word in kept.words] == TEXT.split()


async def test_deepgrams_own_sdk_gets_wav(server: VendorServer) -> None:
    environment = DeepgramClientEnvironment(
        base=server.url, production=server.ws_url, agent=server.ws_url, agent_rest=server.url
    )
    client = AsyncDeepgramClient(api_key="k", environment=environment)
    stream = client.speak.v1.audio.generate(
        text=TEXT, model="aura-2-thalia-en", encoding="linear16", sample_rate=RATE, container="wav"
    )
    audio = b"".join([chunk async for chunk in stream])
    assert (audio[:4], audio[8:12]) == (b"RIFF", b"WAVE")
    assert len(audio) > RATE


async def test_first_audio_waits_for_the_delay_and_the_rest_is_paced(server: VendorServer) -> None:
    await post(server, aura())  # rendered once
    settings = AccountSettings(ears="oracle", tts_first_audio=Delay(300, 300), tts_pace=4.0)
    server.accounts.configure("k", settings)
    began = time.monotonic()
    _, _, body = await post(server, aura())
    assert time.monotonic() - began >= 0.3 + (len(body) / 2 / RATE - 0.1) / 4 - 0.05
    line = server.accounts.get("k").served[-1]
    assert line.delay_ms >= 300


async def test_what_is_rendered_beforehand_shifts_no_delay_of_a_call(server: VendorServer) -> None:
    drawn = []
    for batches in (0, 2):
        account = server.accounts.configure("k", AccountSettings(ears="oracle", speed=0, seed=5))
        for _ in range(batches):
            await post(server, cartesia())
        account.settings = account.settings.model_copy(update={"speed": 1.0})
        drawn.append(account.draw("tts_first_audio"))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("order", "status", "words"),
    [
        (cartesia(model_id="tenor-1"), 404, b"model_not_found"),
        (cartesia(transcript=" "), 400, b"nothing to say"),
        (cartesia(output_format={"container": "mp3", "sample_rate": RATE}), 400, b"mp3 is not served"),
        (aura(text=""), 400, b"no characters"),
        (aura(text=None), 400, b"could not process the JSON payload"),
        (aura(text="x" * 2001), 413, b"character limit of 2000"),
        (aura(encoding="opus"), 400, b"INVALID_QUERY_PARAMETER"),
        (aura(container="ogg"), 400, b"UNSUPPORTED_AUDIO_FORMAT"),
        (aura(key="refused"), 401, b"INVALID_AUTH"),
    ],
)
async def test_a_wrong_request_is_refused_in_the_vendors_form(
    server: VendorServer, order: dict[str, Any], status: int, words: bytes
) -> None:
    got, _, body = await post(server, order)
    assert (got, words in body) == (status, True), body


@pytest.mark.parametrize("order", [cartesia(), aura()], ids=["cartesia", "aura"])
@pytest.mark.parametrize(
    ("moment", "kind"), [(moment, kind) for moment, kinds in POSSIBLE_IN_BATCH.items() for kind in kinds]
)
async def test_a_fault_is_what_it_says(server: VendorServer, order: dict[str, Any], moment: Moment, kind: Kind) -> None:
    _, _, whole = await post(server, order)
    more: dict[str, Any] = {"stall_s": 0.3} if kind == "stall" else {}
    more |= {"status": 429, "retry_after": 600} if kind == "status" else {}
    more |= {"after": 2} if moment == "within" else {}
    more |= {"pace": 2.0} if kind == "trickle" else {}
    faults = server.accounts.get("k").faults
    faults.add(Fault.model_validate({"stage": "tts", "moment": moment, "kind": kind, "batch": True} | more))
    began = time.monotonic()
    if kind in ("drop", "refuse_connect", "silence"):
        with pytest.raises((aiohttp.ClientError, TimeoutError)) as caught:
            await post(server, order, PATIENCE_S)
        assert isinstance(caught.value, TimeoutError) == (kind == "silence")
    else:
        status, headers, body = await post(server, order)
        took = time.monotonic() - began
        if kind == "status":
            assert (status, headers["Retry-After"]) == (429, "600")
        elif kind in ("stall", "trickle"):
            assert body == whole
            assert took >= 0.29
        else:
            chunk = RATE // 10 * 2
            assert (status, len(body)) == (200, 2 * chunk if moment == "within" else 0)
    assert faults.pending == ()
    assert (await post(server, order))[2] == whole  # it struck once


async def test_a_fault_of_live_speech_spares_batches(server: VendorServer) -> None:
    faults = server.accounts.get("k").faults
    for moment in ("connect", "before", "within"):
        faults.add(Fault.model_validate({"stage": "tts", "kind": "drop", "moment": moment}))
    assert (await post(server, cartesia()))[0] == (await post(server, aura()))[0] == 200
    assert len(faults.pending) == 3
