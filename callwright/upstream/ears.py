"""The caller's sound: voice activity, the end-of-turn model, what the recogniser settles."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams, VADState
from pipecat.frames.frames import TranscriptionFrame
from pipecat.utils.time import time_now_iso8601
from websockets.protocol import State

from callwright.loudness import Loudness

SMART_TURN_RATE = 16_000
"""Hz; the rate Smart Turn v3 was trained at."""


class SpeechMeter(SileroVADAnalyzer):
    """Silero VAD that is exact about the end of speech and tells of a pause as soon as it begins.

    Silero decides what is speech. Once it says that speech is stopping, the configured silence is
    counted from the last audible 10 ms instead of from Silero's own, later, last window; where the
    room is never quiet, Silero's count alone decides, as in the stock analyzer.
    """

    CONFIRMING_WINDOWS = 2  # Silero must have said "no speech" for 64 ms

    def __init__(self, params: VADParams) -> None:
        super().__init__(params=params)
        self._loudness: Loudness | None = None
        self.pause_ms = 0
        """How long the speaker has been silent, by whichever sees it first; 0 while they speak."""
        self.speech_ms = 0
        """How long it has sounded like speech, up to the time after which it is believed to be; 0 in silence."""

    def _run_analyzer(self, buffer: bytes) -> VADState:
        if self._loudness is None:
            self._loudness = Loudness(self.sample_rate)
        before = self._vad_state
        self._loudness.feed(np.frombuffer(buffer, np.int16))
        state: VADState = super()._run_analyzer(buffer)
        if state == VADState.STARTING and before == VADState.QUIET:
            self._loudness.begin()
        if (
            state == VADState.STOPPING
            and self._vad_stopping_count >= self.CONFIRMING_WINDOWS
            and self._loudness.quiet_ms >= self.params.stop_secs * 1000
        ):
            self._vad_state = state = VADState.QUIET
            self._vad_stopping_count = 0
        window_ms = self.num_frames_required() * 1000 // self.sample_rate
        stopping_ms = self._vad_stopping_count * window_ms if state == VADState.STOPPING else 0
        self.pause_ms = max(stopping_ms, self._loudness.quiet_ms) if state != VADState.SPEAKING else 0
        self.speech_ms = self._vad_starting_count * window_ms if state == VADState.STARTING else 0
        if state in (VADState.SPEAKING, VADState.STOPPING):
            self.speech_ms = round(self.params.start_secs * 1000)
        return state


def is_settled(frame: TranscriptionFrame) -> bool:
    """Whether the recogniser says that this text covers all the speech up to the present pause.

    Pipecat marks the reply to its own Finalize; Deepgram also says `speech_final` of finals it ends itself.
    """
    return bool(frame.finalized) or bool(getattr(frame.result, "speech_final", False))


def reaches_s(frame: TranscriptionFrame) -> float | None:
    """Up to which second of the audio of its connection this final text goes; None where the vendor does not say.

    Deepgram's finals cover spans that follow each other without a gap.
    """
    start, duration = getattr(frame.result, "start", None), getattr(frame.result, "duration", None)
    return float(start) + float(duration) if start is not None and duration is not None else None


def is_connected(service: Any) -> bool:
    """Whether a recogniser has its connection: Pipecat reports a lost one late, or, closed with 1000, never.

    Deepgram's service keeps it in `_connection`, Flux and others a socket in `_websocket`. One with neither is
    taken to need none.
    """
    socket = getattr(service, "_websocket", service)
    if socket is not service:
        return socket is not None and socket.state is State.OPEN
    return getattr(service, "_connection", service) is not None


class EmptyFinals:
    """Mixin for Deepgram's service, which keeps it to itself when the answer to a Finalize has no words in it.

    That nothing was said is news as well: a cough need not be waited for.
    """

    async def _on_message(self, message: Any) -> None:
        await super()._on_message(message)  # type: ignore[misc]
        service: Any = self
        if getattr(message, "from_finalize", False) and service._finalize_pending:
            user, now = service._user_id, time_now_iso8601()
            await service.push_frame(TranscriptionFrame("", user, now, result=message))


class SmartTurn:
    """Smart Turn v3: how probable it is, by the sound alone, that the speaker has finished.

    One model and one thread for all calls of the process: an inference takes 30-50 ms on one core.
    """

    def __init__(self) -> None:
        self._model = LocalSmartTurnAnalyzerV3(sample_rate=SMART_TURN_RATE)
        self._model.set_sample_rate(SMART_TURN_RATE)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="smart-turn")

    async def probability(self, samples: npt.NDArray[np.int16]) -> float:
        """Probability in 0..1 that the turn in `samples` (16 kHz mono, the last 8 s count) is complete."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._predict, samples)

    def _predict(self, samples: npt.NDArray[np.int16]) -> float:
        return float(self._model._predict_endpoint(samples.astype(np.float32) / 32768.0)["probability"])

    def close(self) -> None:
        self._thread.shutdown(wait=False)


@functools.cache
def smart_turn() -> SmartTurn:
    """The process's one end-of-turn model, loaded on first use (about 0.1 s)."""
    return SmartTurn()
