"""The models the OpenAI stand-in serves, and where they differ on the wire.

Sources: OpenAI's guide to prompt caching and errors that clients reported in public until 2026-09 (max_tokens and
temperature since gpt-5; tools beside reasoning_effort with gpt-5.4 and gpt-5.6). What is not known to be refused by a
later model is accepted. Dates of models since gpt-5.4 only fill the `created` of a model list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

TOKEN_BYTES = 4
"""UTF-8 bytes of a token: OpenAI's rule of thumb for English; the stand-in counts no better."""


def tokens(utf8_bytes: int) -> int:
    """Estimated tokens of so much text."""
    return math.ceil(utf8_bytes / TOKEN_BYTES)


@dataclass(frozen=True)
class Model:
    """One model.

    snapshot      what a reply names as its model
    reasoning     takes max_completion_tokens only, its own sampling only, and reasoning_effort
    effort_bars_tools  tools are refused: never, beside an effort that is asked for, or unless "none" is asked for
    bills_writes  writes to the prompt cache are reported and last 30 min; before, they cost nothing and last 5
    """

    id: str
    released: str
    snapshot: str = ""
    reasoning: bool = True
    effort_bars_tools: Literal["never", "asked", "default"] = "never"
    bills_writes: bool = False

    @property
    def created(self) -> int:
        return int(datetime.fromisoformat(self.released).replace(tzinfo=UTC).timestamp())

    @property
    def named(self) -> str:
        return self.snapshot or self.id

    @property
    def cache_s(self) -> float:
        return 1800.0 if self.bills_writes else 300.0


def _chat(model: str, released: str) -> Model:
    return Model(model, released, f"{model}-{released}", reasoning=False)


_ALL = (
    Model("gpt-6.1-terra", "2026-10-26", bills_writes=True),
    Model("gpt-6.1-sol", "2026-09-29", bills_writes=True),
    Model("gpt-6-luna", "2026-09-22", bills_writes=True),
    Model("gpt-5.6-luna", "2026-06-25", effort_bars_tools="default", bills_writes=True),
    Model("gpt-5.4", "2026-03-05", effort_bars_tools="asked"),
    Model("gpt-5.1", "2025-11-13", "gpt-5.1-2025-11-13"),
    _chat("gpt-4.1", "2025-04-14"),
    _chat("gpt-4.1-mini", "2025-04-14"),
    _chat("gpt-4.1-nano", "2025-04-14"),
    _chat("gpt-4o", "2024-08-06"),
    _chat("gpt-4o-mini", "2024-07-18"),
)
MODELS = {name: model for model in _ALL for name in dict.fromkeys((model.id, model.named))}
