"""What a tool gave, as JSON that any vendor and any database takes, and no longer than they can bear.

Results are hostile input: a tool may return anything, and what it returns may come from anybody.
"""

from __future__ import annotations

import json

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

MODEL_CHARACTERS = 8_000
"""Of one result the model reads so much: about 2,500 tokens, half a second of prompt."""

JOURNAL_CHARACTERS = 200_000
"""Of one result the journal keeps so much."""


class ResultError(Exception):
    """A tool returned something that cannot be written as JSON."""


def as_json(value: object) -> JsonValue:
    """The value as JSON. NaN and infinities become words, lone surrogates question marks. Raises ResultError."""
    try:
        written = json.dumps(to_jsonable_python(value), ensure_ascii=False)
        clean: JsonValue = json.loads(written.encode("utf-8", "replace"), parse_constant=str)
    except Exception as error:  # the value's own code runs here, and may raise anything
        raise ResultError(f"it returned a {type(value).__name__}, which is not JSON") from error
    return clean


def length(value: JsonValue) -> int:
    """How many characters the value has as JSON."""
    return len(json.dumps(value, ensure_ascii=False))


def cut(value: JsonValue, limit: int) -> tuple[JsonValue, int]:
    """As much of the value as `limit` characters of JSON hold, and how many characters are missing.

    Of a list whole items are kept, from the first; of anything else its beginning, as text.
    """
    whole = length(value)
    if whole <= limit:
        return value, 0
    if isinstance(value, list):
        room, kept = limit - 2, 0
        while kept < len(value) and (room := room - length(value[kept]) - 2) >= 0:
            kept += 1
        if kept:
            return value[:kept], whole - length(value[:kept])
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    low, high = 0, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if length(text[:middle]) <= limit else (low, middle - 1)
    return text[:low], len(text) - low


def for_model(kind: str, value: JsonValue, note: str = "") -> dict[str, JsonValue]:
    """The value under the name `kind`, cut to what the model reads, with what there is to say about it."""
    shown, missing = cut(value, MODEL_CHARACTERS)
    notes = [note] if note else []
    if missing:
        notes.append(f"cut: {missing} more characters are not shown; ask for less at once")
    return {kind: shown, "note": "; ".join(notes)} if notes else {kind: shown}
