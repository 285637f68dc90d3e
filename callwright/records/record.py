"""What is known about a call when it is over (or broke off): plain values, ready for JSON and for tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from callwright.records.events import HeardWord, Json, JsonObject, Stage


@dataclass(frozen=True, slots=True)
class LateRecord:
    """The true outcome of a tool of which the model had been told that its end is not known; `ms` from its start."""

    ok: bool
    ms: float
    result: Json
    error: str | None


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """One run of a tool. `ok` and `ms` are None for one whose end was never recorded.

    pending    the model was told that it still runs, and went on
    news_turn  the turn in which it was told in a note of its own what became of it, None if it was not
    cancelled  why, in the words of `events.ToolCancelled`
    """

    turn: int
    tool_call_id: str
    name: str
    arguments: JsonObject
    ok: bool | None
    ms: float | None
    result: Json
    error: str | None
    attempts: int = 1
    pending: bool = False
    news_turn: int | None = None
    cancelled: str | None = None
    late: LateRecord | None = None


@dataclass(frozen=True, slots=True)
class JoinedRecord:
    """A tool call that was not done a second time: `run` (a tool_call_id, of `run_turn`) stands for it."""

    turn: int
    tool_call_id: str
    name: str
    arguments: JsonObject
    run: str
    run_turn: int | None


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One request to a vendor; times in ms after the end of the caller's speech, None where not known."""

    stage: str
    vendor: str
    model: str
    request: int
    start_ms: float | None
    first_byte_ms: float | None
    end_ms: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class LineRecord:
    """What the caller heard of one thing the agent said; the fields are those of `events.AgentText`."""

    text: str
    role: str
    interrupted: bool
    words: tuple[HeardWord, ...] = ()
    unheard: str = ""
    remembered: bool = True


@dataclass(frozen=True, slots=True)
class FailureRecord:
    turn: int
    stage: str
    vendor: str
    category: str
    message: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class TroubleRecord:
    """A stage kept the caller waiting, or failed; the fields are those of `events.StageTroubled`."""

    turn: int
    stage: str
    vendor: str
    what: str
    waited_ms: int
    action: str


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn; every `_ms` counts from the caller's last spoken sample as the agent's side knew it.

    They are None where not known (turn 0 has no caller). `committed_ms` is when the turn was handed to the
    mind, `first_sound_ms` the first agent sound of any kind, `response_gap_ms` the first of the answer (a filler is
    none), `end_ms` the last one. `cost_usd` is None if a part of it has no price.
    """

    number: int
    caller_text: str
    agent_text: str
    interrupted: bool
    stt_final_ms: float | None
    committed_ms: float | None
    llm_start_ms: float | None
    llm_first_token_ms: float | None
    tts_first_audio_ms: float | None
    first_sound_ms: float | None
    response_gap_ms: float | None
    end_ms: float | None
    cost_usd: float | None
    tools: tuple[ToolRecord, ...]
    joined: tuple[JoinedRecord, ...]
    spans: tuple[SpanRecord, ...]
    lines: tuple[LineRecord, ...]


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """All usage of one model. Without a price, `cost_usd` is None and `unpriced` says for what.

    For a stand-in the dollars are what the vendor would have billed. `dated` is the oldest price's date.
    """

    stage: str
    vendor: str
    model: str
    stand_in: bool
    quantities: dict[str, float]
    cost_usd: float | None
    dated: str
    sources: tuple[str, ...]
    unpriced: str


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A whole call. `ended` is None for one without an end in its journal: still running, or crashed.

    `cost_usd` is None if anything is unpriced (`unpriced` says what); `priced_usd` is the part with a price.
    `duration_s` reaches to the last event. `last_seq` is the last journal entry in this record.
    """

    call_id: str
    agent: str
    room: str
    started: datetime
    ended: datetime | None
    duration_s: float
    reason: str
    detail: str
    ok: bool
    stages: dict[str, Stage]
    turns: tuple[TurnRecord, ...]
    tools: tuple[ToolRecord, ...]
    usage: tuple[UsageRecord, ...]
    failures: tuple[FailureRecord, ...]
    troubles: tuple[TroubleRecord, ...]
    cost_usd: float | None
    priced_usd: float
    unpriced: tuple[str, ...]
    recording: str | None
    config: JsonObject
    last_seq: int

    @property
    def caller_turns(self) -> int:
        """How often the caller had the floor: turn 0 is the agent's greeting."""
        return sum(1 for turn in self.turns if turn.number > 0)

    def to_json(self) -> JsonObject:
        """Everything, as JSON values; moments in ISO 8601."""
        return cast("JsonObject", _plain(asdict(self)))


def _plain(value: Any) -> Json:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return cast("Json", value)
