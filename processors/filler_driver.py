"""Has fillers said: feeds the policy (`fillers.py`) from what passes, and puts its lines in front of the voice.

Thin. It stands behind the mind, for a mind at work holds up whatever is queued before it, and in front of memory,
where what is said becomes an utterance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMContextUserTurnFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    UserStartedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from callwright.config import FillerConfig
from callwright.filler_lines import Lines, repertoire
from callwright.parts import Parts
from callwright.speech import Say, Utterance
from callwright.tools import Tool
from processors.fillers import Fillers, Waits
from processors.floor import Settled
from processors.floor_keeper import FloorKeeper
from processors.gate import Gate
from processors.hold_sound import HoldSound

HELD_S = 0.05
"""While the agent is held silent, for somebody may be speaking, it is asked so often whether it still is."""


def waits_of(config: FillerConfig) -> Waits:
    """The policy's waits as they are configured."""
    return Waits(
        after_ms=config.after_ms,
        tool_after_ms=config.tool_after_ms,
        latest_ms=max(config.latest_ms, config.after_ms),
        intervals_ms=tuple(1000 * seconds for seconds in config.intervals_s),
    )


@dataclass
class Line(Say):
    """One of our own lines on its way; it passes only as long as it is wanted."""


class FillerDriver(FrameProcessor):
    """One call's fillers. `policy` is one of your own, in place of ours."""

    def __init__(self, parts: Parts, keeper: FloorKeeper, gate: Gate, policy: Fillers | None = None) -> None:
        super().__init__()
        lines = repertoire(parts.agent, parts.config)
        self._policy = policy or Fillers(
            waits_of(parts.config.filler),
            Lines(lines.first, lines.later, lines.acknowledgements),
            expected=bool(parts.agent.tools),
        )
        self._parts = parts
        self._keeper = keeper
        room, config = parts.room, parts.config.filler
        self._hold_sound = HoldSound.named(config.hold_sound, keeper, room.playback, room.rate)
        self._hold_after_ms = 1000 * config.hold_after_s
        self._line: Line | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._working: set[asyncio.Task[None]] = set()
        keeper.tell(sound=self._sound, settled=self._settled)
        gate.tell(started=self._tool_started, ended=self._tool_ended)
        parts.mind.add_event_handler("on_before_process_frame", self._mind_receives)

    def _now(self) -> float:
        return self._parts.clock.monotonic_ns() / 1e6

    async def cleanup(self) -> None:
        self._disarm()
        if self._hold_sound:
            await self._hold_sound.aclose()
        for task in tuple(self._working):
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        await super().cleanup()  # type: ignore[no-untyped-call]

    # -- what passes

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        policy = self._policy
        if isinstance(frame, Line):
            self._note_ending()
            if frame is self._line and (not policy.wanted or self._keeper.held):
                self._withdraw()
                self._arm()
            if frame is not self._line:
                return
        elif isinstance(frame, Say):
            policy.line_passed(self._now())
            self._withdraw()
        elif isinstance(frame, LLMTextFrame):
            policy.wrote(self._now())
            if not policy.wanted:
                self._withdraw()
        elif isinstance(frame, LLMFullResponseEndFrame):
            policy.reply_ended()
        elif isinstance(frame, VADUserStartedSpeakingFrame):
            policy.caller_started()
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            policy.caller_stopped(self._now() - 1000 * frame.stop_secs)
        elif isinstance(frame, UserStartedSpeakingFrame):
            policy.turn_began()
            self._line = None
        else:
            await self.push_frame(frame, direction)
            return
        await self.push_frame(frame, direction)
        self._arm()

    async def _mind_receives(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMContextUserTurnFrame):
            self._policy.turn_ended()
        elif isinstance(frame, LLMContextFrame):
            self._policy.asked(self._now())
            self._arm()

    # -- what the gate tells

    def _tool_started(self, tool_call_id: str, tool: Tool) -> None:
        self._policy.tool_started(tool_call_id, tool.policy.fillers, self._now())
        if not self._policy.wanted:
            self._withdraw()  # the tool's own line says it better
        self._arm()

    def _tool_ended(self, tool_call_id: str) -> None:
        self._policy.tool_ended(tool_call_id, self._now())
        self._arm()

    # -- what the floor tells

    def _sound(self, utterance: Utterance, sounding: bool) -> None:
        if self._hold_sound and self._hold_sound.sounds(utterance):
            return  # it breaks no silence: lines go on over it
        if sounding:
            if self._hold_sound:
                self._hold_sound.stop()
            if self._line is not None and utterance is self._line.utterance:
                self._line = None
            self._policy.began(self._now(), filler=utterance.role == "filler")
        else:
            self._policy.fell_silent(self._now())
        self._arm()

    def _settled(self, settled: Settled, cut: bool) -> None:
        if self._hold_sound and self._hold_sound.sounds(settled.utterance):
            self._hold_sound.stop()
        if self._line is not None and settled.utterance is self._line.utterance:
            self._line = None
            self._policy.lost()
            self._arm()

    # -- in time

    def _withdraw(self) -> None:
        """The answer is on its way: a line that does not sound yet is not said."""
        line, self._line = self._line, None
        if line is None:
            return
        self._policy.withdrawn()
        if line.utterance is not None:
            self._keeper.take_back(line.utterance)

    def _note_ending(self) -> None:
        """Nobody tells of the call's end, and its farewell waits behind a mind at work: asked before each decision."""
        if self._parts.call.ending:
            self._policy.call_ending()
            self._withdraw()  # it would have to break off for the farewell

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._disarm()
        self._note_ending()
        if self._hold_sound and self._hold_sound.running and not self._policy.waiting:
            self._hold_sound.stop()
        due_at = min((at for at in (self._policy.due_at(), self._hold_due_at()) if at is not None), default=None)
        if due_at is not None:
            delay_s = max(0.0, due_at - self._now()) / 1000
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._due)

    def _hold_due_at(self) -> float | None:
        if self._hold_sound is None or self._hold_sound.running:
            return None
        return self._policy.hold_due_at(self._hold_after_ms)

    def _due(self) -> None:
        self._timer = None
        self._note_ending()
        if self._keeper.held:
            self._timer = asyncio.get_running_loop().call_later(HELD_S, self._due)
            return
        text = self._policy.take(self._now())
        if text is not None:
            self._line = Line(text, role="filler", remembered=False)
            # Through our own queue, so that it and the model's words pass in one order.
            self._spawn(self.queue_frame(self._line))
        hold_due_at = self._hold_due_at()
        if self._hold_sound and hold_due_at is not None and hold_due_at <= self._now():
            self._hold_sound.start()
        self._arm()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
