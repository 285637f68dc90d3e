"""A second request is sent as early as the bill allows, and no earlier."""

from __future__ import annotations

import random

import pytest

from callwright.bench.hedge_trial import Usage, trial
from callwright.bench.spread import Spread
from callwright.failover.hedge import FEWEST, KEPT, SOONEST_MS, UNKNOWN_MS, Bill, Hedge, Model, relative
from callwright.simulators.account import Delay

CHEAP_PROMPT: Usage = {"cache_read_tokens": 1000.0, "cache_write_5m_tokens": 40.0, "output_tokens": 150.0}
DEAR_PROMPT: Usage = {"cache_read_tokens": 1500.0, "cache_write_5m_tokens": 100.0, "output_tokens": 60.0}


def turns(usage: Usage, *seconds: int, ratio: float = 1.0) -> tuple[float, float, float]:
    """p95 of the first token in ms, how much more is spent, and the share of answers from the second model."""

    def price(quantities: object) -> float:
        return ratio * relative(quantities)  # type: ignore[arg-type]  # a mapping, as Price says

    hedge = Hedge([Model(), Model(price)], seconds)
    found = list(trial(4000, 7, (usage, usage), (relative, price), hedge))
    spread = Spread.of([turn.first_token_ms for turn in found])
    assert spread
    spent = sum(turn.usd for turn in found) / (len(found) * relative(usage)) - 1
    return spread.p95, spent, sum(turn.by_second for turn in found) / len(found)


def known(hedge: Hedge, ms: float = 500, usage: Usage = CHEAP_PROMPT) -> Hedge:
    """After so many first tokens that a moment can be named."""
    for _ in range(FEWEST):
        hedge.models[0].first_token(ms)
        hedge.settled([Bill(0, usage, answered=True)], hedged=False)
    return hedge


def lost(usage: Usage) -> Bill:
    return Bill(0, {**usage, "output_tokens": 0.0}, answered=False)


def test_without_hedging_the_other_model_is_asked_once_the_first_is_late() -> None:
    p95, _, _ = turns(CHEAP_PROMPT)
    assert p95 == pytest.approx(1402, rel=0.05)  # as `Model.late_ms` says


def test_where_the_prompt_is_cheap_the_same_model_brings_the_p95_below_1200_ms_for_15_percent() -> None:
    p95, spent, _ = turns(CHEAP_PROMPT, 0)
    assert p95 <= 1200
    assert spent <= 0.151


def test_where_the_prompt_is_dear_15_percent_buys_less_and_is_not_overdrawn() -> None:
    p95, spent, _ = turns(DEAR_PROMPT, 0)
    assert 1300 <= p95 <= 1450
    assert spent <= 0.151


def test_another_model_at_the_same_price_buys_no_more_than_the_same_one() -> None:
    p95, spent, _ = turns(DEAR_PROMPT, 1)
    assert 1300 <= p95 <= 1450
    assert spent <= 0.151


def test_another_model_at_half_the_price_pays_for_itself_with_the_turns_it_wins() -> None:
    p95, spent, _ = turns(DEAR_PROMPT, 1, ratio=0.5)
    assert p95 <= 1200
    assert spent <= 0.151


def test_a_second_model_that_costs_nothing_is_no_reason_to_race() -> None:
    p95, spent, by_second = turns(DEAR_PROMPT, 1, ratio=0.0)
    assert p95 <= 1200
    assert spent < 0
    assert by_second < 0.25


def test_a_second_model_that_costs_ten_times_as_much_is_hardly_ever_asked_and_not_overdrawn() -> None:
    p95, spent, _ = turns(DEAR_PROMPT, 1, ratio=10.0)
    late_p95, late_spent, _ = turns(DEAR_PROMPT, ratio=10.0)
    assert p95 == pytest.approx(late_p95, rel=0.05)
    assert spent <= late_spent + 0.05, "but for those that are late"


def test_of_two_the_one_that_may_be_asked_sooner_is_asked() -> None:
    assert turns(DEAR_PROMPT, 0, 1, ratio=0.5) == turns(DEAR_PROMPT, 1, ratio=0.5)
    dear = turns(DEAR_PROMPT, 0, 1, ratio=10.0)
    assert dear[0] == pytest.approx(turns(DEAR_PROMPT, 0)[0], rel=0.08)


def test_nothing_is_hedged_before_anything_is_known() -> None:
    hedge = Hedge([Model()])
    for _ in range(FEWEST - 1):
        hedge.models[0].first_token(500)
        hedge.settled([Bill(0, CHEAP_PROMPT, answered=True)], hedged=False)
    assert hedge.plan is None
    hedge.models[0].first_token(500)
    assert hedge.plan == (500, 0)


def test_a_hedge_with_nobody_only_learns() -> None:
    assert known(Hedge([Model()], ())).plan is None


def test_overspending_is_paid_back_before_the_next() -> None:
    hedge = known(Hedge([Model()]), usage=DEAR_PROMPT)
    assert hedge.plan == (500, 0)
    for _ in range(8):
        hedge.settled([lost(DEAR_PROMPT), Bill(0, DEAR_PROMPT, answered=True)], hedged=True)
    assert hedge.plan is None
    for _ in range(10):  # 8 prompts of 0.48 turns each are 15 % of 26 turns
        hedge.settled([Bill(0, DEAR_PROMPT, answered=True)], hedged=False)
    assert hedge.plan == (500, 0)


def test_what_a_caller_interrupted_before_an_answer_is_not_overspending() -> None:
    hedge = known(Hedge([Model()]))
    for _ in range(100):
        hedge.settled([lost(CHEAP_PROMPT)], hedged=False)
    assert hedge.plan == (500, 0)


def test_an_outage_in_which_a_dear_vendor_answers_alone_is_not_overspending() -> None:
    hedge = known(Hedge([Model(), Model(lambda used: 10 * relative(used))]))
    for _ in range(100):
        hedge.settled([Bill(1, CHEAP_PROMPT, answered=True)], hedged=False)
    assert hedge.plan == (500, 0)


def test_a_request_that_was_cancelled_counts_as_slower_than_it_was_waited_for() -> None:
    patient, naive = Hedge([Model()]), Hedge([Model()])
    for ms in range(100, 1100, 100):
        (patient.models[0].cancelled if ms in (300, 500) else patient.models[0].first_token)(ms)
        naive.models[0].first_token(ms)
        for hedge in (patient, naive):
            hedge.settled([Bill(0, DEAR_PROMPT, answered=True)], hedged=False)
    assert naive.plan
    assert patient.plan
    assert patient.plan > naive.plan


def test_the_shares_of_arrivals_sum_up_to_one_but_for_those_nobody_waited_for() -> None:
    model = Model()
    for ms in (100, 200, 300):
        model.first_token(ms)
    assert sum(share for _, share in model.arrivals) == pytest.approx(1)
    model.cancelled(400)
    assert sum(share for _, share in model.arrivals) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("delay", "late", "twice", "p95"),
    [
        (Delay(250, 400), 800, 0.0, 400),
        (Delay(637, 1615), 848, 0.30, 1402),
        (Delay(1000, 2200), 1274, 0.31, 2028),
    ],
)
def test_a_first_token_is_late_for_three_turns_in_ten_at_most(
    delay: Delay, late: float, twice: float, p95: float
) -> None:
    rng = random.Random(7)
    moments, asked_twice, waits = [], 0, []
    for _ in range(400):
        model = Model()
        for _ in range(KEPT):
            model.first_token(delay.draw(rng) * 1000)
        moments.append(model.late_ms)
        for _ in range(50):
            first, second = delay.draw(rng) * 1000, delay.draw(rng) * 1000
            asked_twice += first > model.late_ms
            waits.append(min(first, model.late_ms + second))
    assert sorted(moments)[200] == pytest.approx(late, rel=0.03)
    assert asked_twice / len(waits) == pytest.approx(twice, abs=0.02)
    assert sorted(waits)[round(0.95 * len(waits))] == pytest.approx(p95, rel=0.03)


def test_a_quick_model_is_never_late_before_a_moment_that_anybody_would_bear() -> None:
    model = Model()
    for _ in range(FEWEST):
        model.first_token(100)
    assert model.late_ms == SOONEST_MS


def test_a_model_of_which_little_is_known_or_that_has_fallen_silent_is_late_after_less_than_a_second() -> None:
    model = Model()
    assert model.late_ms == UNKNOWN_MS
    for ms in range(600, 1400, 100):
        model.first_token(ms)
    assert model.late_ms > UNKNOWN_MS
    for _ in range(KEPT // 2):
        model.cancelled(1500)
    assert model.late_ms == UNKNOWN_MS
