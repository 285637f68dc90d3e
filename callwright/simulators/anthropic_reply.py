"""One answer of the Anthropic stand-in, ready to be sent: its content, its cost, and the events of its stream."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from callwright.simulators.anthropic_request import MessagesRequest
from callwright.simulators.brain import Answer, pieces
from callwright.simulators.conversation import JSON
from callwright.simulators.llm_desk import Part
from callwright.simulators.prompt_cache import Lookup, PromptCache

_ID_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789"


@dataclass
class Reply:
    """One answer, ready to be sent: its content, why it stopped, what it costs."""

    id: str
    model: str
    content: list[JSON]
    stop_reason: str
    stop_sequence: str | None
    output_tokens: int
    cache: PromptCache
    lookup: Lookup

    @property
    def from_cache(self) -> bool:
        return self.lookup.usage.cache_read_input_tokens > 0

    def begin(self) -> None:
        self.cache.begin(self.lookup)

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

    def whole(self) -> dict[str, JSON]:
        return self._message(begun=False)

    def parts(self) -> Iterator[Part]:
        """The events of a stream in the vendor's order."""
        yield _part({"type": "message_start", "message": self._message(begun=True)})
        pinged = False
        for index, block in enumerate(self.content):
            assert isinstance(block, dict)
            is_text = block["type"] == "text"
            empty: dict[str, JSON] = {"type": "text", "text": ""} if is_text else {**block, "input": {}}
            yield _part({"type": "content_block_start", "index": index, "content_block": empty})
            if not pinged:
                yield _part({"type": "ping"})
                pinged = True
            if is_text:
                for piece in pieces(str(block["text"])):
                    delta: dict[str, JSON] = {"type": "text_delta", "text": piece}
                    yield _part({"type": "content_block_delta", "index": index, "delta": delta}, counts=True)
            else:
                given = block["input"]
                assert isinstance(given, dict)
                for fragment in ["", *_fragments(given)]:
                    delta = {"type": "input_json_delta", "partial_json": fragment}
                    counts = bool(fragment) or not given  # a call without arguments still costs a token
                    yield _part({"type": "content_block_delta", "index": index, "delta": delta}, counts=counts)
            yield _part({"type": "content_block_stop", "index": index})
        stop: dict[str, JSON] = {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence}
        yield _part({"type": "message_delta", "delta": stop, "usage": self.usage(self.output_tokens)})
        yield _part({"type": "message_stop"})

    def summary(self, output_tokens: int) -> dict[str, JSON]:
        return {"usage": self.usage(output_tokens), "stop_reason": self.stop_reason, "model": self.model}

    def _message(self, *, begun: bool) -> dict[str, JSON]:
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


def compose(answer: Answer, request: MessagesRequest, cache: PromptCache, lookup: Lookup, rng: random.Random) -> Reply:
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
    return Reply(new_id("msg", rng), request.model.id, content, stop_reason, stopped_at, used, cache, lookup)


def sse(event: dict[str, JSON]) -> bytes:
    """An event as a record of the stream."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def _part(event: dict[str, JSON], *, counts: bool = False) -> Part:
    return Part(sse(event), counts)


def _fragments(given: dict[str, JSON]) -> list[str]:
    """Tool arguments as they are streamed: pieces of JSON of a few characters, "" for no arguments at all."""
    if not given:
        return []
    text = json.dumps(given, ensure_ascii=False)
    return [text[i : i + 9] for i in range(0, len(text), 9)]


def new_id(prefix: str, rng: random.Random) -> str:
    """An id as the vendor writes them: "msg_01…", "toolu_01…", "req_01…"."""
    return f"{prefix}_01" + "".join(rng.choices(_ID_LETTERS, k=22))
