"""Pipecat's real Deepgram service against the stand-in: what it does when the line fails, and what we make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from pipecat.clocks.system_clock import SystemClock as PipecatClock
from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    InputAudioRawFrame,
    StartFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams
from pydantic import SecretStr
from test_failover_ears import Owner, Scribe

from callwright.clock import SystemClock
from callwright.failover.branch import Branch
from callwright.failover.ears import Ears
from callwright.failover.ears_leg import recogniser
from callwright.failover.ears_watch import EarsWaits
from callwright.simulators.account import AccountSettings, SpokenWord, Utterance
from callwright.simulators.faults import Fault
from callwright.simulators.server import VendorServer
from callwright.stage import StageConfig
from callwright.upstream.ears import is_settled
from callwright.vendors import DEFAULTS, find

RATE = 16_000
WAITS = EarsWaits(transcript_ms=3000, connect_ms=3000, budget_ms=9000)
"""So long that on a busy machine, too, only what never answers is late."""
SILENT = replace(WAITS, transcript_ms=800)
ORDER = Utterance(
    text="Book it, please.",
    words=(
        SpokenWord(word="book", start=0, end=0.3),
        SpokenWord(word="it", start=0.3, end=0.5),
        SpokenWord(word="please", start=0.5, end=0.9),
    ),
    duration=1.0,
)


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer(default=AccountSettings(ears="oracle", speed=0)) as server:
        yield server


class Line:
    """Ears whose vendors are the stand-in's accounts of these names, and their caller."""

    def __init__(
        self, server: VendorServer, *keys: str, vendor: str = DEFAULTS["stt"], waits: EarsWaits = WAITS
    ) -> None:
        self.scribe, self.owner = Scribe(), Owner()
        self.finals: asyncio.Queue[TranscriptionFrame] = asyncio.Queue()
        row = find("stt", vendor)
        line = [
            StageConfig(
                vendor=row.name, model=row.default_model, base_url=server.url, api_key=SecretStr(key),
                settings={name: one.default for name, one in row.settings.items() if one.default is not None},
            )
            for key in keys
        ]  # fmt: skip
        self.ears = Ears(line, recogniser, waits, rate=RATE, scribe=self.scribe, owner=self.owner, clock=SystemClock())
        self._branch = Branch(self.ears, self._pushed)

    async def _pushed(self, _: Branch, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, TranscriptionFrame):
            self.finals.put_nowait(frame)

    async def __aenter__(self) -> Line:
        tasks = TaskManager()
        tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
        await self._branch.setup(
            FrameProcessorSetup(
                clock=PipecatClock(),
                task_manager=tasks,
                pipeline_worker=cast("PipelineWorker", None),
                audio_in_sample_rate=RATE,
                enable_usage_metrics=True,
            )
        )
        await self._branch.send(StartFrame(audio_in_sample_rate=RATE, enable_usage_metrics=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._branch.send(CancelFrame())
        await self._branch.cleanup()

    async def sound(self, seconds: float, *, loud: bool = True) -> None:
        """As fast as it goes, in frames of 20 ms."""
        for _ in range(round(seconds * 50)):
            tone = 5000 * np.sin(np.arange(320) / 3) * loud
            await self._branch.send(InputAudioRawFrame(tone.astype(np.int16).tobytes(), RATE, 1))

    async def speech(self, seconds: float = 1.0) -> None:
        await self._branch.send(VADUserStartedSpeakingFrame(start_secs=seconds), FrameDirection.UPSTREAM)
        await self.sound(seconds)
        await self.sound(0.2, loud=False)

    async def pause(self) -> None:
        await self._branch.send(VADUserStoppedSpeakingFrame(stop_secs=0), FrameDirection.UPSTREAM)

    async def final(self) -> TranscriptionFrame:
        """The next one; meanwhile the caller is silent, which is sound as well."""
        async with asyncio.timeout(8):
            while self.finals.empty():
                await self.sound(0.02, loud=False)
                await asyncio.sleep(0.02)
        return self.finals.get_nowait()

    async def connected(self) -> None:
        async with asyncio.timeout(5):
            while not (self.ears._leg and self.ears._leg.up):
                await self.sound(0.02, loud=False)
                await asyncio.sleep(0.02)


async def test_the_words_come_settled_and_so_does_their_absence(server: VendorServer) -> None:
    async with Line(server, "a") as line:
        server.accounts.get("a").announce(ORDER)
        await line.speech()
        await line.pause()
        assert (await line.final()).text == "Book it, please."
        await line.speech(0.4)  # nobody announced it: a cough
        await line.pause()
        cough = await line.final()
        assert (cough.text, is_settled(cough)) == ("", True)
        assert line.ears.expected_by() is None
    assert line.scribe.troubles == []
    assert sum(line.scribe.seconds.values()) > 1.6


FAULTS = {
    "401": (Fault(stage="stt", kind="status", moment="connect", status=401), "refused"),
    "429": (Fault(stage="stt", kind="status", moment="connect", status=429), "refused"),
    "503": (Fault(stage="stt", kind="status", moment="connect", status=503), "refused"),
    "refused": (Fault(stage="stt", kind="refuse_connect", moment="connect"), "refused"),
    "mute": (Fault(stage="stt", kind="silence", moment="connect"), "no_transcript"),
    "no answer": (Fault(stage="stt", kind="silence", moment="before"), "no_transcript"),
    "stalled": (Fault(stage="stt", kind="stall", moment="before", stall_s=30), "no_transcript"),
    "dropped with 1000": (Fault(stage="stt", kind="drop", moment="before", close_code=1000), "dropped"),
    "dropped with 1011": (Fault(stage="stt", kind="drop", moment="before", close_code=1011), "dropped"),
    "torn down": (Fault(stage="stt", kind="drop", moment="before"), "dropped"),
    "torn down within": (Fault(stage="stt", kind="drop", moment="within"), "dropped"),
    "unreadable": (Fault(stage="stt", kind="malformed", moment="before"), "dropped"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("second", ["b", "a"])
async def test_what_was_said_is_heard_once_by_another_or_on_a_new_connection(
    server: VendorServer, fault: str, second: str
) -> None:
    if (fault, second) == ("401", "a"):
        pytest.skip("a key that is refused is not tried again")
    account = server.accounts.get("a")
    ordered, what = FAULTS[fault]
    account.faults.add(ordered)
    connecting = ordered.moment == "connect"
    for key in {"a", second}:
        server.accounts.get(key).announce(ORDER)
    waits = SILENT if what == "no_transcript" else WAITS
    async with Line(server, *dict.fromkeys(("a", second)), waits=waits) as line:
        if not connecting:
            await line.connected()
        await line.speech()
        await line.pause()
        final = await line.final()
        assert final.text == "Book it, please."
        assert is_settled(final)
        assert line.finals.empty()
        assert line.owner.gave_up == []
    assert line.scribe.troubles == [(what, "next" if second == "b" else "retry")]


async def test_a_line_that_breaks_between_turns_is_mended_before_the_next(server: VendorServer) -> None:
    account = server.accounts.get("a")
    async with Line(server, "a") as line:
        account.announce(ORDER)
        await line.speech()
        await line.pause()
        assert (await line.final()).text == "Book it, please."
        account.faults.add(Fault(stage="stt", kind="drop", moment="before"))
        account.announce(Utterance(text="", duration=0.2))
        await line.speech(0.2)
        await line.pause()  # too short to owe anything: between turns, but it makes the vendor act
        async with asyncio.timeout(3):
            while not line.scribe.troubles:
                await line.sound(0.02, loud=False)
                await asyncio.sleep(0.02)
        await line.connected()
        assert (await line.final()).text == ""  # what was dropped meant nothing
        await line.sound(1.5, loud=False)
        account.announce(ORDER)
        await line.speech()
        await line.pause()
        assert (await line.final()).text == "Book it, please."
    assert line.scribe.troubles == [("dropped", "retry")]


async def test_flux_listens_as_well(server: VendorServer) -> None:
    async with Line(server, "a", vendor="deepgram-flux") as line:
        server.accounts.get("a").announce(ORDER)
        await line.connected()
        await line.speech()
        await line.pause()
        assert (await line.final()).text == "Book it, please."
    assert line.scribe.troubles == []
