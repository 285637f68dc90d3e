"""Trouble: what it means for the call that none of a stage's vendors can do its work.

The caller is told something true each time. The second time in a row, or where it cannot pass, the call ends.
"""

from __future__ import annotations

from typing import Protocol

from callwright import vendors
from callwright.agent import Agent
from callwright.config import Config
from callwright.ending import Ending
from callwright.errors import VendorPermanent
from callwright.scribe import Scribe
from callwright.speech import Say
from callwright.stage import Stage, StageConfig
from callwright.vendors.failure import next_step

ENOUGH = 2
"""The second time in a row ends the call."""

REPEAT = "I'm sorry, something went wrong for a moment. Could you say that again?"
"""Said when the caller's words were lost."""


class Troubled(Protocol):
    """The call, as far as it is needed here."""

    @property
    def id(self) -> str: ...

    @property
    def ending(self) -> bool: ...

    def queue(self, line: Say) -> None:
        """Have `line` said, without waiting."""
        ...

    def hang_up(self, ending: Ending, farewell: str | None = None) -> None: ...


def parting(agent: Agent) -> str:
    """What is said when a failure ends the call."""
    return f"{agent.trouble} {agent.farewell}"


def fixed_lines(agent: Agent) -> list[str]:
    """What the engine may have to say when no vendor answers, and says in every call."""
    return [parting(agent), agent.trouble, REPEAT, *([agent.greeting] if agent.greeting else []), agent.farewell]


class Trouble:
    """One call's. It is what the ears and the mind report to, and the voices."""

    def __init__(self, call: Troubled, agent: Agent, config: Config, scribe: Scribe) -> None:
        self._call = call
        self._agent = agent
        self._config = config
        self._scribe = scribe
        self._unanswered = 0
        self._deafness: VendorPermanent | None = None

    # -- the mind (failover.mind.MindListener)

    async def mind_answered(self) -> None:
        self._unanswered = 0

    async def mind_gave_up(self, category: str, permanent: bool) -> None:
        self._unanswered += 1
        if permanent or self._unanswered >= ENOUGH:
            self._end("llm", self._config.llm, category)
        else:
            self._tell(self._agent.trouble)

    # -- the ears (failover.ears.Owner)

    def ears_failed(self, config: StageConfig, category: str, *, permanent: bool) -> None:
        failed = self._scribe.vendor_failed("stt", config, category, permanent=permanent)
        self._deafness = VendorPermanent(failed.message, stage="stt", vendor=config.vendor, category=category)

    def ears_gave_up(self, times: int, *, permanent: bool) -> None:
        if not permanent and times < ENOUGH:
            self._tell(REPEAT)
        elif self._deafness:
            self._call.hang_up(Ending.failed("vendor_failed", self._deafness), parting(self._agent))
        else:
            self._end("stt", self._config.stt, "timeout")

    # -- the voices

    def voices_gave_up(self, in_a_row: int, for_good: bool, voice: StageConfig, why: str) -> None:
        """No voice could say a text; what is said now was rendered beforehand."""
        if for_good or in_a_row >= ENOUGH:
            self._end("tts", voice, why)
        else:
            self._tell(self._agent.trouble)

    # -- what is done

    def _tell(self, text: str) -> None:
        if not self._call.ending:
            self._call.queue(Say(text))

    def _end(self, stage: Stage, config: StageConfig, category: str) -> None:
        message = next_step(stage, config.vendor, category, vendors.find(stage, config.vendor).key_env)
        error = VendorPermanent(message, stage=stage, vendor=config.vendor, category=category)
        self._call.hang_up(Ending.failed("vendor_failed", error), parting(self._agent))
