"""Calls on record: the list of them, one by its id, and what is known about each."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from loguru import logger
from sqlalchemy import Connection, func, select

from callwright.errors import CallwrightError, RecordsError
from callwright.records import journal, schema
from callwright.records.database import Database
from callwright.records.events import CallStarted
from callwright.records.fold import fold
from callwright.records.prices import PriceBook
from callwright.records.record import CallRecord

# Among how many of the latest calls a mistyped id is looked for.
NEAREST_AMONG = 500


class UnknownCall(RecordsError):
    """No call has that id, or more than one id begins like it."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class CallSummary:
    """One line of the list; the fields mean what they mean in `CallRecord`."""

    call_id: str
    started: datetime
    ended: datetime | None
    agent: str
    room: str
    turns: int
    duration_s: float
    cost_usd: float | None
    priced_usd: float
    reason: str
    ok: bool


def recent(database: Database, limit: int) -> list[CallSummary]:
    """The latest calls, newest first; a call whose tables are missing or behind its journal is folded now."""

    def look(connection: Connection) -> list[CallSummary | str]:
        return [_summary_row(connection, call_id) or call_id for call_id in _ids(connection, limit)]

    return [line if isinstance(line, CallSummary) else _summary(load(database, line)) for line in database.read(look)]


def find(database: Database, given: str) -> str:
    """The id meant by `given`: `last`, a whole id, or the beginning of exactly one. Raises UnknownCall."""
    if given == "last":
        newest = database.read(lambda connection: _ids(connection, 1))
        if not newest:
            raise UnknownCall("there are no calls on record yet: `scripts/demo` makes one")
        return newest[0]
    events = schema.events

    def look(connection: Connection) -> Sequence[str]:
        query = select(events.c.call_id).where(events.c.call_id.startswith(given, autoescape=True)).distinct()
        # LIKE ignores case in SQLite.
        return [call_id for call_id in connection.execute(query).scalars() if call_id.startswith(given)]

    found = sorted(database.read(look)) if given else []
    if given in found:
        return given
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownCall(f"'{given}' begins {len(found)} ids: {_some(found)}; write more of it")
    latest = database.read(lambda connection: _ids(connection, NEAREST_AMONG))
    if not latest:
        raise UnknownCall(f"no call '{given}': there are no calls on record yet: `scripts/demo` makes one")
    nearest = difflib.get_close_matches(given, latest, n=3, cutoff=0.5)
    known = f"the nearest are {_some(nearest)}" if nearest else f"the latest are {_some(latest)}"
    raise UnknownCall(f"no call '{given}'; {known}")


def load(database: Database, call_id: str, prices: PriceBook | None = None) -> CallRecord:
    """Fold a call from its journal, at the prices given or else those the call itself was set to use."""
    entries = journal.read(database, call_id)
    if not entries:
        raise UnknownCall(f"no call '{call_id}'")
    return fold(call_id, entries, prices or _own_prices(entries))


def _own_prices(entries: Sequence[journal.Entry]) -> PriceBook:
    """The price book the call was configured with; the shipped one if it named none or it is gone."""
    for entry in entries:
        if isinstance(entry.event, CallStarted):
            records = entry.event.config.get("records")
            path = records.get("price_book") if isinstance(records, dict) else None
            if isinstance(path, str) and Path(path).is_file():
                try:
                    return PriceBook.load(path)
                except CallwrightError as error:
                    logger.warning("priced by the shipped price book: {}", error)
                    break
    return PriceBook.load()


def _ids(connection: Connection, limit: int) -> list[str]:
    events = schema.events
    query = select(events.c.call_id).where(events.c.seq == 1).order_by(events.c.wall.desc()).limit(limit)
    return list(connection.execute(query).scalars())


def _summary_row(connection: Connection, call_id: str) -> CallSummary | None:
    """The call's line from the tables, or None if they do not hold all of its journal."""
    calls, events = schema.calls, schema.events
    row = connection.execute(select(calls).where(calls.c.call_id == call_id)).one_or_none()
    newest = connection.execute(select(func.max(events.c.seq)).where(events.c.call_id == call_id)).scalar()
    if row is None or row.last_seq != newest:
        return None
    return CallSummary(**{name: getattr(row, name) for name in CallSummary.__slots__})


def _summary(record: CallRecord) -> CallSummary:
    values = {name: getattr(record, name) for name in CallSummary.__slots__ if name != "turns"}
    return CallSummary(turns=record.caller_turns, **values)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
