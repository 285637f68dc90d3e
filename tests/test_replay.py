"""A recorded call's tools run again: what became of each, what is never done, and what was said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from callwright import Agent, Call, ToolError, tool
from callwright.clock import ManualClock, SystemClock
from callwright.differences import ABSENT
from callwright.errors import AgentError, ConfigError
from callwright.offline import OfflineCall, OfflineNotes, replay
from callwright.records import events as e
from callwright.records.fold import fold
from callwright.records.journal import Entry
from callwright.records.prices import PriceBook
from callwright.records.record import CallRecord
from callwright.replay import NothingToReplay, Replay, Replayed, Rules, State, require_tools, script_of
from callwright.tools import Tool
from processors.gate import Gate

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
STARTED = e.CallStarted("desk", "demo", {}, {}, None, 48_000, script="")


class Recorded:
    """A call being written down, event by event."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._now_ns = 0
        self.note(STARTED, e.CallerJoined("caller-7"))

    def note(self, *events: e.Event) -> Recorded:
        for event in events:
            self._entries.append(Entry(len(self._entries) + 1, self._now_ns, START, event))
        return self

    def used(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        result: Any = None,
        *,
        turn: int = 1,
        ms: int = 10,
        error: str | None = None,
    ) -> Recorded:
        key = f"t{len(self._entries)}"
        self.note(e.ToolStarted(turn, key, name, arguments or {}))
        self._now_ns += ms * 1_000_000
        return self.note(e.ToolEnded(turn, key, name, ok=error is None, result=result, error=error))

    def said(self, text: str, role: str = "statement", *, turn: int = 1, unheard: str = "") -> Recorded:
        return self.note(e.AgentText(turn, text, role, interrupted=bool(unheard), unheard=unheard))

    def over(self, reason: str = "caller_left") -> CallRecord:
        self.note(e.CallEnded(reason, "", ok=True))
        return fold("c1", self._entries, PriceBook.load())


async def again(record: CallRecord, tools: Sequence[Tool], rules: Rules = Rules(), **options: Any) -> Replay:  # noqa: B008
    agent = Agent(name="desk", prompt="Be brief.", tools=tools)
    return await replay(record, agent, rules, caller="caller-7", clock=options.get("clock", ManualClock()))


async def once(recorded: Recorded, one: Tool, rules: Rules = Rules(), **options: Any) -> Replayed:  # noqa: B008
    done = await again(recorded.over(options.pop("reason", "caller_left")), [one], rules, **options)
    (call,) = done.calls
    assert done.differs is not call.state.fine
    return call


@tool(side_effect=False)
async def double(number: int) -> dict[str, int]:
    """Double a number."""
    return {"twice": 2 * number}


# ---------------------------------------------------------------------------- what became of a call


async def test_the_same_result_is_the_same() -> None:
    call = await once(Recorded().used("double", {"number": 4}, {"twice": 8}), double)
    assert (call.state, call.differences) == (State.SAME, ())


async def test_another_result_differs_at_its_place() -> None:
    call = await once(Recorded().used("double", {"number": 4}, {"twice": 9}), double)
    assert call.state is State.DIFFERS
    assert [(found.path, found.then, found.now) for found in call.differences] == [("twice", 9, 8)]


async def test_a_place_that_is_ignored_does_not_count() -> None:
    call = await once(Recorded().used("double", {"number": 4}, {"twice": 9}), double, Rules(ignore=("twice",)))
    assert call.state is State.SAME


async def test_arguments_that_no_longer_fit_are_refused_and_the_tool_does_not_run() -> None:
    call = await once(Recorded().used("double", {"number": "four"}, {"twice": 8}), double)
    assert call.state is State.REFUSED
    assert "number: Input should be a valid integer" in call.note


async def test_arguments_that_never_fitted_are_refused_as_before() -> None:
    first = await once(Recorded().used("double", {}, {"twice": 8}), double)
    call = await once(Recorded().used("double", {}, error=first.note), double)
    assert call.state is State.SAME


async def test_a_tool_that_is_there_no_more_is_gone() -> None:
    call = await once(Recorded().used("treble", {"number": 4}, 12), double)
    assert call.state is State.GONE


async def test_a_tool_that_the_model_made_up_was_never_there() -> None:
    error = "there is no tool named treble; there are double"
    call = await once(Recorded().used("treble", {"number": 4}, error=error), double)
    assert call.state is State.SAME


async def test_an_exception_is_told_by_its_kind_and_place_and_never_by_its_words() -> None:
    @tool(side_effect=False)
    async def look(name: str) -> str:
        """Look."""
        raise KeyError(f"secret of {name}")

    call = await once(Recorded().used("look", {"name": "Mary"}, "found"), look)
    assert call.state is State.RAISED
    assert call.note.startswith("KeyError at test_replay.py:")
    assert "secret" not in str(call.to_json())


async def test_an_exception_that_was_raised_then_as_well_is_no_news() -> None:
    @tool(side_effect=False)
    async def look() -> str:
        """Look."""
        raise KeyError

    error = "look failed (KeyError); tell the caller that it did not work"
    assert (await once(Recorded().used("look", error=error), look)).state is State.SAME
    error = "look failed (ValueError); tell the caller that it did not work"
    assert (await once(Recorded().used("look", error=error), look)).state is State.RAISED


async def test_a_script_that_wants_to_exit_does_not_end_the_replay() -> None:
    @tool(side_effect=False)
    async def leave() -> str:
        """Leave."""
        raise SystemExit(3)

    done = await again(
        Recorded().used("leave", result="left").used("double", {"number": 1}, {"twice": 2}).over(),
        [
            leave,
            double,
        ],
    )
    assert [call.state for call in done.calls] == [State.RAISED, State.SAME]


async def test_a_refusal_in_the_tools_own_words_is_compared_with_the_one_before() -> None:
    @tool(side_effect=False)
    async def look() -> str:
        """Look."""
        raise ToolError("the calendar is closed")

    assert (await once(Recorded().used("look", error="the calendar is closed"), look)).state is State.SAME
    other = await once(Recorded().used("look", error="nobody is in"), look)
    assert [(found.path, found.then, found.now) for found in other.differences] == [
        ("(error)", "nobody is in", "the calendar is closed")
    ]
    found = await once(Recorded().used("look", result="open"), look)
    assert found.state is State.DIFFERS
    assert found.differences[0].now == {"error": "the calendar is closed"}


async def test_tools_see_what_had_been_said_and_what_others_noted() -> None:
    seen: list[tuple[object, object]] = []

    @tool(side_effect=False)
    async def look(call: Call) -> str:
        """Look."""
        seen.append((call.memory, dict(call.records.notes)))
        await call.records.note("looked", len(seen))
        return "open"

    recorded = Recorded().note(e.TurnStarted(1, "Are you open?", 0)).used("look", result="open")
    recorded.said("Yes.", "answer").note(e.TurnStarted(2, "Sure?", 0)).used("look", result="open", turn=2)
    assert not (await again(recorded.over(), [look])).differs
    first = (("caller", "Are you open?"),)
    assert seen == [(first, {}), ((*first, ("agent", "Yes."), ("caller", "Sure?")), {"looked": 1})]


async def test_what_failed_then_and_works_now_differs() -> None:
    call = await once(Recorded().used("double", {"number": 4}, error="double took too long"), double)
    assert call.state is State.DIFFERS
    assert call.differences[0].now == {"result": {"twice": 8}}


async def test_a_result_that_is_not_json_differs() -> None:
    @tool(side_effect=False)
    async def odd() -> object:
        """Return something odd."""
        return object()

    call = await once(Recorded().used("odd", result=1), odd)
    assert call.state is State.DIFFERS
    assert "not JSON" in str(call.differences[0].now)


@pytest.mark.parametrize(
    ("then_ms", "now_ms", "state"),
    [(200, 3000, State.SLOWER), (200, 1100, State.SAME), (5000, 6500, State.SAME), (5000, 10_000, State.SLOWER)],
)
async def test_a_tool_that_takes_noticeably_longer_is_slower(then_ms: int, now_ms: int, state: State) -> None:
    clock = ManualClock()

    @tool(side_effect=False)
    async def look() -> str:
        """Look."""
        clock.advance(ms=now_ms)
        return "ok"

    call = await once(Recorded().used("look", result="ok", ms=then_ms), look, clock=clock)
    assert call.state is state
    if state is State.SLOWER:
        assert call.note == f"took {then_ms / 1000:.1f} s then, {now_ms / 1000:.1f} s now"


async def test_a_tool_that_does_not_answer_is_given_up() -> None:
    @tool(side_effect=False)
    async def wait() -> str:
        """Wait."""
        await asyncio.Event().wait()
        return "never"

    call = await once(Recorded().used("wait", result="ok"), wait, Rules(limit_s=0.01), clock=SystemClock())
    assert (call.state, call.note) == (State.TIMED_OUT, "not done after 0.01 s")


async def test_a_timeout_of_the_tools_own_is_not_ours() -> None:
    @tool(side_effect=False)
    async def look() -> str:
        """Look."""
        raise TimeoutError

    assert (await once(Recorded().used("look", result="ok"), look)).state is State.RAISED


async def test_a_call_whose_end_or_beginning_is_not_on_record_is_not_run() -> None:
    @tool(side_effect=False)
    async def never() -> str:
        """Never run."""
        raise AssertionError

    begun = Recorded().note(e.ToolStarted(1, "t", "never", {}))
    assert (await once(begun, never)).state is State.NOT_RUN
    ended = Recorded().note(e.ToolEnded(1, "t", "never", ok=True, result=1))
    assert (await once(ended, never)).state is State.NOT_RUN


# ---------------------------------------------------------------------------- what is run


class Ledger:
    """Counts what a tool with a side effect has done."""

    def __init__(self) -> None:
        self.booked: list[int] = []

        @tool
        async def book(slot: int) -> str:
            """Book a slot."""
            self.booked.append(slot)
            return "booked"

        self.book = book


async def test_a_side_effect_is_answered_from_the_record() -> None:
    ledger = Ledger()
    call = await once(Recorded().used("book", {"slot": 3}, "other"), ledger.book)
    assert (call.state, ledger.booked) == (State.RECORDED, [])


async def test_a_side_effect_is_done_only_when_asked_for() -> None:
    ledger = Ledger()
    call = await once(Recorded().used("book", {"slot": 3}, "booked"), ledger.book, Rules(effects=True))
    assert (call.state, ledger.booked) == (State.SAME, [3])


async def test_arguments_of_a_side_effect_are_checked_without_doing_it() -> None:
    ledger = Ledger()
    call = await once(Recorded().used("book", {"slot": "three"}, "booked"), ledger.book)
    assert (call.state, ledger.booked) == (State.REFUSED, [])


async def test_only_what_is_named_is_run() -> None:
    ledger = Ledger()
    record = Recorded().used("book", {"slot": 3}, "booked").used("double", {"number": 1}, {"twice": 2}).over()
    done = await again(record, [ledger.book, double], Rules(effects=True, only=frozenset({"double"})))
    assert [call.state for call in done.calls] == [State.NOT_RUN, State.SAME]
    assert (ledger.booked, done.differs) == ([], False)


async def test_calls_run_in_the_order_of_the_record() -> None:
    ran: list[int] = []

    @tool(side_effect=False)
    async def note(number: int) -> None:
        """Note a number."""
        await asyncio.sleep(0)
        ran.append(number)

    recorded = Recorded()
    for turn, number in ((1, 3), (1, 1), (2, 2)):
        recorded.used("note", {"number": number}, turn=turn)
    await again(recorded.over(), [note])
    assert ran == [3, 1, 2]


# ---------------------------------------------------------------------------- the call they run in


async def test_a_tool_meets_the_recorded_call_and_cannot_touch_it() -> None:
    @tool(side_effect=False)
    async def leave(call: Call) -> list[object]:
        """Leave."""
        before = call.ending
        await call.end("Goodbye.")
        await call.end("Goodbye again.")
        return [call.id, call.caller, before, call.ending]

    recorded = Recorded().used("leave", result=["c1", "caller-7", False, True]).said("Goodbye.", "farewell")
    call = await once(recorded, leave, reason="agent_ended")
    assert (call.state, call.differences) == (State.SAME, ())
    assert call.now is not None
    assert call.now.performance.said == ("Goodbye.",)


def speaking(*lines: str) -> Tool:
    @tool(side_effect=False)
    async def look(call: Call) -> str:
        """Look, and say so."""
        for line in lines:
            await call.say(line)
        return "ok"

    return look


def said(call: Replayed) -> list[tuple[object, object]]:
    return [(found.then, found.now) for found in call.differences if found.path == "(said)"]


async def test_the_same_words_are_no_difference_also_where_the_caller_cut_them_off() -> None:
    recorded = Recorded().used("look", result="ok").said("Let me", unheard=" look.").said("Sure.", "answer")
    assert (await once(recorded, speaking("Let me look."))).state is State.SAME


async def test_other_words_are_shown_beside_those_of_then() -> None:
    call = await once(Recorded().used("look", result="ok").said("Let me look."), speaking("Let me have a look."))
    assert call.state is State.DIFFERS
    assert said(call) == [("Let me look.", "Let me have a look.")]


async def test_words_that_were_not_said_then_are_new_and_those_not_said_now_are_missing() -> None:
    new = await once(Recorded().used("look", result="ok"), speaking("One moment."))
    assert said(new) == [(ABSENT, "One moment.")]
    missing = await once(Recorded().used("look", result="ok").said("One moment."), speaking())
    assert said(missing) == [("One moment.", ABSENT)]


async def test_what_the_engine_said_is_not_missed() -> None:
    """Fillers, a failing vendor's apology and the farewell at a cap are no tool's words."""
    failure = e.VendorFailed(1, "llm", "anthropic", "timeout", "", permanent=False)
    recorded = Recorded().used("look", result="ok").said("Could you say that again?").note(failure)
    recorded.said("Just a second.", "filler", turn=1).said("Goodbye.", "farewell", turn=2)
    assert (await once(recorded, speaking(), reason="max_duration")).state is State.SAME


async def test_words_are_not_missed_while_another_tool_of_the_turn_has_not_run() -> None:
    ledger = Ledger()
    record = Recorded().used("look", result="ok").used("book", {"slot": 1}, "booked").said("Booked!").over()
    done = await again(record, [speaking(), ledger.book])
    assert [call.state for call in done.calls] == [State.SAME, State.RECORDED]


async def test_a_late_tools_words_are_found_in_the_next_turn() -> None:
    recorded = Recorded().used("look", result="ok").said("It is done.", turn=2)
    assert (await once(recorded, speaking("It is done."))).state is State.SAME


async def test_a_call_that_ends_now_and_did_not_then_differs_and_the_other_way_round() -> None:
    @tool(side_effect=False)
    async def leave(call: Call) -> None:
        """Leave."""
        await call.end()

    ends = await once(Recorded().used("leave"), leave)
    assert [(found.path, found.then, found.now) for found in ends.differences] == [("(call)", ABSENT, "agent_ended")]
    stays = await once(Recorded().used("look", result="ok"), speaking(), reason="agent_ended")
    assert [(found.path, found.then, found.now) for found in stays.differences] == [("(call)", "agent_ended", ABSENT)]


# ---------------------------------------------------------------------------- before anything runs


def test_a_call_without_tools_has_nothing_to_replay() -> None:
    with pytest.raises(NothingToReplay, match="used no tools") as refusal:
        require_tools(Recorded().over(), frozenset())
    assert refusal.value.exit_code == 2


def test_a_tool_that_the_call_did_not_use_cannot_be_chosen() -> None:
    with pytest.raises(ConfigError, match="did not use a tool 'dubble'; did you mean 'double'"):
        require_tools(Recorded().used("double", {"number": 1}, 2).over(), frozenset({"dubble"}))


def test_a_record_without_a_script_says_how_to_name_one() -> None:
    with pytest.raises(AgentError, match=r"name it: callwright replay ID AGENT\.py"):
        script_of([Entry(1, 0, START, STARTED)])


def test_a_journal_from_before_scripts_were_recorded_is_still_read() -> None:
    data = e.to_json(STARTED)
    del data["script"]
    assert e.from_json("call_started", data) == STARTED


# ---------------------------------------------------------------------------- what the gate writes, the replay reads


class GateParts:
    """As much of a call as the gate needs, with a journal in memory."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.turn = 1
        self.clock = ManualClock()
        self.recorded = Recorded()
        self.journal = self
        then = Recorded().used("double").over()
        self.call = OfflineCall(then, "caller-7", then.tools[0], OfflineNotes())

    def append(self, event: e.Event) -> int:
        self.recorded.note(event)
        return 0

    async def durable(self, seq: int | None = None) -> None: ...

    def on_close(self, closer: object) -> None: ...


async def test_a_call_that_went_through_the_gate_replays_as_the_same() -> None:
    @tool(side_effect=False)
    async def fail() -> None:
        """Fail."""
        raise KeyError("secret")

    @tool(side_effect=False)
    async def refuse() -> None:
        """Refuse."""
        raise ToolError("the calendar is closed")

    @tool(side_effect=False)
    async def today() -> datetime:
        """Tell the day."""
        return START

    @tool(side_effect=False)
    async def nothing() -> None:
        """Find nothing."""

    tools = [double, fail, refuse, today, nothing]
    parts: Any = GateParts(Agent(name="desk", prompt="Be brief.", tools=tools))
    gate = Gate(parts)
    asked: list[tuple[str, dict[str, Any]]] = [("double", {"number": 4}), ("double", {"number": "x"}), ("treble", {})]
    for key, (name, arguments) in enumerate([*asked, *((one.name, {}) for one in tools[1:])]):
        await gate.run(f"t{key}", name, arguments)
    done = await again(parts.recorded.over(), tools)
    assert [call.state for call in done.calls] == [State.SAME] * 7
    assert [call.then.ok for call in done.calls] == [True, False, False, False, False, True, True]
