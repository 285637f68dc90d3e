"""The demo, as the README's first command runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from pathlib import Path

from .conftest import Line


async def test_the_demo_books_an_appointment_from_words_recognised_in_their_sound(line: Line) -> None:
    """No key is set: every vendor is a stand-in with its usual delays, and the ears are pocketsphinx."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environment = {
        **kept,
        **line.livekit.environment(),
        "CALLWRIGHT_DATABASE": f"sqlite:///{line.folder / 'calls.db'}",
        "CALLWRIGHT_RECORDINGS": str(line.folder / "recordings"),
        "XDG_DATA_HOME": str(line.folder),
    }
    result = line.folder / "out.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "callwright", "demo", "--once", "--room", line.room, "--json", str(result)),
        env=environment,
        cwd=line.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(100):
            out, err = (stream.decode() for stream in await process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err
    found = json.loads(result.read_text())
    assert set(found) == {
        "call_id",
        "stages",
        "turns",
        "tool_calls",
        "mute_turns",
        "response_gap_ms",
        "booked",
        "cost_usd",
        "recording",
        "end_reason",
    }
    assert {stage["stand_in"] for stage in found["stages"].values()} == {True}
    assert found["mute_turns"] == 0
    assert found["end_reason"] == "agent_ended"
    assert [tool["name"] for tool in found["tool_calls"]] == ["find_patient", "free_slots", "book", "end_call"]
    assert all(tool["ok"] and tool["ms"] > 0 for tool in found["tool_calls"])
    assert 0 < found["response_gap_ms"]["p50"] <= found["response_gap_ms"]["p95"]
    assert found["cost_usd"] > 0
    assert Path(found["recording"]).stat().st_size > 1_000_000
    with sqlite3.connect(line.folder / "callwright" / "demo" / "frontdesk.db") as calendar:
        booked = calendar.execute(
            "SELECT p.name, a.start, a.status FROM appointments a JOIN patients p ON p.id = a.patient_id "
            "ORDER BY a.id DESC"
        ).fetchone()
    assert booked == ("Mary Johnson", found["booked"]["start"], "active")
    assert found["booked"]["patient"] == "Mary Johnson"
    assert "Shall I book that for you?" in out
    assert "local stand-in (no key set)" in err
