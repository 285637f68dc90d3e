"""What a scripted model makes of words that a recogniser wrote down, imperfectly.

Pure functions over the text of one utterance. Matching is by likeness of letters and of consonant sounds, so
that "apply and meant" is still heard as "appointment".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

_ALIKE = 0.78  # letters and sounds: "apply and meant" is "appointment" (0.79), "appliances and" not (0.60)
_ALIKE_SHORT = 0.85  # for phrases of fewer than _LONG letters: "that's right" is not "that's all" (0.80)
_LONG = 10
_EXACT_BELOW = 6  # phrases of fewer letters are compared exactly: short words are too easily alike
_ADDED = re.compile(r"<([a-zA-Z_][\w-]*)\b[^>]*>.*?</\1>|\[[^\]]*\]", re.DOTALL)
_TOKEN = re.compile(r"\d{1,2}:\d{2}|[a-z0-9]+(?:['’][a-z]+)*")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HOURS = {
    word: number
    for number, word in enumerate(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
        start=1,
    )
} | {str(number): number for number in range(1, 13)}
_MINUTES = {
    "thirty": 30,
    "fifteen": 15,
    "twenty": 20,
    "ten": 10,
    "forty": 40,
    "fifty": 50,
    "30": 30,
    "15": 15,
    "45": 45,
}
_ORDINALS = {"first": 0, "1st": 0, "former": 0, "earlier": 0, "earliest": 0} | {
    "second": 1,
    "2nd": 1,
    "third": 2,
    "3rd": 2,
    "fourth": 3,
    "last": -1,
    "latter": -1,
    "later": -1,
    "latest": -1,
}
_YES = _words("yes yeah yep yup sure okay ok correct right fine perfect great absolutely exactly good")
_YES_PHRASES = ("go ahead", "please do", "do that", "i'd like that", "that would be lovely")
_NO = _words("no nope nah not don't doesn't isn't wrong neither")
_NAME_OPENERS = _words(
    "uh um er hi hello yes yeah sure okay ok well so oh it's its it is this that's that i'm i am my "
    "name the speaking here"
)
_NAME_ENDS = _words(
    "i i'd i'm i've i'll and please for on to at the a an from calling here speaking want would "
    "could can thanks thank that's that is it my we you but or with about"
)


@dataclass(frozen=True)
class ClockTime:
    """A time of day as said. `hour` is 0 to 23; one to seven without "a.m." is in the afternoon."""

    hour: int
    minute: int


def plain(text: str) -> str:
    """The caller's own words in a user message: what stands in <tags> or [brackets] a program has added."""
    return " ".join(_ADDED.sub(" ", text).split())


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[str, ...]:
    """Words in lower case without punctuation; "10:30" stays one word, "a.m." becomes "am"."""
    lowered = text.lower().replace("’", "'")
    lowered = re.sub(r"\b([ap])\.?\s?m\b\.?", r"\1m", lowered)
    return tuple(_TOKEN.findall(lowered))


def heard(phrase: str, text: str) -> bool:
    """True if the phrase, or something that looks and sounds like it, occurs in the text."""
    return likeness(phrase, text) > 0


@lru_cache(maxsize=16384)
def likeness(phrase: str, text: str) -> float:
    """How surely the phrase occurs in the text: 1 for the very words, 0 for nothing alike, else between."""
    wanted, said = tokens(phrase), tokens(text)
    if not wanted or not said:
        return 0.0
    size = len(wanted)
    if any(said[i : i + size] == wanted for i in range(len(said) - size + 1)):
        return 1.0
    joined = "".join(wanted)
    if len(joined) < _EXACT_BELOW:
        return 0.0
    enough = _ALIKE if len(joined) >= _LONG else _ALIKE_SHORT
    sound = sounds(joined)
    best = 0.0
    for start in range(len(said)):
        if sounds(said[start])[:1] != sound[:1]:
            continue  # the first sound is rarely lost, and this spares most of the comparisons
        for end in range(start + max(1, size - 1), min(len(said), start + size + 2) + 1):
            best = max(best, _alike(joined, sound, "".join(said[start:end])))
    return min(best, 0.99) if best >= enough else 0.0


def _alike(joined: str, sound: str, window: str) -> float:
    if not 0.6 <= len(window) / len(joined) <= 1.6:
        return 0.0
    by_sound = SequenceMatcher(None, sound, sounds(window), autojunk=False).ratio()
    if by_sound < 0.6:
        return 0.0
    both = (by_sound + SequenceMatcher(None, joined, window, autojunk=False).ratio()) / 2
    return max(both, 0.86 * by_sound) if len(sound) >= 5 else both  # many sounds in order need no spelling


_SOUND_OF = {
    **dict.fromkeys("bp", "P"),
    **dict.fromkeys("dt", "T"),
    **dict.fromkeys("gkcq", "K"),
    **dict.fromkeys("fv", "F"),
    **dict.fromkeys("szxj", "S"),
    **dict.fromkeys("mn", "N"),
    "l": "L",
    "r": "R",
}


@lru_cache(maxsize=16384)
def sounds(word: str) -> str:
    """A word's consonants as classes of sound ("appointment" is APNTNT); vowels and w count only at the start."""
    word = re.sub(r"[^a-z0-9]", "", word)
    word = word.replace("ph", "f").replace("ch", "s").replace("sh", "s").replace("th", "t")
    word = re.sub(r"c(?=[eiy])", "s", word)
    key = "".join(_SOUND_OF.get(letter, letter if letter.isdigit() else "") for letter in word)
    key = re.sub(r"(.)\1+", r"\1", key)
    start = "A" if word[:1] in tuple("aeiouy") else "W" if word[:1] == "w" else ""
    return start + key


def day(text: str) -> str | None:
    """A weekday, "today" or "tomorrow"; the last one said wins ("not Monday, Tuesday")."""
    found = [word for word in tokens(text) if word in _DAYS or word in ("today", "tomorrow")]
    if found:
        return found[-1]
    alike = [name for name in _DAYS if heard(name, text)]
    return alike[0] if len(alike) == 1 else None


def clock_time(text: str) -> ClockTime | None:
    """A time of day: "ten thirty", "half past two", "9 o'clock", "at three", "10:30", "2 pm"."""
    said = tokens(text)
    for i, word in enumerate(said):
        rest = said[i + 1 : i + 4]
        if ":" in word:
            hour, minute = (int(part) for part in word.split(":"))
            if hour > 23 or minute > 59:
                continue
            return _at(hour, minute, rest, said)
        if word in ("half", "quarter") and len(rest) >= 2 and rest[0] in ("past", "to") and rest[1] in _HOURS:
            minutes = 30 if word == "half" else 15
            hour = _HOURS[rest[1]]
            if rest[0] == "to":
                hour, minutes = (hour - 2) % 12 + 1, 60 - minutes
            return _at(hour, minutes, rest[2:], said)
        if word not in _HOURS:
            continue
        if rest and rest[0] in _MINUTES:
            minute = _MINUTES[rest[0]]
            if rest[0] in ("forty", "twenty", "fifty") and len(rest) > 1 and rest[1] == "five":
                minute += 5
            return _at(_HOURS[word], minute, rest[1:], said)
        if (rest and rest[0] in ("o'clock", "oclock", "am", "pm")) or (i and said[i - 1] in ("at", "around", "for")):
            return _at(_HOURS[word], 0, rest, said)
    return None


def _at(hour: int, minute: int, following: Sequence[str], said: Sequence[str]) -> ClockTime:
    afternoon = "pm" in following or "afternoon" in said or "evening" in said
    morning = "am" in following or "morning" in said
    if hour < 12 and (afternoon or (1 <= hour <= 7 and not morning)):
        hour += 12
    elif hour == 12 and morning:
        hour = 0
    return ClockTime(hour, minute)


def ordinal(text: str) -> int | None:
    """Which of several: 0 for "the first one", -1 for "the last one"; None if none is named."""
    found = [_ORDINALS[word] for word in tokens(text) if word in _ORDINALS]
    return found[0] if found else None


def yes_no(text: str) -> bool | None:
    """True for a yes, False for a no, None for neither. A "not", or a no that comes first, makes it a no."""
    said = tokens(text)
    positive = [i for i, word in enumerate(said) if word in _YES]
    negative = [i for i, word in enumerate(said) if word in _NO]
    if "not" in said or (negative and (not positive or negative[0] < positive[0])):
        return False
    if positive or any(likeness(phrase, text) == 1 for phrase in _YES_PHRASES):
        return True
    return None


def person_name(text: str, cues: Sequence[str], *, asked: bool) -> str | None:
    """The name in an utterance: after a cue ("my name is"), or all of a short answer when `asked` for."""
    said = tokens(text)
    for cue in cues:
        wanted = tokens(cue)
        for i in range(len(said) - len(wanted)):
            if said[i : i + len(wanted)] == wanted:
                name = _until_end(said[i + len(wanted) :])
                if name:
                    return _title(name)
    if not asked:
        return None
    start = 0
    while start < len(said) and said[start] in _NAME_OPENERS:
        start += 1
    name = _until_end(said[start:])
    return _title(name) if name and len(said) - start <= 6 else None


def _until_end(said: Sequence[str]) -> tuple[str, ...]:
    name: list[str] = []
    for word in said[:3]:
        if word in _NAME_ENDS or word in _DAYS:
            break
        name.append(word)
    return tuple(name)


def _title(words: Sequence[str]) -> str:
    return " ".join(word.capitalize() for word in words)
