"""The Anthropic stand-in, spoken to by the vendor's own SDK."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import anthropic as sdk
import httpx
import llm_world
import pytest

from callwright.simulators.account import AccountSettings, Delay

MODEL = "claude-haiku-5-5"
WEATHER = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK = {"name": "clock", "description": "The time.", "input_schema": {"type": "object", "properties": {}}}


class Desk(llm_world.Desk):
    def client(self, key: str = "sk-test", *, retries: int = 0) -> sdk.AsyncAnthropic:
        return sdk.AsyncAnthropic(api_key=key, base_url=self.url, max_retries=retries)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Desk.running(tmp_path) as started:
        yield started


async def collected() -> None:
    """The SDK leaves the generators of a broken stream to the collector, which closes them in tasks."""
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 300, "messages": [{"role": "user", "content": text}], **more}


async def raw_events(desk: Desk, body: dict[str, Any], key: str = "sk-test") -> list[tuple[str, dict[str, Any]]]:
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{desk.url}/v1/messages",
            json={**body, "stream": True},
            headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
        )
    events = []
    for record in answer.text.strip().split("\n\n"):
        event, data = record.split("\n")
        events.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def streamed(client: sdk.AsyncAnthropic, text: str, into: list[str]) -> None:
    async with client.messages.stream(**ask(text)) as stream:
        async for piece in stream.text_stream:
            into.append(piece)


async def test_a_streamed_answer_is_the_text_the_rules_say(desk: Desk) -> None:
    async with desk.client() as client, client.messages.stream(**ask("tell me a story")) as stream:
        pieces = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    assert "".join(pieces).startswith("Once upon a time there was")
    assert message.stop_reason == "end_turn"
    assert max(map(len, pieces)) <= 9  # a word at most, as the vendor streams
    assert message.usage.output_tokens == len(pieces)


async def test_an_answer_that_is_not_streamed_is_the_same(desk: Desk) -> None:
    async with desk.client() as client:
        message = await client.messages.create(**ask("what is the weather", tools=[WEATHER]))
    assert message.stop_reason == "tool_use"
    (block,) = message.content
    assert block.type == "tool_use"
    assert block.input == {"city": "Paris"}
    assert block.id.startswith("toolu_01")


async def test_events_come_in_the_vendors_order(desk: Desk) -> None:
    events = await raw_events(desk, ask("compare the weather", tools=[WEATHER]))
    kinds = [kind for kind, _ in events]
    assert all(kind == data["type"] for kind, data in events)
    assert kinds[:3] == ["message_start", "content_block_start", "ping"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    start = events[0][1]["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    indices = [data["index"] for _, data in events if "index" in data]
    assert indices == sorted(indices)
    assert set(indices) == {0, 1, 2}
    deltas = [data["delta"] for _, data in events if data.get("index") == 2 and "delta" in data]
    assert deltas[0] == {"type": "input_json_delta", "partial_json": ""}
    assert json.loads("".join(delta["partial_json"] for delta in deltas)) == {"city": "Reykjavík"}
    assert events[-2][1]["delta"]["stop_reason"] == "tool_use"
    assert events[-2][1]["usage"]["output_tokens"] > 1


async def test_the_beta_interface_is_served_too(desk: Desk) -> None:
    async with desk.client() as client:
        message = await client.beta.messages.create(
            **ask("what is the weather", tools=[{**WEATHER, "strict": True}]),
            betas=["interleaved-thinking-2025-05-14"],
            thinking={"type": "disabled"},
        )
    assert message.content[0].type == "tool_use"


async def test_several_tools_are_called_at_once_unless_told_not_to(desk: Desk) -> None:
    async with desk.client() as client:
        both = await client.messages.create(**ask("compare", tools=[WEATHER]))
        one = await client.messages.create(
            **ask("compare", tools=[WEATHER], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
        )
    assert [block.type for block in both.content] == ["text", "tool_use", "tool_use"]
    assert [block.type for block in one.content] == ["text", "tool_use"]


async def test_a_call_without_arguments_streams_an_empty_object(desk: Desk) -> None:
    async with desk.client() as client, client.messages.stream(**ask("clock", tools=[CLOCK])) as stream:
        message = await stream.get_final_message()
    (block,) = message.content
    assert block.type == "tool_use"
    assert block.input == {}


async def test_a_tool_that_was_not_offered_is_not_called(desk: Desk) -> None:
    async with desk.client() as client:
        message = await client.messages.create(**ask("what is the weather", tools=[CLOCK]))
    assert [block.type for block in message.content] == ["text"]


async def test_a_tool_result_is_spoken_about(desk: Desk) -> None:
    messages = [
        {"role": "user", "content": "what is the weather"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_a", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_a", "content": '{"sky": "grey"}'}]},
    ]
    async with desk.client() as client:
        message = await client.messages.create(**ask("", messages=messages, tools=[WEATHER]))
    assert message.content[0].type == "text"
    assert message.content[0].text == "It is grey."


async def test_max_tokens_cuts_the_answer(desk: Desk) -> None:
    async with desk.client() as client:
        message = await client.messages.create(**ask("story", max_tokens=4))
    assert message.stop_reason == "max_tokens"
    assert message.content[0].type == "text"
    assert message.content[0].text == "Once upon a time"
    assert message.usage.output_tokens == 4


async def test_a_call_that_does_not_fit_into_max_tokens_is_not_made(desk: Desk) -> None:
    async with desk.client() as client:
        message = await client.messages.create(**ask("compare", tools=[WEATHER], max_tokens=5))
    assert message.stop_reason == "max_tokens"
    assert [block.type for block in message.content] == ["text"]


async def test_no_tokens_at_all_only_warms_the_cache(desk: Desk) -> None:
    system = [{"type": "text", "text": "Speak kindly. " * 400, "cache_control": {"type": "ephemeral"}}]
    async with desk.client() as client:
        warm = await client.messages.create(**ask("compare", system=system, tools=[WEATHER], max_tokens=0))
        message = await client.messages.create(**ask("hello", system=system, tools=[WEATHER]))
    assert (warm.content, warm.stop_reason) == ([], "max_tokens")
    assert (message.usage.cache_read_input_tokens or 0) > 1500


async def test_a_client_that_leaves_before_the_first_token_is_noted(tmp_path: Path) -> None:
    settings = AccountSettings(llm_first_token=Delay(300, 300))
    async with Desk.running(tmp_path, settings) as desk, desk.client() as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.messages.create(**ask("story", stream=True)), 0.1)
        async with asyncio.timeout(3):
            while not desk.account().served:  # noqa: ASYNC110 a plain list
                await asyncio.sleep(0.01)
        (line,) = desk.account().served
    assert (line.what, line.detail["output_tokens"]) == ("cancelled", 0)


async def test_a_stop_sequence_ends_the_answer_before_it(desk: Desk) -> None:
    async with desk.client() as client:
        message = await client.messages.create(**ask("story", stop_sequences=[" there"]))
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", " there")
    assert message.content[0].type == "text"
    assert message.content[0].text == "Once upon a time"


async def test_the_first_token_comes_after_the_drawn_delay_and_the_rest_at_the_pace(tmp_path: Path) -> None:
    settings = AccountSettings(llm_first_token=Delay(200, 200), llm_tokens_per_s=100)
    async with Desk.running(tmp_path, settings) as desk, desk.client() as client:
        began = time.monotonic()
        arrivals: list[float] = []
        async with client.messages.stream(**ask("story")) as stream:
            async for _ in stream.text_stream:
                arrivals.append(time.monotonic() - began)
        served = desk.account().served
    assert 0.2 <= arrivals[0] < 0.4
    assert arrivals[-1] - arrivals[0] >= (len(arrivals) - 1) / 100 - 0.05
    first, reply = served
    assert (first.what, reply.what) == ("first_token", "reply")
    assert 200 <= first.delay_ms < 400
    usage = reply.detail["usage"]
    assert isinstance(usage, dict)
    assert usage["output_tokens"] == len(arrivals)


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_barge_in_stops_the_stream_and_is_noted(tmp_path: Path, cancels: bool) -> None:
    settings = AccountSettings(llm_first_token=Delay(0, 0), llm_tokens_per_s=20)
    async with Desk.running(tmp_path, settings, cancels=cancels) as desk, desk.client() as client:
        got: list[str] = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streamed(client, "story", got), 0.5)
        await desk.until_cancelled()
        cancelled = desk.account().served[-1]
    sent = cancelled.detail["output_tokens"]
    assert isinstance(sent, int)
    assert len(got) <= sent <= 12  # 20 tokens a second for half a second
    assert got


async def test_requests_are_kept_as_received(desk: Desk) -> None:
    async with desk.client() as client:
        await client.messages.create(**ask("hello", system="Be kind."))
    (body,) = desk.account().requests
    assert body["system"] == "Be kind."
    assert body["messages"] == [{"role": "user", "content": "hello"}]


async def test_calls_are_told_apart_by_key(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text('fallback: ["Grüezi."]')
    desk.accounts.configure("sk-other", AccountSettings(speed=0, brain_rules=str(other)))
    async with desk.client() as one, desk.client("sk-other") as two:
        said = [await c.messages.create(**ask("hello")) for c in (one, two)]
    assert [cast("Any", message.content[0]).text for message in said] == ["Sorry?", "Grüezi."]
    assert len(desk.account().requests) == len(desk.account("sk-other").requests) == 1


async def test_a_refused_key_is_401(desk: Desk) -> None:
    async with desk.client("refused-1") as client:
        with pytest.raises(sdk.AuthenticationError, match="invalid x-api-key") as caught:
            await client.messages.create(**ask("hello"))
    assert caught.value.response.headers["request-id"].startswith("req_")


async def test_a_missing_key_is_401(desk: Desk) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{desk.url}/v1/messages", json=ask("hello"))
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, "x-api-key header is required")


async def test_a_request_that_is_too_large_is_413(desk: Desk) -> None:
    async with desk.client() as client:
        with pytest.raises(sdk.APIStatusError, match="exceeds the maximum size") as caught:
            await client.messages.create(**ask("x" * 2**21))
    assert caught.value.status_code == 413


async def test_a_bearer_token_is_a_key_too(desk: Desk) -> None:
    async with sdk.AsyncAnthropic(auth_token="tok", api_key=None, base_url=desk.url) as client:
        await client.messages.create(**ask("hello"))
    assert desk.account("tok").requests


async def test_an_unknown_model_is_404_by_name(desk: Desk) -> None:
    async with desk.client() as client:
        with pytest.raises(sdk.NotFoundError, match="model: claude-x"):
            await client.messages.create(**ask("hello", model="claude-x"))


async def test_models_are_listed(desk: Desk) -> None:
    async with desk.client() as client:
        page = await client.models.list(limit=1)
        names = [model.id async for model in client.models.list()]
        paged = [model.id async for model in client.models.list(limit=5)]
        one = await client.models.retrieve(MODEL)
        with pytest.raises(sdk.NotFoundError):
            await client.models.retrieve("claude-x")
    assert len(page.data) == 1
    assert paged == names
    assert one.id == MODEL
    assert MODEL in names
    assert "claude-sonnet-4-6" in names


async def test_headers_carry_the_request_id_and_limits(desk: Desk) -> None:
    async with desk.client() as client:
        answer = await client.messages.with_raw_response.create(**ask("hello"))
    assert answer.headers["request-id"].startswith("req_01")
    for name in ("requests", "tokens", "input-tokens", "output-tokens"):
        assert int(answer.headers[f"anthropic-ratelimit-{name}-remaining"]) > 0


async def test_a_repeated_prefix_is_read_from_the_cache(desk: Desk) -> None:
    system = [{"type": "text", "text": "Speak kindly. " * 400, "cache_control": {"type": "ephemeral"}}]
    async with desk.client() as client:
        first = await client.messages.create(**ask("hello", system=system))
        second = await client.messages.create(**ask("hello again", system=system))
    assert first.usage.cache_read_input_tokens == 0
    assert first.usage.cache_creation_input_tokens == second.usage.cache_read_input_tokens
    assert (second.usage.cache_read_input_tokens or 0) > 1500
    assert second.usage.input_tokens < 10


# ---------------------------------------------------------------------------------------------------- refusals

USE = {"type": "tool_use", "id": "toolu_a", "name": "weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_a", "content": "ok"}
HELLO = {"role": "user", "content": "hello"}
MARK = {"type": "ephemeral"}
REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no max_tokens": ({"max_tokens": None}, "max_tokens: Field required"),
    "assistant first": ({"messages": [{"role": "assistant", "content": "hi"}, HELLO]}, "first message must use"),
    "empty text block": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        "messages: text content blocks must be non-empty",
    ),
    "empty content": (
        {"messages": [{"role": "user", "content": ""}]},
        "messages.0: all messages must have non-empty content except for the optional final assistant message",
    ),
    "unanswered tool use": (
        {"messages": [HELLO, {"role": "assistant", "content": [USE, {**USE, "id": "toolu_b"}]}, HELLO]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_a, toolu_b. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
    ),
    "text before the result": (
        {
            "messages": [
                HELLO,
                {"role": "assistant", "content": [USE]},
                {"role": "user", "content": [{"type": "text", "text": "so"}, RESULT]},
            ]
        },
        "messages.1: `tool_use` ids were found without",
    ),
    "orphan result": (
        {"messages": [{"role": "user", "content": [RESULT]}]},
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_a.",
    ),
    "five markers": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": MARK}] * 5}]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "long after short": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a", "cache_control": MARK},
                        {"type": "text", "text": "b", "cache_control": {**MARK, "ttl": "1h"}},
                    ],
                }
            ]
        },
        "messages.0.content.1.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m'",
    ),
    "prefill": (
        {"messages": [HELLO, {"role": "assistant", "content": "Sure"}]},
        "This model does not support assistant message prefill.",
    ),
    "budgeted thinking": (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        '"thinking.type.enabled" is not supported for this model.',
    ),
    "adaptive thinking on an old model": (
        {"model": "claude-haiku-4-5", "thinking": {"type": "adaptive"}},
        "adaptive thinking is not supported on this model",
    ),
    "no thinking on fable": (
        {"model": "claude-fable-5-1", "thinking": {"type": "disabled"}},
        '"thinking.type.disabled" is not supported for this model.',
    ),
    "temperature": ({"temperature": 0.2}, "`temperature` is not supported for this model."),
    "forced tool": (
        {"model": "claude-sonnet-5-5", "tools": [WEATHER], "tool_choice": {"type": "any"}},
        "is not supported for this model",
    ),
    "tools of one name": ({"tools": [WEATHER, WEATHER]}, "tools: Tool names must be unique."),
    "unknown block": (
        {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
        "messages.0.content.0: Input tag 'video' found using 'type' does not match any of the expected tags",
    ),
    "automatic marker of another ttl": (
        {
            "cache_control": MARK,
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {**MARK, "ttl": "1h"}}]}
            ],
        },
        "Top-level cache_control has ttl='5m' but the target block already has cache_control with ttl='1h'",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_wrong_request_is_refused_in_the_vendors_words(desk: Desk, case: str) -> None:
    change, words = REFUSALS[case]
    body = {key: value for key, value in {**ask("hello"), **change}.items() if value is not None}
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{desk.url}/v1/messages", json=body, headers={"x-api-key": "k", "anthropic-version": "2023-06-01"}
        )
    error = answer.json()
    assert answer.status_code == 400
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert words in error["error"]["message"]
    assert error["request_id"] == answer.headers["request-id"]


async def test_consecutive_messages_of_one_role_are_accepted(desk: Desk) -> None:
    messages = [HELLO, {"role": "user", "content": "tell me a story"}]
    async with desk.client() as client:
        message = await client.messages.create(**ask("", messages=messages))
    assert cast("Any", message.content[0]).text.startswith("Once")


async def test_results_may_come_in_several_user_messages(desk: Desk) -> None:
    messages = [
        HELLO,
        {"role": "assistant", "content": [USE, {**USE, "id": "toolu_b"}]},
        {"role": "user", "content": [RESULT]},
        {"role": "user", "content": [{**RESULT, "tool_use_id": "toolu_b", "content": '{"sky": "blue"}'}]},
    ]
    async with desk.client() as client:
        message = await client.messages.create(**ask("", messages=messages, tools=[WEATHER]))
    assert cast("Any", message.content[0]).text == "It is blue."


# ---------------------------------------------------------------------------------------------------- faults


async def test_a_rate_limit_is_waited_out_as_told(desk: Desk) -> None:
    desk.order(kind="status", status=429, retry_after=0.2)
    async with desk.client(retries=1) as client:
        began = time.monotonic()
        await client.messages.create(**ask("hello"))
    assert 0.2 <= time.monotonic() - began < 1.0


async def test_an_overloaded_vendor_is_529(desk: Desk) -> None:
    desk.order(kind="status", status=529)
    async with desk.client() as client:
        with pytest.raises(sdk.APIStatusError, match="Overloaded") as caught:
            await client.messages.create(**ask("hello"))
        assert caught.value.status_code == 529
        await client.messages.create(**ask("hello"))  # it struck once


async def test_one_request_meets_one_refusal(desk: Desk) -> None:
    desk.order(kind="status", status=429, moment="connect")
    desk.order(kind="status", status=529, moment="before")
    met: list[int] = []
    async with desk.client() as client:
        for _ in range(2):
            with pytest.raises(sdk.APIStatusError) as caught:
                await client.messages.create(**ask("hello"))
            met.append(caught.value.status_code)
        await client.messages.create(**ask("hello"))
    assert met == [429, 529]


async def test_an_error_within_the_stream_comes_after_the_text(desk: Desk) -> None:
    desk.order(kind="status", moment="within", after=3)
    got: list[str] = []
    async with desk.client() as client:
        with pytest.raises(sdk.APIStatusError, match="Overloaded"):
            await streamed(client, "story", got)
    assert "".join(got) == "Once upon a"
    await collected()


async def test_a_truncated_stream_ends_without_message_stop(desk: Desk) -> None:
    desk.order(kind="truncate", moment="within", after=2)
    kinds = [kind for kind, _ in await raw_events(desk, ask("story"))]
    assert kinds.count("content_block_delta") == 2
    assert "message_stop" not in kinds


async def test_a_dropped_connection_breaks_the_stream(desk: Desk) -> None:
    desk.order(kind="drop", moment="within", after=2)
    async with desk.client() as client:
        with pytest.raises(Exception, match=r"(?i)peer closed|connection"):
            await streamed(client, "story", [])
    assert desk.account().served[-1].what == "dropped"
    await collected()


async def test_a_connection_refused_before_the_answer_is_a_connection_error(desk: Desk) -> None:
    desk.order(kind="refuse_connect", moment="connect")
    async with desk.client() as client:
        with pytest.raises(sdk.APIConnectionError):
            await client.messages.create(**ask("hello"))


async def test_a_malformed_event_cannot_be_parsed(desk: Desk) -> None:
    desk.order(kind="malformed", moment="within", after=1)
    async with desk.client() as client:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
            await streamed(client, "story", [])
    await collected()


async def test_a_stall_before_the_answer_delays_it(desk: Desk) -> None:
    desk.order(kind="stall", stall_s=0.3)
    async with desk.client() as client:
        began = time.monotonic()
        await client.messages.create(**ask("hello"))
    assert time.monotonic() - began >= 0.3


async def test_a_stall_within_the_stream_is_a_gap(desk: Desk) -> None:
    desk.order(kind="stall", moment="within", after=3, stall_s=0.3)
    arrivals: list[float] = []
    async with desk.client() as client, client.messages.stream(**ask("story")) as stream:
        async for _ in stream.text_stream:
            arrivals.append(time.monotonic())
    gaps = [b - a for a, b in pairwise(arrivals)]
    assert gaps.index(max(gaps)) == 2
    assert max(gaps) >= 0.29


async def test_a_silent_vendor_ends_when_the_client_gives_up(desk: Desk) -> None:
    desk.order(kind="silence")
    client = sdk.AsyncAnthropic(api_key="sk-test", base_url=desk.url, max_retries=0, timeout=0.3)
    async with client:
        with pytest.raises(sdk.APITimeoutError):
            await client.messages.create(**ask("hello"))


async def test_rules_that_cannot_be_read_are_an_answer_not_a_crash(desk: Desk) -> None:
    desk.accounts.configure("sk-test", AccountSettings(speed=0, brain_rules="/nowhere/rules.yaml"))
    async with desk.client() as client:
        with pytest.raises(sdk.InternalServerError, match="cannot read the rules file"):
            await client.messages.create(**ask("hello"))
