"""Where and when figures are made: the commit, the date, the machine's size."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from callwright.bench.report import Provenance


def provenance() -> Provenance:
    """This moment on this machine. The machine is described by size, never by name."""
    return Provenance(
        git=_git(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine={"cores": os.cpu_count() or 0, "GB": _memory_gb(), "arch": platform.machine()},
    )


def _git() -> str | None:
    """The commit of the source, with "+" when it has been changed since; None outside a repository."""
    describe = ["describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    command = ["git", "-C", str(Path(__file__).parent), *describe]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _memory_gb() -> int:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (OSError, ValueError):
        return 0
