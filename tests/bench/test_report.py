"""What a run is reported as: the JSON of metrics.md, and a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from callwright.bench.latency import CallResult, Plan, Results
from callwright.bench.metrics import HeardTurn
from callwright.bench.provenance import provenance
from callwright.bench.report import Provenance, render, summarise, turn_lines
from callwright.simulators.account import Served

MADE = Provenance(git="abc123", date="2026-11-20T12:00:00+00:00", machine={"cores": 2, "GB": 24, "arch": "x86_64"})
PLAN = Plan(("callwright", "pipecat"), Path("agents/frontdesk.py"), Path("rules.yaml"), calls=2, seed=5)


def call(system: str, *gaps_ms: float, mute: bool = False, failure: str = "") -> CallResult:
    """A call whose vendors took nothing: gap, less 200 of wait and 90 of transport, is the added time."""
    turns, served = [], []
    for number, gap_ms in enumerate(gaps_ms):
        end = 10.0 + 10 * number
        sound = end + gap_ms / 1000
        turns.append(
            HeardTurn(f"line {number}", end, end + 10, ((sound, sound + 1),), False, False, sound, str(number))
        )
        asked = end + 0.25
        usage = {"input_tokens": 0, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 100}
        served += [
            Served(stage="stt", what="final", request_at=asked, at=asked),
            Served(stage="llm", what="first_token", request_at=asked, at=asked, request_id=str(number)),
            Served(stage="llm", what="reply", request_at=asked, at=asked, detail={"usage": usage}),
            Served(stage="tts", what="first_audio", request_at=asked, at=asked, context_id=str(number)),
        ]
    if mute:
        turns.append(HeardTurn("unheard", 90.0, 100.0, (), False, True))
    return CallResult(system, "default", 5, tuple(turns), tuple(served), 200, {"turn.vad_stop_ms": 200}, 3, failure)


@pytest.fixture
def results() -> Results:
    return Results(
        calls=[call("callwright", 400, 420, 500), call("pipecat", 600, 700, mute=True, failure="it broke")],
        there_ms=[45.0],
        back_ms=[45.0],
    )


def test_the_json_is_as_the_metrics_prescribe(results: Results) -> None:
    ours, theirs = (json.loads(json.dumps(summary.to_json(MADE))) for summary in summarise(PLAN, results))
    assert list(ours) == ["bench", "system", "git", "date", "machine", "config", "n", "metrics"]
    assert (ours["bench"], ours["system"], ours["n"]) == ("latency", "callwright", 3)
    assert ours["metrics"]["response_gap_ms"] == {
        "p50": 420.0,
        "p95": 500.0,
        "max": 500.0,
        "mean": 440.0,
        "unit": "ms",
        "n": 3,
    }
    assert ours["metrics"]["added_latency_ms"]["p50"] == 130.0
    assert ours["metrics"]["mute_turns"] == 0
    assert ours["metrics"]["cache_read_ratio"] == 0.9
    assert ours["metrics"]["transport_ms"] == 90
    assert ours["config"]["delays"] == "default"
    assert ours["config"]["turn_wait_ms"] == 200
    assert theirs["system"] == "pipecat"


def test_nothing_is_dropped_silently(results: Results) -> None:
    _, theirs = summarise(PLAN, results)
    assert theirs.n == 3
    assert {name: theirs.metrics[name] for name in ("mute_turns", "unmatched_turns", "failed_calls")} == {
        "mute_turns": 1,
        "unmatched_turns": 1,
        "failed_calls": 1,
    }


def test_lines_that_were_never_said_are_counted() -> None:
    (summary,) = summarise(PLAN, Results(calls=[call("callwright", 400, failure="gone")], there_ms=[1], back_ms=[1]))
    assert summary.metrics["unsaid_turns"] == 2


def test_a_run_broken_off_at_once_has_nothing_to_report() -> None:
    assert summarise(PLAN, Results()) == []
    console = Console(record=True, width=120)
    console.print(render([], MADE))


def test_what_was_not_measured_is_null_in_json_and_a_dash_in_the_table() -> None:
    silent = CallResult("callwright", "zero", 5, (), (), 200, {}, 3, "nobody came")
    (summary,) = summarise(PLAN, Results(calls=[silent]))
    assert summary.to_json(MADE)["metrics"]["response_gap_ms"] is None  # type: ignore[index,call-overload]
    console = Console(record=True, width=120)
    console.print(render([summary], MADE))
    assert "response gap" in console.export_text()


def test_the_table_shows_the_systems_side_by_side(results: Results) -> None:
    console = Console(record=True, width=120)
    console.print(render(summarise(PLAN, results), MADE))
    text = console.export_text()
    (gaps,) = [line for line in text.splitlines() if line.startswith("response gap")]
    assert gaps.split("gap")[1].split("   ")[-2:] == [gaps.split("gap")[1].split("   ")[-2], "600 / 700 / 700"]
    assert "420 / 500 / 500" in gaps
    assert "Transport, both crossings: 90.0 ms. 2 cores, 24 GB, x86_64" in text


def test_every_turn_can_be_had_by_itself(results: Results) -> None:
    lines = [json.loads(json.dumps(line)) for line in turn_lines(results)]
    assert [(line["system"], line["turn"]) for line in lines][:4] == [
        ("callwright", 1),
        ("callwright", 2),
        ("callwright", 3),
        ("pipecat", 1),
    ]
    assert lines[0]["times"]["added_latency_ms"] == pytest.approx(110)
    assert lines[-1]["times"]["unmatched"] == "no sound came"


def test_the_machine_is_described_by_its_size() -> None:
    made = provenance()
    assert set(made.machine) == {"cores", "GB", "arch"}
    assert made.date.endswith("+00:00")
