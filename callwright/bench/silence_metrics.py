"""Tools and fillers, from the caller's recording, the world the tools acted on, and the requests on the wire. Pure.

The definitions are those of metrics.md ("Conversation time", "Tools, fillers, steps"); here is how each is found:

    longest_silence_ms    both sides silent, from the end of the caller's speech to the end of the answer; where there
                          was none, to the end of the turn
    filler_needless       a filler in a turn whose answer's audio the voice had begun to send within the threshold
    handover_gap_ms       last sound of a filler -> first sound of an answer that was there before the filler ended
    filler_overlap        a filler cut within a word while the caller was silent; one between two pieces of one reply
                          of the model's; the same line as the filler before it
    tool_calls_lost       things the model asked for, in a reply that was sent to its end, and whose effect is not there
    tool_calls_doubled    things whose effect is there more than once
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from callwright.bench.utterances import Spoken, tokens
from callwright.bench.wire import Reply
from callwright.simulators import sound
from callwright.simulators.answer_watch import TAIL_S
from callwright.simulators.caller_report import MUTE_S
from callwright.simulators.sound import Samples
from callwright.simulators.tape import RATE, Tape

THRESHOLD_MS = 700.0
"""Within so much time from the end of the caller's speech an answer needs no filler."""

JOIN_MS = 100
"""Sounds less than this apart are one: the stop consonants within words are no silence."""

CUT_BY_CALLER_S = 1.0
"""A filler that ends so soon after the caller began to speak was ended by the caller."""


@dataclass(frozen=True)
class Turn:
    """One thing the caller said and what was heard until the caller spoke again; None where there is nothing.

    first_sound_ms     to the first sound of any kind; response_gap_ms: to the first of the answer
    first_filler_ms    to the first filler, where nothing else broke the silence before it
    waited             the answer's audio was not there within the threshold; needless: it was, and a filler sounded
    overlapped         the agent was speaking when the caller ended and went on: there is no gap to measure
    """

    text: str
    first_sound_ms: float | None
    response_gap_ms: float | None
    longest_silence_ms: float
    mute: bool
    overlapped: bool
    fillers: tuple[str, ...] = ()
    first_filler_ms: float | None = None
    waited: bool = False
    needless: bool = False
    handover_gap_ms: float | None = None


@dataclass(frozen=True)
class Fillers:
    """How fillers stood to everything else in a call, in counts; `in_context` in words.

    `over_caller` are those that began while the caller was speaking.
    """

    said: int = 0
    cut_in_word: int = 0
    over_answer: int = 0
    repeated: int = 0
    over_caller: int = 0
    in_context: int = 0

    @property
    def overlap(self) -> int:
        return self.cut_in_word + self.over_answer + self.repeated


@dataclass(frozen=True)
class Effects:
    """What became of the things the model asked for: how many, and how many not, not to the end, more than once.

    `asked_again` counts how often the model asked for one of them again.
    """

    asked: int = 0
    lost: int = 0
    cut: int = 0
    doubled: int = 0
    asked_again: int = 0


def turns(tape: Tape, spoken: Sequence[Spoken], *, threshold_ms: float = THRESHOLD_MS) -> tuple[Turn, ...]:
    """The caller's turns in order; a cough is none."""
    heard, sent = tape.heard_samples(), tape.sent_samples()
    said = [utterance for utterance in tape.utterances if utterance.kind == "speech"]
    finish = max(len(heard), len(sent))
    found = []
    for index, utterance in enumerate(said):
        end = sound.last(sent, RATE, utterance.start, utterance.end) or utterance.end
        until = said[index + 1].start if index + 1 < len(said) else finish
        found.append(turn(utterance.text, end / RATE, until / RATE, heard, spoken, threshold_ms=threshold_ms))
    return tuple(found)


def turn(
    text: str, end: float, until: float, heard: Samples, spoken: Sequence[Spoken], *, threshold_ms: float = THRESHOLD_MS
) -> Turn:
    """One turn: the caller has ended at `end` and speaks again at `until`, or never (s on the tape)."""
    sounds = [
        (begin / RATE, min(stop / RATE, until))
        for begin, stop in sound.stretches(heard, RATE, join_ms=JOIN_MS)
        if stop / RATE > end and begin / RATE < until
    ]
    overlapped = bool(sounds) and sounds[0][0] < end and sounds[0][1] - end >= TAIL_S
    new = [begin for begin, _ in sounds if begin >= end]
    here = [one for one in spoken if end <= one.begin < until]
    answers = [one for one in here if one.kind == "answer"]
    fillers = [one for one in here if one.kind == "filler"]
    answer = answers[0] if answers else None
    over = max(
        (one.end for one in spoken if one.kind == "answer" and one.begin < until and one.end > end), default=until
    )
    ready_ms = None if answer is None else (answer.ready - end) * 1000
    quick = overlapped or (ready_ms is not None and ready_ms <= threshold_ms)
    return Turn(
        text=text,
        first_sound_ms=None if overlapped or not new else (new[0] - end) * 1000,
        response_gap_ms=None if overlapped or answer is None else (answer.begin - end) * 1000,
        longest_silence_ms=longest_silence_s(sounds, end, over) * 1000,
        mute=not overlapped and (new[0] if new else until) - end >= MUTE_S,
        overlapped=overlapped,
        fillers=tuple(one.text for one in fillers),
        first_filler_ms=(here[0].begin - end) * 1000 if here and here[0].kind == "filler" else None,
        waited=not quick,
        needless=quick and bool(fillers),
        handover_gap_ms=_handover_ms(here),
    )


def fillers(spoken: Sequence[Spoken], tape: Tape, shown: Sequence[Sequence[str]], replies: Sequence[Reply]) -> Fillers:
    """How the fillers of a call stood to the rest; `shown` is what each request showed the model as its own words."""
    said = [one for one in spoken if one.kind == "filler"]
    voices = [(utterance.start / RATE, utterance.end / RATE) for utterance in tape.utterances]

    def by_caller(at: float) -> bool:
        return any(begin - 0.1 <= at <= max(end, begin + CUT_BY_CALLER_S) for begin, end in voices)

    return Fillers(
        said=len(said),
        cut_in_word=sum(one.in_word and not by_caller(one.end) for one in said),
        over_answer=sum(_within_reply(one, spoken) for one in said),
        repeated=sum(tokens(one.text) == tokens(after.text) for one, after in pairwise(said)),
        over_caller=sum(any(begin < one.begin < end for begin, end in voices) for one in said),
        in_context=sum(_in_context(text, shown, replies) for text in dict.fromkeys(one.text for one in said)),
    )


def effects(world: Sequence[Mapping[str, object]], replies: Sequence[Reply]) -> Effects:
    """What was done against what was asked for; `world` is the tools' file, line by line ("begun" and "done")."""
    asked: Counter[str] = Counter()
    certain: set[str] = set()
    for reply in replies:
        tickets = [f"{use.arguments.get('topic')}/{use.arguments.get('question')}" for use in reply.uses]
        asked.update(tickets)
        if reply.whole:
            certain.update(tickets)
    begun = Counter(str(line["ticket"]) for line in world if line["what"] == "begun")
    done = Counter(str(line["ticket"]) for line in world if line["what"] == "done")
    return Effects(
        asked=len(certain),
        lost=sum(not done[ticket] for ticket in certain),
        cut=sum(max(0, begun[ticket] - done[ticket]) for ticket in begun),
        doubled=sum(count > 1 for count in done.values()),
        asked_again=sum(count - 1 for count in asked.values()),
    )


def longest_silence_s(sounds: Sequence[tuple[float, float]], end: float, over: float) -> float:
    """The longest gap (s) between these sounds from `end` to `over`."""
    longest, quiet_from = 0.0, end
    for begin, stop in sounds:
        if begin >= over:
            break
        longest = max(longest, begin - quiet_from)
        quiet_from = max(quiet_from, stop)
    return max(longest, over - quiet_from)


def _handover_ms(here: Sequence[Spoken]) -> float | None:
    """From the first filler that an answer followed to that answer, if it was there before the filler ended."""
    for one, after in pairwise(here):
        if one.kind == "filler" and after.kind == "answer" and after.ready <= one.end:
            return (after.begin - one.end) * 1000
    return None


def _within_reply(filler: Spoken, spoken: Sequence[Spoken]) -> bool:
    """Whether the filler began while a reply of the model's was being said: over it, or between its pieces."""
    own = [one for one in spoken if one.reply is not None]
    before = {one.reply for one in own if one.begin <= filler.begin}
    return any(one.reply in before and one.end > filler.begin for one in own)


def _in_context(line: str, shown: Sequence[Sequence[str]], replies: Sequence[Reply]) -> int:
    """Words of the line that a request showed the model as its own: the most in any one of them.

    A beginning of two words counts, but not where the model has written those words itself.
    """
    wanted = tokens(line)
    own = [tokens(reply.text) for reply in replies]
    most = 0
    for texts in shown:
        words = [word for text in texts for word in tokens(text)]
        for count in range(len(wanted), min(2, len(wanted)) - 1, -1):
            if count > most and _holds(words, wanted[:count]) and not any(_holds(text, wanted[:count]) for text in own):
                most = count
    return most


def _holds(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(list(words[at : at + len(part)]) == list(part) for at in range(len(words) - len(part) + 1))
