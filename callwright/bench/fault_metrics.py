"""What a fault did to a turn, from the caller's recording alone. Pure.

silence_ms       the longest silence from the end of the caller's speech to the end of the answer. Where the answer
                 did not come whole: to the program's own line that says so; where none came, to the turn's end
recovered        the whole answer was heard in the same turn
failover_ms      what failover added: the response gap less what the model took by chance, less the median of the same
                 difference in those turns of the call that no fault met. Every turn waits for the model's first token,
                 which varies by more than a second: from the first request to it or, where the fault is the model's
                 own, the delay alone that was drawn for the first token that came. All else that a fault brings (the
                 time until it is noticed, further requests, another voice) stays in
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from callwright.bench.fault_scenes import Question
from callwright.bench.silence_metrics import JOIN_MS, longest_silence_s, turn
from callwright.bench.utterances import Spoken, tokens
from callwright.bench.wire import Reply
from callwright.simulators import sound
from callwright.simulators.sound import Samples
from callwright.simulators.tape import RATE, Tape

WHOLE = 0.9
"""Of an answer's words; a word at a seam may be hard to tell from half a word."""


@dataclass(frozen=True)
class Effect:
    """One turn. `faulted`: a fault was ordered for it; `struck`: the vendor really misbehaved.

    `told`: the answer was not whole, but the program said something of its own about it. `model_ms`: what the model
    took by chance; 0 where it sent nothing, or a fault had a part in that.
    """

    text: str
    faulted: bool
    response_gap_ms: float | None
    silence_ms: float
    mute: bool
    recovered: bool
    told: bool
    model_ms: float = 0.0
    failover_ms: float | None = None
    struck: bool = False


def effects(
    questions: Sequence[Question],
    tape: Tape,
    spoken: Sequence[Spoken],
    replies: Sequence[Reply],
    struck: Sequence[bool],
    stage: str,
) -> tuple[Effect, ...]:
    """The turns of a call in order, as many as were said. `struck`: of each faulted one, as far as it is known.

    `replies` are the models', of all vendors; the faults are those of `stage`.
    """
    heard, sent = tape.heard_samples(), tape.sent_samples()
    said = [utterance for utterance in tape.utterances if utterance.kind == "speech"]
    finish = max(len(heard), len(sent))
    found = []
    for index, (question, utterance) in enumerate(zip(questions, said, strict=False)):
        end = (sound.last(sent, RATE, utterance.start, utterance.end) or utterance.end) / RATE
        until = (said[index + 1].start if index + 1 < len(said) else finish) / RATE
        here = [reply for reply in replies if tape.origin_s + end <= reply.asked_at < tape.origin_s + until]
        model_ms = _model_ms(here, at_fault=question.faulted and stage == "llm")
        found.append(replace(effect(question, end, until, heard, spoken), model_ms=model_ms))
    usual = [own for one in found if not one.faulted and (own := _own_ms(one)) is not None]
    median = statistics.median(usual) if usual else None
    known = iter(struck)
    return tuple(replace(_compared(one, median), struck=one.faulted and next(known, False)) for one in found)


def effect(question: Question, end: float, until: float, heard: Samples, spoken: Sequence[Spoken]) -> Effect:
    """One turn: the caller has ended at `end` and speaks again at `until`, or never (s on the tape)."""
    plain = turn(question.text, end, until, heard, spoken)
    here = [one for one in spoken if end <= one.begin < until]
    answer = [word for one in here if one.kind == "answer" for word in tokens(one.said)]
    expected = tokens(question.answer)
    matcher = SequenceMatcher(None, expected, answer, autojunk=False)
    recovered = sum(block.size for block in matcher.get_matching_blocks()) >= WHOLE * len(expected)
    model = max((one.end for one in here if one.reply is not None), default=end)
    own = [one.end for one in here if one.reply is None and one.begin >= model]
    over = model if recovered else max(own, default=until)
    sounds = [
        (begin / RATE, min(stop / RATE, until))
        for begin, stop in sound.stretches(heard, RATE, join_ms=JOIN_MS)
        if stop / RATE > end and begin / RATE < until
    ]
    return Effect(
        text=question.text,
        faulted=question.faulted,
        response_gap_ms=plain.response_gap_ms,
        silence_ms=longest_silence_s(sounds, end, over) * 1000,
        mute=plain.mute,
        recovered=recovered,
        told=not recovered and bool(own),
    )


def _model_ms(replies: Sequence[Reply], *, at_fault: bool) -> float:
    """What the model took by chance, of what was asked in a turn."""
    came = [
        (reply.asked_at + reply.first_token_ms / 1000, reply.first_token_ms)
        for reply in replies
        if reply.first_token_ms is not None
    ]
    if not came:
        return 0.0
    at, drawn_ms = min(came)
    return drawn_ms if at_fault else (at - min(reply.asked_at for reply in replies)) * 1000


def _own_ms(one: Effect) -> float | None:
    """The response gap without what the model took by chance."""
    return None if one.response_gap_ms is None else one.response_gap_ms - one.model_ms


def _compared(one: Effect, usual_ms: float | None) -> Effect:
    own_ms = _own_ms(one)
    if not one.faulted or own_ms is None or usual_ms is None:
        return one
    return replace(one, failover_ms=own_ms - usual_ms)
