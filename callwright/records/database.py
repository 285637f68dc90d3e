"""Where records live: a SQLite file by default, PostgreSQL by URL; opened and brought up to date here."""

from __future__ import annotations

import importlib.util
import os
import random
import sqlite3
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import platformdirs
from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from callwright.errors import RecordsError
from callwright.records import schema

# SQLite lets one process write at a time; a writer holds the lock for a millisecond or two per group commit,
# so ten seconds means "the disk is dead or someone left a transaction open", not "busy".
BUSY_TIMEOUT_S = 10.0
# A PostgreSQL server that says nothing for this long is treated as gone.
POSTGRES_TIMEOUT_S = 10.0
LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})
# Any fixed number: it names the lock under which one process at a time creates or migrates the tables.
MIGRATION_LOCK = 0x63616C6C

# What a dead disk, a lock or a lost server raise; SQLAlchemy wraps only what happens within a statement.
DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError)

T = TypeVar("T")
Migration = Callable[[Connection], None]
# MIGRATIONS[n] brings schema n to n+1; version 0 is an empty database.
MIGRATIONS: tuple[Migration, ...] = (lambda connection: schema.metadata.create_all(connection),)


class NoDatabase(RecordsError):
    """There is no SQLite file at that place (only when opened with `create=False`)."""


def default_url(environ: Mapping[str, str] = os.environ) -> str:
    """CALLWRIGHT_DATABASE if set, else `calls.db` in the user's data directory."""
    chosen = environ.get("CALLWRIGHT_DATABASE", "").strip()
    return chosen or sqlite_url(Path(platformdirs.user_data_dir("callwright")) / "calls.db")


def sqlite_url(path: Path) -> str:
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


class Database:
    """An open database whose tables exist and have this version's shape. Blocking, thread-safe."""

    def __init__(self, engine: Engine, shown: str) -> None:
        self.engine = engine
        self.shown = shown

    @classmethod
    def open(cls, url: str | None = None, *, create: bool = True) -> Database:
        """Open the database of that URL or SQLite path; a new file has mode 0600, new directories 0700.

        Raises NoDatabase when `create` is false and the SQLite file is missing, else RecordsError.
        """
        parsed = _parse(url if url is not None else default_url())
        shown = _shown(parsed)
        engine = _sqlite(parsed, create=create) if parsed.drivername == "sqlite" else _postgres(parsed)
        database = cls(engine, shown)
        try:
            database._prepare()
        except BaseException:
            engine.dispose()
            raise
        return database

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one connection and one consistent view; raises RecordsError."""
        return self._run(work, write=False)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction: all of it is committed or none; raises RecordsError."""
        return self._run(work, write=True)

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: Callable[[Connection], T], *, write: bool) -> T:
        try:
            with (
                self.engine.connect().execution_options(callwright_write=write) as connection,
                connection.begin(),
            ):
                return work(connection)
        except DRIVER_ERRORS as error:
            raise RecordsError(f"records in {self.shown}: {cause(error)}") from error

    def _prepare(self) -> None:
        try:
            if self.engine.dialect.name == "sqlite":
                self._to_wal()
            version = self._version()
            if version < schema.SCHEMA_VERSION:
                self.write(self._migrate)
        except DRIVER_ERRORS as error:
            raise RecordsError(f"cannot open records in {self.shown}: {cause(error)}{_hint(error)}") from error
        if version > schema.SCHEMA_VERSION:
            raise RecordsError(
                f"records in {self.shown} were written by a newer callwright (schema {version}, this one "
                f"knows {schema.SCHEMA_VERSION}): upgrade callwright or name another database"
            )

    def _to_wal(self) -> None:
        """Switch the file to WAL; SQLite ignores its busy timeout when two processes switch at once."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.005, 0.05))
            finally:
                connection.close()

    def _version(self) -> int:
        def look(connection: Connection) -> int:
            if not inspect(connection).has_table(schema.schema_version.name):
                return 0
            return connection.execute(select(schema.schema_version.c.version)).scalar() or 0

        with self.engine.connect() as connection:
            return look(connection)

    def _migrate(self, connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        # Another process may have done it while this one waited for the lock.
        version = 0
        if inspect(connection).has_table(schema.schema_version.name):
            version = connection.execute(select(schema.schema_version.c.version)).scalar() or 0
        for migration in MIGRATIONS[version:]:
            migration(connection)
        connection.execute(schema.schema_version.delete())
        connection.execute(schema.schema_version.insert().values(version=max(version, schema.SCHEMA_VERSION)))


def cause(error: BaseException) -> str:
    """The driver's own words in one line; not the statement and its values, which hold what callers said."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    details = origin.args[0] if origin.args else ""
    # pg8000 gives the server's message as a dict of one-letter fields; "M" is the part without row contents.
    message = str(details.get("M", "")) if isinstance(details, dict) else str(details)
    return (message.strip().splitlines() or [type(origin).__name__])[0]


def _parse(url: str) -> URL:
    if "://" not in url:
        url = sqlite_url(Path(url))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise RecordsError(
            "the database URL cannot be read: write sqlite:////path/calls.db or postgresql://user@host/name"
        ) from error
    name = parsed.drivername
    if name in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise RecordsError("records need a file that outlives the call: write sqlite:////path/calls.db")
        path = Path(str(parsed.database)).expanduser().absolute()
        return parsed.set(drivername="sqlite", database=str(path))
    if name in ("postgres", "postgresql", "postgresql+pg8000"):
        return parsed.set(drivername="postgresql+pg8000")
    raise RecordsError(f"no records in '{name}' databases: use a sqlite:// or postgresql:// URL")


def _shown(url: URL) -> str:
    return str(url.database) if url.drivername == "sqlite" else url.render_as_string(hide_password=True)


def _hint(error: BaseException) -> str:
    message = cause(error).lower()
    if "readonly" in message or "permission" in message:
        return " (check the file's permissions)"
    if "not a database" in message:
        return " (name another file with CALLWRIGHT_DATABASE)"
    return ""


def _sqlite(url: URL, *, create: bool) -> Engine:
    path = Path(str(url.database))
    if path.is_dir():
        raise RecordsError(f"{path} is a directory: name a file for the records, such as {path / 'calls.db'}")
    if not path.exists():
        if not create:
            raise NoDatabase(f"there are no records at {path}")
        _create_private(path)
    engine = create_engine(
        url,
        json_serializer=schema.encode,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: object, _: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        # FULL: a committed event survives the loss of power, not only the end of the process.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes its lock first: it then waits for others, where upgrading a read would fail at once.
        write = connection.get_execution_options().get("callwright_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _create_private(path: Path) -> None:
    """Create the file with mode 0600 and each missing directory above it with mode 0700."""
    try:
        missing = [parent for parent in path.parents if not parent.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise RecordsError(
            f"cannot create records at {path}: {error.strerror}; name another place with CALLWRIGHT_DATABASE"
        ) from error


def _postgres(url: URL) -> Engine:
    if importlib.util.find_spec("pg8000") is None:
        raise RecordsError(
            "records in PostgreSQL need its driver: install it with `pip install 'callwright[postgres]'`"
        )
    query = dict(url.query)
    mode = query.pop("sslmode", None)
    if query:
        raise RecordsError(f"unknown parameter '{next(iter(query))}' in the database URL: only sslmode is taken")
    return create_engine(
        url.set(query={}),
        json_serializer=schema.encode,
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={
            "timeout": POSTGRES_TIMEOUT_S,
            "ssl_context": _tls(mode, url.host or ""),
            "application_name": "callwright",
        },
    )


def _tls(mode: str | tuple[str, ...] | None, host: str) -> ssl.SSLContext | bool:
    """TLS by libpq's names; without one, none on this machine and encrypted elsewhere (callers' words)."""
    if mode is None:
        mode = "disable" if host in LOOPBACK else "require"
    if mode == "disable":
        return False
    context = ssl.create_default_context()
    if mode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif mode != "verify-full":
        raise RecordsError(f"sslmode '{mode}' is not supported: use disable, require or verify-full")
    return context
