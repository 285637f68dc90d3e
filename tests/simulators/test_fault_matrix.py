"""Every fault that can be ordered is obeyed by every stand-in of its stage: what the client gets, fault by fault."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
import pytest

from callwright.simulators.account import Account, AccountSettings, SpokenWord, Utterance
from callwright.simulators.faults import POSSIBLE, Fault, Kind, Moment, Stage
from callwright.simulators.server import VendorServer

pytestmark = pytest.mark.skipif(
    shutil.which("flite") is None and shutil.which("espeak-ng") is None, reason="no speech engine is installed"
)
STALL_S = 0.3
PATIENCE_S = 1.0  # of a client that gives up; everything that comes at all comes at once
VENDORS: dict[str, Stage] = {
    "deepgram": "stt",
    "flux": "stt",
    "anthropic": "llm",
    "openai": "llm",
    "cartesia": "tts",
    "aura": "tts",
}
CASES = [
    (vendor, moment, kind)
    for vendor, stage in VENDORS.items()
    for (at, moment), kinds in POSSIBLE.items()
    for kind in kinds
    if at == stage
]


@dataclass
class Got:
    """What one client got of one request. `code` is the socket's close code, None while it stays open."""

    status: int = 200
    pieces: int = 0  # words, tokens or chunks of audio
    ended: bool = False  # with the vendor's own end marker
    error: bool = False  # told in the vendor's form
    garbled: bool = False
    code: int | None = None
    silent: bool = False  # the client gave up
    longest_s: float = 0.0  # between two messages
    headers: dict[str, str] = field(default_factory=dict)
    patience_s: float = PATIENCE_S


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer(default=AccountSettings(ears="oracle", speed=0)) as server:
        yield server


async def messages(socket: aiohttp.ClientWebSocketResponse, got: Got, asked: float | None = None) -> AsyncIterator[Any]:
    """Messages until the connection ends or nothing comes for longer than a client waits."""
    while True:
        began, asked = asked or time.monotonic(), None
        try:
            message = await socket.receive(timeout=got.patience_s)
        except TimeoutError:
            got.silent = True
            return
        got.longest_s = max(got.longest_s, time.monotonic() - began)
        if message.type is aiohttp.WSMsgType.BINARY:
            yield message.data
        elif message.type is aiohttp.WSMsgType.TEXT:
            try:
                yield json.loads(message.data)
            except ValueError:
                got.garbled = True
        else:
            got.code = message.data if message.type is aiohttp.WSMsgType.CLOSE else socket.close_code
            return


async def listen(http: aiohttp.ClientSession, server: VendorServer, path: str, got: Got) -> None:
    loud = (5000 * np.sin(np.arange(16000) / 17)).astype("<i2").tobytes()
    query = "model=nova-3&endpointing=false" if path == "/v1/listen" else "model=flux-general-en"
    asked = time.monotonic()
    url = f"{server.ws_url}{path}?{query}&encoding=linear16&sample_rate=16000"
    async with http.ws_connect(url, headers={"Authorization": "Token k"}) as socket:
        await socket.send_bytes(loud + bytes(32000))
        await socket.send_json({"type": "Finalize"} if path == "/v1/listen" else {"type": "ForceEndTurn"})
        async for message in messages(socket, got, asked):
            got.error = got.error or message["type"] == "Error"
            final = message.get("is_final") or message.get("event") == "EndOfTurn"
            words = message["channel"]["alternatives"][0]["words"] if "channel" in message else message.get("words", ())
            got.pieces += len(words) if final else 0
            if final:
                got.ended = True
                return


async def speak(http: aiohttp.ClientSession, server: VendorServer, vendor: str, got: Got) -> None:
    text = "It will be sunny on Thursday."
    aura = f"{server.ws_url}/v1/speak?model=aura-2-thalia-en&encoding=linear16&sample_rate=16000"
    asked = time.monotonic()
    url = aura if vendor == "aura" else f"{server.ws_url}/tts/websocket?api_key=k"
    async with http.ws_connect(url, headers={"Authorization": "Token k"} if vendor == "aura" else {}) as socket:
        if vendor == "aura":
            await socket.send_json({"type": "Speak", "text": text})
            await socket.send_json({"type": "Flush"})
        else:
            form = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000}
            voice = {"mode": "id", "id": "slt"}
            order = {"model_id": "sonic-3.6", "transcript": text, "voice": voice, "output_format": form}
            await socket.send_json(order | {"context_id": "c", "continue": False})
        async for message in messages(socket, got, asked):
            kind = "chunk" if isinstance(message, bytes) else message["type"]
            got.pieces += kind == "chunk"
            got.error = got.error or kind == "error"
            got.ended = kind in ("done", "Flushed")
            if got.ended or got.error:
                return


async def answer(http: aiohttp.ClientSession, server: VendorServer, vendor: str, got: Got) -> None:
    body = {"max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "good morning to all of you"}]}
    if vendor == "openai":
        url, headers, body["model"] = "/v1/chat/completions", {"Authorization": "Bearer k"}, "gpt-4.1"
    else:
        url, body["model"] = "/v1/messages", "claude-haiku-5-5"
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(sock_read=PATIENCE_S)
    async with http.post(server.url + url, json=body, headers=headers, timeout=timeout) as response:
        got.status, got.headers = response.status, dict(response.headers)
        while True:
            line = (await response.content.readline()).decode().strip()
            got.longest_s, began = max(got.longest_s, time.monotonic() - began), time.monotonic()
            if response.content.at_eof() and not line:
                return
            if line == "data: [DONE]" or '"message_stop"' in line:
                got.ended = True
                return
            if line.startswith(("data: ", "{")):
                try:
                    data = json.loads(line.removeprefix("data: "))
                except ValueError:
                    got.garbled = True
                    continue
                got.error = got.error or "error" in data
                delta = data.get("delta") or (data.get("choices") or [{}])[0].get("delta") or {}
                got.pieces += bool(delta.get("text") or delta.get("content"))


async def tried(server: VendorServer, vendor: str, patience_s: float = PATIENCE_S) -> Got:
    """One client's request to a vendor, however it ends."""
    got = Got(patience_s=patience_s)
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(20):
            if VENDORS[vendor] == "llm":
                await answer(http, server, vendor, got)
            elif VENDORS[vendor] == "stt":
                await listen(http, server, "/v1/listen" if vendor == "deepgram" else "/v2/listen", got)
            else:
                await speak(http, server, vendor, got)
    except TimeoutError:
        got.silent = True
    except aiohttp.WSServerHandshakeError as error:
        got.status = error.status
        got.headers = dict(error.headers or {})
    except (aiohttp.ClientError, ConnectionError):
        got.code = 1006
    return got


def ordered(stage: Stage, moment: Moment, kind: Kind) -> Fault:
    more: dict[str, Any] = {}
    if moment == "within":
        more["after"] = 2 if stage != "stt" else 0
    if kind in ("stall", "hang"):
        more["stall_s"] = STALL_S
    if kind == "status":
        more |= {"status": 429, "retry_after": 5}
    if moment == "connect" and kind in ("drop", "refuse_connect") and stage != "llm":
        more["count"] = 2  # aiohttp's client asks again by itself
    if kind == "trickle":
        more["pace"] = 4 if stage == "llm" else 0.5
    return Fault.model_validate({"stage": stage, "moment": moment, "kind": kind} | more)


def announce(account: Account) -> None:
    said = [SpokenWord(word=word, start=n * 0.3, end=n * 0.3 + 0.2) for n, word in enumerate(("good", "morning"))]
    account.announce(Utterance(text="Good morning.", words=tuple(said), duration=1.0))


@pytest.mark.parametrize(("vendor", "moment", "kind"), [case for case in CASES if case[1] != "idle"])
async def test_a_fault_is_what_it_says(server: VendorServer, vendor: str, moment: Moment, kind: Kind) -> None:
    stage = VENDORS[vendor]
    account = server.accounts.get("k")
    announce(account)
    if stage == "tts":  # the first rendering of a text takes its time
        assert (await tried(server, vendor, patience_s=15)).ended
    account.faults.add(ordered(stage, moment, kind))
    got = await tried(server, vendor)
    assert account.faults.pending == ()
    assert {line.detail["kind"] for line in account.served if line.what == "fault"} == {kind}
    early = {"connect": 0, "before": 0, "within": 2 if stage != "stt" else 0}[moment]
    match kind:
        case "status":
            if moment == "connect" or (stage == "llm" and moment == "before"):
                assert got.status == 429
                assert got.headers[next(name for name in got.headers if name.lower() == "retry-after")] == "5"
            else:
                assert got.error or got.code == 1011
                assert got.pieces == early
            assert not got.ended
        case "stall" | "hang":
            assert got.longest_s >= STALL_S * 0.9
            assert got.ended
            assert got.pieces > early
        case "drop" | "refuse_connect":
            assert got.code == 1006
            assert (got.pieces, got.ended) == (early, False)
        case "malformed":
            assert got.garbled
        case "truncate":
            assert got.pieces == early
            assert not got.silent
            assert got.ended == (stage == "tts")
        case "silence":
            assert got.silent
            assert (got.pieces, got.ended) == (early, False)
        case "empty":
            assert (got.pieces, got.ended, got.status) == (0, True, 200)
        case "trickle":
            assert got.ended
            assert got.longest_s >= (0.2 if stage == "llm" else 0.15)
    announce(account)
    again = await tried(server, vendor)  # it struck once
    assert again.ended
    assert again.pieces > 0


@pytest.mark.parametrize("vendor", ["deepgram", "flux", "cartesia", "aura"])
async def test_an_open_connection_may_be_dropped_while_nothing_goes_on(server: VendorServer, vendor: str) -> None:
    account, stage = server.accounts.get("k"), VENDORS[vendor]
    urls = {
        "deepgram": "/v1/listen?model=nova-3&encoding=linear16&sample_rate=16000",
        "flux": "/v2/listen?model=flux-general-en&encoding=linear16&sample_rate=16000",
        "cartesia": "/tts/websocket",
        "aura": "/v1/speak?model=aura-2-thalia-en&encoding=linear16&sample_rate=16000",
    }
    headers = {"X-API-Key": "k"} if vendor == "cartesia" else {"Authorization": "Token k"}
    async with aiohttp.ClientSession() as http:
        sockets = [await http.ws_connect(server.ws_url + urls[vendor], headers=headers) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert account.served == []
        account.faults.add(Fault(stage=stage, kind="drop", moment="idle", close_code=1008))
        got = Got()
        async with asyncio.timeout(10):
            while account.faults.pending:  # noqa: ASYNC110 a plain list
                await asyncio.sleep(0.01)
        for socket in sockets:
            async for _ in messages(socket, got):
                pass
            await socket.close()
    assert got.code == 1008
    assert got.silent  # the other one lives on
    assert [(line.what, line.detail) for line in account.served] == [("fault", {"kind": "drop", "moment": "idle"})]


async def test_a_drop_waits_until_the_answer_under_way_is_out(server: VendorServer) -> None:
    account = server.accounts.configure("k", AccountSettings(ears="oracle", tts_pace=4.0))
    got = Got()
    async with aiohttp.ClientSession() as http:
        asking = asyncio.create_task(speak(http, server, "cartesia", got))
        async with asyncio.timeout(10):
            while not any(line.what == "first_audio" for line in account.served):  # noqa: ASYNC110 a plain list
                await asyncio.sleep(0.01)
        account.faults.add(Fault(stage="tts", kind="drop", moment="idle"))
        await asking
    assert got.ended
