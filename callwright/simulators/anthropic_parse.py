"""Reading a request to Anthropic's Messages API, or refusing it in the vendor's own words.

Rules and messages: platform.claude.com (copies of 2026-08-22 and 2026-10-10), and errors reported in public.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, cast

from callwright.simulators.anthropic_checks import UNMARKABLE, automatic, check_markers, check_tool_pairs, marker_of
from callwright.simulators.anthropic_models import MODELS, Model
from callwright.simulators.anthropic_request import MessagesRequest, RequestRefused
from callwright.simulators.conversation import JSON, Block, Message, OfferedTool, Role, ToolChoice, merged

_BLOCK_KINDS = ("document", "image", "redacted_thinking", "text", "thinking", "tool_result", "tool_use")


def parse_request(body: JSON) -> MessagesRequest:
    """Check a request body; RequestRefused carries the vendor's status and message."""
    if not isinstance(body, dict):
        raise RequestRefused("Input should be a valid dictionary or object to extract fields from")
    model = _model(body)
    max_tokens = body.get("max_tokens")
    if "max_tokens" not in body:
        raise RequestRefused("max_tokens: Field required")
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 0:
        raise RequestRefused("max_tokens: Input should be greater than or equal to 1")
    raw_messages = body.get("messages")
    if not isinstance(raw_messages, list):
        raise RequestRefused(
            "messages: Field required" if raw_messages is None else "messages: Input should be a valid list"
        )
    if not raw_messages:
        raise RequestRefused("messages: at least one message is required")
    tools = tuple(_tools(body.get("tools")))
    system = tuple(_system(body.get("system")))
    choice = _tool_choice(body.get("tool_choice"), tools, model)
    _check_sampling(body, model)
    messages = merged(_messages(raw_messages, model))
    if body.get("cache_control") is not None:
        tools, system, messages = automatic(body["cache_control"], tools, system, messages)
    check_markers(tools, system, messages)
    stops = body.get("stop_sequences")
    return MessagesRequest(
        model=model,
        max_tokens=max_tokens,
        stream=body.get("stream") is True,
        tools=tools,
        system=system,
        messages=messages,
        tool_choice=choice,
        stop_sequences=tuple(str(stop) for stop in stops) if isinstance(stops, list) else (),
        message_settings=_dumps(
            [body.get("tool_choice"), body.get("thinking"), body.get("output_config")],
        ),
    )


def _model(body: Mapping[str, JSON]) -> Model:
    name = body.get("model")
    if not isinstance(name, str):
        raise RequestRefused("model: Field required")
    if name not in MODELS:
        raise RequestRefused(f"model: {name}", status=404, kind="not_found_error")
    return MODELS[name]


def _check_sampling(body: Mapping[str, JSON], model: Model) -> None:
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind == "enabled" and not model.budgeted:
        raise RequestRefused(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    if kind == "adaptive" and not model.adaptive:
        raise RequestRefused("adaptive thinking is not supported on this model")
    if kind == "disabled" and not model.thinking_off:
        raise RequestRefused('"thinking.type.disabled" is not supported for this model.')
    if not model.budgeted:
        for name, default in (("temperature", 1), ("top_p", None), ("top_k", None)):
            if body.get(name) not in (None, default):
                raise RequestRefused(f"`{name}` is not supported for this model.")


def _tools(raw: JSON) -> Iterator[OfferedTool]:
    if raw is None:
        return
    if not isinstance(raw, list):
        raise RequestRefused("tools: Input should be a valid list")
    names: set[str] = set()
    for number, tool in enumerate(raw):
        where = f"tools.{number}"
        if not isinstance(tool, dict):
            raise RequestRefused(f"{where}: Input should be a valid dictionary")
        name = tool.get("name")
        if not isinstance(name, str) or not name:
            raise RequestRefused(f"{where}.custom.name: Field required")
        if name in names:
            raise RequestRefused("tools: Tool names must be unique.")
        names.add(name)
        schema = tool.get("input_schema")
        if not isinstance(schema, dict):
            raise RequestRefused(f"{where}.custom.input_schema: Field required")
        if schema.get("type") != "object":
            raise RequestRefused(f"{where}.custom.input_schema.type: Input should be 'object'")
        yield OfferedTool(name, schema, marker_of(tool, where), _dumps(_without_marker(tool)))


def _system(raw: JSON) -> Iterator[Block]:
    if raw is None or raw == "":
        return
    if isinstance(raw, str):
        raw = [{"type": "text", "text": raw}]
    if not isinstance(raw, list):
        raise RequestRefused("system: Input should be a valid list")
    for number, block in enumerate(raw):
        where = f"system.{number}"
        if not isinstance(block, dict) or block.get("type") != "text":
            raise RequestRefused(f"{where}.type: Input should be 'text'")
        text = block.get("text")
        if not isinstance(text, str):
            raise RequestRefused(f"{where}.text: Field required")
        if not text:
            raise RequestRefused("system: text content blocks must be non-empty")
        yield Block("text", text, marker=marker_of(block, where), canonical=_dumps(text), size=_bytes(text))


def _tool_choice(raw: JSON, tools: Sequence[OfferedTool], model: Model) -> ToolChoice:
    if raw is None:
        return ToolChoice()
    kind = raw.get("type") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or kind not in ("auto", "any", "tool", "none"):
        raise RequestRefused("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if not tools and kind != "none":
        raise RequestRefused("tool_choice: tool_choice may only be specified while providing tools")
    if kind in ("any", "tool") and not model.forced_tools:
        raise RequestRefused(f'tool_choice.type: "{kind}" is not supported for this model')
    name = str(raw.get("name") or "")
    if kind == "tool" and name not in [tool.name for tool in tools]:
        raise RequestRefused(f"Tool '{name}' not found in provided tools")
    return ToolChoice(
        cast("Literal['auto', 'any', 'tool', 'none']", kind),
        name,
        raw.get("disable_parallel_tool_use") is not True,
    )


def _messages(raw: Sequence[JSON], model: Model) -> list[Message]:
    messages: list[Message] = []
    for number, message in enumerate(raw):
        where = f"messages.{number}"
        if not isinstance(message, dict):
            raise RequestRefused(f"{where}: Input should be a valid dictionary")
        role = message.get("role")
        if role not in ("user", "assistant"):
            raise RequestRefused(f"{where}.role: Input should be 'user' or 'assistant'")
        last = number == len(raw) - 1
        blocks = tuple(_content(message.get("content"), where))
        if not blocks and not (last and role == "assistant"):
            raise RequestRefused(
                f"{where}: all messages must have non-empty content except for the optional final assistant message"
            )
        messages.append(Message(cast("Role", role), blocks))
    if messages[0].role != "user":
        raise RequestRefused('messages: first message must use the "user" role')
    if messages[-1].role == "assistant" and not model.prefill:
        raise RequestRefused(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    check_tool_pairs(messages)
    return messages


def _content(raw: JSON, where: str) -> Iterator[Block]:
    if raw is None:
        raise RequestRefused(f"{where}.content: Field required")
    if isinstance(raw, str):
        raw = [{"type": "text", "text": raw}] if raw else []
    if not isinstance(raw, list):
        raise RequestRefused(f"{where}.content: Input should be a valid string or list")
    for number, block in enumerate(raw):
        yield _block(block, f"{where}.content.{number}")


def _block(raw: JSON, where: str) -> Block:
    if not isinstance(raw, dict):
        raise RequestRefused(f"{where}: Input should be a valid dictionary")
    kind = raw.get("type")
    if kind not in _BLOCK_KINDS:
        expected = ", ".join(f"'{name}'" for name in _BLOCK_KINDS)
        raise RequestRefused(
            f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {expected}"
        )
    kind = str(kind)
    marker = marker_of(raw, where)
    if marker is not None and kind in UNMARKABLE:
        raise RequestRefused(f"{where}.{kind}.cache_control: Extra inputs are not permitted")
    base = Block(kind, marker=marker)
    if kind == "text":
        text = raw.get("text")
        if not isinstance(text, str):
            raise RequestRefused(f"{where}.text.text: Field required")
        if not text:
            raise RequestRefused("messages: text content blocks must be non-empty")
        return replace(base, text=text, canonical=_dumps(text), size=_bytes(text))
    canonical = _dumps(_without_marker(raw))
    base = replace(base, canonical=canonical, size=_bytes(canonical))
    if kind == "tool_use":
        use_id, name, given = raw.get("id"), raw.get("name"), raw.get("input")
        if not isinstance(use_id, str) or not isinstance(name, str):
            raise RequestRefused(f"{where}.tool_use.{'name' if isinstance(use_id, str) else 'id'}: Field required")
        if not isinstance(given, dict):
            raise RequestRefused(f"{where}.tool_use.input: Input should be a valid dictionary")
        return replace(base, id=use_id, name=name, input=given, size=_bytes(name + _dumps(given)))
    if kind == "tool_result":
        use_id = raw.get("tool_use_id")
        if not isinstance(use_id, str):
            raise RequestRefused(f"{where}.tool_result.tool_use_id: Field required")
        text = _result_text(raw.get("content"), where)
        return replace(base, id=use_id, text=text, is_error=raw.get("is_error") is True, size=_bytes(text))
    return base


def _result_text(raw: JSON, where: str) -> str:
    if raw is None:
        return ""
    if isinstance(raw, str):
        return raw
    return "".join(block.text for block in _content(raw, where))


def _without_marker(raw: dict[str, JSON]) -> dict[str, JSON]:
    return {key: value for key, value in raw.items() if key != "cache_control"}


def _dumps(value: JSON) -> str:
    """Order of keys is kept: the vendor's cache is sensitive to it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _bytes(text: str) -> int:
    return len(text.encode())
