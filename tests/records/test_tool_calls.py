"""What became of every tool call is on record, whoever waited for it and however late it came."""

from __future__ import annotations

from callwright.records import events as e
from callwright.records.record import JoinedRecord, LateRecord
from callwright.records.tool_calls import ToolCalls

BEGUN = e.ToolStarted(1, "a", "pay", {"sum": 5})


def taken(*timed: tuple[int, e.Event]) -> ToolCalls:
    """After so many ms each."""
    calls = ToolCalls()
    for at_ms, event in timed:
        calls.take(event, at_ms * 1_000_000)
    return calls


def ended(turn: int, *, ok: bool = True, error: str | None = None) -> e.ToolEnded:
    return e.ToolEnded(turn, "a", "pay", ok, None if error else {"done": True}, error)


def test_a_tool_that_the_model_did_not_wait_for_is_told_of_in_a_later_turn() -> None:
    calls = taken((0, BEGUN), (4_000, e.ToolPending(1, "a", "pay")), (6_500, ended(1)), (6_800, e.ToolNews(2, ("a",))))
    (tool,) = calls.of(1)
    assert (tool.ok, tool.ms, tool.pending, tool.news_turn) == (True, 6_500, True, 2)
    assert calls.of(2) == ()


def test_the_true_outcome_stands_beside_the_one_that_was_not_known() -> None:
    calls = taken(
        (0, BEGUN),
        (60_000, ended(1, ok=False, error="pay has not ended")),
        (72_000, e.ToolLate(1, "a", "pay", ok=True, result={"done": True})),
    )
    (tool,) = calls.of(1)
    assert (tool.ok, tool.ms, tool.error) == (False, 60_000, "pay has not ended")
    assert tool.late == LateRecord(True, 72_000, {"done": True}, None)


def test_a_call_that_joined_a_run_is_no_run_of_its_own() -> None:
    calls = taken((0, BEGUN), (3_000, e.ToolJoined(2, "b", "pay", {"sum": 5}, run="a")), (4_000, ended(1)))
    assert [tool.tool_call_id for tool in calls.of(1)] == ["a"]
    assert calls.of(2) == ()
    assert calls.joined(2) == (JoinedRecord(2, "b", "pay", {"sum": 5}, "a", 1),)


def test_what_is_said_of_a_call_that_joined_holds_for_the_run() -> None:
    calls = taken((0, BEGUN), (3_000, e.ToolJoined(2, "b", "pay", {}, run="a")), (7_000, e.ToolPending(2, "b", "pay")))
    (tool,) = calls.of(1)
    assert tool.pending


def test_attempts_are_counted_and_a_cancelled_tool_says_why() -> None:
    calls = taken(
        (0, BEGUN),
        (300, e.ToolRetried(1, "a", "pay", 2, "timeout", 0.25)),
        (900, e.ToolRetried(1, "a", "pay", 3, "timeout", 0.5)),
        (1_000, e.ToolCancelled(1, "a", "pay", "caller_spoke")),
        (1_001, ended(1, ok=False, error="pay was cancelled")),
    )
    (tool,) = calls.of(1)
    assert (tool.attempts, tool.cancelled) == (3, "caller_spoke")


def test_what_is_said_of_a_tool_that_never_began_changes_nothing() -> None:
    calls = taken((0, e.ToolPending(1, "x", "pay")), (1, e.ToolJoined(1, "y", "pay", {}, run="x")))
    assert calls.of(1) == ()
    assert calls.joined(1)[0].run_turn is None
