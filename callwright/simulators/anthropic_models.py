"""The models the Anthropic stand-in serves, and where they differ on the wire.

Source: platform.claude.com, models and prompt caching pages, copy of 2026-10-10. Release dates of models older
than claude-sonnet-4-6, of claude-opus-4-7 and 4-8 and of claude-fable-5-1 are not from there and only fill the
`created_at` of a model list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """One model.

    cache_minimum   shortest prefix that is cached, in tokens
    tokens_factor   against the tokenizer used up to 4.6 (the vendor: the newer one yields about 30 % more)
    prefill         a trailing assistant message is continued; newer models refuse it
    adaptive        accepts thinking.type "adaptive"
    budgeted        accepts thinking.type "enabled" and free sampling parameters
    thinking_off    accepts thinking.type "disabled"
    forced_tools    accepts tool_choice "any" and "tool"
    """

    id: str
    released: str
    cache_minimum: int
    tokens_factor: float = 1.3
    prefill: bool = False
    adaptive: bool = True
    budgeted: bool = False
    thinking_off: bool = True
    forced_tools: bool = True

    def tokens(self, utf8_bytes: int) -> int:
        """Estimated tokens of so much text: bytes/3.6, an assumption; the tokenizer is not public."""
        return math.ceil(utf8_bytes / 3.6 * self.tokens_factor)


def _old(model: str, released: str, minimum: int) -> Model:
    return Model(model, released, minimum, tokens_factor=1.0, prefill=True, adaptive=False, budgeted=True)


MODELS = {
    model.id: model
    for model in (
        Model("claude-haiku-5-5", "2026-10-07", 512),
        Model("claude-sonnet-5-5", "2026-09-28", 512, forced_tools=False),
        Model("claude-opus-5-5", "2026-09-22", 512, forced_tools=False),
        Model("claude-fable-5-1", "2026-09-01", 512, thinking_off=False, forced_tools=False),
        Model("claude-opus-5", "2026-07-24", 512),
        Model("claude-sonnet-5", "2026-06-30", 1024),
        Model("claude-opus-4-8", "2026-05-01", 1024),
        Model("claude-opus-4-7", "2026-04-01", 2048),
        Model("claude-sonnet-4-6", "2026-02-17", 1024, tokens_factor=1.0, budgeted=True),
        Model("claude-opus-4-6", "2026-02-05", 4096, tokens_factor=1.0, budgeted=True),
        _old("claude-opus-4-5", "2025-11-24", 4096),
        _old("claude-haiku-4-5", "2025-10-01", 4096),
        _old("claude-haiku-4-5-20251001", "2025-10-01", 4096),
        _old("claude-sonnet-4-5", "2025-09-29", 1024),
    )
}
