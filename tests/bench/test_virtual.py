"""Virtual time, and the trial of the gate on it: the gate passes, and gates that lose or double do not."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from callwright.bench import trial as trials
from callwright.bench.trial import Tally, trial
from callwright.bench.virtual import LoopClock, Stuck, run
from callwright.commands import bench
from callwright.errors import ConfigError

# ---------------------------------------------------------------------- the loop


def test_an_hour_passes_at_once_and_in_order() -> None:
    async def story() -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []

        async def after(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, asyncio.get_running_loop().time()))

        await asyncio.gather(after("hour", 3600), after("minute", 60), after("moment", 0.001))
        return seen

    began = time.monotonic()
    assert run(story()) == [
        ("moment", pytest.approx(0.001, abs=1e-6)),
        ("minute", pytest.approx(60, abs=1e-6)),
        ("hour", pytest.approx(3600, abs=1e-6)),
    ]
    assert time.monotonic() - began < 1


def test_limits_and_clocks_follow_the_same_time() -> None:
    async def story() -> float:
        clock, started = LoopClock(), LoopClock().monotonic_ns()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(31)
        return (clock.monotonic_ns() - started) / 1e9

    assert run(story()) == pytest.approx(30)


def test_what_waits_for_ever_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callwright.bench.virtual.STUCK_S", 0.01)

    async def story() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(story())


# ---------------------------------------------------------------------- the trial


class ToyGate:
    """Runs whatever it is asked to in the handler itself, as stock Pipecat does; an interruption cancels it."""

    owed = False

    def __init__(self, parts: Any) -> None:
        self.parts = parts
        self.tools = {tool.name: tool for tool in parts.agent.tools}

    def guard(self, mind: Any) -> None:
        mind.register_function(None, self.handle)
        mind.add_event_handler("on_before_process_frame", self.before)

    async def before(self, _: object, frame: object) -> None:
        return None

    async def handle(self, params: Any) -> None:
        await self.do(params)

    async def do(self, params: Any) -> None:
        try:
            answer = {"result": await self.tools[params.function_name].run(params.arguments, self.parts.call)}
        except Exception as error:
            answer = {"error": type(error).__name__}
        await params.result_callback(answer)


class ShieldedGate(ToyGate):
    """Lets nothing be cancelled, but does twice what it is asked twice."""

    async def handle(self, params: Any) -> None:
        await asyncio.shield(asyncio.ensure_future(self.do(params)))


def tried(calls: int, seed: int, make_gate: Any = None) -> Tally:
    tally = Tally()
    trial(calls, seed, tally, lambda _: None, make_gate)
    return tally


def test_a_gate_whose_tools_are_cancelled_by_the_caller_loses_them() -> None:
    found = tried(20, 0, ToyGate)
    assert found.barge_ins > 5
    assert found.lost > 5
    assert found.cut > 5
    assert found.untold > 5


def test_a_gate_that_does_what_it_is_asked_twice_doubles_it() -> None:
    assert tried(20, 0, ShieldedGate).doubled > 5


def test_the_gate_loses_nothing_and_doubles_nothing() -> None:
    found = tried(40, 1)
    assert (found.lost, found.doubled, found.cut, found.untold) == (0, 0, 0, 0)
    assert found.calls == 40
    assert found.tool_calls > found.asked > 150
    assert min(found.barge_ins, found.asked_again, found.late) > 20
    assert found.hang_ups > 10


class LeavingGate(ShieldedGate):
    """Does what it is asked, as long as the call lasts."""

    def __init__(self, parts: Any) -> None:
        super().__init__(parts)
        self.done: dict[str, asyncio.Future[None]] = {}
        parts.on_close(self.leave)

    async def handle(self, params: Any) -> None:
        deed = params.arguments["deed"]
        if deed not in self.done:
            self.done[deed] = asyncio.ensure_future(self.do(params))
        await asyncio.shield(self.done[deed])

    async def leave(self) -> None:
        for task in self.done.values():
            task.cancel()


def test_a_gate_that_drops_what_runs_when_the_call_ends_is_found_out() -> None:
    found = tried(20, 0, LeavingGate)
    assert found.hang_ups > 5
    assert min(found.lost, found.cut) > 3


def test_the_same_seed_tells_the_same_story() -> None:
    assert tried(5, 3) == tried(5, 3) != tried(5, 4)


# ---------------------------------------------------------------------- the command


def invoke(*arguments: str) -> tuple[str, BaseException | None]:
    app = typer.Typer()
    bench.register(app)
    outcome = CliRunner().invoke(app, ["bench", "silence", *arguments])
    return outcome.output, outcome.exception


def test_the_command_prints_what_was_counted(tmp_path: Path) -> None:
    output, error = invoke("--virtual", "3", "--json", str(tmp_path / "out.json"))
    assert error is None
    assert "outcome never told to the model" in output
    (found,) = json.loads((tmp_path / "out.json").read_text())
    assert (found["bench"], found["metrics"]["calls"], found["metrics"]["tool_calls_lost"]) == ("silence", 3, 0)
    assert found["n"] == found["metrics"]["tool_calls"]


def test_an_interrupted_trial_reports_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(calls: int, seed: int, tally: Tally, say: object) -> None:
        tally.add(Tally(calls=7, lost=2))
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "trial", stopped)
    output, error = invoke("--virtual", "10")
    assert isinstance(error, KeyboardInterrupt | SystemExit)
    assert [line.split()[-1] for line in output.splitlines() if line.startswith(("calls", "lost"))] == ["7", "2"]


def test_only_our_own_gate_can_be_tried() -> None:
    _, error = invoke("--virtual", "3", "--system", "pipecat")
    assert isinstance(error, ConfigError)
