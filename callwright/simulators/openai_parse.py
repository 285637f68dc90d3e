"""Reading a request to OpenAI's chat completions, or refusing it in the vendor's own words.

Names are those of OpenAI's API description as its SDK 3.52 has it; rules and messages those of errors reported in
public. `n` is accepted and one choice is served; audio, images and structured outputs are accepted and not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from callwright.simulators.conversation import JSON
from callwright.simulators.openai_messages import read_messages
from callwright.simulators.openai_models import MODELS, Model
from callwright.simulators.openai_request import (
    ChatRequest,
    RequestRefused,
    empty_array,
    wrong_type,
    wrong_value,
)
from callwright.simulators.openai_tools import check_effort, read_tool_choice, read_tools

_NAMES = """
audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages metadata
modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options
prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store stream
stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options
"""
_PARAMETERS = frozenset(_NAMES.split())
_SAMPLING = {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
_STOPS = 4


def parse_request(body: JSON) -> ChatRequest:
    """Check a request body; RequestRefused carries the vendor's status, message, parameter and code."""
    if not isinstance(body, dict):
        raise not_json()
    model = _model(body)
    for name in body:
        if name not in _PARAMETERS or (name == "reasoning_effort" and not model.reasoning):
            raise RequestRefused(f"Unrecognized request argument supplied: {name}")
    messages = read_messages(body.get("messages"))
    tools = read_tools(body.get("tools"))
    choice = read_tool_choice(body, tools)
    _check_sampling(body, model)
    check_effort(body, tools, model)
    stream = body.get("stream") is True
    return ChatRequest(
        model=model,
        max_tokens=_max_tokens(body, model),
        stream=stream,
        include_usage=_include_usage(body, stream),
        tools=tools,
        messages=messages,
        tool_choice=choice,
        stop=_stop(body.get("stop")),
        prompt=_prompt(body),
        cache_group=str(body.get("prompt_cache_key") or ""),
    )


def not_json() -> RequestRefused:
    return RequestRefused(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
        "figuring out how to fix this, please contact us through our help center at help.openai.com.)"
    )


def unknown_model(name: str) -> RequestRefused:
    words = f"The model `{name}` does not exist or you do not have access to it."
    return RequestRefused(words, None, "model_not_found", status=404)


def _model(body: Mapping[str, JSON]) -> Model:
    name = body.get("model")
    if name is None:
        raise RequestRefused("you must provide a model parameter")
    if not isinstance(name, str):
        raise wrong_type("model", "a string", name)
    if name not in MODELS:
        raise unknown_model(name)
    return MODELS[name]


def _max_tokens(body: Mapping[str, JSON], model: Model) -> int | None:
    given = [name for name in ("max_tokens", "max_completion_tokens") if body.get(name) is not None]
    if "max_tokens" in given and model.reasoning:
        words = "Unsupported parameter: 'max_tokens' is not supported with this model."
        raise RequestRefused(f"{words} Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter")
    if len(given) > 1:
        words = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise RequestRefused(words, "max_tokens", "invalid_parameter_combination")
    for name in given:
        value = body[name]
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(name, "an integer", value)
        if value < 1:
            words = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead."
            raise RequestRefused(words, name, "integer_below_min_value")
        return value
    return None


def _include_usage(body: Mapping[str, JSON], stream: bool) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not stream:
        words = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RequestRefused(words, "stream_options")
    if not isinstance(options, dict):
        raise wrong_type("stream_options", "an object", options)
    return options.get("include_usage") is True


def _check_sampling(body: Mapping[str, JSON], model: Model) -> None:
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in _EFFORTS:
        raise wrong_value("reasoning_effort", effort, _EFFORTS)
    for name, (low, high) in _SAMPLING.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise wrong_type(name, "a decimal", value)
        if model.reasoning and name != "temperature":
            words = f"Unsupported parameter: '{name}' is not supported with this model."
            raise RequestRefused(words, name, "unsupported_parameter")
        if model.reasoning and value != 1:
            words = (
                f"'temperature' does not support {value:g} with this model. Only the default (1) value is supported."
            )
            raise RequestRefused(f"Unsupported value: {words}", name, "unsupported_value")
        if not low <= value <= high:
            side, sign, limit = ("above maximum", "<=", high) if value > high else ("below minimum", ">=", low)
            words = f"decimal {side} value. Expected a value {sign} {limit}, but got {value:g} instead."
            code = f"decimal_{side.replace(' ', '_').replace('imum', '')}_value"
            raise RequestRefused(f"Invalid '{name}': {words}", name, code)


def _stop(raw: JSON) -> tuple[str, ...]:
    if raw is None:
        return ()
    stops = [raw] if isinstance(raw, str) else raw
    if not isinstance(stops, list):
        raise wrong_type("stop", "one of a string or array of strings", raw)
    if not stops:
        raise empty_array("stop")
    if len(stops) > _STOPS:
        words = f"Expected an array with maximum length {_STOPS}, but got an array with length {len(stops)} instead."
        raise RequestRefused(f"Invalid 'stop': array too long. {words}", "stop", "array_above_max_length")
    for place, stop in enumerate(stops):
        if not isinstance(stop, str):
            raise wrong_type(f"stop[{place}]", "a string", stop)
    return tuple(str(stop) for stop in stops)


def _prompt(body: Mapping[str, JSON]) -> bytes:
    """Tools first, then the messages: each as it came, so that another order of keys is another prefix."""
    tools, messages = body.get("tools") or [], body["messages"]
    assert isinstance(tools, list)
    assert isinstance(messages, list)
    return "".join(json.dumps(part, ensure_ascii=False, separators=(",", ":")) for part in [*tools, *messages]).encode(
        errors="surrogatepass"
    )
