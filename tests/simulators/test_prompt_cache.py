"""The prompt cache by its documented rules, on a virtual clock."""

from __future__ import annotations

from typing import Any

from callwright.simulators.anthropic_parse import parse_request
from callwright.simulators.conversation import Ttl
from callwright.simulators.prompt_cache import Position, PromptCache, Usage, positions

MINIMUM = 1024


def blocks(count: int, *, markers: dict[int, Ttl] | None = None, size: int = 200) -> list[Position]:
    """A conversation of `count` blocks of `size` tokens; `markers` by block number, from 1."""
    markers = markers or {}
    return [Position(f"block {n}", n * size, markers.get(n)) for n in range(1, count + 1)]


def ask(cache: PromptCache, prefix: list[Position], now: float = 0.0, minimum: int = MINIMUM) -> Usage:
    """A request whose response begins at once."""
    lookup = cache.look_up(prefix, minimum, now)
    cache.begin(lookup)
    return lookup.usage


def test_the_worked_example_of_one_moving_marker() -> None:
    cache = PromptCache()
    first = ask(cache, blocks(10, markers={10: "5m"}))
    second = ask(cache, blocks(15, markers={15: "5m"}))
    third = ask(cache, blocks(35, markers={35: "5m"}))
    assert first == Usage(0, 0, created_5m=2000)
    assert second == Usage(0, 2000, created_5m=1000)
    assert third == Usage(0, 0, created_5m=7000)  # looks at 35 to 16, misses what was written at 15


def test_twenty_positions_are_looked_at_the_marked_one_included() -> None:
    for last, read in ((29, 2000), (30, 0)):
        cache = PromptCache()
        ask(cache, blocks(10, markers={10: "5m"}))
        assert ask(cache, blocks(last, markers={last: "5m"})).cache_read_input_tokens == read


def test_a_second_marker_bridges_a_long_step() -> None:
    cache = PromptCache()
    ask(cache, blocks(10, markers={10: "5m"}))
    assert ask(cache, blocks(35, markers={12: "5m", 35: "5m"})).cache_read_input_tokens == 2000


def test_nothing_is_read_where_nothing_was_marked() -> None:
    cache = PromptCache()
    ask(cache, blocks(10, markers={10: "5m"}))
    assert ask(cache, blocks(8, markers={8: "5m"})).cache_read_input_tokens == 0


def test_below_the_minimum_nothing_is_cached_and_nobody_says_so() -> None:
    cache = PromptCache()
    short = blocks(5, markers={5: "5m"})
    assert ask(cache, short) == ask(cache, short) == Usage(1000)


def test_the_minimum_itself_is_enough() -> None:
    cache = PromptCache()
    prefix = blocks(5, markers={5: "5m"})
    ask(cache, prefix, minimum=1000)
    assert ask(cache, prefix, minimum=1000) == Usage(0, 1000)


def test_what_follows_the_last_marker_is_plain_input() -> None:
    cache = PromptCache()
    prefix = blocks(12, markers={10: "5m"})
    assert ask(cache, prefix) == Usage(400, 0, created_5m=2000)
    assert ask(cache, prefix) == Usage(400, 2000)


def test_an_entry_lives_five_minutes_from_the_request() -> None:
    for later, read in ((299.9, 2000), (300.0, 0)):
        cache = PromptCache()
        ask(cache, blocks(10, markers={10: "5m"}), now=0)
        assert ask(cache, blocks(10, markers={10: "5m"}), now=later).cache_read_input_tokens == read


def test_a_read_refreshes_the_entry() -> None:
    cache = PromptCache()
    prefix = blocks(10, markers={10: "5m"})
    for now in (0, 250, 500, 750):
        usage = ask(cache, prefix, now=now)
    assert usage.cache_read_input_tokens == 2000


def test_an_hour_is_an_hour() -> None:
    for later, read in ((3599, 2000), (3600, 0)):
        cache = PromptCache()
        prefix = blocks(10, markers={10: "1h"})
        assert ask(cache, prefix).created_1h == 2000
        assert ask(cache, prefix, now=later).cache_read_input_tokens == read


def test_both_lifetimes_are_billed_apart() -> None:
    cache = PromptCache()
    prefix = blocks(15, markers={10: "1h", 15: "5m"})
    assert ask(cache, prefix) == Usage(0, 0, created_5m=1000, created_1h=2000)
    assert ask(cache, prefix, now=400) == Usage(0, 2000, created_5m=1000)


def test_an_entry_is_seen_only_once_its_response_has_begun() -> None:
    cache = PromptCache()
    prefix = blocks(10, markers={10: "5m"})
    first = cache.look_up(prefix, MINIMUM, 0.0)
    meanwhile = cache.look_up(prefix, MINIMUM, 0.5)
    cache.begin(first)
    assert meanwhile.usage.cache_read_input_tokens == 0
    assert cache.look_up(prefix, MINIMUM, 1.0).usage.cache_read_input_tokens == 2000


def test_every_token_is_counted_once() -> None:
    cache = PromptCache()
    for count, markers in ((10, {6: "5m"}), (14, {6: "5m", 12: "5m"}), (30, {29: "5m"}), (3, {}), (16, {6: "1h"})):
        typed: dict[int, Ttl] = dict(markers)  # type: ignore[arg-type]
        assert ask(cache, blocks(count, markers=typed)).total == count * 200


# ---------------------------------------------------------------------------- positions of a request

TOOL = {"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {}}}
MARK = {"type": "ephemeral"}


def request(**change: Any) -> tuple[Position, ...]:
    body: dict[str, Any] = {
        "model": "claude-haiku-5-5",
        "max_tokens": 10,
        "system": "Be kind. " * 100,
        "tools": [TOOL],
        "messages": [{"role": "user", "content": "hello"}],
    }
    return positions(parse_request({**body, **change}))


def keys(found: tuple[Position, ...]) -> list[str]:
    return [position.key for position in found]


def test_tools_come_before_system_and_messages() -> None:
    tools_first = request()
    other_tool = request(tools=[{**TOOL, "description": "Look well."}])
    other_system = request(system="Be brief.")
    assert len(tools_first) == 3
    assert not set(keys(tools_first)) & set(keys(other_tool))
    assert keys(other_system)[0] == keys(tools_first)[0]
    assert keys(other_system)[1] != keys(tools_first)[1]


def test_a_marker_does_not_change_the_prefix() -> None:
    marked = request(system=[{"type": "text", "text": "Be kind. " * 100, "cache_control": MARK}])
    assert keys(marked) == keys(request())
    assert [position.marker for position in marked] == [None, "5m", None]


def test_a_string_and_a_text_block_are_the_same_prefix() -> None:
    assert keys(request(messages=[{"role": "user", "content": [{"type": "text", "text": "hello"}]}])) == keys(request())


def test_another_tool_choice_invalidates_messages_only() -> None:
    other = request(tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert keys(other)[:2] == keys(request())[:2]
    assert keys(other)[2] != keys(request())[2]


def test_another_order_of_keys_in_a_tool_breaks_the_prefix() -> None:
    assert keys(request(tools=[dict(reversed(TOOL.items()))]))[0] != keys(request())[0]


def test_another_model_shares_nothing() -> None:
    assert not set(keys(request(model="claude-sonnet-5-5"))) & set(keys(request()))


def test_a_run_of_tool_uses_or_results_is_one_position() -> None:
    uses = [{"type": "tool_use", "id": f"toolu_{n}", "name": "look", "input": {}} for n in range(3)]
    results = [{"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": "seen"} for n in range(3)]
    results[-1]["cache_control"] = MARK
    found = request(
        messages=[
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": [{"type": "text", "text": "Let me see."}, *uses]},
            {"role": "user", "content": results},
        ]
    )
    assert len(found) == 2 + 1 + 2 + 1
    assert found[-1].marker == "5m"


def test_a_growing_conversation_keeps_its_prefix() -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
    longer = [*messages, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "book"}]
    before, after = keys(request(messages=messages)), keys(request(messages=longer))
    assert after[: len(before)] == before


def test_tokens_are_estimated_from_bytes() -> None:
    (only,) = request(tools=[], system="", messages=[{"role": "user", "content": "x" * 360}])
    assert only.tokens == 130
    (older,) = request(tools=[], system="", model="claude-haiku-4-5", messages=[{"role": "user", "content": "ü" * 180}])
    assert older.tokens == 100
