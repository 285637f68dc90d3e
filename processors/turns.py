"""Turns: when the caller has begun to speak, and when they have finished.

The policy is pure: it is told what was noticed and when, and says when the turn ends. Beneath it,
the strategy feeds it from Pipecat's frames and asks the end-of-turn model early, in the caller's
pause, so that its verdict is there by the time the pause is long enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregator, LLMUserAggregatorParams
from pipecat.turns.empty_user_turn import EmptyUserTurnConfig
from pipecat.turns.types import ProcessFrameResult
from pipecat.turns.user_mute.base_user_mute_strategy import BaseUserMuteStrategy
from pipecat.turns.user_stop.base_user_turn_stop_strategy import BaseUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from callwright.clock import Clock
from callwright.parts import Parts
from callwright.tools import Call
from callwright.upstream.ears import SMART_TURN_RATE, SmartTurn, SpeechMeter, is_settled
from processors.completeness import Completeness, judge
from processors.floor_keeper import FloorKeeper
from processors.interruptions import Interruptions
from processors.overlap import Overlap, OverlapWaits


@dataclass(frozen=True)
class Waits:
    """How long each doubt is given, in ms from the moment VAD reported the end of speech.

    incomplete_ms  the model says the caller has not finished: wait for more this long
    transcript_ms  there is text from before the pause, but the recogniser has not said that it is all
    grace_ms       text came within the pause from a recogniser that never says so
    empty_ms       nothing at all was recognised
    """

    incomplete_ms: float = 1200
    transcript_ms: float = 400
    grace_ms: float = 100
    empty_ms: float = 2000


class EndOfTurn:
    """Decides when one turn of the caller ends. Times are ms of any one clock.

    A turn ends when speech has stopped, the transcript is final (or was outwaited), and the caller has
    finished: the words say so, or they leave it open and the end-of-turn model says so; else the
    doubt is outwaited. Speech that starts again takes everything back.
    """

    def __init__(self, waits: Waits, *, language: str = "en") -> None:
        self._waits = waits
        self._language = language
        self.begin()

    def begin(self) -> None:
        """A new turn: nothing is known."""
        self._stopped_at: float | None = None
        self._complete: bool | None = None
        self._verdict_at = 0.0
        self._text = ""
        self._text_at = 0.0
        self._final_at: float | None = None

    def speech_started(self) -> None:
        self._stopped_at = None
        self._complete = None
        self._final_at = None

    def speech_stopped(self, now: float) -> None:
        self._stopped_at = now

    def speech_was_missed(self, now: float) -> None:
        """Words came while nobody was heard speaking: the pause, if none is known, begins now."""
        if self._stopped_at is None:
            self._stopped_at = now

    def verdict(self, complete: bool, now: float) -> None:
        """The end-of-turn model's opinion about the present pause."""
        self._complete = complete
        self._verdict_at = now

    def interim(self) -> None:
        """More words are on their way: an earlier final does not cover them."""
        self._final_at = None

    def transcript(self, text: str, now: float, *, final: bool) -> None:
        """Recognised text; `final` when the recogniser has flushed all the audio of the pause.

        Without words it says that there were none since the last that came, if it is final.
        """
        if text.strip():
            self._text = text
            self._text_at = now
        if final:
            self._final_at = now

    def ends_at(self, expected_by: float | None = None) -> float | None:
        """When the turn ends if nothing more happens; None while the caller speaks.

        `expected_by`: words are still on their way, and it is known by then whether they come.
        """
        stopped = self._stopped_at
        if stopped is None:
            return None
        words = judge(self._text, self._language)
        if words is Completeness.FINISHED:
            agreed = stopped
        elif words is Completeness.UNKNOWN and self._complete:
            agreed = max(stopped, self._verdict_at)
        else:
            agreed = stopped + self._waits.incomplete_ms
        if self._final_at is not None:
            settled = self._final_at
        elif self._text and self._text_at > stopped:
            settled = self._text_at + self._waits.grace_ms
        elif self._text:
            settled = stopped + self._waits.transcript_ms
        else:
            settled = stopped + self._waits.empty_ms
        if self._final_at is None and expected_by is not None:
            settled = max(settled, expected_by)
        return max(agreed, settled)


class TurnStop(BaseUserTurnStopStrategy):
    """Feeds the policy from frames, and ends the turn when it says so."""

    def __init__(
        self,
        policy: EndOfTurn,
        *,
        meter: SpeechMeter,
        model: SmartTurn | None,
        early_ms: float,
        clock: Clock,
        expected_by: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`expected_by`: until when words of the present pause may still come; None: none are awaited."""
        super().__init__()
        self._expected_by = expected_by
        self._policy = policy
        self._meter = meter
        self._model = model
        self._early_ms = early_ms
        self._clock = clock
        self._speech = bytearray()
        self._speaking = False
        self._asked = False
        self._pause = 0
        self._asking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e6

    async def handle_user_turn_started(self) -> None:
        # What is known of the pause stays: a turn may be granted to speech that has already ended.
        self._arm()

    async def handle_user_turn_stopped(self) -> None:
        self._cancel_timer()
        self._speech.clear()
        self._policy.begin()

    async def cleanup(self) -> None:
        self._cancel_timer()
        for task in (self._asking, self._ending):
            if task and not task.done():
                task.cancel()
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        await super().process_frame(frame)
        if isinstance(frame, InputAudioRawFrame):
            self._hear(frame.audio)
        elif isinstance(frame, VADUserStartedSpeakingFrame):
            self._speaking = True
            self._new_pause()
            self._policy.speech_started()
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self._speaking = False
            self._policy.speech_stopped(self._now())
            if self._model is None:
                self._policy.verdict(True, self._now())
            elif not self._asked:
                self._ask()
        elif isinstance(frame, TranscriptionFrame):
            if not self._speaking and frame.text.strip():
                self._policy.speech_was_missed(self._now())
            self._policy.transcript(frame.text, self._now(), final=is_settled(frame))
        elif isinstance(frame, InterimTranscriptionFrame):
            self._policy.interim()
        else:
            return ProcessFrameResult.CONTINUE
        self._arm()
        return ProcessFrameResult.CONTINUE

    def _hear(self, pcm: bytes) -> None:
        self._speech += pcm
        # Smart Turn looks at the last 8 s; before speech only a short run-in is kept.
        keep = 8 * SMART_TURN_RATE * 2 if self._speaking or self._asked else SMART_TURN_RATE
        if len(self._speech) > keep + SMART_TURN_RATE:
            del self._speech[:-keep]
        if not self._speaking:
            return
        if self._asked and self._meter.pause_ms == 0:
            self._new_pause()  # the pause was a breath; ask again in the next one
        elif not self._asked and self._model is not None and self._meter.pause_ms >= self._early_ms:
            self._ask()

    def _new_pause(self) -> None:
        self._pause += 1
        self._asked = False

    def _ask(self) -> None:
        self._asked = True
        samples = np.frombuffer(bytes(self._speech), dtype=np.int16)
        self._asking = asyncio.ensure_future(self._judge(samples, self._pause))

    async def _judge(self, samples: np.ndarray[tuple[int], np.dtype[np.int16]], pause: int) -> None:
        assert self._model is not None
        probability = await self._model.probability(samples)
        if pause == self._pause:
            self._policy.verdict(probability > 0.5, self._now())
            self._arm()

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._cancel_timer()
        ends_at = self._policy.ends_at(self._expected_by())
        if ends_at is None:
            return
        delay_s = max(0.0, ends_at - self._now()) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._end)

    def _end(self) -> None:
        self._timer = None
        ends_at = self._policy.ends_at(self._expected_by())
        if ends_at is not None and ends_at <= self._now() + 0.5:
            self._ending = asyncio.ensure_future(self.trigger_user_turn_stopped())
        else:
            self._arm()


NOT_UNDERSTOOD = "[The caller spoke over you, but no word was recognised. Ask them in a few words to say it again.]"


class DeafWhileEnding(BaseUserMuteStrategy):
    """Once the call is ending nothing the caller says is taken up: the farewell is not answered."""

    def __init__(self, call: Call) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._call = call

    async def process_frame(self, frame: Frame) -> bool:
        return self._call.ending


def _language(parts: Parts) -> str:
    """The language that the ears write; Flux's English model has no setting for it."""
    ears = parts.config.stt
    return str(ears.settings.get("language") or ("en" if ears.model.endswith("-en") else ""))


def listen(
    parts: Parts, keeper: FloorKeeper, *, busy: Callable[[], bool], overlap: Overlap | None = None
) -> LLMUserAggregator:
    """The processor that turns speech and transcripts into the caller's turns in the context.

    `busy` says whether the agent owes an answer although it does not speak. `overlap` decides what speech over
    the agent means, in place of our own policy.
    """
    turn = parts.config.turn
    meter = SpeechMeter(
        VADParams(
            confidence=turn.vad_confidence,
            start_secs=turn.vad_start_ms / 1000,
            stop_secs=turn.vad_stop_ms / 1000,
            min_volume=turn.vad_min_volume,
        )
    )
    language = _language(parts)
    end_of_turn = EndOfTurn(Waits(incomplete_ms=turn.incomplete_ms), language=language)
    start = Interruptions(
        overlap or Overlap(OverlapWaits(tail_ms=turn.vad_stop_ms), language=language),
        keeper,
        call=parts.call,
        meter=meter,
        rate=SMART_TURN_RATE,
        clock=parts.clock,
        busy=lambda: keeper.floor.busy or busy(),
        forget=end_of_turn.begin,
    )
    stop = TurnStop(
        end_of_turn,
        meter=meter,
        model=parts.smart_turn if turn.smart_turn else None,
        early_ms=turn.vad_stop_ms / 2,
        clock=parts.clock,
        expected_by=parts.ears.expected_by,
    )
    return LLMUserAggregator(
        parts.context,
        params=LLMUserAggregatorParams(
            vad_analyzer=meter,
            user_turn_strategies=UserTurnStrategies(
                start=[start],
                stop=[stop],
            ),
            user_mute_strategies=[DeafWhileEnding(parts.call)],
            # Our policy is the one that ends turns; this is only the cap on a turn that never ends.
            user_turn_stop_timeout=turn.max_turn_s,
            # A cough is not answered. But who took the floor without a recognised word is asked to say it again.
            empty_user_turn=EmptyUserTurnConfig(interrupted_prompt=NOT_UNDERSTOOD),
        ),
    )
