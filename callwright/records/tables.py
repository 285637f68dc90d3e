"""Folded calls in tables, for those who ask in SQL. The journal stays the source: writing again replaces."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, Table, insert

from callwright.records import schema
from callwright.records.calls import load
from callwright.records.database import Database
from callwright.records.prices import PriceBook
from callwright.records.record import CallRecord, ToolRecord, TurnRecord

TABLES = (schema.calls, schema.turns, schema.tool_calls, schema.usage)


def write_call(database: Database, call_id: str, prices: PriceBook | None = None) -> CallRecord:
    """Fold the call from its journal, write its rows and return the record. Blocking; raises RecordsError.

    Without `prices` it is priced by the book that its own configuration names, else by the shipped one.
    """
    record = load(database, call_id, prices)
    write(database, record)
    return record


def write(database: Database, record: CallRecord) -> None:
    """Put the record's rows in place of the call's old ones, in one transaction. Raises RecordsError."""

    def replace(connection: Connection) -> None:
        for table in TABLES:
            connection.execute(table.delete().where(table.c.call_id == record.call_id))
        for table, rows in _rows(record):
            if rows:
                connection.execute(insert(table), rows)

    database.write(replace)


def _rows(record: CallRecord) -> list[tuple[Table, list[dict[str, object]]]]:
    call: dict[str, object] = {
        column.name: getattr(record, column.name)
        for column in schema.calls.columns
        if column.name not in ("turns", "stages")
    }
    call["turns"] = record.caller_turns
    call["stages"] = {name: asdict(stage) for name, stage in record.stages.items()}
    return [
        (schema.calls, [call]),
        (schema.turns, [_turn_row(record.call_id, turn) for turn in record.turns]),
        (
            schema.tool_calls,
            [
                {"call_id": record.call_id, "position": position, **_tool_row(tool)}
                for position, tool in enumerate(record.tools)
            ],
        ),
        (
            schema.usage,
            [
                {
                    "call_id": record.call_id,
                    "position": position,
                    "stage": usage.stage,
                    "vendor": usage.vendor,
                    "model": usage.model,
                    "stand_in": usage.stand_in,
                    "quantities": usage.quantities,
                    "cost_usd": usage.cost_usd,
                    "price_dated": usage.dated or None,
                }
                for position, usage in enumerate(record.usage)
            ],
        ),
    ]


def _tool_row(tool: ToolRecord) -> dict[str, object]:
    names = (column.name for column in schema.tool_calls.columns if column.name not in ("call_id", "position"))
    return {name: getattr(tool, name) for name in names}


def _turn_row(call_id: str, turn: TurnRecord) -> dict[str, object]:
    names = (column.name for column in schema.turns.columns if column.name != "call_id")
    return {"call_id": call_id, **{name: getattr(turn, name) for name in names}}
