"""A stock LiveKit Agents 1.8.9 session as a system under test, set up as its documentation does it, without Cloud.

Runs in an environment of its own, in which there is no Pipecat. Nothing of Callwright's engine is in it but the
agent's own words and functions: the same prompt, greeting and tools, the latter as raw function tools. The room
is joined by ourselves instead of by a worker's job; everything from `AgentSession.start` on is the vendor's.

All options are left at their defaults, which self-hosted means: Silero VAD and the turn detector v1-mini, both
within the package; interruptions by VAD after 0.5 s of speech and not in the first 3 s of the agent's speech;
answers begun before the turn has ended; a room queue of 200 ms, which no option changes. With `--tuned`
those documented options that bear on what is heard:

    use_tts_aligned_transcript=True   the transcript follows the voice's own word times, not a guessed pace
    preemptive_tts=True               an answer begun early is also spoken early
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import logging
import os
from typing import Any

from livekit import rtc
from livekit.agents import Agent as SessionAgent  # type: ignore[import-untyped]
from livekit.agents import AgentSession, CloseEvent, CloseReason, function_tool
from livekit.agents.llm import ToolError as SessionToolError  # type: ignore[import-untyped]
from livekit.agents.utils import http_context  # type: ignore[import-untyped]
from livekit.plugins import anthropic, cartesia, deepgram  # type: ignore[import-untyped]
from pydantic import JsonValue

from callwright.agent import Agent, load
from callwright.bench.systems.host import Tell, main
from callwright.bench.systems.models import AURA_VOICE, LLM_MODEL, SPEECH_MODELS, TTS_MODEL, VOICE
from callwright.bench.systems.protocol import CallRequest, Ended, Ready
from callwright.simulators.livekit import LiveKitKeys, token
from callwright.tools import ArgumentError, Tool, ToolError

QUEUE_MS = 200
"""`AudioSource(queue_size_ms=200)` in livekit/agents/voice/room_io/_output.py."""


class _Call:
    """What an agent's tools may do with the call (callwright.tools.Call)."""

    def __init__(self, call: str) -> None:
        self.id = call
        self.caller = "caller"
        self.ending = False
        self.session: Any = None

    async def say(self, text: str, *, remember: bool = True) -> None:
        self.session.say(text, add_to_chat_ctx=remember)

    async def end(self, farewell: str | None = None) -> None:
        self.ending = True
        if farewell:
            await self.say(farewell)
        self.session.shutdown(drain=True)


async def hold(tuned: bool, request: CallRequest, tell: Tell) -> Ended:
    """One call with a session of its own."""
    if request.queue_ms not in (None, QUEUE_MS):
        raise ValueError(f"LiveKit Agents has no option for the room's queue, which is {QUEUE_MS} ms")
    agent = load(request.agent)
    call = _Call(request.call)
    keys = LiveKitKeys(request.livekit.url, request.livekit.key, request.livekit.secret)
    room = rtc.Room()
    closed: asyncio.Future[CloseEvent] = asyncio.get_running_loop().create_future()
    async with http_context.open():
        session = call.session = _session(tuned, request, agent)
        session.on("close", closed.set_result)
        room.on("disconnected", lambda *_: session.shutdown(drain=False))
        try:
            await room.connect(keys.url, token(keys, request.room, "agent", kind="agent"))
            tools = [_tool(tool, call) for tool in agent.tools]
            await session.start(SessionAgent(instructions=agent.prompt, tools=tools), room=room, record=False)
            if agent.greeting:
                session.say(agent.greeting)
            wait_ms = session.options.endpointing["min_delay"] * 1000
            tell(Ready(call=request.call, wait_ms=wait_ms, settings=_settings(session, request)))
            event = await closed
        finally:
            await session.aclose()
            await room.disconnect()
    return Ended(call=request.call, reason=event.reason.value, ok=event.reason is not CloseReason.ERROR)


def _session(tuned: bool, request: CallRequest, agent: Agent) -> Any:
    options: dict[str, Any] = {}
    if tuned:
        options["use_tts_aligned_transcript"] = True
        options["turn_handling"] = {"preemptive_generation": {"preemptive_tts": True}}
    return AgentSession(
        stt=deepgram.STT(api_key=request.key, base_url=f"{request.stand_ins}/v1/listen"),
        # Not a default, but the peers cache the prompt too.
        llm=anthropic.LLM(model=LLM_MODEL, api_key=request.key, base_url=request.stand_ins, caching="ephemeral"),
        tts=_voice(request, agent),
        **options,
    )


def _voice(request: CallRequest, agent: Agent) -> Any:
    if request.tts == "deepgram":
        base_url = f"{request.stand_ins}/v1/speak"
        return deepgram.TTS(api_key=request.key, base_url=base_url, model=AURA_VOICE)
    return cartesia.TTS(api_key=request.key, base_url=request.stand_ins, model=TTS_MODEL, voice=agent.voice or VOICE)


def _tool(tool: Tool, call: _Call) -> Any:
    async def run(raw_arguments: dict[str, object]) -> str:
        try:
            result = await tool.run(raw_arguments, call)  # type: ignore[arg-type]
        except (ToolError, ArgumentError) as error:
            raise SessionToolError(str(error)) from error
        return result if isinstance(result, str) else json.dumps(result)

    schema = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return function_tool(run, raw_schema=schema)


def _settings(session: Any, request: CallRequest) -> dict[str, JsonValue]:
    options = session.options
    return {
        "stt": session.stt.model,
        "llm": LLM_MODEL,
        "tts": SPEECH_MODELS[request.tts],
        "turn_detection": session.turn_detection.model,
        "endpointing": options.endpointing,
        "interruption.min_duration": options.interruption["min_duration"],
        "preemptive_generation": options.preemptive_generation,
        "aec_warmup_duration": options.aec_warmup_duration,
        "use_tts_aligned_transcript": bool(options.use_tts_aligned_transcript),
        "queue_ms": QUEUE_MS,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m callwright.bench.systems.livekit_agents", description=__doc__)
    parser.add_argument("--tuned", action="store_true", help="with the documented options that bear on what is heard")
    # Variables by which the vendor's Cloud and telemetry would be found.
    for name in [name for name in os.environ if name.startswith(("LIVEKIT_", "OTEL_"))]:
        del os.environ[name]
    logging.disable()  # as the other systems: host.main silences loguru
    main(functools.partial(hold, parser.parse_args().tuned))
