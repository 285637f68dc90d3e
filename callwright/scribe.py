"""The scribe: watches the stages from outside and writes what they do into the journal.

It hangs on Pipecat's own hooks of each processor, so it adds no hop to the audio's way and notes
each fact at the instant it happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from loguru import logger
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    Frame,
    InterimTranscriptionFrame,
    LLMContextUserTurnFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from callwright.clock import Clock
from callwright.config import StageConfig
from callwright.errors import RecordsError
from callwright.records import events
from callwright.records.journal import Journal
from callwright.requests import vendor_failed
from callwright.room import Room
from callwright.stage import Stage


@dataclass
class _Stage:
    """The requests of one stage: how many there were, and how far the open one is.

    A mind asks several vendors, often at once: its requests are on record by `requests.Requests`.
    """

    name: str
    vendor: str
    model: str
    request: int = 0
    open: bool = False
    answered: bool = False
    turn: int = 0


class Scribe:
    """Writes one call's facts as its processors show them."""

    def __init__(self, journal: Journal, room: Room, stages: Mapping[Stage, StageConfig], clock: Clock) -> None:
        self.turn = 0
        self._journal = journal
        self._room = room
        self._stages = {name: _Stage(name, config.vendor, config.model) for name, config in stages.items()}
        self._speech_ended = -1
        self._answering = self._sounding_turn = 0
        self._agent_sounding = False
        self._paused: events.AgentSpeechEnded | None = None
        self._caller_speaking = False
        self._clock = clock
        self._sound_ns = clock.monotonic_ns()

    def note(self, event: events.Event) -> None:
        """Append; a disk that fails must not silence the call, so it is logged and the call's end tells."""
        try:
            self._journal.append(event)
        except RecordsError as error:
            logger.error("the records are incomplete: {}", error)

    # -- what it hangs on

    def watch(self, *, ears: FrameProcessor, mind: FrameProcessor) -> None:
        """Hang on two of the stages and on the room's output; the voices tell by themselves."""
        ears.add_event_handler("on_before_push_frame", self._ears_pushed)
        mind.add_event_handler("on_before_process_frame", self._mind_received)
        self._room.output.add_event_handler("on_before_push_frame", self._output_pushed)

    def silence_s(self, now_ns: int) -> float:
        """Seconds since either side made a sound; 0 while one does."""
        return 0.0 if self._agent_sounding or self._caller_speaking else (now_ns - self._sound_ns) / 1e9

    # -- ears

    async def _ears_pushed(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, TranscriptionFrame):
            self._first_byte("stt")
            if frame.text.strip():
                self.note(events.Transcript(text=frame.text, final=True, sample=self._room.now()))
            if frame.finalized:
                self._end("stt")
        elif isinstance(frame, InterimTranscriptionFrame):
            self.note(events.Transcript(text=frame.text, final=False, sample=self._room.now()))

    # -- mind

    async def _mind_received(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self._caller_speaking = True
            self.note(events.SpeechStarted(self._ago(frame.start_secs)))
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self._caller_speaking = False
            self._sound_ns = self._clock.monotonic_ns()
            self._speech_ended = self._ago(frame.stop_secs)
            self.note(events.SpeechEnded(self._speech_ended))
            self._start("stt", self.turn + 1)  # the turn that is now being spoken
        elif isinstance(frame, LLMContextUserTurnFrame):
            self.turn += 1
            self.note(events.TurnStarted(turn=self.turn, text=frame.text, end_of_speech_sample=self._speech_ended))

    # -- what the voices tell (failover.voice.Witness)

    def voice_asked(self, voice: StageConfig) -> None:
        stage = self._stages["tts"]
        self._end("tts")
        stage.vendor, stage.model = voice.vendor, voice.model
        self._start("tts")

    def voice_sounds(self) -> None:
        self._first_byte("tts")

    def voice_ended(self, error: str | None) -> None:
        self._end("tts", error)

    def voice_used(self, voice: StageConfig, characters: int) -> None:
        quantities = {"characters": float(characters), "requests": 1.0}
        self.note(events.Usage(self.turn, "tts", voice.vendor, voice.model, quantities))

    def voice_troubled(self, voice: StageConfig, what: str, waited_ms: int, action: str, category: str | None) -> None:
        self.note(events.StageTroubled(self.turn, "tts", voice.vendor, what, waited_ms, action))
        if category is not None:
            self.vendor_failed("tts", voice, category)

    # -- what becomes of the lines (lines.Witness)

    def line_rendered(self, stage: StageConfig, characters: int) -> None:
        self.voice_used(stage, characters)

    def line_failed(self, stage: StageConfig, category: str) -> None:
        self.vendor_failed("tts", stage, category)

    # -- the room

    def answering(self, turn: int) -> None:
        """The agent audio that is submitted next belongs to an answer to that turn."""
        self._answering = turn

    def agent_audio(self, position: int) -> None:
        """Agent audio that will sound at `position` was submitted."""
        if not self._agent_sounding:
            self._agent_paused(interrupted=False)  # it was only a pause
            self._agent_sounding = True
            self._sounding_turn = self._answering
            self.note(events.AgentSpeechStarted(turn=self._answering, sample=position))

    def agent_cut(self, position: int) -> None:
        """The agent was silenced at `position`; whether for good is not known yet."""
        if self._agent_sounding:
            self._agent_sounding = False
            self._sound_ns = self._clock.monotonic_ns()
            self._paused = events.AgentSpeechEnded(turn=self._sounding_turn, sample=position, interrupted=False)

    def interrupted(self) -> None:
        """The agent will not go on with what it was saying."""
        self._agent_paused(interrupted=True)

    def _agent_paused(self, *, interrupted: bool) -> None:
        if self._paused is not None:
            ended, self._paused = self._paused, None
            self.note(replace(ended, interrupted=interrupted))

    async def _output_pushed(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, BotStoppedSpeakingFrame):
            self._agent_silent(self._room.playout.end)

    def _agent_silent(self, position: int) -> None:
        if self._agent_sounding:
            self._agent_sounding = False
            self._sound_ns = self._clock.monotonic_ns()
            self.note(events.AgentSpeechEnded(turn=self._sounding_turn, sample=position, interrupted=False))
        self._agent_paused(interrupted=False)

    # -- stages

    def _ago(self, seconds: float) -> int:
        return max(0, self._room.now() - round(seconds * self._room.rate))

    def _start(self, name: Stage, turn: int | None = None) -> None:
        stage = self._stages[name]
        self._end(name)
        stage.request += 1
        stage.open, stage.answered = True, False
        stage.turn = self.turn if turn is None else turn
        self.note(events.StageStarted(stage.turn, name, stage.vendor, stage.model, stage.request))

    def _first_byte(self, name: Stage) -> None:
        stage = self._stages[name]
        if stage.open and not stage.answered:
            stage.answered = True
            self.note(events.StageFirstByte(stage.turn, name, stage.request))

    def _end(self, name: Stage, error: str | None = None) -> None:
        stage = self._stages[name]
        if stage.open:
            stage.open = False
            self.note(events.StageEnded(stage.turn, name, stage.request, error))

    def serves(self, stage: Stage, config: StageConfig, error: str | None = None) -> None:
        """That vendor does the stage's work from now on; a request that is open ended with `error` and is its now."""
        now = self._stages[stage]
        moved = now.open
        self._end(stage, error)
        now.vendor, now.model = config.vendor, config.model
        if moved:
            self._start(stage, now.turn)

    def vendor_failed(
        self, stage: Stage, config: StageConfig, category: str, *, permanent: bool | None = None
    ) -> events.VendorFailed:
        """Note it, see `requests.vendor_failed`."""
        failed = vendor_failed(self.turn, stage, config, category, permanent=permanent)
        self.note(failed)
        return failed

    def used(self, stage: Stage, config: StageConfig, quantities: dict[str, float]) -> None:
        """What a vendor, perhaps no longer the stage's present one, has consumed."""
        self.note(events.Usage(self.turn, stage, config.vendor, config.model, quantities))
