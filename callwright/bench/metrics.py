"""Conversation time, computed from what the caller recorded and what the vendors' stand-ins really served.

Pure: a tape, what was heard on it, a served log, the system's configured wait and the transport time go in, figures
come out. The answer begins with the first words that the model wrote, be it before a tool runs: a filler is none. All
moments are seconds of the monotonic clock, which all processes of one machine share.

The way from the caller's last word to the agent's first sound, and what each part of it is called here:

    end ──► Finalize ──► final ──► prompt ──► first token ──► text ──► first audio ──► sound
       hearing      (stt)    deciding     (llm)         wording    (tts)        speaking

In brackets what the vendors took, which is subtracted; the rest is the framework's, and its four parts add
up to `added_latency_ms` exactly, once the configured wait and one crossing of the room are taken off
hearing, and the other crossing off speaking. The silence that a voice begins with is not subtracted: it is the
framework's to play or to drop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callwright.bench.utterances import Spoken
from callwright.simulators import caller_report, sound
from callwright.simulators.account import Served
from callwright.simulators.tape import Tape

JOIN_MS = 100
"""Sounds less than this apart are one stretch: the stop consonants within words are no silence."""


@dataclass(frozen=True)
class HeardTurn:
    """One thing the caller said and what came of it, on the monotonic clock (s).

    `until` is when the caller began to speak again, or the end of the tape. `sounds` are the stretches of
    agent sound that began between `end` and `until`. `overlapped`: the agent was speaking when the caller
    ended and went on, so there is no gap to measure. `mute`: no agent sound arrived within 5 s. `answer` is when
    the first of the model's own words were heard, None if none were; `voice` is the context that they are from.
    """

    text: str
    end: float
    until: float
    sounds: tuple[tuple[float, float], ...]
    overlapped: bool
    mute: bool
    answer: float | None = None
    voice: str = ""


@dataclass(frozen=True)
class Injected:
    """What the vendors' stand-ins really took on one turn, ms; 0 where the system did not wait for it.

    `llm_ms` is the first-token delay of every request that was answered before the first sound: a request that only
    calls a tool is waited for like any other.
    """

    stt_ms: float
    llm_ms: float
    tts_ms: float

    @property
    def ms(self) -> float:
        return self.stt_ms + self.llm_ms + self.tts_ms


@dataclass(frozen=True)
class Parts:
    """Where the added time of one turn went, ms; see the picture above. Their sum is the added latency."""

    hearing_ms: float
    deciding_ms: float
    wording_ms: float
    speaking_ms: float


@dataclass(frozen=True)
class TurnTimes:
    """The conversation-time metrics of one turn; None where there is nothing to measure.

    `unmatched` says why the vendors' work could not be told apart on this turn, "" if it could.
    """

    response_gap_ms: float | None
    first_sound_ms: float | None
    longest_silence_ms: float
    mute: bool
    injected: Injected | None
    added_latency_ms: float | None
    parts: Parts | None
    unmatched: str


def heard_turns(tape: Tape, spoken: Sequence[Spoken]) -> tuple[HeardTurn, ...]:
    """The caller's turns of a tape, in order; a cough is none. `spoken` is what was heard of the agent on it."""
    own = [one for one in spoken if one.kind in ("answer", "preamble")]
    heard = tape.heard_samples()
    stretches = sound.stretches(heard, tape.rate, join_ms=JOIN_MS)
    turns = caller_report.turns(tape)
    finish = max(len(heard), tape.sent.count)
    found = []
    for index, turn in enumerate(turns):
        until = turns[index + 1].start if index + 1 < len(turns) else finish
        sounds = tuple(
            (tape.seconds(begin), tape.seconds(min(stop, until)))
            for begin, stop in stretches
            if turn.answer_start is not None and turn.answer_start <= begin < until
        )
        answer = next((one for one in own if turn.end <= one.begin * tape.rate < until), None)
        found.append(
            HeardTurn(
                text=turn.text,
                end=tape.seconds(turn.end),
                until=tape.seconds(until),
                sounds=sounds,
                overlapped=turn.overlapped,
                mute=turn.mute,
                answer=tape.origin_s + answer.begin if answer else None,
                voice=answer.context if answer else "",
            )
        )
    return tuple(found)


def turn_times(turn: HeardTurn, served: Sequence[Served], *, wait_ms: float, transport_ms: float) -> TurnTimes:
    """The figures of one turn.

    `served` is the whole log of the call's account; `wait_ms` the system's configured end-of-turn wait,
    `transport_ms` both crossings of the room.
    """
    silence = _longest_silence_ms(turn)
    if turn.overlapped or not turn.sounds:
        why = "the agent was speaking when the caller ended" if turn.overlapped else "no sound came"
        return TurnTimes(None, None, silence, turn.mute, None, None, None, why)
    first_ms = (turn.sounds[0][0] - turn.end) * 1000
    if turn.answer is None:
        return TurnTimes(None, first_ms, silence, turn.mute, None, None, None, "no word of the model's was heard")
    gap_ms = (turn.answer - turn.end) * 1000
    chain = _chain(turn, served)
    if isinstance(chain, str):
        return TurnTimes(gap_ms, first_ms, silence, turn.mute, None, None, None, chain)
    injected = chain.injected
    return TurnTimes(
        response_gap_ms=gap_ms,
        first_sound_ms=first_ms,
        longest_silence_ms=silence,
        mute=turn.mute,
        injected=injected,
        added_latency_ms=gap_ms - injected.ms - wait_ms - transport_ms,
        parts=_parts(turn, chain, turn.answer, wait_ms, transport_ms),
        unmatched="",
    )


def cache_read_ratio(turns: Sequence[HeardTurn], served: Sequence[Served]) -> tuple[float, float]:
    """Prompt tokens read from the cache, and all prompt tokens, from the caller's second turn on."""
    if len(turns) < 2:
        return 0.0, 0.0
    read = total = 0.0
    for line in served:
        usage = line.detail.get("usage")
        if line.stage != "llm" or line.what != "reply" or not isinstance(usage, dict):
            continue
        if (line.request_at or line.at) < turns[1].end:
            continue
        counts = {name: value for name, value in usage.items() if isinstance(value, int | float)}
        cached = counts.get("cache_read_input_tokens", 0)
        read += cached
        total += counts.get("input_tokens", 0) + cached + counts.get("cache_creation_input_tokens", 0)
    return read, total


# ---------------------------------------------------------------------- inside


@dataclass(frozen=True)
class _Chain:
    """What the vendors served one after the other to make a turn's answer."""

    final: Served
    requests: tuple[Served, ...]  # first tokens, in order; the last one's words were spoken first
    voice: Served

    @property
    def waited_for_final(self) -> bool:
        """Whether the model was asked only once the recogniser's reply to Finalize was out."""
        return _asked(self.requests[0]) >= self.final.at

    @property
    def injected(self) -> Injected:
        return Injected(
            stt_ms=self.final.delay_ms if self.waited_for_final else 0.0,
            llm_ms=sum(line.delay_ms for line in self.requests),
            tts_ms=self.voice.delay_ms,
        )


def _chain(turn: HeardTurn, served: Sequence[Served]) -> _Chain | str:
    """The chain of this turn, or why there is none."""
    lines = [line for line in served if line.request_at is not None and turn.end <= line.request_at < turn.until]
    cancelled = {line.request_id for line in served if line.stage == "llm" and line.what == "cancelled"}
    finals = [line for line in lines if line.stage == "stt" and line.what == "final"]
    tokens = [line for line in lines if line.stage == "llm" and line.what == "first_token"]
    if not finals:
        return "no Finalize came after the end of speech"
    if not tokens:
        return "the model was not asked after the end of speech"
    spoken = [line for line in lines if line.what == "first_audio" and line.context_id == turn.voice]
    voice = next((line for line in spoken if _asked(line) >= tokens[0].at), None)
    if voice is None:
        return "the voice was not asked for the answer after the model's first token"
    before = [line for line in tokens if line.at <= _asked(voice)]
    # A request that was taken back for a newer one made nothing wait but itself; the last is the answer's.
    kept = [line for line in before[:-1] if line.request_id not in cancelled]
    requests = (*kept, before[-1])
    asked = _asked(requests[0])
    # The Finalize that ended the turn: the last one before the model was asked. A breath has its own.
    final = next((line for line in reversed(finals) if _asked(line) <= asked), finals[0])
    return _Chain(final, requests, voice)


def _parts(turn: HeardTurn, chain: _Chain, answer: float, wait_ms: float, transport_ms: float) -> Parts:
    asked_first = _asked(chain.requests[0])
    finalised = _asked(chain.final)
    decided_from = chain.final.at if chain.waited_for_final else finalised
    between = sum(
        _asked(later) - earlier.at for earlier, later in zip(chain.requests, chain.requests[1:], strict=False)
    )
    return Parts(
        hearing_ms=(finalised - turn.end) * 1000 - wait_ms - transport_ms / 2,
        deciding_ms=(asked_first - decided_from + between) * 1000,
        wording_ms=(_asked(chain.voice) - chain.requests[-1].at) * 1000,
        speaking_ms=(answer - chain.voice.at) * 1000 - transport_ms / 2,
    )


def _asked(line: Served) -> float:
    return line.at if line.request_at is None else line.request_at


def _longest_silence_ms(turn: HeardTurn) -> float:
    """From the end of the caller's speech to the end of the answer; to the end of the turn if none came."""
    if not turn.sounds:
        return 0.0 if turn.overlapped else (turn.until - turn.end) * 1000
    longest, quiet_from = 0.0, turn.end
    for begin, stop in turn.sounds:
        longest = max(longest, begin - quiet_from)
        quiet_from = stop
    return longest * 1000
