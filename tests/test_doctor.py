"""The doctor: one line per check, and every ✗ says how to mend it."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from livekit.protocol.room import ListRoomsResponse

from callwright import doctor
from callwright.config import Config, load
from callwright.doctor import Finding, examine
from callwright.errors import ConfigError

NEEDS_A_USER = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


class World:
    """Vendors and a LiveKit server on one loopback port, answering as they are told."""

    def __init__(self) -> None:
        self.vendor_status = 200
        self.livekit_status = 200
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def vendor(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response({}, status=self.vendor_status)

    async def list_rooms(self, request: web.Request) -> web.Response:
        if self.livekit_status != 200:
            return web.json_response({"code": "unauthenticated", "msg": "no"}, status=self.livekit_status)
        return web.Response(body=ListRoomsResponse().SerializeToString(), content_type="application/protobuf")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    app = web.Application()
    app.router.add_post("/twirp/livekit.RoomService/ListRooms", world.list_rooms)
    app.router.add_get("/{path:.*}", world.vendor)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    world.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield world
    await runner.cleanup()


@pytest.fixture
def configured(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    monkeypatch.chdir(tmp_path)

    def make(*overrides: str) -> Config:
        stages = [
            f"{stage}.{key}" for stage in ("stt", "llm", "tts") for key in (f"base_url={world.url}", "api_key=k-1")
        ]
        room = [f"room.url={world.url.replace('http', 'ws')}", "room.api_key=dev", f"room.api_secret={'s' * 32}"]
        records = [f"records.database={tmp_path}/data/calls.db", f"records.recordings={tmp_path}/data/recordings"]
        return load(file=None, overrides=[*stages, *room, *records, *overrides], environ={})

    return make


async def examined(config: Config) -> dict[str, Finding]:
    findings = await examine(lambda: config, input_rate=16000)
    return {finding.name: finding for finding in findings}


async def test_where_all_is_well_nothing_is_bad_and_nothing_is_written(
    configured: Callable[..., Config], world: World, tmp_path: Path
) -> None:
    found = await examined(configured())
    assert [str(finding) for finding in found.values() if finding.state == "bad"] == []
    assert found["stt vendor"].detail.endswith("accepts the key")
    assert "accepts the credentials" in found["LiveKit"].detail
    assert str(found["database"]).endswith("will be made")
    assert list(tmp_path.iterdir()) == []
    sent = {name: value for headers in world.headers for name, value in headers.items()}
    assert (sent["authorization"], sent["x-api-key"]) == ("Token k-1", "k-1")


async def test_a_configuration_that_does_not_load_is_the_only_finding() -> None:
    def load_it() -> Config:
        raise ConfigError("unknown vendor 'x' for tts")

    (finding,) = await examine(load_it, input_rate=16000)
    assert str(finding).startswith("✗ configuration: unknown vendor 'x' for tts → ")


async def test_a_missing_key_says_which_variable_to_set_and_where_to_make_one(
    configured: Callable[..., Config],
) -> None:
    found = await examined(configured("tts.api_key=", "tts.base_url="))
    assert found["tts key"].state == "bad"
    assert "set CARTESIA_API_KEY (make one at https://play.cartesia.ai/keys)" in found["tts key"].mend


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        (200, "good", "accepts the key"),
        (401, "bad", "refuses the key (HTTP 401)"),
        (402, "bad", "wants payment"),
        (404, "note", "answers, but not whether the key is good (HTTP 404)"),
        (429, "note", "answers, but not whether the key is good (HTTP 429)"),
        (529, "bad", "is in trouble (HTTP 529)"),
    ],
)
async def test_a_refused_key_a_busy_vendor_and_a_broken_one_are_told_apart(
    configured: Callable[..., Config], world: World, status: int, state: str, words: str
) -> None:
    world.vendor_status = status
    found = await examined(configured())
    assert found["llm vendor"].state == state
    assert words in found["llm vendor"].detail
    assert (state == "bad") == bool(found["llm vendor"].mend)


async def test_a_server_that_is_not_there_is_not_a_refused_key(configured: Callable[..., Config]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        found = await examined(configured(f"stt.base_url=http://{address}", f"room.url=ws://{address}"))
    assert f"deepgram at {address} cannot be reached (connection refused)" in found["stt vendor"].detail
    assert "start the server there" in found["stt vendor"].mend
    assert f"{address} cannot be reached (connection refused)" in found["LiveKit"].detail


async def test_a_server_that_never_answers_costs_the_limit_and_no_more(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LIMIT_S", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        found = await examined(configured(f"stt.base_url=http://{address}", f"room.url=ws://{address}"))
    assert "does not answer within 0.2 s" in found["stt vendor"].detail
    assert "does not answer within 0.2 s" in found["LiveKit"].detail


async def test_refused_livekit_credentials_name_both_variables(configured: Callable[..., Config], world: World) -> None:
    world.livekit_status = 401
    finding = (await examined(configured()))["LiveKit"]
    assert finding.state == "bad"
    assert "refuses the credentials" in finding.detail
    assert "LIVEKIT_API_KEY and LIVEKIT_API_SECRET" in finding.mend


async def test_missing_livekit_credentials_point_to_the_demo(configured: Callable[..., Config]) -> None:
    finding = (await examined(configured("room.url=", "room.api_key=")))["LiveKit"]
    assert finding.mend.startswith("set LIVEKIT_URL, LIVEKIT_API_KEY, or use 'callwright demo'")


async def test_an_existing_database_is_opened_and_found_writable(
    configured: Callable[..., Config], tmp_path: Path
) -> None:
    from callwright.records.database import Database

    (tmp_path / "data").mkdir()
    Database.open(f"sqlite:///{tmp_path}/data/calls.db").close()
    assert (await examined(configured()))["database"].detail.endswith("can be written")


async def test_a_file_that_is_no_database_is_found_out(configured: Callable[..., Config], tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("This is not a database, and must stay as it is. " * 40)
    finding = (await examined(configured(f"records.database={other}")))["database"]
    assert finding.state == "bad"
    assert "records.database" in finding.mend
    assert other.read_text().startswith("This is not a database")


async def test_recordings_that_would_stand_under_a_file_are_refused(
    configured: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    finding = (await examined(configured(f"records.recordings={tmp_path}/taken/recordings")))["recordings"]
    assert finding.state == "bad"
    assert "CALLWRIGHT_RECORDINGS" in finding.mend


@NEEDS_A_USER
async def test_a_folder_without_permission_is_refused(configured: Callable[..., Config], tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    found = await examined(configured(f"records.recordings={closed}", f"records.database={closed}/calls.db"))
    assert (found["recordings"].state, found["database"].state) == ("bad", "bad")


async def test_a_rate_the_ears_do_not_have_is_bad(configured: Callable[..., Config]) -> None:
    config = configured()
    found = {each.name: each for each in await examine(lambda: config, input_rate=12345)}
    assert found["sample rates"].detail == "deepgram (stt) has no 12345 Hz"


async def test_missing_local_engines_are_notes_because_only_stand_ins_need_them(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    finding = (await examined(configured()))["stand-in voice"]
    assert finding.state == "note"
    assert "apt-get install flite" in finding.mend


async def test_what_was_set_aside_is_told(configured: Callable[..., Config]) -> None:
    config = configured().model_copy(update={"notes": ("tts.voice is set aside",)})
    assert str((await examined(config))["note"]) == "– note: tts.voice is set aside"
