"""Cartesia's text-to-speech: `GET /tts/websocket`, `POST /tts/bytes`, `POST /tts/sse`, `GET /voices`.

One websocket carries any number of contexts; a context is one utterance whose text may come in pieces.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web

from callwright.simulators.account import Account, World
from callwright.simulators.batch import Order, deliver
from callwright.simulators.cartesia_context import Context, Message
from callwright.simulators.cartesia_request import CartesiaError, Generation, ordered_error
from callwright.simulators.encodings import wav_header
from callwright.simulators.errors import SimulatorError
from callwright.simulators.faults import Fault
from callwright.simulators.idle import strike_when_idle
from callwright.simulators.outbox import abort, hang_up
from callwright.simulators.speaking import at_the_door

IDLE_S = 300.0  # an idle socket is closed after five minutes
_CREATED = "2026-01-01T00:00:00Z"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(world: World) -> list[web.RouteDef]:
    def guarded(serve: Callable[[World, web.Request, Account], Awaitable[web.StreamResponse]]) -> _Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            account = world.accounts.find(key_of(request))
            if account is None:
                return _refusal(CartesiaError(401, "Invalid API key"))
            if not request.path.startswith("/voices"):
                batch = request.path == "/tts/bytes"
                refused = await at_the_door(world, request, account, _ordered_refusal, batch=batch)
                if refused is not None:
                    return refused
            try:
                return await serve(world, request, account)
            except CartesiaError as error:
                return _refusal(error)

        return handler

    return [
        web.get("/tts/websocket", guarded(_websocket)),
        web.post("/tts/bytes", guarded(_bytes)),
        web.post("/tts/sse", guarded(_sse)),
        web.get("/voices", guarded(_voices)),
        web.get("/voices/{id}", guarded(_voice)),
    ]


def key_of(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    shown = [request.headers.get("X-API-Key"), bearer, *map(request.query.get, ("api_key", "access_token"))]
    return next((key for key in shown if key), None)


def version_of(request: web.Request) -> str:
    """Cartesia's API version, a date; the query wins over the header."""
    return request.query.get("cartesia_version") or request.headers.get("Cartesia-Version") or "2026-03-01"


def _refusal(error: CartesiaError, retry_after: float | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return web.json_response(error.body(), status=error.status, headers=headers)


def _ordered_refusal(status: int, message: str | None, retry_after: float | None) -> web.Response:
    return _refusal(ordered_error(status, message), retry_after)


async def _websocket(world: World, request: web.Request, account: Account) -> web.StreamResponse:
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    await _Connection(world, request, account, socket).run()
    return socket


class _Connection:
    """One socket and the contexts that live on it."""

    def __init__(self, world: World, request: web.Request, account: Account, socket: web.WebSocketResponse) -> None:
        self._world = world
        self._request = request
        self._account = account
        self._socket = socket
        self._version = version_of(request)
        self._contexts: dict[str, tuple[Context, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        lurking = strike_when_idle(self._world, self._account, "tts", idle=self._is_idle, strike=self._strike)
        self._tasks.add(asyncio.create_task(lurking))
        try:
            while True:
                try:
                    async with asyncio.timeout(IDLE_S):
                        message = await self._socket.receive()
                except TimeoutError:
                    if self._contexts:
                        continue
                    await self._socket.close(code=1000, message=b"idle for five minutes")
                    return
                if message.type is WSMsgType.TEXT:
                    await self._take(message.data)
                elif message.type is not WSMsgType.BINARY:
                    return
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _is_idle(self) -> bool:
        return not self._contexts

    async def _take(self, text: str) -> None:
        context_id: str | None = None
        try:
            try:
                body = json.loads(text)
                context_id = body.get("context_id")
            except (ValueError, AttributeError) as error:
                raise CartesiaError(400, "the message is not a JSON object") from error
            if not isinstance(context_id, str) or not context_id:
                context_id = None
                raise CartesiaError(400, "context_id: a string is needed")
            if body.get("cancel"):
                self._cancel(context_id)
            else:
                self._generate(context_id, body)
        except CartesiaError as error:
            self._account.log("tts", "refused", context_id=context_id or "", detail={"status": error.status})
            await self._send(error.frame(context_id, self._version))

    def _cancel(self, context_id: str) -> None:
        known = self._contexts.pop(context_id, None)
        if known is not None:
            known[0].cancel()

    def _generate(self, context_id: str, body: dict[str, Any]) -> None:
        known = self._contexts.get(context_id)
        generation = Generation.read(body)
        if generation.output_format.container != "raw":
            raise CartesiaError(400, "output_format.container: a websocket carries raw audio only")
        if known is not None:
            if known[0].ended:
                raise CartesiaError(400, "the context has been closed by continue:false")
            if not known[0].first.same_settings(generation):
                raise CartesiaError(400, "only transcript, continue and flush may change within a context")
            known[0].push(generation)
            return
        context = Context(self._world, self._account, generation, self._send, self._strike, self._version)
        task = asyncio.create_task(context.run())
        self._contexts[context_id] = (context, task)
        self._tasks.add(task)

        def forget(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if self._contexts.get(context_id, (None, None))[1] is done:
                del self._contexts[context_id]

        task.add_done_callback(forget)

    async def _send(self, message: Message) -> None:
        if not self._socket.closed:
            await self._socket.send_str(json.dumps(message))

    async def _strike(self, fault: Fault) -> None:
        if fault.kind == "malformed":
            await self._socket.send_str('{"type": "chunk", "data": "')
        else:
            await hang_up(self._request, self._socket, fault)


async def _generation(request: web.Request) -> Generation:
    """The body of an HTTP request. Raises CartesiaError."""
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise CartesiaError(400, "the body is not JSON") from error
    generation = Generation.read(body)
    if not generation.transcript.strip():
        raise CartesiaError(400, "transcript: there is nothing to say")
    return generation.model_copy(update={"more": False})


async def _bytes(world: World, request: web.Request, account: Account) -> web.StreamResponse:
    generation = await _generation(request)
    form = generation.output_format
    if form.container == "mp3":
        raise CartesiaError(400, "output_format.container: mp3 is not served here; raw and wav are")
    wav = form.container == "wav"
    order = Order(
        generation.transcript,
        generation.voice.id or world.voice.voices[0],
        form.sample_rate,
        form.encoding,
        speed=generation.generation_config.speed,
        volume=generation.generation_config.volume,
        head=wav_header(form.encoding, form.sample_rate) if wav else b"",
    )
    headers = {"Content-Type": "audio/wav" if wav else "application/octet-stream"}
    try:
        return await deliver(world, request, account, order, headers, _ordered_refusal)
    except SimulatorError:
        account.log("tts", "failed", detail={"status": 500})
        raise CartesiaError(500, "the speech engine failed") from None


async def _sse(world: World, request: web.Request, account: Account) -> web.StreamResponse:
    generation = await _generation(request)
    if generation.output_format.container != "raw":
        raise CartesiaError(400, "output_format.container: events carry raw audio only")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)

    async def send(message: Message) -> None:
        await response.write(f"event: {message['type']}\ndata: {json.dumps(message)}\n\n".encode())

    async def strike(fault: Fault) -> None:
        if fault.kind == "malformed":
            await response.write(b'event: chunk\ndata: {"type"\n\n')
        else:
            abort(request)

    await Context(world, account, generation, send, strike, version_of(request)).run()
    await _eof(response)
    return response


async def _eof(response: web.StreamResponse) -> None:
    try:
        await response.write_eof()
    except ConnectionError:
        return  # the client did not want to hear the end


def _described(voice: str) -> dict[str, Any]:
    return {
        "id": voice,
        "name": voice,
        "tagline": "stand-in",
        "description": "A voice of the speech program on this machine.",
        "language": "en",
        "locales": [{"locale": "en-US", "is_native": True}],
        "access": "public",
        "visibility": "all",
        "is_owner": False,
        "created_at": _CREATED,
    }


async def _voices(world: World, request: web.Request, account: Account) -> web.StreamResponse:
    limit = request.query.get("limit", "10")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise CartesiaError(400, "limit: a whole number from 1 to 100 is needed")
    wanted = request.query.get("q", "").lower()
    names = [name for name in world.voice.voices if wanted in name]
    after = request.query.get("starting_after")
    if after in names:
        names = names[names.index(after) + 1 :]
    page = names[: int(limit)]
    return web.json_response({"data": [_described(name) for name in page], "has_more": len(names) > len(page)})


async def _voice(world: World, request: web.Request, account: Account) -> web.StreamResponse:
    name = request.match_info["id"]
    if name not in world.voice.voices:
        raise CartesiaError(404, f"there is no voice {name}", "voice_not_found")
    return web.json_response(_described(name))
