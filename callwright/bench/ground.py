"""What whole calls stand on: a LiveKit server, the vendors' stand-ins, the systems under test, one voice.

async with Ground(("callwright",), rules, say) as ground:
    async with ground.call("callwright", "room-1", settings, agent=script) as call:
        await call.caller.prepare("Hello.")
        async with call.joined():
            await call.caller.say("Hello.")
    print(call.failure or "it went well")
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from callwright.bench.ear import Source, SourceWord
from callwright.bench.system import SystemCall, SystemProcess
from callwright.bench.systems.protocol import CallRequest, LiveKit
from callwright.simulators.account import AccountSettings, Served
from callwright.simulators.announce import Announcer
from callwright.simulators.caller import Announce, Caller, Speaker
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit import LiveKitServer, token
from callwright.simulators.process import Control, VendorProcess
from callwright.simulators.voice import Voice

Say = Callable[[str], None]
"""Told one line of progress."""

READY_LIMIT_S = 30.0
END_LIMIT_S = 20.0


class Ground:
    """Everything that the calls of a run share; an async context manager that opens it and closes it again.

    Raises SimulatorError when there is no ground to measure on: no LiveKit server, no stand-ins, a system that does
    not come up. `folder` is gone when it closes.
    """

    def __init__(self, systems: Sequence[str], rules: Path, say: Say) -> None:
        self._names = systems
        self._rules = rules
        self._say = say
        self._owned = AsyncExitStack()
        self._systems: dict[str, SystemProcess] = {}
        self.voice = Voice()
        self.livekit: LiveKitServer
        self.control: Control
        self.stand_ins = ""
        self.folder = Path()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as owned:
            self.folder = Path(owned.enter_context(tempfile.TemporaryDirectory(prefix="callwright-bench-")))
            self.livekit = await owned.enter_async_context(LiveKitServer(progress=self._say))
            self.stand_ins = (await owned.enter_async_context(VendorProcess(rules=self._rules))).url
            self.control = await owned.enter_async_context(Control(self.stand_ins))
            for name in self._names:
                self._systems[name] = await owned.enter_async_context(SystemProcess(name, progress=self._say))
            self._owned = owned.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._owned.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def call(
        self,
        system: str,
        name: str,
        settings: AccountSettings,
        *,
        agent: Path,
        voice: Speaker | None = None,
        voice_name: str = "rms",
        noise_dbfs: float | None = None,
        announced: Callable[[Announcer], Announce] = lambda announcer: announcer,
        backup: AccountSettings | None = None,
        **request: Any,
    ) -> AsyncIterator[GroundCall]:
        """One call of `system` in a room of its own, on an account of its own with `settings`.

        `name` is made unique. `announced` may stand between the caller and what tells the ears; with `backup` the
        system gets a second account to turn to, which is told what the caller says as well; `request` are further
        fields of CallRequest. What goes wrong in the call, before it or at its end does not raise: it is `failure`,
        in one line.
        """
        name = f"{name}-{secrets.token_hex(3)}"
        key, backup_key = f"bench-{secrets.token_hex(8)}", ""
        await self.control.configure(key, settings)
        if backup is not None:
            backup_key = f"{key}-backup"
            await self.control.configure(backup_key, backup)
        announcer = Announcer(self.stand_ins, *filter(None, (key, backup_key)))
        caller = Caller(
            self.livekit.url,
            token(self.livekit, name, "caller"),
            voice=voice or self.voice,
            voice_name=voice_name,
            seed=settings.seed,
            noise_dbfs=noise_dbfs,
            announce=announced(announcer),
        )
        order = CallRequest(
            call=name,
            room=name,
            livekit=LiveKit(url=self.livekit.url, key=self.livekit.api_key, secret=self.livekit.api_secret),
            stand_ins=self.stand_ins,
            key=key,
            backup_key=backup_key,
            agent=agent,
            folder=self.folder,
            **request,
        )
        call = GroundCall(name, key, backup_key, caller, self.control, self._systems[system], announcer, order)
        try:
            yield call
            await call.over()
        except SimulatorError as error:
            call.failure = str(error)
        except TimeoutError:
            call.failure = f"{system} did not {'leave the room' if call.settings else 'come into the room'} in time"


@dataclass
class GroundCall:
    """A call under way, or over. `failure` says in a line why it did not run to its end, "" if it did.

    `wait_ms` and `settings` are the system's own, once it is in the room (see `protocol.Ready`).
    """

    name: str
    key: str
    backup_key: str
    caller: Caller
    control: Control
    system: SystemProcess
    announcer: Announcer
    request: CallRequest
    wait_ms: float = 0.0
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    failure: str = ""
    _ordered: SystemCall | None = None

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[Caller]:
        """Order the call and be in the room with the agent; the caller hangs up at the end."""
        self._ordered = await self.system.start(self.request)
        async with asyncio.timeout(READY_LIMIT_S):
            ready = await asyncio.shield(self._ordered.ready)
        self.wait_ms, self.settings = ready.wait_ms, ready.settings
        async with self.announcer, self.caller:
            yield self.caller

    async def over(self) -> None:
        """Wait until the system has left the room."""
        if self._ordered is None:
            return
        async with asyncio.timeout(END_LIMIT_S):
            ended = await asyncio.shield(self._ordered.ended)
        if not ended.ok:
            self.failure = self.failure or f"the system ended the call: {ended.reason}"

    async def served(self) -> list[Served]:
        """What the vendors have really served to the call so far, its backups included, in the order of time."""
        found = []
        for key in filter(None, (self.key, self.backup_key)):
            found += [Served.model_validate(line) for line in (await self.control.account(key))["served"]]
        return sorted(found, key=lambda line: line.at) if self.backup_key else found

    async def sources(self) -> list[Source]:
        """All that the voices have sent to the call (the settings must have `keep_speech`), in the order of time."""
        spoken: list[Source] = []
        for key in filter(None, (self.key, self.backup_key)):
            spoken += [
                Source(
                    one.context_id,
                    one.rate,
                    one.pcm,
                    tuple(SourceWord(word.text, word.start, word.end) for word in one.words),
                    one.at - self.caller.tape.origin_s,
                    one.text,
                )
                for one in await self.control.speech(key)
                if one.at is not None
            ]
        return sorted(spoken, key=lambda source: source.at_s)
