"""The journal: every fact of a call once, in order, durable.

`append` costs the event loop some microseconds; one thread per journal writes, many events to a commit.
Whoever depends on a fact awaits `durable` before acting on it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from loguru import logger
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

from callwright.clock import Clock
from callwright.errors import RecordsError
from callwright.records.database import Database, cause
from callwright.records.events import Event, Json, JsonObject, from_json, to_json
from callwright.records.schema import Encoded, encode
from callwright.records.schema import events as table

# The longest an event waits for company before it is committed. A call makes about 50 events a minute.
GROUP_COMMIT_S = 0.020
# Pauses before each new attempt at a failed commit: enough for a server's restart, bearable for a caller.
RETRY_PAUSES_S = (0.1, 0.5, 2.0)
# How long closing waits for the last commit: longer than one attempt may take (see database.BUSY_TIMEOUT_S).
CLOSE_TIMEOUT_S = 15.0


class JournalError(RecordsError):
    """An event could not be written: the records of this call are not complete from here on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal: which fact, in what order, when."""

    seq: int
    monotonic_ns: int
    wall: datetime
    event: Event

    def to_json(self) -> JsonObject:
        line: dict[str, Json] = {
            "seq": self.seq,
            "monotonic_ns": self.monotonic_ns,
            "wall": self.wall.isoformat(),
            "kind": self.event.kind,
            "data": to_json(self.event),
        }
        return line


Row = dict[str, Any]  # the columns of `events`, on their way to SQLAlchemy


class Journal:
    """The open journal of one call. Use it from one event loop; end it with `aclose`."""

    def __init__(self, database: Database, call_id: str, clock: Clock, last_seq: int) -> None:
        self.call_id = call_id
        self._database = database
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._failed = asyncio.Event()
        self._subscribers: list[Callable[[Entry], None]] = []
        # Shared with the writer, under `_changed`:
        self._changed = threading.Condition()
        self._queue: deque[Row] = deque()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._appended = last_seq
        self._committed = last_seq
        self._urgent = False
        self._closing = False
        self._error: JournalError | None = None
        self._writer = threading.Thread(target=self._write_all, name=f"journal-{call_id}", daemon=True)
        self._writer.start()

    @classmethod
    async def open(cls, database: Database, call_id: str, clock: Clock) -> Journal:
        """Open the journal of that call; one that exists already is continued. Raises RecordsError."""
        if not call_id or len(call_id) > 64:
            raise JournalError(f"a call's id has 1 to 64 characters, this one has {len(call_id)}")
        newest = select(func.max(table.c.seq)).where(table.c.call_id == call_id)
        last = await asyncio.to_thread(database.read, lambda connection: connection.execute(newest).scalar())
        return cls(database, call_id, clock, last or 0)

    @property
    def error(self) -> JournalError | None:
        """Why nothing more is written, or None."""
        return self._error

    def append(self, event: Event) -> int:
        """Take the time, put the event in line and return its number, from 1; never waits for the disk.

        Raises JournalError if the event is not JSON, if the journal is closed, or if an earlier one was lost.
        """
        try:
            # Encoded now, so that a value which changes later does not change the record.
            data = Encoded(encode(to_json(event)))
        except (TypeError, ValueError, RecursionError) as error:
            raise JournalError(f"the event {event.kind} of call {self.call_id} is not JSON") from error
        with self._changed:
            if self._error is not None:
                raise self._error
            if self._closing:
                raise JournalError(f"the journal of call {self.call_id} is closed: {event.kind} came too late")
            self._appended += 1
            entry = Entry(self._appended, self._clock.monotonic_ns(), self._clock.wall(), event)
            self._queue.append(
                {
                    "call_id": self.call_id,
                    "seq": entry.seq,
                    "monotonic_ns": entry.monotonic_ns,
                    "wall": entry.wall,
                    "kind": event.kind,
                    "data": data,
                }
            )
            self._changed.notify()
        for callback in tuple(self._subscribers):
            try:
                callback(entry)
            except Exception as error:
                # Only the type: the message of a callback's error may hold the caller's words.
                logger.error("a journal subscriber failed on {}: {}", event.kind, type(error).__name__)
        return entry.seq

    async def durable(self, seq: int | None = None) -> None:
        """Return when that event (default: the last appended) is committed; raises JournalError if lost."""
        future: asyncio.Future[None] = self._loop.create_future()
        with self._changed:
            wanted = self._appended if seq is None else seq
            if wanted > self._appended:
                raise ValueError(f"event {wanted} was never appended; the last is {self._appended}")
            if wanted <= self._committed:
                return
            if self._error is not None:
                raise self._error
            self._waiters.append((wanted, future))
            self._urgent = True
            self._changed.notify()
        await future

    async def failed(self) -> JournalError:
        """Wait until the journal breaks and return why: for the call's owner, who then ends the call."""
        await self._failed.wait()
        assert self._error is not None
        return self._error

    def subscribe(self, callback: Callable[[Entry], None]) -> Callable[[], None]:
        """Call `callback` at once with each entry from now on; returns the function that ends this."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    async def aclose(self) -> None:
        """Commit what is in line and stop the writer; raises JournalError if something was lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._writer.join, CLOSE_TIMEOUT_S)
        with self._changed:
            if self._writer.is_alive():
                self._fail(f"the database did not answer within {CLOSE_TIMEOUT_S:.0f} s")
            if self._error is not None:
                raise self._error

    async def __aenter__(self) -> Journal:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # --- the writer's thread ---

    def _write_all(self) -> None:
        while batch := self._next_batch():
            try:
                self._commit(batch)
            except Exception as error:
                if not isinstance(error, RecordsError):
                    logger.error("journal of call {}: {}", self.call_id, type(error).__name__)
                with self._changed:
                    self._fail(str(error) if isinstance(error, RecordsError) else cause(error))
                return
            with self._changed:
                self._committed = batch[-1]["seq"]
                done = [future for seq, future in self._waiters if seq <= self._committed]
                self._waiters = [waiter for waiter in self._waiters if waiter[0] > self._committed]
            self._on_loop(_resolve, done, None)

    def _next_batch(self) -> list[Row]:
        """Wait for events, then a moment for their company unless somebody awaits them; empty when closed."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            deadline = time.monotonic() + GROUP_COMMIT_S
            while not self._urgent and not self._closing:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            self._urgent = False
            batch = list(self._queue)
            self._queue.clear()
            return batch

    def _commit(self, batch: Sequence[Row]) -> None:
        pauses = iter(RETRY_PAUSES_S)
        retry = False
        while True:
            try:
                self._database.write(partial(_insert, batch=batch, retry=retry))
                return
            except RecordsError as error:
                pause = next(pauses, None)
                if pause is None or not _may_pass(error.__cause__):
                    raise
                logger.warning("journal of call {}: {}; trying again", self.call_id, error)
                retry = True
                time.sleep(pause)

    def _fail(self, why: str) -> None:
        """Called under `_changed`, once: everybody who waits learns of it, later appends are refused."""
        if self._error is None:
            lost = self._appended - self._committed
            self._error = JournalError(f"{lost} event(s) of call {self.call_id} were not written: {why}")
            logger.error("{}", self._error)
        waiting = [future for _, future in self._waiters]
        self._waiters.clear()
        self._on_loop(_resolve, waiting, self._error)
        self._on_loop(self._failed.set)

    def _on_loop(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.debug("the event loop of call {} is gone", self.call_id)


def _resolve(futures: Sequence[asyncio.Future[None]], error: JournalError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _may_pass(error: BaseException | None) -> bool:
    """A lock or a lost connection may pass; a full disk, a read-only file or a doubled number will not."""
    if isinstance(error, IntegrityError):
        return False
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, InterfaceError | OSError):
        return True
    return isinstance(error, OperationalError) and "locked" in cause(error)


def _insert(connection: Connection, batch: Sequence[Row], retry: bool) -> None:
    """Insert the batch; a commit that failed may have been made, so a retry leaves out what is there."""
    rows = list(batch)
    if retry:
        there = select(table.c.seq, table.c.monotonic_ns).where(
            table.c.call_id == rows[0]["call_id"], table.c.seq.between(rows[0]["seq"], rows[-1]["seq"])
        )
        written = {(seq, moment) for seq, moment in connection.execute(there)}
        rows = [row for row in rows if (row["seq"], row["monotonic_ns"]) not in written]
    if rows:
        connection.execute(insert(table), rows)


def read(database: Database, call_id: str) -> list[Entry]:
    """All committed entries of a call, in order; empty for an unknown call. Raises RecordsError."""
    query = (
        select(table.c.seq, table.c.monotonic_ns, table.c.wall, table.c.kind, table.c.data)
        .where(table.c.call_id == call_id)
        .order_by(table.c.seq)
    )
    return database.read(
        lambda connection: [
            Entry(row.seq, row.monotonic_ns, row.wall, from_json(row.kind, row.data))
            for row in connection.execute(query)
        ]
    )
