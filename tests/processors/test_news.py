"""When the model is asked although the caller said nothing: the floor is free, and there is news."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import (
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext

from callwright.clock import SystemClock
from processors.news import News, NewsDesk


def test_without_news_nobody_is_asked() -> None:
    news = News()
    news.caller(True, 0)
    news.caller(False, 100)
    assert news.due_at() is None


def test_news_waits_a_breath_although_the_floor_is_free() -> None:
    news = News(settle_ms=300)
    news.owed(True, 1000)
    assert news.due_at() == 1300


@pytest.mark.parametrize("who", ["caller", "agent", "answering"])
def test_news_waits_until_the_floor_is_free(who: str) -> None:
    news = News(settle_ms=300)
    getattr(news, who)(True, 0)
    news.owed(True, 500)
    assert news.due_at() is None
    getattr(news, who)(False, 2000)
    assert news.due_at() == 2300


def test_more_news_does_not_put_off_the_asking() -> None:
    news = News(settle_ms=300)
    news.owed(True, 0)
    news.owed(True, 200)
    assert news.due_at() == 300


def test_a_request_that_took_the_news_along_leaves_nothing_to_ask_for() -> None:
    news = News()
    news.owed(True, 0)
    news.answering(True, 100)
    news.owed(False, 100)
    news.answering(False, 900)
    assert news.due_at() is None


EVENT = st.tuples(
    st.sampled_from(["caller", "agent", "answering", "owed"]), st.booleans(), st.integers(min_value=0, max_value=500)
)


@given(st.lists(EVENT, max_size=40))
def test_whatever_happens_nobody_is_asked_into_speech_and_news_is_not_forgotten(
    events: list[tuple[str, bool, int]],
) -> None:
    news, now, holds = News(settle_ms=300), 0, dict.fromkeys(("caller", "agent", "answering", "owed"), False)
    changed = 0
    for who, value, wait in events:
        now += wait
        getattr(news, who)(value, now)
        changed = now if holds[who] != value and (who == "owed" or not value) else changed
        holds[who] = value
        free = not (holds["caller"] or holds["agent"] or holds["answering"])
        assert (news.due_at() is not None) == (free and holds["owed"])
        if (due_at := news.due_at()) is not None:
            assert due_at == changed + 300


class _Bench:
    """The desk among stand-ins: what it asks is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.handlers: dict[str, Any] = {}
        self.closers: list[Any] = []
        self.gate: Any = SimpleNamespace(owed=False, tell=lambda changed: setattr(self, "changed", changed))
        self.floor = SimpleNamespace(busy=False)
        self.settled: Any = None
        keeper: Any = SimpleNamespace(floor=self.floor, tell=lambda settled: setattr(self, "settled", settled))
        self.changed: Any = None

        async def queue_frame(frame: object) -> None:
            self.asked.append(frame)

        self.parts: Any = SimpleNamespace(
            mind=SimpleNamespace(add_event_handler=self.handlers.__setitem__, queue_frame=queue_frame),
            clock=SystemClock(),
            call=SimpleNamespace(ending=False),
            context=LLMContext([]),
            on_close=self.closers.append,
        )
        self.desk = NewsDesk(self.parts, keeper, self.gate, policy=News(settle_ms=1))

    def owe(self, owed: bool = True) -> None:
        self.gate.owed = owed
        self.changed()

    async def receive(self, frame: object) -> None:
        await self.handlers["on_before_process_frame"](None, frame)

    async def push(self, frame: object) -> None:
        await self.handlers["on_before_push_frame"](None, frame)


async def _soon() -> None:
    await asyncio.sleep(0.02)


async def test_the_desk_asks_once_for_all_the_news() -> None:
    bench = _Bench()
    bench.owe()
    bench.owe()
    await _soon()
    assert [type(frame) for frame in bench.asked] == [LLMContextFrame]
    assert bench.asked[0].context is bench.parts.context
    await bench.receive(bench.asked[0])
    bench.owe(False)
    await bench.push(LLMFullResponseEndFrame())
    await _soon()
    assert len(bench.asked) == 1
    await bench.desk.aclose()


async def test_the_desk_waits_for_the_agents_last_word() -> None:
    bench = _Bench()
    bench.floor.busy = True
    bench.owe()
    await _soon()
    assert bench.asked == []
    bench.floor.busy = False
    bench.settled(None, False)
    await _soon()
    assert len(bench.asked) == 1
    await bench.desk.aclose()


async def test_the_desk_waits_for_the_callers_last_word_and_leaves_the_news_to_their_turn() -> None:
    bench = _Bench()
    await bench.receive(UserStartedSpeakingFrame())
    bench.owe()
    await _soon()
    await bench.receive(UserStoppedSpeakingFrame())
    await bench.receive(LLMContextFrame(bench.parts.context))
    bench.owe(False)  # the gate has put the news into that request
    await bench.push(LLMFullResponseEndFrame())
    await _soon()
    assert bench.asked == []
    await bench.desk.aclose()


async def test_an_asking_that_was_interrupted_is_made_up_for() -> None:
    bench = _Bench()
    bench.owe()
    await _soon()
    await bench.receive(InterruptionFrame())  # the request was thrown away before the mind saw it
    await _soon()
    assert len(bench.asked) == 2
    await bench.desk.aclose()


async def test_nobody_is_asked_once_the_call_is_ending() -> None:
    bench = _Bench()
    bench.parts.call.ending = True
    bench.owe()
    await _soon()
    await bench.desk.aclose()
    bench.parts.call.ending = False
    bench.owe()
    await _soon()
    assert bench.asked == []
