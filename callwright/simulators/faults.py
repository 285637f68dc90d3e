"""Faults somebody ordered: what goes wrong, at which moment of which stage, how many times.

A vendor module asks its account's `FaultBook` at four moments: when a client connects ("connect"), when a
request has arrived and nothing has been answered yet ("before"), when the answer begins ("within"; the
fault then strikes after `after` messages of that answer), and, of an open websocket, when nothing is going on
("idle"). For speech to text the request is the end of an utterance: Deepgram's Finalize, a turn's end with Flux.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Stage = Literal["stt", "llm", "tts"]
Moment = Literal["connect", "before", "within", "idle"]
Kind = Literal[
    "status",
    "stall",
    "hang",
    "drop",
    "malformed",
    "truncate",
    "silence",
    "empty",
    "trickle",
    "refuse_connect",
]

_DOOR: tuple[Kind, ...] = ("status", "stall", "drop", "refuse_connect", "silence")
_ANSWER: tuple[Kind, ...] = ("status", "stall", "drop", "malformed", "truncate", "silence", "empty")
POSSIBLE: Mapping[tuple[Stage, Moment], tuple[Kind, ...]] = {
    ("stt", "connect"): _DOOR,
    ("stt", "before"): _ANSWER,
    ("stt", "within"): _ANSWER,
    ("stt", "idle"): ("drop",),
    ("llm", "connect"): (*_ANSWER, "refuse_connect"),
    ("llm", "before"): (*_ANSWER, "refuse_connect"),
    ("llm", "within"): (*_ANSWER, "trickle"),
    ("tts", "connect"): _DOOR,
    ("tts", "before"): (*_ANSWER, "hang"),
    ("tts", "within"): ("status", "stall", "hang", "drop", "malformed", "truncate", "silence", "trickle"),
    ("tts", "idle"): ("drop",),
}
"""What can be ordered of a live stage; anything else is refused."""

POSSIBLE_IN_BATCH: Mapping[Moment, tuple[Kind, ...]] = {
    "connect": _DOOR,
    "before": ("status", "stall", "drop", "truncate", "silence", "empty"),
    "within": ("stall", "drop", "truncate", "silence", "trickle"),
}
"""What can be ordered of speech rendered over HTTP, in one request (stage tts, `batch`)."""

_TRICKLE: Mapping[Stage, float] = {"llm": 1.0, "tts": 0.3}


class Fault(BaseModel):
    """One ordered fault.

    kind:
      status          HTTP `status` (moment "connect", or any moment of an HTTP request), else the vendor's
                      error message inside the stream with that status
      stall           nothing happens for `stall_s` seconds (None: until the client gives up), then it goes on
      hang            as stall, and a cancel is not heeded before it is over
      drop            the connection closes with `close_code`; None: it is torn down without a goodbye (1006)
      malformed       a message that cannot be parsed takes the place of the real one
      truncate        the answer ends early: a stream of events without its end marker, a voice that says it is done
      silence         no answer to this request, or no more of it; the connection stays open. A recogniser that
                      falls silent "within" never speaks again on that connection
      empty           a well-formed answer with nothing in it (empty transcript, no words, no audio)
      trickle         the rest comes at `pace`, whatever the account's settings say
      refuse_connect  the TCP connection is torn down before any HTTP answer
    """

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    kind: Kind
    moment: Moment = "before"
    batch: bool = False  # strikes speech rendered over HTTP in one request, and only that (tts)
    status: int | None = Field(default=None, ge=400, le=599)
    retry_after: float | None = None  # seconds, sent as the Retry-After header where there is one
    after: int = Field(default=0, ge=0)  # moment "within": how many messages are sent before it strikes
    stall_s: float | None = Field(default=None, ge=0)
    pace: float | None = Field(default=None, gt=0)  # trickle: tokens a second (1), for tts times real time (0.3)
    close_code: int | None = Field(default=None, ge=1000, le=4999)
    anonymous: bool = False  # an in-band error without the id of the request it belongs to (Cartesia context_id)
    message: str | None = None  # replaces the vendor's own wording
    count: int = Field(default=1, ge=1)  # how many times it strikes

    @model_validator(mode="after")
    def _can_happen(self) -> Self:
        if self.batch and self.stage != "tts":
            raise ValueError("only speech (stage tts) is rendered in batches")
        kinds = POSSIBLE_IN_BATCH.get(self.moment, ()) if self.batch else POSSIBLE.get((self.stage, self.moment), ())
        if self.kind not in kinds:
            where = f"stage {self.stage}, moment {self.moment}{', batch' if self.batch else ''}"
            raise ValueError(f"there is no {self.kind} at {where}; possible: {', '.join(kinds) or 'nothing'}")
        return self

    @property
    def trickle(self) -> float:
        """The pace of a trickle: tokens a second (llm), multiple of real time (tts)."""
        return self.pace or _TRICKLE.get(self.stage, 1.0)


class FaultBook:
    """The faults still to strike, in the order they were ordered."""

    def __init__(self) -> None:
        self._open: list[Fault] = []
        self._news = asyncio.Event()

    def add(self, fault: Fault) -> None:
        self._open.append(fault.model_copy())
        self._news.set()

    def take(self, stage: Stage, moment: Moment, *, batch: bool = False) -> Fault | None:
        """The first open fault for this stage and moment, with one of its `count` used up; else None."""
        for fault in self._open:
            if (fault.stage, fault.moment, fault.batch) == (stage, moment, batch):
                taken = fault.model_copy()
                fault.count -= 1
                if fault.count == 0:
                    self._open.remove(fault)
                return taken
        return None

    async def ordered(self, stage: Stage, moment: Moment) -> None:
        """Return as soon as such a fault of a live stage is open; it is not taken."""
        while not any((fault.stage, fault.moment, fault.batch) == (stage, moment, False) for fault in self._open):
            self._news.clear()
            await self._news.wait()

    def clear(self) -> None:
        self._open.clear()

    @property
    def pending(self) -> tuple[Fault, ...]:
        return tuple(fault.model_copy() for fault in self._open)


class Within:
    """Counts the messages of one answer or connection and says which one a "within" fault strikes."""

    def __init__(self, book: FaultBook, stage: Stage, *, batch: bool = False) -> None:
        self._book = book
        self._stage = stage
        self._batch = batch
        self._armed: Fault | None = None
        self._left = 0

    def strikes(self) -> Fault | None:
        """Ask before each message: the fault that takes its place, or None."""
        if self._armed is None:
            self._armed = self._book.take(self._stage, "within", batch=self._batch)
            if self._armed is None:
                return None
            self._left = self._armed.after
        if self._left > 0:
            self._left -= 1
            return None
        struck, self._armed = self._armed, None
        return struck
