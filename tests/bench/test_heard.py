"""`bench heard` as a whole: what it refuses, what it reports, and one real call in small."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from callwright.bench import heard
from callwright.bench.agenda import Job
from callwright.bench.heard import CallResult, Plan, Results, agenda, progress, run
from callwright.bench.heard_metrics import Verdict
from callwright.bench.heard_report import detail_lines, render, summarise
from callwright.bench.heard_scenes import SCENES, WHOLE
from callwright.bench.report import Provenance
from callwright.bench.spread import Spread
from callwright.commands import bench
from callwright.errors import CallwrightError, ConfigError

MADE = Provenance(git="abc123", date="2026-11-21T12:00:00+00:00", machine={"cores": 2})
EXACT = Verdict("t", "x", heard="It opens", context="It opens", exact=True, verbatim=True, stop_ms=200.0)
WRONG = Verdict("t", "x", heard="It", context="It opens at", over=2, stop_ms=400.0)
KEPT = Verdict("t", "x", interrupted=False, exact=True)
LOST = Verdict("t", "x", interrupted=False, lost="missing")
MUTE = Verdict("t", "x", unjudged="the agent never spoke")


def call(*verdicts: Verdict, row: str = "default", failure: str = "") -> CallResult:
    staged = WHOLE[3] if row == "whole" else SCENES[row]
    return CallResult(row, staged, "pipecat", 4, verdicts, 200.0, {"tts": "sonic"}, failure)


def invoke(*arguments: str) -> tuple[str, BaseException | None]:
    app = typer.Typer()
    bench.register(app)
    outcome = CliRunner().invoke(app, ["bench", "heard", *arguments])
    return outcome.output, outcome.exception


def test_a_row_is_summed_up() -> None:
    results = Results([call(EXACT, EXACT, WRONG, LOST, MUTE), call(EXACT, KEPT, failure="it broke")])
    (summary,) = summarise(Plan(("callwright", "pipecat"), ("default", "stall")), results)
    found = summary.to_json(MADE)
    assert (found["bench"], found["system"], found["n"]) == ("heard", "pipecat", 6)
    metrics = found["metrics"]
    assert isinstance(metrics, dict)
    assert (metrics["heard_exact_rate"], metrics["interrupted_answers"]) == (0.75, 4)
    assert (metrics["answers_lost"], metrics["whole_answers"]) == (1, 2)
    assert (metrics["not_judged"], metrics["failed_calls"], metrics["calls"]) == (1, 1, 2)
    over, stop = summary.metrics["heard_over_words"], summary.metrics["stop_ms"]
    assert isinstance(over, Spread)
    assert isinstance(stop, Spread)
    assert (over.mean, over.max, stop.max) == (0.5, 2, 400)


def test_the_table_has_a_line_for_each_row_and_says_what_could_not_be_measured() -> None:
    results = Results([call(EXACT, MUTE), call(KEPT, row="whole")])
    console = Console(file=io.StringIO(), width=120)
    console.print(render(summarise(Plan(("pipecat",), ("default", "whole")), results), MADE))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("default", "whole"))] == ["default", "whole"]
    assert next(line for line in lines if line.startswith("whole")).split()[2] == "–"
    assert max(map(len, lines)) <= 120


def test_every_answer_can_be_read_by_itself() -> None:
    (first, second) = detail_lines(Results([call(WRONG, MUTE)]))
    assert (first["answer"], first["context"], first["heard"], first["over"]) == (1, "It opens at", "It", 2)
    assert second["unjudged"] == "the agent never spoke"
    json.dumps(first)


def test_a_call_in_one_line() -> None:
    line = progress(call(EXACT, WRONG, LOST, MUTE, row="whole", failure="it broke"))
    assert line == (
        f"whole ({WHOLE[3].name}), pipecat, seed 4: 1 of 2 interrupted answers exact; 0 of 1 whole ones kept; "
        "stop 200 400 ms; 1 not judged; FAILED: it broke"
    )


def test_the_silence_is_foreseen_from_what_was_measured() -> None:
    assert Results().stop_s("pipecat") == heard.STOP_S
    assert Results([call(EXACT, EXACT, WRONG)]).stop_s("pipecat") == pytest.approx(0.2)


def test_calls_are_held_until_every_system_was_interrupted_often_enough() -> None:
    plan, results = Plan(("pipecat", "callwright"), ("default", "stall"), interruptions=10), Results()
    calls = agenda(plan, results)
    jobs = [calls.next() for _ in range(4)]
    assert jobs == [
        ("default", "pipecat", 0, 8),
        ("default", "callwright", 0, 8),
        ("default", "pipecat", 1, 2),
        ("default", "callwright", 1, 2),
    ]
    assert calls.next() == ("stall", "pipecat", 0, 8)  # nothing waits for the last call of a row
    results.calls.append(call(EXACT, WRONG, EXACT, KEPT, KEPT, MUTE, MUTE, MUTE))
    calls.ended(Job("default", "pipecat", 0, 8))
    assert calls.next() == ("default", "pipecat", 2, 5)
    assert calls.progress() == "3/40"


def test_a_system_that_cannot_be_judged_is_not_tried_for_ever() -> None:
    calls = agenda(Plan(("pipecat",), ("default",), interruptions=8), Results())
    for _ in range(2):
        job = calls.next()
        assert job is not None
        calls.ended(job)
    assert calls.next() is None


def test_an_unknown_row_is_refused_with_the_nearest_one() -> None:
    _, error = invoke("--rows", "default,stal")
    assert isinstance(error, ConfigError)
    assert str(error) == "unknown row 'stal'; did you mean 'stall'?"
    assert isinstance(invoke("--rows", ",")[1], ConfigError)


def test_an_interrupted_run_reports_what_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def held(plan: Plan, results: Results, say: object) -> None:
        results.calls.append(call(EXACT))
        raise KeyboardInterrupt

    monkeypatch.setattr(heard, "run", held)
    figures, details = tmp_path / "out.json", tmp_path / "out.jsonl"
    output, error = invoke("--system", "pipecat", "--json", str(figures), "--details", str(details))
    assert isinstance(error, KeyboardInterrupt | SystemExit)
    assert "exact" in output
    assert json.loads(figures.read_text())[0]["metrics"]["interrupted_answers"] == 1
    assert len(details.read_text().splitlines()) == 1


def test_a_failed_call_makes_the_command_fail_after_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    async def held(plan: Plan, results: Results, say: object) -> None:
        results.calls.append(call(failure="it broke"))

    monkeypatch.setattr(heard, "run", held)
    output, error = invoke("--system", "pipecat")
    assert "failed calls" in output
    assert isinstance(error, CallwrightError)
    assert str(error) == "1 of 1 calls failed; first: it broke"


async def test_one_real_call_is_judged_from_end_to_end() -> None:
    """LiveKit, stand-ins and a stock Pipecat in their own processes, two interruptions; about 40 s."""
    plan = Plan(("pipecat",), ("short",), interruptions=2, seed=1)
    results, lines = Results(), list[str]()
    async with asyncio.timeout(120):
        await run(plan, results, lines.append)
    held = results.calls[0]
    assert held.failure == ""
    assert [verdict.unjudged for verdict in held.verdicts] == ["", ""]
    assert all(verdict.heard for verdict in held.verdicts)
    (summary,) = summarise(plan, results)
    assert summary.n >= 2  # a call more, if an answer ended before it was talked over
    for verdict in held.verdicts:
        assert verdict.over + verdict.under <= 6  # plausible; how true it is, is not a test's to say
    assert lines[-1].startswith("2/2  short, pipecat, seed ")
