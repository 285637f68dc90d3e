"""The tools of a request to OpenAI: their schemas and which of them may or must be called.

Rules and messages are those of errors reported in public; only the part of a schema that models trip over is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from callwright.simulators.conversation import JSON, OfferedTool, ToolChoice
from callwright.simulators.openai_models import Model
from callwright.simulators.openai_request import RequestRefused, empty_array, missing, wrong_type, wrong_value

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_DEPTH = 10  # of nested objects, the vendor's limit for strict schemas; deeper ones are not looked into


def read_tools(raw: JSON) -> tuple[OfferedTool, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise wrong_type("tools", "an array of objects", raw)
    if not raw:
        raise empty_array("tools")
    return tuple(_tool(tool, f"tools[{number}]") for number, tool in enumerate(raw))


def _tool(raw: JSON, where: str) -> OfferedTool:
    if not isinstance(raw, dict):
        raise wrong_type(where, "an object", raw)
    if "type" not in raw:
        raise missing(f"{where}.type")
    if raw["type"] not in ("function", "custom"):
        raise wrong_value(f"{where}.type", raw["type"], ("function", "custom"))
    function = raw.get(str(raw["type"]))
    if not isinstance(function, dict):
        raise missing(f"{where}.{raw['type']}")
    where = f"{where}.{raw['type']}"
    name = function.get("name")
    if name is None:
        raise missing(f"{where}.name")
    if not isinstance(name, str):
        raise wrong_type(f"{where}.name", "a string", name)
    if not _NAME.fullmatch(name):
        words = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        raise RequestRefused(f"Invalid '{where}.name': {words}", f"{where}.name", "invalid_value")
    schema = function.get("parameters", {"type": "object", "properties": {}})
    for fault in _faults(schema, (), strict=function.get("strict") is True):
        words = f"Invalid schema for function '{name}': {fault}"
        raise RequestRefused(words, f"{where}.parameters", "invalid_function_parameters")
    assert isinstance(schema, dict)
    return OfferedTool(name, schema, None, json.dumps(raw, ensure_ascii=False, separators=(",", ":")))


def _faults(schema: JSON, path: tuple[str, ...], *, strict: bool) -> Iterator[str]:
    """What is wrong with a schema of parameters, the first thing first."""
    if not isinstance(schema, dict):
        yield f"{json.dumps(schema)} is not of type 'object', 'boolean'."
        return
    kind = schema.get("type")
    if not path and kind != "object":
        yield f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {json.dumps(kind)}'."
        return
    context = f"In context=({', '.join(repr(step) for step in path)}{',' if len(path) == 1 else ''})"
    if kind == "array" and "items" not in schema:
        yield f"{context}, array schema missing items."
    if kind == "array" and isinstance(schema.get("items"), dict) and len(path) < 2 * _DEPTH:
        yield from _faults(schema["items"], (*path, "items"), strict=strict)
    if kind != "object":
        return
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        yield f"{context}, object schema missing properties."
        return
    if strict and schema.get("additionalProperties") is not False:
        yield f"{context}, 'additionalProperties' is required to be supplied and to be false."
    required = schema.get("required")
    left = [name for name in properties if not isinstance(required, list) or name not in required]
    if strict and left:
        words = "'required' is required to be supplied and to be an array including every key in properties."
        yield f"{context}, {words} Missing '{left[0]}'."
    if len(path) < 2 * _DEPTH:
        for name, part in properties.items():
            yield from _faults(part, (*path, "properties", name), strict=strict)


def read_tool_choice(body: Mapping[str, JSON], tools: Sequence[OfferedTool]) -> ToolChoice:
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) is not None and not tools:
            words = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
            raise RequestRefused(words, name)
    parallel = body.get("parallel_tool_calls") is not False
    raw = body.get("tool_choice")
    if isinstance(raw, dict):
        function = raw.get("function")
        wanted = function.get("name") if isinstance(function, dict) else None
        if raw.get("type") == "allowed_tools":
            return ToolChoice("auto", parallel=parallel)
        if not isinstance(wanted, str):
            raise missing("tool_choice.function")
        if wanted not in [tool.name for tool in tools]:
            raise RequestRefused(f"Tool choice '{wanted}' not found in 'tools' parameter.", "tool_choice")
        return ToolChoice("tool", wanted, parallel)
    if raw in (None, "auto"):
        return ToolChoice("auto", parallel=parallel)
    if raw == "none":
        return ToolChoice("none", parallel=parallel)
    if raw == "required":
        return ToolChoice("any", parallel=parallel)
    raise wrong_value("tool_choice", raw, ("none", "auto", "required"))


def check_effort(body: Mapping[str, JSON], tools: Sequence[OfferedTool], model: Model) -> None:
    """Some models do not think and call tools in this interface."""
    effort = body.get("reasoning_effort")
    if not tools or effort == "none" or model.effort_bars_tools == "never":
        return
    if effort is None and model.effort_bars_tools == "asked":
        return
    words = f"Function tools with reasoning_effort are not supported for {model.id} in /v1/chat/completions."
    advice = "Please use /v1/responses instead."
    if model.effort_bars_tools == "default":
        advice = "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
    raise RequestRefused(f"{words} {advice}", "reasoning_effort")
