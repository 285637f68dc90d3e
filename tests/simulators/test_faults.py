"""An ordered fault strikes where, when and as often as ordered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callwright.simulators.faults import POSSIBLE, POSSIBLE_IN_BATCH, Fault, FaultBook, Within


def test_a_fault_strikes_as_often_as_ordered_and_then_no_more() -> None:
    book = FaultBook()
    book.add(Fault(stage="tts", kind="drop", count=2))
    assert [book.take("tts", "before") is not None for _ in range(3)] == [True, True, False]


def test_a_fault_waits_for_its_stage_and_moment() -> None:
    book = FaultBook()
    book.add(Fault(stage="llm", kind="status", moment="connect", status=429))
    assert book.take("stt", "connect") is None
    assert book.take("llm", "before") is None
    assert book.take("llm", "connect") is not None


def test_faults_strike_in_the_order_they_were_ordered() -> None:
    book = FaultBook()
    for kind in ("stall", "drop"):
        book.add(Fault(stage="llm", kind=kind))
    taken = [book.take("llm", "before") for _ in range(2)]
    assert [fault.kind for fault in taken if fault] == ["stall", "drop"]


def test_what_was_ordered_is_not_changed_by_what_is_taken() -> None:
    book = FaultBook()
    order = Fault(stage="llm", kind="drop", count=3)
    book.add(order)
    book.take("llm", "before")
    assert order.count == 3
    assert [fault.count for fault in book.pending] == [2]


def test_a_fault_within_an_answer_spares_the_messages_before_it() -> None:
    book = FaultBook()
    book.add(Fault(stage="tts", kind="drop", moment="within", after=2))
    within = Within(book, "tts")
    assert [within.strikes() is not None for _ in range(5)] == [False, False, True, False, False]


def test_a_fault_ordered_in_the_middle_counts_from_there() -> None:
    book = FaultBook()
    within = Within(book, "tts")
    assert within.strikes() is None
    book.add(Fault(stage="tts", kind="drop", moment="within", after=1))
    assert [within.strikes() is not None for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": "stt", "kind": "trickle", "moment": "within"},
        {"stage": "llm", "kind": "drop", "moment": "idle"},
        {"stage": "tts", "kind": "silence", "moment": "idle"},
        {"stage": "tts", "kind": "empty", "moment": "connect"},
        {"stage": "llm", "kind": "drop", "batch": True},
        {"stage": "tts", "kind": "hang", "batch": True},
        {"stage": "tts", "kind": "drop", "moment": "idle", "batch": True},
    ],
)
def test_what_cannot_happen_cannot_be_ordered(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"there is no|only speech"):
        Fault.model_validate(wrong)


def test_whatever_is_listed_as_possible_can_be_ordered() -> None:
    for (stage, moment), kinds in POSSIBLE.items():
        for kind in kinds:
            Fault(stage=stage, moment=moment, kind=kind)
    for moment, kinds in POSSIBLE_IN_BATCH.items():
        for kind in kinds:
            Fault(stage="tts", moment=moment, kind=kind, batch=True)


def test_batches_and_live_speech_meet_their_own_faults() -> None:
    book = FaultBook()
    book.add(Fault(stage="tts", kind="drop", batch=True))
    assert book.take("tts", "before") is None
    assert book.take("tts", "before", batch=True) is not None


async def test_an_order_is_noticed_by_all_who_wait_for_it() -> None:
    book = FaultBook()
    waiting = [asyncio.create_task(book.ordered("tts", "idle")) for _ in range(2)]
    book.add(Fault(stage="tts", kind="drop"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    book.add(Fault(stage="tts", kind="drop", moment="idle"))
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


def test_a_trickle_has_a_pace_of_its_stage() -> None:
    paces = [Fault(stage=stage, kind="trickle", moment="within").trickle for stage in ("llm", "tts")]
    assert paces == [1.0, 0.3]
