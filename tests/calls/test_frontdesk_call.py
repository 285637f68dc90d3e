"""The shipped agent, called by voice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from callwright.agent import load
from callwright.simulators.process import Control

from .conftest import AT_ONCE, Line

AGENTS = Path(__file__).parents[2] / "agents"
RULES = str(AGENTS / "frontdesk.rules.yaml")


@pytest.fixture
def calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calendar.db"
    monkeypatch.setenv("FRONTDESK_CALENDAR", str(path))
    return path


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
