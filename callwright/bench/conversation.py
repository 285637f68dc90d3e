"""What the measuring caller says to the front desk: the same for every system, varied by seed.

Punctuated as Deepgram writes it, because the oracle ears hand the words on as they stand here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

VOICES = ("rms", "slt", "awb")
"""The caller's voices (flite): two men and a woman."""

# Patients that a new calendar of the front desk holds; all but the first have an appointment.
_PATIENTS = ("Mary Johnson", "Robert Anderson", "David Miller", "Helen Carter", "Richard Brown")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_PARTS = ("morning", "afternoon")
_BOOK = (
    "I would like to book an appointment.",
    "Hello, I'd like to make an appointment, please.",
    "Hi, I need to see the doctor.",
    "Could I book an appointment, please?",
)
_MOVE = (
    "I would like to move my appointment.",
    "Hello, I need to reschedule my appointment.",
    "Hi, could I move my appointment to a different time?",
)
_NAME = ("My name is {name}.", "This is {name}.", "Yes, my name is {name}.", "{name}.")
_DAY = ("{day} {part}, please.", "On {day}, in the {part}.", "How about {day} {part}?", "{day} {part} would be good.")
_PICK = ("The first one, please.", "I'll take the second one.", "The second one, please.", "The first one is fine.")
_YES = ("Yes, please.", "Yes, that's right.", "Yes, please do that.", "Sure, go ahead.")
_AGAIN = ("Sorry, could you say that again?", "Could you repeat that, please?")


@dataclass(frozen=True)
class Conversation:
    """One call from the caller's side: after each line the caller waits until the agent has finished."""

    voice: str
    lines: tuple[str, ...]


def conversation(seed: int, *, turns: int = 6) -> Conversation:
    """The conversation of this seed: an appointment is booked or moved, and the last answer asked for again.

    At most six turns. The same seed makes the same conversation in every process.
    """
    rng = random.Random(f"conversation/{seed}")
    moving = rng.random() < 0.3
    name = rng.choice(_PATIENTS[1:] if moving else _PATIENTS)
    lines = (
        rng.choice(_MOVE if moving else _BOOK),
        rng.choice(_NAME).format(name=name),
        rng.choice(_DAY).format(day=rng.choice(_DAYS), part=rng.choice(_PARTS)),
        rng.choice(_PICK),
        rng.choice(_YES),
        rng.choice(_AGAIN),
    )
    return Conversation(rng.choice(VOICES), lines[:turns])
