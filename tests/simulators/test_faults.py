"""An ordered fault strikes where, when and as often as ordered."""

from __future__ import annotations

from callwright.simulators.faults import Fault, FaultBook, Within


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
