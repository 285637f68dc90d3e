"""The stand-ins in a process of their own, ended with their owner, and their control calls."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from callwright.simulators import lifeline
from callwright.simulators.account import AccountSettings, Utterance
from callwright.simulators.errors import SimulatorError
from callwright.simulators.faults import Fault
from callwright.simulators.produced import SPEECH, Produced

START_TIMEOUT_S = 30.0


class Control:
    """The control calls of a stand-in server, wherever it runs. Use as `async with`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Control calls go to loopback whatever proxy the environment names.
        self._http = aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http:
            await self._http.close()

    async def configure(self, key: str, settings: AccountSettings) -> None:
        """Set how the vendors behave towards the account `key`."""
        await self._send("PUT", f"/_sim/accounts/{key}", settings.model_dump(mode="json"))

    async def account(self, key: str) -> dict[str, Any]:
        """What the vendors really served: {"settings", "served", "requests"}."""
        found: dict[str, Any] = await self._send("GET", f"/_sim/accounts/{key}")
        return found

    async def speech(self, key: str) -> list[Produced]:
        """What the voices really sent to the account so far, one a context in the order they were opened.

        Empty unless its settings have `keep_speech`.
        """
        return SPEECH.validate_json(await self._ask("GET", f"/_sim/accounts/{key}/speech"))

    async def order(self, key: str, fault: Fault) -> None:
        """Have the vendors misbehave once (or `count` times) towards the account."""
        await self._send("POST", f"/_sim/accounts/{key}/faults", fault.model_dump(mode="json"))

    async def clear_faults(self, key: str) -> None:
        """Take back what was ordered and has not struck."""
        await self._send("DELETE", f"/_sim/accounts/{key}/faults")

    async def announce(self, key: str, utterance: Utterance) -> None:
        """Tell the oracle ears what the caller begins to say now."""
        await self._send("POST", f"/_sim/accounts/{key}/utterances", utterance.model_dump(mode="json"))

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(await self._ask(method, path, body))

    async def _ask(self, method: str, path: str, body: Any = None) -> bytes:
        assert self._http is not None, "use Control as 'async with'"
        try:
            async with self._http.request(method, self.url + path, json=body) as answer:
                if answer.status >= 400:
                    raise SimulatorError(f"the stand-ins refused {method} {path}: {await answer.text()}")
                return await answer.read()
        except aiohttp.ClientError as error:
            raise SimulatorError(f"no stand-ins answer at {self.url} ({type(error).__name__})") from error


class VendorProcess:
    """A stand-in server as a child process: `async with VendorProcess() as stand_ins: stand_ins.url`."""

    def __init__(self, *, port: int = 0, rules: Path | None = None, default: AccountSettings | None = None) -> None:
        self._arguments = ["-m", "callwright.simulators", "--port", str(port)]
        if rules:
            self._arguments += ["--rules", str(rules)]
        if default:
            self._arguments += ["--settings", default.model_dump_json()]
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *lifeline.command(sys.executable, *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the owner, who ends calls before their vendors
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self._process.stdout.readline()
        except TimeoutError:
            await self.aclose()
            raise SimulatorError(f"the stand-ins did not start in {START_TIMEOUT_S:g} s") from None
        if not line:
            await self.aclose()
            raise SimulatorError("the stand-ins could not start; the line above says why")
        self.url = json.loads(line)["url"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the process and wait for it; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
