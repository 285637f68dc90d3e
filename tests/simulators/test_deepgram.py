"""Deepgram v1 as its own SDK and a raw socket see it."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
from deepgram import AsyncDeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment

from callwright.simulators import deepgram
from callwright.simulators.account import AccountSettings, Delay, SpokenWord, Utterance
from callwright.simulators.faults import Fault
from callwright.simulators.server import VendorServer
from callwright.simulators.voice import Voice

RATE = 16000
FAST = AccountSettings(ears="oracle", speed=0)
QUERY = "model=nova-3&encoding=linear16&sample_rate=16000&interim_results=true&punctuate=true"
ORDER = Utterance(
    text="Book it, please.",
    words=(
        SpokenWord(word="book", start=0, end=0.3),
        SpokenWord(word="it", start=0.3, end=0.5),
        SpokenWord(word="please", start=0.5, end=0.9),
    ),
    duration=1.0,
)


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer(default=FAST) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def sound(seconds: float) -> bytes:
    return (5000 * np.sin(np.arange(round(seconds * RATE)) / 17)).astype("<i2").tobytes()


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def connect(http: aiohttp.ClientSession, server: VendorServer, key: str = "k", more: str = "") -> Any:
    return http.ws_connect(f"{server.ws_url}/v1/listen?{QUERY}{more}", headers={"Authorization": f"Token {key}"})


async def everything(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    return [json.loads(message.data) async for message in socket]


async def result(socket: aiohttp.ClientWebSocketResponse, *, final: bool = True) -> dict[str, Any]:
    """The next (final) Results."""
    while True:
        message = json.loads(await socket.receive_str(timeout=5))
        if message["type"] == "Results" and message["is_final"] >= final:
            return message


def transcript(message: dict[str, Any]) -> str:
    return message["channel"]["alternatives"][0]["transcript"]


def sdk(server: VendorServer, key: str) -> AsyncDeepgramClient:
    environment = DeepgramClientEnvironment(
        base=server.url, production=server.ws_url, agent=server.ws_url, agent_rest=server.url
    )
    return AsyncDeepgramClient(api_key=key, environment=environment)


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
async def test_the_vendors_sdk_gets_a_transcript_of_real_speech(server: VendorServer) -> None:
    server.accounts.configure("real", AccountSettings(ears="pocketsphinx", speed=0))
    speech = await Voice().speak("My name is John Carter.", voice="rms", rate=RATE)
    async with sdk(server, "real").listen.v1.connect(
        model="nova-3-general",
        encoding="linear16",
        sample_rate="16000",
        interim_results="true",
        punctuate="true",
        endpointing="false",
    ) as socket:
        await socket.send_media(speech.pcm + silence(0.2))
        await socket.send_finalize()
        await socket.send_close_stream()
        messages = [message async for message in socket]
    finals = [message for message in messages if message.type == "Results" and message.is_final]
    assert finals[0].channel.alternatives[0].transcript == "My name is john carter."
    assert finals[0].from_finalize
    assert finals[0].metadata.model_info.name == "pocketsphinx"
    assert messages[-1].type == "Metadata"
    assert messages[-1].duration == pytest.approx(speech.duration + 0.2, abs=0.01)


async def test_the_vendors_sdk_sees_a_refused_key_as_401(server: VendorServer) -> None:
    with pytest.raises(ApiError) as refused:
        async with sdk(server, "refused-key").listen.v1.connect(
            model="nova-3", encoding="linear16", sample_rate="16000"
        ):
            pass
    assert refused.value.status_code == 401


async def test_oracle_transcripts_are_labelled_and_grow_with_the_audio(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    server.accounts.get("k").announce(ORDER)
    async with connect(http, server) as socket:
        await socket.send_bytes(silence(0.3) + sound(0.4))
        interim = await result(socket, final=False)
        assert transcript(interim) == "Book"
        assert interim["metadata"]["model_info"]["name"] == "oracle"
        await socket.send_bytes(sound(0.6))
        await socket.send_json({"type": "Finalize"})
        final = await result(socket)
    assert (transcript(final), final["from_finalize"], final["speech_final"]) == ("Book it, please.", True, False)
    word = final["channel"]["alternatives"][0]["words"][1]
    assert (word["word"], word["punctuated_word"]) == ("it", "it,")
    assert word["start"] == pytest.approx(0.6, abs=0.03)


async def test_finals_cover_the_stream_without_gap_or_overlap(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with connect(http, server, more="&endpointing=100") as socket:
        for _ in range(4):
            server.accounts.get("k").announce(ORDER)
            await socket.send_bytes(sound(1.0) + silence(0.8))
        await socket.send_json({"type": "Finalize"})
        await socket.send_json({"type": "CloseStream"})
        finals = [m for m in await everything(socket) if m["type"] == "Results" and m["is_final"]]
    edge = 0.0
    for final in finals:
        assert final["start"] == pytest.approx(edge, abs=0.002)
        edge = final["start"] + final["duration"]
    assert edge == pytest.approx(7.2, abs=0.01)
    assert [transcript(final) for final in finals if final["speech_final"]] == ["Book it, please."] * 4


async def test_silence_after_speech_ends_it_and_is_followed_by_utterance_end(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    server.accounts.get("k").announce(ORDER)
    async with connect(http, server, more="&vad_events=true&utterance_end_ms=1000&endpointing=300") as socket:
        await socket.send_bytes(silence(0.5) + sound(1.0) + silence(1.5))
        await socket.send_json({"type": "CloseStream"})
        messages = await everything(socket)
    kinds = [m["type"] for m in messages if m["type"] != "Results" or m["is_final"]]
    assert kinds == ["SpeechStarted", "Results", "UtteranceEnd", "Metadata"]
    assert messages[0]["timestamp"] == pytest.approx(0.5, abs=0.02)
    end = next(m for m in messages if m["type"] == "UtteranceEnd")
    assert end["last_word_end"] == pytest.approx(1.4, abs=0.03)


async def test_without_endpointing_only_finalize_ends_speech(server: VendorServer, http: aiohttp.ClientSession) -> None:
    server.accounts.get("k").announce(ORDER)
    async with connect(http, server, more="&endpointing=false") as socket:
        await socket.send_bytes(sound(1.0) + silence(2.0))
        await socket.send_json({"type": "Finalize"})
        final = await result(socket)
    assert (transcript(final), final["speech_final"]) == ("Book it, please.", False)


async def test_finalize_with_nothing_to_say_gives_an_empty_final(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with connect(http, server) as socket:
        await socket.send_bytes(silence(0.2))
        await socket.send_json({"type": "Finalize"})
        final = await result(socket)
    assert (transcript(final), final["from_finalize"]) == ("", True)


async def test_the_ordered_delay_is_kept_and_noted_as_really_served(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.configure("k", AccountSettings(ears="oracle", stt_final=Delay(120, 120)))
    async with connect(http, server) as socket:
        await socket.send_bytes(silence(0.2))
        asked = time.monotonic()
        await socket.send_json({"type": "Finalize"})
        await result(socket)
        waited = (time.monotonic() - asked) * 1000
    (line,) = account.served
    assert (line.stage, line.what) == ("stt", "final")
    assert 119 <= line.delay_ms <= waited + 1


async def test_audio_goes_on_while_a_final_is_pending(server: VendorServer, http: aiohttp.ClientSession) -> None:
    account = server.accounts.configure(
        "k", AccountSettings(ears="oracle", stt_final=Delay(100, 100), stt_speech_final=Delay(0, 0))
    )
    async with connect(http, server) as socket:
        await socket.send_bytes(silence(0.1))
        await socket.send_json({"type": "Finalize"})
        account.announce(ORDER)
        await socket.send_bytes(sound(1.0))
        await socket.send_json({"type": "Finalize"})
        finals = [await result(socket), await result(socket)]
    assert [transcript(final) for final in finals] == ["", "Book it, please."]


async def test_a_stream_that_goes_quiet_is_closed_with_net_0001(
    server: VendorServer, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepgram, "IDLE_S", 0.3)
    async with connect(http, server) as socket:
        await socket.send_json({"type": "KeepAlive"})  # does not hold a stream without any audio
        message = await socket.receive(timeout=3)
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1011)
    assert message.extra is not None
    assert message.extra.startswith("NET-0001")


async def test_keepalive_holds_a_stream_that_has_had_audio(
    server: VendorServer, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepgram, "IDLE_S", 0.4)
    async with connect(http, server) as socket:
        await socket.send_bytes(silence(0.1))
        for _ in range(4):
            await asyncio.sleep(0.2)
            await socket.send_json({"type": "KeepAlive"})
        await socket.send_json({"type": "CloseStream"})
        assert [m["type"] for m in await everything(socket)] == ["Metadata"]
        assert socket.close_code == 1000


async def test_a_message_that_cannot_be_read_gets_a_schema_error(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with connect(http, server) as socket:
        await socket.send_str("what?")
        error = json.loads(await socket.receive_str(timeout=3))
        await socket.send_json({"type": "Configure", "keyterms": ["Carter"]})
        success = json.loads(await socket.receive_str(timeout=3))
    assert (error["type"], error["variant"]) == ("Error", "SchemaError")
    assert (success["type"], success["keyterms"]) == ("ConfigureSuccess", ["Carter"])


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("model=nova-9000x!&encoding=linear16&sample_rate=16000", "No such model"),
        ("model=nova-3&encoding=linear16", "sample_rate"),
        ("model=nova-3&encoding=smoke&sample_rate=16000", "encoding"),
        ("model=nova-3&encoding=linear16&sample_rate=16000&utterance_end_ms=1000", "interim_results"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_name(
    server: VendorServer, http: aiohttp.ClientSession, query: str, complaint: str
) -> None:
    async with http.get(f"{server.url}/v1/listen?{query}", headers={"Authorization": "Token k"}) as response:
        assert response.status == 400
        assert complaint in (await response.json())["err_msg"]
        assert complaint in response.headers["dg-error"]


async def test_a_browser_may_show_its_key_as_a_subprotocol(server: VendorServer, http: aiohttp.ClientSession) -> None:
    async with http.ws_connect(f"{server.ws_url}/v1/listen?{QUERY}", protocols=("token", "k")) as socket:
        assert socket.protocol == "token"
    async with http.get(f"{server.url}/v1/listen?{QUERY}") as response:
        assert (response.status, (await response.json())["err_code"]) == (401, "INVALID_AUTH")


async def test_telephone_audio_is_understood(server: VendorServer, http: aiohttp.ClientSession) -> None:
    from callwright.simulators.encodings import encode

    server.accounts.get("k").announce(ORDER)
    query = "model=nova-3&encoding=mulaw&sample_rate=8000"
    loud = (8000 * np.sin(np.arange(8000) / 9)).astype(np.int16)
    async with http.ws_connect(f"{server.ws_url}/v1/listen?{query}", headers={"Authorization": "Token k"}) as socket:
        await socket.send_bytes(encode(loud, "pcm_mulaw"))
        await socket.send_json({"type": "Finalize"})
        assert transcript(await result(socket)) == "Book it, please."


@pytest.mark.parametrize("status", [402, 403, 429, 503])
async def test_an_ordered_refusal_comes_in_the_vendors_form(
    server: VendorServer, http: aiohttp.ClientSession, status: int
) -> None:
    faults = server.accounts.get("k").faults
    faults.add(Fault(stage="stt", kind="status", moment="connect", status=status, retry_after=3))
    async with http.get(f"{server.url}/v1/listen?{QUERY}", headers={"Authorization": "Token k"}) as response:
        assert response.status == status
        assert "err_msg" in await response.json()
        assert response.headers["Retry-After"] == "3"
    async with connect(http, server):  # once only
        pass


async def test_finalize_may_stay_unanswered_or_come_back_empty_or_drop_the_line(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.get("k")
    for kind in ("silence", "empty"):
        account.faults.add(Fault(stage="stt", kind=kind))
    account.faults.add(Fault(stage="stt", kind="drop", close_code=1011))
    async with connect(http, server, more="&endpointing=false") as socket:
        for _ in range(3):
            account.announce(ORDER)
            await socket.send_bytes(sound(1.0) + silence(0.5))
            await socket.send_json({"type": "Finalize"})
        finals = [m for m in await everything(socket) if m.get("is_final")]
        assert [transcript(final) for final in finals] == [""]
        assert socket.close_code == 1011


async def test_a_line_torn_down_in_mid_stream_is_1006(server: VendorServer, http: aiohttp.ClientSession) -> None:
    account = server.accounts.get("k")
    account.faults.add(Fault(stage="stt", kind="drop", moment="within", after=1))
    async with connect(http, server) as socket:
        await socket.send_bytes(silence(0.1))
        for _ in range(2):
            await socket.send_json({"type": "Finalize"})
        assert len(await everything(socket)) == 1
        assert socket.close_code == 1006


async def test_a_client_that_leaves_while_the_vendor_is_stuck_leaves_nothing_behind(
    http: aiohttp.ClientSession,
) -> None:
    before = asyncio.all_tasks()
    began = time.monotonic()
    async with VendorServer(default=FAST) as server:
        server.accounts.get("k").faults.add(Fault(stage="stt", kind="stall"))
        async with connect(http, server) as socket:
            await socket.send_bytes(silence(0.1))
            await socket.send_json({"type": "Finalize"})
            await socket.send_json({"type": "CloseStream"})
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.1)
    assert asyncio.all_tasks() == before
    assert time.monotonic() - began < 5
