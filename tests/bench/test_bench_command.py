"""`callwright bench latency`: what it refuses, and that what was measured survives an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from callwright.bench import latency
from callwright.bench.latency import CallResult, Plan, Results
from callwright.commands import bench
from callwright.errors import CallwrightError, ConfigError, SetupError
from callwright.simulators.errors import SimulatorError


def invoke(*arguments: str) -> tuple[str, BaseException | None]:
    app = typer.Typer()
    bench.register(app)
    outcome = CliRunner().invoke(app, ["bench", "latency", *arguments])
    return outcome.output, outcome.exception


def test_an_unknown_system_is_refused_with_the_nearest_one() -> None:
    _, error = invoke("--system", "callwright,pipecta")
    assert isinstance(error, ConfigError)
    assert "unknown system 'pipecta'" in str(error)
    assert "did you mean 'pipecat'" in str(error)


def test_no_system_is_refused() -> None:
    _, error = invoke("--system", " , ")
    assert isinstance(error, ConfigError)


@pytest.mark.parametrize("option", ["--json", "--turns-json"])
def test_a_file_that_could_not_be_written_is_refused_before_the_run(option: str) -> None:
    _, error = invoke(option, "/no/such/folder/out.json")
    assert isinstance(error, ConfigError)
    assert f"{option} /no/such/folder/out.json" in str(error)


def test_the_plan_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Plan] = []

    async def run(plan: Plan, results: Results, say: object) -> None:
        plans.append(plan)

    monkeypatch.setattr(latency, "run", run)
    invoke("--system", "pipecat, callwright,pipecat", "--calls", "3", "--delays", "zero", "--concurrency", "2")
    invoke()
    assert plans[0].systems == ("pipecat", "callwright")
    assert (plans[0].calls, plans[0].delays, plans[0].concurrency) == (3, ("zero",), 2)
    assert (plans[1].systems, plans[1].calls, plans[1].delays) == (("callwright",), 20, ("default", "zero"))
    assert plans[1].rules.is_file()
    assert plans[1].agent.is_file()


def test_an_interrupted_run_reports_what_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def run(plan: Plan, results: Results, say: object) -> None:
        results.calls.append(CallResult("callwright", "default", 0, (), (), 200, {}, 6))
        raise KeyboardInterrupt

    monkeypatch.setattr(latency, "run", run)
    output, error = invoke("--json", str(tmp_path / "out.json"))
    # What the test runner makes of a KeyboardInterrupt is its own affair; the command line's is exit code 130.
    assert isinstance(error, KeyboardInterrupt | SystemExit)
    assert "vendors' delays: default" in output
    (found,) = json.loads((tmp_path / "out.json").read_text())
    assert found["metrics"]["calls"] == 1


def test_a_failed_call_makes_the_command_fail_after_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(plan: Plan, results: Results, say: object) -> None:
        results.calls.append(CallResult("callwright", "default", 0, (), (), 200, {}, 6, "it broke"))

    monkeypatch.setattr(latency, "run", run)
    output, error = invoke()
    assert "failed calls" in output
    assert isinstance(error, CallwrightError)
    assert str(error) == "1 of 1 calls failed; first: it broke"


def test_missing_ground_is_a_setup_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(plan: Plan, results: Results, say: object) -> None:
        raise SimulatorError("no livekit-server")

    monkeypatch.setattr(latency, "run", run)
    assert isinstance(invoke()[1], SetupError)
