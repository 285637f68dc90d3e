"""A second request is sent as early as the bill allows, and no earlier."""

from __future__ import annotations

import math
import random

import pytest

from callwright.failover.hedge import FEWEST, Hedge

SIGMA = math.log(1615 / 637) / 1.6449
CHEAP_PROMPT = {"cache_read_tokens": 1000.0, "cache_write_5m_tokens": 40.0, "output_tokens": 150.0}
DEAR_PROMPT = {"cache_read_tokens": 1500.0, "cache_write_5m_tokens": 100.0, "output_tokens": 60.0}


def prompt_of(usage: dict[str, float]) -> dict[str, float]:
    return {**usage, "output_tokens": 0.0}


def turns(usage: dict[str, float], count: int = 4000, *, hedged: bool = True) -> tuple[float, float]:
    """p95 of the first token in ms and the share spent on losers, over so many turns."""
    chance = random.Random(7)
    hedge = Hedge()
    waits: list[float] = []
    lost = answered = 0.0
    price = {"cache_read_tokens": 0.1, "cache_write_5m_tokens": 1.25, "output_tokens": 5.0}
    for _ in range(count):
        first, second = (637 * math.exp(SIGMA * chance.gauss(0, 1)) for _ in range(2))
        moment = hedge.moment_ms if hedged else None
        if moment is None or first <= moment:
            waits.append(first)
            hedge.first_token(first)
        else:
            waits.append(min(first, moment + second))
            if first <= moment + second:
                hedge.first_token(first)
                hedge.cancelled(first - moment)
            else:
                hedge.first_token(second)
                hedge.cancelled(moment + second)
            hedge.billed(prompt_of(usage), lost=True)
            lost += sum(price[name] * amount for name, amount in prompt_of(usage).items())
        hedge.billed(usage, lost=False)
        answered += sum(price[name] * amount for name, amount in usage.items())
    return sorted(waits)[int(0.95 * count)], lost / answered


def test_without_hedging_a_slow_turn_is_as_slow_as_the_vendor() -> None:
    p95, spent = turns(CHEAP_PROMPT, hedged=False)
    assert p95 == pytest.approx(1615, rel=0.05)
    assert spent == 0


def test_where_the_prompt_is_cheap_the_p95_falls_below_1200_ms_for_15_percent() -> None:
    p95, spent = turns(CHEAP_PROMPT)
    assert p95 <= 1200
    assert spent <= 0.15


def test_where_the_prompt_is_dear_15_percent_buys_less_and_is_not_overdrawn() -> None:
    p95, spent = turns(DEAR_PROMPT)
    assert 1300 <= p95 <= 1450
    assert spent <= 0.16


def test_nothing_is_hedged_before_anything_is_known() -> None:
    hedge = Hedge()
    for _ in range(FEWEST - 1):
        hedge.first_token(500)
        hedge.billed(CHEAP_PROMPT, lost=False)
    assert hedge.moment_ms is None
    hedge.first_token(500)
    assert hedge.moment_ms == 500


def test_overspending_is_paid_back_before_the_next() -> None:
    hedge = Hedge()
    for _ in range(FEWEST):
        hedge.first_token(500)
        hedge.billed(CHEAP_PROMPT, lost=False)
    hedge.billed(CHEAP_PROMPT, lost=True)
    hedge.billed(CHEAP_PROMPT, lost=True)
    assert hedge.moment_ms is None


def test_a_request_that_was_cancelled_counts_as_slower_than_it_was_waited_for() -> None:
    patient, naive = Hedge(), Hedge()
    for ms in range(100, 1100, 100):
        (patient.cancelled if ms in (300, 500) else patient.first_token)(ms)
        naive.first_token(ms)
        for hedge in (patient, naive):
            hedge.billed(DEAR_PROMPT, lost=False)
    assert naive.moment_ms is not None
    assert patient.moment_ms is not None
    assert patient.moment_ms > naive.moment_ms
