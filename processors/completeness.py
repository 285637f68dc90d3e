"""Completeness: whether a recognised phrase, by its words, can be all that the caller wanted to say.

A second opinion beside the end-of-turn model, which hears only the melody and is wrong on many short
phrases ("No, that is all, thank you"). Recognisers put a full stop behind almost anything, so the
stop counts only when the last word can end a sentence.
"""

from __future__ import annotations

import re
from enum import Enum


class Completeness(Enum):
    """What the words say about the end of the turn."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"
    UNKNOWN = "unknown"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words after which an English speaker goes on, whatever stop a recogniser puts behind them: closed
# classes of the language (articles, possessives, conjunctions, titles, hesitations), not tuned to a test.
_GO_ON = _words(
    """
    a an the my your his her its our their and or but because if when while which whose than as of to for from
    with at into between until i i'm i'd i'll we're we'd they're um uh er erm very every mr mrs ms dr
    """
)
# Words that often go on and sometimes end a sentence ("yes, I can", "I think so"): nothing is known.
_EITHER = _words(
    """
    is are was were am be been has have had will would could should can may might must not so that who this these
    those some any each another like maybe really just also about by in on doctor he's she's it's hmm
    """
)


def judge(text: str, language: str = "en") -> Completeness:
    """What the words of a transcript say, in a language that we know; UNKNOWN in any other."""
    if not language.lower().startswith("en"):
        return Completeness.UNKNOWN
    words = re.findall(r"[a-z']+|\d+", text.lower())
    if not words:
        return Completeness.UNKNOWN
    mark = text.rstrip("\"' )")[-1:]
    last = words[-1]
    if mark == "?":
        return Completeness.FINISHED
    if last in _GO_ON:
        return Completeness.UNFINISHED
    if last in _EITHER:
        return Completeness.UNKNOWN
    if mark in (",", ";", ":", "-", "–", "…") or text.rstrip().endswith("..."):
        return Completeness.UNFINISHED
    return Completeness.FINISHED if mark in (".", "!") else Completeness.UNKNOWN
