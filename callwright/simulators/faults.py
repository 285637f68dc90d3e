"""Faults somebody ordered: what goes wrong, at which moment of which stage, how many times.

A vendor module asks its account's `FaultBook` at three moments: when a client connects ("connect"), when a
request has arrived and nothing has been answered yet ("before"), and when the answer begins ("within"; the
fault then strikes after `after` messages of that answer).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Stage = Literal["stt", "llm", "tts"]
Moment = Literal["connect", "before", "within"]
Kind = Literal["status", "stall", "drop", "malformed", "truncate", "silence", "empty", "refuse_connect", "hang"]


class Fault(BaseModel):
    """One ordered fault.

    kind:
      status          HTTP `status` (moment "connect", or any moment of an HTTP request), else the vendor's
                      error message inside the stream with that status
      stall           nothing happens for `stall_s` seconds (None: until the client gives up), then it goes on
      hang            as stall, and a cancel is not heeded before it is over (tts, moments "before" and "within")
      drop            the connection closes with `close_code`; None: it is torn down without a goodbye (1006)
      malformed       a message that cannot be parsed takes the place of the real one
      truncate        the answer ends early and looks finished
      silence         no answer to this request at all; the connection stays open
      empty           a well-formed answer with nothing in it (empty transcript, no audio)
      refuse_connect  the TCP connection is torn down before any HTTP answer
    """

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    kind: Kind
    moment: Moment = "before"
    status: int | None = Field(default=None, ge=400, le=599)
    retry_after: float | None = None  # seconds, sent as the Retry-After header where there is one
    after: int = Field(default=0, ge=0)  # moment "within": how many messages are sent before it strikes
    stall_s: float | None = Field(default=None, ge=0)
    close_code: int | None = Field(default=None, ge=1000, le=4999)
    anonymous: bool = False  # an in-band error without the id of the request it belongs to (Cartesia context_id)
    message: str | None = None  # replaces the vendor's own wording
    count: int = Field(default=1, ge=1)  # how many times it strikes

    @model_validator(mode="after")
    def _only_a_voice_hangs(self) -> Self:
        if self.kind == "hang" and (self.stage != "tts" or self.moment == "connect"):
            raise ValueError("a hang is for stage tts, moment before or within")
        return self


class FaultBook:
    """The faults still to strike, in the order they were ordered."""

    def __init__(self) -> None:
        self._open: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._open.append(fault.model_copy())

    def take(self, stage: Stage, moment: Moment) -> Fault | None:
        """The first open fault for this stage and moment, with one of its `count` used up; else None."""
        for fault in self._open:
            if fault.stage == stage and fault.moment == moment:
                taken = fault.model_copy()
                fault.count -= 1
                if fault.count == 0:
                    self._open.remove(fault)
                return taken
        return None

    def clear(self) -> None:
        self._open.clear()

    @property
    def pending(self) -> tuple[Fault, ...]:
        return tuple(fault.model_copy() for fault in self._open)


class Within:
    """Counts the messages of one answer or connection and says which one a "within" fault strikes."""

    def __init__(self, book: FaultBook, stage: Stage) -> None:
        self._book = book
        self._stage = stage
        self._armed: Fault | None = None
        self._left = 0

    def strikes(self) -> Fault | None:
        """Ask before each message: the fault that takes its place, or None."""
        if self._armed is None:
            self._armed = self._book.take(self._stage, "within")
            if self._armed is None:
                return None
            self._left = self._armed.after
        if self._left > 0:
            self._left -= 1
            return None
        struck, self._armed = self._armed, None
        return struck
