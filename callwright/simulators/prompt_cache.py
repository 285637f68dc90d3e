"""Anthropic's prompt cache by its documented rules: what a request reads, writes, and is charged for.

Source: platform.claude.com, prompt caching (copy of 2026-10-10). Pure: the time comes with each question.
Times are seconds of one monotonic clock, lengths are estimated tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from callwright.simulators.anthropic_request import MessagesRequest
from callwright.simulators.conversation import Ttl

LOOKBACK = 20
TTL_S: dict[Ttl, float] = {"5m": 300.0, "1h": 3600.0}


@dataclass(frozen=True)
class Position:
    """A place where a cached prefix can end: everything up to here, as a hash and in tokens."""

    key: str
    tokens: int
    marker: Ttl | None = None


@dataclass(frozen=True)
class Usage:
    """Input tokens by what they cost."""

    input_tokens: int
    cache_read_input_tokens: int = 0
    created_5m: int = 0
    created_1h: int = 0

    @property
    def cache_creation_input_tokens(self) -> int:
        return self.created_5m + self.created_1h

    @property
    def total(self) -> int:
        return self.input_tokens + self.cache_read_input_tokens + self.cache_creation_input_tokens


@dataclass(frozen=True)
class Lookup:
    """What one request found, and what it will write once its response begins."""

    usage: Usage
    writes: tuple[tuple[str, Ttl], ...]
    asked_at: float


@dataclass
class _Entry:
    ttl: Ttl
    expires: float


class PromptCache:
    """The entries of one workspace (here: one API key)."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def look_up(self, positions: Sequence[Position], minimum: int, now: float) -> Lookup:
        """Find the longest cached prefix that a marker of this request leads to, and refresh it."""
        total = positions[-1].tokens if positions else 0
        marked = [i for i, position in enumerate(positions) if position.marker is not None]
        read, read_key = 0, ""
        for marker in marked:
            for i in range(marker, max(-1, marker - LOOKBACK), -1):
                entry = self._entries.get(positions[i].key)
                if entry is not None and entry.expires > now:
                    if positions[i].tokens > read:
                        read, read_key = positions[i].tokens, positions[i].key
                    break
        if read_key:
            entry = self._entries[read_key]
            entry.expires = now + TTL_S[entry.ttl]
        eligible = [positions[i] for i in marked if positions[i].tokens >= minimum]
        if not eligible:
            return Lookup(Usage(total - read, read), (), now)
        covered = max(position.tokens for position in eligible)
        hour = [p.tokens for p in eligible if p.marker == "1h" and p.tokens >= read]
        until_1h = max(hour, default=read)
        usage = Usage(
            input_tokens=total - max(read, covered),
            cache_read_input_tokens=read,
            created_5m=max(0, covered - max(read, until_1h)),
            created_1h=until_1h - read,
        )
        writes = tuple((p.key, p.marker) for p in eligible if p.tokens > read and p.marker is not None)
        return Lookup(usage, writes, now)

    def begin(self, lookup: Lookup) -> None:
        """The response has begun: what it wrote can be read from now on; its time runs from the request."""
        for key, ttl in lookup.writes:
            self._entries[key] = _Entry(ttl, lookup.asked_at + TTL_S[ttl])


def positions(request: MessagesRequest) -> tuple[Position, ...]:
    """The cacheable places of a request, in the vendor's order: tools, system, messages.

    A run of tool uses is one position, and so is a run of tool results. Parameters that invalidate messages
    (tool_choice, thinking, effort) enter the hash where messages begin.
    """
    digest = hashlib.sha256(request.model.id.encode())
    size = 0
    found: list[Position] = []
    run = ""
    for kind, canonical, length, marker in _parts(request):
        digest.update(b"\x00" + kind.encode() + b"\x00" + canonical.encode())
        size += length
        if not length:
            continue  # where messages begin: hashed, but no place of its own
        run_kind = kind.rpartition(" ")[2]
        joins = run_kind in ("tool_use", "tool_result") and kind == run
        marker = marker or (found[-1].marker if joins else None)
        place = Position(digest.hexdigest(), request.model.tokens(size), marker)
        if joins:
            found[-1] = place
        else:
            found.append(place)
        run = kind
    return tuple(found)


def _parts(request: MessagesRequest) -> Iterator[tuple[str, str, int, Ttl | None]]:
    for tool in request.tools:
        yield "tool", tool.canonical, len(tool.canonical.encode()), tool.marker
    for block in request.system:
        yield "system", block.canonical, block.size, block.marker
    yield "settings", request.message_settings, 0, None
    for message in request.messages:
        for block in message.blocks:
            yield f"{message.role} {block.kind}", block.canonical, max(1, block.size), block.marker
