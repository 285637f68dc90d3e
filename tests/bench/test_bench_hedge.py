"""`callwright bench hedge`: what it refuses, what it prints, and that the wire's part is the real mind's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from callwright.bench import hedge as bench_hedge
from callwright.bench.hedge import HEDGES, PAIRS, Plan, Results, Row, pairs, run
from callwright.bench.hedge_asks import Ask, Served, Usual, overheads, overrated, turns
from callwright.bench.hedge_report import summarise
from callwright.bench.hedge_trial import FRONT_DESK, Turn, trial
from callwright.bench.hedge_wire import Load, Measured, measure
from callwright.bench.report import Provenance, Summary
from callwright.bench.spread import Spread
from callwright.commands import bench
from callwright.errors import CallwrightError, ConfigError
from callwright.failover.hedge import Hedge, Model
from callwright.failover.priced import price_of
from callwright.records import events
from callwright.records.prices import PriceBook
from callwright.simulators.account import Delay
from callwright.vendors import find
from callwright.vendors.table import DEFAULTS

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
    assert [(one["config"]["hedge"], one["config"]["usage"]["output_tokens"]) for one in found] == [
        (hedge, tokens) for tokens in (15, 50) for hedge in HEDGES
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
    found = zip(results.rows, summarise_of(results), strict=True)
    goals = {(row.hedge, row.usage["output_tokens"]): bool(one.metrics["goal"]) for row, one in found}
    assert goals == {(hedge, n): hedge == "next" for hedge in HEDGES for n in (15, 50)}


def summarise_of(results: Results) -> list[Summary]:
    return summarise(Plan(pairs(PAIR), 2000, 0, 0), results)


SONNET, LUNA = pairs(PAIR)[0]
BOOK = PriceBook.load()
WARM = {"cache_read_tokens": 2000.0, "cache_write_5m_tokens": 60.0, "output_tokens": 10.0}
COLD = {"cache_read_tokens": 0.0, "cache_write_5m_tokens": 2060.0, "output_tokens": 10.0}


def bill(model: tuple[str, str], quantities: dict[str, float], *, estimated: bool = False) -> events.Usage:
    return events.Usage(1, "llm", *model, quantities, estimated=estimated)


def usd(model: tuple[str, str], quantities: dict[str, float]) -> float:
    price = price_of(*model)
    assert price
    return price(quantities)


def ask(at: float, *bills: events.Usage, by: int = 0, place: int = 1) -> Ask:
    """Asked `at`, of each of the `bills`' models 400 ms after the one before; answered after 700 ms."""
    sent = [(at + 3 + number * 400, (one.vendor, one.model)) for number, one in enumerate(bills)]
    return Ask(place, at, sent, at + 700, by, list(bills))


def test_what_a_loser_used_is_what_its_model_reports_elsewhere_at_that_place() -> None:
    """Neither a prompt that was in no cache yet nor what the mind took the loser for moves it."""
    wrong = bill(SONNET, {**COLD, "output_tokens": 0.0}, estimated=True)
    others = [ask(0, bill(SONNET, COLD)), ask(1000, bill(SONNET, WARM)), ask(2000, bill(SONNET, WARM))]
    later = ask(3000, bill(SONNET, {**WARM, "cache_read_tokens": 9000.0}), place=2)
    asks = [*others, later, ask(4000, wrong, bill(LUNA, WARM), by=1)]
    found = turns(asks, SONNET, Usual(others), BOOK)[-1]
    prompt = usd(SONNET, {**WARM, "output_tokens": 0.0})
    assert (found.first_token_ms, found.again_ms, found.by_second) == (700, 400, True)
    assert found.usd == pytest.approx(prompt + usd(LUNA, WARM))
    assert found.alone_usd == pytest.approx(usd(SONNET, WARM))
    assert overrated(asks, BOOK) == pytest.approx(usd(SONNET, wrong.quantities) / prompt - 1)


def test_a_loser_that_nobody_can_say_more_about_costs_what_the_mind_took_it_for() -> None:
    lost = bill(LUNA, COLD, estimated=True)
    [found] = turns([ask(0, bill(SONNET, WARM), lost)], SONNET, Usual([]), BOOK)
    assert found.usd == pytest.approx(usd(SONNET, WARM) + usd(LUNA, COLD))
    assert found.alone_usd == 0, "nobody knows"


def test_what_the_book_has_no_price_for_is_no_figure() -> None:
    with pytest.raises(CallwrightError, match=r"no price for openai gpt-5\.6-luna"):
        turns([ask(0, bill(("openai", "gpt-5.6-luna"), WARM))], SONNET, Usual([]), BOOK)


def test_of_a_first_token_all_that_is_not_the_vendors_delay_is_ours() -> None:
    """3 ms until the request left, 5 there and 7 back; other conversations' lines are not its own."""
    mine = Served(8, 693)
    others = [Served(1, 690), Served(6, 600), Served(90, 699), Served(-50, 695), Served(9, 720)]
    assert overheads([ask(0, bill(SONNET, WARM))], [*others, mine]) == [pytest.approx(15)]
    assert overheads([ask(0, bill(SONNET, WARM))], []) == [], "no line of the log is its own"


async def test_over_http_every_request_of_a_conversation_is_answered_and_billed() -> None:
    measured = [Measured(), Measured()]
    load = Load(3, warm_up=1, spread_s=0.3, pause_s=0.0, delay=Delay(60, 150))
    await measure(pairs(f"{PAIR}, {PAIRS[0]}"), "next", load, 0, measured, lambda line: None)
    for found, (first, _) in zip(measured, pairs(f"{PAIR}, {PAIRS[0]}"), strict=True):
        usual = Usual(found.asks)
        conversations = turns(found.asks, first, usual, BOOK)
        assert len(conversations) == 27
        assert all(turn.usd > 0 for turn in conversations)
        assert all(turn.alone_usd > 0 for turn in conversations)
        assert len(overheads(found.asks, found.served)) == 27
        spread = Spread.of([turn.first_token_ms for turn in conversations])
        assert spread
        assert spread.p50 >= 30, "the stand-ins' delay is in it"
    dear, (first, _) = measured[0], pairs(PAIR)[0]
    again = [turn for turn in turns(dear.asks, first, Usual(dear.asks), BOOK) if turn.again_ms is not None]
    assert len(again) >= 9, "where the second model costs a twentieth most turns are asked twice"


async def test_the_counted_clocks_prompt_is_that_of_the_front_desk() -> None:
    measured = Measured()
    load = Load(2, warm_up=0, spread_s=0.1, pause_s=0.0, delay=Delay(0, 0))
    await measure(pairs(PAIR), "off", load, 0, [measured], lambda line: None)
    usual = Usual(measured.asks).mean(SONNET)
    for name in ("cache_read_tokens", "cache_write_5m_tokens"):
        assert usual[name] == pytest.approx(FRONT_DESK[name], rel=0.05)


def test_the_first_pair_begins_with_the_model_one_gets_without_asking() -> None:
    vendor = DEFAULTS["llm"]
    assert pairs(PAIRS[0])[0][0] == (vendor, find("llm", vendor).default_model)


def test_a_pairs_rows_over_http_stand_together() -> None:
    one, other = pairs(PAIR)[0], pairs(PAIRS[0])[0]
    turn = Turn(500, 1.0, 1.0, None, False)
    rows = [Row("wire", pair, hedge, {"output_tokens": 15.0}, [turn]) for hedge in HEDGES for pair in (one, other)]
    found = summarise(Plan((one, other), 1, 1, 0), Results(rows))
    assert [summary.config["models"] for summary in found] == [[model for _, model in one]] * 3 + [
        [model for _, model in other]
    ] * 3


def test_json_says_where_and_when() -> None:
    results = Results()
    asyncio.run(run(Plan(pairs(PAIR), 20, 0, 0), results, lambda line: None))
    written = summarise_of(results)[0].to_json(Provenance("abc", "today", {"cores": 2}))
    assert (written["bench"], written["git"], written["n"]) == ("hedge", "abc", 20)
