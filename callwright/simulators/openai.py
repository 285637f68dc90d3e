"""OpenAI's chat completions on loopback: `POST /v1/chat/completions`, streamed or not, and a list of models.

Faithful where a client can tell: order of chunks, usage, headers, validation and error bodies, prompt cache. Pace,
faults and the log are `llm_desk`'s; behind it stands the scripted model of the account's rules file.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from aiohttp import web

from callwright.simulators import conversation
from callwright.simulators.account import Account, World
from callwright.simulators.brain import Answer
from callwright.simulators.conversation import JSON
from callwright.simulators.llm_desk import Desk
from callwright.simulators.openai_cache import PrefixCache
from callwright.simulators.openai_models import MODELS, Model
from callwright.simulators.openai_parse import not_json, parse_request, unknown_model
from callwright.simulators.openai_reply import Reply, compose, sse
from callwright.simulators.openai_request import ChatRequest, RequestRefused

_NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from https://platform.openai.com/account/api-keys."
)
_WRONG_KEY = (
    "Incorrect API key provided: ********. You can find your API key at https://platform.openai.com/account/api-keys."
)
_BAD = "invalid_request_error"
_ERROR_OF_STATUS: dict[int, tuple[str, str | None, str]] = {
    400: (_BAD, None, "Bad request"),
    401: (_BAD, "invalid_api_key", _WRONG_KEY),
    402: (
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    403: ("permission_error", None, "You are not allowed to sample from this model"),
    404: (_BAD, None, "Not found"),
    413: (_BAD, None, "Request body too large"),
    429: (
        "tokens",
        "rate_limit_exceeded",
        "Rate limit reached for the model in organization org-standin on tokens per min (TPM). "
        "Visit https://platform.openai.com/account/rate-limits to learn more.",
    ),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later"),
}
_SERVER_ERROR = 500
_OVERLOADED = 503
_LIMITS = {"requests": 10_000, "tokens": 30_000_000}


def routes(world: World) -> list[web.RouteDef]:
    """The route of the OpenAI stand-in; its list of models is `model_lists`'."""
    return [web.post("/v1/chat/completions", Desk(world, OpenAI()).serve)]


@dataclass
class OpenAI:
    """The dialect of chat completions."""

    caches: dict[str, PrefixCache] = field(default_factory=dict)

    malformed = ('{"id":"chatcmpl-', b'data: {"id":"chatcmpl-","object":"chat.compl\n\n')

    def key(self, request: web.Request) -> str | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return key.strip() or None if scheme.lower() == "bearer" else None

    def request_id(self, rng: random.Random) -> str:
        return f"req_{rng.getrandbits(128):032x}"

    def headers(self, request_id: str) -> dict[str, str]:
        """What the vendor sends along: the request's id and generous rate limits that are never reached."""
        headers = {
            "x-request-id": request_id,
            "openai-organization": "org-standin",
            "openai-version": "2020-10-01",
        }
        for name, limit in _LIMITS.items():
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(limit - 1)
            headers[f"x-ratelimit-reset-{name}"] = "6ms"
        return headers

    def parse(self, request: web.Request, body: JSON) -> ChatRequest:
        return parse_request(body)

    def not_json(self) -> RequestRefused:
        return not_json()

    def too_large(self) -> RequestRefused:
        return RequestRefused(_ERROR_OF_STATUS[413][2], status=413)

    def compose(self, answer: Answer, asked: ChatRequest, account: Account, asked_at: float) -> Reply:
        cache = self.caches.setdefault(account.key, PrefixCache())
        lookup = cache.look_up(asked.prompt, asked.model, asked.cache_group, asked_at)
        return compose(answer, asked, cache, lookup, account.random_for("llm_ids"), int(time.time()))

    def refuse(self, error: conversation.RequestRefused, request_id: str) -> web.Response:
        param, code = (error.param, error.code) if isinstance(error, RequestRefused) else (None, None)
        body = _error_body(_BAD, code, error.message, param)
        return web.json_response(body, status=error.status, headers=self.headers(request_id))

    def refuse_key(self, key: str | None, request_id: str) -> web.Response:
        body = _error_body(_BAD, None, _NO_KEY) if key is None else _failure(401, None)
        return web.json_response(body, status=401, headers={"x-request-id": request_id})

    def fail(self, status: int | None, message: str | None, retry_after: float | None, request_id: str) -> web.Response:
        headers = self.headers(request_id)
        if retry_after is not None:
            headers["retry-after"] = f"{retry_after:g}"
            headers["retry-after-ms"] = f"{retry_after * 1000:.0f}"
        status = status or _OVERLOADED
        return web.json_response(_failure(status, message), status=status, headers=headers)

    def fail_within(self, status: int | None, message: str | None) -> bytes:
        return sse(_failure(status or _OVERLOADED, message))

    # ------------------------------------------------------------------------ models

    def models(self, request: web.Request, request_id: str) -> web.Response:
        body = {"object": "list", "data": [_described(name, model) for name, model in MODELS.items()]}
        return web.json_response(body, headers={"x-request-id": request_id})

    def model(self, name: str, request_id: str) -> web.Response:
        if name not in MODELS:
            return self.refuse(unknown_model(name), request_id)
        return web.json_response(_described(name, MODELS[name]), headers={"x-request-id": request_id})


def _described(name: str, model: Model) -> dict[str, JSON]:
    return {"id": name, "object": "model", "created": model.created, "owned_by": "system"}


def _failure(status: int, message: str | None) -> dict[str, JSON]:
    kind, code, usual = _ERROR_OF_STATUS.get(status) or _ERROR_OF_STATUS[_SERVER_ERROR]
    return _error_body(kind, code, message or usual)


def _error_body(kind: str, code: str | None, message: str, param: str | None = None) -> dict[str, JSON]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
