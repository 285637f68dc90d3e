"""Callwright itself as a system under test: an ordinary call, its configuration left at the defaults."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable

from pipecat.processors.frame_processor import FrameProcessor
from pydantic import JsonValue

from callwright.agent import Agent, load
from callwright.bench.systems.host import Tell, main
from callwright.bench.systems.protocol import CallRequest, Ended, Ready
from callwright.call import LiveCall
from callwright.config import Config
from callwright.config import load as load_config
from callwright.parts import Parts
from callwright.pipeline import pipeline_function
from callwright.room import Room

_POLL_S = 0.02
_SHOWN = ("stt", "llm", "tts", "turn")
_HIDDEN = ("api_key", "base_url")


async def hold(request: CallRequest, tell: Tell) -> Ended:
    """One call with the agent's script as it stands."""
    agent = load(request.agent)
    if request.tts != "cartesia":
        agent = dataclasses.replace(agent, voice=None)
    config = _config(request, agent)
    rooms: list[Room] = []
    call = LiveCall(_noticed(agent, config, rooms.append), config, request.room, call_id=request.call)
    running = asyncio.create_task(call.run())
    try:
        while not running.done() and not any(room.connected for room in rooms):
            await asyncio.wait({running}, timeout=_POLL_S)
        if not running.done():
            wait_ms = float(config.turn.vad_stop_ms)
            tell(Ready(call=request.call, wait_ms=wait_ms, settings=_settings(config)))
        outcome = await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return Ended(call=request.call, reason=outcome.ending.reason, ok=outcome.ending.ok)


def _config(request: CallRequest, agent: Agent) -> Config:
    stages = ("stt", "llm", "tts")
    return load_config(
        file=None,
        overrides=[
            f"tts.vendor={request.tts}",
            *([] if request.queue_ms is None else [f"room.output_queue_ms={request.queue_ms}"]),
            *(f"{stage}.base_url={request.stand_ins}" for stage in stages),
            *(f"{stage}.api_key={request.key}" for stage in stages),
            *(f"{stage}.fallback={backup}" for stage, backup in _backups(request).items()),
            f"room.url={request.livekit.url}",
            f"room.api_key={request.livekit.key}",
            f"room.api_secret={request.livekit.secret}",
            f"records.database=sqlite:///{request.folder / 'calls.db'}",
            f"records.recordings={request.folder / 'recordings'}",
            f"call.lines_cache={request.folder / 'lines'}",
        ],
        agent=agent.config,
        environ=os.environ,
    )


def _backups(request: CallRequest) -> dict[str, str]:
    """Who takes over when a stage fails: the same vendors under another account."""
    if not request.backup_key:
        return {}
    account = f'base_url: "{request.stand_ins}", api_key: "{request.backup_key}"'
    vendors = {"stt": "deepgram", "llm": "anthropic", "tts": request.tts}
    return {stage: f"[{{vendor: {vendor}, {account}}}]" for stage, vendor in vendors.items()}


def _noticed(agent: Agent, config: Config, notice: Callable[[Room], None]) -> Agent:
    """The agent with its own pipeline, which says what room it is built for; nothing is inserted."""
    ordered = pipeline_function(agent, config)

    def pipeline(parts: Parts) -> list[FrameProcessor]:
        notice(parts.room)
        return ordered(parts)

    return dataclasses.replace(agent, pipeline=pipeline)


def _settings(config: Config) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {
        leaf.key: leaf.value
        for leaf in config.leaves()
        if leaf.key.partition(".")[0] in _SHOWN
        and leaf.key.rpartition(".")[2] not in _HIDDEN
        and leaf.value is not None
    }
    return shown | {"room.output_queue_ms": config.room.output_queue_ms}


if __name__ == "__main__":
    main(hold)
