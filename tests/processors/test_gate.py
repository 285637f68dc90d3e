"""Whatever a tool does and whatever the caller does meanwhile: once, on record, and answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tool_bench import GateBench, until

from callwright.tool_result import MODEL_CHARACTERS
from callwright.tools import Call, ToolError, tool
from processors.gate import Gate

PENDING = "still running"


class World:
    """What tools have done, and the events on which they wait."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.go = asyncio.Event()
        self.cleaned = 0


def booking(world: World, **policy: Any) -> Any:
    @tool(**policy)
    async def book(slot: int) -> str:
        """Book it."""
        await world.go.wait()
        world.done.append(f"slot {slot}")
        return f"number {len(world.done)}"

    return book


def looking(world: World, **policy: Any) -> Any:
    @tool(side_effect=False, **policy)
    async def look_up(day: str = "") -> list[str]:
        """Look it up."""
        try:
            await world.go.wait()
        except asyncio.CancelledError:
            world.cleaned += 1
            raise
        world.done.append("looked")
        return ["nine"]

    return look_up


def failing(error: BaseException, *, times: int = 99, **policy: Any) -> tuple[Any, list[int]]:
    """A tool that raises so often, and then succeeds; and its attempts."""
    attempts: list[int] = []

    @tool(**policy)
    async def fail() -> str:
        """Fail."""
        attempts.append(1)
        if len(attempts) <= times:
            raise error
        return "in the end"

    return fail, attempts


# -- every call is answered


async def test_a_result_is_on_the_disk_before_it_can_be_spoken() -> None:
    world = World()
    world.go.set()
    async with GateBench(booking(world)) as bench:
        answer = await bench.gate.run("a", "book", {"slot": 3})
        assert answer == {"result": "number 1"}
        assert bench.journal.kinds() == ["tool_started", "tool_ended"]
        assert bench.journal.durable_count == 2


async def test_a_tool_that_cannot_be_recorded_is_not_run() -> None:
    world = World()
    world.go.set()
    async with GateBench(booking(world)) as bench:
        bench.journal.broken = True
        assert "could not be recorded" in str((await bench.gate.run("a", "book", {"slot": 3}))["error"])
        assert world.done == []


async def test_an_effect_whose_end_cannot_be_recorded_is_not_called_certain() -> None:
    world = World()
    async with GateBench(booking(world)) as bench:
        running = asyncio.ensure_future(bench.gate.run("a", "book", {"slot": 3}))
        await until(lambda: bench.journal.durable_count == 1)
        bench.journal.broken = True
        world.go.set()
        assert "not certain" in str((await running)["error"])


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("bok", {}, "there is no tool named bok; there are book"),
        ("book", {"slot": "soon"}, "slot: Input should be a valid integer"),
        ("book", ["3"], "must be an object"),
        ("book", "3", "must be an object"),
        ("book", {"slot": float("nan")}, "slot: Input should be a valid integer"),
        ("book", {}, "slot: Field required"),
        ("book", {"slot": object()}, "not JSON"),
    ],
)
async def test_a_call_that_cannot_be_run_is_answered_with_what_to_mend(name: str, arguments: object, told: str) -> None:
    world = World()
    async with GateBench(booking(world)) as bench:
        assert told in str((await bench.gate.run("a", name, arguments))["error"])
        assert bench.journal.kinds() == ["tool_started", "tool_ended"]
        assert not bench.journal.one("tool_ended").ok
        assert world.done == []


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (0, {"result": 0}),
        (False, {"result": False}),
        ("", {"result": ""}),
        ([], {"result": []}),
        (None, {"result": None, "note": "it was done and gave nothing back"}),
        (float("nan"), {"result": "NaN"}),
        ([float("-inf")], {"result": ["-Infinity"]}),
        ("a\ud800b", {"result": "a?b"}),
    ],
)
async def test_a_strange_result_is_an_answer_that_any_vendor_takes(result: object, answer: object) -> None:
    @tool
    async def give() -> object:
        """Give."""
        return result

    async with GateBench(give) as bench:
        given = await bench.gate.run("a", "give", {})
        assert given == answer
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()


async def test_of_a_huge_result_the_model_reads_the_beginning_and_the_journal_keeps_all() -> None:
    @tool
    async def give() -> str:
        """Give."""
        return "x" * 100_000

    async with GateBench(give) as bench:
        answer = await bench.gate.run("a", "give", {})
        assert len(json.dumps(answer["result"])) == MODEL_CHARACTERS
        assert "92002 more characters are not shown" in str(answer["note"])
        assert len(bench.journal.one("tool_ended").result) == 100_000


async def test_a_result_that_is_not_json_is_said_so() -> None:
    circle: list[object] = []
    circle.append(circle)
    for result in (object(), circle):

        @tool
        async def give(given: str = "") -> object:
            """Give."""
            return result  # noqa: B023

        async with GateBench(give) as bench:
            assert "is not JSON" in str((await bench.gate.run("a", "give", {}))["error"])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("sk-secret"),
        SystemExit("sk-secret"),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        ExceptionGroup("g", [OSError()]),
    ],
)
async def test_whatever_a_tool_raises_is_answered_and_its_text_stays_with_it(error: BaseException) -> None:
    fail, _ = failing(error, side_effect=False)
    async with GateBench(fail) as bench:
        answer = await bench.gate.run("a", "fail", {})
        assert f"fail failed ({type(error).__name__})" in str(answer["error"])
        assert "sk-secret" not in str(answer) + str(bench.journal.events)


async def test_a_failed_side_effect_is_not_said_not_to_have_happened() -> None:
    fail, _ = failing(RuntimeError())
    async with GateBench(fail) as bench:
        assert "whether it was done is not known" in str((await bench.gate.run("a", "fail", {}))["error"])


async def test_what_the_tool_says_is_told_word_for_word() -> None:
    fail, attempts = failing(ToolError("The clinic is closed on Sunday."), side_effect=False)
    async with GateBench(fail) as bench:
        assert await bench.gate.run("a", "fail", {}) == {"error": "The clinic is closed on Sunday."}
        assert len(attempts) == 1


# -- attempts


@pytest.mark.parametrize("error", [ToolError("busy", passing=True), ConnectionResetError(), TimeoutError()])
async def test_a_passing_error_is_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.tool_work.FIRST_PAUSE_S", 0.001)
    fail, attempts = failing(error, times=2, side_effect=False)
    async with GateBench(fail) as bench:
        assert await bench.gate.run("a", "fail", {}) == {"result": "in the end"}
        assert len(attempts) == 3
        assert bench.journal.kinds() == ["tool_started", "tool_retried", "tool_retried", "tool_ended"]


async def test_a_side_effect_is_not_tried_again_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.tool_work.FIRST_PAUSE_S", 0.001)
    fail, attempts = failing(ConnectionError())
    async with GateBench(fail) as bench:
        await bench.gate.run("a", "fail", {})
        assert len(attempts) == 1
    keyed, attempts = failing(ConnectionError(), times=1, key=lambda given: "it")
    async with GateBench(keyed) as bench:
        assert await bench.gate.run("a", "fail", {}) == {"result": "in the end"}
        assert len(attempts) == 2


async def test_no_attempt_begins_after_the_limit() -> None:
    fail, attempts = failing(ConnectionError(), side_effect=False, limit_s=0.1)
    async with GateBench(fail) as bench:
        await bench.gate.run("a", "fail", {})  # the first pause alone is longer
        assert len(attempts) == 1


async def test_every_attempt_at_a_deed_has_the_same_key_and_every_deed_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("processors.tool_work.FIRST_PAUSE_S", 0.001)
    keys: list[str] = []

    @tool(side_effect=False)
    async def look(call: Call, day: str) -> str:
        """Look."""
        keys.append(call.idempotency_key)
        if len(keys) == 1:
            raise ConnectionError
        return "done"

    async with GateBench(look) as bench:
        await bench.gate.run("a", "look", {"day": "monday"})
        await bench.gate.run("b", "look", {"day": "monday"})
        assert keys[0] == keys[1] != keys[2]
        assert bench.journal.events[0].idempotency_key == keys[0]  # type: ignore[attr-defined]


# -- once


async def test_the_same_effect_asked_for_twice_in_one_reply_is_done_once_and_both_are_answered() -> None:
    world = World()
    async with GateBench(booking(world)) as bench:
        handlers = [bench.ask("a", "book", {"slot": 3}), bench.ask("b", "book", {"slot": "3"})]
        world.go.set()
        await asyncio.gather(*handlers)
        assert world.done == ["slot 3"]
        assert [answer["result"] for _, answer in bench.answers] == ["number 1", "number 1"]
        assert "done once" in bench.answers[1][1]["note"]
        assert bench.journal.one("tool_joined").run == "a"


async def test_different_effects_of_one_reply_run_at_once() -> None:
    world = World()
    async with GateBench(booking(world)) as bench:
        handlers = [bench.ask(key, "book", {"slot": slot}) for key, slot in (("a", 1), ("b", 2), ("c", 3))]
        await until(lambda: bench.journal.kinds().count("tool_started") == 3)
        world.go.set()
        await asyncio.gather(*handlers)
        assert sorted(world.done) == ["slot 1", "slot 2", "slot 3"]


async def test_what_the_model_knows_to_be_done_it_may_ask_for_again() -> None:
    world = World()
    world.go.set()
    async with GateBench(booking(world)) as bench:
        await bench.ask("a", "book", {"slot": 3})
        await bench.request()
        await bench.ask("b", "book", {"slot": 3})
        assert world.done == ["slot 3", "slot 3"]


async def test_with_a_key_of_its_own_a_deed_is_done_once_in_the_whole_call() -> None:
    world = World()
    world.go.set()
    async with GateBench(booking(world, key=lambda given: given["slot"])) as bench:
        await bench.ask("a", "book", {"slot": 3})
        await bench.request()
        await bench.ask("b", "book", {"slot": 3})
        await bench.ask("c", "book", {"slot": 4})
        assert world.done == ["slot 3", "slot 4"]


async def test_a_key_that_fails_refuses_the_call() -> None:
    world = World()
    async with GateBench(booking(world, key=lambda given: given["nothing"])) as bench:
        assert "its key failed (KeyError)" in str((await bench.gate.run("a", "book", {"slot": 3}))["error"])


async def test_an_effect_that_was_talked_over_and_asked_for_again_is_done_once() -> None:
    world = World()
    async with GateBench(booking(world)) as bench:
        bench.ask("a", "book", {"slot": 3})
        await until(lambda: bench.journal.durable_count == 1)
        await bench.interrupt()
        assert not bench.gate.busy
        assert PENDING in (await bench.request())[-1]
        again = bench.ask("b", "book", {"slot": 3})
        world.go.set()
        await again
        assert world.done == ["slot 3"]
        contents = await bench.request()
        assert "number 1" in contents[-1]  # in its place
        assert PENDING in contents[2]  # what was shown stays as it was


async def test_an_id_that_comes_again_is_another_call_with_its_own_answer() -> None:
    world = World()
    world.go.set()
    async with GateBench(booking(world)) as bench:
        await bench.ask("call_0", "book", {"slot": 1})
        await bench.request()
        await bench.ask("call_0", "book", {"slot": 2})
        contents = await bench.request()
        assert [contents[2], contents[4]] == ['{"result": "number 1"}', '{"result": "number 2"}']
        ids = [one["tool_calls"][0]["id"] for one in bench.context.messages if one.get("tool_calls")]  # type: ignore[union-attr, typeddict-item]
        assert ids == ["call_0", "call_0-2"]


async def test_the_same_call_under_the_same_id_is_not_run_twice_even_without_effect() -> None:
    world = World()
    async with GateBench(looking(world)) as bench:
        handlers = [bench.ask("a", "look_up"), bench.ask("a", "look_up")]
        world.go.set()
        await asyncio.gather(*handlers)
        assert world.done == ["looked"]


# -- the caller speaks


async def test_a_tool_that_was_talked_over_is_told_in_its_place_when_it_is_done_in_time() -> None:
    world = World()
    async with GateBench(booking(world)) as bench:
        bench.ask("a", "book", {"slot": 3})
        await until(lambda: bench.journal.durable_count == 1)
        await bench.interrupt()
        world.go.set()
        await until(lambda: "tool_ended" in bench.journal.kinds() and bench.journal.durable_count == 2)
        assert bench.gate.owed
        assert (await bench.request())[-1] == '{"result": "number 1"}'
        assert not bench.gate.owed


async def test_a_tool_that_may_be_cancelled_is_when_the_caller_takes_the_floor() -> None:
    world = World()
    async with GateBench(looking(world, cancellable=True)) as bench:
        bench.ask("a", "look_up")
        await until(lambda: bench.journal.durable_count == 1)
        await asyncio.sleep(0)
        await bench.interrupt()
        await until(lambda: "tool_ended" in bench.journal.kinds())
        assert world.cleaned == 1
        assert bench.journal.one("tool_cancelled").why == "caller_spoke"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert "was cancelled, because the caller spoke" in (await bench.request())[-1]


async def test_a_call_whose_handler_never_began_is_said_not_to_have_run() -> None:
    async with GateBench() as bench:
        bench.place("a", "look_up")
        assert "it was not run" in (await bench.request())[-1]


async def test_an_unasked_request_leaves_a_tool_that_is_waited_for_to_its_result() -> None:
    world = World()
    async with GateBench(booking(world)) as bench:
        handler = bench.ask("a", "book", {"slot": 3})
        await until(lambda: bench.journal.durable_count == 1)
        assert (await bench.request())[-1] == "IN_PROGRESS"
        world.go.set()
        await handler
        assert bench.answers == [("a", {"result": "number 1"})]


async def test_who_waits_is_told_when_it_begins_and_when_it_is_over() -> None:
    world = World()
    told: list[Any] = []
    async with GateBench(looking(world, fillers=("I'll look.",))) as bench:
        bench.gate.tell(
            started=lambda key, which: told.append((key, which.policy.fillers)), ended=lambda key: told.append(key)
        )
        handler = bench.ask("a", "look_up")
        await asyncio.sleep(0)
        assert told == [("a", ("I'll look.",))]
        assert bench.gate.busy
        world.go.set()
        await handler
        assert told[1:] == ["a"]
        bench.ask("b", "look_up", {"day": "monday"})
        await asyncio.sleep(0)
        await bench.interrupt("b")
        assert told[-1] == "b"
        await bench.gate.run("c", "nonsense", {})
        assert ("c", ()) not in told


# -- late


async def test_past_its_limit_a_tool_is_pending_and_its_result_comes_as_news_once() -> None:
    world = World()
    changes: list[bool] = []
    async with GateBench(booking(world, limit_s=0.02)) as bench:
        bench.gate.tell(changed=lambda: changes.append(bench.gate.owed))
        await bench.ask("a", "book", {"slot": 3})
        assert PENDING in bench.answers[0][1]["pending"]
        assert PENDING in (await bench.request())[-1]
        assert not bench.gate.owed
        world.go.set()
        await until(lambda: bench.gate.owed)
        assert changes[-1]
        contents = await bench.request()
        assert PENDING in contents[2]
        assert contents[-1].startswith("[News of tools")
        assert contents[-1].endswith("]")
        assert 'book {"slot": 3}: {"result": "number 1"}' in contents[-1]
        assert len(await bench.request()) == len(contents)
        assert bench.journal.kinds() == ["tool_started", "tool_pending", "tool_ended", "tool_news"]


async def test_several_news_are_one_note() -> None:
    world = World()
    async with GateBench(booking(world, limit_s=0.02)) as bench:
        await asyncio.gather(*(bench.ask(key, "book", {"slot": slot}) for key, slot in (("a", 1), ("b", 2))))
        before = len(await bench.request())
        world.go.set()
        await until(lambda: bench.journal.kinds().count("tool_ended") == 2 and bench.journal.durable_count >= 6)
        await until(lambda: all(work.ended.is_set() for work in bench.gate._works.values()))
        contents = await bench.request()
        assert len(contents) == before + 1
        assert "number 1" in contents[-1]
        assert "number 2" in contents[-1]


async def test_what_can_be_cancelled_is_given_up_in_the_end() -> None:
    world = World()
    async with GateBench(looking(world, limit_s=0.01, cancel_after_s=0.02)) as bench:
        await bench.ask("a", "look_up")
        await bench.request()
        await until(lambda: bench.gate.owed)
        assert "took too long" in (await bench.request())[-1]
        assert world.cleaned == 1
        assert bench.journal.one("tool_cancelled").why == "too_long"


async def test_a_side_effect_is_reported_unknown_but_never_cut_and_its_end_is_news() -> None:
    world = World()
    async with GateBench(booking(world, limit_s=0.01, cancel_after_s=0.02)) as bench:
        await bench.ask("a", "book", {"slot": 3})
        await bench.request()
        await until(lambda: bench.gate.owed)
        assert "whether it was done is not known" in (await bench.request())[-1]
        again = bench.ask("b", "book", {"slot": 3})  # asked for again while it still runs
        world.go.set()
        await again
        assert "whether it was done is not known" in (await bench.request())[-1]
        await until(lambda: bench.gate.owed)
        assert world.done == ["slot 3"]
        assert "number 1" in (await bench.request())[-1]
        assert bench.journal.one("tool_late").ok


async def test_when_the_call_ends_an_effect_is_finished_and_a_look_up_is_not_waited_for() -> None:
    world = World()
    bench = GateBench(booking(world), looking(world))
    bench.ask("a", "book", {"slot": 3})
    bench.ask("b", "look_up")
    await until(lambda: bench.journal.kinds().count("tool_started") == 2)
    for _ in range(5):
        await asyncio.sleep(0)
    await bench.interrupt()
    closing = asyncio.ensure_future(bench.gate.aclose())
    await until(lambda: "tool_cancelled" in bench.journal.kinds())
    assert not closing.done()
    world.go.set()
    await closing
    assert world.done == ["slot 3"]
    assert [event.ok for event in bench.journal.events if event.kind == "tool_ended"] == [False, True]  # type: ignore[attr-defined]


async def test_what_outlasts_the_grace_is_not_said_to_have_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.gate.GRACE_S", 0.01)
    world = World()
    async with GateBench(booking(world)) as bench:
        bench.ask("a", "book", {"slot": 3})
        await until(lambda: bench.journal.durable_count == 1)
        for _ in range(5):
            await asyncio.sleep(0)
    assert "was still running when the call ended" in bench.journal.one("tool_ended").error


# -- parts


def searching(world: World, **policy: Any) -> Any:
    @tool(side_effect=False, **policy)
    async def search() -> AsyncIterator[list[str]]:
        """Search."""
        yield ["nine"]
        await world.go.wait()
        yield ["nine", "ten"]

    return search


async def test_a_tool_that_is_done_soon_after_its_first_part_answers_with_its_result() -> None:
    world = World()
    world.go.set()
    async with GateBench(searching(world)) as bench:
        await bench.ask("a", "search")
        assert bench.answers == [("a", {"result": ["nine", "ten"], "note": "complete"})]
        assert bench.journal.kinds() == ["tool_started", "tool_partial", "tool_partial", "tool_ended"]
        assert len(await bench.request()) == 3


async def test_the_first_part_answers_and_the_rest_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.gate.PARTIAL_S", 0.01)
    world = World()
    async with GateBench(searching(world)) as bench:
        await bench.ask("a", "search")
        assert bench.answers[0][1]["parts"] == [["nine"]]
        assert "nine" in (await bench.request())[-1]
        world.go.set()
        await until(lambda: bench.journal.kinds()[-1] == "tool_ended" and bench.gate.owed)
        for _ in range(5):
            await asyncio.sleep(0)
        contents = await bench.request()
        assert '{"result": ["nine", "ten"], "note": "complete"}' in contents[-1]
        assert not bench.gate.owed


async def test_a_part_that_comes_after_the_limit_is_news() -> None:
    first = asyncio.Event()
    world = World()

    @tool(side_effect=False, limit_s=0.01)
    async def search() -> AsyncIterator[str]:
        """Search."""
        await first.wait()
        yield "nine"
        await world.go.wait()
        yield "ten"

    async with GateBench(search) as bench:
        await bench.ask("a", "search")
        await bench.request()
        first.set()
        await until(lambda: bench.gate.owed)
        assert '"parts": ["nine"]' in (await bench.request())[-1]
        assert not bench.gate.owed
        world.go.set()
        await until(lambda: bench.gate.owed)
        assert "ten" in (await bench.request())[-1]


# -- the call, as a tool has it


async def test_a_tool_writes_into_the_records_and_reads_what_others_wrote() -> None:
    read: list[Any] = []

    @tool
    async def consent(call: Call) -> None:
        """Note it."""
        await call.records.note("consent", True)

    @tool
    async def check(call: Call) -> None:
        """Read it."""
        read.append((dict(call.records.notes), call.memory, call.id))

    async with GateBench(consent, check) as bench:
        await bench.gate.run("a", "consent", {})
        await bench.gate.run("b", "check", {})
        note = bench.journal.one("tool_note")
        assert (note.tool_call_id, note.name, note.value) == ("a", "consent", True)
        assert read == [({"consent": True}, (("caller", "Hello?"),), "call-1")]


async def test_after_a_tool_that_ended_the_call_the_model_is_not_asked() -> None:
    @tool
    async def hand_over(call: Call) -> None:
        """Hand over."""
        await call.transfer("+49 30 1", "Goodbye.")

    given: list[Any] = []

    async def result(answer: Any, *, properties: Any = None) -> None:
        given.append(properties)

    async with GateBench(hand_over) as bench:
        params: Any = SimpleNamespace(tool_call_id="a", function_name="hand_over", arguments={}, result_callback=result)
        await bench.gate._handle(params)
        assert bench.call.did == [("transfer", "+49 30 1")]
        assert given[0].run_llm is False


def test_the_gate_offers_the_tools_in_the_agents_order() -> None:
    world_tools = [booking(None), looking(None)]  # type: ignore[arg-type]

    async def offered() -> list[str]:
        gate: Gate = GateBench(*world_tools).gate
        return [schema.name for schema in gate.schemas.standard_tools]

    assert asyncio.run(offered()) == ["book", "look_up"]
