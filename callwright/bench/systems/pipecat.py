"""A stock Pipecat 1.14 bot as a system under test, set up as its documentation does it.

Nothing of Callwright's engine is in it but the agent's own words and functions: the same prompt, greeting and
tools, the latter as `FunctionSchema`s with handlers. Two ways to set it up: the defaults, and with `--tuned`
those documented options that shorten the wait:

    audio_out_queue_size_ms=150     instead of LiveKit's 1000
    TextAggregationMode.TOKEN       tokens go to the voice as they come, instead of sentence by sentence,
    max_buffer_delay_ms=0           and Cartesia, which would then buffer them for up to 3 s, does not
    endpointing=False               Deepgram does not end utterances by itself (after 10 ms by default): the
                                    reply to Pipecat's Finalize then carries the words, so Pipecat knows them
                                    to be final and does not wait for `ttfs_p99_latency` to run out
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from anthropic import AsyncAnthropic
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import EndFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.services.anthropic.llm import AnthropicLLMService
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.deepgram.tts import DeepgramTTSService
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.tts_service import TextAggregationMode, TTSService
from pipecat.transports.livekit.transport import LiveKitParams, LiveKitTransport
from pipecat.workers.runner import WorkerRunner
from pydantic import JsonValue

from callwright.agent import Agent, load
from callwright.bench.systems.host import Tell, main
from callwright.bench.systems.models import AURA_VOICE, CONNECTED, LLM_MODEL, SPEECH_MODELS, STT_MODEL, TTS_MODEL, VOICE
from callwright.bench.systems.protocol import CallRequest, Ended, Ready
from callwright.simulators.livekit import LiveKitKeys, token
from callwright.tools import Call, Tool

VAD_STOP_MS = 200.0
"""Pipecat's default `VADParams.stop_secs`: after this much silence a turn may end."""


@dataclass(frozen=True)
class Tuning:
    """What differs between the two ways to set the bot up; None leaves Pipecat's default."""

    queue_ms: int | None = None
    aggregation: TextAggregationMode | None = None
    buffer_ms: int | None = None
    endpointing: bool | None = None

    @property
    def settings(self) -> dict[str, JsonValue]:
        """The options that are set, by Pipecat's own names."""
        found: dict[str, JsonValue] = {
            "audio_out_queue_size_ms": self.queue_ms,
            "text_aggregation_mode": None if self.aggregation is None else self.aggregation.value,
            "max_buffer_delay_ms": self.buffer_ms,
            "endpointing": self.endpointing,
        }
        return {name: value for name, value in found.items() if value is not None}


DEFAULTS = Tuning()
TUNED = Tuning(queue_ms=150, aggregation=TextAggregationMode.TOKEN, buffer_ms=0, endpointing=False)


class _Bot:
    """What the front desk's tools may do with the call (callwright.tools.Call)."""

    def __init__(self, call: str) -> None:
        self.id = call
        self.caller = "caller"
        self.ending = False
        self.worker: PipelineWorker | None = None

    async def say(self, text: str, *, remember: bool = True) -> None:
        assert self.worker is not None
        await self.worker.queue_frame(TTSSpeakFrame(text, append_to_context=remember))

    async def end(self, farewell: str | None = None) -> None:
        assert self.worker is not None
        self.ending = True
        if farewell:
            await self.say(farewell)
        await self.worker.queue_frame(EndFrame())


async def hold(tuning: Tuning, request: CallRequest, tell: Tell) -> Ended:
    """One call with a bot of its own."""
    agent = load(request.agent)
    bot = _Bot(request.call)
    keys = LiveKitKeys(request.livekit.url, request.livekit.key, request.livekit.secret)
    if request.queue_ms is not None:
        tuning = replace(tuning, queue_ms=request.queue_ms)
    queue: dict[str, Any] = {} if tuning.queue_ms is None else {"audio_out_queue_size_ms": tuning.queue_ms}
    transport = LiveKitTransport(
        url=keys.url,
        token=token(keys, request.room, "bot", kind="agent"),
        room_name=request.room,
        params=LiveKitParams(audio_in_enabled=True, audio_out_enabled=True, **queue),
    )
    websocket = request.stand_ins.replace("http", "ws", 1)
    heard: dict[str, Any] = {} if tuning.endpointing is None else {"endpointing": tuning.endpointing}
    stt = DeepgramSTTService(
        api_key=request.key,
        base_url=websocket,
        settings=DeepgramSTTService.Settings(model=STT_MODEL, **heard),
    )
    client = AsyncAnthropic(api_key=request.key, base_url=request.stand_ins)
    llm = AnthropicLLMService(
        api_key=request.key,
        client=client,
        settings=AnthropicLLMService.Settings(
            model=LLM_MODEL, enable_prompt_caching=True, system_instruction=agent.prompt
        ),
    )
    tts = _voice(tuning, request, agent)
    context = LLMContext([{"role": "user", "content": CONNECTED}], tools=[_schema(tool, bot) for tool in agent.tools])
    hears, remembers = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )
    pipeline = Pipeline([transport.input(), stt, hears, llm, tts, transport.output(), remembers])
    worker = bot.worker = PipelineWorker(
        pipeline,
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
        enable_rtvi=False,
        cancel_runner_on_idle_timeout=False,
    )
    _react(transport, worker, agent)

    async def started(*_: object) -> None:
        tell(Ready(call=request.call, wait_ms=VAD_STOP_MS, settings=_settings(tuning, request)))

    worker.add_event_handler("on_pipeline_started", started)
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(worker)
    try:
        await runner.run()
    finally:
        await client.close()
    return Ended(call=request.call, reason="the pipeline finished", ok=True)


def _voice(tuning: Tuning, request: CallRequest, agent: Agent) -> TTSService:
    websocket = request.stand_ins.replace("http", "ws", 1)
    if request.tts == "deepgram":
        return DeepgramTTSService(
            api_key=request.key,
            base_url=websocket,
            text_aggregation_mode=tuning.aggregation,
            settings=DeepgramTTSService.Settings(voice=AURA_VOICE),
        )
    return CartesiaTTSService(
        api_key=request.key,
        url=f"{websocket}/tts/websocket",
        text_aggregation_mode=tuning.aggregation,
        max_buffer_delay_ms=tuning.buffer_ms,
        settings=CartesiaTTSService.Settings(model=TTS_MODEL, voice=agent.voice or VOICE),
    )


def _react(transport: LiveKitTransport, worker: PipelineWorker, agent: Agent) -> None:
    """Greet the caller who joins; stop when they leave."""

    async def joined(_: LiveKitTransport, participant: str) -> None:
        if agent.greeting:
            await worker.queue_frame(TTSSpeakFrame(agent.greeting))

    async def left(_: LiveKitTransport, participant: str, *reason: object) -> None:
        await worker.cancel()

    transport.add_event_handler("on_first_participant_joined", joined)
    transport.add_event_handler("on_participant_disconnected", left)


def _schema(tool: Tool, bot: _Bot) -> FunctionSchema:
    schema = cast("Mapping[str, Any]", tool.schema)

    async def handler(params: FunctionCallParams) -> None:
        # What the bench's agents use of the call is there.
        await params.result_callback(await tool.run(params.arguments, cast("Call", bot)))

    return FunctionSchema(
        name=tool.name,
        description=tool.description,
        properties=schema.get("properties", {}),
        required=schema.get("required", []),
        handler=handler,
    )


def _settings(tuning: Tuning, request: CallRequest) -> dict[str, JsonValue]:
    models: dict[str, JsonValue] = {"stt": STT_MODEL, "llm": LLM_MODEL, "tts": SPEECH_MODELS[request.tts]}
    return models | tuning.settings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m callwright.bench.systems.pipecat", description=__doc__)
    parser.add_argument("--tuned", action="store_true", help="with every documented option that helps")
    main(functools.partial(hold, TUNED if parser.parse_args().tuned else DEFAULTS))
