"""A language model's HTTP service, the same for every vendor: one request in, one answer out, streamed or whole.

The desk finds the account, lets ordered faults happen, asks the scripted model, keeps the account's delay and pace
and writes the account's log. What differs between vendors is a `Dialect`. Faults of stage "llm" strike a request
ahead of its answer ("connect", "before") or a streamed answer after so many tokens ("within").
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

from aiohttp import web

from callwright.simulators.account import Account, World
from callwright.simulators.brain import Answer, Brain
from callwright.simulators.brain_rules import BUILT_IN_RULES, load
from callwright.simulators.conversation import JSON, Conversation, RequestRefused
from callwright.simulators.errors import SimulatorError
from callwright.simulators.faults import Fault, Moment
from callwright.simulators.outbox import abort

_AHEAD: tuple[Moment, ...] = ("connect", "before")
_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_LOOK_S = 0.05  # how often a stalled answer looks whether its client has gone


@dataclass(frozen=True)
class Part:
    """A piece of a stream as bytes; `counts` if the vendor bills it as an output token."""

    data: bytes
    counts: bool = False


class Asked(Conversation, Protocol):
    """A valid request of some vendor."""

    @property
    def stream(self) -> bool: ...


class Reply(Protocol):
    """One answer, ready to be sent."""

    @property
    def output_tokens(self) -> int: ...

    @property
    def from_cache(self) -> bool:
        """Whether part of the prompt was read from the vendor's prompt cache."""

    def begin(self) -> None:
        """The answer begins: what it writes to the prompt cache can be read from now on."""

    def whole(self) -> dict[str, JSON]:
        """The body of an answer that is not streamed."""

    def parts(self) -> Iterator[Part]:
        """The stream, in the vendor's order."""

    def summary(self, output_tokens: int) -> dict[str, JSON]:
        """For the log: `usage` (in Anthropic's names, whoever the vendor is), `stop_reason`, `model`."""


A = TypeVar("A", bound=Asked)


class Dialect(Protocol[A]):
    """What a vendor says, and how."""

    @property
    def malformed(self) -> tuple[str, bytes]:
        """A body, and a piece of a stream, that cannot be parsed."""

    def key(self, request: web.Request) -> str | None: ...

    def request_id(self, rng: random.Random) -> str: ...

    def headers(self, request_id: str) -> Mapping[str, str]: ...

    def parse(self, request: web.Request, body: JSON) -> A:
        """Raises RequestRefused in the vendor's words."""

    def not_json(self) -> RequestRefused: ...

    def too_large(self) -> RequestRefused: ...

    def compose(self, answer: Answer, asked: A, account: Account, asked_at: float) -> Reply: ...

    def refuse(self, error: RequestRefused, request_id: str) -> web.Response: ...

    def refuse_key(self, key: str | None, request_id: str) -> web.Response: ...

    def fail(self, status: int | None, message: str | None, retry_after: float | None, request_id: str) -> web.Response:
        """The answer of an ordered fault; None: the vendor's own status for being overloaded."""

    def fail_within(self, status: int | None, message: str | None) -> bytes:
        """The same, in the middle of a stream."""


class _Dropped(Exception):
    """The connection was torn down by an ordered fault."""


@dataclass
class Desk(Generic[A]):
    """Serves all accounts of one server in one vendor's dialect."""

    world: World
    dialect: Dialect[A]
    brains: dict[str | None, Brain] = field(default_factory=dict)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; whatever becomes of it is one or two lines of the account's log."""
        asked_at = self.world.monotonic()
        key = self.dialect.key(request)
        account = self.world.accounts.find(key)
        if account is None:
            return self.dialect.refuse_key(key, self.dialect.request_id(random.Random()))
        sent = _Sent(account, asked_at, self.dialect.request_id(account.random_for("llm_ids")))
        try:
            empty = False
            for moment in _AHEAD:
                fault = account.faults.take("llm", moment)
                if fault is not None and fault.kind == "empty":
                    empty = True
                elif fault is not None and (struck := await self._strike(request, fault, sent)) is not None:
                    return struck
            return await self._answer(request, account, sent, empty)
        except RequestRefused as refused:
            sent.log("refused", {"status": refused.status})
            return self.dialect.refuse(refused, sent.request_id)
        except SimulatorError as error:  # this account's rules file cannot be read: say so, as a broken vendor
            sent.log("refused", {"status": 500})
            return self.dialect.fail(500, str(error), None, sent.request_id)
        except _Dropped:
            sent.log("dropped")
        except asyncio.CancelledError:  # the server runs handlers with cancellation: the client has gone
            sent.log("cancelled", {"output_tokens": sent.tokens})
            raise
        except ConnectionError:
            sent.log("cancelled", {"output_tokens": sent.tokens})
        return web.Response(status=500)  # nobody is there to read it

    # ------------------------------------------------------------------------ inside

    async def _answer(self, request: web.Request, account: Account, sent: _Sent, empty: bool) -> web.StreamResponse:
        asked = self.dialect.parse(request, await self._body(request, account))
        answer = self._brain(account).answer(asked)
        within = account.faults.take("llm", "within") if asked.stream else None
        if empty or (within is not None and within.kind == "empty"):
            answer, within = Answer(), None
        reply = self.dialect.compose(answer, asked, account, sent.asked_at)
        delay = account.draw("llm_first_token")
        if reply.from_cache:
            delay *= account.settings.llm_cache_hit_factor
        whole = 0 if asked.stream else reply.output_tokens * _pace(account)
        await self.world.sleep_until(sent.asked_at + delay + whole)
        if _gone(request):
            raise ConnectionResetError
        reply.begin()
        headers = self.dialect.headers(sent.request_id)
        if not asked.stream:
            sent.tokens = reply.output_tokens
            sent.finish(reply)
            return web.json_response(reply.whole(), headers=headers)
        response = web.StreamResponse(headers={**headers, **_STREAM_HEADERS})
        await response.prepare(request)
        async with contextlib.aclosing(self._stream(request, sent, reply, within)) as stream:
            async for part in stream:
                if _gone(request):
                    raise ConnectionResetError
                await response.write(part.data)
                sent.note(part)
        sent.finish(reply)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    async def _stream(
        self, request: web.Request, sent: _Sent, reply: Reply, fault: Fault | None
    ) -> AsyncGenerator[Part, None]:
        """Each part at its time. Raises _Dropped where the fault tears the connection down."""
        due, step, tokens = self.world.monotonic(), _pace(sent.account), 0
        for part in reply.parts():
            if part.counts:
                await self.world.sleep_until(due)
                if fault is not None and tokens >= fault.after:
                    sent.log("fault", {"kind": fault.kind, "moment": fault.moment})
                    if fault.kind in ("stall", "silence"):
                        await self._stall(request, fault)
                    elif fault.kind == "drop":
                        abort(request)
                        raise _Dropped
                    elif fault.kind == "malformed":
                        yield Part(self.dialect.malformed[1])
                    elif fault.kind == "trickle":
                        due, step = self.world.monotonic(), 1 / fault.trickle
                    elif fault.kind == "status":
                        yield Part(self.dialect.fail_within(fault.status, fault.message))
                        return
                    else:
                        return  # truncate: the stream ends without its end marker
                    fault = None
                tokens += 1
                due += step
            yield part

    async def _strike(self, request: web.Request, fault: Fault, sent: _Sent) -> web.StreamResponse | None:
        """A fault ahead of the answer; None when the answer goes on after it."""
        sent.log("fault", {"kind": fault.kind, "moment": fault.moment})
        if fault.kind in ("stall", "silence"):
            await self._stall(request, fault)
            return None
        if fault.kind in ("drop", "refuse_connect"):
            abort(request)
            raise _Dropped
        headers = self.dialect.headers(sent.request_id)
        sent.log("refused", {"fault": fault.kind})
        if fault.kind == "malformed":
            return web.Response(text=self.dialect.malformed[0], content_type="application/json", headers=headers)
        if fault.kind == "truncate":
            return web.Response(text="", content_type="text/event-stream", headers=headers)
        return self.dialect.fail(fault.status, fault.message, fault.retry_after, sent.request_id)

    async def _stall(self, request: web.Request, fault: Fault) -> None:
        """Nothing, for so long; ConnectionResetError as soon as the client has gone."""
        forever = fault.kind == "silence" or fault.stall_s is None
        until = None if forever else self.world.monotonic() + (fault.stall_s or 0)
        while not _gone(request):
            left = _LOOK_S if until is None else min(_LOOK_S, until - self.world.monotonic())
            if left <= 0:
                return
            await self.world.sleep(left)
        raise ConnectionResetError

    async def _body(self, request: web.Request, account: Account) -> JSON:
        try:
            body = cast("JSON", json.loads(await request.read()))
        except web.HTTPRequestEntityTooLarge:
            raise self.dialect.too_large() from None
        except (ValueError, RecursionError):
            raise self.dialect.not_json() from None
        if isinstance(body, dict):
            account.requests.append(dict(body))
        return body

    def _brain(self, account: Account) -> Brain:
        """The account's scripted model; rules are read once per path."""
        named = account.settings.brain_rules
        path = named if named is not None else (str(self.world.default_rules) if self.world.default_rules else None)
        if path not in self.brains:
            self.brains[path] = Brain(BUILT_IN_RULES if path is None else load(Path(path)))
        return self.brains[path]


@dataclass
class _Sent:
    """What has gone out of one answer, and its lines in the account's log."""

    account: Account
    asked_at: float
    request_id: str
    tokens: int = 0
    begun: bool = False

    def note(self, part: Part) -> None:
        """A part has been sent; the first with content is what the caller's client waits for."""
        if not part.counts:
            return
        self.tokens += 1
        if not self.begun:
            self.begun = True
            self.log("first_token")

    def finish(self, reply: Reply) -> None:
        """All of the answer has been sent."""
        if not self.begun:
            self.log("first_token")
        self.log("reply", reply.summary(self.tokens))

    def log(self, what: str, detail: dict[str, JSON] | None = None) -> None:
        self.account.log("llm", what, request_at=self.asked_at, request_id=self.request_id, detail=detail)


def _pace(account: Account) -> float:
    """Seconds from one token to the next."""
    return account.settings.speed / account.settings.llm_tokens_per_s


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
