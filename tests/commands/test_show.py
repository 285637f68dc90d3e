"""`callwright calls` and `callwright show`: readable at 80 columns, complete as JSON, one line when wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from callwright.clock import ManualClock
from callwright.commands import calls, show
from callwright.records import events as e
from callwright.records.calls import UnknownCall
from callwright.records.database import Database
from callwright.records.journal import Journal

RATE = 48_000
STAGES = {
    "stt": e.Stage("deepgram", "nova-3-general", stand_in=True),
    "llm": e.Stage("anthropic", "claude-haiku-5-5"),
    "tts": e.Stage("cartesia", "sonic-3.6", stand_in=True),
}
ANSWER = "Sure, Tuesday at ten thirty is free, and so is Wednesday at nine. Which of them do you prefer?"


def ms(milliseconds: float) -> int:
    return round(milliseconds * RATE / 1000)


async def hold(path: Path, call_id: str, *, caller: str = "I would like an appointment", minutes: int = 0) -> None:
    """A whole call in the journal: a greeting, and one turn with tools, cut off by the caller."""
    clock = ManualClock(ManualClock().wall() + timedelta(minutes=minutes))
    with Database.open(str(path)) as database:
        async with await Journal.open(database, call_id, clock) as journal:

            def say(after_ms: float, *events: e.Event) -> None:
                clock.advance(ms=after_ms)
                for event in events:
                    journal.append(event)

            say(0, e.CallStarted("frontdesk", "demo", STAGES, {}, "/recordings/call.wav", RATE))
            say(0, e.RecordingClock(0), e.CallerJoined("caller"))
            say(50, e.StageStarted(0, "tts", "cartesia", "sonic-3.6", 1))
            say(150, e.StageFirstByte(0, "tts", 1), e.AgentSpeechStarted(0, ms(200)))
            say(1800, e.AgentText(0, "Front desk, good morning.", "greeting", interrupted=False))
            say(2000, e.SpeechEnded(ms(3_800)))  # now 4000
            say(40, e.Transcript(caller, final=True, sample=ms(3_800)))
            say(60, e.TurnStarted(1, caller, ms(3_800)))
            say(10, e.StageStarted(1, "llm", "anthropic", "claude-haiku-5-5", 1))
            say(320, e.StageFirstByte(1, "llm", 1))
            say(10, e.ToolStarted(1, "t1", "free_slots", {"day": "tuesday"}))
            say(12, e.ToolEnded(1, "t1", "free_slots", ok=True, result=["10:30", "09:00"]))
            say(5, e.ToolStarted(1, "t2", "book", {"start": "10:30"}))
            say(9, e.ToolEnded(1, "t2", "book", ok=False, result=None, error="the slot is taken"))
            say(4, e.StageStarted(1, "tts", "cartesia", "sonic-3.6", 2))
            say(130, e.StageFirstByte(1, "tts", 2), e.AgentSpeechStarted(1, ms(4_650)))
            say(3000, e.AgentSpeechEnded(1, ms(7_600), interrupted=True))
            say(1, e.AgentText(1, ANSWER, "answer", interrupted=True))
            say(1, e.Usage(1, "stt", "deepgram", "nova-3-general", {"audio_seconds": 7.5}))
            tokens = {"input_tokens": 1_200.0, "cache_read_tokens": 900.0, "output_tokens": 60.0, "requests": 2.0}
            say(1, e.Usage(1, "llm", "anthropic", "claude-haiku-5-5", tokens))
            say(1, e.Usage(1, "tts", "cartesia", "sonic-3.6", {"characters": 120}))
            say(1, e.VendorFailed(1, "tts", "cartesia", "timeout", "no audio within 3 s", permanent=False))
            say(500, e.CallEnded("caller_left", "the caller hung up", ok=True))


async def falter(path: Path) -> None:
    """A call whose tools take long and whose vendors fail, with a filler before the answer."""
    clock = ManualClock()
    with Database.open(str(path)) as database:
        async with await Journal.open(database, "c", clock) as journal:

            def say(at_ms: float, *events: e.Event) -> None:
                clock.advance(ms=at_ms - clock.monotonic_ns() / 1e6)
                for event in events:
                    journal.append(event)

            def said(at_ms: float, text: str, role: str) -> e.AgentText:
                heard = tuple(e.HeardWord(word, ms(at_ms), ms(at_ms + 200)) for word in text.split())
                return e.AgentText(1, text, role, interrupted=False, words=heard, remembered=role != "filler")

            say(0, e.CallStarted("frontdesk", "demo", STAGES, {}, None, RATE), e.RecordingClock(0))
            say(1_300, e.TurnStarted(1, "Pay it, please", ms(1_000)))
            say(1_400, e.StageTroubled(1, "llm", "anthropic", "no_first_token", 1_500, "hedge"))
            say(1_500, e.ToolStarted(1, "t1", "pay", {"sum": 5}), e.ToolStarted(1, "t2", "look", {}))
            say(1_600, e.ToolRetried(1, "t2", "look", 2, "timeout", 0.25))
            say(1_700, e.ToolCancelled(1, "t2", "look", "caller_spoke"))
            say(1_700, e.ToolEnded(1, "t2", "look", ok=False, result=None, error="look was cancelled"))
            say(1_800, e.AgentSpeechStarted(1, ms(1_800)), said(1_800, "One moment.", "filler"))
            say(5_500, e.ToolPending(1, "t1", "pay"), said(2_600, "It still runs.", "answer"))
            say(6_000, e.TurnStarted(2, "Did you pay it?", ms(5_900)))
            say(6_100, e.ToolJoined(2, "t3", "pay", {"sum": 5}, run="t1"))
            say(7_500, e.ToolEnded(1, "t1", "pay", ok=False, result=None, error="pay has not ended"))
            say(7_600, e.ToolNews(2, ("t1",)))
            say(9_500, e.ToolLate(1, "t1", "pay", ok=True, result={"paid": True}))
            say(9_600, e.StageTroubled(3, "stt", "deep\x1b[2Jgram", "no_transcript", 1_000, "gave_up"))
            say(9_700, e.CallEnded("caller_left", "", ok=True))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calls.db"
    monkeypatch.setenv("CALLWRIGHT_DATABASE", f"sqlite:///{path}")
    monkeypatch.setenv("COLUMNS", "80")
    return path


def run(arguments: Sequence[str]) -> Result:
    app = typer.Typer()
    calls.register(app)
    show.register(app)
    return CliRunner().invoke(app, list(arguments))


def output(*arguments: str) -> str:
    result = run(arguments)
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_a_call_reads_like_a_transcript(path: Path) -> None:
    asyncio.run(hold(path, "68f1-abc"))
    text = output("show", "68f1")
    order = [
        "frontdesk in room demo",
        "deepgram nova-3-general (stand-in)",
        "anthropic claude-haiku-5-5\n",
        "caller_left: the caller hung up",
        "greeting",
        "Front desk, good morning.",
        "turn 1",
        "I would like an appointment",
        'free_slots(day="tuesday") ✓ 12 ms',
        'book(start="10:30") ✗ 9 ms',
        "the slot is taken",
        "Sure, Tuesday at ten thirty",
        "[cut off by the caller]",
        "final transcript",
        "no audio within 3 s",
        "used",
        "2026-08-01",
        "/recordings/call.wav",
    ]
    position = 0
    for part in order:
        position = text.index(part, position)


def test_the_waterfall_gives_each_stages_time(path: Path) -> None:
    asyncio.run(hold(path, "c"))
    lines = output("show", "c").splitlines()
    figures = {line.split()[0]: line for line in lines if line.startswith("  ") and " ms " in line and line.split()}
    for name, figure in (("stt", "240"), ("turn", "300"), ("llm", "630"), ("tts", "800"), ("sound", "850")):
        assert f" {figure} ms " in figures[name]
    assert figures["llm"].index("█") > figures["stt"].index("█")
    assert figures["sound"].index("▲") > figures["tts"].index("█")


def test_what_became_of_a_tool_that_was_not_waited_for_is_told(path: Path) -> None:
    asyncio.run(falter(path))
    told = " ".join(output("show", "c").split())
    for part in (
        "pay(sum=5) ✗ 6000 ms pay has not ended [not waited for, told as news in turn 2] in truth ✓ 8000 ms",
        '{"paid": true}',
        "look() ✗ 200 ms look was cancelled [2 attempts, cancelled: caller spoke]",
        "pay(sum=5) joined the run of turn 1",
    ):
        assert part in told


def test_what_the_stages_had_trouble_with_is_told(path: Path) -> None:
    asyncio.run(falter(path))
    text = output("show", "c")
    assert "trouble  turn 1: llm anthropic no first token after 1500 ms, hedge\n" in text
    assert "no transcript after 1000 ms, gave up\n" in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_filler_is_told_from_the_answer(path: Path) -> None:
    asyncio.run(falter(path))
    text = output("show", "c")
    assert "answer after the caller's last: p50 1600 ms" in text
    assert "   800 ms first sound" in text
    assert "  1600 ms its first word" in text


def test_tools_and_troubles_are_whole_in_json(path: Path) -> None:
    asyncio.run(falter(path))
    record = json.loads(output("show", "c", "--json"))
    first, second = record["turns"]
    pay = first["tools"][0]
    assert (pay["pending"], pay["news_turn"]) == (True, 2)
    assert pay["late"] == {"ok": True, "ms": 8_000, "result": {"paid": True}, "error": None}
    assert [(one["run"], one["run_turn"]) for one in second["joined"]] == [("t1", 1)]
    assert [one["action"] for one in record["troubles"]] == ["hedge", "gave_up"]
    assert (first["first_sound_ms"], first["response_gap_ms"]) == (800, 1_600)


def test_it_fits_eighty_columns_and_has_no_colour_when_piped(path: Path) -> None:
    asyncio.run(hold(path, "c", caller="please " * 60))
    for text in (output("show", "c"), output("calls")):
        assert "\x1b" not in text
        assert max(len(line) for line in text.splitlines()) <= 80


def test_a_callers_words_cannot_steer_the_terminal_or_the_markup(path: Path) -> None:
    asyncio.run(hold(path, "c", caller="\x1b[2J\x07 [bold]hello[/bold] \u202eolleh"))
    text = output("show", "c")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[bold]hello[/bold]" in text


def test_everything_as_json(path: Path) -> None:
    asyncio.run(hold(path, "c"))
    record = json.loads(output("show", "last", "--json"))
    assert record["call_id"] == "c"
    assert [turn["number"] for turn in record["turns"]] == [0, 1]
    assert record["turns"][1]["first_sound_ms"] == 850
    assert [tool["ok"] for tool in record["tools"]] == [True, False]
    assert record["cost_usd"] > 0


def test_the_journal_as_json_lines(path: Path) -> None:
    asyncio.run(hold(path, "c"))
    lines = [json.loads(line) for line in output("show", "c", "--events").splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[0]["kind"] == "call_started"
    assert lines[-1]["data"] == {"reason": "caller_left", "detail": "the caller hung up", "ok": True}
    assert set(lines[0]) == {"seq", "monotonic_ns", "wall", "kind", "data"}


def test_calls_are_listed_newest_first(path: Path) -> None:
    asyncio.run(hold(path, "first"))
    asyncio.run(hold(path, "second", minutes=1))
    lines = output("calls").splitlines()
    assert [line.split()[0] for line in lines] == ["id", "second", "first"]
    assert "frontdesk" in lines[1]
    assert "$0.0" in lines[1]
    found = json.loads(output("calls", "--json", "--limit", "1"))
    assert [call["call_id"] for call in found] == ["second"]
    assert found[0]["turns"] == 1


def test_a_database_named_on_the_command_line_comes_before_the_environment(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    asyncio.run(hold(other, "there"))
    assert "there" in output("calls", "--database", str(other))
    assert "no calls" in output("calls")


def test_an_unknown_id_names_the_nearest_and_exits_with_two(path: Path) -> None:
    asyncio.run(hold(path, "68f1-abc"))
    error = run(["show", "68f1-abd"]).exception
    assert isinstance(error, UnknownCall)
    assert str(error) == "no call '68f1-abd'; the nearest are 68f1-abc"
    assert error.exit_code == 2


def test_without_any_call_the_way_to_the_first_is_told_and_no_file_is_made(path: Path) -> None:
    assert "scripts/demo" in output("calls")
    assert json.loads(output("calls", "--json")) == []
    error = run(["show", "last"]).exception
    assert isinstance(error, UnknownCall)
    assert "scripts/demo" in str(error)
    assert not path.exists()


def test_another_price_book_changes_the_dollars(path: Path, tmp_path: Path) -> None:
    asyncio.run(hold(path, "c"))
    own = tmp_path / "own.csv"
    own.write_text("vendor,model,unit,price,source,date\ncartesia,sonic-3.6,usd_per_1m_chars,0,ours,2026-11-02\n")
    cheaper = json.loads(output("show", "c", "--json", "--prices", str(own)))
    usual = json.loads(output("show", "c", "--json"))
    assert usual["cost_usd"] - cheaper["cost_usd"] == pytest.approx(0.006)


def test_a_terminal_without_unicode_gets_plain_signs(path: Path) -> None:
    asyncio.run(hold(path, "c", caller="ça va 🎧"))
    app = typer.Typer()
    calls.register(app)
    show.register(app)
    result = CliRunner(charset="ascii").invoke(app, ["show", "c"])
    assert result.exit_code == 0, result.exception
    assert "?a va ?" in result.stdout
    assert "#" in result.stdout
    assert "12 ms" in result.stdout
