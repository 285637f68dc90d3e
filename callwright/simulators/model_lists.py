"""`GET /v1/models` and `/v1/models/{id}`: one path of two vendors, told apart by how the client shows its key.

Anthropic's clients send `anthropic-version` (and mostly `x-api-key`), OpenAI's a bearer token alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from aiohttp import web

from callwright.simulators.account import World
from callwright.simulators.anthropic import Anthropic
from callwright.simulators.openai import OpenAI


def routes(world: World) -> list[web.RouteDef]:
    vendors = (Anthropic(), OpenAI())

    def answer(request: web.Request, tell: Callable[[Anthropic | OpenAI, str], web.Response]) -> web.Response:
        anthropic = not {"anthropic-version", "x-api-key"}.isdisjoint(name.lower() for name in request.headers)
        vendor = vendors[0] if anthropic else vendors[1]
        key = vendor.key(request)
        account = world.accounts.find(key)
        if account is None:
            return vendor.refuse_key(key, vendor.request_id(random.Random()))
        return tell(vendor, vendor.request_id(account.random_for("llm_ids")))

    async def models(request: web.Request) -> web.Response:
        return answer(request, lambda vendor, request_id: vendor.models(request, request_id))

    async def model(request: web.Request) -> web.Response:
        return answer(request, lambda vendor, request_id: vendor.model(request.match_info["id"], request_id))

    return [web.get("/v1/models", models), web.get("/v1/models/{id}", model)]
