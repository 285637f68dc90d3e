"""The fold: a call's journal in, what happened in the call out. The same entries give the same record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from callwright.records import events
from callwright.records.events import Stage
from callwright.records.journal import Entry
from callwright.records.prices import Cost, PriceBook
from callwright.records.record import (
    CallRecord,
    FailureRecord,
    LineRecord,
    SpanRecord,
    TroubleRecord,
    TurnRecord,
    UsageRecord,
)
from callwright.records.timeline import Timeline
from callwright.records.tool_calls import ToolCalls

__all__ = ["UNKNOWN_END", "CallRecord", "fold"]

UNKNOWN_END = "unknown (no end recorded)"


def fold(call_id: str, entries: Sequence[Entry], prices: PriceBook) -> CallRecord:
    """Fold the entries of one call, in order. Raises ValueError if there are none."""
    if not entries:
        raise ValueError(f"call {call_id} has no journal")
    call = _Call(entries)
    for entry in entries:
        call.take(entry)
    start, started, ended = call.start, call.start.event, call.end
    header = started if isinstance(started, events.CallStarted) else None
    closing = ended.event if ended is not None and isinstance(ended.event, events.CallEnded) else None
    last = ended or entries[-1]
    usage, costs = _usage(call.usage, header.stages if header else {}, prices)
    turns = tuple(_turn(turn, call, costs) for _, turn in sorted(call.turns.items()) if turn.real)
    priced = [cost.usd for _, cost in costs if cost.usd is not None]
    unpriced = tuple(dict.fromkeys(cost.unpriced for _, cost in costs if cost.usd is None))
    return CallRecord(
        call_id=call_id,
        agent=header.agent if header else "",
        room=header.room if header else "",
        started=start.wall,
        ended=ended.wall if ended else None,
        duration_s=_duration_s(start, last),
        reason=closing.reason if closing else UNKNOWN_END,
        detail=closing.detail if closing else "",
        ok=closing.ok if closing else False,
        stages=dict(header.stages) if header else {},
        turns=turns,
        tools=tuple(tool for turn in turns for tool in turn.tools),
        usage=usage,
        failures=tuple(call.failures),
        troubles=tuple(call.troubles),
        cost_usd=None if unpriced else math.fsum(priced),
        priced_usd=math.fsum(priced),
        unpriced=unpriced,
        recording=header.recording if header else None,
        config=header.config if header else {},
        last_seq=entries[-1].seq,
    )


# --- gathering -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Span:
    started: events.StageStarted
    start_ns: int
    first_ns: int | None = None
    end_ns: int | None = None
    error: str | None = None


@dataclass(slots=True)
class _Turn:
    number: int
    caller_text: str = ""
    end_of_speech: int | None = None  # sample
    stt_final_ns: int | None = None
    committed_ns: int | None = None
    first_sound: int | None = None  # sample
    last_sound: int | None = None  # sample
    cut: bool = False
    spans: list[_Span] = field(default_factory=list)
    lines: list[LineRecord] = field(default_factory=list)
    tools: bool = False

    @property
    def real(self) -> bool:
        """Something was said or done. Speech that was recognised but never became a turn is none."""
        spoke = self.committed_ns is not None or self.first_sound is not None or self.tools or bool(self.lines)
        return spoke or any(span.started.stage != "stt" for span in self.spans)


class _Call:
    """The entries sorted by what they are about; nothing is computed here."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        of_start = [entry for entry in entries if isinstance(entry.event, events.CallStarted)]
        self.start: Entry = of_start[0] if of_start else entries[0]
        self.end: Entry | None = None
        self.timeline = Timeline(entries)
        self.turns: dict[int, _Turn] = {}
        self.usage: list[events.Usage] = []
        self.failures: list[FailureRecord] = []
        self.troubles: list[TroubleRecord] = []
        self.tools = ToolCalls()
        self._last_final_ns: int | None = None
        # By request, not by turn: a request may end when the next turn has begun.
        self._spans: dict[tuple[str, int], _Span] = {}

    def turn(self, number: int) -> _Turn:
        return self.turns.setdefault(number, _Turn(number))

    def take(self, entry: Entry) -> None:
        now = entry.monotonic_ns
        self.tools.take(entry.event, now)
        match entry.event:
            case events.CallEnded():
                self.end = entry
            case events.Transcript(final=True):
                self._last_final_ns = now
            case events.TurnStarted() as event:
                turn = self.turn(event.turn)
                turn.caller_text = event.text
                turn.committed_ns = now
                turn.end_of_speech = event.end_of_speech_sample if event.end_of_speech_sample >= 0 else None
                turn.stt_final_ns, self._last_final_ns = self._last_final_ns, None
            case events.StageStarted() as event:
                begun = self._spans[event.stage, event.request] = _Span(event, now)
                self.turn(event.turn).spans.append(begun)
            case events.StageFirstByte() as event:
                span = self._spans.get((event.stage, event.request))
                if span is not None and span.first_ns is None:
                    span.first_ns = now
            case events.StageEnded() as event:
                span = self._spans.get((event.stage, event.request))
                if span is not None:
                    span.end_ns, span.error = now, event.error
            case events.AgentSpeechStarted() as event:
                turn = self.turn(event.turn)
                if turn.first_sound is None:
                    turn.first_sound = event.sample
            case events.AgentSpeechEnded() as event:
                turn = self.turn(event.turn)
                turn.last_sound = event.sample
                turn.cut = turn.cut or event.interrupted
            case events.AgentText() as event:
                line = LineRecord(
                    event.text, event.role, event.interrupted, event.words, event.unheard, event.remembered
                )
                self.turn(event.turn).lines.append(line)
            case events.ToolStarted() | events.ToolEnded() | events.ToolJoined() as event:
                self.turn(event.turn).tools = True
            case events.Usage() as event:
                self.usage.append(event)
            case events.VendorFailed() as event:
                self.failures.append(FailureRecord(**asdict(event)))
            case events.StageTroubled() as event:
                self.troubles.append(TroubleRecord(**asdict(event)))
            case _:
                pass


# --- computing -------------------------------------------------------------------------------------------


def _duration_s(start: Entry, last: Entry) -> float:
    """By the monotonic clock; by the wall clock if another process, with another origin, went on."""
    elapsed_ns = last.monotonic_ns - start.monotonic_ns
    if elapsed_ns >= 0:
        return elapsed_ns / 1e9
    return max((last.wall - start.wall).total_seconds(), 0.0)


def _turn(turn: _Turn, call: _Call, costs: Iterable[tuple[events.Usage, Cost]]) -> TurnRecord:
    timeline = call.timeline
    origin = None if turn.end_of_speech is None else timeline.at(turn.end_of_speech)

    def since(moment_ns: int | None) -> float | None:
        return None if origin is None or moment_ns is None else (moment_ns - origin) / 1e6

    def heard(sample: int | None) -> float | None:
        # Both ends lie on the recording: exact to the sample, whatever the clocks do.
        if sample is None or turn.end_of_speech is None or not timeline.rate:
            return None
        return (sample - turn.end_of_speech) * 1000 / timeline.rate

    def first(stage: str) -> _Span | None:
        return next((span for span in turn.spans if span.started.stage == stage), None)

    llm, tts = first("llm"), first("tts")
    of_turn = [cost.usd for usage, cost in costs if usage.turn == turn.number]
    priced = [usd for usd in of_turn if usd is not None]
    return TurnRecord(
        number=turn.number,
        caller_text=turn.caller_text,
        agent_text=" ".join(line.text.strip() for line in turn.lines if line.text.strip()),
        interrupted=turn.cut or any(line.interrupted for line in turn.lines),
        stt_final_ms=since(turn.stt_final_ns),
        committed_ms=since(turn.committed_ns),
        llm_start_ms=since(llm.start_ns if llm else None),
        # Of several requests for one answer, the one that came first is it.
        llm_first_token_ms=since(
            min((span.first_ns for span in turn.spans if span.started.stage == "llm" and span.first_ns), default=None)
        ),
        tts_first_audio_ms=since(tts.first_ns if tts else None),
        first_sound_ms=heard(turn.first_sound),
        response_gap_ms=heard(_answered(turn)),
        end_ms=heard(turn.last_sound),
        cost_usd=math.fsum(priced) if len(priced) == len(of_turn) else None,
        tools=call.tools.of(turn.number),
        joined=call.tools.joined(turn.number),
        spans=tuple(
            SpanRecord(
                span.started.stage,
                span.started.vendor,
                span.started.model,
                span.started.request,
                since(span.start_ns),
                since(span.first_ns),
                since(span.end_ns),
                span.error,
            )
            for span in turn.spans
        ),
        lines=tuple(turn.lines),
    )


def _answered(turn: _Turn) -> int | None:
    """The sample at which the answer began: one stretch of sound may hold a filler and, right after it, the answer.

    None where nothing but fillers was said, or nothing says where the answer lies.
    """
    answer = next((number for number, line in enumerate(turn.lines) if line.role != "filler"), None)
    if answer is None:
        return None
    words = turn.lines[answer].words
    if words:
        return words[0].start
    return turn.first_sound if answer == 0 else None


def _usage(
    used: Iterable[events.Usage], stages: dict[str, Stage], prices: PriceBook
) -> tuple[tuple[UsageRecord, ...], list[tuple[events.Usage, Cost]]]:
    """Usage by model, and the cost of each request: a price may depend on the request's size."""
    costs = [(usage, prices.cost(usage)) for usage in used]
    models: dict[tuple[str, str, str], list[tuple[events.Usage, Cost]]] = {}
    for usage, cost in costs:
        models.setdefault((usage.stage, usage.vendor, usage.model), []).append((usage, cost))
    order = {"stt": 0, "llm": 1, "tts": 2}
    records: list[UsageRecord] = []
    for (stage, vendor, model), group in sorted(models.items(), key=lambda item: order.get(item[0][0], 3)):
        quantities: dict[str, float] = {}
        for usage, _ in group:
            for key, value in usage.quantities.items():
                quantities[key] = quantities.get(key, 0) + value
        unpriced = [cost.unpriced for _, cost in group if cost.usd is None]
        known = stages.get(stage)
        records.append(
            UsageRecord(
                stage=stage,
                vendor=vendor,
                model=model,
                stand_in=known is not None and known.stand_in and known.vendor == vendor,
                quantities=quantities,
                cost_usd=None if unpriced else math.fsum(cost.usd or 0 for _, cost in group),
                dated=min((cost.dated for _, cost in group if cost.dated), default=""),
                sources=tuple(dict.fromkeys(price.source for _, cost in group for price in cost.prices)),
                unpriced=unpriced[0] if unpriced else "",
            )
        )
    return tuple(records), costs
