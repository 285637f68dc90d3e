"""Will a call work here? Each check is one finding: what was looked at, how it is, and how to mend it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from callwright.config import Config
from callwright.errors import CallwrightError
from callwright.stage import STAGES, Stage
from callwright.vendors import Root, Vendor, find, parse_root

State = Literal["good", "bad", "note"]
LIMIT_S = 3.0
"""How long a server may take to answer; a call would have no use for a slower one."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report. `mend` says what to do; "bad" must be mended before a call."""

    name: str
    state: State
    detail: str
    mend: str = ""

    def __str__(self) -> str:
        mark = {"good": "✓", "bad": "✗", "note": "–"}[self.state]
        mend = f" → {self.mend}" if self.mend else ""
        return f"{mark} {self.name}: {self.detail}{mend}"


async def examine(load: Callable[[], Config], *, input_rate: int) -> list[Finding]:
    """All findings, in a stable order; network checks run side by side, each bounded by `LIMIT_S`.

    `load` makes the configuration; when it raises, that is the only finding. `input_rate` (Hz) is that of the
    caller's sound in the pipeline.
    """
    try:
        config = load()
    except CallwrightError as error:
        return [Finding("configuration", "bad", str(error), "correct it there; the rest was not checked")]
    findings = [
        Finding("configuration", "good", "parses"),
        *(Finding("note", "note", n) for n in config.notes),
    ]
    findings += [_key(config, stage) for stage in STAGES]
    findings += await asyncio.gather(*(_vendor(config, stage) for stage in STAGES), _livekit(config))
    findings += [
        await asyncio.to_thread(_database, config),
        _recordings(config),
        *_rates(config, input_rate),
        *_local(),
    ]
    return findings


def _key(config: Config, stage: Stage) -> Finding:
    chosen = config.stage(stage)
    name = f"{stage} key"
    for missing in config.missing():
        if missing.stage == stage:
            return Finding(
                name,
                "bad",
                f"none for {chosen.vendor}",
                f"set {missing.variable} (make one at {missing.keys_url}), or run with --stand-ins",
            )
    source = config.sources.get(f"{stage}.api_key", "default")
    return Finding(name, "good", f"for {chosen.vendor} ({source})")


async def _vendor(config: Config, stage: Stage) -> Finding:
    """Ask for something cheap that needs the key: no network, a refused key and a troubled vendor differ."""
    chosen, row = config.stage(stage), find(stage, config.stage(stage).vendor)
    root = row.default_root() if chosen.base_url is None else parse_root(chosen.base_url, endings=row.endings)
    name = f"{stage} vendor"
    where = f"{row.name} at {root.authority}"
    headers = row.probe.headers(chosen.api_key.get_secret_value()) if chosen.api_key else {}
    try:
        # A proxy has no business between two programs on this machine.
        async with (
            asyncio.timeout(LIMIT_S),
            httpx.AsyncClient(timeout=LIMIT_S, trust_env=not root.loopback) as client,
        ):
            answer = await client.get(f"{root.http}{row.probe.path}", headers=headers)
    except (TimeoutError, httpx.TimeoutException):
        return Finding(name, "bad", f"{where} does not answer within {LIMIT_S:g} s", _network(stage, row, root))
    except httpx.HTTPError as error:
        return Finding(name, "bad", f"{where} cannot be reached ({_cause(error)})", _network(stage, row, root))
    return _answered(name, where, answer.status_code, row, with_key=chosen.api_key is not None)


def _answered(name: str, where: str, status: int, row: Vendor, *, with_key: bool) -> Finding:
    if status >= 500:
        return Finding(
            name, "bad", f"{where} is in trouble (HTTP {status})", "try again later, or choose another vendor"
        )
    if not with_key:
        return Finding(name, "good", f"{where} answers")
    if status == 401:
        return Finding(
            name,
            "bad",
            f"{where} refuses the key (HTTP 401)",
            f"set {row.key_env} to a valid key from {row.keys_url}",
        )
    if status == 402:
        return Finding(name, "bad", f"{where} wants payment (HTTP 402)", f"add credit; see {row.keys_url}")
    if status < 400:
        return Finding(name, "good", f"{where} accepts the key")
    # 403: a key with few rights; 404: a server without such a list; 429: busy. A call may work all the same.
    return Finding(name, "note", f"{where} answers, but not whether the key is good (HTTP {status})")


def _network(stage: Stage, row: Vendor, root: Root) -> str:
    if root.loopback:
        return f"start the server there, or take {stage}.base_url out"
    return f"check the network, a proxy (HTTPS_PROXY), and {stage}.base_url if it is set (default {row.root})"


async def _livekit(config: Config) -> Finding:
    """List rooms: the cheapest request that shows server and credentials to be good."""
    import aiohttp
    from livekit import api

    missing = [each.variable for each in config.missing() if each.stage is None]
    if missing:
        mend = f"set {', '.join(missing)}, or use 'callwright demo', which brings its own server"
        return Finding("LiveKit", "bad", "no server to go to", mend)
    url, key, secret = config.room.credentials()
    where = parse_root(url).authority
    mend = "check LIVEKIT_URL and that the server runs"
    try:
        async with (
            asyncio.timeout(LIMIT_S),
            api.LiveKitAPI(url, key, secret, timeout=aiohttp.ClientTimeout(total=LIMIT_S), failover=False) as server,
        ):
            rooms = await server.room.list_rooms(api.ListRoomsRequest())
    except TimeoutError:
        return Finding("LiveKit", "bad", f"{where} does not answer within {LIMIT_S:g} s", mend)
    except api.ServerError as error:
        if error.status in (401, 403):
            mend = "check LIVEKIT_API_KEY and LIVEKIT_API_SECRET, and this machine's clock"
            return Finding("LiveKit", "bad", f"{where} refuses the credentials (HTTP {error.status})", mend)
        return Finding("LiveKit", "bad", f"{where} answers HTTP {error.status}, not as LiveKit does", mend)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Finding("LiveKit", "bad", f"{where} cannot be reached ({_cause(error)})", mend)
    return Finding("LiveKit", "good", f"{where} accepts the credentials ({len(rooms.rooms)} rooms open)")


def _database(config: Config) -> Finding:
    """Open what is there and write nothing to it; for a file that is not there yet, look at its folder."""
    from callwright.records.database import Database

    url = config.records.database
    shown = next(str(leaf.value) for leaf in config.leaves() if leaf.key == "records.database")
    mend = "set records.database (or CALLWRIGHT_DATABASE) to a place that can be written"
    path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    if path is not None and not path.exists():
        return _will_be_made("database", path.parent, shown, mend)
    if path is not None and not os.access(path, os.W_OK):
        return Finding("database", "bad", f"{shown} cannot be written", mend)
    try:
        with Database.open(url) as database:
            database.write(lambda connection: None)
    except CallwrightError as error:
        return Finding("database", "bad", str(error), mend)
    return Finding("database", "good", f"{shown} can be written")


def _recordings(config: Config) -> Finding:
    if not config.records.record_audio:
        return Finding("recordings", "note", "switched off (records.record_audio)")
    folder = Path(config.records.recordings)
    mend = "set records.recordings (or CALLWRIGHT_RECORDINGS) to a folder that can be written"
    if not folder.exists():
        return _will_be_made("recordings", folder, str(folder), mend)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return Finding("recordings", "bad", f"{folder} is no folder that can be written", mend)
    return Finding("recordings", "good", f"{folder} can be written")


def _will_be_made(name: str, folder: Path, shown: str, mend: str) -> Finding:
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Finding(name, "good", f"{shown} will be made")
    return Finding(name, "bad", f"{shown} cannot be made in {nearest}", mend)


def _rates(config: Config, input_rate: int) -> list[Finding]:
    output_rate = config.room.output_rate
    chain: tuple[tuple[Stage, int], ...] = (("stt", input_rate), ("tts", output_rate))
    bad = [
        f"{row.name} ({stage}) has no {rate} Hz"
        for stage, rate in chain
        if rate not in (row := find(stage, config.stage(stage).vendor)).rates
    ]
    if bad:
        return [Finding("sample rates", "bad", "; ".join(bad), "choose another vendor for that stage")]
    return [Finding("sample rates", "good", f"{input_rate} Hz in, {output_rate} Hz out, at every boundary")]


def _local() -> list[Finding]:
    """What only the stand-ins need: never a reason to fail."""
    from callwright.simulators import livekit_install

    voice = [name for name in ("flite", "espeak-ng") if shutil.which(name)]
    server = livekit_install.installed()
    go = shutil.which("go")
    pieces: list[tuple[str, str | None, str]] = [
        ("stand-in voice", " and ".join(voice) or None, "install it: apt-get install flite (or espeak-ng)"),
        ("stand-in ears", _package("pocketsphinx"), "install it: pip install 'callwright[stand-ins]'"),
        ("stand-in server", _package("aiohttp"), "install it: pip install 'callwright[stand-ins]'"),
        (
            "local LiveKit",
            str(server) if server else (f"will be built once with {go}" if go else None),
            "'callwright demo' fetches a Go toolchain and builds it once",
        ),
    ]
    return [
        Finding(name, "good", found) if found else Finding(name, "note", "not here; only stand-ins need it", mend)
        for name, found, mend in pieces
    ]


def _package(name: str) -> str | None:
    return name if importlib.util.find_spec(name) else None


def _cause(error: BaseException) -> str:
    """The innermost reason, without the address: the line has it already."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
