"""`bench silence` as a whole: its callers, what the wire tells, what it reports, and one real call in small."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from callwright.agent import load
from callwright.bench import silence, wire
from callwright.bench.ear import Source
from callwright.bench.report import Provenance
from callwright.bench.scenes.silence import EFFECTS, TAKES_S
from callwright.bench.silence import CallResult, Plan, Results, progress, run, world
from callwright.bench.silence_metrics import Effects, Fillers, Turn
from callwright.bench.silence_report import detail_lines, render, summarise
from callwright.bench.silence_scenes import ROWS, RULES, SCENES, SCRIPT, script
from callwright.bench.store import Store
from callwright.commands import bench
from callwright.errors import CallwrightError, ConfigError
from callwright.simulators import brain_rules
from callwright.simulators.account import Served

MADE = Provenance(git="abc123", date="2026-11-21T12:00:00+00:00", machine={"cores": 2})
DESK = brain_rules.load(RULES)
TOOL: dict[str, Any] = {
    "name": "ask",
    "description": "Ask.",
    "input_schema": {"type": "object", "properties": {"whom": {}, "topic": {}, "question": {}}},
}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": '{"answer": "ferry"}'}]}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "ask", "input": {"topic": "ferry"}}]}


def request(*messages: str | dict[str, Any]) -> dict[str, Any]:
    """What a client sends; a text is the caller's."""
    said = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
    return {"model": "claude-haiku-5-5", "max_tokens": 1000, "tools": [TOOL], "messages": said}


def line(what: str, name: str, asked: float, at: float, **detail: str) -> Served:
    return Served(stage="llm", what=what, at=at, request_at=asked, request_id=name, detail=dict(detail))


def told(*messages: str | dict[str, Any]) -> wire.Reply:
    (found,) = wire.replies([request(*messages)], [line("reply", "r", 1, 2)], DESK)
    return found


# ---------------------------------------------------------------------- the callers


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("seed", range(4))
def test_every_order_of_a_caller_is_understood_as_it_is_meant(row: str, seed: int) -> None:
    for one in script(SCENES[row], seed).lines:
        reply = told(one.text)
        arguments = [dict(use.arguments) for use in reply.uses]
        assert [each["question"] for each in arguments] == list(range(1, one.questions + 1))
        assert {each["topic"] for each in arguments} <= {one.topic}
        assert {TAKES_S[str(each["whom"])] for each in arguments} <= {one.takes_s}
        assert bool(reply.text) == (row == "preamble" or not one.questions)
        if one.barge:
            after = told(one.text, {"role": "assistant", "content": "Well,"}, one.barge)
            assert bool(after.uses) != bool(after.text)


def test_the_same_seed_makes_the_same_call_and_no_topic_comes_twice() -> None:
    scene = SCENES["interrupted"]
    made = script(scene, 3)
    assert made == script(scene, 3)
    assert made != script(scene, 4)
    assert len({one.topic for one in made.lines}) == len(made.lines)
    assert all(0.3 <= one.barge_s <= one.takes_s + 4 for one in made.lines)
    assert len(made.texts) == 2 * len(made.lines)


def test_in_the_mixed_row_nobody_knows_beforehand_whether_somebody_is_asked() -> None:
    asked = [one.questions for seed in range(10) for one in script(SCENES["mixed"], seed).lines]
    assert set(asked) == {0, 1}
    assert 20 <= sum(asked) <= 40


def test_the_desk_tells_what_it_was_told_in_words_that_no_filler_has() -> None:
    assert told("Please ask the gardener about the ferry tickets.", USE, RESULT).text.startswith("The ferry leaves")
    pending = json.loads(json.dumps(RESULT).replace('{\\"answer\\": \\"ferry\\"}', '{\\"pending\\": 1}'))
    assert told("Please ask the gardener about the ferry tickets.", USE, pending).text.startswith("They need longer")
    assert told("Hello.", {"role": "assistant", "content": "Well."}, "[The answer is here.]").text.startswith(
        "They have"
    )


async def test_the_tool_leaves_its_marks_in_the_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Call:
        id = "one"

    monkeypatch.setenv(EFFECTS, str(tmp_path))
    (tool,) = load(SCRIPT).tools
    result = await tool.run({"whom": "reception", "topic": "ferry", "question": 2}, Call())  # type: ignore[arg-type]
    assert result == {"question": 2, "answer": "ferry"}
    with (tmp_path / "one.jsonl").open("a") as file:
        file.write('{"ticket": "half a li')
    begun, done = world(tmp_path, "one")
    assert (begun["ticket"], begun["what"], done["what"]) == ("ferry/2", "begun", "done")
    assert done["at"] - begun["at"] >= 0.2
    assert world(tmp_path, "another") == []


# ---------------------------------------------------------------------- the wire


def test_replies_are_found_again_from_their_requests() -> None:
    requests = [
        request("Please ask the ministry two questions about the gift shop."),
        request("What do you know about the gift shop?"),
    ]
    served = [
        line("first_token", "second", 5, 5.5),
        line("refused", "never parsed", 1, 1, fault="status"),
        line("first_token", "first", 3, 3.5),
        line("reply", "first", 3, 4),
        line("cancelled", "second", 5, 6),
    ]
    first, second = wire.replies(requests, served, DESK)
    assert [use.arguments["question"] for use in first.uses] == [1, 2]
    assert (first.asked_at, first.ended_at, first.whole) == (3, 4, True)
    assert second.text.startswith("Postcards")
    assert not second.whole


def test_a_request_that_met_a_fault_at_the_door_is_not_taken_for_the_one_after_it() -> None:
    served = [
        line("fault", "stalled", 1, 1, kind="stall", moment="before"),
        line("cancelled", "stalled", 1, 2),
        line("fault", "refused", 2, 2, kind="status", moment="before"),
        line("refused", "refused", 2, 2, fault="status"),
        line("first_token", "answered", 3, 3.5).model_copy(update={"delay_ms": 480.0}),
        line("fault", "answered", 3, 3.8, kind="drop", moment="within"),
        line("dropped", "answered", 3, 3.8),
    ]
    (found,) = wire.replies([request("What do you know about the gift shop?")], served, DESK)
    assert (found.asked_at, found.whole, found.first_token_ms) == (3, False, 480)


def test_a_first_token_that_a_fault_held_up_is_not_the_models_own_delay() -> None:
    served = [
        line("fault", "r", 1, 1, kind="stall", moment="before"),
        line("first_token", "r", 1, 9).model_copy(update={"delay_ms": 8000.0}),
        line("reply", "r", 1, 10),
    ]
    (found,) = wire.replies([request("What do you know about the gift shop?")], served, DESK)
    assert (found.whole, found.first_token_ms) == (True, None)


def test_what_the_model_was_shown_as_its_own_words() -> None:
    said = request("Hello.", {"role": "assistant", "content": [{"type": "text", "text": "Well."}, USE["content"][0]]})
    assert wire.shown([said, request("Hello.")]) == [["Well."], []]


def test_lines_made_beforehand_are_remembered_for_the_calls_that_follow() -> None:
    def made(name: str, pcm: bytes) -> Source:
        return Source(name, 8000, pcm, (), 0.0, name)

    store = Store()
    batch, stream = made("batch-1", b"ab"), made("context", b"cd")
    assert store.split("callwright", [batch, stream]) == ([stream], [batch])
    assert store.split("callwright", [made("batch-9", b"ab")]) == ([], [batch])
    assert store.split("pipecat", [stream]) == ([stream], [])


async def test_lines_made_for_a_call_that_goes_on_are_known_to_one_that_has_ended() -> None:
    class Call:
        async def sources(self) -> list[Source]:
            return [Source("batch-1", 8000, b"ab", (), 0.0, "One moment."), Source("context", 8000, b"cd", (), 0.0, "")]

    store = Store()
    with store.beside("callwright", Call()):
        await store.look()
    await store.look()
    streamed, lines = store.split("callwright", [])
    assert (streamed, [line.text for line in lines]) == ([], ["One moment."])
    assert store.split("pipecat", []) == ([], [])


# ---------------------------------------------------------------------- the report

TURN = Turn(
    "said", 800.0, 4500.0, 1100.0, mute=False, overlapped=False, fillers=("Well",), first_filler_ms=800.0, waited=True
)
MUTE = Turn("said", None, None, 9000.0, mute=True, overlapped=False, waited=True)
NEEDLESS = replace(TURN, waited=False, needless=True, first_filler_ms=300.0)


def call(*turns: Turn, row: str = "tool4000", failure: str = "") -> CallResult:
    return CallResult(
        row,
        SCENES[row],
        "pipecat",
        4,
        turns,
        Fillers(said=2, repeated=1, in_context=3),
        Effects(asked=4, lost=1, doubled=2),
        orders=6,
        failure=failure,
    )


def invoke(*arguments: str) -> tuple[str, BaseException | None]:
    app = typer.Typer()
    bench.register(app)
    outcome = CliRunner().invoke(app, ["bench", "silence", *arguments])
    return outcome.output, outcome.exception


def test_rows_are_summed_up_each_by_itself_and_together() -> None:
    results = Results([call(TURN, MUTE, NEEDLESS), call(TURN, row="plain")])
    tool, plain, both = summarise(Plan(("callwright", "pipecat"), ("tool4000", "plain")), results)
    assert (tool.setting, plain.setting, both.setting) == ("tool4000", "plain", "all")
    found = tool.to_json(MADE)["metrics"]
    assert isinstance(found, dict)
    assert (found["mute_turns"], found["tool_calls_lost"], found["tool_calls_doubled"]) == (1, 1, 2)
    assert found["filler_needless_rate"] == pytest.approx(0.3333)
    assert found["filler_first_ms"] == {"p50": 800, "p95": 800, "max": 800, "mean": 800, "unit": "ms", "n": 1}
    assert (both.n, both.metrics["tool_calls"], both.metrics["filler_overlap"]) == (4, 8, 2)
    assert both.metrics["filler_in_context"] == 6


def test_the_table_fits_and_every_turn_can_be_read_by_itself() -> None:
    ours = replace(call(TURN, TURN), system="callwright")
    results = Results([call(TURN, MUTE), call(MUTE, row="interrupted"), ours])
    console = Console(file=io.StringIO(), width=120)
    console.print(render(summarise(Plan(("callwright", "pipecat"), ROWS), results), MADE))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue().splitlines()
    judged = [row.split()[:3] for row in text if "callwright" in row or "pipecat" in row]
    assert judged == [
        ["tool4000", "callwright", "2"],
        ["pipecat", "2", "800"],
        ["interrupted", "pipecat", "1"],
        ["all", "callwright", "2"],
        ["pipecat", "3", "800"],
    ]
    assert "800 / 800" in " ".join(text)
    assert "1100 / 9000" in " ".join(text)
    assert max(map(len, text)) <= 120
    first, *_ = lines = list(detail_lines(results))
    assert len(lines) == 5
    assert (first["row"], first["longest_silence_ms"], first["fillers"]) == ("tool4000", 1100.0, ["Well"])
    json.dumps(lines)


def test_a_call_in_one_line() -> None:
    assert progress(call(TURN, MUTE, failure="it broke")) == (
        "tool4000, pipecat, seed 4: silent for 1100 9000 ms, 1 MUTE, 1 LOST, 2 DOUBLED; FAILED: it broke"
    )


def test_an_unknown_row_is_refused_with_the_nearest_one() -> None:
    _, error = invoke("--rows", "tool400")
    assert isinstance(error, ConfigError)
    assert "did you mean 'tool4000'?" in str(error)


def test_an_interrupted_run_reports_what_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def held(plan: Plan, results: Results, say: object) -> None:
        results.calls.append(call(TURN))
        raise KeyboardInterrupt

    monkeypatch.setattr(silence, "run", held)
    figures, details = tmp_path / "out.json", tmp_path / "out.jsonl"
    output, error = invoke("--system", "pipecat", "--json", str(figures), "--details", str(details))
    assert isinstance(error, KeyboardInterrupt | SystemExit)
    assert "tool4000" in output
    assert json.loads(figures.read_text())[0]["metrics"]["tool_calls_lost"] == 1
    assert len(details.read_text().splitlines()) == 1


def test_a_failed_call_makes_the_command_fail_after_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    async def held(plan: Plan, results: Results, say: object) -> None:
        results.calls.append(call(failure="it broke"))

    monkeypatch.setattr(silence, "run", held)
    output, error = invoke("--system", "pipecat")
    assert "failed calls: 1" in " ".join(output.split())
    assert isinstance(error, CallwrightError)


async def test_one_real_call_is_judged_from_end_to_end() -> None:
    """LiveKit, stand-ins and stock Pipecat: silent while its tool runs, and it says nothing of its own; 40 s."""
    plan = Plan(("pipecat",), ("tool4000",), turns=2, concurrency=1)
    results, said = Results(), list[str]()
    async with asyncio.timeout(150):
        await run(plan, results, said.append)
    (held,) = results.calls
    assert held.failure == ""
    assert len(held.turns) == 2
    assert held.effects == Effects(asked=2)
    assert held.fillers == Fillers()
    for turn in held.turns:
        assert turn.longest_silence_ms > 4000
        assert turn.first_sound_ms == pytest.approx(turn.response_gap_ms, abs=50)
    assert said[-1].startswith("2/2  tool4000, pipecat, seed 0: silent for ")
