"""Whole calls: a real LiveKit server, the vendors' stand-ins in their own process, a caller who speaks."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from livekit import api
from livekit.rtc._ffi_client import FfiClient

from callwright import Agent
from callwright.call import LiveCall, Outcome
from callwright.config import Config, load
from callwright.records.journal import Entry
from callwright.room import Credentials, token
from callwright.simulators.account import AccountSettings
from callwright.simulators.announce import Announcer
from callwright.simulators.caller import Caller
from callwright.simulators.caller_report import CallerReport
from callwright.simulators.faults import Fault
from callwright.simulators.livekit import LiveKitServer
from callwright.simulators.play import run_script
from callwright.simulators.process import Control, VendorProcess
from callwright.simulators.script import parse
from callwright.simulators.voice import Voice

AT_ONCE = AccountSettings(ears="oracle", speed=0)
"""Vendors without delays, and ears that do not err: what is tested is ours."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def livekit() -> AsyncIterator[LiveKitServer]:
    async with LiveKitServer() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stand_ins() -> AsyncIterator[VendorProcess]:
    async with VendorProcess() as server:
        yield server


@dataclass
class Line:
    """One call's set-up: its room, its account with the vendors, its records."""

    livekit: LiveKitServer
    url: str
    folder: Path
    settings: AccountSettings = AT_ONCE
    room: str = field(default_factory=lambda: f"room-{secrets.token_hex(4)}")
    key: str = field(default_factory=lambda: f"key-{secrets.token_hex(8)}")
    entries: list[Entry] = field(default_factory=list)
    call: LiveCall | None = None

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.livekit.url, self.livekit.api_key, self.livekit.api_secret)

    def config(self, *overrides: str) -> Config:
        """The configuration of this call, everything at its default but where it goes."""
        return load(
            file=None,
            overrides=[
                *(f"{stage}.base_url={self.url}" for stage in ("stt", "llm", "tts")),
                *(f"{stage}.api_key={self.key}" for stage in ("stt", "llm", "tts")),
                f"records.database=sqlite:///{self.folder / 'calls.db'}",
                f"records.recordings={self.folder / 'recordings'}",
                f"call.lines_cache={self.folder / 'lines'}",
                "call.wait_for_caller_s=10",
                *overrides,
            ],
            environ=self.livekit.environment(),
        )

    def caller(self, identity: str = "caller", **options: object) -> Caller:
        return Caller(
            self.livekit.url,
            token(self.credentials, self.room, identity, ttl_s=120),
            voice=Voice(),
            **options,  # type: ignore[arg-type]
        )

    async def answer(self, agent: Agent, *overrides: str) -> Outcome:
        """The agent's side of the call, to its end."""
        self.call = LiveCall(agent, self.config(*overrides), self.room, watch=self.entries.append)
        return await self.call.run()

    async def hold(
        self,
        agent: Agent,
        steps: Sequence[str],
        *overrides: str,
        noise_dbfs: float | None = None,
        faults: Sequence[Fault] = (),
        backups: Sequence[str] = (),
    ) -> tuple[Outcome, CallerReport, Caller]:
        """A whole call: the agent answers, the caller does the steps (lines of a caller script).

        `backups` are further accounts with the same settings; `faults` are ordered of the line's own alone.
        """
        script = parse("steps:\n" + "\n".join(f"  - {step}" for step in steps))
        async with Control(self.url) as control, Announcer(self.url, self.key, *backups) as announce:
            for key in (self.key, *backups):
                await control.configure(key, self.settings)
            for fault in faults:
                await control.order(self.key, fault)
            agent_side = asyncio.create_task(self.answer(agent, *overrides))
            try:
                async with self.caller(announce=announce, noise_dbfs=noise_dbfs) as caller:
                    report = await run_script(script, caller)
                async with asyncio.timeout(20):
                    return await agent_side, report, caller
            finally:
                agent_side.cancel()
                await asyncio.gather(agent_side, return_exceptions=True)


@pytest.fixture
async def line(livekit: LiveKitServer, stand_ins: VendorProcess, tmp_path: Path) -> AsyncIterator[Line]:
    """A call's set-up; fails the test that leaves anybody in its room."""
    made = Line(livekit, stand_ins.url, tmp_path)
    yield made
    async with api.LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as server:
        rooms = await server.room.list_rooms(api.ListRoomsRequest())
        for room in rooms.rooms:
            if room.name.startswith(made.room):
                present = await server.room.list_participants(api.ListParticipantsRequest(room=room.name))
                assert [one.identity for one in present.participants] == [], room.name


@pytest.fixture(autouse=True)
def no_media_stream_outlives_its_test() -> Iterator[None]:
    """An unclosed stream of the LiveKit SDK would go on putting events into a loop that is gone."""
    yield
    left = [entry for entry in FfiClient.instance.queue._subscribers if entry[1].is_closed()]
    FfiClient.instance.queue._subscribers[:] = [e for e in FfiClient.instance.queue._subscribers if e not in left]
    assert not left, f"{len(left)} subscriptions of the LiveKit SDK were left behind: {[e[2] for e in left]}"
