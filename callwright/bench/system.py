"""A system under test as the bench sees it: a process that holds the calls it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from callwright.bench.systems.protocol import CallRequest, Ended, News, Ready, Up
from callwright.simulators.errors import SimulatorError

T = TypeVar("T")

START_LIMIT_S = 60.0
CLOSE_LIMIT_S = 10.0

SYSTEMS: dict[str, tuple[str, ...]] = {
    "callwright": ("callwright.bench.systems.callwright",),
    "pipecat": ("callwright.bench.systems.pipecat",),
    "pipecat-tuned": ("callwright.bench.systems.pipecat", "--tuned"),
}
"""Every system the bench knows: the module to run, and its arguments."""


@dataclass(frozen=True)
class SystemCall:
    """One ordered call. Both futures raise SimulatorError when the process dies first."""

    ready: asyncio.Future[Ready]
    ended: asyncio.Future[Ended]


class SystemProcess:
    """The process of one system; an async context manager, ready to take orders inside.

    It ends with its owner, because it reads its orders from a pipe that the owner holds. Raises SimulatorError
    when it does not come up.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._calls: dict[str, SystemCall] = {}
        self._dead = False

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *SYSTEMS[self.name],
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


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], why: str) -> None:
    if not future.done():
        future.set_exception(SimulatorError(why))
        future.exception()  # nobody has to be waiting for it
