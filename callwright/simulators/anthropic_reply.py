"""One answer of the Anthropic stand-in, ready to be sent: its content, its cost, and the events of its stream."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from callwright.simulators.anthropic_request import JSON, MessagesRequest
from callwright.simulators.brain import Answer, pieces
from callwright.simulators.prompt_cache import Lookup

_ID_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789"


@dataclass(frozen=True)
class Event:
    """One event of the stream; `counts` if the vendor bills it as an output token."""

    data: dict[str, JSON]
    counts: bool = False


@dataclass
class Reply:
    """One answer, ready to be sent: its content, why it stopped, what it costs."""

    id: str
    model: str
    content: list[JSON]
    stop_reason: str
    stop_sequence: str | None
    output_tokens: int
    lookup: Lookup

    def usage(self, output_tokens: int) -> dict[str, JSON]:
        used = self.lookup.usage
        return {
            "input_tokens": used.input_tokens,
            "cache_creation_input_tokens": used.cache_creation_input_tokens,
            "cache_read_input_tokens": used.cache_read_input_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": used.created_5m,
                "ephemeral_1h_input_tokens": used.created_1h,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
            "inference_geo": "global",
        }

    def message(self, *, begun: bool = False) -> dict[str, JSON]:
        """The whole message, or (`begun`) the shell with which a stream opens."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [] if begun else self.content,
            "stop_reason": None if begun else self.stop_reason,
            "stop_sequence": None if begun else self.stop_sequence,
            "usage": self.usage(1 if begun else self.output_tokens),
        }


def compose(answer: Answer, request: MessagesRequest, lookup: Lookup, rng: random.Random) -> Reply:
    """Cut an answer at max_tokens and stop sequences, and give its blocks their ids."""
    text, stopped_at = answer.text, None
    for stop in request.stop_sequences:
        if stop and stop in text:
            text, stopped_at = text[: text.index(stop)], stop
    tokens = pieces(text)
    content: list[JSON] = []
    stop_reason = "end_turn" if stopped_at is None else "stop_sequence"
    used = min(len(tokens), request.max_tokens)
    if len(tokens) > request.max_tokens:
        text, stop_reason = "".join(tokens[: request.max_tokens]), "max_tokens"
    if text and request.max_tokens > 0:
        content.append({"type": "text", "text": text})
    for use in answer.uses:
        given = dict(use.arguments)
        cost = max(1, len(_fragments(given)))
        if stop_reason not in ("end_turn", "tool_use") or used + cost > request.max_tokens:
            stop_reason = "max_tokens" if stop_reason == "end_turn" else stop_reason
            break
        stop_reason = "tool_use"
        used += cost
        content.append({"type": "tool_use", "id": new_id("toolu", rng), "name": use.tool, "input": given})
    if request.max_tokens == 0:
        stop_reason = "max_tokens"  # the documented way to fill the cache ahead of time
    return Reply(new_id("msg", rng), request.model.id, content, stop_reason, stopped_at, used, lookup)


def events(reply: Reply) -> Iterator[Event]:
    """The events of a stream in the vendor's order."""
    yield Event({"type": "message_start", "message": reply.message(begun=True)})
    pinged = False
    for index, block in enumerate(reply.content):
        assert isinstance(block, dict)
        is_text = block["type"] == "text"
        empty: dict[str, JSON] = {"type": "text", "text": ""} if is_text else {**block, "input": {}}
        yield Event({"type": "content_block_start", "index": index, "content_block": empty})
        if not pinged:
            yield Event({"type": "ping"})
            pinged = True
        if is_text:
            for piece in pieces(str(block["text"])):
                delta: dict[str, JSON] = {"type": "text_delta", "text": piece}
                yield Event({"type": "content_block_delta", "index": index, "delta": delta}, counts=True)
        else:
            given = block["input"]
            assert isinstance(given, dict)
            for fragment in ["", *_fragments(given)]:
                delta = {"type": "input_json_delta", "partial_json": fragment}
                counts = bool(fragment) or not given  # a call without arguments still costs a token
                yield Event({"type": "content_block_delta", "index": index, "delta": delta}, counts=counts)
        yield Event({"type": "content_block_stop", "index": index})
    stop: dict[str, JSON] = {"stop_reason": reply.stop_reason, "stop_sequence": reply.stop_sequence}
    yield Event({"type": "message_delta", "delta": stop, "usage": reply.usage(reply.output_tokens)})
    yield Event({"type": "message_stop"})


def _fragments(given: dict[str, JSON]) -> list[str]:
    """Tool arguments as they are streamed: pieces of JSON of a few characters, "" for no arguments at all."""
    if not given:
        return []
    text = json.dumps(given, ensure_ascii=False)
    return [text[i : i + 9] for i in range(0, len(text), 9)]


def new_id(prefix: str, rng: random.Random) -> str:
    """An id as the vendor writes them: "msg_01…", "toolu_01…", "req_01…"."""
    return f"{prefix}_01" + "".join(rng.choices(_ID_LETTERS, k=22))
