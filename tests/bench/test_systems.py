"""What a call is ordered with reaches each system in its own terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.tts import DeepgramTTSService

from callwright.agent import Agent
from callwright.bench.systems import callwright as ours
from callwright.bench.systems import pipecat as stock
from callwright.bench.systems.protocol import CallRequest, LiveKit

AGENT = Agent(name="desk", prompt="Be brief.")


def request(**options: Any) -> CallRequest:
    return CallRequest(
        call="one",
        room="room",
        livekit=LiveKit(url="ws://127.0.0.1:1", key="key", secret="secret" * 6),
        stand_ins="http://127.0.0.1:2",
        key="account",
        agent=Path("agent.py"),
        folder=Path("folder"),
        **options,
    )


def test_callwright_takes_the_voice_and_the_queue_or_its_own_defaults() -> None:
    usual = ours._config(request(), AGENT)
    ordered = ours._config(request(tts="deepgram", queue_ms=400), AGENT)
    assert (usual.tts.vendor, usual.room.output_queue_ms) == ("cartesia", 150)
    assert (ordered.tts.vendor, ordered.room.output_queue_ms) == ("deepgram", 400)


async def test_pipecat_speaks_with_the_vendor_that_was_ordered() -> None:
    assert isinstance(stock._voice(stock.DEFAULTS, request(), AGENT), CartesiaTTSService)
    assert isinstance(stock._voice(stock.TUNED, request(tts="deepgram"), AGENT), DeepgramTTSService)


@pytest.mark.parametrize("remember", [True, False])
async def test_what_pipecat_is_told_not_to_remember_stays_out_of_its_context(remember: bool) -> None:
    queued: list[Any] = []

    class Worker:
        async def queue_frame(self, frame: Any) -> None:
            queued.append(frame)

    bot = stock._Bot("one")
    bot.worker = Worker()  # type: ignore[assignment]
    await bot.say("One moment.", remember=remember)
    assert [(type(frame), frame.append_to_context) for frame in queued] == [(TTSSpeakFrame, remember)]
