"""The tables of the records' database.

`events` is the journal and the only source; the others are folded from it and can be folded again.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

SCHEMA_VERSION = 1


class Encoded(str):
    """JSON text that is already encoded, so that it is written as it stood when the event was appended."""

    __slots__ = ()


def encode(value: object) -> str:
    """JSON text in ASCII: no NUL and no lone surrogate reaches a database that cannot hold them.

    Raises TypeError or ValueError for what JSON cannot say (NaN, infinity, objects).
    """
    if isinstance(value, Encoded):
        return value
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware moment, kept in UTC also where the database forgets the zone (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text that any database takes: NUL is dropped (PostgreSQL), a lone surrogate becomes "?" (UTF-8)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

events = Table(
    "events",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("monotonic_ns", BigInteger, nullable=False),
    Column("wall", UtcDateTime, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("data", JSON(none_as_null=False), nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("agent", CleanText, nullable=False),
    Column("room", CleanText, nullable=False),
    Column("started", UtcDateTime, nullable=False, index=True),
    Column("ended", UtcDateTime),
    Column("duration_s", Float, nullable=False),
    Column("reason", CleanText, nullable=False),
    Column("detail", CleanText, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("cost_usd", Float),
    Column("priced_usd", Float, nullable=False),
    Column("recording", CleanText),
    Column("stages", JSON, nullable=False),
    Column("last_seq", Integer, nullable=False),
)

turns = Table(
    "turns",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("caller_text", CleanText, nullable=False),
    Column("agent_text", CleanText, nullable=False),
    Column("interrupted", Boolean, nullable=False),
    Column("stt_final_ms", Float),
    Column("llm_start_ms", Float),
    Column("llm_first_token_ms", Float),
    Column("tts_first_audio_ms", Float),
    Column("first_sound_ms", Float),
    Column("end_ms", Float),
    Column("cost_usd", Float),
)

tool_calls = Table(
    "tool_calls",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("turn", Integer, nullable=False),
    Column("tool_call_id", CleanText, nullable=False),
    Column("name", CleanText, nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("ok", Boolean),
    Column("ms", Float),
    Column("result", JSON),
    Column("error", CleanText),
)

usage = Table(
    "usage",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("stage", CleanText, nullable=False),
    Column("vendor", CleanText, nullable=False),
    Column("model", CleanText, nullable=False),
    Column("stand_in", Boolean, nullable=False),
    Column("quantities", JSON, nullable=False),
    Column("cost_usd", Float),
    Column("price_dated", CleanText),
)
