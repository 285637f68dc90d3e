"""Cartesia's voice as its own SDK and a raw socket see it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import time
import wave
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import cartesia
import numpy as np
import pytest
from cartesia import AsyncCartesia

from callwright.simulators.account import AccountSettings, Delay
from callwright.simulators.faults import Fault
from callwright.simulators.server import VendorServer
from callwright.simulators.text_buffer import TextBuffer

pytestmark = pytest.mark.skipif(
    shutil.which("flite") is None and shutil.which("espeak-ng") is None, reason="no speech engine is installed"
)
FAST = AccountSettings(ears="oracle", speed=0)
RATE = 24000
FORM = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE}


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer(default=FAST) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def sdk(server: VendorServer, key: str = "k") -> AsyncCartesia:
    return AsyncCartesia(api_key=key, base_url=server.url, websocket_base_url=server.ws_url, max_retries=0)


def connect(http: aiohttp.ClientSession, server: VendorServer, version: str = "2026-03-01") -> Any:
    return http.ws_connect(f"{server.ws_url}/tts/websocket", headers={"X-API-Key": "k", "Cartesia-Version": version})


def piece(text: str, *, more: bool = True, context: str = "c", **fields: Any) -> dict[str, Any]:
    return {
        "model_id": "sonic-3.6",
        "transcript": text,
        "voice": {"mode": "id", "id": "slt"},
        "output_format": FORM,
        "context_id": context,
        "continue": more,
        "add_timestamps": True,
        "max_buffer_delay_ms": 0,
    } | fields


async def until_done(socket: aiohttp.ClientWebSocketResponse, context: str = "c") -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while not messages or not messages[-1]["done"]:
        message = json.loads(await socket.receive_str(timeout=5))
        if message["context_id"] == context:
            messages.append(message)
    return messages


def audio(messages: list[dict[str, Any]]) -> np.ndarray:
    data = b"".join(base64.b64decode(m["data"]) for m in messages if m["type"] == "chunk")
    return np.frombuffer(data, dtype="<i2")


def words(messages: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    stamps = [m["word_timestamps"] for m in messages if m["type"] == "timestamps"]
    return [row for s in stamps for row in zip(s["words"], s["start"], s["end"], strict=True)]


async def test_the_vendors_sdk_hears_pieces_as_one_utterance(server: VendorServer) -> None:
    settings: dict[str, Any] = {
        "model_id": "sonic-3.6",
        "voice": {"mode": "id", "id": "slt"},
        "output_format": FORM,
        "add_timestamps": True,
        "max_buffer_delay_ms": 0,
    }
    async with sdk(server) as client, client.tts.websocket_connect() as socket:
        context = socket.context()
        await context.send(transcript="Sure, ", continue_=True, **settings)
        await context.send(transcript="I can book that.", continue_=True, **settings)
        await context.send(transcript="", continue_=False, **settings)
        heard, samples, kinds = [], 0, []
        async for message in context.receive():
            kinds.append(message.type)
            if message.type == "chunk":
                samples += len(message.audio) // 2
            elif message.type == "timestamps":
                heard += message.word_timestamps.words
    assert heard == ["Sure,", "I", "can", "book", "that."]
    assert kinds[-1] == "done"
    assert 1.0 < samples / RATE < 3.0


async def test_the_vendors_sdk_gets_bytes_events_and_voices(server: VendorServer) -> None:
    async with sdk(server) as client:
        response = await client.tts.generate(
            model_id="sonic-3.6",
            transcript="Good morning.",
            voice={"mode": "id", "id": "rms"},
            output_format={"container": "wav", "encoding": "pcm_s16le", "sample_rate": 16000},
        )
        data = await response.read()
        with wave.open(io.BytesIO(data)) as recorded:
            assert recorded.getframerate() == 16000
        assert len(data) > 16000
        voices = [voice.id async for voice in client.voices.list(limit=2)]
        assert set(voices) >= {"slt", "rms"} or set(voices) >= {"en-us"}
        assert (await client.voices.get(voices[0])).id == voices[0]
        events = await client.tts.generate_sse(
            model_id="sonic-3.6",
            transcript="Good morning.",
            voice={"mode": "id", "id": "rms"},
            output_format=FORM,
            add_timestamps=True,
        )
        kinds = [event.type async for event in events]
    assert kinds[0] == "chunk"
    assert "timestamps" in kinds
    assert kinds[-1] == "done"


async def test_the_vendors_sdk_sees_a_refused_key_as_401(server: VendorServer) -> None:
    async with sdk(server, "refused") as client:
        with pytest.raises(cartesia.AuthenticationError):
            await client.voices.get("slt")


async def test_word_times_count_from_the_start_of_the_context_and_lie_in_sound(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with connect(http, server) as socket:
        await socket.send_json(piece("Good morning, everybody."))
        await socket.send_json(piece("Who is next?"))
        await socket.send_json(piece("", more=False))
        messages = await until_done(socket)
    pcm = np.abs(audio(messages).astype(int))
    said = words(messages)
    assert [text for text, _, _ in said] == ["Good", "morning,", "everybody.", "Who", "is", "next?"]
    edges = [edge for _, start, end in said for edge in (start, end)]
    assert edges == sorted(edges)
    assert edges[-1] <= len(pcm) / RATE
    for text, start, end in said:
        assert pcm[int(start * RATE) : int(end * RATE)].max() > 1500, text
    assert pcm[: int((said[0][1] - 0.02) * RATE)].max() < 300
    assert said[3][1] - said[2][2] > 0.15  # a breath between sentences


async def test_leading_silence_comes_once_and_is_noted(server: VendorServer, http: aiohttp.ClientSession) -> None:
    account = server.accounts.configure("k", AccountSettings(ears="oracle", speed=0, tts_leading_silence_ms=(200, 200)))
    async with connect(http, server) as socket:
        await socket.send_json(piece("One. "))
        await socket.send_json(piece("Two.", more=False))
        said = words(await until_done(socket))
    first = next(line for line in account.served if line.what == "first_audio")
    assert 200 <= first.leading_silence_ms <= 220
    assert said[0][1] * 1000 == pytest.approx(first.leading_silence_ms, abs=1)
    assert sum(line.what == "first_audio" for line in account.served) == 1


async def test_a_voice_that_falls_silent_says_no_later_piece_either(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.configure("k", AccountSettings(ears="oracle", speed=0))
    account.faults.add(Fault(stage="tts", kind="silence"))
    async with connect(http, server) as socket:
        await socket.send_json(piece("One. "))
        while not any(line.what == "fault" for line in account.served):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await socket.send_json(piece("Two.", more=False))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.receive(), 1)


async def test_a_word_cut_between_two_pieces_is_one_word(server: VendorServer, http: aiohttp.ClientSession) -> None:
    async with connect(http, server) as socket:
        for text in ("I can bo", "ok th", "at for you."):
            await socket.send_json(piece(text))
            await asyncio.sleep(0.01)
        await socket.send_json(piece("", more=False))
        said = words(await until_done(socket))
    assert [text for text, _, _ in said] == ["I", "can", "book", "that", "for", "you."]


async def test_first_audio_waits_for_the_drawn_delay_and_the_rest_is_paced(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.configure(
        "k", AccountSettings(ears="oracle", tts_first_audio=Delay(300, 300), tts_pace=4.0)
    )
    async with connect(http, server) as socket:
        asked = time.monotonic()
        await socket.send_json(piece("It will be sunny on Thursday afternoon.", more=False))
        arrivals, samples = [], 0
        while True:
            message = json.loads(await socket.receive_str(timeout=5))
            if message["type"] == "chunk":
                arrivals.append(time.monotonic() - asked)
                samples += len(base64.b64decode(message["data"])) // 2
            if message["done"]:
                break
    assert 0.298 <= arrivals[0] < 0.45
    assert arrivals[-1] - arrivals[0] == pytest.approx((samples / RATE - 0.1) / 4, abs=0.15)
    first = next(line for line in account.served if line.what == "first_audio")
    assert first.delay_ms == pytest.approx(arrivals[0] * 1000, abs=30)


async def test_a_cancelled_context_falls_silent_and_the_socket_lives_on(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.configure("k", AccountSettings(ears="oracle", tts_first_audio=Delay(0, 0), tts_pace=1.0))
    async with connect(http, server) as socket:
        await socket.send_json(piece("This is a rather long sentence that nobody will hear to its end.", more=False))
        assert json.loads(await socket.receive_str(timeout=5))["type"] == "chunk"
        await socket.send_json({"context_id": "c", "cancel": True})
        await socket.send_json(piece("Yes.", more=False, context="d"))
        late = []
        while True:
            message = json.loads(await socket.receive_str(timeout=5))
            if message["context_id"] == "c":
                late.append(message)
            if message["context_id"] == "d" and message["done"]:
                break
    assert len(late) <= 1
    assert [line.what for line in account.served].count("cancelled") == 1


async def test_contexts_on_one_socket_do_not_wait_for_each_other(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with connect(http, server) as socket:
        await socket.send_json(piece("I am still waiting for my rest. ", context="a"))
        await socket.send_json(piece("Done.", more=False, context="b"))
        assert (await until_done(socket, "b"))[-1]["type"] == "done"


async def test_a_flush_is_confirmed_with_its_number(server: VendorServer, http: aiohttp.ClientSession) -> None:
    async with connect(http, server) as socket:
        await socket.send_json(piece("One ", flush=True, max_buffer_delay_ms=3000))
        await socket.send_json(piece("two", flush=True, max_buffer_delay_ms=3000))
        await socket.send_json(piece("", more=False, max_buffer_delay_ms=3000))
        messages = await until_done(socket)
    kinds = [m["type"] for m in messages if m["type"] in ("flush_done", "done")]
    assert kinds == ["flush_done", "flush_done", "done"]
    assert [m["flush_id"] for m in messages if m["type"] == "flush_done"] == [1, 2]


@pytest.mark.parametrize(
    ("change", "status", "complaint"),
    [
        ({"model_id": "tenor-1"}, 404, "model"),
        ({"voice": None}, 400, "voice"),
        ({"output_format": FORM | {"sample_rate": 12345}}, 400, "sample_rate"),
        ({"output_format": FORM | {"encoding": "opus"}}, 400, "encoding"),
        ({"generation_config": {"speed": 9}}, 400, "speed"),
    ],
)
async def test_a_wrong_request_gets_an_error_with_its_context(
    server: VendorServer, http: aiohttp.ClientSession, change: dict[str, Any], status: int, complaint: str
) -> None:
    async with connect(http, server) as socket:
        await socket.send_json(piece("Hello.") | change)
        (error,) = await until_done(socket)
    assert (error["type"], error["status_code"], error["context_id"]) == ("error", status, "c")
    assert complaint in error["message"]
    assert {"error_code", "title", "request_id"} <= set(error)


async def test_settings_may_not_change_within_a_context(server: VendorServer, http: aiohttp.ClientSession) -> None:
    async with connect(http, server) as socket:
        await socket.send_json(piece("Hello "))
        await socket.send_json(piece("there.", voice={"mode": "id", "id": "rms"}))
        error = (await until_done(socket))[-1]
    assert (error["type"], error["status_code"]) == ("error", 400)


async def test_older_versions_complain_in_one_sentence(server: VendorServer, http: aiohttp.ClientSession) -> None:
    async with connect(http, server, version="2025-04-16") as socket:
        await socket.send_json(piece("Hello.", model_id="tenor-1"))
        (error,) = await until_done(socket)
    assert error["error"].startswith("Invalid model: ")


async def test_a_wrong_key_and_an_ordered_429_come_as_structured_json(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{server.url}/tts/websocket?api_key=refused") as response:
        assert response.status == 401
        assert {"error_code", "title", "message", "request_id"} <= set(await response.json())
    server.accounts.get("k").faults.add(Fault(stage="tts", kind="status", moment="connect", status=429))
    async with http.get(f"{server.url}/tts/websocket?api_key=k") as response:
        assert (response.status, (await response.json())["error_code"]) == (429, "concurrency_limited")


@pytest.mark.parametrize(("encoding", "width"), [("pcm_f32le", 4), ("pcm_mulaw", 1), ("pcm_alaw", 1)])
async def test_other_encodings_carry_the_same_sound(
    server: VendorServer, http: aiohttp.ClientSession, encoding: str, width: int
) -> None:
    async def say(form: str) -> bytes:
        body = piece("Good morning.", more=False) | {
            "output_format": {"container": "raw", "encoding": form, "sample_rate": 8000}
        }
        async with http.post(f"{server.url}/tts/bytes", json=body, headers={"X-API-Key": "k"}) as response:
            assert response.status == 200
            return await response.read()

    server.accounts.configure("k", AccountSettings(speed=0, tts_leading_silence_ms=(200, 200)))
    assert len(await say(encoding)) / width == len(await say("pcm_s16le")) / 2


async def test_an_ordered_error_strikes_after_so_many_chunks(server: VendorServer, http: aiohttp.ClientSession) -> None:
    server.accounts.get("k").faults.add(Fault(stage="tts", kind="status", moment="within", after=3, status=500))
    async with connect(http, server) as socket:
        await socket.send_json(piece("It will be sunny on Thursday.", more=False))
        messages = await until_done(socket)
        assert [m["type"] for m in messages if m["type"] != "timestamps"] == ["chunk"] * 3 + ["error"]
        await socket.send_json(piece("It will be sunny on Thursday.", more=False, context="d"))
        assert (await until_done(socket, "d"))[-1]["type"] == "done"


async def test_a_drop_closes_the_socket_with_the_ordered_code(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    faults = server.accounts.get("k").faults
    for code, seen in ((1011, 1011), (None, 1006)):
        faults.add(Fault(stage="tts", kind="drop", moment="within", after=1, close_code=code))
        async with connect(http, server) as socket:
            await socket.send_json(piece("It will be sunny on Thursday.", more=False))
            assert len([m async for m in socket]) == 1
            assert socket.close_code == seen


async def test_truncated_speech_looks_finished_and_an_empty_one_has_no_audio(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    faults = server.accounts.get("k").faults
    faults.add(Fault(stage="tts", kind="empty"))
    faults.add(Fault(stage="tts", kind="truncate", moment="within", after=2))
    async with connect(http, server) as socket:
        for context in ("a", "b"):
            await socket.send_json(piece("It will be sunny on Thursday.", more=False, context=context))
            kinds = [m["type"] for m in await until_done(socket, context) if m["type"] != "timestamps"]
            assert kinds == {"a": ["done"], "b": ["chunk", "chunk", "done"]}[context]


def test_without_delay_whole_words_go_at_once_and_a_part_waits() -> None:
    buffer = TextBuffer(0)
    buffer.push("I can bo", 1.0)
    assert buffer.take(1.0) == "I can "
    assert buffer.take(1.1) == ""
    assert buffer.deadline == pytest.approx(1.3)
    assert buffer.take(1.3) == "bo"
    assert buffer.deadline is None


def test_with_delay_text_waits_for_the_end_of_a_sentence_or_the_delay() -> None:
    buffer = TextBuffer(3.0)
    buffer.push("Good morning. How are ", 1.0)
    assert buffer.take(1.0) == "Good morning."
    assert buffer.take(2.0) == ""
    assert buffer.deadline == pytest.approx(4.0)
    assert buffer.take(4.0).strip() == "How are"


def test_the_end_releases_everything() -> None:
    buffer = TextBuffer(3.0)
    buffer.push("Good mor", 1.0)
    assert buffer.take(1.0, everything=True) == "Good mor"
    assert buffer.take(1.0, everything=True) == ""
