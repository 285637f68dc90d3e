"""What can happen in a call, one frozen value per fact.

Every number that is a `sample` counts samples of the recording's clock at `CallStarted.audio_rate`; sample 0
is the first of the recording. Times are not in the events: the journal takes them when the event is appended.
`turn` counts the caller's turns from 1; turn 0 is what the agent says unasked at the start (the greeting).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import ClassVar, TypeAlias

from pydantic import JsonValue, TypeAdapter, ValidationError

Json: TypeAlias = JsonValue
JsonObject: TypeAlias = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Stage:
    """Who serves one stage of the call; `stand_in` is true where a simulator takes the vendor's place."""

    vendor: str
    model: str
    stand_in: bool = False


class Event:
    """Base of all events; `kind` is the name under which the journal stores it."""

    __slots__ = ()
    kind: ClassVar[str]


@dataclass(frozen=True, slots=True)
class CallStarted(Event):
    """The first event. `config` has its secrets masked; `recording` is a path, None if not recorded.

    `script` is the absolute path of the agent's script, "" where the agent came from none.
    """

    kind: ClassVar[str] = "call_started"
    agent: str
    room: str
    stages: dict[str, Stage]
    config: JsonObject
    recording: str | None
    audio_rate: int
    script: str = ""


@dataclass(frozen=True, slots=True)
class RecordingClock(Event):
    """At the instant of this event the recording stood at `sample`.

    It ties samples to the journal's times. Append one when the recording starts (sample 0), and again
    whenever the two are known to have drifted; the fold uses the latest one before the sample in question.
    """

    kind: ClassVar[str] = "recording_clock"
    sample: int


@dataclass(frozen=True, slots=True)
class CallerJoined(Event):
    kind: ClassVar[str] = "caller_joined"
    identity: str


@dataclass(frozen=True, slots=True)
class CallerLeft(Event):
    kind: ClassVar[str] = "caller_left"
    identity: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoomChanged(Event):
    """The room connection's state changed: connected, reconnecting, disconnected …"""

    kind: ClassVar[str] = "room_changed"
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpeechStarted(Event):
    """The caller began to speak at `sample`, by voice activity detection."""

    kind: ClassVar[str] = "speech_started"
    sample: int


@dataclass(frozen=True, slots=True)
class SpeechEnded(Event):
    """The caller's last speech sample was `sample`; the detector's own wait is already subtracted."""

    kind: ClassVar[str] = "speech_ended"
    sample: int


@dataclass(frozen=True, slots=True)
class Transcript(Event):
    """The recogniser's text; a `final` one will not change. `sample` is the audio position it reaches."""

    kind: ClassVar[str] = "transcript"
    text: str
    final: bool
    sample: int


@dataclass(frozen=True, slots=True)
class TurnStarted(Event):
    """The caller's turn is committed: its text goes to the mind. A negative sample means "not known"."""

    kind: ClassVar[str] = "turn_started"
    turn: int
    text: str
    end_of_speech_sample: int


@dataclass(frozen=True, slots=True)
class SpokenOver(Event):
    """The caller sounded over the agent and did not take the floor: "uh-huh", a cough, somebody else.

    `sample` is where that was decided and the agent went on, `text` what was recognised of it.
    """

    kind: ClassVar[str] = "spoken_over"
    turn: int
    sample: int
    text: str


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """A request to a vendor left. `stage` is stt, llm or tts; `request` counts per stage within the call."""

    kind: ClassVar[str] = "stage_started"
    turn: int
    stage: str
    vendor: str
    model: str
    request: int


@dataclass(frozen=True, slots=True)
class StageFirstByte(Event):
    """The first useful output of that request: a transcript, a token, an audio chunk."""

    kind: ClassVar[str] = "stage_first_byte"
    turn: int
    stage: str
    request: int


@dataclass(frozen=True, slots=True)
class StageEnded(Event):
    """The last output of that request, or why there was none."""

    kind: ClassVar[str] = "stage_ended"
    turn: int
    stage: str
    request: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AgentSpeechStarted(Event):
    """The first sample of a stretch of agent speech."""

    kind: ClassVar[str] = "agent_speech_started"
    turn: int
    sample: int


@dataclass(frozen=True, slots=True)
class AgentSpeechEnded(Event):
    """The sample after the last one played of that stretch."""

    kind: ClassVar[str] = "agent_speech_ended"
    turn: int
    sample: int
    interrupted: bool


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word of the agent and the samples [start, end) of the recording in which it sounded.

    `estimated`: the voice gave no times, so the place was reckoned from the audio.
    """

    text: str
    start: int
    end: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class AgentText(Event):
    """What the caller heard of one thing the agent said, appended when it is over.

    `role` is answer, greeting, farewell, filler or statement. `unheard` is what was still to be said when it
    was cut off. `remembered`: the text stands so, word for word, in what the model is shown.
    """

    kind: ClassVar[str] = "agent_text"
    turn: int
    text: str
    role: str
    interrupted: bool
    words: tuple[HeardWord, ...] = ()
    unheard: str = ""
    remembered: bool = True


@dataclass(frozen=True, slots=True)
class ToolStarted(Event):
    """A tool is about to run; durable before it does. `tool_call_id` is unique within the call."""

    kind: ClassVar[str] = "tool_started"
    turn: int
    tool_call_id: str
    name: str
    arguments: JsonObject
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class ToolEnded(Event):
    """What the tool gave; durable before anything is spoken about it. `cut`: characters missing from the result."""

    kind: ClassVar[str] = "tool_ended"
    turn: int
    tool_call_id: str
    name: str
    ok: bool
    result: Json
    error: str | None = None
    cut: int = 0


@dataclass(frozen=True, slots=True)
class ToolRetried(Event):
    """Attempt number `attempt` (from 2) begins after `pause_s`; `error` is the kind of what ended the one before."""

    kind: ClassVar[str] = "tool_retried"
    turn: int
    tool_call_id: str
    name: str
    attempt: int
    error: str
    pause_s: float


@dataclass(frozen=True, slots=True)
class ToolJoined(Event):
    """The model asked for what `run` (a tool_call_id) does already: it was not done a second time."""

    kind: ClassVar[str] = "tool_joined"
    turn: int
    tool_call_id: str
    name: str
    arguments: JsonObject
    run: str


@dataclass(frozen=True, slots=True)
class ToolPartial(Event):
    """A part of a tool's result, `index` counted from 0; durable before it is spoken about."""

    kind: ClassVar[str] = "tool_partial"
    turn: int
    tool_call_id: str
    name: str
    index: int
    result: Json
    cut: int = 0


@dataclass(frozen=True, slots=True)
class ToolPending(Event):
    """The model was told that the tool still runs: its limit has passed, or only a part of its result is there."""

    kind: ClassVar[str] = "tool_pending"
    turn: int
    tool_call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCancelled(Event):
    """A tool without a side effect was cancelled: `why` is caller_spoke, too_long or call_ended."""

    kind: ClassVar[str] = "tool_cancelled"
    turn: int
    tool_call_id: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class ToolLate(Event):
    """The true outcome of a tool whose `ToolEnded` says that it is not known."""

    kind: ClassVar[str] = "tool_late"
    turn: int
    tool_call_id: str
    name: str
    ok: bool
    result: Json
    error: str | None = None
    cut: int = 0


@dataclass(frozen=True, slots=True)
class ToolNews(Event):
    """The model was told, in a note of its own, what became of these tool calls since it last asked."""

    kind: ClassVar[str] = "tool_news"
    turn: int
    tool_call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToolNote(Event):
    """What a tool wrote into the records; `tool_call_id` is empty where it was not a tool that did."""

    kind: ClassVar[str] = "tool_note"
    turn: int
    tool_call_id: str
    name: str
    value: Json


@dataclass(frozen=True, slots=True)
class Usage(Event):
    """What one vendor request consumed, as the vendor reported it unless it is `estimated`.

    One event per request: a price may depend on the size of the prompt. Keys of `quantities`: input_tokens
    (those neither read from nor written to the cache), cache_read_tokens, cache_write_5m_tokens,
    cache_write_1h_tokens, output_tokens, characters, audio_seconds, requests. `estimated`: a vendor that is
    cancelled may not report what it bills; then it is reckoned from the request that took its place.
    """

    kind: ClassVar[str] = "usage"
    turn: int
    stage: str
    vendor: str
    model: str
    quantities: dict[str, float]
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class VendorFailed(Event):
    kind: ClassVar[str] = "vendor_failed"
    turn: int
    stage: str
    vendor: str
    category: str
    message: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class StageTroubled(Event):
    """A stage kept the caller waiting, or failed, and what was done about it.

    `waited_ms` counts from what it was given, or from the last that came of it.

    what    no_transcript, no_first_token, no_first_audio, audio_stopped (it was silent for too long);
            tokens_stopped (or came slower than they are spoken), refused (an error in answer), dropped (the connection
            broke), truncated (the answer ended without its end marker, or at the limit of its length), empty (an
            answer without anything in it)
    action  retry (the same vendor again), next (another one), hedge (one more, beside the first), go_on (continue what
            has begun), kept (what came of the answer stands), gave_up (nothing is left to try, and the caller is told)
    """

    kind: ClassVar[str] = "stage_troubled"
    turn: int
    stage: str
    vendor: str
    what: str
    waited_ms: int
    action: str


@dataclass(frozen=True, slots=True)
class CallEnded(Event):
    """The last event of a call; `reason` is a short name (caller_left …), `detail` a sentence."""

    kind: ClassVar[str] = "call_ended"
    reason: str
    detail: str
    ok: bool


class Unknown(Event):
    """An event this version does not know, or whose fields do not fit: kept as it was written."""

    __slots__ = ("data", "kind")
    kind: str  # type: ignore[misc]  # per instance: one class stands for every kind we do not know
    data: JsonObject

    def __init__(self, kind: str, data: JsonObject) -> None:
        self.kind = kind
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unknown) and (self.kind, self.data) == (other.kind, other.data)

    def __hash__(self) -> int:
        return hash(self.kind)

    def __repr__(self) -> str:
        return f"Unknown(kind={self.kind!r}, data={self.data!r})"


KINDS: Mapping[str, type[Event]] = {
    event.kind: event
    for event in (
        CallStarted,
        RecordingClock,
        CallerJoined,
        CallerLeft,
        RoomChanged,
        SpeechStarted,
        SpeechEnded,
        Transcript,
        TurnStarted,
        SpokenOver,
        StageStarted,
        StageFirstByte,
        StageEnded,
        AgentSpeechStarted,
        AgentSpeechEnded,
        AgentText,
        ToolStarted,
        ToolEnded,
        ToolRetried,
        ToolJoined,
        ToolPartial,
        ToolPending,
        ToolCancelled,
        ToolLate,
        ToolNews,
        ToolNote,
        Usage,
        VendorFailed,
        StageTroubled,
        CallEnded,
    )
}


@cache
def _adapter(kind: str) -> TypeAdapter[Event]:
    return TypeAdapter(KINDS[kind])


def to_json(event: Event) -> JsonObject:
    """The event's fields as JSON values; the kind is not among them."""
    if isinstance(event, Unknown):
        return event.data
    return asdict(event)  # type: ignore[call-overload, no-any-return]  # every other Event is a dataclass


def from_json(kind: str, data: JsonObject) -> Event:
    """The inverse of `to_json`; never fails: what does not fit comes back as `Unknown`.

    Fields that a newer version added are ignored, so that an older one still reads what it understands.
    """
    if kind not in KINDS:
        return Unknown(kind, data)
    try:
        return _adapter(kind).validate_python(data)
    except ValidationError:
        return Unknown(kind, data)
