"""The tables say what the journal says; calls are found by what one types."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from callwright.clock import ManualClock
from callwright.records import events as e
from callwright.records import schema
from callwright.records.calls import UnknownCall, find, load, recent
from callwright.records.database import Database
from callwright.records.journal import Journal
from callwright.records.prices import PriceBook
from callwright.records.tables import write_call


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(str(tmp_path / "calls.db")) as opened:
        yield opened


async def record_call(
    database: Database,
    call_id: str,
    *,
    minutes: int = 0,
    ended: bool = True,
    config: e.JsonObject | None = None,
    agent: str = "frontdesk",
) -> None:
    stages = {"tts": e.Stage("cartesia", "sonic-3.6", stand_in=True)}
    clock = ManualClock(ManualClock().wall() + timedelta(minutes=minutes))
    async with await Journal.open(database, call_id, clock) as journal:
        journal.append(e.CallStarted(agent, "demo", stages, config or {}, None, 48_000))
        journal.append(e.RecordingClock(0))
        journal.append(e.AgentText(0, "Good morning.", "greeting", interrupted=False))
        clock.advance(ms=1_000)
        journal.append(e.TurnStarted(1, "hello \ud800", 24_000))
        journal.append(e.ToolStarted(1, "t", "find", {"name": "Mary"}))
        journal.append(e.ToolEnded(1, "t", "find", ok=True, result={"id": 3}))
        journal.append(e.ToolStarted(1, "u", "book", {}))
        journal.append(e.Usage(1, "tts", "cartesia", "sonic-3.6", {"characters": 1_000}))
        if ended:
            journal.append(e.CallEnded("caller_left", "", ok=True))


def count(database: Database, name: str) -> int | None:
    table = schema.metadata.tables[name]
    return database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar())


async def check_tables(database: Database) -> None:
    await record_call(database, "c", agent="front\0desk")
    record = write_call(database, "c")
    assert record == load(database, "c")
    call = database.read(lambda c: c.execute(select(schema.calls)).one())
    assert (call.call_id, call.agent, call.turns, call.reason) == ("c", "frontdesk", 1, "caller_left")
    assert call.started == record.started
    assert call.cost_usd == pytest.approx(0.05)
    assert call.stages["tts"]["stand_in"] is True
    turns = database.read(lambda c: c.execute(select(schema.turns)).all())
    assert [(turn.number, turn.caller_text) for turn in turns] == [(0, ""), (1, "hello ?")]
    tools = database.read(lambda c: c.execute(select(schema.tool_calls)).all())
    assert [(tool.name, tool.arguments, tool.ok, tool.result) for tool in tools] == [
        ("find", {"name": "Mary"}, True, {"id": 3}),
        ("book", {}, None, None),
    ]
    usage = database.read(lambda c: c.execute(select(schema.usage)).one())
    assert (usage.quantities, usage.price_dated) == ({"characters": 1_000}, "2026-06-24")
    write_call(database, "c")
    assert [count(database, name) for name in ("calls", "turns", "tool_calls", "usage")] == [1, 2, 2, 1]


async def test_a_call_is_in_the_tables_once_however_often_it_is_written(database: Database) -> None:
    await check_tables(database)


async def test_the_tables_are_the_same_in_postgres(postgres_url: str) -> None:
    with Database.open(postgres_url) as database:
        await check_tables(database)


async def test_calls_are_listed_newest_first_also_those_that_crashed(database: Database) -> None:
    await record_call(database, "old", minutes=1)
    await record_call(database, "crashed", minutes=3, ended=False)
    await record_call(database, "mid", minutes=2)
    write_call(database, "old")
    assert [(call.call_id, call.ok) for call in recent(database, 10)] == [
        ("crashed", False),
        ("mid", True),
        ("old", True),
    ]
    assert [call.call_id for call in recent(database, 2)] == ["crashed", "mid"]
    assert recent(database, 10)[0].reason == "unknown (no end recorded)"


async def test_a_list_line_is_the_same_from_the_tables_as_from_the_journal(database: Database) -> None:
    await record_call(database, "c")
    folded = recent(database, 1)
    write_call(database, "c")
    assert recent(database, 1) == folded


async def test_tables_that_are_behind_the_journal_are_not_believed(database: Database) -> None:
    await record_call(database, "c", ended=False)
    write_call(database, "c")
    async with await Journal.open(database, "c", ManualClock()) as journal:
        journal.append(e.CallEnded("max_duration", "", ok=True))
    assert recent(database, 1)[0].reason == "max_duration"


async def test_a_call_is_found_by_its_id_a_unique_beginning_or_as_the_last(database: Database) -> None:
    await record_call(database, "abc1", minutes=2)
    await record_call(database, "abd2", minutes=1)
    await record_call(database, "ab", minutes=0)
    assert find(database, "last") == "abc1"
    assert find(database, "abd") == "abd2"
    assert find(database, "ab") == "ab"  # a whole id, though others begin with it


@pytest.mark.parametrize("given", ["ABC", "a%", "a_c", "", "abc12"])
async def test_what_matches_no_call_is_told_with_the_nearest(database: Database, given: str) -> None:
    await record_call(database, "abc1")
    with pytest.raises(UnknownCall, match=r"no call .*abc1") as refused:
        find(database, given)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)


async def test_a_beginning_of_several_ids_is_told_with_them(database: Database) -> None:
    await record_call(database, "abc1")
    await record_call(database, "abd2")
    with pytest.raises(UnknownCall, match="begins 2 ids: abc1, abd2"):
        find(database, "ab")


def test_with_no_calls_the_way_to_the_first_one_is_told(database: Database) -> None:
    for given in ("last", "abc"):
        with pytest.raises(UnknownCall, match="scripts/demo"):
            find(database, given)
    assert recent(database, 5) == []


async def test_a_call_is_priced_by_the_book_it_was_configured_with(database: Database, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("vendor,model,unit,price,source,date\ncartesia,sonic-3.6,usd_per_1m_chars,10,ours,2026-11-01\n")
    await record_call(database, "c", config={"records": {"price_book": str(own)}})
    assert load(database, "c").cost_usd == pytest.approx(0.01)
    assert load(database, "c", PriceBook.load()).cost_usd == pytest.approx(0.05)
    own.unlink()
    assert load(database, "c").cost_usd == pytest.approx(0.05)
