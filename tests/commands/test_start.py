"""What a command imports before it knows that there is a call to hold: little, and nothing that talks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ("pipecat", "livekit.rtc", "sqlalchemy")
COMMAND = f"""
import sys
from callwright.commands import main
try:
    main(sys.argv[1:])
finally:
    print("imported:", *(name for name in {SLOW} if name in sys.modules))
"""


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_nothing_logs_before_the_command_has_set_the_level(tmp_path: Path) -> None:
    """Loguru reads its level once, on import, and Pipecat greets on its own."""
    code = "import sys, callwright; sys.exit('loguru' in sys.modules)"
    assert python(code, cwd=tmp_path).returncode == 0
    engine = python("import callwright.commands, callwright.call", cwd=tmp_path)
    assert (engine.returncode, engine.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--help"], 0, "Usage"),
        (["config", "show"], 0, "turn."),
        (["run", "nowhere.py", "--room", "r"], 2, "no agent script at nowhere.py"),
    ],
)
def test_the_engine_is_not_imported_where_no_call_is_held(
    tmp_path: Path, arguments: list[str], code: int, told: str
) -> None:
    ran = python(COMMAND, *arguments, cwd=tmp_path)
    assert ran.returncode == code, ran.stderr
    assert told in ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1].strip() == "imported:"
