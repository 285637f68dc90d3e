"""The parts of one call, built from configuration, as a pipeline function receives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from loguru import logger
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor

from callwright.agent import Agent
from callwright.clock import Clock
from callwright.config import Config
from callwright.failover.ears import Ears
from callwright.failover.mind import Mind
from callwright.failover.voice import Voices
from callwright.records.journal import Journal
from callwright.room import Room
from callwright.scribe import Scribe
from callwright.tools import Call
from callwright.upstream.ears import SmartTurn


@dataclass
class Parts:
    """What a pipeline is made of. A pipeline function `pipeline(parts)` returns the order of its processors.

    agent, config      who speaks, and how it is set up
    call               say and end, as tools have them
    room               `room.input` and `room.output` are its two ends in the pipeline
    ears, mind, voice  speech to text, model, text to speech; each is whichever vendor is at work
    context            the conversation as the model sees it
    journal, scribe    where facts go; the scribe also counts the turns
    """

    agent: Agent
    config: Config
    call: Call
    clock: Clock
    room: Room
    ears: Ears
    mind: Mind
    voice: Voices
    context: LLMContext
    journal: Journal
    scribe: Scribe
    smart_turn: SmartTurn | None
    _closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    @property
    def turn(self) -> int:
        """The caller's present turn, counted from 1; 0 before they have spoken."""
        return self.scribe.turn

    def on_close(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Have `closer` awaited when the call ends, in bounded time; the last one registered goes first."""
        self._closers.append(closer)

    async def aclose(self) -> None:
        """Run the closers; called once, by the call."""
        while self._closers:
            try:
                await self._closers.pop()()
            except Exception as error:  # the others must still close
                logger.error("closing a part of the call failed: {}", type(error).__name__)


Pipeline = Callable[[Parts], list[FrameProcessor]]
"""A pipeline function: parts in, processors in the order in which frames pass them out."""
