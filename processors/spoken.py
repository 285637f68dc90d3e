"""How a written word is said: "$90" is two words, "ninety dollars". Spelling and numbers are English."""

from __future__ import annotations

import re
import unicodedata


def _list(text: str) -> list[str]:
    return text.split()


_ONES = _list(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
    """
)
_TENS = _list("twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "twelve": "twelfth"}
_CURRENCIES = {"$": "dollars", "€": "euros", "£": "pounds"}
_SIGNS = {"%": "percent", "&": "and", "@": "at", "+": "plus"}
ABBREVIATIONS = {
    "dr": "doctor", "mr": "mister", "mrs": "missis", "ms": "miz", "prof": "professor", "st": "street",
    "ave": "avenue", "rd": "road", "vs": "versus", "etc": "etcetera", "dept": "department", "apt": "apartment",
    "jan": "january", "feb": "february", "aug": "august", "sept": "september", "oct": "october",
    "nov": "november", "dec": "december",
}  # fmt: skip
_TOKEN = re.compile(r"\d{1,3}(?:,\d{3})+|\d+|[^\W\d_]+(?:'[^\W\d_]+)*|[$€£%&@+.:-]")
LETTER = "~"  # stands before a letter that is said by its name


def _cardinal(number: int) -> list[str]:
    if number < 20:
        return [_ONES[number]]
    if number < 100:
        return [_TENS[number // 10 - 2], *([_ONES[number % 10]] if number % 10 else [])]
    size, name = next(scale for scale in _SCALES if number >= scale[0])
    return [*_cardinal(number // size), name, *(_cardinal(number % size) if number % size else [])]


def _digits(text: str) -> list[str]:
    return [_ONES[int(digit)] for digit in text]


def _number(text: str) -> list[str]:
    """A whole number; four digits that may be a year or a house number are said in pairs."""
    plain = text.replace(",", "")
    number = int(plain)
    if (len(plain) > 1 and plain[0] == "0") or len(plain) > 9:
        return _digits(plain)
    if len(text) == 4 and 1100 <= number < 2100 and number % 1000 >= 10:
        first, second = divmod(number, 100)
        return [*_cardinal(first), *(["oh"] if second < 10 else []), *(_cardinal(second) if second else ["hundred"])]
    return _cardinal(number)


def spoken(written: str) -> list[str]:
    """The words said for one written word, in lower case: "$90" → ["ninety", "dollars"]."""
    plain = unicodedata.normalize("NFKC", written).replace("’", "'")
    tokens = [token for token in _TOKEN.findall(plain) if token.isascii() or token.isalpha() or token in _CURRENCIES]
    said: list[str] = []
    owed = ""  # the currency, which is said after its number
    for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        if token in _CURRENCIES:
            owed = _CURRENCIES[token]
        elif token in _SIGNS:
            said.append(_SIGNS[token])
        elif token == ".":
            if before[-1:].isalnum() and after[:1].isalnum() and not owed:
                said.append("point" if after[0].isdigit() else "dot")
        elif token[0].isdecimal():
            if before == ":":
                said += [] if token == "00" else ["oh"] * (token[0] == "0") + _cardinal(int(token))
            elif before == "." and owed:
                said += [owed, "and", *_cardinal(int(token)), "cents"]
                owed = ""
            elif before in (".", "-") or after == "-":
                said += _digits(token.replace(",", ""))
            else:
                said += _number(token)
                if owed and after != ".":
                    said.append(owed)
                    owed = ""
        elif token[0].isalpha():
            said += _said_letters(token, after_number=before[-1:].isdecimal() and said != [])
            if token.lower() in ("st", "nd", "rd", "th") and before[-1:].isdecimal():
                said[-1] = _ORDINALS.get(said[-1], re.sub("y$", "ie", said[-1]) + "th")
    return said + [owed] * bool(owed)


def _said_letters(token: str, *, after_number: bool) -> list[str]:
    low = token.lower()
    if after_number and low in ("st", "nd", "rd", "th"):
        return []
    if low in ABBREVIATIONS:
        return [ABBREVIATIONS[low]]
    unspeakable = not re.search(r"[aeiouy]|[^\x00-\x7f]", low)
    if unspeakable or (token.isupper() and 2 <= len(token) <= 4) or (len(token) == 1 and token not in "aAI"):
        return [LETTER + letter for letter in low]
    return [low]
