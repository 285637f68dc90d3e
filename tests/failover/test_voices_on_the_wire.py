"""The voices with the vendors' real services against the stand-ins: each fault, and what is heard in the end."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import Frame, LLMFullResponseEndFrame, LLMFullResponseStartFrame, TTSAudioRawFrame
from pipecat.pipeline.worker import PipelineParams
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.utils.text.base_text_aggregator import TextType
from pydantic import SecretStr
from voices_world import Keeper, Notes

from callwright.clock import SystemClock
from callwright.failover.seat import Seat
from callwright.failover.voice import Voices
from callwright.pace import Pace, letters
from callwright.sections import WatchConfig
from callwright.simulators.account import AccountSettings
from callwright.simulators.faults import Fault
from callwright.simulators.server import VendorServer
from callwright.speech import Piece, UtteranceEnd
from callwright.stage import StageConfig
from callwright.stages import _voice
from callwright.vendors import find

pytestmark = pytest.mark.skipif(
    shutil.which("flite") is None and shutil.which("espeak-ng") is None, reason="no speech engine is installed"
)
RATE = 24_000
LIMITS = WatchConfig(first_audio_ms=4000, audio_gap_ms=1500, turn_budget_ms=60_000)
"""Wide: the speech engine of the stand-ins may have to share a busy machine, and what is tested is not its speed."""
TEXT = "Your appointment is on Monday at nine. Please bring your insurance card, and come ten minutes early."
KEYS = ("first", "second")


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VendorServer]:
    spoken = tmp_path_factory.getbasetemp() / "spoken"  # what was rendered once need not be again
    async with VendorServer(default=AccountSettings(ears="oracle", speed=0), cache_dir=spoken) as server:
        yield server


def stage(server: VendorServer, vendor: str, key: str) -> StageConfig:
    row = find("tts", vendor)
    settings = {name: one.default for name, one in row.settings.items()}
    return StageConfig(
        vendor=vendor, model=row.default_model, base_url=server.url, api_key=SecretStr(key), settings=settings
    )


class Call:
    def __init__(self, server: VendorServer, *vendors: str) -> None:
        stages = [stage(server, vendor, key) for vendor, key in zip(vendors, KEYS, strict=False)]
        self.notes, self.keeper = Notes(), Keeper(RATE)
        self.voices: Any = Voices(
            [Seat(number, one, _voice(one, RATE, LIMITS)) for number, one in enumerate(stages)],
            SimpleNamespace(find=lambda text: None),
            LIMITS,
            SystemClock(),
            rate=RATE,
            store_ms=lambda: 0.0,
            witness=self.notes,
            gave_up=lambda times, for_good, voice, why: self.notes.gave_up.append((times, for_good, why)),
        )
        self.voices.listener = self.keeper

    def answer(self, text: str) -> list[Frame]:
        utterance = self.keeper.utterance("answer", text)
        piece = Piece(text, TextType.SENTENCE, raw_text=text, utterance=utterance, end=len(text))
        return [LLMFullResponseStartFrame(), piece, LLMFullResponseEndFrame(), UtteranceEnd(utterance)]

    async def hear(self, *frames: Frame) -> float:
        """ms of sound that would be played."""
        down, _ = await run_test(
            self.voices,
            frames_to_send=list(frames),
            pipeline_params=PipelineParams(audio_out_sample_rate=RATE, enable_usage_metrics=True),
        )
        made: dict[str | None, bytes] = {}
        for frame in down:
            if isinstance(frame, TTSAudioRawFrame):
                made[frame.context_id] = made.get(frame.context_id, b"") + frame.audio
        played = [pcm[: 2 * self.keeper.trimmed.get(stretch or "", len(pcm))] for stretch, pcm in made.items()]
        loud = [np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32)) > 100 for pcm in played]
        assert any(one.any() for one in loud)
        assert sum(isinstance(frame, UtteranceEnd) for frame in down) == sum(
            isinstance(frame, UtteranceEnd) for frame in frames
        )
        return sum(len(pcm) for pcm in played) / 2 / RATE * 1000


FAULTS = {
    "refused at the door": Fault(stage="tts", kind="status", moment="connect", status=401, count=9),
    "overloaded at the door": Fault(stage="tts", kind="status", moment="connect", status=503, count=9),
    "no connection": Fault(stage="tts", kind="refuse_connect", moment="connect", count=9),
    "error in answer": Fault(stage="tts", kind="status", moment="before", status=500),
    "never answers": Fault(stage="tts", kind="stall", moment="before"),
    "hangs": Fault(stage="tts", kind="hang", moment="before", stall_s=9),
    "closes before": Fault(stage="tts", kind="drop", moment="before", close_code=1000),
    "dies before": Fault(stage="tts", kind="drop", moment="before"),
    "no audio": Fault(stage="tts", kind="empty", moment="before"),
    "stops": Fault(stage="tts", kind="stall", moment="within", after=12),
    "closes within": Fault(stage="tts", kind="drop", moment="within", after=12, close_code=1000),
    "fails within": Fault(stage="tts", kind="drop", moment="within", after=12, close_code=1011),
    "dies within": Fault(stage="tts", kind="drop", moment="within", after=12),
    "ends early": Fault(stage="tts", kind="truncate", moment="within", after=12),
}


@pytest.mark.parametrize("vendors", [("cartesia", "deepgram"), ("deepgram", "cartesia")], ids=lambda two: two[0])
@pytest.mark.parametrize("what", FAULTS)
async def test_under_any_fault_the_whole_text_is_said(server: VendorServer, vendors: Any, what: str) -> None:
    server.accounts.get(KEYS[0]).faults.add(FAULTS[what])
    call = Call(server, *vendors)
    frames = call.answer(TEXT)
    utterance = frames[1].utterance  # type: ignore[attr-defined]
    ms = await call.hear(SleepFrame(0.2), *frames)
    assert [(model, action) for model, _, action, _ in call.notes.troubles] == [
        (find("tts", vendors[0]).default_model, "next")
    ], call.notes
    if FAULTS[what].kind == "drop":
        assert call.notes.troubles[0][1] == "dropped"
    assert utterance.spoken == utterance.text == TEXT
    assert 0.6 < ms / Pace().expected_ms(letters(TEXT)) < 1.6
    assert call.notes.gave_up == []


@pytest.mark.parametrize("vendor", ["cartesia", "deepgram"])
@pytest.mark.parametrize("what", ["never answers", "closes before", "dies before", "stops", "dies within"])
async def test_one_voice_alone_comes_back_over_a_new_connection(server: VendorServer, vendor: str, what: str) -> None:
    server.accounts.get(KEYS[0]).faults.add(FAULTS[what])
    call = Call(server, vendor)
    frames = call.answer(TEXT)
    await call.hear(SleepFrame(0.2), *frames, *call.answer("And this is what comes after it."))
    assert [action for _, _, action, _ in call.notes.troubles] == ["retry"], call.notes
    assert frames[1].utterance.spoken == TEXT  # type: ignore[attr-defined]
    assert call.notes.ended.count(None) == 2


class Rested(Notes):
    """A minute passes when somebody has said something."""

    def __init__(self, clock: Leap) -> None:
        super().__init__()
        self._clock = clock

    def voice_ended(self, error: str | None) -> None:
        super().voice_ended(error)
        if error is None:
            self._clock.ahead_ns += 60_000_000_000


class Leap(SystemClock):
    ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


async def test_a_voice_that_was_written_off_is_asked_again_when_it_has_rested(server: VendorServer) -> None:
    """Pipecat would never give a service work again after a 400."""
    server.accounts.get(KEYS[0]).faults.add(Fault(stage="tts", kind="status", moment="connect", status=400, count=3))
    call = Call(server, "cartesia", "deepgram")
    clock = call.voices._clock = Leap()
    call.notes = call.voices._witness = Rested(clock)
    seat = call.voices.seats[0]
    await call.hear(SleepFrame(0.2), *call.answer("Good morning to you."), *call.answer("And good morning again."))
    assert call.notes.asked == ["sonic-3.6", "aura-2", "sonic-3.6"], call.notes
    assert not seat.breaker.permanent
    assert seat.breaker.failures == 0
