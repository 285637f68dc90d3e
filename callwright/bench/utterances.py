"""Who of the agent's side is heard when: the model's answers, and lines that no model wrote. Pure.

A voice's source is cut into what belongs to one text of the model and what does not; both are laid on the tape where
the recording says that they sounded. What no model wrote, and the agent's script does not hold, is a filler.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from callwright.bench.ear import Heard, Source, SourceWord
from callwright.bench.lines import beforehand
from callwright.bench.wire import Reply
from callwright.simulators import sound
from callwright.simulators.sound import Samples
from callwright.simulators.tape import RATE

Kind = Literal["answer", "preamble", "filler", "fixed"]
"""Of the model: what ends its turn, or what it says before it calls a tool. Of the program: anything, or the script."""

IN_WORD_MS = 40
"""Sound that ends further than this inside a word was cut in the word; the ear is true to some 5 ms, and words end
softly."""

LEAST_WORDS = 4
"""So many words in a row are not in two texts by chance."""

_MARKS = string.punctuation + "…–—‘’“”"


@dataclass(frozen=True)
class Spoken:
    """Something the agent was heard saying, in one piece; seconds from the beginning of the tape.

    text     as it was to be said, heard to its end or not
    reply    which of the model's replies it belongs to; None if to none
    ready    when the voice had begun to send it: the earliest it could have been heard
    in_word  its sound ended within a word
    said     those words of it that were heard
    context  the voice's own name for the source it is from
    """

    kind: Kind
    text: str
    begin: float
    end: float
    ready: float
    reply: int | None = None
    in_word: bool = False
    said: str = ""
    context: str = ""


def tokens(text: str) -> list[str]:
    """The words of `text` as they are compared: lower case, no punctuation around them; a lone mark is no word."""
    return [word for raw in text.split() if (word := raw.casefold().strip(_MARKS))]


def utterances(
    sources: Sequence[Source],
    heard: Sequence[Heard],
    replies: Sequence[Reply],
    fixed: Sequence[str],
    tape: Samples,
    *,
    origin_s: float = 0.0,
) -> list[Spoken]:
    """All that was heard of `sources`, in the order of time.

    `heard` is what `ear.listen` found of each source. `fixed` are the script's own lines (the greeting). The replies'
    times are on the clock whose `origin_s` is the tape's beginning.
    """
    found = []
    for source, one in zip(sources, heard, strict=True):
        for words, reply, kind in _parts(source, replies, fixed, origin_s):
            if (span := _span(source, one, words, tape)) is None:
                continue
            begin, end, in_word = span
            text = " ".join(word.text for word in words)
            verdicts = dict(zip(source.words, one.heard, strict=False))
            said = " ".join(word.text for word in words if verdicts.get(word))
            found.append(Spoken(kind, text, begin, end, source.at_s, reply, in_word, said, source.context_id))
    return sorted(found, key=lambda spoken: spoken.begin)


def _parts(
    source: Source, replies: Sequence[Reply], fixed: Sequence[str], origin_s: float
) -> list[tuple[tuple[SourceWord, ...], int | None, Kind]]:
    """The source's words in runs, each with the reply it belongs to and of what kind it is."""
    texts: list[tuple[list[str], int | None, Kind]] = [(tokens(line), None, "fixed") for line in fixed]
    for index, reply in enumerate(replies):
        if not beforehand(source) and reply.text and reply.asked_at - origin_s <= source.at_s:
            texts.append((tokens(reply.text), index, "preamble" if reply.uses else "answer"))
    words = [word for word in source.words if tokens(word.text)]
    # The whole text, if it is known: of a line that was cut at once there may be only a word, which stands anywhere.
    plain = tokens(source.text) or [tokens(word.text)[0] for word in words]
    parts: list[tuple[tuple[SourceWord, ...], int | None, Kind]] = []
    at = 0
    while at < len(plain):
        # Of texts that fit equally well, the newest: an answer may be given twice in a call.
        count, place = max(
            ((_run(plain[at:], text), place) for place, (text, _, _) in enumerate(texts)), default=(0, -1)
        )
        goes_on = at == 0 or parts[-1][2] != "filler"
        if count >= LEAST_WORDS or (count and goes_on and at + count == len(plain)):
            parts.append((tuple(words[at : at + count]), texts[place][1], texts[place][2]))
            at += count
            continue
        if parts and parts[-1][2] == "filler":
            parts[-1] = ((*parts[-1][0], *words[at : at + 1]), None, "filler")
        else:
            parts.append((tuple(words[at : at + 1]), None, "filler"))
        at += 1
    return [part for part in parts if part[0]]


def _run(words: Sequence[str], text: Sequence[str]) -> int:
    """How many of the first `words` stand in a row somewhere in `text`."""
    best = 0
    for start in range(len(text)):
        count = 0
        while count < len(words) and start + count < len(text) and words[count] == text[start + count]:
            count += 1
        best = max(best, count)
    return best


def _span(source: Source, heard: Heard, words: Sequence[SourceWord], tape: Samples) -> tuple[float, float, bool] | None:
    """From where to where these words sounded (s), and whether they ended within one; None if they never did."""
    first, end = words[0].start, words[-1].end
    scale = RATE / source.rate
    pieces = [
        (max(first, p.first), min(end, p.end), p.at + (max(first, p.first) - p.first) * scale)
        for p in heard.passages
        if p.first < end and p.end > first
    ]
    if not pieces:
        return None
    begin = round(pieces[0][2])
    stop = round(pieces[-1][2] + (pieces[-1][1] - pieces[-1][0]) * scale)
    loud = sound.onset(tape, RATE, begin, stop), sound.last(tape, RATE, begin, stop)
    if loud[0] is None or loud[1] is None:
        return None
    last, edge = pieces[-1][1], IN_WORD_MS * source.rate // 1000
    in_word = any(word.start + edge < last < word.end - edge for word in words)
    return loud[0] / RATE, loud[1] / RATE, in_word
