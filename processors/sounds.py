"""The sounds of a spoken word, in five classes, and how long each usually lasts. Rules for English spelling."""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from functools import lru_cache

from processors.spoken import LETTER


class Sound(IntEnum):
    V = 0  # vowel
    N = 1  # sonorant: nasal, liquid, glide
    S = 2  # sibilant
    F = 3  # soft fricative
    P = 4  # stop
    PAUSE = 5


# Usual lengths in fluent read English, ms (the order of Klatt 1976, "Linguistic uses of segmental duration").
_LENGTH_MS = {Sound.V: 95.0, Sound.N: 65.0, Sound.S: 95.0, Sound.F: 65.0, Sound.P: 75.0}
_LETTER_NAMES = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        str.split("V PV SV PV V VF SV VS V SV PV VN VN VN V PV PNV VN VS PV NV FV PVPNNV VPS NV SV"),
        strict=True,
    )
)
_LETTER_SOUNDS = {
    letter: sound for sound, letters in (("N", "lmnrw"), ("S", "jsz"), ("F", "fhv")) for letter in letters
}
_LETTER_SOUNDS |= dict.fromkeys("bcdgkpqt", "P") | {"x": "PS"}
_REDUCED = frozenset(
    str.split(
        """
        a an the of to and or for in on at is are was were be been as with that it its your you we they he she
        i'm have has had can will would could from but by if do not this our my his her
        """
    )
)
_SHORTER = 0.7  # an unstressed function word
LONGER = 1.3  # the end of a phrase
# Spellings that are not the sum of their letters; the first that fits is taken.
_SPELLINGS = [
    (re.compile(pattern), sounds)
    for pattern, sounds in (
        (r"^(hour|honest|honor)", "VN"), (r"^(kn|gn|wr|wh)", "N"), (r"^y(?=.)", "N"), (r"sch", "SP"),
        (r"tch|sh|ch", "S"), (r"ph|th", "F"), (r"ck", "P"), (r"qu", "PN"), (r"ng", "N"), (r"gh(?=[aeiou])", "P"),
        (r"gh", ""), (r"[ts]ion", "SVN"), (r"[ct]i(?=[aou])", "S"), (r"[cg](?=[eiy])", "S"),
        (r"[aeiou]+w(?![aeiou])|[aeiouy]+", "V"),
    )
]  # fmt: skip


@lru_cache(4096)
def sounds_of(word: str) -> tuple[tuple[Sound, float], ...]:
    """The sounds of a spoken word with their usual lengths in ms."""
    spelled = _LETTER_NAMES.get(word[1:], "V") if word.startswith(LETTER) else _spell(word)
    factor = _SHORTER if word in _REDUCED else 1.0
    return tuple((Sound[sound], _LENGTH_MS[Sound[sound]] * factor) for sound in spelled or "V")


def _spell(word: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", word) if c.isalpha())
    bare = re.sub(r"([^aeiou])\1+", r"\1", bare)
    sounds, at = "", 0
    while at < len(bare):
        rest = bare[at:]
        if "V" in sounds and rest in ("e", "es", "ed"):  # mute, but for the vowel between two like sounds
            like = (rest == "es" and sounds[-1] == "S") or (rest == "ed" and bare[at - 1] in "td")
            return sounds + "V" * like + {"e": "", "es": "S", "ed": "P"}[rest]
        for pattern, replacement in _SPELLINGS:
            if found := pattern.match(bare, at):
                sounds, at = sounds + replacement, found.end()
                break
        else:
            sounds, at = sounds + _LETTER_SOUNDS.get(bare[at], "V"), at + 1
    return sounds
