"""A system under test as the bench sees it: a process that holds the calls it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import callwright
from callwright.bench.environment import Environment, Progress
from callwright.bench.systems.protocol import CallRequest, Ended, News, Ready, Up
from callwright.simulators.errors import SimulatorError

T = TypeVar("T")

START_LIMIT_S = 60.0
CLOSE_LIMIT_S = 10.0

LIVEKIT_AGENTS = Environment(
    "livekit-agents-1.8.9",
    (
        "livekit-agents==1.8.9",
        "livekit-plugins-anthropic==1.8.9",
        "livekit-plugins-cartesia==1.8.9",
        "livekit-plugins-deepgram==1.8.9",
        "livekit==1.1.21",
        "livekit-api==1.2.2",
        # what our side of that process needs: the protocol, the agent's script, tokens
        "docstring-parser==0.18.0",
        "loguru==0.7.3",
        "platformdirs==4.4.0",
        "pyyaml==6.0.3",
    ),
)


@dataclass(frozen=True)
class System:
    """A module to run, its arguments, and the environment it needs; None: ours."""

    module: str
    arguments: tuple[str, ...] = ()
    environment: Environment | None = None


SYSTEMS: dict[str, System] = {
    "callwright": System("callwright.bench.systems.callwright"),
    "pipecat": System("callwright.bench.systems.pipecat"),
    "pipecat-tuned": System("callwright.bench.systems.pipecat", ("--tuned",)),
    "livekit-agents": System("callwright.bench.systems.livekit_agents", (), LIVEKIT_AGENTS),
    "livekit-agents-tuned": System("callwright.bench.systems.livekit_agents", ("--tuned",), LIVEKIT_AGENTS),
}
"""Every system the bench knows."""


@dataclass(frozen=True)
class SystemCall:
    """One ordered call. Both futures raise SimulatorError when the process dies first."""

    ready: asyncio.Future[Ready]
    ended: asyncio.Future[Ended]


class SystemProcess:
    """The process of one system; an async context manager, ready to take orders inside.

    It ends with its owner, because it reads its orders from a pipe that the owner holds. `progress` hears of the
    system's environment being installed, which happens on first use. Raises SimulatorError when it does not come
    up.
    """

    def __init__(self, name: str, progress: Progress = lambda _: None) -> None:
        self.name = name
        self._progress = progress
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._calls: dict[str, SystemCall] = {}
        self._dead = False

    async def __aenter__(self) -> Self:
        system = SYSTEMS[self.name]
        python, variables = sys.executable, dict(os.environ)
        if system.environment is not None:
            python = str(await system.environment.ensure(progress=self._progress))
            variables["PYTHONPATH"] = self._only_ours()
        self._process = await asyncio.create_subprocess_exec(
            python,
            "-m",
            system.module,
            *system.arguments,
            env=variables,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the bench, which ends its systems
        )
        self._reading = asyncio.create_task(self._read(self._process))
        up = asyncio.create_task(self._up.wait())
        try:
            await asyncio.wait({up, self._reading}, timeout=START_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            if not self._up.is_set():
                await self._close()
        if not self._up.is_set():
            raise SimulatorError(f"the system '{self.name}' did not come up; its own lines above say why")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def _only_ours(self) -> str:
        """A folder with nothing importable but our package, whatever stands beside it where it is installed."""
        self._folder = tempfile.TemporaryDirectory(prefix="callwright-system-")
        Path(self._folder.name, "callwright").symlink_to(Path(callwright.__file__).resolve().parent)
        return self._folder.name

    async def start(self, request: CallRequest) -> SystemCall:
        """Order a call; if the process is gone, the call's futures say so."""
        process = self._process
        assert process is not None
        assert process.stdin is not None, "use SystemProcess as 'async with'"
        loop = asyncio.get_running_loop()
        call = self._calls[request.call] = SystemCall(loop.create_future(), loop.create_future())
        if self._dead:
            self._fail_all()
            return call
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # the reader notices that it died
            await process.stdin.drain()
        return call

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                self._take(News.model_validate_json(line).line)
        finally:
            self._dead = True
            self._fail_all()

    def _take(self, news: Up | Ready | Ended) -> None:
        match news:
            case Up():
                self._up.set()
            case Ready() if news.call in self._calls:
                _settle(self._calls[news.call].ready, news)
            case Ended() if news.call in self._calls:
                call = self._calls.pop(news.call)
                _fail(call.ready, f"{self.name} never came into the room: {news.reason}")
                _settle(call.ended, news)
            case _:
                pass

    def _fail_all(self) -> None:
        while self._calls:
            _, call = self._calls.popitem()
            for future in (call.ready, call.ended):
                _fail(future, f"the process of '{self.name}' has died")

    async def _close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), CLOSE_LIMIT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._folder is not None:
            self._folder.cleanup()


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], why: str) -> None:
    if not future.done():
        future.set_exception(SimulatorError(why))
        future.exception()  # nobody has to be waiting for it
