"""Truth of the conversation: what stands in the model's context against what the caller's recording says was heard.

Pure: the caller's lines, the tape, what the voice produced and which of it was heard, and the requests on the wire go
in, one `Verdict` for each answer comes out. Words are compared without regard to case and punctuation, because the
claim is about words; `verbatim` is the same text but for white space.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

from callwright.bench.ear import Heard, Source
from callwright.bench.heard_scenes import Line
from callwright.simulators import sound
from callwright.simulators.caller_report import MUTE_S
from callwright.simulators.tape import Tape, Utterance

_MARKS = string.punctuation + "…–—‘’“”"
_TAIL_MS = 20
"""The last loud window may end so much after the last passage that was followed: windows are 10 ms long."""


@dataclass(frozen=True)
class Cut:
    """Where the sound of an answer ended, in its voice's own words.

    `word` was sounding, `into_ms` of its `of_ms` were heard; in a pause it is the word before the cut and `into_ms`
    is `of_ms` or more. A word counts when half of it was heard: `margin_ms` is how far the cut lies from the nearest
    such half, the last one heard or the first one not.
    """

    word: str
    into_ms: float
    of_ms: float
    margin_ms: float


@dataclass(frozen=True)
class Verdict:
    """One answer, judged by the first request that holds the caller's next line.

    asked         the question as the model was shown it, by the first request that holds it
    text          the caller's next line
    interrupted   the caller spoke up before all of it had been heard
    context       the answer as the model was shown it; heard: as the caller heard it
    exact         the same words; verbatim: the same text
    over, under   words in the context and not heard, heard and not in the context
    stop_ms       first sample of the caller's line → last loud sample of the answer; None where it was silent
    onset_s       the caller's first sample, from the first sound of the answer; None if there was no sound
    lost          what became of an answer that was heard to its end: "" if it stands in the context once
    unjudged      why nothing can be said about it, "" otherwise
    """

    topic: str
    text: str
    asked: str = ""
    interrupted: bool = True
    context: str = ""
    heard: str = ""
    exact: bool = False
    verbatim: bool = False
    over: int = 0
    under: int = 0
    stop_ms: float | None = None
    onset_s: float | None = None
    cut: Cut | None = None
    lost: str = ""
    unjudged: str = ""


def judge(
    lines: Sequence[Line],
    tape: Tape,
    produced: Sequence[tuple[Source, Heard]],
    requests: Sequence[Mapping[str, Any]],
) -> tuple[Verdict, ...]:
    """The verdict on the answer to each line but the last, in order.

    `produced` is everything the voice sent in the call and what `ear.listen` found of it, in the order of time;
    `requests` are bodies of Anthropic's Messages API.
    """
    said = [utterance for utterance in tape.utterances if utterance.kind == "speech"]
    recording = _Recording(tape)
    flat = [tuple(_items(request)) for request in requests]
    verdicts = []
    for number, (line, following) in enumerate(pairwise(lines)):
        if number + 1 >= len(said):
            verdicts.append(Verdict(line.topic, following.text, unjudged="the call ended before"))
            continue
        answer = _Answer.of(line, recording, said[number], said[number + 1], produced)
        verdicts.append(_verdict(line, following, recording, answer, flat))
    return tuple(verdicts)


def tokens(text: str) -> list[str]:
    """The words of `text` as they are compared: lower case, no punctuation around them; a lone mark is no word."""
    return [word for raw in text.split() if (word := raw.casefold().strip(_MARKS))]


def differing(context: Sequence[str], heard: Sequence[str]) -> tuple[int, int]:
    """How many words the context has too many, and how many too few."""
    matcher = SequenceMatcher(None, context, heard, autojunk=False)
    same = sum(block.size for block in matcher.get_matching_blocks())
    return len(context) - same, len(heard) - same


# ---------------------------------------------------------------------- what was heard


class _Recording:
    """Both lanes of the tape, laid out once."""

    def __init__(self, tape: Tape) -> None:
        self.rate = tape.rate
        self._sent = tape.sent_samples()
        self._heard = tape.heard_samples()

    def onset(self, said: Utterance) -> int:
        """The first loud sample of what the caller said."""
        found = sound.onset(self._sent, self.rate, said.start, said.end)
        return said.start if found is None else found

    def last_loud(self, start: int, end: int) -> int | None:
        """One past the last loud sample of the agent between the two."""
        return sound.last(self._heard, self.rate, start, end)


@dataclass(frozen=True)
class _Answer:
    """What sounded of one answer; positions on the tape."""

    words: tuple[str, ...]  # heard, as the voice's text has them
    asked_end: int
    onset: int  # of the caller's next line
    begin: int | None  # first and last sample of what sounded
    end: int | None
    cut: Cut | None
    strange: str  # something else that the agent said meanwhile

    @classmethod
    def of(
        cls,
        line: Line,
        recording: _Recording,
        asked: Utterance,
        following: Utterance,
        produced: Sequence[tuple[Source, Heard]],
    ) -> _Answer:
        words: list[str] = []
        spans: list[tuple[int, int]] = []
        cut: Cut | None = None
        strange = ""
        for source, heard in produced:
            at = round(source.at_s * recording.rate)
            if not recording.onset(asked) <= at < following.end:
                continue
            mine = _of_the_answer(line, source)
            if mine is None:
                strange = strange or " ".join(word.text for word in source.words)
                continue
            more = [
                word.text
                for word, sounded, kept in zip(source.words, heard.heard, mine, strict=True)
                if sounded and kept
            ]
            words += more[1:] if _said_again(line, words, more, source) else more
            if heard.passages and any(mine):
                scale = recording.rate / source.rate
                spans += [(p.at, p.at + round((p.end - p.first) * scale)) for p in heard.passages]
                cut = _cut(source, max(passage.end for passage in heard.passages))
        return cls(
            words=tuple(words),
            asked_end=asked.end,
            onset=recording.onset(following),
            begin=min((begin for begin, _ in spans), default=None),
            end=max((end for _, end in spans), default=None),
            cut=cut,
            strange=strange,
        )


def _of_the_answer(line: Line, source: Source) -> list[bool] | None:
    """Which words of `source` belong to the line's answer: none of a filler; None if it is about something else."""
    texts = [word.text for word in source.words]
    filler = _find(tokens(line.filler), [next(iter(tokens(text)), "") for text in texts])
    kept = [not filler[0] <= index < filler[1] for index in range(len(texts))]
    words = tokens(" ".join(text for text, keep in zip(texts, kept, strict=True) if keep))
    if words and not _within(words, tokens(line.expected)):
        return None
    return kept


def _said_again(line: Line, before: Sequence[str], more: Sequence[str], source: Source) -> bool:
    """Whether `source` begins with the word that the voice before it broke off in: one word of the answer, not two."""
    last, first = tokens(" ".join(before[-1:])), tokens(" ".join(more[:1]))
    begins = bool(first) and first == tokens(source.words[0].text)
    return begins and last == first and not _within([*last, *first], tokens(line.expected))


def _within(words: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether `words` are a stretch of `whole`; the last one may be broken off."""
    return any(
        list(whole[at : at + len(words) - 1]) == list(words[:-1]) and whole[at + len(words) - 1].startswith(words[-1])
        for at in range(len(whole) - len(words) + 1)
    )


def _find(wanted: Sequence[str], words: Sequence[str]) -> tuple[int, int]:
    """Where `wanted` stands in `words`, whole or, at the end of `words`, broken off; (0, 0) if it does not."""
    for at in range(len(words) if wanted else 0):
        piece = list(words[at : at + len(wanted)])
        if piece == list(wanted[: len(piece)]) and (len(piece) == len(wanted) or at == 0):
            return at, at + len(piece)
    return 0, 0


def _cut(source: Source, end: int) -> Cut | None:
    words = [word for word in source.words if word.end > word.start]
    if not words:
        return None
    begun = [word for word in words if word.start < end] or words[:1]
    margin = min(abs(end - (word.start + word.end) / 2) for word in words)
    ms = 1000 / source.rate
    last = begun[-1]
    return Cut(last.text, (end - last.start) * ms, (last.end - last.start) * ms, margin * ms)


# ---------------------------------------------------------------------- what the model was shown


@dataclass(frozen=True)
class _Item:
    """A block of a request's messages: the caller's words, the agent's, or a tool's call or result."""

    kind: str  # "user", "assistant", "tool"
    text: str = ""


def _items(request: Mapping[str, Any]) -> Iterator[_Item]:
    for message in request.get("messages", ()):
        content = message.get("content", "")
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block.get("type") != "text":
                yield _Item("tool")
            elif block["text"].strip():
                yield _Item(message["role"], block["text"])


@dataclass(frozen=True)
class _Slot:
    """What stands between two lines of the caller: texts of the agent, and whether any two of them touch."""

    texts: tuple[str, ...]
    split: bool


def _slot(items: Sequence[_Item], topic: str, following: str) -> _Slot | None:
    """The answer to `topic` in the request; None unless both lines are there."""
    users = [index for index, item in enumerate(items) if item.kind == "user"]
    begin = next((index for index in users if _names(items[index].text, topic)), None)
    end = next(
        (index for index in users if begin is not None and index >= begin and _names(items[index].text, following)),
        None,
    )
    if begin is None or end is None:
        return None
    between = items[begin + 1 : end]
    touching = any(a.kind == b.kind == "assistant" for a, b in pairwise(between))
    return _Slot(tuple(item.text for item in between if item.kind == "assistant"), touching)


def _asked(line: Line, requests: Sequence[Sequence[_Item]]) -> str:
    users = (item.text for items in requests for item in items if item.kind == "user")
    return next((text for text in users if _names(text, line.topic)), "")


def _names(text: str, topic: str) -> bool:
    return _count(tokens(topic), tokens(text)) > 0


def _without(filler: str, text: str) -> str:
    """`text` without the filler, whole or broken off at its end."""
    raw = text.split()
    begin, end = _find(tokens(filler), [next(iter(tokens(word)), "") for word in raw])
    return " ".join(raw[:begin] + raw[end:])


# ---------------------------------------------------------------------- the verdict


def _verdict(
    line: Line, following: Line, recording: _Recording, answer: _Answer, requests: Sequence[Sequence[_Item]]
) -> Verdict:
    heard = " ".join(answer.words)
    whole = tokens(heard) == tokens(line.expected)
    interrupted = not (whole and answer.end is not None and answer.end <= answer.onset)
    rate = recording.rate
    last = None if answer.end is None else recording.last_loud(answer.onset, answer.end + _TAIL_MS * rate // 1000)
    found = Verdict(
        topic=line.topic,
        text=following.text,
        asked=_asked(line, requests),
        interrupted=interrupted,
        heard=heard,
        stop_ms=(last - answer.onset) / rate * 1000 if last is not None and interrupted else None,
        onset_s=None if answer.begin is None else (answer.onset - answer.begin) / rate,
        cut=answer.cut if interrupted else None,
    )
    slots = (_slot(items, line.topic, following.topic) for items in requests)
    held = next(((slot, items) for slot, items in zip(slots, requests, strict=True) if slot is not None), None)
    unjudged = _unjudged(answer, rate, held is not None)
    if held is None or unjudged:
        return replace(found, unjudged=unjudged)
    slot, items = held
    context = _without(line.filler, " ".join(" ".join(slot.texts).split()))
    over, under = differing(tokens(context), tokens(heard))
    return replace(
        found,
        context=context,
        exact=tokens(context) == tokens(heard),
        verbatim=context == heard,
        over=over,
        under=under,
        lost="" if interrupted else _lost(line, slot, context, items),
    )


def _unjudged(answer: _Answer, rate: int, held: bool) -> str:
    if answer.strange and not answer.words:
        return f"the agent said something else: {answer.strange}"
    if answer.begin is None and answer.onset - answer.asked_end >= MUTE_S * rate:
        return "the agent never spoke"
    return "" if held else "no request holds the caller's next line"


def _lost(line: Line, slot: _Slot, context: str, items: Sequence[_Item]) -> str:
    expected, got = tokens(line.expected), tokens(context)
    everything = tokens(" ".join(item.text for item in items if item.kind == "assistant"))
    if got != expected:
        return "missing" if not got else "changed"
    if _count(expected, everything) > 1:
        return "doubled"
    return "split" if slot.split else ""


def _count(wanted: Sequence[str], words: Sequence[str]) -> int:
    return sum(list(words[at : at + len(wanted)]) == list(wanted) for at in range(len(words)))
