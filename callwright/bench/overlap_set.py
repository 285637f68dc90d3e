"""What a caller may sound like while the agent speaks: interruptions, and what only sounds like one.

Pure: a seed makes the calls, the same for every system and in every process. Each utterance says how it is
spoken (flite spells "mm-hmm" letter by letter, so it says "um hum") and what a recogniser writes of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["interruption", "backchannel", "noise", "background"]
FALSE: tuple[Kind, ...] = ("backchannel", "noise", "background")

VOICES = ("rms", "slt", "awb", "kal16")
"""All of flite's: three men and a woman."""

NOISE_DBFS = -50.0
"""Behind every second caller: a quiet office on a telephone."""

VARIES_DB = 3.0
"""One speaker's utterances are louder or softer than usual by up to this."""


@dataclass(frozen=True)
class Utterance:
    """One sound of the caller, or behind the caller.

    text      as a recogniser writes it; "" where it writes nothing
    spoken    as the speech engine says it; "" for a cough, which is noise
    below_db  how much softer than the caller's usual speech
    length_s  of a cough
    """

    kind: Kind
    text: str
    spoken: str
    below_db: float = 0.0
    length_s: float = 0.0

    @property
    def label(self) -> str:
        """What to call it in a line of a report."""
        return self.spoken or f"a cough of {self.length_s:.2f} s"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


INTERRUPTIONS = tuple(
    Utterance("interruption", line, line)
    for line in _lines(
        """
        Stop.
        Stop, please.
        Stop talking.
        Okay, stop.
        No.
        No, no.
        No, wait.
        No, that's wrong.
        No, that's not what I asked.
        Wait.
        Wait a minute.
        Wait, wait, wait.
        Oh, wait.
        Yeah, no, wait.
        Hold on.
        Hold on a second.
        Hang on.
        One moment.
        Just a second, please.
        Excuse me.
        Sorry?
        Sorry, what was that?
        Pardon?
        What?
        What did you say?
        How much?
        How long does it take?
        When does it open?
        Where is that?
        Why is that?
        Who do I talk to?
        Which one is cheaper?
        Can you repeat that?
        Could you speak a little slower?
        Actually, I wanted something else.
        Actually, never mind.
        I have a question.
        I already know that.
        I just need the price.
        That's not right.
        That's enough, thank you.
        Okay, but what does it cost?
        Okay, and on Sundays?
        Right, but I don't have a car.
        Yeah, but what about children?
        Mm-hmm, and how do I get there?
        Can I talk to a person?
        Let me stop you there.
        """
    )
)
"""The caller wants the floor."""
INTERRUPTIONS = tuple(replace(one, spoken=one.spoken.replace("Mm-hmm", "Um hum")) for one in INTERRUPTIONS)

# As Deepgram writes them; by default it leaves filler words out ("uh-huh", "mm-hmm"), so those are here both ways.
_BACKCHANNELS = {
    "Okay.": "Okay.",
    "OK.": "Okay.",
    "Okay, okay.": "Okay, okay.",
    "Oh, okay.": "Oh, okay.",
    "Yeah.": "Yeah.",
    "Yeah, yeah.": "Yeah, yeah.",
    "Yeah, okay.": "Yeah, okay.",
    "Yes.": "Yes.",
    "Yep.": "Yep.",
    "Right.": "Right.",
    "Right, right.": "Right, right.",
    "All right.": "All right.",
    "Sure.": "Sure.",
    "I see.": "I see.",
    "Oh, I see.": "Oh, I see.",
    "Got it.": "Got it.",
    "Okay, got it.": "Okay, got it.",
    "Great.": "Great.",
    "Okay, great.": "Okay, great.",
    "Good.": "Good.",
    "Perfect.": "Perfect.",
    "Oh.": "Oh.",
    "Wow.": "Wow.",
    "Really?": "Really?",
    "Interesting.": "Interesting.",
    "Makes sense.": "Makes sense.",
    "Of course.": "Of course.",
    "Exactly.": "Exactly.",
    "Uh-huh.": "Uh huh.",
    "Mm-hmm.": "Um hum.",
    "Mhmm. Yeah.": "Um hum, yeah.",
    "Haha.": "Ha ha.",
}
BACKCHANNELS = (
    *(Utterance("backchannel", text, spoken) for text, spoken in _BACKCHANNELS.items()),
    *(Utterance("backchannel", "", spoken) for spoken in ("Uh huh.", "Um hum.", "Um hum, um hum.", "Ha ha ha.")),
)
"""The caller listens."""

NOISES = (
    *(Utterance("noise", "", "", below, length) for below, length in ((-3, 0.3), (0, 0.45), (4, 0.6), (8, 0.35))),
    *(Utterance("noise", "", spoken, 3) for spoken in ("Ahem.", "Huh.", "Ah.")),
)
"""Coughs, a cleared throat, a sigh: no recogniser writes anything."""

_BEHIND = _lines(
    """
    And then she told me that the train was an hour late.
    Did you put the groceries in the kitchen?
    The dog needs to go out before dinner.
    I think it's going to rain again tomorrow.
    No, I left it on the table last night.
    Have you seen my glasses anywhere?
    It was the third goal of the second half.
    We should call your mother on Sunday.
    Wait for me, I'm nearly ready.
    Somebody is at the door, can you get it?
    """
)
BACKGROUND = tuple(
    Utterance("background", line if number % 2 == 0 else "", line, 15 + number * 10 / (len(_BEHIND) - 1))
    for number, line in enumerate(_BEHIND)
)
"""Somebody else in the room, 15 to 25 dB softer: whole sentences, of which a recogniser writes half."""


@dataclass(frozen=True)
class Scene:
    """The caller of one call, and what is said or heard over each of the agent's answers in turn.

    `other` is the voice behind the caller.
    """

    voice: str
    other: str
    noise_dbfs: float | None
    utterances: tuple[Utterance, ...]


def scenes(seed: int, calls: int, rounds: int) -> list[Scene]:
    """`calls` calls of `rounds` utterances, every second one an interruption; order and pairing by seed.

    Every voice comes in every fourth call, with noise and without. All interruptions have been used before one is
    used again; the same holds for the others.
    """
    rng = random.Random(f"overlap/{seed}")
    true = _dealt(rng, INTERRUPTIONS)
    false = _dealt(rng, (*BACKCHANNELS, *NOISES, *BACKGROUND))
    made = []
    for call in range(calls):
        voice = VOICES[call % len(VOICES)]
        deal = [next(true if (number + call) % 2 else false) for number in range(rounds)]
        rng.shuffle(deal)
        made.append(
            Scene(
                voice=voice,
                other=rng.choice([other for other in VOICES if other != voice]),
                noise_dbfs=NOISE_DBFS if call // len(VOICES) % 2 else None,
                utterances=tuple(
                    one
                    if one.kind == "background"
                    else replace(one, below_db=one.below_db + rng.uniform(-VARIES_DB, VARIES_DB))
                    for one in deal
                ),
            )
        )
    return made


def _dealt(rng: random.Random, cards: Sequence[Utterance]) -> Iterator[Utterance]:
    while True:
        yield from rng.sample(cards, len(cards))
