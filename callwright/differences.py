"""Where two JSON values differ, place by place: `slots[0].start: "…" → "…"`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from itertools import zip_longest
from typing import Final, TypeAlias

from callwright.records.events import Json, JsonObject


class Absent(Enum):
    """The value of what is not there; null is a value."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
Side: TypeAlias = Json | Absent
NEAREST_AMONG = 50
"""Among how many of a list's other items one that changed is looked for: no report is worth a quadratic wait."""
Pair: TypeAlias = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two values differ; the whole value's own path is "".

    An item of a list goes by its place in the older list, by that in the newer one if it is only there.
    """

    path: str
    then: Side
    now: Side

    def to_json(self) -> JsonObject:
        """As JSON; a side that is absent has no key."""
        sides: dict[str, Side] = {"then": self.then, "now": self.now}
        return {"path": self.path, **{name: side for name, side in sides.items() if not isinstance(side, Absent)}}


def compare(then: Json, now: Json, *, ignore: Sequence[str] = (), strict: bool = False) -> tuple[Difference, ...]:
    """All places where `now` differs from `then`, in the order of `then`.

    Unless `strict`, the order of a list does not count, nor whether a whole number is written 1 or 1.0.
    `ignore` names places that do not count, with what is beneath them: `today`, `slots[0].start`,
    `slots[*].start` (any item), `*.id` (any name), `**.id` (at any depth).
    """
    comparison = _Comparison([_pattern(path) for path in ignore], strict)
    try:
        return tuple(comparison.between("", then, now))
    except RecursionError:  # nested deeper than anybody would read
        return (Difference("", then, now),)


def _pattern(path: str) -> re.Pattern[str]:
    meaning = {"**.": r"(?:.*\.)?", "**": ".*", "[*]": r"\[\d+\]", "*": r"[^.\[\]]+"}
    parts = re.split(r"(\*\*\.|\*\*|\[\*\]|\*)", path.strip())
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts), re.DOTALL)


def _member(path: str, name: str) -> str:
    if not re.fullmatch(r"[\w-]+", name):
        return f"{path}[{json.dumps(name)}]"
    return f"{path}.{name}" if path else name


class _Comparison:
    def __init__(self, ignore: Sequence[re.Pattern[str]], strict: bool) -> None:
        self._ignore = ignore
        self._strict = strict

    def between(self, path: str, then: Side, now: Side) -> Iterator[Difference]:
        if self._ignored(path):
            return
        if isinstance(then, dict) and isinstance(now, dict):
            for name in dict.fromkeys([*then, *now]):
                yield from self.between(_member(path, name), then.get(name, ABSENT), now.get(name, ABSENT))
        elif isinstance(then, list) and isinstance(now, list):
            for old, new in self._misfits(path, then, now):
                yield from self.between(
                    f"{path}[{new if old is None else old}]",
                    ABSENT if old is None else then[old],
                    ABSENT if new is None else now[new],
                )
        elif isinstance(then, Absent) or isinstance(now, Absent) or self._key(path, then) != self._key(path, now):
            yield Difference(path, then, now)

    def _misfits(self, path: str, then: list[Json], now: list[Json]) -> Iterator[Pair]:
        """The items without an equal in the other list, those that may be the same thing changed in pairs."""
        old, new = self._keys(path, then), self._keys(path, now)
        if self._strict:
            left, right = list(old), list(new)
            matcher = SequenceMatcher(None, list(old.values()), list(new.values()), autojunk=False)
            for tag, a, b, c, d in matcher.get_opcodes():
                if tag != "equal":
                    yield from zip_longest(left[a:b], right[c:d])
            return
        left, right = _without(old, new), _without(new, old)
        near = [(a, b) for a in left[:NEAREST_AMONG] for b in right[:NEAREST_AMONG]]
        partner: dict[int, int] = {}
        for a, b in sorted(near, key=lambda pair: -_in_common(then[pair[0]], now[pair[1]])):
            may_be = _in_common(then[a], now[b]) or not isinstance(then[a], dict)
            if may_be and a not in partner and b not in partner.values():
                partner[a] = b
        yield from ((a, partner.get(a)) for a in left)
        yield from ((None, b) for b in right if b not in partner.values())

    def _keys(self, path: str, items: list[Json]) -> dict[int, str]:
        places = {index: f"{path}[{index}]" for index in range(len(items))}
        return {index: self._key(place, items[index]) for index, place in places.items() if not self._ignored(place)}

    def _key(self, path: str, value: Json) -> str:
        """Equal for two values that do not differ."""
        return json.dumps(self._bare(path, value), sort_keys=True)

    def _bare(self, path: str, value: Json) -> Json:
        if isinstance(value, dict):
            inner = {name: (_member(path, name), item) for name, item in value.items()}
            return {name: self._bare(*placed) for name, placed in inner.items() if not self._ignored(placed[0])}
        if isinstance(value, list):
            kept = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
            items = [self._bare(*placed) for placed in kept if not self._ignored(placed[0])]
            return items if self._strict else sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
        if isinstance(value, float) and value.is_integer() and not self._strict:
            return int(value)
        return value

    def _ignored(self, path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern in self._ignore)


def _in_common(one: Json, other: Json) -> int:
    """How many members two objects share: a slot whose doctor has changed is still that slot."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return 0
    return sum(1 for name, value in one.items() if name in other and other[name] == value)


def _without(items: dict[int, str], others: dict[int, str]) -> list[int]:
    """The places in `items` of what is left when each of `others` has taken its equal away."""
    taken = Counter(others.values())
    left = []
    for index, key in items.items():
        if taken[key]:
            taken[key] -= 1
        else:
            left.append(index)
    return left
