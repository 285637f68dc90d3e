"""Every fact once, in order, durable; and loud when it cannot be."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from sqlalchemy.exc import OperationalError

from callwright.clock import ManualClock, SystemClock
from callwright.errors import RecordsError
from callwright.records import journal as module
from callwright.records.database import Database
from callwright.records.events import (
    AgentText,
    SpeechStarted,
    ToolStarted,
    Transcript,
    Unknown,
    Usage,
)
from callwright.records.journal import Entry, Journal, JournalError, read


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level=0)
    yield lines
    logger.remove(sink)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(str(tmp_path / "calls.db")) as opened:
        yield opened


async def test_events_come_back_in_order_with_their_times(database: Database) -> None:
    clock = ManualClock()
    async with await Journal.open(database, "c", clock) as journal:
        for sample in range(100):
            assert journal.append(SpeechStarted(sample)) == sample + 1
            clock.advance(ms=1.5)
    entries = read(database, "c")
    assert [entry.seq for entry in entries] == list(range(1, 101))
    assert [entry.event for entry in entries] == [SpeechStarted(sample) for sample in range(100)]
    assert entries[2].monotonic_ns == 3_000_000
    assert (entries[2].wall - entries[0].wall).total_seconds() == 0.003
    assert entries[0].wall.utcoffset() is not None


async def test_what_is_durable_is_seen_by_others_at_once(database: Database) -> None:
    async with await Journal.open(database, "c", SystemClock()) as journal:
        seq = journal.append(SpeechStarted(1))
        journal.append(SpeechStarted(2))
        await journal.durable(seq)
        assert read(database, "c")[0].event == SpeechStarted(1)
        await journal.durable()
        assert len(read(database, "c")) == 2
        await journal.durable(seq)  # again: at once


async def test_an_event_nobody_awaits_is_written_all_the_same(database: Database) -> None:
    async with await Journal.open(database, "c", SystemClock()) as journal:
        journal.append(SpeechStarted(1))
        for _ in range(1000):
            if read(database, "c"):
                return
            await asyncio.sleep(0.005)
    pytest.fail("not written within 5 s")


async def test_events_that_come_together_share_a_commit(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    insert = module._insert
    monkeypatch.setattr(
        module, "_insert", lambda c, batch, retry: (commits.append(len(batch)), insert(c, batch, retry))[1]
    )
    async with await Journal.open(database, "c", SystemClock()) as journal:
        for sample in range(500):
            journal.append(SpeechStarted(sample))
        await journal.durable()
    assert sum(commits) == 500
    assert len(commits) <= 50  # a few in fact; the rest is for a busy machine


async def test_waiting_for_an_event_that_never_was_is_a_mistake(database: Database) -> None:
    async with await Journal.open(database, "c", SystemClock()) as journal:
        with pytest.raises(ValueError, match="never appended"):
            await journal.durable(1)


async def test_a_value_that_changes_later_does_not_change_the_record(database: Database) -> None:
    arguments: dict[str, Any] = {"name": "Mary"}
    async with await Journal.open(database, "c", SystemClock()) as journal:
        journal.append(ToolStarted(1, "t", "find_patient", arguments))
        arguments["name"] = "John"
    assert read(database, "c")[0].event == ToolStarted(1, "t", "find_patient", {"name": "Mary"})


@pytest.mark.parametrize("text", ["\0", "\ud800 half a pair", "ünïcode 🎧", 'quote " and \\', "line\nline", ""])
async def test_any_text_survives(database: Database, text: str) -> None:
    async with await Journal.open(database, "c", SystemClock()) as journal:
        journal.append(Transcript(text, final=True, sample=0))
    assert read(database, "c")[0].event == Transcript(text, final=True, sample=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_what_json_cannot_say_is_refused_and_takes_no_number(database: Database, value: float) -> None:
    async with await Journal.open(database, "c", SystemClock()) as journal:
        with pytest.raises(JournalError, match="usage of call c is not JSON"):
            journal.append(Usage(1, "llm", "v", "m", {"input_tokens": value}))
        assert journal.append(SpeechStarted(1)) == 1


async def test_a_subscriber_hears_each_entry_at_once_until_it_leaves(database: Database) -> None:
    heard: list[Entry] = []
    async with await Journal.open(database, "c", ManualClock()) as journal:
        leave = journal.subscribe(heard.append)
        journal.append(SpeechStarted(1))
        assert [(entry.seq, entry.event) for entry in heard] == [(1, SpeechStarted(1))]
        leave()
        leave()
        journal.append(SpeechStarted(2))
    assert len(heard) == 1


async def test_a_broken_subscriber_stops_nothing_and_its_words_are_not_logged(
    database: Database, log: list[str]
) -> None:
    def broken(entry: Entry) -> None:
        raise RuntimeError(f"cannot show {entry.event}")

    async with await Journal.open(database, "c", SystemClock()) as journal:
        journal.subscribe(broken)
        journal.append(AgentText(1, "secret words", "answer", interrupted=False))
    assert len(read(database, "c")) == 1
    assert "RuntimeError" in "".join(log)
    assert "secret" not in "".join(log)


async def test_a_closed_journal_refuses(database: Database) -> None:
    journal = await Journal.open(database, "c", SystemClock())
    await journal.aclose()
    await journal.aclose()
    with pytest.raises(JournalError, match="closed"):
        journal.append(SpeechStarted(1))


async def test_closing_leaves_no_thread(database: Database) -> None:
    journal = await Journal.open(database, "c", SystemClock())
    await journal.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name == "journal-c"]


async def test_a_journal_that_exists_is_continued(database: Database) -> None:
    for expected in (1, 2):
        async with await Journal.open(database, "c", SystemClock()) as journal:
            assert journal.append(SpeechStarted(expected)) == expected
    assert [entry.seq for entry in read(database, "c")] == [1, 2]


async def test_two_writers_of_one_call_are_found_out(database: Database) -> None:
    first = await Journal.open(database, "c", SystemClock())
    second = await Journal.open(database, "c", SystemClock())
    first.append(SpeechStarted(1))
    await first.durable()
    second.append(SpeechStarted(2))
    with pytest.raises(JournalError, match=r"1 event\(s\) of call c were not written"):
        await second.durable()
    await first.aclose()
    with pytest.raises(JournalError):
        await second.aclose()


def _disk(failures: list[str]) -> Callable[..., None]:
    """An insert that fails as the driver would, once for each message in `failures`."""
    insert = module._insert

    def attempt(connection: Any, batch: Any, retry: bool) -> None:
        if failures:
            raise OperationalError("INSERT", {"text": "secret words"}, Exception(failures.pop(0)))
        insert(connection, batch, retry)

    return attempt


async def test_a_full_disk_is_told_to_everybody(
    database: Database, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    monkeypatch.setattr(module, "_insert", _disk(["database or disk is full"]))
    journal = await Journal.open(database, "c", SystemClock())
    owner = asyncio.create_task(journal.failed())
    journal.append(SpeechStarted(1))
    with pytest.raises(JournalError, match=r"1 event\(s\) of call c .*disk is full"):
        await journal.durable()
    with pytest.raises(JournalError, match="disk is full"):
        journal.append(SpeechStarted(2))
    with pytest.raises(JournalError, match="disk is full"):
        await journal.durable()
    assert await owner is journal.error
    with pytest.raises(JournalError, match="disk is full"):
        await journal.aclose()
    assert "disk is full" in "".join(log)
    assert "secret" not in "".join(log)


async def test_a_lock_that_passes_loses_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(module, "_insert", _disk(["database is locked", "database is locked"]))
    async with await Journal.open(database, "c", SystemClock()) as journal:
        journal.append(SpeechStarted(1))
        await journal.durable()
    assert len(read(database, "c")) == 1


async def test_a_commit_that_was_made_but_not_confirmed_is_not_doubled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSES_S", (0.0,))
    write, attempts = Database.write, []

    def unconfirmed(self: Database, work: Callable[[Any], Any]) -> Any:
        result = write(self, work)
        attempts.append(1)
        if len(attempts) == 1:
            raise RecordsError("connection lost") from ConnectionResetError("connection lost")
        return result

    monkeypatch.setattr(Database, "write", unconfirmed)
    async with await Journal.open(database, "c", SystemClock()) as journal:
        journal.append(SpeechStarted(1))
        await journal.durable()
    assert len(attempts) == 2
    assert len(read(database, "c")) == 1


async def _append_many(url: str, call_id: str) -> None:
    with Database.open(url) as database:
        async with await Journal.open(database, call_id, SystemClock()) as journal:
            for sample in range(200):
                journal.append(SpeechStarted(sample))
                if sample % 20 == 0:
                    await journal.durable()


def _in_process(url: str, call_id: str) -> None:
    asyncio.run(_append_many(url, call_id))


def test_several_processes_write_their_calls_to_one_file(tmp_path: Path) -> None:
    url = str(tmp_path / "calls.db")
    names = [f"c{number}" for number in range(4)]
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_in_process, [(url, name) for name in names])
    with Database.open(url) as database:
        for name in names:
            assert [entry.seq for entry in read(database, name)] == list(range(1, 201))


async def test_an_unknown_kind_is_written_and_read_as_it_is(database: Database) -> None:
    async with await Journal.open(database, "c", SystemClock()) as journal:
        journal.append(Unknown("from_the_future", {"a": [1, None]}))
    assert read(database, "c")[0].event == Unknown("from_the_future", {"a": [1, None]})


async def test_an_unknown_call_has_no_entries(database: Database) -> None:
    assert read(database, "nobody") == []


async def test_the_journal_is_the_same_in_postgres(postgres_url: str) -> None:
    said = Transcript("\0 ünïcode \ud800 🎧", final=True, sample=1)
    with Database.open(postgres_url) as database:
        async with await Journal.open(database, "pg", ManualClock()) as journal:
            journal.append(said)
            for sample in range(100):
                journal.append(SpeechStarted(sample))
            await journal.durable()
            entries = read(database, "pg")
    assert len(entries) == 101
    assert entries[0].event == said
    assert entries[0].wall.isoformat() == "2026-01-01T00:00:00+00:00"


async def test_a_postgres_connection_that_is_cut_loses_nothing(postgres_url: str) -> None:
    from sqlalchemy import text

    kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with Database.open(postgres_url) as database, Database.open(postgres_url) as admin:
        async with await Journal.open(database, "cut", SystemClock()) as journal:
            journal.append(SpeechStarted(1))
            await journal.durable()
            admin.write(lambda connection: connection.execute(kill))
            journal.append(SpeechStarted(2))
            await journal.durable()
        assert [entry.event for entry in read(database, "cut")] == [SpeechStarted(1), SpeechStarted(2)]


async def test_the_event_loop_does_not_wait_for_a_busy_disk(database: Database) -> None:
    """Another process holds the file's lock: events are taken all the same, and written when it is free."""
    other = sqlite3.connect(database.shown, isolation_level=None)
    async with await Journal.open(database, "c", SystemClock()) as journal:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        for sample in range(100):
            journal.append(SpeechStarted(sample))
        assert time.monotonic() - started < 0.5
        waiting = asyncio.create_task(journal.durable())
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        other.execute("COMMIT")
        other.close()
        await waiting
    assert len(read(database, "c")) == 100


async def test_closing_is_bounded_and_says_what_was_lost(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 0.05)
    other = sqlite3.connect(database.shown, isolation_level=None)
    journal = await Journal.open(database, "c", SystemClock())
    other.execute("BEGIN IMMEDIATE")
    journal.append(SpeechStarted(1))
    with pytest.raises(JournalError, match=r"1 event\(s\) of call c .*did not answer"):
        await journal.aclose()
    other.execute("ROLLBACK")
    other.close()
    await asyncio.to_thread(journal._writer.join, 5)
    assert not journal._writer.is_alive()


VICTIM = """
import asyncio, os, sys
from callwright.clock import SystemClock
from callwright.records.database import Database
from callwright.records.events import SpeechStarted
from callwright.records.journal import Journal

async def main():
    journal = await Journal.open(Database.open(sys.argv[1]), "c", SystemClock())
    for sample in range(50):
        journal.append(SpeechStarted(sample))
    await journal.durable()
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def test_what_was_awaited_survives_a_killed_process(tmp_path: Path) -> None:
    path = str(tmp_path / "calls.db")
    killed = subprocess.run([sys.executable, "-c", VICTIM, path], timeout=30, check=False)
    assert killed.returncode == -9
    with Database.open(path) as database:
        assert [entry.event for entry in read(database, "c")] == [SpeechStarted(n) for n in range(50)]
