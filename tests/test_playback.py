"""Playback: in time, able to stop at once and to go on from any sample."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from pipecat.frames.frames import Frame

from callwright.playback import REFILL_MS, Playback
from callwright.speech_queue import ONSET_MS, Chunk
from tests.speech_by_hand import RATE, Kept, Mark, pcm, speech


class Source:
    """The room's source, playing whenever the test says so."""

    def __init__(self, capacity: int = 200) -> None:
        self.open = True
        self.takes = True
        self.waiting: list[int] = []
        self.heard: list[int] = []
        self._capacity = capacity
        self._room = asyncio.Event()

    def queued(self) -> int:
        return len(self.waiting)

    async def send(self, data: bytes) -> bool:
        if not self.takes:
            return False
        self.waiting += np.frombuffer(data, np.int16).tolist()
        while len(self.waiting) > self._capacity:
            self._room.clear()
            await self._room.wait()
        return True

    def clear(self) -> None:
        self.waiting.clear()
        self._room.set()

    def play(self, count: int) -> None:
        self.heard += self.waiting[:count]
        del self.waiting[:count]
        self._room.set()


@dataclass
class Stage:
    """A playback that runs, and all that it tells."""

    source: Source = field(default_factory=Source)
    pushed: list[str] = field(default_factory=list)
    sounding: list[bool] = field(default_factory=list)
    chunks: list[tuple[str, int, int, int]] = field(default_factory=list)
    silences: list[tuple[int, int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.playback = Playback(RATE, self)

    def submitted(self, chunk: Chunk, index: int, queued: int) -> None:
        self.chunks.append((chunk.stretch, chunk.offset, chunk.samples, index))

    def played(self, index: int) -> None:
        self.counts.append(index)

    def silenced(self, index: int, dropped: int) -> None:
        self.silences.append((index, dropped))

    async def push(self, frame: Frame) -> None:
        assert isinstance(frame, Mark)
        self.pushed.append(frame.label)

    async def sounds(self, sounding: bool) -> None:
        self.sounding.append(sounding)

    def say(self, stretch: str, count: int, *, mark: str = "", first: int = 0) -> None:
        """A whole stretch, and a frame behind it."""
        self.playback.append(stretch, pcm(first, count))
        self.playback.close(stretch)
        if mark:
            self.playback.mark(Mark(label=mark))

    async def settle(self) -> None:
        """Let the playback do what it can do now; it looks again after at most 40 ms."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(1):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.002)


@asynccontextmanager
async def stage(capacity: int = 200) -> AsyncIterator[Stage]:
    running = Stage(Source(capacity))
    task = asyncio.create_task(running.playback.run(running.source, running.push, running.sounds))
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_frame_is_pushed_when_all_before_it_has_left() -> None:
    async with stage() as it:
        it.say("a", 100, mark="end of a")
        await it.settle()
        assert it.source.waiting == list(range(100))
        it.source.play(99)
        await asyncio.sleep(0.05)
        assert it.pushed == []
        it.source.play(1)
        await it.until(lambda: it.pushed == ["end of a"])


async def test_listeners_are_told_of_every_chunk_and_of_the_count() -> None:
    async with stage() as it:
        it.say("a", 60)
        it.say("b", 20)
        await it.settle()
        assert it.chunks == [("a", 0, 40, 0), ("a", 40, 20, 40), ("b", 0, 20, 60)]
        it.source.play(30)
        assert it.playback.played == 30
        assert it.counts == sorted(it.counts)


async def test_speech_sounds_once_and_is_over_once() -> None:
    async with stage() as it:
        it.say("a", 20)
        it.say("b", 20)
        await it.settle()
        assert it.sounding == [True]
        it.source.play(40)
        await it.until(lambda: it.sounding == [True, False])
        it.say("c", 20)
        await it.until(lambda: it.sounding == [True, False, True])


async def test_the_end_of_a_stretch_is_padded_to_a_whole_tick() -> None:
    async with stage() as it:
        it.say("a", 33, mark="end")
        it.say("b", 10, first=100)
        await it.settle()
        assert it.source.waiting == [*range(33), *[0] * 7, *range(100, 110)]
        assert it.chunks == [("a", 0, 33, 0), ("b", 0, 10, 40)]


async def test_a_voice_that_let_the_room_run_dry_gets_ahead_before_it_is_heard_again() -> None:
    async with stage() as it:
        it.playback.append("a", pcm(0, 100))
        await it.settle()
        assert it.source.waiting == list(range(100))  # the first sound waits for nothing
        it.playback.append("a", pcm(100, 50))
        await it.settle()
        it.source.play(150)
        it.playback.append("a", pcm(150, REFILL_MS - 10))
        await it.settle()
        assert it.source.waiting == []
        it.playback.append("a", pcm(140 + REFILL_MS, 10))
        await it.settle()
        assert it.source.waiting == list(range(150, 150 + REFILL_MS))


async def test_what_a_dry_voice_has_made_is_heard_when_it_is_all_or_no_more_comes_in_time() -> None:
    async with stage() as it:
        for ended, begin in ((True, 0), (False, 100)):
            it.playback.append(f"{ended}", pcm(begin, 40))
            await it.settle()
            it.source.play(40)
            it.playback.append(f"{ended}", pcm(begin + 40, 30))
            await it.settle()
            assert it.source.waiting == []
            if ended:
                it.playback.close(f"{ended}")
                await it.settle()
            else:
                await it.until(lambda: len(it.source.waiting) == 30)
            assert it.source.waiting == list(range(begin + 40, begin + 70))
            it.source.play(30)


async def test_a_hold_silences_at_once_and_loses_nothing() -> None:
    async with stage() as it:
        it.say("a", 300, mark="end")
        await it.settle()
        it.source.play(130)
        it.playback.hold()
        assert it.source.waiting == []
        assert it.silences[0] == (130, 110)  # the source takes 200, and a chunk waits to be let in
        await asyncio.sleep(0.05)
        assert it.source.waiting == []
        it.playback.release()
        await it.settle()
        it.source.play(1000)
        await it.until(lambda: len(it.source.heard) + len(it.source.waiting) == 300)
        it.source.play(1000)
        await it.until(lambda: it.pushed == ["end"])
        assert it.source.heard == list(range(300))
        assert it.playback.submitted == 300


async def test_after_a_hold_speech_goes_on_from_where_it_is_told() -> None:
    async with stage() as it:
        it.say("a", 60)
        it.say("b", 40, first=100, mark="end")
        await it.settle()
        it.source.play(75)
        it.playback.hold()
        it.playback.release(("b", 5))
        await it.settle()
        it.source.play(200)
        await it.until(lambda: it.pushed == ["end"])
        assert it.source.heard == [*range(60), *range(100, 115), *range(105, 140), *[0] * 5]


async def test_after_a_hold_within_its_onset_a_stretch_goes_on_without_the_silence_before_it() -> None:
    async with stage() as it:
        it.playback.append("a", speech(200, 100), awaited=True)
        it.playback.close("a")
        it.playback.mark(Mark(label="end"))
        await it.settle()
        it.source.play(50)
        it.playback.hold()
        assert it.silences == [(50, 80)]
        it.playback.release(("a", 140))  # the floor leaves room for the word's onset
        await it.settle()
        it.source.play(200)
        await it.until(lambda: it.pushed == ["end"])
        silence = [0] * ONSET_MS
        assert it.source.heard == [*silence, *range(1200, 1220), *silence, *range(1200, 1300)]
        assert it.chunks[-1][1] + it.chunks[-1][2] == 300


async def test_speech_can_go_on_from_a_stretch_before() -> None:
    async with stage() as it:
        it.say("a", 60, mark="between")
        it.say("b", 40, first=100, mark="end")
        await it.settle()
        it.source.play(58)
        it.playback.hold()
        it.playback.release(("a", 30))
        await it.settle()
        it.source.play(200)
        await it.until(lambda: it.pushed == ["between", "end"])
        assert it.source.heard == [*range(58), *range(30, 60), *range(100, 140)]


async def test_a_hold_in_a_hold_changes_nothing() -> None:
    async with stage() as it:
        it.say("a", 60)
        await it.settle()
        it.playback.hold()
        it.playback.hold()
        assert it.silences == [(0, 60)]
        assert it.playback.held


async def test_what_comes_while_it_is_held_waits() -> None:
    async with stage() as it:
        it.playback.hold()
        it.say("a", 20, mark="end")
        await asyncio.sleep(0.02)
        assert it.source.waiting == []
        it.playback.release()
        await it.settle()
        it.source.play(20)
        await it.until(lambda: it.pushed == ["end"])


async def test_a_hold_while_the_source_is_full_counts_what_it_was_just_given() -> None:
    async with stage(capacity=50) as it:
        it.say("a", 200, mark="end")
        await it.settle()
        assert len(it.source.waiting) == 80  # the second chunk waits to be let in
        it.source.play(20)
        it.playback.hold()
        assert it.silences == [(20, 60)]
        it.playback.release()
        for _ in range(20):
            await it.settle()
            it.source.play(20)
        await it.until(lambda: it.pushed == ["end"])
        assert it.source.heard == list(range(200))


async def test_a_hold_within_the_padding_does_not_lose_the_frame_behind_it() -> None:
    async with stage() as it:
        it.say("a", 33, mark="end")
        await it.settle()
        it.source.play(35)  # all of it, and 2 of 7 samples of padding
        it.playback.hold()
        it.playback.release()
        await it.until(lambda: it.pushed == ["end"])


async def test_a_cut_drops_everything_and_refuses_what_still_comes() -> None:
    async with stage() as it:
        it.say("a", 100, mark="end of a")
        it.say("b", 100, mark="end of b")
        await it.settle()
        it.source.play(30)
        it.playback.cut()
        assert it.source.waiting == []
        it.playback.append("a", pcm(100, 20))
        it.playback.append("late", pcm(0, 20))
        await asyncio.sleep(0.05)
        assert it.source.waiting == []
        assert it.pushed == []
        assert it.sounding == [True, False]
        it.playback.accept()
        it.say("new", 20, first=500, mark="end of new")
        await it.settle()
        assert it.source.waiting == list(range(500, 520))
        it.source.play(20)
        await it.until(lambda: it.pushed == ["end of new"])
        assert it.chunks[-1] == ("new", 0, 20, 30)  # the count goes on where the silence began


async def test_frames_that_may_not_be_dropped_survive_a_cut() -> None:
    async with stage() as it:
        it.playback.append("a", pcm(0, 100))
        it.playback.mark(Kept(label="kept"))
        it.playback.mark(Mark(label="lost"))
        await it.settle()
        it.playback.cut()
        await it.until(lambda: it.pushed == ["kept"])


async def test_a_frame_that_may_not_be_dropped_survives_a_cut_when_only_its_audio_was_still_sounding() -> None:
    async with stage() as it:
        it.playback.append("a", pcm(0, 100))
        it.playback.close("a")
        it.playback.mark(Kept(label="kept"))
        await it.settle()
        it.source.play(50)
        it.playback.cut()
        await it.until(lambda: it.pushed == ["kept"])


async def test_a_cut_leaves_a_hold_to_whoever_has_it() -> None:
    async with stage() as it:
        it.say("a", 100)
        await it.settle()
        it.playback.hold()
        it.playback.cut()
        it.playback.accept()
        assert it.playback.held
        it.playback.release()
        it.say("b", 20)
        await it.settle()
        assert len(it.source.waiting) == 20


async def test_nothing_is_handed_over_while_nobody_could_hear() -> None:
    async with stage() as it:
        it.source.open = False
        it.say("a", 20, mark="end")
        await asyncio.sleep(0.05)
        assert it.source.waiting == []
        assert it.playback.played == 0
        it.source.open = True
        it.playback.hold()
        it.playback.release()  # as the keeper does when the room is back
        await it.settle()
        it.source.play(20)
        await it.until(lambda: it.pushed == ["end"])


async def test_what_the_source_does_not_take_is_tried_again_and_counts_once() -> None:
    async with stage() as it:
        it.say("a", 60, mark="end")
        it.source.takes = False
        await asyncio.sleep(0.06)
        assert it.playback.played == 0
        it.source.takes = True
        await it.until(lambda: len(it.source.waiting) == 60)
        assert it.pushed == []
        it.source.play(60)
        await it.until(lambda: it.pushed == ["end"])
        assert it.source.heard == list(range(60))
        assert it.playback.submitted == 60


async def test_a_stretch_that_is_over_takes_no_more_audio() -> None:
    async with stage() as it:
        it.playback.append("a", pcm(0, 20))
        it.playback.close("a", over=True)
        it.playback.mark(Mark(label="end"))
        it.playback.append("a", pcm(20, 20))
        await it.settle()
        it.source.play(100)
        await it.until(lambda: it.pushed == ["end"])
        assert it.source.heard == list(range(20))


async def test_draining_waits_until_all_was_played() -> None:
    async with stage() as it:
        await it.playback.drain()
        it.say("a", 20, mark="end")
        drained = asyncio.create_task(it.playback.drain())
        await it.settle()
        assert not drained.done()
        it.source.play(20)
        async with asyncio.timeout(1):
            await drained
        assert it.pushed == ["end"]


async def test_without_a_source_nothing_is_played_and_a_hold_is_harmless() -> None:
    silent = Stage()
    silent.say("a", 20)
    silent.playback.hold()
    silent.playback.cut()
    assert silent.playback.played == 0
    assert silent.silences == [(0, 0), (0, 0)]
