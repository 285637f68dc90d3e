"""One loopback server that speaks the vendors' protocols, so that their production clients have somebody to talk to."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from types import TracebackType
from weakref import WeakSet

from aiohttp import WSCloseCode, web
from aiohttp.typedefs import Handler

from callwright.simulators.account import Accounts, AccountSettings, World
from callwright.simulators.control import routes as control_routes
from callwright.simulators.errors import SimulatorError
from callwright.simulators.voice import Voice

_log = logging.getLogger(__name__)
_HOST = "127.0.0.1"
_VENDORS = ("deepgram", "deepgram_speak", "deepgram_batch", "flux", "cartesia", "anthropic", "openai", "model_lists")
_GOODBYE_S = 1.0


@web.middleware
async def _gone(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A client that has left before it was answered is nobody's fault."""
    try:
        return await handler(request)
    except ConnectionResetError:
        return web.Response(status=499)


class VendorServer:
    """An async context manager that serves while it is open.

    Binds the loopback interface only; port 0 takes a free one. Raises SimulatorError when the port is taken or
    there is no speech engine.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        default: AccountSettings | None = None,
        accept_unknown_keys: bool = True,
        default_rules: Path | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self._wanted_port = port
        self._default = default or AccountSettings()
        self.accounts = Accounts(self._default, accept_unknown=accept_unknown_keys)
        self._default_rules = default_rules
        self._cache_dir = cache_dir
        self._port: int | None = None
        self._runner: web.AppRunner | None = None
        self._world: World | None = None

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{_HOST}:{self.port}"

    @property
    def port(self) -> int:
        if self._port is None:
            raise SimulatorError("the vendor server is not open; use it in `async with VendorServer() as server:`")
        return self._port

    async def __aenter__(self) -> VendorServer:
        world = World(self.accounts, Voice(self._cache_dir), self._default_rules)
        sockets: WeakSet[web.WebSocketResponse] = WeakSet()

        app = web.Application(client_max_size=32 * 2**20, middlewares=[_gone])

        async def note_socket(request: web.Request, response: web.StreamResponse) -> None:
            if isinstance(response, web.WebSocketResponse):
                sockets.add(response)

        async def close_sockets(app: web.Application) -> None:
            for socket in list(sockets):
                await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the stand-in is closing")

        app.on_response_prepare.append(note_socket)
        app.on_shutdown.append(close_sockets)
        for vendor in _VENDORS:
            app.add_routes(importlib.import_module(f"callwright.simulators.{vendor}").routes(world))
        app.add_routes(control_routes(world))
        # Access logs would carry paths with voices and keys in the query: there are none.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE_S, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, _HOST, self._wanted_port)
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise SimulatorError(
                f"port {self._wanted_port} on {_HOST} is taken ({error.strerror}); give another or 0 for a free one"
            ) from error
        self._runner, self._world = runner, world
        self._port = runner.addresses[0][1]
        try:
            if self._default.ears == "pocketsphinx":
                await world.recognisers.warm()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        _log.debug("stand-ins listen on %s", self.url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, world = self._runner, self._world
        self._runner = self._world = self._port = None
        if runner is not None:
            await runner.cleanup()
        if world is not None:
            await world.recognisers.aclose()
