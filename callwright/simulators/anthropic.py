"""Anthropic's Messages API on loopback: `POST /v1/messages`, streamed or not, and `GET /v1/models[/id]`.

Faithful where a client can tell: order of events, usage, headers, validation and error bodies, prompt cache,
pace. Behind it stands the scripted model of the account's rules file. Faults of stage "llm" are obeyed:
"connect" and "before" strike ahead of the answer, "within" after so many tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from aiohttp import web

from callwright.simulators.account import Account, World
from callwright.simulators.anthropic_models import MODELS, Model
from callwright.simulators.anthropic_parse import parse_request
from callwright.simulators.anthropic_reply import Event, Reply, compose, events, new_id
from callwright.simulators.anthropic_request import JSON, MessagesRequest, RequestRefused
from callwright.simulators.brain import Answer, Brain
from callwright.simulators.brain_rules import BUILT_IN_RULES, load
from callwright.simulators.errors import SimulatorError
from callwright.simulators.faults import Fault, Moment
from callwright.simulators.prompt_cache import PromptCache, positions

_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_ERROR_OF_STATUS = {
    400: ("invalid_request_error", "Bad request"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found"),
    409: ("conflict_error", "Conflict"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
    ),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
_AHEAD: tuple[Moment, ...] = ("connect", "before")
_LIMITS = {"requests": 4000, "tokens": 4_800_000, "input-tokens": 4_000_000, "output-tokens": 800_000}


def routes(world: World) -> list[web.RouteDef]:
    """The routes of the Anthropic stand-in."""
    desk = _Desk(world)
    return [
        web.post("/v1/messages", desk.messages),
        web.get("/v1/models", desk.models),
        web.get("/v1/models/{id}", desk.model),
    ]


class _Dropped(Exception):
    """The connection was torn down by an ordered fault."""


@dataclass
class _Desk:
    """Serves all accounts of one server."""

    world: World
    caches: dict[str, PromptCache] = field(default_factory=dict)
    brains: dict[str | None, Brain] = field(default_factory=dict)

    # ------------------------------------------------------------------------ endpoints

    async def models(self, request: web.Request) -> web.Response:
        """The models, newest first, in pages (limit, after_id)."""
        account = self._account(request)
        if account is None:
            return _error(401, request_id=new_id("req", random.Random()))
        request_id = new_id("req", account.random_for("llm_ids"))
        names = list(MODELS)
        after = request.query.get("after_id")
        if after is not None and after in names:
            names = names[names.index(after) + 1 :]
        limit = request.query.get("limit", "20")
        if not limit.isdigit() or not 1 <= int(limit) <= 1000:
            return _error(400, "limit: Input should be between 1 and 1000", request_id=request_id)
        page = names[: int(limit)]
        body: dict[str, JSON] = {
            "data": [_described(MODELS[name]) for name in page],
            "has_more": len(page) < len(names),
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
        return web.json_response(body, headers={"request-id": request_id})

    async def model(self, request: web.Request) -> web.Response:
        account = self._account(request)
        if account is None:
            return _error(401, request_id=new_id("req", random.Random()))
        request_id = new_id("req", account.random_for("llm_ids"))
        name = request.match_info["id"]
        if name not in MODELS:
            return _error(404, f"model: {name}", request_id=request_id)
        return web.json_response(_described(MODELS[name]), headers={"request-id": request_id})

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; whatever becomes of it is one or two lines of the account's log."""
        asked_at = self.world.monotonic()
        account = self._account(request)
        if account is None:
            words = "x-api-key header is required" if _key(request) is None else None
            return _error(401, words, request_id=new_id("req", random.Random()))
        sent = _Sent(account, asked_at, new_id("req", account.random_for("llm_ids")))
        try:
            for moment in _AHEAD:
                fault = account.faults.take("llm", moment)
                struck = None if fault is None else await self._strike(request, fault, sent)
                if struck is not None:
                    return struck
            return await self._answer(request, account, sent)
        except RequestRefused as refused:
            sent.log("refused")
            return _error(refused.status, refused.message, refused.kind, request_id=sent.request_id)
        except SimulatorError as error:  # this account's rules file cannot be read: say so, as a broken vendor
            sent.log("refused")
            return _error(500, str(error), request_id=sent.request_id)
        except _Dropped:
            sent.log("dropped")
        except asyncio.CancelledError:  # the server runs handlers with cancellation: the client has gone
            sent.log("cancelled", {"output_tokens": sent.tokens})
            raise
        except ConnectionError:
            sent.log("cancelled", {"output_tokens": sent.tokens})
        return web.Response(status=500)  # nobody is there to read it

    async def _answer(self, request: web.Request, account: Account, sent: _Sent) -> web.StreamResponse:
        parsed = await self._parsed(request, account)
        answer = self._brain(account).answer(parsed)
        cache = self.caches.setdefault(account.key, PromptCache())
        lookup = cache.look_up(positions(parsed), parsed.model.cache_minimum, sent.asked_at)
        within = account.faults.take("llm", "within")
        if within is not None and within.kind == "empty":
            answer, within = Answer(), None
        reply = compose(answer, parsed, lookup, account.random_for("llm_ids"))
        delay = account.draw("llm_first_token")
        if lookup.usage.cache_read_input_tokens:
            delay *= account.settings.llm_cache_hit_factor
        whole = 0 if parsed.stream else reply.output_tokens * _pace(account)
        await self._until(sent.asked_at + delay + whole)
        if _gone(request):
            raise ConnectionResetError
        cache.begin(lookup)
        if not parsed.stream:
            sent.tokens = reply.output_tokens
            sent.finish(reply)
            return web.json_response(reply.message(), headers=_headers(sent.request_id))
        response = web.StreamResponse(headers=_headers(sent.request_id) | _STREAM_HEADERS)
        await response.prepare(request)
        async with contextlib.aclosing(self._stream(request, account, reply, within)) as stream:
            async for data, token in stream:
                if _gone(request):
                    raise ConnectionResetError
                await response.write(data)
                sent.note(token)
        sent.finish(reply)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    # ------------------------------------------------------------------------ parts

    async def _stream(
        self, request: web.Request, account: Account, reply: Reply, fault: Fault | None
    ) -> AsyncGenerator[tuple[bytes, Event], None]:
        """The bytes of each event at its time. Raises _Dropped where the fault tears the connection down."""
        started, tokens = self.world.monotonic(), 0
        for token in events(reply):
            if token.counts:
                await self._until(started + tokens * _pace(account))
                if fault is not None and tokens >= fault.after:
                    ends = False
                    if fault.kind in ("stall", "silence"):
                        await self._stall(request, None if fault.kind == "silence" else fault.stall_s)
                    elif fault.kind in ("drop", "refuse_connect"):
                        _abort(request)
                        raise _Dropped
                    elif fault.kind == "malformed":
                        yield b'event: content_block_delta\ndata: {"type":"content_block_del\n\n', Event({})
                    elif fault.kind == "status":
                        yield _sse(_error_body(fault.status or 529, fault.message)), Event({})
                        ends = True
                    else:
                        ends = True  # truncate: the stream ends without message_stop
                    fault = None
                    if ends:
                        return
                tokens += 1
            yield _sse(token.data), token

    async def _strike(self, request: web.Request, fault: Fault, sent: _Sent) -> web.StreamResponse | None:
        """A fault ahead of the answer; None when the answer goes on after it."""
        headers = _headers(sent.request_id)
        if fault.kind in ("stall", "silence"):
            await self._stall(request, None if fault.kind == "silence" else fault.stall_s)
            return None
        if fault.kind in ("drop", "refuse_connect"):
            _abort(request)
            raise _Dropped
        sent.log("refused", {"fault": fault.kind})
        if fault.kind == "malformed":
            return web.Response(text='{"type":"mess', content_type="application/json", headers=headers)
        if fault.kind in ("truncate", "empty"):
            return web.Response(text="", content_type="text/event-stream", headers=headers)
        status = fault.status or 529
        return _error(status, fault.message, request_id=sent.request_id, retry_after=fault.retry_after)

    async def _stall(self, request: web.Request, seconds: float | None) -> None:
        """Nothing, for so long; ConnectionResetError as soon as the client has gone (None: wait for that)."""
        until = None if seconds is None else self.world.monotonic() + seconds
        while not _gone(request):
            left = 0.05 if until is None else min(0.05, until - self.world.monotonic())
            if left <= 0:
                return
            await self.world.sleep(left)
        raise ConnectionResetError

    async def _parsed(self, request: web.Request, account: Account) -> MessagesRequest:
        if "anthropic-version" not in request.headers:
            raise RequestRefused("anthropic-version: header is required")
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            words = "Request exceeds the maximum size"
            raise RequestRefused(words, status=413, kind="request_too_large") from None
        try:
            body = cast("JSON", json.loads(raw))
        except ValueError:
            raise RequestRefused("The request body is not valid JSON") from None
        if isinstance(body, dict):
            account.requests.append(dict(body))
        return parse_request(body)

    def _account(self, request: web.Request) -> Account | None:
        return self.world.accounts.find(_key(request))

    def _brain(self, account: Account) -> Brain:
        """The account's scripted model; rules are read once per path."""
        named = account.settings.brain_rules
        path = named if named is not None else (str(self.world.default_rules) if self.world.default_rules else None)
        if path not in self.brains:
            self.brains[path] = Brain(BUILT_IN_RULES if path is None else load(Path(path)))
        return self.brains[path]

    async def _until(self, moment: float) -> None:
        left = moment - self.world.monotonic()
        if left > 0:
            await self.world.sleep(left)


@dataclass
class _Sent:
    """What has gone out of one answer, and its lines in the account's log."""

    account: Account
    asked_at: float
    request_id: str
    tokens: int = 0
    begun: bool = False

    def note(self, token: Event) -> None:
        """One event has been sent; the first with content is what the caller's client waits for."""
        if not token.counts:
            return
        self.tokens += 1
        if not self.begun:
            self.begun = True
            self.log("first_token")

    def finish(self, reply: Reply) -> None:
        """All of the answer has been sent."""
        if not self.begun:
            self.log("first_token")
        self.log(
            "reply",
            {"usage": reply.usage(self.tokens), "stop_reason": reply.stop_reason, "model": reply.model},
        )

    def log(self, what: str, detail: dict[str, JSON] | None = None) -> None:
        self.account.log("llm", what, request_at=self.asked_at, request_id=self.request_id, detail=detail)


def _described(model: Model) -> dict[str, JSON]:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id.replace("-", " ").title(),
        "created_at": f"{model.released}T00:00:00Z",
    }


def _sse(event: dict[str, JSON]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def _error_body(status: int, message: str | None, kind: str | None = None) -> dict[str, JSON]:
    usual_kind, usual = _ERROR_OF_STATUS.get(status, ("api_error", "Internal server error"))
    return {"type": "error", "error": {"type": kind or usual_kind, "message": message or usual}}


def _error(
    status: int,
    message: str | None = None,
    kind: str | None = None,
    *,
    request_id: str,
    retry_after: float | None = None,
) -> web.Response:
    headers = {"request-id": request_id} if status in (401, 404) else _headers(request_id)
    if retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    body = {**_error_body(status, message, kind), "request_id": request_id}
    return web.json_response(body, status=status, headers=headers)


def _headers(request_id: str) -> dict[str, str]:
    """What the vendor sends along: the request's id and generous rate limits that are never reached."""
    reset = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = {"request-id": request_id, "anthropic-organization-id": "00000000-0000-0000-0000-000000000000"}
    for name, limit in _LIMITS.items():
        headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(limit - 1)
        headers[f"anthropic-ratelimit-{name}-reset"] = reset
    return headers


def _key(request: web.Request) -> str | None:
    key = request.headers.get("x-api-key")
    if key is None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
    return key or None


def _pace(account: Account) -> float:
    """Seconds from one token to the next."""
    return account.settings.speed / account.settings.llm_tokens_per_s


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _abort(request: web.Request) -> None:
    transport = request.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
