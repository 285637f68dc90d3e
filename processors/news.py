"""News: when the model is asked although the caller said nothing, because a tool has told something since.

Beneath the policy, the desk feeds it from the pipeline and asks.
"""

from __future__ import annotations

import asyncio

from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from callwright.parts import Parts
from processors.floor import Settled
from processors.floor_keeper import FloorKeeper
from processors.gate import Gate

SETTLE_MS = 300.0
"""So long the floor must have been free: what was asked anyway (the caller's turn, a tool's result in time) is asked
within a few ms, and news that comes at the end of a sentence is given as a person would, after a breath."""


class News:
    """Decides when to ask for the sake of news. Times are ms of any one clock.

    Not while the caller speaks, not while the agent speaks or an answer is being made, not while a tool is waited
    for. Any request carries all the news there is: several become one, and a caller's turn that comes first takes
    them along.
    """

    def __init__(self, *, settle_ms: float = SETTLE_MS) -> None:
        self._settle_ms = settle_ms
        self._owed = False
        self._taken: set[str] = set()
        self._since = 0.0

    def owed(self, owed: bool, now: float) -> None:
        """Whether there is something that only a request can tell the model."""
        if owed != self._owed:
            self._owed, self._since = owed, now

    def caller(self, speaking: bool, now: float) -> None:
        self._set("caller", speaking, now)

    def agent(self, speaking: bool, now: float) -> None:
        """Whether the agent has something to say that is not over."""
        self._set("agent", speaking, now)

    def answering(self, answering: bool, now: float) -> None:
        """Whether the model has been asked and has not answered to the end."""
        self._set("answering", answering, now)

    def due_at(self) -> float | None:
        """When to ask if nothing more happens."""
        return self._since + self._settle_ms if self._owed and not self._taken else None

    def _set(self, who: str, holds: bool, now: float) -> None:
        if holds:
            self._taken.add(who)
        elif who in self._taken:
            self._taken.remove(who)
            self._since = now


class NewsDesk:
    """Asks the model when the policy says so."""

    def __init__(self, parts: Parts, keeper: FloorKeeper, gate: Gate, *, policy: News | None = None) -> None:
        self._parts = parts
        self._keeper = keeper
        self._gate = gate
        self._policy = policy or News()
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._closed = False
        gate.tell(changed=self._changed)
        keeper.tell(settled=self._settled)
        # Behind the gate's own handler, which takes the news into the request.
        parts.mind.add_event_handler("on_before_process_frame", self._mind_received)
        parts.mind.add_event_handler("on_before_push_frame", self._mind_pushed)
        parts.on_close(self.aclose)

    async def aclose(self) -> None:
        self._closed = True
        self._cancel_timer()
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _now(self) -> float:
        return self._parts.clock.monotonic_ns() / 1e6

    def _changed(self) -> None:
        self._policy.owed(self._gate.owed, self._now())
        self._arm()

    def _settled(self, _: Settled, __: bool) -> None:
        self._policy.agent(self._keeper.floor.busy, self._now())
        self._arm()

    async def _mind_received(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, UserStartedSpeakingFrame | UserStoppedSpeakingFrame):
            self._policy.caller(isinstance(frame, UserStartedSpeakingFrame), self._now())
        elif isinstance(frame, LLMContextFrame | InterruptionFrame):
            self._policy.answering(isinstance(frame, LLMContextFrame), self._now())
        else:
            return
        self._arm()

    async def _mind_pushed(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMFullResponseEndFrame):
            self._policy.answering(False, self._now())
            self._arm()

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._cancel_timer()
        due_at = self._policy.due_at()
        if due_at is not None and not self._closed:
            delay_s = max(0.0, due_at - self._now()) / 1000
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._keeper.floor.busy:
            self._policy.agent(True, self._now())  # until what it says is settled
            return
        due_at = self._policy.due_at()
        if self._closed or self._parts.call.ending or due_at is None:
            return
        if due_at > self._now() + 0.5:
            self._arm()
            return
        self._policy.answering(True, self._now())
        mind: FrameProcessor = self._parts.mind
        self._asking = asyncio.ensure_future(mind.queue_frame(LLMContextFrame(self._parts.context)))
