"""A real LiveKit server for one owner: started on free loopback ports, with random keys, gone with its owner.

    async with LiveKitServer() as server:
        token(server, "room", "caller")
        os.environ |= server.environment()

Only UDP media: livekit-server's ICE-over-TCP listener cannot be bound to one address and would be open to the
network, and on loopback UDP always gets through.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import yaml
from livekit import api

from callwright.simulators import lifeline, livekit_install
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit_install import Progress

ATTEMPTS = 3
"""A free port may be taken by someone else before the server binds it; then other ports are tried."""


class Credentials(Protocol):
    """Who may sign tokens for which server."""

    @property
    def url(self) -> str: ...
    @property
    def api_key(self) -> str: ...
    @property
    def api_secret(self) -> str: ...


@dataclass(frozen=True)
class LiveKitKeys:
    """A LiveKit server somewhere, as the environment names it everywhere in that ecosystem."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> LiveKitKeys:
        """Read LIVEKIT_URL, _API_KEY and _API_SECRET; a missing one is a SimulatorError that names it."""
        names = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise SimulatorError(f"{', '.join(missing)} not set: export what your LiveKit server uses")
        return cls(*(environment[name] for name in names))


def token(
    credentials: Credentials,
    room: str,
    identity: str,
    *,
    kind: Literal["standard", "agent"] = "standard",
    ttl_s: float = 600,
) -> str:
    """A signed token to join `room`: publish, subscribe, send data.

    An agent gets the claim `kind: agent`, by which stock clients find it, and the agent grant, by which the
    server does not keep a room open for it.
    """
    agent = kind == "agent"
    grants = api.VideoGrants(room_join=True, room=room, agent=agent or None, can_update_own_metadata=agent or None)
    made = api.AccessToken(credentials.api_key, credentials.api_secret)
    made = made.with_identity(identity).with_kind(kind).with_grants(grants)
    return made.with_ttl(datetime.timedelta(seconds=ttl_s)).to_jwt()


class LiveKitServer:
    """`livekit-server` as a child that cannot outlive its owner; an async context manager, ready inside.

    `log` is where its output goes (default: a temporary file, removed at the end). Raises SimulatorError when
    the program cannot be had, dies at start or does not answer within `start_limit_s`.
    """

    def __init__(
        self,
        *,
        binary: Path | None = None,
        cache: Path | None = None,
        log: Path | None = None,
        progress: Progress = lambda _: None,
        start_limit_s: float = 20.0,
    ) -> None:
        self._binary = binary
        self._cache = cache
        self._log = log
        self._progress = progress
        self._start_limit_s = start_limit_s
        self._process: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None
        self.port = 0
        self.udp_port = 0
        self.api_key = "key-" + secrets.token_hex(6)
        self.api_secret = secrets.token_urlsafe(36)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether the server's process still runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def log(self) -> Path:
        """Where its output goes; RuntimeError before it was started."""
        if self._log is not None:
            return self._log
        if self._folder is None:
            raise RuntimeError("the server has not been started")
        return self._folder / "livekit.log"

    def environment(self) -> dict[str, str]:
        """The variables by which LiveKit's own tools and every framework find this server."""
        return {
            "LIVEKIT_URL": self.url,
            "LIVEKIT_API_KEY": self.api_key,
            "LIVEKIT_API_SECRET": self.api_secret,
        }

    async def __aenter__(self) -> Self:
        binary = self._binary or await livekit_install.ensure(self._cache, self._progress)
        self._folder = Path(tempfile.mkdtemp(prefix="callwright-livekit-"))
        try:
            for attempt in range(1, ATTEMPTS + 1):
                self.port, self.udp_port = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
                if await self._start(binary, self._folder):
                    return self
                taken = "address already in use" in self._tail(20)
                await self.stop()
                if not taken or attempt == ATTEMPTS:
                    raise SimulatorError(f"livekit-server ({binary}) did not start: {self._tail(3)}")
            raise AssertionError("unreachable")
        except BaseException:
            await self.aclose()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the server (within half a second) and remove its files; a second call does nothing."""
        await self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def stop(self) -> None:
        """Stop the server and keep its log: what a test does that wants LiveKit to die in mid-call."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()  # letting go of the lifeline is what stops it
        await self._process.wait()

    async def _start(self, binary: Path, folder: Path) -> bool:
        config = folder / "livekit.yaml"
        config.touch(mode=0o600)
        config.write_text(yaml.safe_dump(self._config()))
        with self.log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *lifeline.command(str(binary), "--config", str(config)),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the owner, who ends calls before the server
            )
        deadline = asyncio.get_running_loop().time() + self._start_limit_s
        while self.alive and asyncio.get_running_loop().time() < deadline:
            if await answers(self.port):
                return True
            await asyncio.sleep(0.02)
        return False

    def _config(self) -> dict[str, object]:
        return {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "rtc": {
                "tcp_port": 0,
                "udp_port": self.udp_port,
                "node_ip": "127.0.0.1",
                "ips": {"includes": ["127.0.0.1/32"]},
                "enable_loopback_candidate": True,
                "use_external_ip": False,
            },
            "keys": {self.api_key: self.api_secret},
            "logging": {"level": "info", "json": False},
        }

    def _tail(self, lines: int) -> str:
        with contextlib.suppress(OSError):
            return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-lines:]) or "no output"
        return "no output"


async def answers(port: int, host: str = "127.0.0.1", limit_s: float = 2.0) -> bool:
    """Whether a LiveKit server answers 200 at `host:port` (it answers 406 while it is not ready)."""
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
