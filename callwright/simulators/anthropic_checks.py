"""Rules of Anthropic's Messages API that span several blocks: tool uses and their results, cache markers.

Source: platform.claude.com (copies of 2026-08-22 and 2026-10-10), and errors reported in public.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from callwright.simulators.anthropic_request import RequestRefused
from callwright.simulators.conversation import JSON, Block, Message, OfferedTool, Ttl

UNMARKABLE = ("thinking", "redacted_thinking")
_ANSWER_ALL = "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
_ANSWER_SOME = "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."


def check_tool_pairs(messages: Sequence[Message]) -> None:
    """Every tool use is answered at the start of the next user message, and every result answers one."""
    unanswered: list[str] = []
    previous_uses: list[str] = []
    asked_at = 0
    for number, message in enumerate(messages):
        if message.role == "assistant":
            if unanswered:
                raise RequestRefused(_not_answered(asked_at, unanswered))
            uses = [block.id for block in message.blocks if block.kind == "tool_use"]
            merged = number > 0 and messages[number - 1].role == "assistant"
            previous_uses = previous_uses + uses if merged else uses
            unanswered, asked_at = list(uses), number
            continue
        results_are_over = False
        for place, block in enumerate(message.blocks):
            if block.kind != "tool_result":
                results_are_over = True
                continue
            if results_are_over and block.id in unanswered:
                raise RequestRefused(_not_answered(asked_at, unanswered))
            if block.id not in previous_uses:
                raise RequestRefused(
                    f"messages.{number}.content.{place}: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {block.id}. {_ANSWER_SOME}"
                )
            if block.id in unanswered:
                unanswered.remove(block.id)
        following_is_user = number + 1 < len(messages) and messages[number + 1].role == "user"
        if unanswered and (results_are_over or not following_is_user):
            raise RequestRefused(_not_answered(asked_at, unanswered))
        if not following_is_user:
            previous_uses = []
    if unanswered:
        raise RequestRefused(_not_answered(asked_at, unanswered))


def _not_answered(number: int, ids: Sequence[str]) -> str:
    return (
        f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(ids)}. {_ANSWER_ALL}"
    )


Marked = tuple[tuple[OfferedTool, ...], tuple[Block, ...], tuple[Message, ...]]


def automatic(
    raw: JSON, tools: tuple[OfferedTool, ...], system: tuple[Block, ...], messages: tuple[Message, ...]
) -> Marked:
    """Top-level cache_control: a marker on the last block that can carry one."""
    ttl = marker_of({"cache_control": raw}, "cache_control")
    explicit = sum(marker is not None for marker, _ in _markers(tools, system, messages))

    def mark(existing: Ttl | None) -> Ttl | None:
        if existing is not None and existing != ttl:
            raise RequestRefused(
                f"Top-level cache_control has ttl='{ttl}' but the target block already has cache_control "
                f"with ttl='{existing}'"
            )
        if existing is None and explicit >= 4:
            raise RequestRefused(f"A maximum of 4 blocks with cache_control may be provided. Found {explicit + 1}.")
        return ttl

    for m in range(len(messages) - 1, -1, -1):
        blocks = messages[m].blocks
        for b in range(len(blocks) - 1, -1, -1):
            if blocks[b].kind not in UNMARKABLE:
                marked = replace(blocks[b], marker=mark(blocks[b].marker))
                message = replace(messages[m], blocks=(*blocks[:b], marked, *blocks[b + 1 :]))
                return tools, system, (*messages[:m], message, *messages[m + 1 :])
    return tools, system, messages


def _markers(
    tools: Sequence[OfferedTool], system: Sequence[Block], messages: Sequence[Message]
) -> Iterator[tuple[Ttl | None, str]]:
    for number, tool in enumerate(tools):
        yield tool.marker, f"tools.{number}"
    for number, block in enumerate(system):
        yield block.marker, f"system.{number}"
    for number, message in enumerate(messages):
        for place, block in enumerate(message.blocks):
            yield block.marker, f"messages.{number}.content.{place}"


def check_markers(tools: Sequence[OfferedTool], system: Sequence[Block], messages: Sequence[Message]) -> None:
    """At most four markers, and none that lives an hour after one that lives five minutes."""
    marked = [(marker, where) for marker, where in _markers(tools, system, messages) if marker is not None]
    if len(marked) > 4:
        raise RequestRefused(f"A maximum of 4 blocks with cache_control may be provided. Found {len(marked)}.")
    short_seen = False
    for marker, where in marked:
        if marker == "1h" and short_seen:
            raise RequestRefused(
                f"{where}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
                "cache_control block. Note that blocks are processed in the following order: `tools`, "
                "`system`, `messages`."
            )
        short_seen = short_seen or marker == "5m"


def marker_of(raw: Mapping[str, JSON], where: str) -> Ttl | None:
    """The lifetime a block\'s cache_control asks for; None without one."""
    marker = raw.get("cache_control")
    if marker is None:
        return None
    if not isinstance(marker, dict) or marker.get("type") != "ephemeral":
        raise RequestRefused(f"{where}.cache_control.type: Input should be 'ephemeral'")
    ttl = marker.get("ttl", "5m")
    if ttl not in ("5m", "1h"):
        raise RequestRefused(f"{where}.cache_control.ttl: Input should be '5m' or '1h'")
    return cast("Ttl", ttl)
