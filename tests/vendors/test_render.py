"""Batch synthesis as the vendors document it, against a server on loopback that checks every field."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web

from callwright.vendors import RenderError, find, parse_root
from callwright.vendors import render as module

PCM = b"\x01\x02" * 2400


@asynccontextmanager
async def server(status: int = 200, body: bytes = PCM, kind: str = "audio/raw") -> AsyncIterator[tuple[str, list[Any]]]:
    asked: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        asked.append((request.path, dict(request.query), await request.json(), request.headers))
        return web.Response(status=status, body=body, content_type=kind)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def render(vendor: str, url: str, **settings: Any) -> bytes:
    row = find("tts", vendor)
    assert row.render is not None
    async with httpx.AsyncClient(timeout=1) as client:
        return await row.render(client, parse_root(url), "secret", row.default_model, settings, "Hello.", 24_000)


async def test_cartesia() -> None:
    async with server() as (url, asked):
        assert await render("cartesia", url, voice="v", language="en", speed=0.9, emotion=None) == PCM
    path, _, body, headers = asked[0]
    assert path == "/tts/bytes"
    assert (headers["X-API-Key"], headers["Cartesia-Version"]) == ("secret", "2026-03-01")
    assert body == {
        "model_id": "sonic-3.6",
        "transcript": "Hello.",
        "voice": {"mode": "id", "id": "v"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000},
        "language": "en",
        "generation_config": {"speed": 0.9},
    }


async def test_deepgram() -> None:
    async with server() as (url, asked):
        assert await render("deepgram", url, voice="aura-2-thalia-en", mip_opt_out=True) == PCM
    path, query, body, headers = asked[0]
    assert path == "/v1/speak"
    assert headers["Authorization"] == "Token secret"
    assert query == {
        "model": "aura-2-thalia-en",
        "encoding": "linear16",
        "sample_rate": "24000",
        "container": "none",
        "mip_opt_out": "true",
    }
    assert body == {"text": "Hello."}


async def test_elevenlabs() -> None:
    async with server() as (url, asked):
        assert await render("elevenlabs", url, voice="a/b", stability=0.5, language="en", enable_logging=False) == PCM
    path, query, body, headers = asked[0]
    assert path == "/v1/text-to-speech/a/b"  # aiohttp shows it decoded; on the wire the slash was %2F
    assert headers["xi-api-key"] == "secret"
    assert query == {"output_format": "pcm_24000", "enable_logging": "false"}
    assert body["voice_settings"] == {"stability": 0.5}
    assert body["language_code"] == "en"


@pytest.mark.parametrize(
    ("status", "category"),
    [(401, "authentication"), (402, "quota"), (404, "invalid_request"), (429, "rate_limit"), (503, "server")],
)
async def test_a_refusal_has_a_category_and_never_the_vendors_words(status: int, category: str) -> None:
    async with server(status, b'{"message": "key secret is wrong"}', "application/json") as (url, _):
        with pytest.raises(RenderError) as refused:
            await render("cartesia", url, voice="v")
    assert refused.value.category == str(refused.value) == category


@pytest.mark.parametrize("body", [b"", b"odd", b"RIFF" + PCM])
async def test_what_is_no_raw_sound_is_refused(body: bytes) -> None:
    async with server(body=body) as (url, _):
        with pytest.raises(RenderError, match="malformed"):
            await render("deepgram", url, voice="v")


async def test_an_error_in_json_is_no_sound() -> None:
    async with server(body=b"{}", kind="application/json") as (url, _):
        with pytest.raises(RenderError, match="malformed"):
            await render("cartesia", url, voice="v")


async def test_an_endless_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_S", 1)
    async with server(body=bytes(60_000)) as (url, _):
        with pytest.raises(RenderError, match="malformed"):
            await render("cartesia", url, voice="v")
    await asyncio.get_running_loop().shutdown_asyncgens()  # httpx leaves its own half-read generators to the loop


async def test_nobody_there() -> None:
    async with server() as (url, _):
        pass
    with pytest.raises(RenderError, match="connectivity"):
        await render("cartesia", url, voice="v")


async def test_a_server_that_never_answers() -> None:
    released = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    listener = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    row = find("tts", "cartesia")
    assert row.render is not None
    async with httpx.AsyncClient(timeout=0.05) as client:
        with pytest.raises(RenderError, match="timeout"):
            await row.render(client, parse_root(f"http://127.0.0.1:{port}"), "k", "m", {"voice": "v"}, "Hello.", 24_000)
    released.set()
    listener.close()
    await listener.wait_closed()
