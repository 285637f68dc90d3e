"""Deepgram's Aura as its SDK, a raw socket and Pipecat see it."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from deepgram.speak.v1.types import SpeakV1Flush, SpeakV1Text
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.deepgram.tts import DeepgramTTSService
from pipecat.workers.runner import WorkerRunner

from callwright.simulators.account import Account, AccountSettings, Delay
from callwright.simulators.faults import Fault
from callwright.simulators.server import VendorServer

pytestmark = pytest.mark.skipif(
    shutil.which("flite") is None and shutil.which("espeak-ng") is None, reason="no speech engine is installed"
)
RATE = 24000
FAST = AccountSettings(ears="oracle", speed=0, keep_speech=True)
LIVE = AccountSettings(ears="oracle", tts_first_audio=Delay(0, 0), tts_pace=1.0, tts_chunk_ms=50, keep_speech=True)
SUNNY = "It will be sunny on Thursday afternoon."
AURA = f"model=aura-2-thalia-en&encoding=linear16&sample_rate={RATE}"


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer(default=FAST) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def connect(http: aiohttp.ClientSession, server: VendorServer, query: str = AURA) -> Any:
    return http.ws_connect(f"{server.ws_url}/v1/speak?{query}", headers={"Authorization": "Token k"})


async def say(socket: aiohttp.ClientWebSocketResponse, *texts: str, flush: bool = True) -> None:
    for text in texts:
        await socket.send_json({"type": "Speak", "text": text})
    if flush:
        await socket.send_json({"type": "Flush"})


async def until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> tuple[list[bytes], list[str]]:
    """Chunks and the kinds of messages up to the first of `kind`, or the end of the connection."""
    chunks: list[bytes] = []
    kinds: list[str] = []
    async with asyncio.timeout(8):
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                chunks.append(message.data)
            else:
                kinds.append(json.loads(message.data)["type"])
                if kinds[-1] == kind:
                    break
    return chunks, kinds


async def served(account: Account, what: str) -> None:
    async with asyncio.timeout(8):
        while all(line.what != what for line in account.served):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_the_vendors_sdk_hears_what_it_asked_for(server: VendorServer) -> None:
    environment = DeepgramClientEnvironment(
        base=server.url, production=server.ws_url, agent=server.ws_url, agent_rest=server.url
    )
    client = AsyncDeepgramClient(api_key="k", environment=environment)
    async with client.speak.v1.connect(model="aura-2-thalia-en", encoding="linear16", sample_rate=RATE) as socket:
        await socket.send_text(SpeakV1Text(text=SUNNY))
        await socket.send_flush(SpeakV1Flush(type="Flush"))
        audio, kinds = b"", []
        async for message in socket:
            if isinstance(message, bytes):
                audio += message
            else:
                kinds.append(message.type)
                if message.type == "Flushed":
                    break
    assert kinds == ["Metadata", "Flushed"]
    (kept,) = [production.so_far() for production in server.accounts.get("k").speech]
    assert (kept.pcm, kept.text) == (audio, SUNNY)
    assert [word.text for word in kept.words] == SUNNY.split()


async def test_words_sent_one_by_one_are_spoken_as_sentences_and_the_rest_at_the_flush(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    """As LiveKit's plugin sends them."""
    async with connect(http, server) as socket:
        await say(socket, *(f"{word} " for word in f"{SUNNY} Shall I".split()), flush=False)
        await until(socket, "Metadata")
        first = (await socket.receive(timeout=5)).type
        await say(socket, "book? ")
        await until(socket, "Flushed")
        await say(socket, "Yes.")
        await until(socket, "Flushed")
    assert first is aiohttp.WSMsgType.BINARY
    account = server.accounts.get("k")
    one, two = (production.so_far() for production in account.speech)
    assert one.text == f"{SUNNY} Shall I book? "
    assert [word.text for word in one.words] == one.text.split()
    assert [word.text for word in two.words] == ["Yes."]
    done = [line for line in account.served if line.what == "done"]
    assert [(line.context_id, line.detail["samples"]) for line in done] == [
        (one.context_id, len(one.pcm) // 2),
        (two.context_id, len(two.pcm) // 2),
    ]


async def test_clear_falls_silent_before_it_is_confirmed_and_the_socket_speaks_again(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.configure("k", LIVE)
    async with connect(http, server) as socket:
        await say(socket, SUNNY)
        await until(socket, "Metadata")
        chunks = [await socket.receive_bytes(timeout=5) for _ in range(4)]
        await socket.send_json({"type": "Clear"})
        late, kinds = await until(socket, "Cleared")
        await say(socket, "Yes.")
        answer, after = await until(socket, "Flushed")
    assert (kinds, after) == (["Cleared"], ["Flushed"])
    assert len(late) <= 1
    cut, yes = (production.so_far() for production in account.speech)
    assert cut.pcm == b"".join(chunks + late)
    assert 0 < len(cut.words) < len(SUNNY.split())
    assert yes.pcm == b"".join(answer)
    said = [(line.what, line.context_id) for line in account.served if line.what != "first_audio"]
    assert said == [("cancelled", cut.context_id), ("done", yes.context_id)]


async def test_clear_takes_back_what_was_asked_for_but_not_begun(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    account = server.accounts.configure("k", LIVE)
    async with connect(http, server) as socket:
        await say(socket, SUNNY)
        await say(socket, "Never heard.")
        await say(socket, "Held back", flush=False)
        await socket.send_json({"type": "Clear"})
        assert (await until(socket, "Cleared"))[1] == ["Metadata", "Cleared"]
        await say(socket, "Yes.")
        await until(socket, "Flushed")
    assert [[w.text for w in p.so_far().words] for p in account.speech][1:] == [[], [], ["Yes."]]


async def test_close_says_the_rest_first(server: VendorServer, http: aiohttp.ClientSession) -> None:
    async with connect(http, server) as socket:
        await say(socket, "Good", " bye", flush=False)
        await socket.send_json({"type": "Close"})
        chunks, _ = await until(socket, "never")
        assert socket.close_code == 1000
    assert sum(map(len, chunks)) > RATE // 2


async def test_the_21st_flush_of_a_minute_is_ignored_with_a_warning(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with connect(http, server) as socket:
        for _ in range(21):
            await socket.send_json({"type": "Flush"})
        _, kinds = await until(socket, "Warning")
        while kinds.count("Flushed") < 20:
            kinds += (await until(socket, "Flushed"))[1]
        await socket.send_json({"type": "Clear"})
        assert (await until(socket, "Cleared"))[1] == ["Cleared"]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("model=sonic-3", "model"),
        ("model=aura-2-thalia-en&encoding=opus", "encoding"),
        ("model=aura-2-thalia-en&sample_rate=11025", "sample_rate"),
        ("model=aura-2-thalia-en&speed=2", "speed"),
    ],
)
async def test_a_wrong_query_is_refused_at_the_handshake(
    server: VendorServer, http: aiohttp.ClientSession, query: str, complaint: str
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(http, server, query)
    assert refused.value.status == 400
    assert refused.value.headers is not None
    assert complaint in refused.value.headers["dg-error"]


async def test_a_wrong_key_and_an_ordered_status_are_refused_in_deepgrams_form(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{server.url}/v1/speak", headers={"Authorization": "Token refused"}) as response:
        assert (response.status, (await response.json())["err_code"]) == (401, "INVALID_AUTH")
    server.accounts.get("k").faults.add(Fault(stage="tts", kind="status", moment="connect", status=429, retry_after=7))
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(http, server)
    assert refused.value.status == 429
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("fault", "code", "chunks"),
    [
        (Fault(stage="tts", kind="status"), 1011, 0),
        (Fault(stage="tts", kind="drop", moment="within", after=2), 1006, 2),
        (Fault(stage="tts", kind="drop", moment="within", after=2, close_code=1008), 1008, 2),
    ],
)
async def test_ordered_faults_end_the_connection(
    server: VendorServer, http: aiohttp.ClientSession, fault: Fault, code: int, chunks: int
) -> None:
    server.accounts.get("k").faults.add(fault)
    async with connect(http, server) as socket:
        await say(socket, SUNNY)
        assert len((await until(socket, "Flushed"))[0]) == chunks
        assert socket.close_code == code


async def test_truncated_speech_looks_finished_and_an_empty_one_has_no_audio(
    server: VendorServer, http: aiohttp.ClientSession
) -> None:
    faults = server.accounts.get("k").faults
    faults.add(Fault(stage="tts", kind="empty"))
    faults.add(Fault(stage="tts", kind="truncate", moment="within", after=2))
    async with connect(http, server) as socket:
        for chunks in (0, 2):
            await say(socket, SUNNY)
            assert len((await until(socket, "Flushed"))[0]) == chunks


async def test_a_clear_waits_for_the_end_of_a_hang(server: VendorServer, http: aiohttp.ClientSession) -> None:
    account = server.accounts.configure("k", LIVE)
    account.faults.add(Fault(stage="tts", kind="hang", moment="within", after=2, stall_s=0.6))
    async with connect(http, server) as socket:
        await say(socket, SUNNY)
        await served(account, "fault")
        asked = time.monotonic()
        await socket.send_json({"type": "Clear"})
        late, kinds = await until(socket, "Cleared")
        waited = time.monotonic() - asked
    assert (len(late), kinds) == (3, ["Metadata", "Cleared"])  # two from before, one that was under way
    assert 0.5 < waited < 1.0


class _Listener(FrameProcessor):
    """Notes what Pipecat's service sends on."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.news = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        self.news.set()
        await self.push_frame(frame, direction)

    def audio(self) -> bytes:
        return b"".join(frame.audio for frame in self.frames if isinstance(frame, TTSAudioRawFrame))

    async def hears(self, *, audio_s: float = 0.0, stopped: bool = False) -> None:
        async with asyncio.timeout(8):
            while len(self.audio()) < audio_s * 2 * RATE or (
                stopped and not any(isinstance(frame, TTSStoppedFrame) for frame in self.frames)
            ):
                self.news.clear()
                await self.news.wait()


async def test_pipecats_own_service_speaks_is_interrupted_and_speaks_again(server: VendorServer) -> None:
    account = server.accounts.configure("k", LIVE)
    voice = DeepgramTTSService(api_key="k", base_url=server.ws_url, sample_rate=RATE)
    listener = _Listener()
    worker = PipelineWorker(Pipeline([voice, listener]), cancel_on_idle_timeout=False, enable_rtvi=False)
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())

    async def answer(text: str) -> None:
        await worker.queue_frames([LLMFullResponseStartFrame(), LLMTextFrame(text), LLMFullResponseEndFrame()])

    await answer(f"{SUNNY} Shall I book a table outside?")
    await listener.hears(audio_s=0.5)
    await worker.queue_frame(InterruptionFrame())
    await served(account, "cancelled")
    listener.frames.clear()
    await answer("Yes, of course.")
    await listener.hears(stopped=True)
    await worker.queue_frame(EndFrame())
    await running
    cut, yes = (production.so_far() for production in account.speech)
    assert 0.5 <= len(cut.pcm) / 2 / RATE < 1.5
    assert [word.text for word in yes.words] == ["Yes,", "of", "course."]
    assert listener.audio().endswith(yes.pcm)
    assert len(listener.audio()) - len(yes.pcm) <= 2 * RATE // 10  # what was in flight when it was cleared
