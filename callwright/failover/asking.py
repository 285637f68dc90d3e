"""One ask of the model under way: what its requests do is told to `Attempts`, and what that decides is done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    SystemFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.processors.aggregators.llm_context import LLMContext

from callwright.failover.attempts import Adopt, Attempts, BreakOff, Cancel, Do, GiveUp, Start, Trouble
from callwright.failover.branch import Branch
from callwright.failover.hedge import Bill, Hedge
from callwright.pace import letters
from callwright.requests import Requests
from callwright.speech import BROKEN_OFF, Utterance
from callwright.upstream.mind import Ask, Candid, Failure, Stop

GO_ON = (
    "[A fault broke your words off: the caller has heard them as far as they stand above. Go on from exactly there, "
    "in the middle of the sentence if need be. Repeat nothing, and say nothing about the fault.]"
)
"""Shown to the model that takes over in the middle of an answer, and to no other."""

KEPT_LIMIT_S = 0.25
"""How long the pieces' cutter is waited for to say how far an answer went; it is two queues away."""

LETTERS_PER_TOKEN = 4
"""Of English text, for what a cancelled request may have cost."""


class Speaker(Protocol):
    """The stage of the pipeline for which the model is asked."""

    def now_ms(self) -> float: ...

    def store_ms(self) -> float:
        """Agent sound that is still to be heard."""
        ...

    def seats(self, vendor: int) -> Sequence[Branch]:
        """The services of that vendor; each answers one request at a time."""
        ...

    async def speak(self, frame: Frame) -> None:
        """Pass the next frame of the answer on."""
        ...

    async def act(self, calls: Sequence[FunctionCallFromLLM]) -> None:
        """Run the tools the answer calls."""
        ...

    async def gave_up(self, category: str, permanent: bool) -> None: ...

    async def answered(self) -> None: ...


@dataclass(eq=False)
class Request:
    """One attempt on its branch, and what its service tells of it (`upstream.mind.Asker`)."""

    asking: Asking
    number: int
    vendor: int
    branch: Branch
    entry: int
    """Its number on record."""
    began_ms: float
    ask: Ask
    held: list[Frame] = field(default_factory=list)
    text: str = ""
    came: bool = False
    over: bool = False
    gone: bool = False
    cancelled: bool = False
    bill: Mapping[str, float] | None = None

    async def pushed(self, frame: Frame) -> None:
        """Its service pushed a frame downstream."""
        await self.asking.pushed(self, frame)

    async def stirred(self, *, answering: bool) -> None:
        await self.asking.stirred(self, answering=answering)

    async def ended(self, stop: Stop, calls: Sequence[FunctionCallFromLLM]) -> None:
        await self.asking.ended(self, stop, calls)

    async def failed(self, failure: Failure) -> None:
        await self.asking.failed(self, failure)

    async def left(self) -> None:
        self.asking.left(self)


class Asking:
    """`run` it; meanwhile it hears from its requests. Its lock makes one step of all that happens at a time."""

    def __init__(
        self,
        speaker: Speaker,
        context: LLMContext,
        policy: Attempts,
        requests: Requests,
        hedge: Hedge,
    ) -> None:
        self._speaker = speaker
        self._context = context
        self._policy = policy
        self._requests = requests
        self._hedge = hedge
        self._all: dict[int, Request] = {}
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._kept: asyncio.Future[Utterance] | None = None
        self._stopped = False
        self.open = False
        """Whether an answer has begun to be handed on and has not ended."""

    async def run(self) -> None:
        """To the end of the answer, or until everything has been given up."""
        async with self._lock:
            await self._do(self._policy.begin())
        while not self._policy.over:
            wakes = self._policy.wakes_at
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wakes is None else max(0.0, wakes - self._speaker.now_ms()) / 1000):
                    await self._changed.wait()
            self._changed.clear()
            async with self._lock:
                await self._do(self._policy.tick(self._speaker.now_ms(), self._speaker.store_ms()))

    async def stop(self) -> None:
        """The caller has spoken: nothing of it is wanted any more. Does not wait for a step under way."""
        self._stopped = True
        for request in self._all.values():
            if not request.over:
                await self._cancel(request, "interrupted")

    def kept(self, utterance: Utterance) -> None:
        """An answer that broke off has this text now."""
        if self._kept and not self._kept.done():
            self._kept.set_result(utterance)

    # -- what is heard from the requests

    async def pushed(self, request: Request, frame: Frame) -> None:
        """The service of `request` pushed a frame downstream."""
        async with self._lock:
            if isinstance(frame, MetricsFrame):
                self._bill(request, frame)
                await self._speaker.speak(frame)
            elif request.over or isinstance(frame, SystemFrame | LLMFullResponseStartFrame | LLMFullResponseEndFrame):
                return  # an answer's ends are ours to say
            else:
                if isinstance(frame, LLMTextFrame):
                    request.text += frame.text
                    await self._token(request, frame.text)
                if self._policy.adopted == request.number:
                    await self._hand_on(frame)
                else:
                    request.held.append(frame)

    async def stirred(self, request: Request, *, answering: bool) -> None:
        async with self._lock:
            if answering and not request.over:
                await self._token(request)
            self._policy.alive(request.number, self._speaker.now_ms())
            self._changed.set()

    async def ended(self, request: Request, stop: Stop, calls: Sequence[FunctionCallFromLLM]) -> None:
        async with self._lock:
            if request.over:
                return
            if not calls and not request.text.strip():
                await self._fail(request, Failure("refusal" if stop == "refusal" else "empty"))
                return
            if stop != "complete":
                what = "truncated" if stop == "max_tokens" else "refused"
                self._requests.troubled(request.vendor, what, self._waited(request), "kept")
            request.over = True
            self._requests.ended(request.entry)
            await self._do(self._policy.ended(request.number))
            if calls:
                await self._open()
                await self._speaker.act([replace(call, context=self._context) for call in calls])
            await self._close("limit" if stop == "max_tokens" else None)
            await self._speaker.answered()
            self._changed.set()

    async def failed(self, request: Request, failure: Failure) -> None:
        async with self._lock:
            if not request.over:
                await self._fail(request, failure)

    def left(self, request: Request) -> None:
        """The service is free again, and will report no more of what it used."""
        request.gone = True
        if not all(other.gone for other in self._all.values()):
            return
        for other in self._all.values():
            if other.bill is None and (other.cancelled or other.came):
                self._estimate(other)
        if self._policy.over or self._stopped:
            self._hedge.settled(
                [Bill(other.vendor, other.bill, answered=other.came) for other in self._all.values() if other.bill],
                hedged=self._policy.hedged,
            )

    # -- what is done

    async def _do(self, todo: Sequence[Do]) -> None:
        for one in todo:
            if self._stopped:
                return
            match one:
                case Start(attempt, vendor, go_on):
                    await self._start(attempt, vendor, go_on=go_on)
                case Adopt(attempt):
                    held, self._all[attempt].held = self._all[attempt].held, []
                    for frame in held:
                        await self._hand_on(frame)
                case Cancel(attempt):
                    await self._cancel(self._all[attempt], "cancelled")
                case BreakOff():
                    self._kept = asyncio.get_running_loop().create_future()
                    await self._close("dropped")
                case GiveUp(category, permanent):
                    if not self._stopped:
                        await self._open()  # an empty answer: nobody waits any more
                    await self._close("dropped")
                    await self._speaker.gave_up(category, permanent)
                case Trouble(vendor, what, waited_ms, action):
                    self._requests.troubled(vendor, what, waited_ms, action)

    async def _start(self, attempt: int, vendor: int, *, go_on: bool) -> None:
        context = await self._continued() if go_on else self._context
        if self._stopped:
            return
        busy = [other.branch for other in self._all.values() if not other.over]
        branch = min(self._speaker.seats(vendor), key=lambda one: (one in busy, _asked(one) is not None))
        ask = Ask(context)
        request = Request(self, attempt, vendor, branch, self._requests.started(vendor), self._speaker.now_ms(), ask)
        ask.asker = self._all[attempt] = request
        await branch.send(ask)

    async def _continued(self) -> LLMContext:
        """The conversation with what has been said of this answer; as it was, if that is nothing."""
        if self._kept:
            with suppress(TimeoutError):
                async with asyncio.timeout(KEPT_LIMIT_S):
                    await asyncio.shield(self._kept)
            if self._kept.done() and not self._kept.result().text.strip():
                return self._context
        context = LLMContext(
            list(self._context.messages), tools=self._context.tools, tool_choice=self._context.tool_choice
        )
        context.add_message({"role": "user", "content": GO_ON})
        return context

    async def _token(self, request: Request, text: str = "") -> None:
        """Part of its answer came: words, or of a tool call."""
        now = self._speaker.now_ms()
        if not request.came:
            request.came = True
            self._requests.first_byte(request.entry)
            self._hedge.models[request.vendor].first_token(now - request.began_ms)
        await self._do(self._policy.token(request.number, now, words=bool(text.strip()), letters=letters(text)))
        self._changed.set()

    async def _fail(self, request: Request, failure: Failure) -> None:
        request.over = True
        self._requests.failed(request.entry, failure.category)
        now, store_ms = self._speaker.now_ms(), self._speaker.store_ms()
        wait_ms = failure.retry_after_ms
        await self._do(self._policy.failed(request.number, now, failure.category, wait_ms, store_ms=store_ms))
        self._changed.set()

    async def _cancel(self, request: Request, why: str) -> None:
        request.over = request.cancelled = request.ask.dropped = True
        self._requests.ended(request.entry, why)
        if not request.came:
            self._hedge.models[request.vendor].cancelled(self._waited(request))
        if _asked(request.branch) is request.ask:
            await request.branch.send(InterruptionFrame())
        else:  # it is still on its way to the service, which will drop it: nothing was sent
            request.gone, request.cancelled = True, False

    async def _open(self) -> None:
        if not self.open:
            self.open = True
            await self._speaker.speak(LLMFullResponseStartFrame())

    async def _hand_on(self, frame: Frame) -> None:
        if not self._stopped:
            await self._open()
            await self._speaker.speak(frame)

    async def _close(self, broken: str | None) -> None:
        if self.open and not self._stopped:
            self.open = False
            end = LLMFullResponseEndFrame()
            if broken:
                end.metadata[BROKEN_OFF] = broken
            await self._speaker.speak(end)

    def _waited(self, request: Request) -> float:
        return self._speaker.now_ms() - request.began_ms

    # -- what it costs

    def _bill(self, request: Request, frame: MetricsFrame) -> None:
        for data in frame.data:
            if isinstance(data, LLMUsageMetricsData):
                request.bill = self._requests.tokens(request.vendor, data.value)
                self._requests.used(request.entry, request.bill)

    def _estimate(self, request: Request) -> None:
        """A request that was cut off is billed although nothing reports it: its prompt as the vendor's other request of
        this ask was, or as its answers usually are, or as another vendor's was without its cache.
        """
        others = [other for other in self._all.values() if other.bill is not None]
        own = next((other.bill for other in others if other.vendor == request.vendor), None)
        quantities: dict[str, float] = {"requests": 1, "output_tokens": len(request.text) // LETTERS_PER_TOKEN}
        if like := own or self._hedge.models[request.vendor].usual:
            quantities |= {key: round(like[key]) for key in like if key not in quantities}
        elif others and others[0].bill:
            quantities["input_tokens"] = sum(others[0].bill[key] for key in others[0].bill if key not in quantities)
        else:
            letters = sum(len(str(message)) for message in request.ask.context.messages)
            quantities["input_tokens"] = letters // LETTERS_PER_TOKEN
        request.bill = quantities
        self._requests.used(request.entry, quantities, estimated=True)


def _asked(branch: Branch) -> Ask | None:
    """What the branch's service is answering now."""
    service = branch.service
    assert isinstance(service, Candid)
    return service.ask
