"""The mind: one stage of the pipeline in front of all the vendors that may answer.

    frames ──► mind ──► the answer, tool calls
               │  ▲
               ▼  │
             branches, a vendor's service each; the first vendor's twice

To the pipeline it is one of Pipecat's model services. Tools are its own, not a branch's: to cancel a request touches
none that runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    FunctionCallFromLLM,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    StartFrame,
    SystemFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings

from callwright import vendors
from callwright.clock import Clock
from callwright.failover.asking import Asking, Request
from callwright.failover.attempts import Attempts, Limits
from callwright.failover.branch import Branch
from callwright.failover.breaker import Breaker
from callwright.failover.hedge import Hedge, Model
from callwright.requests import Requests
from callwright.sections import WatchConfig
from callwright.speech import BROKEN_OFF, Kept
from callwright.upstream.mind import Candid

STEP_LIMIT_S = 5.0
"""How long the branches may take to start or end before the pipeline goes on without them."""


class MindListener(Protocol):
    """Who is told how an ask ended."""

    async def mind_answered(self) -> None: ...

    async def mind_gave_up(self, category: str, permanent: bool) -> None:
        """No vendor answered. `category` is the last failure's; `permanent`: all have failed for good."""
        ...


class Mind(LLMService[Any]):
    """Asks the vendors of `services` (one list a vendor, in their order; the first has two) for every context.

    `requests` and `hedge` know the vendors by their place in the same order. Frames that are not for the model pass
    at once; while an answer is handed on, those that have their place in the speech wait for its end. `store_ms` says
    how much agent sound is still to be heard.
    """

    def __init__(
        self,
        services: Sequence[Sequence[Candid]],
        watch: WatchConfig,
        requests: Requests,
        clock: Clock,
        listener: MindListener,
        hedge: Hedge | None = None,
        *,
        store_ms: Callable[[], float] = lambda: 0.0,
    ) -> None:
        super().__init__(settings=_NO_SETTINGS)
        self.services = [service for those in services for service in those]
        self._branches = [[Branch(service, self._pushed) for service in those] for those in services]
        self._watch = watch
        self._requests = requests
        self._clock = clock
        self._listener = listener
        self._breakers = [Breaker() for _ in services]
        self._hedge = hedge or Hedge([Model() for _ in services], ())
        self._store_ms = store_ms
        self._waiting: deque[LLMContext] = deque()
        self._asking: Asking | None = None
        self._work: asyncio.Task[None] | None = None
        self._held: list[tuple[Frame, FrameDirection]] = []
        self._step: Frame | None = None
        self._behind: set[Branch] = set()
        self._together = asyncio.Event()

    # -- the pipeline's side

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as Pipecat itself does
        await super().setup(setup)
        await asyncio.gather(*(branch.setup(setup) for branch in self._all()))

    async def cleanup(self) -> None:
        await self._drop()
        await asyncio.gather(*(branch.cleanup() for branch in self._all()))
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def release(self) -> None:
        """Close the vendors' connections; the call does so at its end."""
        await asyncio.gather(*(vendors.release(service) for service in self.services))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, InterruptionFrame):
            await self._drop()
            self._held = [held for held in self._held if not held[0].interruptible]
        elif isinstance(frame, CancelFrame):
            await self._drop()
        elif isinstance(frame, EndFrame) and self._work:
            await asyncio.wait({self._work}, timeout=self._watch.turn_budget_ms / 1000)
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            self._waiting.append(frame.context)
            if self._work is None:
                self._work = self.create_task(self._ask())
        elif isinstance(frame, Kept):
            if self._asking:
                self._asking.kept(frame.utterance)
        elif isinstance(frame, StartFrame | EndFrame | CancelFrame):
            await self._in_step(frame)
            await self.push_frame(frame, direction)
        elif isinstance(frame, InterruptionFrame):
            await self.push_frame(frame, direction)
            await self._release()
        elif self._speaking and direction is FrameDirection.DOWNSTREAM and not isinstance(frame, SystemFrame):
            self._held.append((frame, direction))
        else:
            await self.push_frame(frame, direction)

    @property
    def _speaking(self) -> bool:
        return self._asking is not None and self._asking.open

    async def _ask(self) -> None:
        try:
            while self._waiting:
                limits = Limits.within(self._watch, self._hedge.models[: len(self._breakers)], self._hedge.plan)
                policy = Attempts(limits, self._breakers, self.now_ms())
                self._asking = Asking(self, self._waiting.popleft(), policy, self._requests, self._hedge)
                await self._asking.run()
        except Exception as bug:
            await self.push_error(f"a fault of ours: {type(bug).__name__}", exception=bug)
            await self.gave_up("unknown", False)
        finally:
            self._work = None

    async def _drop(self) -> None:
        """End what is being asked, now."""
        self._waiting.clear()
        asking = self._asking
        if asking:
            await asking.stop()
        if self._work:
            await self.cancel_task(self._work)
        if asking and asking.open:
            asking.open = False
            end = LLMFullResponseEndFrame()
            end.metadata[BROKEN_OFF] = "dropped"
            await self.push_frame(end)

    async def _release(self) -> None:
        while self._held and not self._speaking:
            await self.push_frame(*self._held.pop(0))

    async def _in_step(self, frame: Frame) -> None:
        """Let every branch have the frame, and wait until each has done with it."""
        self._step, self._behind = frame, set(self._all())
        self._together.clear()
        for branch in self._all():
            await branch.send(frame)
        with suppress(TimeoutError):
            async with asyncio.timeout(STEP_LIMIT_S):
                await self._together.wait()
        self._step = None

    def _all(self) -> list[Branch]:
        return [branch for those in self._branches for branch in those]

    # -- the branches' side

    async def _pushed(self, branch: Branch, frame: Frame, direction: FrameDirection) -> None:
        if frame is self._step:
            self._behind.discard(branch)
            if not self._behind:
                self._together.set()
            return
        service = branch.service
        assert isinstance(service, Candid)
        if direction is FrameDirection.UPSTREAM:
            if isinstance(frame, ErrorFrame):
                await self.push_frame(frame, direction)
        elif service.ask and isinstance(service.ask.asker, Request):
            await service.ask.asker.pushed(frame)

    # -- what an ask needs (asking.Speaker)

    def now_ms(self) -> float:
        return self._clock.monotonic_ns() / 1e6

    def store_ms(self) -> float:
        return self._store_ms()

    def seats(self, vendor: int) -> Sequence[Branch]:
        return self._branches[vendor]

    async def speak(self, frame: Frame) -> None:
        await self.push_frame(frame)
        if isinstance(frame, LLMFullResponseEndFrame):
            await self._release()

    async def act(self, calls: Sequence[FunctionCallFromLLM]) -> None:
        await self.run_function_calls(calls)

    async def answered(self) -> None:
        await self._listener.mind_answered()

    async def gave_up(self, category: str, permanent: bool) -> None:
        await self._listener.mind_gave_up(category, permanent)


_NO_SETTINGS = LLMSettings(
    model=None,
    system_instruction=None,
    temperature=None,
    max_tokens=None,
    top_p=None,
    top_k=None,
    frequency_penalty=None,
    presence_penalty=None,
    seed=None,
    filter_incomplete_user_turns=False,
    user_turn_completion_config=None,
    use_provider_thinking_default=False,
)
