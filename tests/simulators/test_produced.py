"""What a voice produced, as a judge asks for it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from callwright.simulators.account import AccountSettings, Delay
from callwright.simulators.process import Control
from callwright.simulators.produced import Produced
from callwright.simulators.server import VendorServer
from callwright.simulators.voice import Voice, find_engine

RATE = 24000
TEXT = "It will be sunny on Thursday afternoon."


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    settings = AccountSettings(ears="oracle", tts_first_audio=Delay(0, 0), tts_pace=20, keep_speech=True)
    async with VendorServer(default=settings) as server:
        yield server


def asked(text: str, *, context: str = "c", more: bool = False, timestamps: bool = False) -> dict[str, Any]:
    return {
        "model_id": "sonic-3.6",
        "transcript": text,
        "voice": {"mode": "id", "id": "slt"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE},
        "context_id": context,
        "continue": more,
        "add_timestamps": timestamps,
        "max_buffer_delay_ms": 0,
    }


async def said(server: VendorServer, *bodies: dict[str, Any], chunks: int = 10**6) -> list[dict[str, Any]]:
    """Messages up to the end of the context, or up to a number of chunks, whereupon it is cancelled."""
    url = f"{server.ws_url}/tts/websocket?api_key=k"
    messages: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        for body in bodies:
            await socket.send_json(body)
        while not messages or not messages[-1]["done"]:
            messages.append(json.loads(await socket.receive_str(timeout=5)))
            if sum(message["type"] == "chunk" for message in messages) == chunks:
                await socket.send_json({"context_id": bodies[0]["context_id"], "cancel": True})
                # What was in flight comes before the end of another context.
                await socket.send_json(asked("Yes.", context="next"))
                chunks = 10**6
    return messages


async def kept(server: VendorServer, key: str = "k") -> list[Produced]:
    async with Control(server.url) as control:
        return await control.speech(key)


def audio(messages: list[dict[str, Any]], context: str = "c") -> bytes:
    chunks = [m["data"] for m in messages if m["type"] == "chunk" and m["context_id"] == context]
    return b"".join(map(base64.b64decode, chunks))


async def test_what_was_sent_is_kept_to_the_sample_with_or_without_timestamps_on_the_wire(server: VendorServer) -> None:
    began = time.monotonic()
    messages = await said(server, asked("It will be sunny ", more=True), asked("on Thursday afternoon."))
    stamped = await said(server, asked(TEXT, context="d", timestamps=True))
    plain, timed = await kept(server)
    assert (plain.context_id, plain.text, plain.rate) == ("c", TEXT, RATE)
    assert plain.pcm == audio(messages)
    assert [word.text for word in plain.words] == TEXT.split()
    assert all(word.whole for word in plain.words)
    assert plain.at is not None
    assert began < plain.at < time.monotonic()
    told = [m["word_timestamps"] for m in stamped if m["type"] == "timestamps"]
    ends = [end for stamps in told for end in stamps["end"]]
    assert [word.end / RATE for word in timed.words] == pytest.approx(ends, abs=0.001)


async def test_a_cancelled_context_ends_with_the_part_of_a_word_that_was_sent(server: VendorServer) -> None:
    server.accounts.configure(
        "k", AccountSettings(ears="oracle", tts_first_audio=Delay(0, 0), tts_pace=1, tts_chunk_ms=50, keep_speech=True)
    )
    messages = await said(server, asked(TEXT), chunks=12)
    cut, after = await kept(server)
    sent = len(audio(messages)) // 2
    assert (cut.text, cut.pcm) == (TEXT, audio(messages))
    assert 0 < len(cut.words) < len(TEXT.split())
    assert all(word.start <= sent for word in cut.words)
    assert [word.whole for word in cut.words] == [word.end <= sent for word in cut.words]
    assert all(word.whole for word in cut.words[:-1])
    whole = await Voice(engine=find_engine()).speak(TEXT, voice="slt", rate=RATE)
    length = [word.end - word.start for word in whole.words]
    assert [word.end - word.start for word in cut.words] == length[: len(cut.words)]
    assert [word.text for word in after.words] == ["Yes."]


async def test_nothing_is_kept_unasked(server: VendorServer) -> None:
    server.accounts.configure("k", AccountSettings(ears="oracle", speed=0))
    await said(server, asked(TEXT))
    assert await kept(server) == []
