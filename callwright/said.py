"""What tools said to a call, and how they ended it, then and now.

The record holds what the agent said beside the model's answers, by turn, but not which tool said it: a line
of today is looked for in its turn and in later ones, and a recorded line counts as missing only where every
tool of its turn has run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from callwright.differences import ABSENT, Difference
from callwright.records.record import CallRecord

ENDED_BY_A_TOOL = ("agent_ended", "transferred")
"""Reasons for the end of a call that only a tool gives."""
ALIKE = 0.6
"""From this likeness on (difflib's own cutoff), two lines are taken for one line in other words."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What a caller notices of a tool: what it says, and the reason it ends the call for, "" if it does not."""

    said: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    """A recorded line; one that is `owed` is surely a tool's: if none says it any more, it is missing."""

    turn: int
    text: str
    owed: bool


def performed_otherwise(record: CallRecord, performances: Sequence[Performance | None]) -> list[tuple[Difference, ...]]:
    """For each of the record's tool calls, in what its words and its ending of the call differ from the record.

    `performances` are those of today, None for a call that was not run. The pseudo-paths of the differences
    are "(said)" and "(call)"; the latter's values are reasons for the end of a call.
    """
    found: list[list[Difference]] = [[] for _ in performances]
    turns = [tool.turn for tool in record.tools]
    last = {turn: index for index, turn in enumerate(turns)}
    partly = {turn for turn, performance in zip(turns, performances, strict=True) if performance is None}
    missing, new = _matched(record, performances)
    for index, difference in new:
        found[index].append(difference)
    for line in missing:
        if line.owed and line.turn in last and line.turn not in partly:
            found[last[line.turn]].append(Difference("(said)", line.text, ABSENT))
    for index, difference in _endings(record, performances, turns[-1] in partly):
        found[index].append(difference)
    return [tuple(differences) for differences in found]


def _recorded(record: CallRecord) -> list[_Line]:
    """What the agent said beside answers; where a vendor failed, the engine may have said it."""
    failed = {failure.turn for failure in record.failures}
    owed = {"statement"} | ({"farewell"} if record.reason in ENDED_BY_A_TOOL else set())
    return [
        _Line(turn.number, f"{line.text} {line.unheard}".strip(), line.role in owed and turn.number not in failed)
        for turn in record.turns
        for line in turn.lines
        if line.role in ("statement", "farewell", "filler")
    ]


def _matched(
    record: CallRecord, performances: Sequence[Performance | None]
) -> tuple[list[_Line], list[tuple[int, Difference]]]:
    """The recorded lines that nobody says any more, and by tool call what is said otherwise or newly."""
    lines = _recorded(record)
    others: list[tuple[int, int, str]] = []
    for index, (tool, performance) in enumerate(zip(record.tools, performances, strict=True)):
        for text in performance.said if performance else ():
            same = (line for line in lines if line.turn >= tool.turn and _plain(line.text) == _plain(text))
            if (line := next(same, None)) is not None:
                lines.remove(line)
            else:
                others.append((index, tool.turn, text))
    new = []
    for index, turn, text in others:
        alike = [(_likeness(line.text, text), line) for line in lines if line.turn >= turn]
        likeness, near = max(alike, key=lambda pair: pair[0], default=(0.0, None))
        if near is not None and likeness >= ALIKE:
            lines.remove(near)
            new.append((index, Difference("(said)", near.text, text)))
        else:
            new.append((index, Difference("(said)", ABSENT, text)))
    return lines, new


def _endings(
    record: CallRecord, performances: Sequence[Performance | None], partly: bool
) -> Iterator[tuple[int, Difference]]:
    """Who ends the call now and did not then, or the other way round; `partly`: its last tools were not all run."""
    then = record.reason if record.reason in ENDED_BY_A_TOOL else ""
    reasons = {index: performance.reason for index, performance in enumerate(performances) if performance}
    ending = {index: reason for index, reason in reasons.items() if reason}
    for index, reason in ending.items():
        if reason != then:
            yield index, Difference("(call)", then or ABSENT, reason)
    if then and not ending and not partly:
        yield len(performances) - 1, Difference("(call)", then, ABSENT)


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, _plain(one), _plain(other), autojunk=False).ratio()
