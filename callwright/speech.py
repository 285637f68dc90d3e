"""What the agent says, on its way through the pipeline: one utterance, cut into pieces for the voice.

An utterance is one thing said: one reply of the model, or one fixed line. These frames carry it from the
mind to the room, so that everybody on the way speaks of the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipecat.frames.frames import AggregatedTextFrame, ControlFrame, TTSSpeakFrame

Role = Literal["answer", "greeting", "farewell", "filler", "statement"]


@dataclass(eq=False)
class Utterance:
    """One thing the agent says.

    role, turn   what it is, and the caller's turn it belongs to
    remembered   the model is shown what was heard of it
    text         as it was written so far
    spoken       as it went to the voice so far: a processor on the way may have changed words
    sent         how many characters of `text` that was
    """

    role: Role
    turn: int
    remembered: bool = True
    text: str = ""
    spoken: str = ""
    sent: int = 0


@dataclass
class Say(TTSSpeakFrame):
    """Say a fixed line. `utterance` is made when the line is queued behind what is being said."""

    role: Role = "statement"
    remembered: bool = True
    utterance: Utterance | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.append_to_context = False  # the floor says what of it was heard; Pipecat would guess


@dataclass
class Piece(AggregatedTextFrame):
    """The next words of an utterance, to be spoken now; with them its first `end` characters are on their way."""

    utterance: Utterance = field(default_factory=lambda: Utterance("answer", 0))
    end: int = 0


BROKEN_OFF = "broken_off"
"""Metadata of the LLMFullResponseEndFrame of an answer that ended in its middle.

"dropped": what has not gone to the voice yet never will; "limit": the same, unless nothing has gone there.
"""


@dataclass
class Kept(ControlFrame):
    """Goes up to the mind after an answer broke off: its text is now what went to the voice."""

    utterance: Utterance = field(default_factory=lambda: Utterance("answer", 0))


@dataclass
class UtteranceEnd(ControlFrame):
    """Travels behind the last audio of its utterance: when it has passed the room's output, all was played."""

    utterance: Utterance = field(default_factory=lambda: Utterance("answer", 0))
