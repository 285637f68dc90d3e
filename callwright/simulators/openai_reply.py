"""One answer of the OpenAI stand-in, ready to be sent: its content, its cost, and the chunks of its stream."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from callwright.simulators.brain import Answer, pieces
from callwright.simulators.conversation import JSON
from callwright.simulators.llm_desk import Part
from callwright.simulators.openai_cache import Lookup, PrefixCache
from callwright.simulators.openai_models import tokens
from callwright.simulators.openai_request import ChatRequest

_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_FRAGMENTS = (1, 2, 3, 4, 5, 7, 11)  # characters of arguments in one chunk: now and then an escape is cut in two
_FINGERPRINT = "fp_0000000000"
_TIER = "default"


@dataclass(frozen=True)
class Call:
    """A tool call; its arguments in the pieces in which they are streamed, one token each."""

    id: str
    name: str
    fragments: tuple[str, ...]

    def whole(self) -> dict[str, JSON]:
        function: JSON = {"name": self.name, "arguments": "".join(self.fragments)}
        return {"id": self.id, "type": "function", "function": function}


@dataclass
class Reply:
    """One answer: its content, why it stopped, what it costs."""

    id: str
    created: int  # unix seconds
    request: ChatRequest
    text: str
    calls: tuple[Call, ...]
    finish_reason: str
    output_tokens: int
    cache: PrefixCache
    lookup: Lookup

    @property
    def from_cache(self) -> bool:
        return self.lookup.cached > 0

    def begin(self) -> None:
        self.cache.begin(self.lookup)

    def whole(self) -> dict[str, JSON]:
        message: dict[str, JSON] = {
            "role": "assistant",
            "content": None if self.calls and not self.text else self.text,
            "refusal": None,
            "annotations": [],
        }
        if self.calls:
            message["tool_calls"] = [call.whole() for call in self.calls]
        choice: JSON = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    def parts(self) -> Iterator[Part]:
        """The chunks of a stream in the vendor's order."""
        content = None if self.calls and not self.text else ""
        yield self._chunk({"role": "assistant", "content": content, "refusal": None})
        for piece in pieces(self.text):
            yield self._chunk({"content": piece}, counts=True)
        for index, call in enumerate(self.calls):
            function: JSON = {"name": call.name, "arguments": ""}
            opened: JSON = {"index": index, "id": call.id, "type": "function", "function": function}
            yield self._chunk({"tool_calls": [opened]})
            for fragment in call.fragments:
                function = {"arguments": fragment}
                yield self._chunk({"tool_calls": [{"index": index, "function": function}]}, counts=True)
        yield self._chunk({}, finish_reason=self.finish_reason)
        if self.request.include_usage:
            yield _part({**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage()})
        yield Part(b"data: [DONE]\n\n")

    def summary(self, output_tokens: int) -> dict[str, JSON]:
        usage: JSON = {
            "input_tokens": self._prompt_tokens - self.lookup.cached - self.lookup.written,
            "cache_creation_input_tokens": self.lookup.written,
            "cache_read_input_tokens": self.lookup.cached,
            "output_tokens": output_tokens,
        }
        return {"usage": usage, "stop_reason": self.finish_reason, "model": self.request.model.named}

    @property
    def _prompt_tokens(self) -> int:
        return tokens(len(self.request.prompt))

    def _usage(self) -> dict[str, JSON]:
        prompt: dict[str, JSON] = {"cached_tokens": self.lookup.cached, "audio_tokens": 0}
        if self.request.model.bills_writes:
            prompt["cache_write_tokens"] = self.lookup.written
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self._prompt_tokens + self.output_tokens,
            "prompt_tokens_details": prompt,
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def _head(self, kind: str) -> dict[str, JSON]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.request.model.named,
            "service_tier": _TIER,
            "system_fingerprint": _FINGERPRINT,
        }

    def _chunk(self, delta: dict[str, JSON], *, finish_reason: str | None = None, counts: bool = False) -> Part:
        choice: JSON = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk: dict[str, JSON] = {**self._head("chat.completion.chunk"), "choices": [choice]}
        if self.request.include_usage:
            chunk["usage"] = None
        return _part(chunk, counts=counts)


def compose(
    answer: Answer, request: ChatRequest, cache: PrefixCache, lookup: Lookup, rng: random.Random, created: int
) -> Reply:
    """Cut an answer at max_tokens, even within a call's arguments, and at stop sequences; give its calls their ids."""
    text, finish = answer.text, "stop"
    stops = [text.index(stop) for stop in request.stop if stop and stop in text]
    if stops:
        text = text[: min(stops)]
    spoken = pieces(text)
    left = len(spoken) if request.max_tokens is None else request.max_tokens
    if len(spoken) > left:
        text, finish = "".join(spoken[:left]), "length"
    used = min(len(spoken), left)
    calls: list[Call] = []
    for use in () if stops else answer.uses:
        if finish == "length":
            break
        fragments = _fragments(dict(use.arguments), rng)
        room = len(fragments) if request.max_tokens is None else request.max_tokens - used
        finish = "length" if room < len(fragments) else "tool_calls"
        if room:
            calls.append(Call(new_id("call_", 24, rng), use.tool, fragments[:room]))
            used += min(room, len(fragments))
    if finish == "tool_calls" and request.tool_choice.kind == "tool":
        finish = "stop"  # the vendor's habit when one function is forced
    reply_id = new_id("chatcmpl-", 29, rng)
    return Reply(reply_id, created, request, text, tuple(calls), finish, used, cache, lookup)


def sse(data: dict[str, JSON]) -> bytes:
    """One record of the stream."""
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode(errors="replace")


def _part(data: dict[str, JSON], *, counts: bool = False) -> Part:
    return Part(sse(data), counts)


def _fragments(given: dict[str, JSON], rng: random.Random) -> tuple[str, ...]:
    text = json.dumps(given, separators=(",", ":"))
    found: list[str] = []
    while text:
        size = rng.choice(_FRAGMENTS)
        found.append(text[:size])
        text = text[size:]
    return tuple(found)


def new_id(prefix: str, length: int, rng: random.Random) -> str:
    """An id as the vendor writes them: "chatcmpl-…", "call_…"."""
    return prefix + "".join(rng.choices(_ID_LETTERS, k=length))
