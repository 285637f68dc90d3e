"""The records' database: created privately, opened by many at once, refused in one line."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from callwright.errors import RecordsError
from callwright.records import database as module
from callwright.records import schema
from callwright.records.database import Database, NoDatabase, default_url, sqlite_url


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_database_and_its_directories_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "calls.db"
    with Database.open(sqlite_url(path)) as database:
        database.write(lambda connection: connection.execute(schema.events.delete()))
        assert mode(path) == 0o600
        assert mode(path.parent) == mode(path.parent.parent) == 0o700
        assert {mode(file) for file in path.parent.iterdir()} == {0o600}


def test_a_plain_path_is_a_sqlite_file(tmp_path: Path) -> None:
    with Database.open(str(tmp_path / "calls.db")) as database:
        assert database.shown == str(tmp_path / "calls.db")


def test_the_file_is_in_wal_and_commits_are_synchronous(tmp_path: Path) -> None:
    with Database.open(str(tmp_path / "calls.db")) as database:
        assert database.read(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar()) == "wal"
        assert database.read(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar()) == 2  # FULL


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    path = str(tmp_path / "calls.db")
    insert = text("INSERT INTO events VALUES ('c', 1, 5, '2026-01-01 00:00:00.000000', 'k', '{}')")
    with Database.open(path) as database:
        database.write(lambda connection: connection.execute(insert))
    with Database.open(path, create=False) as database:
        assert database.read(lambda c: c.execute(text("SELECT count(*) FROM events")).scalar()) == 1


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    insert = text("INSERT INTO events VALUES ('c', 1, 5, '2026-01-01 00:00:00.000000', 'k', '{}')")
    with Database.open(str(tmp_path / "calls.db")) as database:

        def twice(connection: module.Connection) -> None:
            connection.execute(insert)
            connection.execute(insert)

        with pytest.raises(RecordsError, match="UNIQUE"):
            database.write(twice)
        assert database.read(lambda c: c.execute(text("SELECT count(*) FROM events")).scalar()) == 0


def test_a_missing_file_is_not_created_for_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    with pytest.raises(NoDatabase, match=r"no records at .*calls\.db"):
        Database.open(str(path), create=False)
    assert not path.exists()


def _open(path: str) -> bool:
    with Database.open(path) as database:
        return database.read(lambda c: inspect(c).has_table("events"))


def test_many_processes_may_create_the_same_database_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "calls.db")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(_open, [path] * 8) == [True] * 8


def test_many_threads_may_create_the_same_database_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(_open, [str(tmp_path / "calls.db")] * 8))


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    Database.open(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(RecordsError, match=r"newer callwright \(schema 99"):
        Database.open(str(path))


def test_an_older_schema_is_migrated_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "calls.db")
    Database.open(path).close()

    def add_column(connection: module.Connection) -> None:
        connection.execute(text("ALTER TABLE calls ADD COLUMN mood TEXT"))

    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, add_column))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    with Database.open(path) as database:
        columns = database.read(lambda c: [column["name"] for column in inspect(c).get_columns("calls")])
        assert "mood" in columns
        assert database.read(lambda c: c.execute(text("SELECT version FROM schema_version")).scalar()) == 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "need a file"),
        ("sqlite:///:memory:", "need a file"),
        ("mysql://u@h/d", "no records in 'mysql'"),
        ("postgresql://u@127.0.0.1:notaport/d", "cannot be read"),
        ("postgresql://u@127.0.0.1/d?sslmode=prefer", "sslmode 'prefer'"),
        ("postgresql://u@127.0.0.1/d?color=red", "unknown parameter 'color'"),
    ],
)
def test_a_url_that_cannot_work_is_refused_in_one_line(url: str, says: str) -> None:
    with pytest.raises(RecordsError, match=says) as refused:
        Database.open(url)
    assert "\n" not in str(refused.value)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="is a directory"):
        Database.open(str(tmp_path))


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, not a database\n" * 100)
    with pytest.raises(RecordsError, match="not a database"):
        Database.open(str(path))
    assert path.read_text().startswith("these are notes")


def test_a_place_where_no_file_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordsError, match=r"cannot create records at .*CALLWRIGHT_DATABASE"):
        Database.open(str(tmp_path / "file" / "calls.db"))


def test_a_missing_postgres_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecordsError, match=r"callwright\[postgres\]"):
        Database.open("postgresql://u@127.0.0.1/d")


def test_a_server_that_is_not_there_is_one_line_without_the_password() -> None:
    pytest.importorskip("pg8000", reason="the PostgreSQL driver is not installed (callwright[postgres])")
    with pytest.raises(RecordsError) as refused:
        Database.open("postgresql://u:hunter2@127.0.0.1:1/d")
    assert "cannot open records in" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_default_is_the_users_data_directory_unless_the_environment_says_otherwise() -> None:
    assert default_url({}).startswith("sqlite:///")
    assert default_url({}).endswith("callwright/calls.db")
    assert default_url({"CALLWRIGHT_DATABASE": "postgresql://u@h/d"}) == "postgresql://u@h/d"


def test_a_path_with_odd_characters_survives_the_url(tmp_path: Path) -> None:
    path = tmp_path / "calls #1 & 50% ü?.db"
    Database.open(sqlite_url(path)).close()
    assert path.exists()


def test_tables_are_the_same_in_postgres(postgres_url: str) -> None:
    with Database.open(postgres_url) as database:
        tables = database.read(lambda c: set(inspect(c).get_table_names()))
    assert set(schema.metadata.tables) <= tables
    Database.open(postgres_url).close()
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+pg8000://"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM schema_version")).scalars().all() == [1]
    engine.dispose()


def test_many_processes_may_create_the_same_postgres_tables_at_once(postgres_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(_open, [postgres_url] * 6))
