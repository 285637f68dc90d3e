"""Whatever is sent as a request to OpenAI is either understood or refused in the vendor's words: nothing else."""

from __future__ import annotations

import contextlib
import json
import random
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callwright.simulators import brain_rules
from callwright.simulators.brain import Answer, Brain, Use
from callwright.simulators.openai_cache import Lookup, PrefixCache
from callwright.simulators.openai_models import MODELS
from callwright.simulators.openai_parse import parse_request
from callwright.simulators.openai_reply import Reply, compose
from callwright.simulators.openai_request import RequestRefused

RULES = """
facts: {offers: {from: [look, look.slots]}}
rules:
  - {name: found, when: {after: look, have: [offers]}, say: "I have {offers.0.start}."}
  - {name: look, when: {heard: [look]}, call: [{tool: look, with: {name: ann}}, {tool: look}]}
"""
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
HELLO = {"role": "user", "content": "hello"}
CALL = {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "call_a", "content": "ok"}


def schema(parameters: Any, **more: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "look", "parameters": parameters, **more}}]}


REFUSALS: dict[str, tuple[dict[str, Any], str, str | None, str | None]] = {
    "no model": ({"model": None}, "you must provide a model parameter", None, None),
    "no messages": (
        {"messages": None},
        "Missing required parameter: 'messages'.",
        "messages",
        "missing_required_parameter",
    ),
    "messages as text": (
        {"messages": "hello"},
        "Invalid type for 'messages': expected an array of objects, but got a string instead.",
        "messages",
        "invalid_type",
    ),
    "no message": ({"messages": []}, "Invalid 'messages': empty array.", "messages", "empty_array"),
    "unknown role": (
        {"messages": [{"role": "caller", "content": "hello"}]},
        "Invalid value: 'caller'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and "
        "'developer'.",
        "messages[0].role",
        "invalid_value",
    ),
    "no content": (
        {"messages": [HELLO, {"role": "assistant", "content": None}]},
        "Invalid value for 'content': expected a string, got null.",
        "messages.[1].content",
        None,
    ),
    "unknown part": (
        {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
        "Invalid value: 'video'.",
        "messages[0].content[0].type",
        "invalid_value",
    ),
    "a result nobody asked for": (
        {"messages": [HELLO, TOLD]},
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
        "messages.[1].role",
        None,
    ),
    "a result of another call": (
        {"messages": [HELLO, ASKED, {**TOLD, "tool_call_id": "call_b"}]},
        "Invalid parameter: 'tool_call_id' of 'call_b' not found in 'tool_calls' of previous message.",
        "messages.[2].tool_call_id",
        None,
    ),
    "a result without its call": (
        {"messages": [HELLO, ASKED, {"role": "tool", "content": "ok"}]},
        "Missing parameter 'tool_call_id': messages with role 'tool' must have a 'tool_call_id'.",
        "messages.[2].tool_call_id",
        None,
    ),
    "a call without its result": (
        {"messages": [HELLO, {**ASKED, "tool_calls": [CALL, {**CALL, "id": "call_b"}]}, TOLD, HELLO]},
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        "The following tool_call_ids did not have response messages: call_b",
        "messages.[1].role",
        None,
    ),
    "a result too late": (
        {"messages": [HELLO, ASKED, HELLO, TOLD]},
        "did not have response",
        "messages.[1].role",
        None,
    ),
    "no calls": (
        {"messages": [HELLO, {**ASKED, "tool_calls": []}]},
        "Invalid 'messages[1].tool_calls': empty array.",
        "messages[1].tool_calls",
        "empty_array",
    ),
    "a call id that is too long": (
        {"messages": [HELLO, {**ASKED, "tool_calls": [{**CALL, "id": "x" * 41}]}]},
        "string too long. Expected a string with maximum length 40, but got a string with length 41 instead.",
        "messages[1].tool_calls[0].id",
        "string_above_max_length",
    ),
    "arguments that are no text": (
        {"messages": [HELLO, {**ASKED, "tool_calls": [{**CALL, "function": {"name": "look", "arguments": {}}}]}]},
        "'messages[1].tool_calls[0].function.arguments': expected a string, but got an object instead.",
        "messages[1].tool_calls[0].function.arguments",
        "invalid_type",
    ),
    "no tools": ({"tools": []}, "Invalid 'tools': empty array.", "tools", "empty_array"),
    "a schema that is no object": (
        schema({"type": "string"}),
        "Invalid schema for function 'look': schema must be a JSON Schema of 'type: \"object\"', "
        "got 'type: \"string\"'.",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    "a schema without properties": (
        schema({"type": "object"}),
        "In context=(), object schema missing properties.",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    "an array without items": (
        schema({"type": "object", "properties": {"days": {"type": "array"}}}),
        "In context=('properties', 'days'), array schema missing items.",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    "a loose strict schema": (
        schema({"type": "object", "properties": {"day": {"type": "string"}}}, strict=True),
        "In context=(), 'additionalProperties' is required to be supplied and to be false.",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    "a name with a space": (
        {"tools": [{"type": "function", "function": {"name": "look up"}}]},
        "string does not match pattern.",
        "tools[0].function.name",
        "invalid_value",
    ),
    "a choice of no tools": (
        {"tool_choice": "required"},
        "'tool_choice' is only allowed when 'tools' are specified.",
        "tool_choice",
        None,
    ),
    "a choice of an unknown tool": (
        {"tools": [LOOK], "tool_choice": {"type": "function", "function": {"name": "book"}}},
        "Tool choice 'book' not found in 'tools' parameter.",
        "tool_choice",
        None,
    ),
    "stream options without a stream": (
        {"stream_options": {"include_usage": True}},
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        "stream_options",
        None,
    ),
    "max_tokens for a model that thinks": (
        {"model": "gpt-5.1", "max_tokens": 100},
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "max_tokens",
        "unsupported_parameter",
    ),
    "both limits": (
        {"max_tokens": 100, "max_completion_tokens": 100},
        "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        "max_tokens",
        "invalid_parameter_combination",
    ),
    "no room for an answer": (
        {"max_completion_tokens": 0},
        "Expected a value >= 1, but got 0 instead.",
        "max_completion_tokens",
        "integer_below_min_value",
    ),
    "temperature for a model that thinks": (
        {"model": "gpt-6-luna", "temperature": 0.2},
        "'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
        "temperature",
        "unsupported_value",
    ),
    "too hot": (
        {"temperature": 3},
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
        "temperature",
        "decimal_above_max_value",
    ),
    "effort beside tools": (
        {"model": "gpt-5.4", "tools": [LOOK], "reasoning_effort": "low"},
        "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. "
        "Please use /v1/responses instead.",
        "reasoning_effort",
        None,
    ),
    "tools beside the effort that is the default": (
        {"model": "gpt-5.6-luna", "tools": [LOOK]},
        "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
        "reasoning_effort",
        None,
    ),
    "effort for a model that does not think": (
        {"reasoning_effort": "low"},
        "Unrecognized request argument supplied: reasoning_effort",
        None,
        None,
    ),
    "unknown argument": ({"max_token": 5}, "Unrecognized request argument supplied: max_token", None, None),
}


def ask(**change: Any) -> dict[str, Any]:
    body = {"model": "gpt-4.1", "messages": [HELLO], **change}
    return {name: value for name, value in body.items() if value is not None}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_wrong_request_is_refused_in_the_vendors_words(case: str) -> None:
    change, words, param, code = REFUSALS[case]
    with pytest.raises(RequestRefused) as caught:
        parse_request(ask(**change))
    assert words in caught.value.message
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_an_unknown_model_is_404() -> None:
    with pytest.raises(
        RequestRefused, match="The model `gpt-x` does not exist or you do not have access to it"
    ) as caught:
        parse_request(ask(model="gpt-x"))
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 100, "temperature": 0.2},
        {"model": "gpt-5.1", "max_completion_tokens": 100, "temperature": 1},
        {"model": "gpt-5.4", "tools": [LOOK]},
        {"model": "gpt-5.6-luna", "tools": [LOOK], "reasoning_effort": "none"},
        {"messages": [{"role": "developer", "content": "Be kind."}, HELLO, ASKED, TOLD]},
        {"tools": [LOOK], "tool_choice": "required", "parallel_tool_calls": False},
        {"stream": True, "stream_options": {"include_usage": True}, "prompt_cache_key": "a", "service_tier": "auto"},
    ],
)
def test_a_right_request_is_understood(change: dict[str, Any]) -> None:
    assert parse_request(ask(**change)).messages


scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 5), st.text(max_size=4))
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
texts = st.sampled_from(["", "look", '{"slots": [{"start": 1}, 2]}', "[]", "1"])
ids = st.sampled_from(["call_1", "call_2"])
calls = st.fixed_dictionaries(
    {
        "id": ids,
        "type": st.just("function"),
        "function": st.one_of(st.fixed_dictionaries({"name": st.just("look"), "arguments": texts}), junk),
    }
)
contents = st.one_of(texts, st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=2), junk)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system", "x"]), "content": contents},
    optional={"tool_calls": st.one_of(st.lists(calls, max_size=2), junk), "tool_call_id": st.one_of(ids, junk)},
)
tools = st.one_of(st.just(LOOK), st.fixed_dictionaries({"type": st.just("function"), "function": junk}), junk)
bodies = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["gpt-4.1", "gpt-5.1", "gpt-6-luna", "gpt-x"]),
        "messages": st.one_of(st.lists(messages, max_size=5), junk),
    },
    optional={
        "tools": st.one_of(st.lists(tools, max_size=2), junk),
        "tool_choice": st.one_of(st.sampled_from(["auto", "none", "required"]), junk),
        "max_completion_tokens": st.one_of(st.integers(-1, 9), junk),
        "stop": junk,
        "stream": st.booleans(),
        "stream_options": junk,
        "temperature": junk,
    },
)


def composed(answer: Answer, body: dict[str, Any], seed: int = 0) -> Reply:
    return compose(answer, parse_request(body), PrefixCache(), Lookup(0, 0, (), 0.0), random.Random(seed), 0)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies)
def test_any_request_is_answered_or_refused(body: dict[str, Any]) -> None:
    with contextlib.suppress(RequestRefused):
        request = parse_request(body)
        reply = composed(Brain(brain_rules.parse(RULES)).answer(request), body)
        assert [part.counts for part in reply.parts()].count(True) == reply.output_tokens


@settings(max_examples=100, deadline=None)
@given(junk)
def test_any_json_at_all_is_refused(body: Any) -> None:
    with pytest.raises(RequestRefused):
        parse_request(body)


# ---------------------------------------------------------------------------------------------------- replies


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=5), junk, max_size=3), st.integers(0, 99))
def test_fragments_of_arguments_make_one_object_wherever_they_are_cut(given_: dict[str, Any], seed: int) -> None:
    reply = composed(Answer("", (Use("look", given_), Use("look", {}))), ask(tools=[LOOK]), seed)
    assert [json.loads("".join(call.fragments)) for call in reply.calls] == [given_, {}]
    assert reply.finish_reason == "tool_calls"


def test_an_escape_is_cut_in_two_now_and_then() -> None:
    answer = Answer("", (Use("look", {"city": "Reykjavík Ærø 東京 😀"}),))
    replies = [composed(answer, ask(tools=[LOOK]), seed) for seed in range(5)]
    assert any(fragment.endswith(("\\", "\\u", "\\u0")) for reply in replies for fragment in reply.calls[0].fragments)


def test_arguments_that_do_not_fit_are_cut_and_it_is_said() -> None:
    answer = Answer("Well.", (Use("look", {"name": "a rather long name for a limit like this"}),))
    reply = composed(answer, ask(tools=[LOOK], max_completion_tokens=4))
    assert (reply.finish_reason, reply.output_tokens) == ("length", 4)
    assert "".join(reply.calls[0].fragments).startswith("{")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads("".join(reply.calls[0].fragments))


# ---------------------------------------------------------------------------------------------------- cache


def prompt(count: int, salt: str = "") -> bytes:
    """So many tokens, no two of them alike."""
    return (salt + "".join(f"{number:04}" for number in range(count))).encode()[: 4 * count]


def test_a_prefix_is_read_in_steps_of_128_from_1024_on() -> None:
    for count, cached in ((1023, 0), (1024, 1024), (1151, 1024), (1152, 1152), (5000, 4992)):
        cache, model = PrefixCache(), MODELS["gpt-4.1"]
        first = cache.look_up(prompt(count), model, "", 0.0)
        cache.begin(first)
        again = cache.look_up(prompt(count) + b" and more" * 9, model, "", 1.0)
        assert (first.cached, again.cached) == (0, cached), count


def test_a_prefix_shorter_than_1024_is_not_read_though_more_was_written() -> None:
    cache, model = PrefixCache(), MODELS["gpt-4.1"]
    cache.begin(cache.look_up(prompt(2000), model, "", 0.0))
    for kept, cached in ((1000, 0), (1100, 1024), (1500, 1408)):
        changed = prompt(2000)[: 4 * kept] + b"x" + prompt(2000)[4 * kept :]
        assert cache.look_up(changed, model, "", 1.0).cached == cached


def test_an_entry_is_seen_once_its_answer_has_begun_and_lives_from_its_last_use() -> None:
    cache, model = PrefixCache(), MODELS["gpt-4.1"]
    first = cache.look_up(prompt(2000), model, "", 0.0)
    assert cache.look_up(prompt(2000), model, "", 0.1).cached == 0
    cache.begin(first)
    times = [0.2, 299.0, 598.0, 897.9, 1198.0]
    reads = []
    for now in times:
        found = cache.look_up(prompt(2000), model, "", now)
        reads.append(found.cached)
        cache.begin(found)
    assert list(takewhile(bool, reads)) == [1920] * 4


def test_another_model_or_group_shares_nothing_and_new_models_bill_what_they_write() -> None:
    cache = PrefixCache()
    for name, written in (("gpt-4.1", 0), ("gpt-6-luna", 1920)):
        lookup = cache.look_up(prompt(2000), MODELS[name], "", 0.0)
        assert (lookup.cached, lookup.written) == (0, written)
        cache.begin(lookup)
    assert cache.look_up(prompt(2000), MODELS["gpt-6-luna"], "other", 1.0).cached == 0
    assert cache.look_up(prompt(2300), MODELS["gpt-6-luna"], "", 1.0).written == 2176 - 1920
