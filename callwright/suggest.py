"""The nearest right name for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that a person who typed `name` most likely meant, or None if none is near.

    Case, hyphens and underscores do not count as differences. The cutoff of 0.6 is difflib's own default:
    it accepts two wrong letters in a six-letter name and refuses unrelated words.
    """
    plain = {_plain(candidate): candidate for candidate in known}
    found = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a refusal: `did you mean 'x'?`, or `known: a, b` when nothing is near."""
    names = sorted(known)
    guess = nearest(name, names)
    if guess is not None:
        return f"did you mean '{guess}'?"
    return f"known: {', '.join(names)}" if names else "none is known"


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
