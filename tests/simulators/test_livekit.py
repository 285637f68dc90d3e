"""The LiveKit server of one owner: loopback only, random keys, gone with its owner however that one ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
from pathlib import Path

import jwt
import pytest

from callwright.simulators import livekit_install
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit import LiveKitKeys, LiveKitServer, answers, token

KEYS = LiveKitKeys("ws://127.0.0.1:7880", "key", "secret-of-at-least-thirty-two-characters")


def script(path: Path, body: str) -> Path:
    path.write_text("#!/bin/sh\n" + textwrap.dedent(body))
    path.chmod(0o755)
    return path


async def gone(pid: int, limit_s: float = 5.0) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    os.kill(pid, 0)
                except ProcessLookupError:
                    return True
                await asyncio.sleep(0.02)
    return False


async def test_a_server_answers_on_loopback_and_is_gone_afterwards() -> None:
    async with LiveKitServer() as server:
        assert server.alive
        assert await answers(server.port)
        assert len(server.api_secret) >= 32
        folder = server.log.parent
        assert (folder / "livekit.yaml").stat().st_mode & 0o077 == 0
    assert not server.alive
    assert not await answers(server.port)
    assert not folder.exists()


async def test_two_servers_have_their_own_ports_and_keys() -> None:
    async with LiveKitServer() as one, LiveKitServer() as two:
        assert one.url != two.url
        assert one.api_secret != two.api_secret


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_nothing_listens_beyond_loopback() -> None:
    """Every socket of the server, not only those on the ports that we gave it."""
    async with LiveKitServer() as server:
        assert server._process is not None
        lifeline = server._process.pid
        (child,) = Path(f"/proc/{lifeline}/task/{lifeline}/children").read_text().split()
        ours = {os.readlink(entry) for entry in Path(f"/proc/{child}/fd").iterdir()}
        addresses = set()
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/{child}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                listening = table.startswith("udp") or fields[3] == "0A"
                if listening and f"socket:[{fields[9]}]" in ours:
                    addresses.add((table, *fields[1].split(":")))
    ports = {int(port, 16) for _, _, port in addresses}
    assert {server.port, server.udp_port} <= ports
    assert {address for _, address, _ in addresses} == {"0100007F"}, addresses


async def test_an_owner_killed_with_9_takes_the_server_with_it() -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import asyncio\n"
        "from callwright.simulators.livekit import LiveKitServer\n"
        "async def main():\n"
        "    async with LiveKitServer() as server:\n"
        "        print(server.port, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())",
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdout is not None
    port = int(await owner.stdout.readline())
    assert await answers(port)
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    async with asyncio.timeout(5):
        while await answers(port):  # noqa: ASYNC110 - another process: nothing here could set an event
            await asyncio.sleep(0.02)


async def test_a_server_that_dies_at_start_says_its_last_words(tmp_path: Path) -> None:
    dying = script(tmp_path / "livekit-server", "echo 'could not parse config'; exit 1\n")
    with pytest.raises(SimulatorError, match="could not parse config"):
        async with LiveKitServer(binary=dying):
            pass


async def test_a_port_taken_in_the_last_moment_is_not_the_end(tmp_path: Path) -> None:
    unlucky = script(
        tmp_path / "livekit-server",
        f"""\
        if [ ! -e {tmp_path}/once ]; then
            touch {tmp_path}/once; echo 'listen tcp: bind: address already in use'; exit 1
        fi
        exec {await livekit_install.ensure()} "$@"
        """,
    )
    async with LiveKitServer(binary=unlucky) as server:
        assert await answers(server.port)


async def test_a_server_that_never_answers_is_given_up_and_stopped(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    stuck = script(tmp_path / "livekit-server", f"echo $$ > {note}\nexec sleep 60\n")
    with pytest.raises(SimulatorError, match="did not start"):
        async with LiveKitServer(binary=stuck, start_limit_s=0.5):
            pass
    assert await gone(int(note.read_text()))


def test_a_token_of_an_agent_says_so_twice() -> None:
    claims = jwt.decode(token(KEYS, "room", "bot", kind="agent"), KEYS.api_secret, algorithms=["HS256"])
    assert claims["kind"] == "agent"
    assert claims["video"]["agent"] is True


def test_a_token_of_a_caller_is_for_one_room_and_ends() -> None:
    claims = jwt.decode(token(KEYS, "room", "caller", ttl_s=60), KEYS.api_secret, algorithms=["HS256"])
    assert claims["video"]["room"] == "room"
    assert claims["video"]["roomJoin"] is True
    assert "agent" not in claims["video"]
    assert claims["exp"] - claims["nbf"] == 60


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(SimulatorError, match="LIVEKIT_API_SECRET not set"):
        LiveKitKeys.from_environment({"LIVEKIT_URL": "ws://x", "LIVEKIT_API_KEY": "k"})


def test_a_secret_is_not_shown() -> None:
    assert KEYS.api_secret not in repr(KEYS)


async def test_a_server_on_path_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = script(tmp_path / "livekit-server", "exit 0\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await livekit_install.ensure(tmp_path / "cache") == mine


def fake_go(folder: Path, *, version: str = "go1.26.0", install: str) -> None:
    """A `go` whose `install` runs the given shell lines; each run adds a line to `folder`/runs."""
    script(
        folder / "go",
        f"""\
        if [ "$1" = version ]; then echo "go version {version} linux/amd64"; exit 0; fi
        echo "$@" >> {folder}/runs
        {install}
        """,
    )


async def test_two_installs_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path, install='/bin/sleep 0.3; echo "#!/bin/sh" > "$GOBIN/server"; /bin/chmod 755 "$GOBIN/server"')
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    cache = tmp_path / "cache"
    one, two = await asyncio.gather(
        livekit_install.ensure(cache, said.append), livekit_install.ensure(cache, said.append)
    )
    assert one == two
    assert os.access(one, os.X_OK)
    assert (tmp_path / "runs").read_text().splitlines() == [f"install -v -trimpath {livekit_install.PACKAGE}"]
    assert any("waiting" in line for line in said)


async def test_a_build_that_fails_everywhere_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(tmp_path, install="echo 'no such host'; exit 1")
    script(tmp_path / "uv", "echo 'no network'; exit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorError) as refused:
        await livekit_install.ensure(tmp_path / "cache")
    assert "no such host" in str(refused.value)
    assert "https://go.dev/dl" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "cache").rglob("build-*"))


async def test_a_go_too_old_to_fetch_a_newer_one_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(tmp_path, version="go1.18.1", install="exit 1")
    script(
        tmp_path / "uv",
        """\
        while [ "$1" != --target ]; do shift; done
        /bin/mkdir -p "$2/go/bin"
        printf '#!/bin/sh\\necho > "$GOBIN/server"; /bin/chmod 755 "$GOBIN/server"\\n' > "$2/go/bin/go"
        /bin/chmod 755 "$2/go/bin/go"
        """,
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert os.access(await livekit_install.ensure(tmp_path / "cache"), os.X_OK)
    assert not (tmp_path / "runs").exists()


async def test_a_cancelled_build_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path, install=f"echo $$ > {tmp_path}/pid; exec /bin/sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path))
    building = asyncio.create_task(livekit_install.ensure(tmp_path / "cache"))
    note = tmp_path / "pid"
    async with asyncio.timeout(5):
        while not (note.exists() and note.read_text().strip()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert await gone(int(note.read_text()))
