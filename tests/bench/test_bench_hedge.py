"""`callwright bench hedge`: what it refuses, what it prints, and that the wire's part is the real mind's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from callwright.bench import hedge as bench_hedge
from callwright.bench import hedge_wire
from callwright.bench.hedge import PAIRS, Plan, Results, pairs, run
from callwright.bench.hedge_report import summarise
from callwright.bench.hedge_trial import FRONT_DESK, trial
from callwright.bench.report import Provenance, Summary
from callwright.bench.spread import Spread
from callwright.commands import bench
from callwright.errors import ConfigError
from callwright.failover.hedge import Hedge, Model
from callwright.failover.priced import price_of
from callwright.simulators.account import Delay

PAIR = "claude-sonnet-5-5+gpt-6-luna"


def invoke(*arguments: str) -> tuple[str, BaseException | None]:
    app = typer.Typer()
    bench.register(app)
    outcome = CliRunner().invoke(app, ["bench", "hedge", *arguments])
    return outcome.output, outcome.exception


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gpt-6-luna", "is no pair of models"),
        (",", "no pair to measure"),
        ("claude-sonnet-5-5+gpt-6-lunar", "did you mean 'gpt-6-luna'"),
        ("claude-sonnet-5-5+gpt-5.6-luna", "no price for 'gpt-5.6-luna'"),
        ("+", "unknown model ''"),
    ],
)
def test_a_pair_that_cannot_be_reckoned_is_refused_in_one_line(given: str, said: str) -> None:
    _, error = invoke("--pairs", given)
    assert isinstance(error, ConfigError)
    assert said in str(error)
    assert "\n" not in str(error)


def test_a_file_that_could_not_be_written_is_refused_before_the_run() -> None:
    _, error = invoke("--json", "/no/such/folder/out.json")
    assert isinstance(error, ConfigError)


def test_a_pair_is_found_by_its_models() -> None:
    assert pairs(f"{PAIR}, {PAIR}") == ((("anthropic", "claude-sonnet-5-5"), ("openai", "gpt-6-luna")),)
    assert len(pairs(",".join(PAIRS))) == len(PAIRS)


def test_the_figures_are_printed_and_written(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    output, error = invoke("--turns", "200", "--calls", "0", "--pairs", PAIR, "--json", str(file))
    assert error is None
    assert "claude-sonnet-5-5 + gpt-6-luna" in output
    found = json.loads(file.read_text())
    assert [(one["config"]["hedge"], one["config"]["answer_tokens"]) for one in found] == [
        (hedge, tokens) for tokens in (15, 50) for hedge in ("off", "same", "next")
    ]
    assert {"first_token_ms", "more_spend", "asked_twice", "answered_by_second"} <= set(found[0]["metrics"])


def test_an_interruption_prints_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def interrupted(*given: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return trial(*given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(bench_hedge, "trial", interrupted)
    output, _ = invoke("--turns", "50", "--calls", "0", "--pairs", PAIR)
    assert "virtual: claude-sonnet-5-5 twice" in output
    assert "claude-sonnet-5-5 + gpt-6-luna" not in output


def test_the_same_seed_gives_the_same_turns() -> None:
    def again() -> list[float]:
        price = price_of("anthropic", "claude-haiku-5-5")
        assert price
        hedge = Hedge([Model(price), Model(price)], (1,))
        turns = trial(100, 3, (FRONT_DESK, FRONT_DESK), (price, price), hedge)
        return [turn.first_token_ms for turn in turns]

    assert again() == again()


def test_a_cheaper_next_model_reaches_the_goal_and_the_same_one_does_not() -> None:
    results = Results()
    asyncio.run(run(Plan(pairs(PAIR), 2000, 0, 0), results, lambda line: None))
    goals = {(one.config["hedge"], one.config["answer_tokens"]): one.metrics["goal"] for one in summarise_of(results)}
    assert goals == {(hedge, n): float(hedge == "next") for hedge in ("off", "same", "next") for n in (15, 50)}


def summarise_of(results: Results) -> list[Summary]:
    return summarise(Plan(pairs(PAIR), 2000, 0, 0), results)


async def test_on_the_wire_every_request_of_a_conversation_is_answered_and_billed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hedge_wire, "DELAY", Delay(60, 150))
    measured = hedge_wire.Measured()
    await hedge_wire.measure(pairs(PAIR)[0], "next", 3, 0, measured, lambda line: None)
    assert len(measured.turns) == 27
    assert any(turn.asked_twice for turn in measured.turns)
    assert all(turn.usd > 0 for turn in measured.turns)
    assert measured.usual(0)["cache_read_tokens"] > 1000
    spread = Spread.of([turn.first_token_ms for turn in measured.turns])
    assert spread
    assert spread.p50 >= 30, "the stand-ins' delay is in it"


def test_json_says_where_and_when() -> None:
    results = Results()
    asyncio.run(run(Plan(pairs(PAIR), 20, 0, 0), results, lambda line: None))
    written = summarise_of(results)[0].to_json(Provenance("abc", "today", {"cores": 2}))
    assert (written["bench"], written["git"], written["n"]) == ("hedge", "abc", 20)
