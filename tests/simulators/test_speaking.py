"""When a voice sends what: pace, waits and cancels, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from callwright.simulators.account import Account, Accounts, AccountSettings, Delay, World
from callwright.simulators.encodings import Samples
from callwright.simulators.faults import Fault
from callwright.simulators.speaking import Placed, Speaking
from callwright.simulators.voice import Voice

pytestmark = pytest.mark.skipif(
    shutil.which("flite") is None and shutil.which("espeak-ng") is None, reason="no speech engine is installed"
)
RATE = 24000
SUNNY = "It will be sunny on Thursday afternoon."


class Desk:
    """One utterance, its clock, and what the client got: ("audio", when, samples), ("words", …), ("done", …)."""

    def __init__(self, voice: Voice, fault: Fault | None = None, **settings: Any) -> None:
        self.now = 100.0
        self.overshoot = 0.0
        self.on_sleep: Callable[[float], None] = lambda seconds: None
        self.on_audio: Callable[[int], None] = lambda count: None
        self.got: list[tuple[str, float, Any]] = []
        given = AccountSettings(ears="oracle", tts_first_audio=Delay(0, 0), keep_speech=True, **settings)
        self.account = Account("k", given, lambda: self.now)
        if fault is not None:
            self.account.faults.add(fault)
        world = World(Accounts(), voice, monotonic=lambda: self.now, sleep=self.sleep)
        self.speaking = Speaking(world, self.account, self, context_id="c", voice="slt", rate=RATE)
        self.speaking.asked(SUNNY)
        self.speaking.say(SUNNY, self.now)
        self.speaking.end()

    async def sleep(self, seconds: float) -> None:
        self.on_sleep(seconds)
        await asyncio.sleep(0)
        self.now += seconds + self.overshoot

    async def audio(self, samples: Samples, *, step_ms: float) -> None:
        self.got.append(("audio", self.now, len(samples)))
        self.on_audio(len(self.times()))
        await asyncio.sleep(0)

    async def words(self, words: Sequence[Placed]) -> None:
        self.got.append(("words", self.now, [text for text, _, _ in words]))

    async def done(self) -> None:
        self.got.append(("done", self.now, None))

    async def struck(self, fault: Fault) -> None:
        self.got.append(("struck", self.now, fault.kind))

    def times(self) -> list[float]:
        return [at - 100 for kind, at, _ in self.got if kind == "audio"]

    def gaps(self) -> list[float]:
        times = self.times()
        return [late - early for early, late in pairwise(times)]

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.got]


@pytest.fixture
async def voice() -> Voice:
    voice = Voice()
    await voice.speak(SUNNY, rate=RATE)
    return voice


@pytest.mark.parametrize(("pace", "gap"), [(0.8, 0.125), (1.0, 0.1), (20.0, 0.005), (0.0, 0.0)])
async def test_chunks_come_at_the_pace_that_is_set(voice: Voice, pace: float, gap: float) -> None:
    desk = Desk(voice, tts_pace=pace)
    await desk.speaking.run()
    assert desk.gaps() == pytest.approx([gap] * len(desk.gaps()))
    assert desk.kinds()[-1] == "done"


async def test_sleeps_that_last_too_long_do_not_add_up(voice: Voice) -> None:
    desk = Desk(voice, tts_pace=20)
    desk.overshoot = 0.002
    await desk.speaking.run()
    assert desk.times()[-1] == pytest.approx(0.005 * len(desk.gaps()), abs=0.006)


async def test_a_stall_comes_after_so_many_chunks_and_loses_nothing(voice: Voice) -> None:
    smooth, stalled = (
        Desk(voice, fault, tts_pace=1)
        for fault in (None, Fault(stage="tts", kind="stall", moment="within", after=4, stall_s=1.5))
    )
    await smooth.speaking.run()
    await stalled.speaking.run()
    assert stalled.gaps()[3] == pytest.approx(1.6)
    assert sum(gap > 0.15 for gap in stalled.gaps()) == 1
    assert stalled.account.speech[0].so_far().pcm == smooth.account.speech[0].so_far().pcm


async def test_a_voice_that_hangs_takes_text_and_sends_nothing_for_so_long(voice: Voice) -> None:
    desk = Desk(voice, Fault(stage="tts", kind="hang", stall_s=5), tts_pace=1)
    await desk.speaking.run()
    assert desk.times()[0] == pytest.approx(5.0)
    assert desk.kinds()[-1] == "done"


@pytest.mark.parametrize(
    ("moment", "sent"), [("before", []), ("within", ["audio", "audio", "audio"])], ids=["before", "within"]
)
async def test_a_cancel_is_heeded_when_the_hang_is_over(voice: Voice, moment: Any, sent: list[str]) -> None:
    """The chunk under way still goes out then, late as it is."""
    desk = Desk(voice, Fault(stage="tts", kind="hang", moment=moment, after=2, stall_s=5), tts_pace=0)
    desk.on_sleep = lambda seconds: desk.speaking.cancel() if seconds == 5 else None
    await desk.speaking.run()
    assert desk.now >= 105
    assert [kind for kind in desk.kinds() if kind != "words"] == sent
    assert [line.what for line in desk.account.served if line.what != "first_audio"] == ["fault", "cancelled"]


async def test_a_cancel_is_heeded_at_once_in_a_stall(voice: Voice) -> None:
    desk = Desk(voice, Fault(stage="tts", kind="stall", moment="within", after=2, stall_s=5), tts_pace=0)
    desk.on_sleep = lambda seconds: desk.speaking.cancel()
    await desk.speaking.run()
    assert desk.now == 100
    assert len(desk.times()) == 2


async def test_a_cancel_lets_the_messages_of_the_chunk_under_way_out_and_nothing_after(voice: Voice) -> None:
    desk = Desk(voice, tts_pace=0, tts_chunk_ms=400)
    desk.on_audio = lambda count: desk.speaking.cancel() if count == 2 else None
    await desk.speaking.run()
    assert desk.kinds()[-2:] == ["audio", "words"]
    kept = desk.account.speech[0].so_far()
    assert len(kept.pcm) // 2 == sum(samples for kind, _, samples in desk.got if kind == "audio")
    assert [word.text for word in kept.words] == [w for kind, _, words in desk.got if kind == "words" for w in words]


async def test_a_connection_that_ends_waits_for_no_hang(voice: Voice) -> None:
    desk = Desk(voice, Fault(stage="tts", kind="hang", stall_s=5), tts_pace=0)
    task = asyncio.create_task(desk.speaking.run())

    def cancel_twice(seconds: float) -> None:
        desk.speaking.cancel()
        task.cancel()

    desk.on_sleep = cancel_twice
    with pytest.raises(asyncio.CancelledError):
        await task
    assert desk.got == []
    assert desk.now == 100


async def test_what_is_cancelled_before_it_began_says_nothing(voice: Voice) -> None:
    desk = Desk(voice, Fault(stage="tts", kind="drop"))
    desk.speaking.cancel()
    await desk.speaking.run()
    assert desk.got == []
    assert len(desk.account.faults.pending) == 1


@pytest.mark.parametrize("wrong", [{"stage": "stt"}, {"stage": "tts", "moment": "connect"}])
def test_only_a_voice_hangs_and_not_at_the_door(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="there is no hang at stage"):
        Fault.model_validate({"kind": "hang"} | wrong)
