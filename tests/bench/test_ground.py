"""What calls stand on: which comes next, and that whatever goes wrong in one is a line, not the end of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from callwright.bench import ground as grounds
from callwright.bench.agenda import Agenda, Job, work_off
from callwright.bench.ground import Ground, GroundCall
from callwright.bench.system import SystemCall
from callwright.bench.systems.protocol import CallRequest, Ended, Ready
from callwright.simulators.account import AccountSettings
from callwright.simulators.announce import Announcer
from callwright.simulators.errors import SimulatorError
from callwright.simulators.produced import Produced, ProducedWord

# ---------------------------------------------------------------------- the agenda


def test_systems_are_measured_in_turn_and_never_side_by_side_in_a_round() -> None:
    held: list[Job] = []
    agenda = Agenda(("a", "b"), ("x", "y"), lambda row, name: sum(j[:2] == (row, name) for j in held), wanted=3)
    rounds = []
    while jobs := agenda.round(2):
        rounds.append([(job.row, job.system, job.number) for job in jobs])
        held += jobs
        for job in jobs:
            agenda.ended(job)
    assert rounds[:4] == [
        [("a", "x", 0), ("a", "x", 1)],
        [("a", "y", 0), ("a", "y", 1)],
        [("a", "x", 2)],
        [("a", "y", 2)],
    ]
    assert len(held) == 12
    assert agenda.progress() == "12/12"


async def test_a_call_that_breaks_the_judge_ends_the_others() -> None:
    ended = asyncio.Event()

    async def hold(job: Job) -> None:
        if job.number == 1:
            raise SimulatorError("no ground")
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    with pytest.raises(SimulatorError, match="no ground"):
        await work_off(Agenda(("",), ("x",), lambda *_: 0, wanted=4), hold, concurrency=2)
    assert ended.is_set()


# ---------------------------------------------------------------------- a call


class _System:
    """Answers each order as the test says, at once."""

    def __init__(self, answer: Callable[[SystemCall, CallRequest], None]) -> None:
        self.name = "pipecat"
        self.requests: list[CallRequest] = []
        self._answer = answer

    async def start(self, request: CallRequest) -> SystemCall:
        loop = asyncio.get_running_loop()
        call = SystemCall(loop.create_future(), loop.create_future())
        self.requests.append(request)
        self._answer(call, request)
        return call


class _Control:
    def __init__(self) -> None:
        self.configured: dict[str, AccountSettings] = {}

    async def configure(self, key: str, settings: AccountSettings) -> None:
        self.configured[key] = settings

    async def speech(self, key: str) -> list[Produced]:
        words = (ProducedWord(text="Hi", start=0, end=100, whole=True),)
        late = key.endswith("-backup")
        sent = Produced(context_id=key, text="Hi", rate=8000, pcm=b"", words=words, at=1e9 - late)
        return [sent, sent.model_copy(update={"at": None})]

    async def account(self, key: str) -> dict[str, object]:
        return {"served": [{"stage": "llm", "what": key[-6:], "at": 2.0 if key.endswith("-backup") else 1.0}]}


class _LiveKit:
    url, api_key, api_secret = "ws://127.0.0.1:1", "key", "secret" * 6


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A ground without LiveKit and vendors, whose callers only seem to join."""
    monkeypatch.setattr(grounds.Caller, "__aenter__", lambda self: asyncio.sleep(0, self))
    monkeypatch.setattr(grounds.Caller, "__aexit__", lambda self, *_: asyncio.sleep(0))
    found = Ground(("pipecat",), Path("rules.yaml"), lambda _: None)
    found.stand_ins, found.folder = "http://127.0.0.1:2", Path("folder")
    found.livekit, found.control = _LiveKit(), _Control()  # type: ignore[assignment]
    return found


def ready(call: SystemCall, request: CallRequest) -> None:
    call.ready.set_result(Ready(call=request.call, wait_ms=200, settings={"tts": "sonic"}))


def well(call: SystemCall, request: CallRequest) -> None:
    ready(call, request)
    call.ended.set_result(Ended(call=request.call, reason="done", ok=True))


async def hold(ground: Ground, answer: Callable[[SystemCall, CallRequest], None], failure: str = "") -> GroundCall:
    ground._systems["pipecat"] = _System(answer)  # type: ignore[assignment]
    settings = AccountSettings(seed=3)
    async with (
        ground.call("pipecat", "room", settings, agent=Path("a.py"), backup=settings, queue_ms=50) as call,
        call.joined(),
    ):
        call.failure = failure
    return call


async def test_a_call_that_went_well_has_no_failure(ground: Ground) -> None:
    call = await hold(ground, well)
    assert (call.failure, call.wait_ms, call.settings) == ("", 200, {"tts": "sonic"})
    (request,) = ground._systems["pipecat"].requests  # type: ignore[attr-defined]
    assert (request.queue_ms, request.call, request.key, request.backup_key) == (
        50,
        call.name,
        call.key,
        call.backup_key,
    )
    assert call.backup_key != call.key
    assert set(ground.control.configured) == {call.key, call.backup_key}  # type: ignore[attr-defined]


async def test_both_accounts_are_told_what_the_caller_says(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, ...]] = []

    def announcer(url: str, *keys: str) -> Announcer:
        told.append(keys)
        return Announcer(url, *keys)

    monkeypatch.setattr(grounds, "Announcer", announcer)
    call = await hold(ground, well)
    assert told == [(call.key, call.backup_key)]


async def test_what_the_caller_saw_first_is_the_failure(ground: Ground) -> None:
    def broke(call: SystemCall, request: CallRequest) -> None:
        ready(call, request)
        call.ended.set_result(Ended(call=request.call, reason="it broke", ok=False))

    assert (await hold(ground, broke)).failure == "the system ended the call: it broke"
    assert (await hold(ground, broke, "the call ended after 'Hello'")).failure == "the call ended after 'Hello'"


async def test_a_system_that_does_not_come_or_go_is_a_line(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grounds, "READY_LIMIT_S", 0.01)
    monkeypatch.setattr(grounds, "END_LIMIT_S", 0.01)
    assert (await hold(ground, lambda *_: None)).failure == "pipecat did not come into the room in time"
    assert (await hold(ground, ready)).failure == "pipecat did not leave the room in time"


async def test_a_system_that_died_is_a_line(ground: Ground) -> None:
    def died(call: SystemCall, _: CallRequest) -> None:
        call.ready.set_exception(SimulatorError("the process of 'pipecat' has died"))

    assert (await hold(ground, died)).failure == "the process of 'pipecat' has died"


async def test_what_both_accounts_served_and_spoke_is_one_story(ground: Ground) -> None:
    call = await hold(ground, well)
    assert [line.at for line in await call.served()] == [1.0, 2.0]
    first, second = await call.sources()  # the backup's came earlier; what was never sent is none
    assert (first.context_id, second.context_id) == (call.backup_key, call.key)
    assert first.words[0].text == "Hi"
