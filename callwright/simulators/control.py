"""The control calls of the vendor server: settings, faults and utterances of an account, as JSON over HTTP."""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from callwright.simulators.account import AccountSettings, Utterance, World
from callwright.simulators.faults import Fault
from callwright.simulators.produced import SPEECH

_Model = TypeVar("_Model", bound=BaseModel)


async def _read(request: web.Request, model: type[_Model]) -> _Model:
    """The request's body as `model`; a 400 that says what is wrong with it otherwise."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "body"
        raise web.HTTPBadRequest(text=f"{model.__name__}: {where}: {first['msg']}") from error


def routes(world: World) -> list[web.RouteDef]:
    async def configure(request: web.Request) -> web.Response:
        settings = await _read(request, AccountSettings)
        account = world.accounts.configure(request.match_info["key"], settings)
        return web.json_response(account.settings.model_dump(mode="json"))

    async def show(request: web.Request) -> web.Response:
        account = world.accounts.get(request.match_info["key"])
        return web.json_response(
            {
                "settings": account.settings.model_dump(mode="json"),
                "served": [line.model_dump(mode="json") for line in account.served],
                "requests": account.requests,
            }
        )

    async def speech(request: web.Request) -> web.Response:
        kept = [context.so_far() for context in world.accounts.get(request.match_info["key"]).speech]
        return web.Response(body=SPEECH.dump_json(kept), content_type="application/json")

    async def order_fault(request: web.Request) -> web.Response:
        fault = await _read(request, Fault)
        world.accounts.get(request.match_info["key"]).faults.add(fault)
        return web.json_response(fault.model_dump(mode="json"))

    async def clear_faults(request: web.Request) -> web.Response:
        world.accounts.get(request.match_info["key"]).faults.clear()
        return web.json_response({})

    async def announce(request: web.Request) -> web.Response:
        utterance = await _read(request, Utterance)
        world.accounts.get(request.match_info["key"]).announce(utterance)
        return web.json_response({})

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "voice": world.voice.engine, "ears": ["pocketsphinx", "oracle"]})

    return [
        web.get("/_sim/health", health),
        web.put("/_sim/accounts/{key}", configure),
        web.get("/_sim/accounts/{key}", show),
        web.get("/_sim/accounts/{key}/speech", speech),
        web.post("/_sim/accounts/{key}/faults", order_fault),
        web.delete("/_sim/accounts/{key}/faults", clear_faults),
        web.post("/_sim/accounts/{key}/utterances", announce),
    ]
