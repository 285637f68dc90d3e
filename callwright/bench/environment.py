"""Environments of their own, for systems whose packages cannot stand beside ours: made on first use, then kept.

An environment lies in the user's cache, named by what is in it, so that other packages make another one. A file
written last marks it as complete; without it, what an interrupted run left behind is made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from callwright.simulators import lifeline
from callwright.simulators.errors import SimulatorError
from callwright.simulators.livekit_install import cache_folder

INSTALL_LIMIT_S = 900.0
COMPLETE = "complete"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Environment:
    """A Python environment: `packages` are pip requirements, exactly pinned."""

    name: str
    packages: tuple[str, ...]

    def folder(self, cache: Path | None = None) -> Path:
        """Where it lies, made or not; another interpreter or other packages lie elsewhere."""
        content = "\n".join((sys.version, *self.packages))
        digest = hashlib.sha256(content.encode()).hexdigest()[:10]
        return (cache or cache_folder()) / "environments" / f"{self.name}-{digest}"

    async def ensure(self, cache: Path | None = None, progress: Progress = lambda _: None) -> Path:
        """The path of its Python, made if need be; one process at a time makes it.

        Raises SimulatorError, in a line with the next step, if it cannot be made.
        """
        folder = self.folder(cache)
        python = folder / "bin" / "python"
        if _complete(folder, python):
            return python
        folder.parent.mkdir(parents=True, exist_ok=True)
        async with _only_one(folder.with_suffix(".lock"), lambda: progress(f"waiting: {self.name} is being installed")):
            if not _complete(folder, python):  # another process may have made it while we waited
                progress(f"installing {self.name} into an environment of its own (about a minute, once)")
                await self._make(folder, python)
                progress(f"{self.name} is installed in {folder}")
        return python

    async def _make(self, folder: Path, python: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        uv = shutil.which("uv")
        if uv:
            steps = [
                [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
                [uv, "pip", "install", "--quiet", "--python", str(python), *self.packages],
            ]
        else:
            steps = [
                [sys.executable, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages],
            ]
        for step in steps:
            last = await _run(step)
            if last is not None:
                raise SimulatorError(
                    f"{self.name} cannot be installed ({last}): check that PyPI can be reached, and run again"
                )
        (folder / COMPLETE).touch()


def _complete(folder: Path, python: Path) -> bool:
    return (folder / COMPLETE).exists() and os.access(python, os.X_OK)


@asynccontextmanager
async def _only_one(lock: Path, wait: Callable[[], None]) -> AsyncIterator[None]:
    with lock.open("w") as held:
        told = False
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    wait()
                    told = True
                await asyncio.sleep(0.5)
        yield  # closing the file gives the lock back


async def _run(program: list[str]) -> str | None:
    """Run to the end; None if that went well, else its last words. It dies with us, and at the limit."""
    process = await asyncio.create_subprocess_exec(
        *lifeline.command(*program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    last: deque[str] = deque(maxlen=2)
    try:
        async with asyncio.timeout(INSTALL_LIMIT_S):
            async for line in process.stdout:
                last.append(line.decode(errors="replace").strip())
            code = await process.wait()
        return None if code == 0 else " / ".join(last) or f"code {code}"
    except TimeoutError:
        return f"gave up after {INSTALL_LIMIT_S:.0f} s"
    finally:
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            await process.wait()
