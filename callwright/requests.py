"""The requests of one stage on record: which vendor each went to, how it went, and what it used.

For a stage that may ask several vendors at once; losers are on record like winners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loguru import logger
from pipecat.metrics.metrics import LLMTokenUsage

from callwright.failover.breaker import PERMANENT
from callwright.records import events
from callwright.stage import Stage, StageConfig
from callwright.vendors import find
from callwright.vendors.failure import next_step


def vendor_failed(
    turn: int, stage: Stage, vendor: StageConfig, category: str, *, permanent: bool | None = None
) -> events.VendorFailed:
    """A vendor's failure for the record; it goes into the log at once. Without `permanent` the category says so."""
    message = next_step(stage, vendor.vendor, category, find(stage, vendor.vendor).key_env)
    logger.warning("{}", message)
    lasting = category in PERMANENT if permanent is None else permanent
    return events.VendorFailed(turn, stage, vendor.vendor, category, message, lasting)


@dataclass
class _Request:
    vendor: int
    turn: int
    answered: bool = False
    over: bool = False


class Requests:
    """`line` are the stage's vendors; they are named by their place in it. `note` appends an event to the record."""

    def __init__(
        self, stage: Stage, line: Sequence[StageConfig], note: Callable[[events.Event], None], turn: Callable[[], int]
    ) -> None:
        self.line = line
        self._stage = stage
        self._note = note
        self._turn = turn
        self._requests: dict[int, _Request] = {}

    def started(self, vendor: int) -> int:
        """A request goes to `vendor`; its number."""
        number = len(self._requests) + 1
        turn = self._turn()
        self._requests[number] = _Request(vendor, turn)
        config = self.line[vendor]
        self._note(events.StageStarted(turn, self._stage, config.vendor, config.model, number))
        return number

    def first_byte(self, number: int) -> None:
        """Something useful came of it; told again, it is not noted again."""
        request = self._requests[number]
        if not request.answered:
            request.answered = True
            self._note(events.StageFirstByte(request.turn, self._stage, number))

    def ended(self, number: int, error: str | None = None) -> None:
        """It is over; `error` is a category or "cancelled"."""
        request = self._requests[number]
        if not request.over:
            request.over = True
            self._note(events.StageEnded(request.turn, self._stage, number, error))

    def failed(self, number: int, category: str) -> None:
        """It is over, and that is the vendor's fault, or says something about it."""
        self.ended(number, category)
        request = self._requests[number]
        self._note(vendor_failed(request.turn, self._stage, self.line[request.vendor], category))

    def troubled(self, vendor: int, what: str, waited_ms: float, action: str) -> None:
        """The watchdog saw something, and this is done about it."""
        event = events.StageTroubled(
            self._turn(), self._stage, self.line[vendor].vendor, what, round(waited_ms), action
        )
        self._note(event)

    def used(self, number: int, quantities: Mapping[str, float], *, estimated: bool = False) -> None:
        """What it consumed, in the words of `events.Usage`."""
        request = self._requests[number]
        config = self.line[request.vendor]
        self._note(
            events.Usage(request.turn, self._stage, config.vendor, config.model, dict(quantities), estimated=estimated)
        )

    def tokens(self, vendor: int, tokens: LLMTokenUsage) -> dict[str, float]:
        """A model's own report, in the words of `events.Usage`: vendors differ in what they count twice."""
        gross = "gross_prompt_tokens" in find(self._stage, self.line[vendor].vendor).abilities
        cached, written = tokens.cache_read_input_tokens or 0, tokens.cache_creation_input_tokens or 0
        return {
            "input_tokens": tokens.prompt_tokens - (cached + written if gross else 0),
            "cache_read_tokens": cached,
            "cache_write_5m_tokens": written,
            "output_tokens": tokens.completion_tokens,
            "requests": 1,
        }
