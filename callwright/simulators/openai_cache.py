"""OpenAI's automatic prompt cache: what a request reads and writes. Pure: the time comes with each question.

Source: OpenAI's guide to prompt caching (2026-10): exact prefixes, from 1,024 tokens on, in steps of 128. How long an
entry lives is the shorter end of what the guide says. Explicit breakpoints are accepted and change nothing here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from callwright.simulators.openai_models import TOKEN_BYTES, Model

MINIMUM_TOKENS = 1024
STEP_TOKENS = 128
_STEP_BYTES = STEP_TOKENS * TOKEN_BYTES


@dataclass(frozen=True)
class Lookup:
    """What one request found, and what it will write once its answer begins; in tokens."""

    cached: int
    written: int
    keys: tuple[str, ...]
    expires: float


class PrefixCache:
    """The prefixes of one account, as a chain of steps: a step is found only behind all before it."""

    def __init__(self) -> None:
        self._expires: dict[str, float] = {}

    def look_up(self, prompt: bytes, model: Model, group: str, now: float) -> Lookup:
        """Find the longest cached prefix of `prompt`. `group`: the request's prompt_cache_key.

        A read keeps an entry alive as if it had been written now.
        """
        digest = hashlib.sha256(f"{model.id}\x00{group}\x00".encode())
        keys = []
        for at in range(0, len(prompt) - _STEP_BYTES + 1, _STEP_BYTES):
            digest.update(prompt[at : at + _STEP_BYTES])
            keys.append(digest.hexdigest())
        if len(keys) * STEP_TOKENS < MINIMUM_TOKENS:
            return Lookup(0, 0, (), now)
        found = 0
        while found < len(keys) and self._expires.get(keys[found], now) > now:
            found += 1
        cached = found * STEP_TOKENS if found * STEP_TOKENS >= MINIMUM_TOKENS else 0
        written = len(keys) * STEP_TOKENS - cached
        return Lookup(cached, written if model.bills_writes else 0, tuple(keys), now + model.cache_s)

    def begin(self, lookup: Lookup) -> None:
        """The answer has begun: its prompt can be read from now on."""
        self._expires.update(dict.fromkeys(lookup.keys, lookup.expires))
