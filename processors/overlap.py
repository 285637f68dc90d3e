"""Overlap: the caller makes a sound while the agent speaks. Is it an interruption, or not?

The agent's sound is held meanwhile, so that nothing is lost by waiting. The policy is pure: it is told what
was noticed and when, and says whether the caller takes the floor or the agent goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """HOLD: not known yet, stay silent. YIELD: the caller has the floor. RESUME: the agent goes on."""

    HOLD = "hold"
    YIELD = "yield"
    RESUME = "resume"


@dataclass(frozen=True)
class OverlapWaits:
    """How long each doubt is given, and how soft a voice is another's.

    words_ms   after the end of the sound, for words that are still on their way: Deepgram answers a Finalize
               within 100-300 ms, an interim is up to 300 ms behind. Words that come later still take the floor
    wordless_ms of sound at the caller's level without one word: a cough lasts 300-500 ms, a fit of them or a
               laugh about a second; what is longer is speech that the recogniser fails to write
    hold_ms    the longest that the agent is silent for want of a verdict: the longest silence that a caller takes
               for a pause rather than for a dead line
    tail_ms    by which speech has ended before it is reported: the VAD's own wait
    soft_db    softer than the caller's usual speech by this much, it is somebody else: a voice four times as far
               from the microphone loses 12 dB. When the VAD reports them, 324 sounds of flite's callers (softer or
               louder than usual by 3 dB) were at most 9.2 dB below, 39 of voices behind them at least 14.8 dB
    faint_db   down to here an order to stop, alone, is still taken from a soft voice: a caller who has turned away
    """

    words_ms: float = 400
    wordless_ms: float = 1500
    hold_ms: float = 2500
    tail_ms: float = 200
    soft_db: float = 12
    faint_db: float = 15


class Claim(Enum):
    """What the words recognised so far want. Any word that is not known to want nothing wants the floor.

    NOTHING   there are none
    LISTENING "uh-huh", "I see": go on
    OPEN      so far it could still become that: "I", "got"
    FLOOR     anything else
    STOP      an order to stop and nothing else: "no, wait"
    """

    NOTHING = "nothing"
    LISTENING = "listening"
    OPEN = "open"
    FLOOR = "floor"
    STOP = "stop"


_BRACKETED = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>|\*[^*]*\*")  # "[laughter]", "(coughs)"


def _words(text: str) -> tuple[str, ...]:
    """Words in lower case, without apostrophes; a letter that is drawn out counts once ("Mm-hmm" is m, hm)."""
    text = _BRACKETED.sub(" ", text.lower())
    text = re.sub(r"['’]", "", text)
    text = re.sub(r"([^\W\d])\1+", r"\1", text)
    return tuple(re.findall(r"[^\W_]+", text))


class Lexicon:
    """Phrases of one language, divided by commas.

    answers   said while listening, and also said in answer to a question
    listening said while listening, and no answer
    stops     orders to stop
    """

    def __init__(self, *, answers: str = "", listening: str = "", stops: str = "") -> None:
        self.answers = self._phrases(answers + _EVERYWHERE)
        self.stops = self._phrases(stops)
        self.harmless = self.answers | self._phrases(listening)
        self.openings = {phrase[:size] for phrase in self.harmless for size in range(1, len(phrase))}
        self.longest = max(len(phrase) for phrase in self.harmless | self.stops)

    @staticmethod
    def _phrases(text: str) -> frozenset[tuple[str, ...]]:
        return frozenset(_words(phrase) for phrase in text.split(",") if phrase.strip())


_EVERYWHERE = ", ok, okay, kay, mkay, uh huh, uhhuh, mm hmm, mhm, mm hm, mhm hm"

# Sounds of a listener in any language, as `_words` writes them: mm, hmm, mhm; uh, ah, oh, eh; um, ehm; laughter.
_NOISE = re.compile(
    r"m|m?(?:hm)+|(?:[aeouäöü]h)+m?|um|erm?|ähm?|öhm?|huh|aha|oha|ahem|(?:ha)+h?|(?:he){2,}h?|(?:ho){2,}"
)

# A language is one entry. Missing here, only the sounds and "okay" are known, and every other word takes the floor.
LEXICONS = {
    "en": Lexicon(
        answers="""
            yes, yeah, yea, yah, ya, yep, yup, aye, sure, for sure, right, thats right, correct, thats correct, true,
            thats true, exactly, absolutely, definitely, totally, certainly, indeed, of course, fine, thats fine,
            good, very good, thats good, sounds good, great, sounds great, thats great, perfect, excellent, lovely,
            wonderful, cool, alright, all right, alrighty, alright then, okey dokey, go on, go ahead, keep going
        """,
        listening="""
            i see, ah i see, i understand, understood, got it, got that, gotcha, i got it, i gotcha, noted, makes sense,
            that makes sense, fair enough, good to know, really, oh really, wow, nice, very nice, thats nice, amazing,
            awesome, interesting, thats interesting, oh dear, my god, my goodness, oh my, goodness, gosh, oh boy, phew
        """,
        stops="""
            stop, stop it, stop that, please stop, stop please, stop talking, wait, wait a minute, wait a second,
            wait a moment, hold on, hold on a second, hang on, hang on a second, no, nope, enough, thats enough,
            excuse me, pardon, pardon me, quiet, be quiet, shut up, pause, one moment, one second, just a second,
            just a moment, listen
        """,
    ),
    "de": Lexicon(
        answers="""
            ja, jaja, jo, jup, jawohl, jep, genau, stimmt, das stimmt, richtig, klar, na klar, alles klar, sicher,
            gut, sehr gut, ist gut, schon gut, gerne, gern, super, prima, toll, perfekt, wunderbar, schön, sehr schön,
            in ordnung, passt, eben, natürlich, selbstverständlich, weiter
        """,
        listening="""
            ach, ach so, achso, ach ja, aha, verstehe, ich verstehe, verstanden, hab verstanden, tja, soso, so so,
            wirklich, echt, krass, wow, interessant, gut zu wissen, meine güte, mein gott, ach du liebe zeit
        """,
        stops="""
            stopp, stop, halt, warten sie, warte, moment, moment mal, einen moment, einen augenblick, augenblick,
            nein, nee, nö, genug, das reicht, entschuldigung, entschuldigen sie, verzeihung, ruhe, pause, aufhören
        """,
    ),
}
_UNKNOWN = Lexicon()


def claim(text: str, language: str = "en", *, asking: bool = False, final: bool = True) -> Claim:
    """What the caller's words want. `asking`: the agent asked something, so that "yes" is an answer."""
    lexicon = LEXICONS.get(language.lower()[:2], _UNKNOWN)
    words = _words(text)
    if not words:
        return Claim.NOTHING
    stops, listening, at = False, True, 0
    while at < len(words):
        for size in range(min(lexicon.longest, len(words) - at), 0, -1):
            phrase = words[at : at + size]
            if phrase in lexicon.stops:
                stops, listening = True, False
                break
            if phrase in lexicon.harmless:
                listening &= not (asking and phrase in lexicon.answers)
                break
            if size == 1 and _NOISE.fullmatch(phrase[0]):
                break
        else:
            unfinished = not final and not stops and listening and words[at:] in lexicon.openings
            return Claim.OPEN if unfinished else Claim.FLOOR
        at += size
    if listening:
        return Claim.LISTENING
    return Claim.STOP if stops else Claim.FLOOR


class _Due(NamedTuple):
    at: float
    verdict: Verdict


class Overlap:
    """Decides one overlap after another of one call. Times are ms of any one clock.

    YIELD is for good. RESUME is not: words that come late, or at last at the caller's own level (so `level` must be
    told of after it, too), still yield.
    A new sound after either begins a new overlap.
    """

    def __init__(self, waits: OverlapWaits = OverlapWaits(), *, language: str = "en") -> None:
        self._waits = waits
        self._language = language
        self.begin(0.0, asking=False, below_db=None)
        self._reached = Verdict.RESUME

    def begin(self, now: float, *, asking: bool, below_db: float | None) -> None:
        """The caller began to sound over the agent.

        asking    the sentence that the agent is saying, or has just ended, is a question
        below_db  how much softer than this caller's usual speech; None: not known yet, taken as near
        """
        self._began = now
        self._asking = asking
        self._below_db = below_db
        self._since: float | None = now  # the present stretch of sound; None in silence
        self._stopped = now
        self._voiced_ms = 0.0  # of the stretches before it
        self._finals = ""
        self._interim = ""
        self._text_at = now
        self._covered_at: float | None = None  # when the recogniser last said that it had written everything
        self._reached = Verdict.HOLD

    def level(self, below_db: float) -> None:
        """Better knowledge of the level, as the sound goes on: of the loudest syllable of the overlap so far."""
        self._below_db = below_db

    def speech_stopped(self, now: float) -> None:
        if self._since is not None:
            self._voiced_ms += now - self._since
            self._since = None
            self._stopped = now

    def speech_started(self, now: float) -> None:
        """Again, within the same overlap."""
        if self._since is None:
            self._since = now

    def transcript(self, text: str, now: float, *, final: bool) -> None:
        """Words of this overlap: an interim replaces the one before, a final is added for good.

        A final without words is news, too: the recogniser has heard nothing in that sound.
        """
        if final:
            self._finals = f"{self._finals} {text}".strip()
            self._interim = ""
            self._covered_at = now
        else:
            self._interim = text
            self._covered_at = None
        self._text_at = now

    def verdict(self, now: float) -> Verdict:
        """What to do now; RESUME while there has been no overlap."""
        due = self._due()
        if due is not None and due.at <= now:
            self._reached = due.verdict
        return self._reached

    def decides_at(self) -> float | None:
        """When to ask again if nothing else happens; None: no verdict is to be expected."""
        due = self._due()
        return None if due is None else due.at

    def _due(self) -> _Due | None:
        """The next verdict if nothing else happens."""
        if self._reached is Verdict.YIELD:
            return None
        waits, below_db = self._waits, self._below_db or 0.0
        near = below_db < waits.soft_db
        words = claim(
            f"{self._finals} {self._interim}",
            self._language,
            asking=self._asking,
            final=self._covered_at is not None,
        )
        if (near and words is Claim.FLOOR) or (words is Claim.STOP and below_db < waits.faint_db):
            return _Due(self._text_at, Verdict.YIELD)
        if self._reached is Verdict.RESUME:
            return None
        bound = self._began + waits.hold_ms
        if not near:
            return _Due(self._began, Verdict.RESUME)
        if self._since is None:
            return _Due(min(self._silence_settled_at(), bound), Verdict.RESUME)
        if words is Claim.NOTHING:
            bound = min(bound, self._since + max(0.0, waits.wordless_ms - self._voiced_ms))
        return _Due(bound, Verdict.YIELD)

    def _silence_settled_at(self) -> float:
        """Until when more words are awaited after the sound has ended."""
        if self._covered_at is not None and self._covered_at >= self._stopped - self._waits.tail_ms:
            return max(self._stopped, self._covered_at)
        return self._stopped + self._waits.words_ms
