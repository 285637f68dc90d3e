"""One call, one owner: everything a call starts is ended here, in one place, in bounded time.

open records ─► build parts ─► join room ─► greet ─► … conversation … ─► end ─► write the call's row
                                                                          ▲
          caller gone · farewell said · vendor dead · cap · signal · bug ─┘
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger
from pipecat.frames.frames import ControlFrame, ErrorFrame
from pipecat.pipeline.pipeline import Pipeline as PipecatPipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.workers.runner import WorkerRunner

from callwright.agent import Agent
from callwright.clock import Clock, SystemClock
from callwright.config import Config
from callwright.ending import Ending
from callwright.errors import CallwrightError, ConfigError, RecordsError, RoomError
from callwright.filler_lines import lines_of
from callwright.lane import Lane
from callwright.lines import Lines, Shelf
from callwright.parts import Parts
from callwright.pipeline import arrange, pipeline_function
from callwright.records import events
from callwright.records.database import Database
from callwright.records.fold import CallRecord
from callwright.records.journal import Entry, Journal
from callwright.records.recording import Recording
from callwright.records.tables import write_call
from callwright.room import Credentials, Room, room_error
from callwright.scribe import Scribe
from callwright.speech import Say
from callwright.stage import STAGES
from callwright.stages import build_ears, build_mind, build_voices
from callwright.tool_call import CallRecords, Said, conversation
from callwright.trouble import Trouble, fixed_lines, parting
from callwright.upstream.ears import SMART_TURN_RATE, smart_turn

HEARD_LIMIT_S = 3.0
"""How long the greeting waits for the caller's client to subscribe to the agent's voice (0.2 s on loopback)."""

TOOLS_LIMIT_S = 15.0
"""How long a side effect that is under way may hold up the end of the call: the gate's own grace, and a little."""

CONNECTED = "[The caller is connected.]"
"""First user message of every call: the vendors want a user first, and what varies must not be ahead of the cache."""


@dataclass(frozen=True)
class Outcome:
    """What is left when a call is over."""

    record: CallRecord
    ending: Ending


class _Spoken(ControlFrame):
    """Travels behind the words queued before it: when it has passed the room's output, they were played."""

    def __init__(self) -> None:
        super().__init__()
        self.interruptible = False
        self.done = asyncio.Event()


class LiveCall:
    """One call of one agent in one room. `run` it once; it is what tools know as `Call`."""

    def __init__(
        self,
        agent: Agent,
        config: Config,
        room: str,
        *,
        script: Path | None = None,
        call_id: str | None = None,
        clock: Clock | None = None,
        watch: Callable[[Entry], None] | None = None,
    ) -> None:
        self.id = self.idempotency_key = call_id or new_call_id()
        self._agent = agent
        self._config = config
        self._room_name = room
        self._script = script
        self._clock = clock or SystemClock()
        self._watch = watch
        self._ending: asyncio.Future[Ending] | None = None
        self._reason: Ending | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker: PipelineWorker | None = None
        self._parts: Parts | None = None
        self._records: CallRecords | None = None
        self._order: list[FrameProcessor] = []
        self._recording: Recording | None = None
        self._recorded = Lane(SMART_TURN_RATE, config.room.output_rate)
        self._caller_there = asyncio.Event()
        self._lines: Lines | None = None

    # -- what tools may do (tools.Call)

    @property
    def caller(self) -> str:
        return self._parts.room.caller or "" if self._parts else ""

    @property
    def records(self) -> CallRecords:
        assert self._records is not None, "a call has records once it has begun"
        return self._records

    @property
    def memory(self) -> tuple[Said, ...]:
        return conversation(self._parts.context.messages) if self._parts else ()

    async def say(self, text: str, *, remember: bool = True) -> None:
        """Queue `text` to be spoken; unless `remember` is false the model is shown what was heard of it."""
        await self._say(Say(text, role="statement" if remember else "filler", remembered=remember))

    def queue(self, line: Say) -> None:
        """Have `line` said, without waiting."""
        self._spawn(self._say(line))

    async def _say(self, line: Say) -> None:
        if self._worker:
            await self._worker.queue_frame(line)

    async def end(self, farewell: str | None = None) -> None:
        """End politely: what is being said and the farewell are played, at most `call.end_timeout_s` long."""
        self.hang_up(Ending("agent_ended", "the agent ended the call", ok=True), farewell)

    async def transfer(self, to: str, farewell: str | None = None) -> None:
        """End the call for `to`'s sake: the record names them, but nobody is connected, for want of telephony."""
        detail = f"for {to}: the call ended, there is no telephony yet to connect them"
        self.hang_up(Ending("transferred", detail, ok=True), farewell)

    def hang_up(self, ending: Ending, farewell: str | None = None) -> None:
        """End for that reason after the farewell; the first reason given is the one that is kept."""
        if self.ending:
            return
        self._reason = ending
        if self._caller_there.is_set():
            self._spawn(self._finish(ending, farewell))
        else:
            self.drop(ending)  # to whom would it be said

    def drop(self, ending: Ending) -> None:
        """End at once, for the reason that was given first."""
        self._reason = self._reason or ending
        if self._ending and not self._ending.done():
            self._ending.set_result(self._reason)

    @property
    def ending(self) -> bool:
        """Whether the call is over, or as good as: nothing more is asked of the model."""
        return self._reason is not None

    # -- the one way in and the one way out

    async def run(self) -> Outcome:
        """Hold the call to its end and write its records.

        Raises ConfigError, AgentError or RecordsError when the call cannot begin. Once it has begun it
        does not raise: the outcome's ending says what happened.
        """
        database = await asyncio.to_thread(Database.open, self._config.records.database)
        try:
            journal = await Journal.open(database, self.id, self._clock)
            if self._watch:
                journal.subscribe(self._watch)
            self._ending = asyncio.get_running_loop().create_future()
            if self._reason:  # a signal came before the call had begun
                self._ending.set_result(self._reason)
            try:
                ending = await self._hold(journal)
            except asyncio.CancelledError:
                ending = Ending("cancelled", "the program that held the call ended it", ok=False)
            except BaseException:
                await journal.aclose()
                raise
            ending = await self._seal(journal, ending)
            record = await asyncio.to_thread(write_call, database, self.id)
        finally:
            database.close()
        if ending.reason == "cancelled":
            raise asyncio.CancelledError(ending.detail)
        return Outcome(record, ending)

    async def _seal(self, journal: Journal, ending: Ending) -> Ending:
        """Write the end as the journal's last fact; where the disk failed, that is what ended the call."""
        try:
            journal.append(events.CallEnded(ending.reason, ending.detail, ending.ok))
            await journal.aclose()
        except RecordsError as error:
            return Ending("records_failed", str(error), ok=False, error=error)
        return ending

    async def _hold(self, journal: Journal) -> Ending:
        """Build, run and close the pipeline; what ended it."""
        # Vendors' packages and TLS contexts take up to seconds, in which no other call of the process may stand still.
        parts = self._parts = await asyncio.to_thread(self._build, journal)
        try:
            order = self._order = arrange(pipeline_function(self._agent, self._config), parts)
            if self._config.records.record_audio:
                path = Path(self._config.records.recordings) / f"{self.id}.wav"
                self._recording = Recording(path, self._config.room.output_rate)
        except BaseException:
            await parts.mind.release()  # nothing else has been opened yet
            raise
        journal.append(self._started(parts))
        journal.append(events.RecordingClock(sample=parts.room.now()))
        worker = self._worker = PipelineWorker(
            PipecatPipeline(order),
            params=PipelineParams(
                audio_in_sample_rate=SMART_TURN_RATE,
                audio_out_sample_rate=self._config.room.output_rate,
                enable_metrics=True,
                enable_usage_metrics=True,
            ),
            enable_rtvi=False,  # any participant could forge tool results through it
            enable_turn_tracking=False,
            cancel_on_idle_timeout=False,
            cancel_runner_on_idle_timeout=False,
            processor_unusable_policy=ProcessorUnusablePolicy.CONTINUE,  # the call decides, not the worker
            cancel_timeout_secs=3,
            setup_timeout_secs=self._config.room.connect_timeout_s + 5,
        )
        worker.set_reached_downstream_filter((_Spoken,))
        worker.add_event_handler("on_frame_reached_downstream", self._reached_end)
        worker.add_event_handler("on_pipeline_error", self._processor_failed)
        worker.add_event_handler("on_pipeline_started", self._pipeline_started)
        worker.add_event_handler("on_setup_timeout", self._setup_timed_out)
        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run(), name=f"call-{self.id}")
        assert self._ending is not None
        try:
            ends: set[asyncio.Future[Any]] = {running, self._ending}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not self._ending.done():
                self._ending.set_result(self._stopped_by_itself())
            return self._ending.result()
        finally:
            await self._close(parts, runner, running)

    def _build(self, journal: Journal) -> Parts:
        config, agent = self._config, self._agent
        room = Room(
            config.room,
            Credentials(*config.room.credentials()),
            self._room_name,
            agent_name=agent.name,
            rate=config.room.output_rate,
            clock=self._clock,
            listener=self,
        )
        scribe = Scribe(journal, room, {stage: config.stage(stage) for stage in STAGES}, self._clock)
        trouble = Trouble(self, agent, config, scribe)
        rate = config.room.output_rate
        self._lines = Lines(Shelf(Path(config.call.lines_cache)), config.tts.line, rate, scribe)
        ears = build_ears(config, scribe, trouble, self._clock)

        def store_ms() -> float:
            return room.playback.store * 1000 / rate

        mind = build_mind(agent, config, scribe, trouble, self._clock, store_ms=store_ms)
        voice = build_voices(config, self._lines, scribe, trouble, self._clock, store_ms=store_ms)
        context = LLMContext([{"role": "user", "content": CONNECTED}])
        scribe.watch(ears=ears, mind=mind)
        self._records = CallRecords(journal, lambda: scribe.turn)
        return Parts(
            agent=agent,
            config=config,
            call=self,
            clock=self._clock,
            room=room,
            ears=ears,
            mind=mind,
            voice=voice,
            context=context,
            journal=journal,
            scribe=scribe,
            smart_turn=smart_turn() if config.turn.smart_turn else None,
        )

    def _started(self, parts: Parts) -> events.CallStarted:
        config = self._config
        return events.CallStarted(
            agent=self._agent.name,
            room=self._room_name,
            stages={
                name: events.Stage(stage.vendor, stage.model, stage.stand_in)
                for name, stage in ((name, config.stage(name)) for name in STAGES)
            },
            config=config.masked(),
            recording=str(self._recording.path) if self._recording else None,
            audio_rate=config.room.output_rate,
            script=str(self._script.resolve()) if self._script else "",
        )

    def _stopped_by_itself(self) -> Ending:
        error = RoomError("the pipeline stopped by itself; run again with --verbose, and report it")
        return Ending("pipeline_stopped", str(error), ok=False, error=error)

    async def _close(self, parts: Parts, runner: WorkerRunner, running: asyncio.Task[None]) -> None:
        """Everything the call started, in the reverse order; each step bounded, none able to skip the next."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _bounded("tools", parts.aclose(), TOOLS_LIMIT_S)
        await _bounded("captions", parts.room.aclose(), 1.0)
        await _bounded("pipeline", runner.cancel(), 1.0)
        _, late = await asyncio.wait({running}, timeout=8.0)
        for task in late:
            logger.error("call {}: the pipeline did not stop in 8 s and is abandoned", self.id)
            task.cancel()
        await _bounded("model's client", parts.mind.release(), 1.0)
        if running.done() and not running.cancelled() and (error := running.exception()):
            logger.error("call {}: the pipeline failed with {}", self.id, type(error).__name__)
        if self._recording:
            # Its last samples go to the disk for good, which may take a while: not on the other calls' time.
            await _bounded("recording", asyncio.to_thread(self._recording.close), 5.0)
            if self._recording.error:
                logger.error("call {}: the recording is incomplete: {}", self.id, self._recording.error)

    # -- the course of a call

    async def _pipeline_started(self, *_: object) -> None:
        assert self._parts
        if error := _wrong_rate(self._parts, self._order):
            self.drop(Ending("sample_rate", str(error), ok=False, error=error))
            return
        self._parts.room.show_state("listening")
        assert self._lines
        fillers = lines_of(self._agent, self._config) if self._config.filler.enabled else []
        self._spawn(self._lines.prepare([*fixed_lines(self._agent), *fillers]))
        self._spawn(self._course())
        self._spawn(self._watch_records())

    async def _course(self) -> None:
        """Greet when the caller is there; end at the caps."""
        call = self._config.call
        try:
            async with asyncio.timeout(call.wait_for_caller_s):
                await self._caller_there.wait()
        except TimeoutError:
            error = RoomError(
                f"nobody joined room '{self._room_name}' within {call.wait_for_caller_s:g} s; "
                "check that the caller uses the same LIVEKIT_URL and room"
            )
            self.drop(Ending("no_caller", str(error), ok=False, error=error))
            return
        assert self._worker
        assert self._parts
        if self._agent.greeting:
            await self._parts.room.until_heard(HEARD_LIMIT_S)
            await self._say(Say(self._agent.greeting, role="greeting"))
        joined_ns = self._clock.monotonic_ns()
        while True:
            await asyncio.sleep(0.25)
            now_ns = self._clock.monotonic_ns()
            silence_s = self._parts.scribe.silence_s(now_ns)
            if (now_ns - joined_ns) / 1e9 >= call.max_duration_s:
                ending = Ending("max_duration", f"the call reached {call.max_duration_s:g} s", ok=True)
            elif 0 < call.silence_s <= silence_s:
                ending = Ending("silence", f"nobody spoke for {silence_s:.0f} s", ok=True)
            else:
                continue
            self.hang_up(ending, self._agent.farewell)
            return

    async def _watch_records(self) -> None:
        """A call that can no longer be recorded tells the caller and ends."""
        assert self._parts
        error = await self._parts.journal.failed()
        self.hang_up(Ending("records_failed", str(error), ok=False, error=error), parting(self._agent))

    async def _finish(self, ending: Ending, farewell: str | None) -> None:
        """Let the words out, in bounded time, then end."""
        assert self._worker
        assert self._parts
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.call.end_timeout_s):
                if farewell:
                    await self._say(Say(farewell, role="farewell"))
                spoken = _Spoken()
                await self._worker.queue_frame(spoken)
                await spoken.done.wait()
                await asyncio.sleep(0.15)  # it must still find its way through the room to the caller's ear
        self.drop(ending)

    async def _reached_end(self, _: PipelineWorker, frame: object) -> None:
        if isinstance(frame, _Spoken):
            frame.done.set()

    async def _setup_timed_out(self, _: PipelineWorker) -> None:
        limit_s = self._config.room.connect_timeout_s
        error = RoomError(
            f"LiveKit at {self._config.room.url} or a vendor did not answer within {limit_s + 5:g} s; "
            "run 'callwright doctor' with the same configuration"
        )
        self.drop(Ending("setup_timeout", str(error), ok=False, error=error))

    async def _processor_failed(self, _: PipelineWorker, frame: ErrorFrame) -> None:
        """The stages judge their vendors' errors themselves; this is somebody else's."""
        logger.error("call {}: an error in {}", self.id, frame.processor)

    # -- what the room tells (room.Listener)

    def caller_joined(self, identity: str) -> None:
        if self._parts:
            self._parts.scribe.note(events.CallerJoined(identity))
        self._caller_there.set()

    def caller_left(self, identity: str, reason: str) -> None:
        if self._parts:
            self._parts.scribe.note(events.CallerLeft(identity, reason))
        self.drop(Ending("caller_left", "the caller hung up", ok=True))

    def room_changed(self, state: str, reason: str) -> None:
        if self._parts:
            self._parts.scribe.note(events.RoomChanged(state, reason))
        if state == "unreachable":
            error = room_error(self._config.room.url or "", reason)
            self.drop(Ending("room_unreachable", str(error), ok=False, error=error))
        elif state == "disconnected":
            error = RoomError(f"LiveKit ended the connection ({reason}); the call's records are complete")
            self.drop(Ending("room_disconnected", reason, ok=False, error=error))

    def caller_audio(self, position: int, pcm: bytes) -> None:
        if self._recording:
            self._recording.caller(*self._recorded.place(position, pcm))

    def agent_audio(self, position: int, pcm: bytes) -> None:
        if self._parts:
            self._parts.scribe.agent_audio(position)
        if self._recording:
            self._recording.agent(position, pcm)

    def agent_cut(self, position: int) -> None:
        if self._parts:
            self._parts.scribe.agent_cut(position)
        if self._recording:
            self._recording.cut_agent(position)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()):
            self.fault(bug)

    def fault(self, bug: BaseException) -> None:
        logger.opt(exception=bug).debug("call {}: a task of the call failed", self.id)
        error = CallwrightError(f"a fault of ours ended the call ({type(bug).__name__}); please report it")
        self.drop(Ending("fault", str(error), ok=False, error=error))


def _wrong_rate(parts: Parts, order: list[FrameProcessor]) -> ConfigError | None:
    """The first boundary whose two sides differ in sample rate: noise at best, found before a word is said."""
    heard, spoken = SMART_TURN_RATE, parts.config.room.output_rate
    ends = (
        ("from the room", parts.room.input, heard),
        ("to the ears", parts.ears, heard),
        ("from the voice", parts.voice, spoken),
        ("to the room", parts.room.output, spoken),
    )
    for where, processor, wanted in ends:
        found = getattr(processor, "sample_rate", None)
        if processor in order and found != wanted:
            return ConfigError(f"the audio {where} has {found} Hz where {wanted} Hz is expected; see room.output_rate")
    return None


def new_call_id() -> str:
    """Sorts by time and is short enough to type: seconds since 1970 in hex, and 24 random bits."""
    return f"{int(time.time()):x}-{uuid.uuid4().hex[:6]}"


async def _bounded(what: str, work: Any, seconds: float) -> None:
    """Await a closing step for so long at most; its failure is logged, and the next step still comes."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except Exception as error:
        logger.error("closing the {} failed: {}", what, type(error).__name__)
