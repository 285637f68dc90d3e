"""`bench faults`: its scenes, the judge on turns whose truth is known, what it reports, and one real call in small."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from callwright.bench import faults
from callwright.bench.fault_metrics import Effect, effects
from callwright.bench.fault_report import detail_lines, render, summarise
from callwright.bench.fault_scenes import ROWS, SCENES, TURNS, Question, script
from callwright.bench.faults import CallResult, Plan, Results, progress, run
from callwright.bench.report import Provenance
from callwright.bench.utterances import Kind, Spoken
from callwright.bench.wire import Reply
from callwright.commands import bench
from callwright.errors import ConfigError
from callwright.simulators.account import Served
from callwright.simulators.faults import POSSIBLE
from tests.simulators.tape_by_hand import tape

MADE = Provenance(git="abc123", date="2026-11-21T12:00:00+00:00", machine={"cores": 2})
ANSWER = "The path follows the shore for eleven miles and ends at the windmill."
TROUBLE = "I am sorry, I have a technical problem."

# ---------------------------------------------------------------------- the scenes


def test_every_kind_of_fault_is_tried_in_every_stage_at_every_moment() -> None:
    tried = {(s.stage, s.moment, s.faults[-1].kind) for s in SCENES.values()}
    assert tried == {(*place, kind) for place, kinds in POSSIBLE.items() for kind in kinds}
    assert {s.faults[-1].status for s in SCENES.values()} == {None, 401, 429, 500}
    assert [fault.moment for fault in SCENES["tts-connect-429"].faults] == ["idle", "connect"]
    assert TURNS * len(ROWS) >= 300


@pytest.mark.parametrize("seed", range(20))
def test_two_turns_of_a_call_are_met_and_never_neighbours_nor_the_first(seed: int) -> None:
    made = script(SCENES["llm-before-stall"], seed)
    met = [number for number, question in enumerate(made.questions) if question.faulted]
    assert len(met) == 2
    assert met[0] >= 1
    assert met[1] - met[0] >= 2
    assert len({question.answer for question in made.questions}) == TURNS
    assert made == script(SCENES["llm-before-stall"], seed)


# ---------------------------------------------------------------------- the judge


def spoken(begin: float, end: float, said: str = ANSWER, kind: Kind = "answer") -> Spoken:
    return Spoken(kind, said, begin, end, begin, None if kind == "filler" else 1, said=said)


def reply(asked_at: float, first_token_ms: float | None) -> Reply:
    return Reply(ANSWER, (), asked_at, asked_at + 2, whole=True, first_token_ms=first_token_ms)


def judged(*heard: Spoken, replies: Sequence[Reply] = (), stage: str = "llm") -> Effect:
    """The second of two turns, met by a fault: the caller has ended at 11 s and says no more; the tape ends at 25 s.

    The first turn was answered after a second, 600 ms of which the model took.
    """
    usual = spoken(2, 5)
    replies = [reply(1.3, 600), *(replies or [reply(11.3, 600)])]
    made = tape(said=[(0, 1), (10, 11)], heard=[(one.begin, one.end) for one in (usual, *heard)], length_s=25)
    questions = [Question("a", ANSWER, False), Question("b", ANSWER, True)]
    first, second = effects(questions, made, (usual, *heard), replies, [True], stage)
    assert (first.recovered, first.failover_ms) == (True, None)
    return second


def test_an_answer_of_the_next_vendor_costs_what_it_came_later() -> None:
    found = judged(spoken(12.8, 16))
    assert (found.recovered, found.mute) == (True, False)
    assert found.failover_ms == pytest.approx(800, abs=20)
    assert found.silence_ms == pytest.approx(1800, abs=20)


@pytest.mark.parametrize(
    ("replies", "added_ms"),
    [
        ([reply(11.3, 1400)], 0),  # it was slow by chance
        ([reply(11.3, 200)], 1200),
        ([reply(11.3, None), reply(12, 400)], 1000),  # the first one never answered
        ([reply(11.3, 1000), reply(12.1, 100)], 1300),  # both were asked, and the second was faster
        ([reply(11.3, 300), reply(11.8, 700)], 1100),  # the first one broke off: that another was asked is the fault's
        ([reply(11.3, None)], 1400),  # it answered after all, and nobody knows what of it was its own delay
    ],
)
def test_what_a_model_took_by_chance_is_not_the_failovers(replies: list[Reply], added_ms: float) -> None:
    found = judged(spoken(12.8, 16), replies=replies)
    assert found.failover_ms == pytest.approx(added_ms, abs=20)


def test_a_model_that_was_late_beside_a_faulty_voice_is_not_the_failovers() -> None:
    replies = [reply(11.3, None), reply(12.3, 300)]  # the second was asked because the first was slow
    assert judged(spoken(14.2, 17), replies=replies, stage="tts").failover_ms == pytest.approx(1500, abs=20)
    assert judged(spoken(14.2, 17), replies=replies, stage="llm").failover_ms == pytest.approx(2500, abs=20)


def test_an_answer_that_goes_on_with_another_voice_is_whole() -> None:
    first, rest = ANSWER.split("eleven")
    found = judged(spoken(12, 13, first), spoken(14.5, 16, "eleven" + rest))
    assert found.recovered
    assert found.silence_ms == pytest.approx(1500, abs=20)


def test_a_system_that_stops_in_the_middle_and_says_nothing_leaves_the_caller_in_silence() -> None:
    found = judged(spoken(12, 13, "The path follows"))
    assert not found.recovered
    assert not found.told
    assert found.silence_ms == pytest.approx(12000, abs=20)


def test_a_system_that_says_that_it_cannot_has_told_the_truth() -> None:
    found = judged(spoken(12.5, 14, TROUBLE, "filler"))
    assert (found.recovered, found.told, found.mute) == (False, True, False)
    assert found.silence_ms == pytest.approx(1500, abs=20)


def test_a_filler_before_half_an_answer_is_no_truth_about_it() -> None:
    found = judged(spoken(11.8, 12.5, "One moment.", "filler"), spoken(13, 14, "The path"))
    assert not found.told
    assert found.silence_ms == pytest.approx(11000, abs=20)


def test_a_system_that_says_nothing_is_mute() -> None:
    found = judged()
    assert found.mute
    assert found.silence_ms == pytest.approx(14000, abs=20)
    assert found.failover_ms is None


# ---------------------------------------------------------------------- the report

GOOD = Effect("q", True, 1800.0, 1900.0, mute=False, recovered=True, told=False, failover_ms=700.0, struck=True)
BAD = Effect("q", True, None, 9000.0, mute=True, recovered=False, told=False, struck=True)
TOLD = replace(BAD, silence_ms=1500.0, mute=False, told=True)
PLAIN = Effect("q", False, 1100.0, 1100.0, mute=False, recovered=True, told=False)


def call(*found: Effect, row: str = "llm-before-stall", failure: str = "") -> CallResult:
    return CallResult(row, SCENES[row], "pipecat", 4, found, faults=2, failure=failure)


def invoke(*arguments: str) -> tuple[str, BaseException | None]:
    app = typer.Typer()
    bench.register(app)
    outcome = CliRunner().invoke(app, ["bench", "faults", *arguments])
    return outcome.output, outcome.exception


def test_faults_are_summed_up_each_by_itself_by_stage_and_together() -> None:
    results = Results([call(PLAIN, GOOD, PLAIN, BAD), call(PLAIN, TOLD, row="tts-idle-drop", failure="it ended")])
    plan = Plan(("pipecat",), ("llm-before-stall", "tts-idle-drop"))
    found = {summary.setting: summary for summary in summarise(plan, results)}
    assert list(found) == ["llm-before-stall", "tts-idle-drop", "llm", "tts", "all"]
    metrics = found["llm"].to_json(MADE)["metrics"]
    assert isinstance(metrics, dict)
    assert (metrics["mute_turns"], metrics["recovered_rate"], metrics["longest_silence_p99_ms"]) == (1, 0.5, 9000)
    every = found["all"]
    assert (every.n, every.metrics["turns"], every.metrics["survived_calls"]) == (3, 6, 1)
    assert every.metrics["told_rate"] == pytest.approx(2 / 3)


def test_a_fault_that_found_nothing_to_strike_is_no_success() -> None:
    results = Results([call(PLAIN, replace(GOOD, struck=False), PLAIN, BAD)])
    (row,) = summarise(Plan(("pipecat",), ("llm-before-stall",)), results)
    assert (row.n, row.metrics["not_struck"], row.metrics["recovered_rate"]) == (1, 1, 0.0)
    assert ", NOT STRUCK;" in progress(results.calls[0])


def test_the_vendors_log_says_whether_a_fault_struck() -> None:
    scene = SCENES["tts-connect-429"]
    lost = Served(stage="tts", what="fault", at=1.0, detail={"kind": "drop", "moment": "idle"})
    refused = Served(stage="tts", what="fault", at=2.0, detail={"kind": "status", "moment": "connect"})
    other = refused.model_copy(update={"stage": "stt"})
    assert [scene.strikes(lines) for lines in ([lost], [lost, other], [lost, refused])] == [0, 0, 1]


def test_the_table_fits_and_every_turn_can_be_read_by_itself() -> None:
    results = Results([call(GOOD, BAD, row=row) for row in ROWS])
    console = Console(file=io.StringIO(), width=120)
    console.print(render(summarise(Plan(("pipecat",), ROWS), results), MADE))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    assert all(any(line.startswith(row) for line in lines) for row in ROWS)
    assert "pipecat, as shipped: no fallback configured" in map(str.rstrip, lines)
    details = list(detail_lines(results))
    assert (len(details), details[0]["recovered"], details[1]["mute"]) == (2 * len(ROWS), True, True)
    json.dumps(details)


def test_a_call_in_one_line() -> None:
    assert progress(call(PLAIN, GOOD, BAD, TOLD)) == (
        "llm-before-stall, pipecat, seed 4: answered, silent for 1900 ms; MUTE, silent for 9000 ms; "
        "told, silent for 1500 ms"
    )


def test_an_unknown_fault_is_refused_with_the_nearest_one() -> None:
    _, error = invoke("--rows", "llm-before-stal")
    assert isinstance(error, ConfigError)
    assert "did you mean 'llm-before-stall'?" in str(error)


def test_a_call_that_a_fault_has_ended_is_a_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def held(plan: Plan, results: Results, say: object) -> None:
        results.calls.append(call(BAD, failure="the call ended"))

    monkeypatch.setattr(faults, "run", held)
    figures = tmp_path / "out.json"
    output, error = invoke("--system", "pipecat", "--json", str(figures))
    assert error is None
    assert "llm-before-stall" in output
    assert json.loads(figures.read_text())[0]["metrics"]["survived_calls"] == 0


async def test_one_real_call_is_judged_from_end_to_end() -> None:
    """LiveKit, stand-ins and stock Pipecat, whose model once refuses the key; about 60 s."""
    plan = Plan(("pipecat",), ("llm-before-401",), concurrency=1)
    results, said = Results(), list[str]()
    async with asyncio.timeout(240):
        await run(plan, results, said.append)
    (held,) = results.calls
    assert held.effects
    assert held.effects[0].recovered  # nothing was wrong yet
    assert any(effect.faulted for effect in held.effects) or held.failure
    assert said[-1].startswith("2/2  llm-before-401, pipecat, seed 0: ")
