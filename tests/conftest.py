"""What every test is held to: nothing it started may outlive it."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from loguru import logger

logger.remove()  # Pipecat writes every frame of a call to the log of a failing test

KEPT = ("smart-turn", "pytest_timeout", "asyncio_", "ThreadPoolExecutor", "livekit", "Dummy-")
"""Threads that belong to the process, not to a test: one model for all calls, loops' default executors,
and native threads of the LiveKit SDK that once called into Python."""


@pytest.fixture(autouse=True)
async def no_task_outlives_its_test(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Fail the test that left a task running."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task() and not task.done()}
    assert not left, f"tasks left behind: {sorted(task.get_name() for task in left)}"


@pytest.fixture(autouse=True)
def no_process_socket_or_thread_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that left a child process, a listening socket or a thread behind (Linux)."""
    session_fixtures = {"livekit", "stand_ins", "postgres"} & set(request.fixturenames)
    for name in session_fixtures:
        request.getfixturevalue(name)  # started before the count: they outlive the test by design
    before = (_children(), _listening(), {thread.ident for thread in threading.enumerate()})
    yield
    if _children() - before[0] or _listening() - before[1]:
        gc.collect()  # what only waits for the collector is not left behind
    assert not _children() - before[0], "a child process was left behind"
    assert not _listening() - before[1], "a listening socket was left behind"
    left = [
        thread.name
        for thread in threading.enumerate()
        if thread.ident not in before[2] and thread.is_alive() and not thread.name.startswith(KEPT)
    ]
    assert not left, f"threads left behind: {left}"


@pytest.fixture(autouse=True)
def no_log_handler_outlives_its_test() -> Iterator[None]:
    """A command that ran in a test leaves one that writes to the captured stream, which is closed by then."""
    yield
    logger.remove()


def _children() -> set[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    children = {int(child) for child in path.read_text().split()} if path.exists() else set()
    return {child for child in children if not _of_the_interpreter(child)}


def _of_the_interpreter(process: int) -> bool:
    """Python's own helper of `multiprocessing`, which lives as long as the process that first needed it."""
    try:
        return b"multiprocessing" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return True  # already gone


def _listening() -> set[str]:
    """Inodes of this process's listening TCP sockets."""
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    listening = {
        line.split()[9]
        for table in tables
        if table.exists()
        for line in table.read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    ours = set()
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.exists() else ():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            ours.add(target[8:-1])
    return listening & ours
