"""The faults on virtual time: what the caller is left with, and that the trial sees it when a policy fails."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from callwright.bench.fault_report import render_trial, summarise_trial
from callwright.bench.fault_scenes import ROWS, SCENES
from callwright.bench.fault_trial import Case, Trial, cases, play, trial
from callwright.bench.report import Provenance
from callwright.bench.spread import Spread
from callwright.commands import bench
from callwright.errors import ConfigError
from callwright.failover.ears_watch import EarsWatch
from callwright.failover.token_watch import TokenWatch
from callwright.failover.voice_watch import Take
from callwright.sections import WatchConfig

LIMITS = WatchConfig()
MODEL_ROWS = tuple(row for row in ROWS if SCENES[row].stage == "llm")


@pytest.mark.parametrize("case", cases(ROWS), ids=lambda case: f"{case.row}, {case.setting}")
def test_under_any_single_fault_the_caller_is_never_left_in_silence(case: Case) -> None:
    turn = play(case, LIMITS, "seed")
    assert turn.struck
    assert not turn.mute
    assert turn.silence_ms <= 2000
    assert turn.answered or turn.told
    assert turn.answered or case.vendors == 1


def test_a_model_that_fails_costs_less_than_a_second_where_there_is_another() -> None:
    added = [
        turn.added_ms
        for case in cases(MODEL_ROWS)
        for number in range(20)
        if case.vendors > 1 and (turn := play(case, LIMITS, f"seed {number}")).added_ms is not None
    ]
    assert len(added) > 1000
    spread = Spread.of(added)
    assert spread
    assert spread.p95 <= 1000


def test_a_model_that_nobody_paces_leaves_the_caller_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenWatch, "stopped", lambda *_: False)
    monkeypatch.setattr(TokenWatch, "wakes_at", 60_000.0)
    assert play(Case("llm-within-trickle", 2, False), LIMITS, "seed").silence_ms > 2000


def test_the_same_seed_plays_the_same_turn() -> None:
    case = Case("tts-within-stall", 2, False)
    assert play(case, LIMITS, "a") == play(case, LIMITS, "a")
    assert play(case, LIMITS, "a") != play(case, LIMITS, "b")


def test_a_voice_that_nobody_watches_leaves_the_caller_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Take, "look", lambda *_: None)
    turn = play(Case("tts-within-stall", 2, False), LIMITS, "seed")
    assert not turn.answered
    assert turn.silence_ms > 2000


def test_ears_that_nobody_watches_leave_the_agent_mute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EarsWatch, "wakes_at", lambda _: None)
    turn = play(Case("stt-before-silence", 2, False), LIMITS, "seed")
    assert turn.mute
    assert not turn.answered


def test_a_model_that_is_waited_for_for_ever_is_never_answered() -> None:
    patient = WatchConfig(first_token_ms=60_000, turn_budget_ms=60_000)
    assert not play(Case("llm-before-silence", 1, False), patient, "seed").answered


def test_what_was_played_is_summed_up_by_stage_and_circumstance() -> None:
    found, said = Trial(), list[str]()
    trial(("tts-before-drop", "stt-before-silence"), 2, 0, found, said.append)
    summaries = summarise_trial(found, 2, 0)
    assert [one.setting for one in summaries[:2]] == ["tts, fallback, once", "tts, fallback, lasting"]
    assert [one.setting for one in summaries[-4:]] == [
        f"all, {how}" for how in ("fallback, once", "fallback, lasting", "alone, once", "alone, lasting")
    ]
    assert [(one.n, one.metrics["mute_turns"]) for one in summaries[-4:]] == [(4, 0)] * 4
    console = Console(file=io.StringIO(), width=120)
    console.print(render_trial(summaries, Provenance(git="abc", date="2026-11-21", machine={})))
    assert isinstance(console.file, io.StringIO)
    assert "stt, alone, lasting" in console.file.getvalue()
    assert [line.split(" ms")[0].rstrip("0123456789") for line in said] == ["8/8  longest silence so far "]


def test_the_command_plays_our_own_policies_only(tmp_path: Path) -> None:
    app = typer.Typer()
    bench.register(app)
    figures = tmp_path / "out.json"
    played = ["bench", "faults", "--virtual", "1", "--rows", "tts-idle-drop"]
    assert CliRunner().invoke(app, [*played, "--json", str(figures)]).exception is None
    assert json.loads(figures.read_text())[0]["metrics"]["mute_turns"] == 0
    assert isinstance(CliRunner().invoke(app, [*played, "--system", "pipecat"]).exception, ConfigError)
