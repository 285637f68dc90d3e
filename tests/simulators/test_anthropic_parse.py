"""Whatever is sent as a request is either understood or refused in the vendor's words: nothing else."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callwright.simulators import brain_rules
from callwright.simulators.anthropic_parse import parse_request
from callwright.simulators.anthropic_request import RequestRefused
from callwright.simulators.brain import Brain
from callwright.simulators.prompt_cache import positions

RULES = """
slots: {name: {understand: name, cues: ["my name is"]}, pick: {understand: pick, of: offers}}
facts: {offers: {from: [look, look.slots]}}
rules:
  - {name: found, when: {after: look, have: [offers]}, say: "I have {offers.0.start}."}
  - {name: look, when: {heard: [look]}, call: [{tool: look, with: {name: "{name}"}}, {tool: look}]}
"""
scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 5), st.text(max_size=4))
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
markers = st.sampled_from([None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}, {"type": "x"}, 3])
texts = st.sampled_from(["", "look", "my name is ann", "the second one", '{"slots": [{"start": 1}, 2]}', "[]", "1"])


def block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields}, optional={"cache_control": markers})


ids = st.sampled_from(["toolu_1", "toolu_2"])
blocks = st.one_of(
    block("text", text=texts),
    block("tool_use", id=ids, name=st.just("look"), input=st.just({})),
    block("tool_result", tool_use_id=ids, content=st.one_of(texts, st.lists(block("text", text=texts), max_size=2))),
    block("thinking", thinking=texts),
    junk,
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "x"]), "content": st.one_of(texts, st.lists(blocks, max_size=3))}
)
tools = st.fixed_dictionaries(
    {"name": st.sampled_from(["look", "book"]), "input_schema": st.one_of(st.just({"type": "object"}), junk)},
    optional={"cache_control": markers},
)
bodies = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-haiku-5-5", "claude-haiku-4-5", "claude-x"]),
        "max_tokens": st.sampled_from([0, 5, 100]),
        "messages": st.one_of(st.lists(messages, max_size=5), junk),
    },
    optional={
        "system": st.one_of(texts, st.lists(block("text", text=texts), max_size=2), junk),
        "tools": st.one_of(st.lists(tools, max_size=2), junk),
        "tool_choice": st.one_of(st.fixed_dictionaries({"type": st.sampled_from(["auto", "any", "none"])}), junk),
        "thinking": junk,
        "cache_control": markers,
        "stop_sequences": junk,
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies)
def test_any_request_is_answered_or_refused(body: dict[str, Any]) -> None:
    with contextlib.suppress(RequestRefused):
        request = parse_request(body)
        assert positions(request)
        Brain(brain_rules.parse(RULES)).answer(request)


turns = st.tuples(texts.filter(bool), st.integers(0, 2), st.lists(st.one_of(texts, st.text()), min_size=2, max_size=2))


@settings(max_examples=200, deadline=None)
@given(st.lists(turns, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_any_lawful_conversation_is_answered(said: list[Any], parallel: bool, results_last: bool) -> None:
    talk: list[dict[str, Any]] = []
    for number, (text, calls, results) in enumerate(said):
        talk.append({"role": "user", "content": text})
        uses = [{"type": "tool_use", "id": f"t{number}{n}", "name": "look", "input": {}} for n in range(calls)]
        talk.append({"role": "assistant", "content": [{"type": "text", "text": "One moment."}, *uses]})
        if uses:
            answers = [
                {"type": "tool_result", "tool_use_id": use["id"], "content": result}
                for use, result in zip(uses, results, strict=False)
            ]
            talk.append({"role": "user", "content": answers})
    if talk[-1]["role"] == "assistant" or not results_last:
        talk.append({"role": "user", "content": "look"})
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    choice = {"type": "auto", "disable_parallel_tool_use": not parallel}
    body: dict[str, Any] = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": talk, "tool_choice": choice}
    request = parse_request({**body, "tools": [{"name": "look", "input_schema": schema}]})
    answer = Brain(brain_rules.parse(RULES)).answer(request)
    assert len(answer.uses) <= (2 if parallel else 1)
    assert answer.text or answer.uses or talk[-1]["content"] != "look"


@settings(max_examples=100, deadline=None)
@given(junk)
def test_any_json_at_all_is_refused(body: Any) -> None:
    with pytest.raises(RequestRefused):
        parse_request(body)
