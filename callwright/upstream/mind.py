"""The mind's vendors, made candid: every tool call of a reply, how it ended, and what went wrong, told to who asked.

Pipecat's Anthropic service keeps the last of several tool calls, takes a reply that broke off for a complete one, and
waits in silence where it timed out; its OpenAI service drops calls whose arguments are no JSON. Both read their
replies from one method's stream. Here that stream is read first.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Literal, Protocol

from loguru import logger
from pipecat.frames.frames import ErrorFrame, Frame, FunctionCallFromLLM, LLMContextFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.utils.errors import ErrorCategory, classify_http_exception, classify_http_status_code
from pipecat.utils.http import TIMEOUT_EXCEPTIONS

Stop = Literal["complete", "max_tokens", "refusal"]
"""Why a model stopped: it was done, at the limit of its length, or it would not answer."""

_STOPS: dict[str, Stop] = {
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "length": "max_tokens",
    "refusal": "refusal",
    "content_filter": "refusal",
}

MALFORMED = "(these arguments were no valid JSON object; write the call again)"
"""Argument under which the text of malformed ones is handed on: no tool has it, so the gate's refusal quotes it."""

_IN_STREAM = {"overloaded_error": 529, "api_error": 500, "rate_limit_error": 429, "timeout_error": 504}
"""Anthropic's errors in the middle of a stream, which carry the status 200, and the status they have elsewhere."""


@dataclass(frozen=True)
class Failure:
    """Why there is no (whole) reply: Pipecat's category, or timeout or truncated; what the vendor wants as a wait."""

    category: str
    retry_after_ms: float = 0.0


class Asker(Protocol):
    """Who asked. Exactly one of `ended` and `failed` is told of a reply, unless the request is cancelled."""

    async def stirred(self, *, answering: bool) -> None:
        """Part of a tool call (`answering`) or of a thought came; text is pushed as frames."""
        ...

    async def ended(self, stop: Stop, calls: Sequence[FunctionCallFromLLM]) -> None:
        """The reply is complete; these are all its tool calls, in the model's order."""
        ...

    async def failed(self, failure: Failure) -> None:
        """There is no reply, or it broke off."""
        ...

    async def left(self) -> None:
        """The service has done with the request, usage included, whatever became of it."""
        ...


@dataclass
class Ask(LLMContextFrame):
    """One request to one service. `dropped` before it begins, it never leaves."""

    asker: Asker | None = None
    dropped: bool = False


@dataclass
class _Call:
    id: str
    name: str
    arguments: str = ""


@dataclass
class _Reply:
    """What has been read of a reply so far; `stop` is set by its end marker alone."""

    calls: dict[int, _Call] = field(default_factory=dict)
    stop: Stop | None = None


class Candid(LLMService[Any]):
    """Mixin for any of Pipecat's model services. It answers an `Ask`; an ordinary LLMContextFrame as Pipecat does."""

    ask: Ask | None = None
    _told = False
    _reading: AsyncGenerator[Any, None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if not isinstance(frame, Ask):
            await super().process_frame(frame, direction)
            return
        asker = frame.asker
        assert asker
        try:
            if not frame.dropped:
                self.ask, self._told = frame, False
                await super().process_frame(frame, direction)
                await self._fail(Failure("truncated"))  # if it did not say so itself
        finally:
            if self._reading is not None:
                await self._reading.aclose()  # cancelled in the middle: the connection goes now, not some time
            self.ask = self._reading = None
            await asker.left()

    async def run_function_calls(self, function_calls: Sequence[FunctionCallFromLLM]) -> None:
        if self.ask is None:
            await super().run_function_calls(function_calls)

    async def push_error_frame(self, error: ErrorFrame, force_treat_as_permanent: bool = False) -> None:
        """What fails while a reply is made is the asker's to judge: one bad request must not cost the service."""
        if self.ask is None:
            await super().push_error_frame(error, force_treat_as_permanent)
        elif isinstance(error.exception, Exception):
            await self._fail(failure(error.exception))
        else:
            await self._fail(Failure((error.category or ErrorCategory.UNKNOWN).value))

    async def _create_message_stream(self, api_call: Any, params: dict[str, Any]) -> Any:
        """Anthropic's service reads its reply from what this returns."""
        request = super()._create_message_stream(api_call, params)  # type: ignore[misc]
        return await self._candid(request, self._anthropic)

    async def get_chat_completions(self, context: Any) -> Any:
        """OpenAI's service, and all that are made like it, read their reply from what this returns."""
        request = super().get_chat_completions(context)  # type: ignore[misc]
        return await self._candid(request, self._openai)

    async def _candid(self, request: Any, reader: Any) -> Any:
        if self.ask is None:
            return await request
        self._reading = self._read(request, reader)
        return self._reading

    async def _read(self, request: Any, reader: Any) -> AsyncGenerator[Any, None]:
        """The stream without its tool calls; they are handed on, with how it ended, before Pipecat sees the end."""
        reply = _Reply()
        try:
            stream = await request
            try:
                async with aclosing(aiter(stream)) as events:
                    async for event in events:
                        if shown := await reader(event, reply):
                            yield shown
            finally:
                await stream.close()  # Pipecat leaves it to the garbage collector
        except Exception as error:
            logger.debug("{}: {} while a reply was made", self, type(error).__name__)
            await self._fail(failure(error))
            return
        if reply.stop is None:
            await self._fail(Failure("truncated"))
            return
        ask = self.ask
        if ask and ask.asker and not self._told:
            self._told = True
            context = ask.context
            calls = [
                FunctionCallFromLLM(call.name, call.id, _arguments(call.arguments), context)
                for call in reply.calls.values()
            ]
            await ask.asker.ended(reply.stop, calls)

    async def _anthropic(self, event: Any, reply: _Reply) -> Any:
        """Read one event of the Messages API; what Pipecat may see of it, or None."""
        if event.type == "content_block_start" and event.content_block.type == "tool_use":
            reply.calls[event.index] = _Call(event.content_block.id, event.content_block.name)
            await self._stir(answering=True)
            return None
        if event.type == "content_block_delta" and event.index in reply.calls:
            reply.calls[event.index].arguments += getattr(event.delta, "partial_json", None) or ""
            await self._stir(answering=True)
            return None
        if event.type == "content_block_delta" and not hasattr(event.delta, "text"):
            await self._stir(answering=False)
        elif event.type == "message_delta" and event.delta.stop_reason:
            reply.stop = _STOPS.get(event.delta.stop_reason, "complete")
        return event

    async def _openai(self, chunk: Any, reply: _Reply) -> Any:
        """Read one chunk of the chat completions API."""
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:
            return chunk
        delta = choice.delta
        for part in (delta.tool_calls if delta else None) or ():
            call = reply.calls.setdefault(part.index, _Call("", ""))
            call.id = call.id or part.id or ""
            if part.function:
                call.name += part.function.name or ""
                call.arguments += part.function.arguments or ""
            await self._stir(answering=True)
        if delta:
            delta.tool_calls = None
        if choice.finish_reason:
            reply.stop = "refusal" if delta and delta.refusal else _STOPS.get(choice.finish_reason, "complete")
        return chunk

    async def _stir(self, *, answering: bool) -> None:
        if answering:
            await self.stop_ttfb_metrics()
            await self.stop_ttfat_metrics()
        if self.ask and self.ask.asker:
            await self.ask.asker.stirred(answering=answering)

    async def _fail(self, why: Failure) -> None:
        if self.ask and self.ask.asker and not self._told:
            self._told = True
            await self.ask.asker.failed(why)


def candid(service: type[LLMService[Any]]) -> type[LLMService[Any]]:
    """A vendor's class that tells who asks it all about its reply."""
    return type(service.__name__, (Candid, service), {})


def failure(error: Exception) -> Failure:
    """An SDK's exception as a category and a wait; nothing of its text, which may quote the caller."""
    if isinstance(error, (TimeoutError, *TIMEOUT_EXCEPTIONS)) or "Timeout" in type(error).__name__:
        return Failure("timeout")
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    if (status := _in_stream(error)) is not None:
        return Failure(classify_http_status_code(status).value)
    category = classify_http_exception(error)
    unsaid = category is ErrorCategory.UNKNOWN and getattr(error, "status_code", None) is None
    if unsaid and any(kind.__module__.split(".")[0] in _NETWORK for kind in type(error).__mro__):
        category = ErrorCategory.CONNECTIVITY
    return Failure(category.value, _retry_after_ms(headers))


_NETWORK = ("httpx", "httpx2", "httpcore", "httpcore2", "anthropic", "openai")
"""What these raise without a status is about the connection, or about what came over it."""


def _in_stream(error: Exception) -> int | None:
    body = getattr(error, "body", None)
    inner = body.get("error") if isinstance(body, dict) else None
    kind = inner.get("type") if isinstance(inner, dict) else None
    return _IN_STREAM.get(str(kind)) if getattr(error, "status_code", None) == 200 else None


def _retry_after_ms(headers: Any) -> float:
    """The wait that the vendor asks for, 0 where it does not or writes nonsense."""
    with suppress(TypeError, ValueError, OverflowError):
        if (exact := headers.get("retry-after-ms")) is not None:
            return _sane(float(exact))
        if (said := headers.get("retry-after")) is not None:
            try:
                return _sane(float(said) * 1000)
            except ValueError:
                return _sane((parsedate_to_datetime(said).timestamp() - time()) * 1000)
    return 0.0


def _sane(ms: float) -> float:
    return ms if 0 <= ms < 86_400_000 else 0.0


def _arguments(text: str) -> dict[str, Any]:
    """The arguments of a call; what is no JSON object is handed on under a name that the gate will refuse."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {MALFORMED: text[:200]}
