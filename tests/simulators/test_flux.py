"""Flux tells turns apart; its events come in the order the vendor promises."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment

from callwright.simulators.account import AccountSettings, Delay, SpokenWord, Utterance
from callwright.simulators.faults import Fault
from callwright.simulators.server import VendorServer

RATE = 16000
QUERY = "model=flux-general-en&encoding=linear16&sample_rate=16000"
SETTINGS = AccountSettings(ears="oracle", flux_end_of_turn=Delay(600, 600))
HELLO = Utterance(
    text="Hello there.",
    words=(SpokenWord(word="hello", start=0, end=0.4), SpokenWord(word="there", start=0.4, end=0.9)),
    duration=1.0,
)


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer(default=SETTINGS) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def sound(seconds: float) -> bytes:
    return (5000 * np.sin(np.arange(round(seconds * RATE)) / 17)).astype("<i2").tobytes()


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def connect(http: aiohttp.ClientSession, server: VendorServer, more: str = "") -> Any:
    return http.ws_connect(f"{server.ws_url}/v2/listen?{QUERY}{more}", headers={"Authorization": "Token k"})


async def everything(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    await socket.send_json({"type": "CloseStream"})
    return [json.loads(message.data) async for message in socket]


def events(messages: list[dict[str, Any]]) -> list[str]:
    return [m["event"] for m in messages if m["type"] == "TurnInfo" and m["event"] != "Update"]


async def test_the_vendors_sdk_sees_a_turn(server: VendorServer) -> None:
    environment = DeepgramClientEnvironment(
        base=server.url, production=server.ws_url, agent=server.ws_url, agent_rest=server.url
    )
    client = AsyncDeepgramClient(api_key="k", environment=environment)
    server.accounts.get("k").announce(HELLO)
    async with client.listen.v2.connect(model="flux-general-en", encoding="linear16", sample_rate="16000") as socket:
        await socket.send_media(sound(1.0) + silence(1.0))
        await socket.send_close_stream()
        messages = [message async for message in socket]
    assert messages[0].type == "Connected"
    assert messages[-1].event == "EndOfTurn"
    assert messages[-1].transcript == "Hello there."
    assert messages[-1].trigger == "model"


async def test_every_message_is_numbered_and_transcripts_grow_within_a_turn(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with connect(http, server) as socket:
        for _ in range(2):
            server.accounts.get("k").announce(HELLO)
            await socket.send_bytes(sound(1.0) + silence(1.0))
        messages = await everything(socket)
        assert socket.close_code == 1000
    assert [m["sequence_id"] for m in messages] == list(range(len(messages)))
    assert len({m["request_id"] for m in messages}) == 1
    assert events(messages) == ["StartOfTurn", "EndOfTurn"] * 2
    for turn in (0, 1):
        texts = [m["transcript"] for m in messages if m.get("turn_index") == turn]
        assert texts[0]
        assert texts[-1] == "Hello there."
        assert all("Hello there.".startswith(text) for text in texts)


async def test_an_end_is_announced_early_and_taken_back_when_speech_goes_on(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    long = HELLO.model_copy(
        update={
            "text": "Hello there. Friend.",
            "words": (*HELLO.words, SpokenWord(word="friend", start=1.6, end=2.0)),
            "duration": 2.1,
        }
    )
    server.accounts.get("k").announce(long)
    async with connect(http, server, "&eager_eot_threshold=0.4") as socket:
        await socket.send_bytes(sound(1.0) + silence(0.5) + sound(0.6) + silence(1.0))
        messages = await everything(socket)
    assert events(messages) == ["StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EagerEndOfTurn", "EndOfTurn"]
    eager, end = [m for m in messages if m.get("event") in ("EagerEndOfTurn", "EndOfTurn")][-2:]
    assert eager["transcript"] == end["transcript"] == "Hello there. Friend."


async def test_the_wait_for_the_end_is_the_drawn_one_and_is_noted(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.get("k")
    account.announce(HELLO)
    async with connect(http, server) as socket:
        await socket.send_bytes(sound(1.0) + silence(1.0))
        messages = await everything(socket)
    end = messages[-1]
    assert end["audio_window_end"] == pytest.approx(1.6, abs=0.11)
    assert [line.what for line in account.served] == ["turn_end"]


async def test_at_threshold_one_only_the_timeout_or_the_client_ends_a_turn(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.get("k")
    async with connect(http, server, "&eot_threshold=1.0&eot_timeout_ms=1500") as socket:
        account.announce(HELLO)
        await socket.send_bytes(sound(1.0) + silence(2.0))
        account.announce(HELLO)
        await socket.send_bytes(sound(1.0) + silence(1.0))
        await socket.send_json({"type": "ForceEndTurn"})
        messages = await everything(socket)
    assert [m["trigger"] for m in messages if m.get("event") == "EndOfTurn"] == ["timeout", "manual"]


async def test_thresholds_are_changed_while_connected_and_wrong_ones_refused(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with connect(http, server) as socket:
        await socket.send_json({"type": "Configure", "thresholds": {"eot_threshold": 0.8}, "keyterms": ["Carter"]})
        await socket.send_json({"type": "Configure", "thresholds": {"eot_threshold": 3}})
        messages = await everything(socket)
    assert [m["type"] for m in messages] == ["Connected", "ConfigureSuccess", "ConfigureFailure"]
    assert messages[1]["thresholds"]["eot_threshold"] == 0.8


async def test_a_message_that_cannot_be_read_is_fatal(server: VendorServer, http: aiohttp.ClientSession) -> None:
    async with connect(http, server) as socket:
        await socket.send_str("what?")
        messages = [json.loads(message.data) async for message in socket]
    assert (messages[-1]["type"], messages[-1]["code"]) == ("Error", "UNPARSABLE_CLIENT_MESSAGE")


@pytest.mark.parametrize("query", ["model=nova-3&encoding=linear16&sample_rate=16000", f"{QUERY}&eot_threshold=2"])
async def test_a_wrong_parameter_is_refused(server: VendorServer, http: aiohttp.ClientSession, query: str) -> None:
    async with http.get(f"{server.url}/v2/listen?{query}", headers={"Authorization": "Token k"}) as response:
        assert response.status == 400
        assert response.headers["dg-error"].startswith("Bad Request")


async def test_an_ordered_error_is_told_and_then_closes_the_line(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.get("k")
    account.faults.add(Fault(stage="stt", kind="status", moment="within", after=2, status=500))
    account.announce(HELLO)
    async with connect(http, server) as socket:
        await socket.send_bytes(sound(1.0) + silence(1.0))
        messages = [json.loads(message.data) async for message in socket]
        assert socket.close_code == 1011
    assert [m["type"] for m in messages] == ["Connected", "TurnInfo", "Error"]


async def test_a_connection_may_never_say_hello(server: VendorServer, http: aiohttp.ClientSession) -> None:
    server.accounts.get("k").faults.add(Fault(stage="stt", kind="silence", moment="connect"))
    async with connect(http, server) as socket:
        await socket.send_bytes(silence(0.5))
        assert await everything(socket) == []
