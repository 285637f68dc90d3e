"""A PostgreSQL server of our own on loopback, for the tests that ask for one."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    """On PATH, or where Debian keeps the server's programs."""
    found = shutil.which(name)
    if found is not None:
        return found
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(installed[-1]) if installed else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty database; skips, saying why, where PostgreSQL cannot be run."""
    pytest.importorskip("pg8000", reason="the PostgreSQL driver is not installed (callwright[postgres])")
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("no PostgreSQL server on this machine (initdb and postgres not found)")
    user = getpass.getuser()
    as_user: str | None = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            user = as_user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root and there is no user 'postgres'")
    home = Path(tempfile.mkdtemp(prefix="callwright-postgres-"))
    if as_user is not None:
        shutil.chown(home, as_user)
    data, port = home / "data", _free_port()

    try:
        subprocess.run(
            [initdb, "-D", str(data), "-U", user, "-A", "trust", "-E", "UTF8", "--no-sync"],
            user=as_user,
            cwd=home,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )
        settings = (f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        options = [part for setting in settings for part in ("-c", setting)]
        server = subprocess.Popen(
            [postgres, "-D", str(data), *options],
            user=as_user,
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(data, server)
            yield f"postgresql://{user}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # the server's "fast" shutdown: open connections are cut
            server.wait(timeout=30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_ready(data: Path, server: subprocess.Popen[bytes]) -> None:
    """The server itself writes "ready" into its pid file."""
    deadline = time.monotonic() + 30
    pid_file = data / "postmaster.pid"
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the PostgreSQL server ended with {server.returncode}"
        if pid_file.exists() and pid_file.read_text().rstrip().endswith("ready"):
            return
        time.sleep(0.02)
    raise AssertionError("the PostgreSQL server was not ready within 30 s")
