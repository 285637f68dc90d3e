"""The shipped agent, called by voice."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from callwright.agent import load
from callwright.simulators.account import AccountSettings
from callwright.simulators.process import Control

from .conftest import AT_ONCE, Line

AGENTS = Path(__file__).parents[2] / "agents"
RULES = str(AGENTS / "frontdesk.rules.yaml")


@pytest.fixture
def calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calendar.db"
    monkeypatch.setenv("FRONTDESK_CALENDAR", str(path))
    return path


async def test_a_booking_is_made_from_words_recognised_in_their_sound(line: Line, calendar: Path) -> None:
    """The demo's conversation without the vendors' delays; the ears are pocketsphinx and know nothing."""
    hearing = AccountSettings(ears="pocketsphinx", speed=0, brain_rules=RULES)
    own = dataclasses.replace(line, settings=hearing, entries=[])
    lines = (AGENTS / "frontdesk.caller.yaml").read_text().split("steps:\n")[1].splitlines()
    steps = [entry.strip().removeprefix("- ") for entry in lines]
    outcome, report, _ = await own.hold(load(AGENTS / "frontdesk.py"), steps)
    assert outcome.ending.reason == "agent_ended"
    assert report.mute_turns == 0
    assert [tool.name for tool in outcome.record.tools] == ["find_patient", "free_slots", "book", "end_call"]
    assert all(tool.ok for tool in outcome.record.tools)
    with sqlite3.connect(calendar) as database:
        booked = database.execute(
            "SELECT p.name, a.status FROM appointments a JOIN patients p ON p.id = a.patient_id ORDER BY a.id DESC"
        ).fetchone()
    assert booked == ("Mary Johnson", "active")


async def test_a_farewell_is_said_once(line: Line, calendar: Path) -> None:
    """The tool that ends the call has said goodbye; the model is not asked for another."""
    own = dataclasses.replace(line, settings=AT_ONCE.model_copy(update={"brain_rules": RULES}), entries=[])
    steps = ["wait: {quiet_ms: 600}", "say: Goodbye.", "silence: 6", "hang_up"]
    outcome, _, _ = await own.hold(load(AGENTS / "frontdesk.py"), steps)
    assert outcome.ending.reason == "agent_ended"
    async with Control(own.url) as control:
        account = await control.account(own.key)
    assert len(account["requests"]) == 1
    assert outcome.record.turns[-1].agent_text == "Thank you for calling. Goodbye."
