"""What a call looked like from the caller's side: its turns, measured on its own tape.

Definitions are those of the project's metrics: a turn ends with the last loud window of what the caller
said; the gap runs from there to the first received sample of the agent's. Sound of the agent's that was
already going on and stops within a second is the tail of what was talked over, not an answer. Pure: a tape
in, a report out.
"""

from __future__ import annotations

from dataclasses import dataclass

from callwright.simulators.answer_watch import TAIL_GAP_S, TAIL_S
from callwright.simulators.sound import last, stretches
from callwright.simulators.tape import Tape, Utterance

MUTE_S = 5.0
"""A turn after which no agent sound arrived for so long is mute."""


@dataclass(frozen=True)
class Turn:
    """One thing said and what came of it; positions in samples of the tape.

    `answer_start` is None when nothing came before the caller spoke again or the call ended; `mute` only if
    that lasted `MUTE_S`. `overlapped`: the agent was speaking when the caller ended and went on, so there is
    no gap.
    """

    text: str
    start: int
    end: int
    answer_start: int | None
    response_gap_ms: float | None
    mute: bool
    overlapped: bool


@dataclass(frozen=True)
class CallerReport:
    """A finished call. `ended`: why (caller, agent left, room closed: …); `steps_done` of `steps`."""

    turns: tuple[Turn, ...]
    utterances: tuple[Utterance, ...]
    ended: str
    steps_done: int
    steps: int
    unsaid: int
    """Things the script had to say that were not said to the end: the call ended before."""
    mute_waits: int
    """How many steps waited for the agent in vain."""

    @property
    def mute_turns(self) -> int:
        """How many turns were mute."""
        return sum(turn.mute for turn in self.turns)

    @property
    def response_gaps_ms(self) -> tuple[float, ...]:
        """The gap of every turn that has one, in order."""
        return tuple(turn.response_gap_ms for turn in self.turns if turn.response_gap_ms is not None)


def turns(tape: Tape) -> tuple[Turn, ...]:
    """The turns of a tape: every spoken utterance (a cough is none), in order."""
    heard = tape.heard_samples()
    sounds = stretches(heard, tape.rate, join_ms=round(TAIL_GAP_S * 1000))
    spoken = [utterance for utterance in tape.utterances if utterance.kind == "speech"]
    sent = tape.sent_samples()
    found = []
    for index, utterance in enumerate(spoken):
        until = spoken[index + 1].start if index + 1 < len(spoken) else max(len(heard), len(sent))
        end = last(sent, tape.rate, utterance.start, utterance.end) or utterance.end
        found.append(_turn(utterance, end, until, sounds, tape.rate))
    return tuple(found)


def _turn(utterance: Utterance, end: int, until: int, sounds: list[tuple[int, int]], rate: int) -> Turn:
    going_on = any(begin < end and stop - end >= TAIL_S * rate for begin, stop in sounds)
    answers = [begin for begin, _ in sounds if end <= begin < until]
    answer = end if going_on else answers[0] if answers else None
    gap_ms = None if going_on or answer is None else (answer - end) / rate * 1000
    waited = ((until if answer is None else answer) - end) / rate
    return Turn(
        text=utterance.text,
        start=utterance.start,
        end=end,
        answer_start=answer,
        response_gap_ms=gap_ms,
        mute=waited >= MUTE_S,
        overlapped=going_on,
    )
