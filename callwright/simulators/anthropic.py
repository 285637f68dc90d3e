"""Anthropic's Messages API on loopback: `POST /v1/messages`, streamed or not, and a list of models.

Faithful where a client can tell: order of events, usage, headers, validation and error bodies, prompt cache. Pace,
faults and the log are `llm_desk`'s; behind it stands the scripted model of the account's rules file.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from callwright.simulators import conversation
from callwright.simulators.account import Account, World
from callwright.simulators.anthropic_models import MODELS, Model
from callwright.simulators.anthropic_parse import parse_request
from callwright.simulators.anthropic_reply import Reply, compose, new_id, sse
from callwright.simulators.anthropic_request import MessagesRequest, RequestRefused
from callwright.simulators.brain import Answer
from callwright.simulators.conversation import JSON
from callwright.simulators.llm_desk import Desk
from callwright.simulators.prompt_cache import PromptCache, positions

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
_OVERLOADED = 529
_LIMITS = {"requests": 4000, "tokens": 4_800_000, "input-tokens": 4_000_000, "output-tokens": 800_000}


def routes(world: World) -> list[web.RouteDef]:
    """The route of the Anthropic stand-in; its list of models is `model_lists`'."""
    return [web.post("/v1/messages", Desk(world, Anthropic()).serve)]


@dataclass
class Anthropic:
    """The dialect of the Messages API."""

    caches: dict[str, PromptCache] = field(default_factory=dict)

    malformed = (
        '{"type":"mess',
        b'event: content_block_delta\ndata: {"type":"content_block_del\n\n',
    )

    def key(self, request: web.Request) -> str | None:
        key = request.headers.get("x-api-key")
        if key is None:
            scheme, _, key = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return None
        return key or None

    def request_id(self, rng: random.Random) -> str:
        return new_id("req", rng)

    def headers(self, request_id: str) -> dict[str, str]:
        """What the vendor sends along: the request's id and generous rate limits that are never reached."""
        reset = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers = {"request-id": request_id, "anthropic-organization-id": "00000000-0000-0000-0000-000000000000"}
        for name, limit in _LIMITS.items():
            headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(limit - 1)
            headers[f"anthropic-ratelimit-{name}-reset"] = reset
        return headers

    def parse(self, request: web.Request, body: JSON) -> MessagesRequest:
        if "anthropic-version" not in request.headers:
            raise RequestRefused("anthropic-version: header is required")
        return parse_request(body)

    def not_json(self) -> RequestRefused:
        return RequestRefused("The request body is not valid JSON")

    def too_large(self) -> RequestRefused:
        return RequestRefused("Request exceeds the maximum size", status=413, kind="request_too_large")

    def compose(self, answer: Answer, asked: MessagesRequest, account: Account, asked_at: float) -> Reply:
        cache = self.caches.setdefault(account.key, PromptCache())
        lookup = cache.look_up(positions(asked), asked.model.cache_minimum, asked_at)
        return compose(answer, asked, cache, lookup, account.random_for("llm_ids"))

    def refuse(self, error: conversation.RequestRefused, request_id: str) -> web.Response:
        kind = error.kind if isinstance(error, RequestRefused) else None
        return self._error(error.status, error.message, kind, request_id=request_id)

    def refuse_key(self, key: str | None, request_id: str) -> web.Response:
        words = "x-api-key header is required" if key is None else None
        return self._error(401, words, request_id=request_id)

    def fail(self, status: int | None, message: str | None, retry_after: float | None, request_id: str) -> web.Response:
        return self._error(status or _OVERLOADED, message, request_id=request_id, retry_after=retry_after)

    def fail_within(self, status: int | None, message: str | None) -> bytes:
        return sse(_error_body(status or _OVERLOADED, message))

    def _error(
        self,
        status: int,
        message: str | None = None,
        kind: str | None = None,
        *,
        request_id: str,
        retry_after: float | None = None,
    ) -> web.Response:
        headers = {"request-id": request_id} if status in (401, 404) else self.headers(request_id)
        if retry_after is not None:
            headers["retry-after"] = f"{retry_after:g}"
        body = {**_error_body(status, message, kind), "request_id": request_id}
        return web.json_response(body, status=status, headers=headers)

    # ------------------------------------------------------------------------ models

    def models(self, request: web.Request, request_id: str) -> web.Response:
        """The models, newest first, in pages (limit, after_id)."""
        names = list(MODELS)
        after = request.query.get("after_id")
        if after is not None and after in names:
            names = names[names.index(after) + 1 :]
        limit = request.query.get("limit", "20")
        if not limit.isdigit() or not 1 <= int(limit) <= 1000:
            return self._error(400, "limit: Input should be between 1 and 1000", request_id=request_id)
        page = names[: int(limit)]
        body: dict[str, JSON] = {
            "data": [_described(MODELS[name]) for name in page],
            "has_more": len(page) < len(names),
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
        return web.json_response(body, headers={"request-id": request_id})

    def model(self, name: str, request_id: str) -> web.Response:
        if name not in MODELS:
            return self._error(404, f"model: {name}", request_id=request_id)
        return web.json_response(_described(MODELS[name]), headers={"request-id": request_id})


def _described(model: Model) -> dict[str, JSON]:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id.replace("-", " ").title(),
        "created_at": f"{model.released}T00:00:00Z",
    }


def _error_body(status: int, message: str | None, kind: str | None = None) -> dict[str, JSON]:
    usual_kind, usual = _ERROR_OF_STATUS.get(status, ("api_error", "Internal server error"))
    return {"type": "error", "error": {"type": kind or usual_kind, "message": message or usual}}
