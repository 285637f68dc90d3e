"""`callwright replay`: what a person sees, what a script reads, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from callwright.clock import ManualClock
from callwright.commands import main, replay
from callwright.errors import AgentError, CallwrightError, ConfigError
from callwright.records import events as e
from callwright.records.calls import UnknownCall
from callwright.records.database import Database
from callwright.records.journal import Journal
from callwright.replay import NothingToReplay

SCRIPT = """
from pathlib import Path

from callwright import Agent, tool

print("a script may print")


@tool(side_effect=False)
async def free_slots(day: str) -> dict:
    \"\"\"Look up free slots.\"\"\"
    print("and so may a tool")
    return {"day": day, "slots": [{"start": "10:30", "doctor": "Bell"}]}


@tool
async def book(start: str) -> str:
    \"\"\"Book a slot.\"\"\"
    with (Path(__file__).parent / "booked").open("a") as file:
        file.write(start)
    return "booked"


agent = Agent(name="desk", prompt="Be brief.", tools=[free_slots, book])
"""
FREE: dict[str, Any] = {"day": "tuesday", "slots": [{"start": "10:30", "doctor": "Bell"}]}
OTHER: dict[str, Any] = {"day": "tuesday", "slots": [{"start": "10:30", "doctor": "\x1b[2JGrant"}]}
Used = tuple[str, dict[str, Any], Any]


async def _write(path: Path, call_id: str, script: str, used: Sequence[Used], agent: str) -> None:
    clock = ManualClock()
    with Database.open(str(path)) as database:
        async with await Journal.open(database, call_id, clock) as journal:
            journal.append(e.CallStarted(agent, "demo", {}, {}, None, 48_000, script))
            for number, (name, arguments, result) in enumerate(used):
                journal.append(e.ToolStarted(number + 1, f"t{number}", name, arguments))
                clock.advance(ms=12)
                journal.append(e.ToolEnded(number + 1, f"t{number}", name, ok=True, result=result))
            journal.append(e.CallEnded("caller_left", "the caller hung up", ok=True))


class Desk:
    """A user's folder with an agent in it, and their records."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "calls.db"
        self.script = folder / "desk.py"
        self.script.write_text(SCRIPT)
        self.booked = folder / "booked"

    def held(self, *used: Used, call_id: str = "68f1-abc", script: str | None = None, agent: str = "desk") -> None:
        asyncio.run(_write(self.database, call_id, str(self.script) if script is None else script, used, agent))


LOOKED: Used = ("free_slots", {"day": "tuesday"}, FREE)
BOOKED: Used = ("book", {"start": "10:30"}, "booked")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    monkeypatch.setenv("CALLWRIGHT_DATABASE", f"sqlite:///{made.database}")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("ANTHROPIC_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY", "LIVEKIT_URL"):
        monkeypatch.delenv(name, raising=False)
    return made


def run(*arguments: str) -> Result:
    app = typer.Typer()

    @app.callback()
    def root() -> None: ...

    replay.register(app)
    return CliRunner().invoke(app, ["replay", *arguments])


def refusal(*arguments: str) -> CallwrightError:
    error = run(*arguments).exception
    assert isinstance(error, CallwrightError)
    assert "\n" not in str(error)
    return error


def test_a_call_that_behaves_as_before_ends_with_0(desk: Desk) -> None:
    desk.held(LOOKED)
    result = run("last")
    assert result.exit_code == 0, result.exception
    assert 'turn 1   same         free_slots(day="tuesday")' in result.stdout
    assert "1 tool call: 1 same" in result.stdout


def test_a_call_that_behaves_otherwise_ends_with_1_and_shows_where(desk: Desk) -> None:
    desk.held(("free_slots", {"day": "tuesday"}, OTHER), BOOKED, ("parking", {}, 3), ("free_slots", {}, FREE))
    result = run("68f1")
    assert result.exit_code == 1
    order = [
        "call     68f1-abc  desk, ",
        "turn 1   differs      free_slots",
        'slots[0].doctor: "',
        '→ "Bell"',
        'turn 2   recorded     book(start="10:30")',
        "turn 3   gone         parking()",
        "turn 4   refused now  free_slots()",
        "mend its arguments: day: Field",
        "4 tool calls: 1 differs, 1 refused now, 1 gone, 1 recorded",
        "--effects runs it",
    ]
    position = 0
    for part in order:
        position = result.stdout.index(part, position)
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_a_result_cannot_steer_the_terminal(desk: Desk) -> None:
    desk.held(("free_slots", {"day": "\x1b[2J[red]x"}, OTHER))
    output = run("last").stdout
    assert "\x1b" not in output
    assert "[red]x" in output


def test_two_long_values_are_shown_where_they_differ(desk: Desk) -> None:
    then = {**FREE, "slots": [{"start": "10:30", "doctor": "Bell" * 30 + " of room five"}]}
    desk.script.write_text(SCRIPT.replace('"Bell"', '"Bell" * 30 + " of room four"'))
    desk.held(("free_slots", {"day": "tuesday"}, then))
    assert '…ll of room five" → …ll of room four"' in run("last").stdout


def test_what_is_ignored_does_not_count(desk: Desk) -> None:
    desk.held(("free_slots", {"day": "tuesday"}, OTHER))
    assert run("last", "--ignore", "slots[*].doctor").exit_code == 0


def test_nothing_is_done_to_the_world_unless_asked_for(desk: Desk) -> None:
    desk.held(BOOKED)
    result = run("last")
    assert result.exit_code == 0
    assert "Nothing was run: a tool counts as having a side effect" in result.stdout
    assert not desk.booked.exists()
    result = run("last", "--effects")
    assert "--effects: book will act for real, once more" in result.stderr
    assert "1 tool call: 1 same" in result.stdout
    assert desk.booked.read_text() == "10:30"


def test_a_tool_alone(desk: Desk) -> None:
    desk.held(LOOKED, BOOKED)
    result = run("last", "--only", "free_slots", "--effects")
    assert "2 tool calls: 1 same, 1 not run" in result.stdout
    assert "will act" not in result.stderr
    assert not desk.booked.exists()
    error = refusal("last", "--only", "free_slot")
    assert isinstance(error, ConfigError)
    assert "did you mean 'free_slots'?" in str(error)


def test_everything_as_json(desk: Desk, tmp_path: Path) -> None:
    desk.held(("free_slots", {"day": "tuesday"}, OTHER))
    file = tmp_path / "replay.json"
    assert run("last", "--json", str(file)).exit_code == 1
    found = json.loads(file.read_text())
    assert (found["call_id"], found["differs"], found["counts"]) == ("68f1-abc", True, {"differs": 1})
    (call,) = found["calls"]
    assert call["differences"] == [{"path": "slots[0].doctor", "then": "\x1b[2JGrant", "now": "Bell"}]
    assert (call["then"]["result"], call["now"]["result"]) == (OTHER, FREE)
    assert isinstance(refusal("last", "--json", str(tmp_path / "no" / "where.json")), ConfigError)


def test_what_a_script_prints_is_kept_out_of_the_answer(desk: Desk) -> None:
    desk.held(LOOKED)
    result = run("last")
    assert "may print" not in result.stdout
    assert "and so may a tool" in result.stderr


def test_another_script_may_be_named_and_another_agent_is_noticed(desk: Desk) -> None:
    desk.held(LOOKED, script="", agent="front")
    result = run("last", str(desk.script))
    assert result.exit_code == 0, result.exception
    assert "held by 'front', this script's agent is 'desk'" in result.stdout


def test_a_script_that_is_not_known_not_there_or_no_agent_is_told_in_one_line(desk: Desk, tmp_path: Path) -> None:
    desk.held(LOOKED, script="", call_id="old")
    assert "callwright replay ID AGENT.py" in str(refusal("old"))
    desk.held(LOOKED, script="/gone/desk.py", call_id="moved")
    assert "held by /gone/desk.py, which is gone" in str(refusal("moved"))
    assert "did you mean" in str(refusal("old", str(tmp_path / "desc.py")))
    (tmp_path / "empty.py").write_text("")
    error = refusal("old", str(tmp_path / "empty.py"))
    assert isinstance(error, AgentError)
    assert "defines no Agent" in str(error)


def test_an_unknown_call_and_one_without_tools_are_told_in_one_line(desk: Desk) -> None:
    assert isinstance(refusal("last"), UnknownCall)
    desk.held()
    assert isinstance(refusal("last"), NothingToReplay)
    assert str(refusal("68f1-abd")) == "no call '68f1-abd'; the nearest are 68f1-abc"


def test_the_command_is_there_and_its_exit_code_is_the_answer(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.held(("free_slots", {"day": "tuesday"}, OTHER))
    with pytest.raises(SystemExit) as exit:
        main(["replay", "last"])
    assert exit.value.code == 1
    assert capsys.readouterr().out.startswith("call ")
