"""`watch.hedge`: who is asked beside the first model, at whose prices, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from callwright.config import Config, load
from callwright.errors import ConfigError
from callwright.failover.hedge import Hedge
from callwright.failover.priced import learned, price_of

SONNET = "llm.model=claude-sonnet-5-5"
LUNA = "llm.fallback=[{vendor: openai, model: gpt-6-luna}]"
UNPRICED = "llm.fallback=[{vendor: openai, model: gpt-5.6-luna}]"


def loaded(*overrides: str) -> Config:
    return load(file=None, overrides=overrides, environ={})


def hedge(*overrides: str) -> Hedge:
    config = loaded(*overrides)
    return learned(config.llm.line, config.watch.hedge, config.records.price_book)


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [("off", ()), ("false", ()), ('"off"', ()), ("same", (0,)), ("next", (1,)), ("true", (0, 1))],
)
def test_with_a_fallback_that_has_a_price_everything_can_be_had(wanted: str, seconds: tuple[int, ...]) -> None:
    assert hedge(SONNET, LUNA, f"watch.hedge={wanted}").seconds == seconds


def test_nobody_is_asked_twice_unless_that_is_wanted() -> None:
    assert hedge(SONNET, LUNA).seconds == ()


@pytest.mark.parametrize("fallback", ["llm.fallback=[]", UNPRICED])
def test_true_is_the_same_model_where_the_next_is_not_there_or_has_no_price(fallback: str) -> None:
    assert hedge(fallback, "watch.hedge=true").seconds == (0,)


def test_next_with_nobody_there_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"^watch.hedge is 'next', but llm.fallback names no other .*\(--set\)$"):
        loaded("watch.hedge=next")


def test_next_without_a_price_is_refused_with_the_models_name() -> None:
    with pytest.raises(ConfigError, match=r"^watch.hedge 'next' needs .* none of openai gpt-5.6-luna; [^\n]*$"):
        hedge(UNPRICED, "watch.hedge=next")


@pytest.mark.parametrize("wrong", ["nxet", "2", "[next]", "1.5"])
def test_anything_else_is_refused_in_one_line(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"^watch.hedge must be 'off', 'same' or 'next', not [^\n]*\(--set\)$"):
        loaded(f"watch.hedge={wrong}")


def test_prices_are_the_books() -> None:
    price = price_of("openai", "gpt-6-luna")
    assert price
    assert price({"cache_read_tokens": 1e6, "output_tokens": 1e6}) == pytest.approx(0.51)
    assert price_of("openai", "gpt-5.6-luna") is None


def test_tokens_of_a_kind_that_a_vendor_does_not_know_are_not_for_nothing_there() -> None:
    price = price_of("openai", "gpt-4.1")
    assert price
    assert price({"cache_write_5m_tokens": 1e6, "output_tokens": 1e6}) == pytest.approx(2 + 8)


def test_a_book_of_the_users_own_makes_another_pair_possible(tmp_path: Path) -> None:
    book = tmp_path / "own.csv"
    rows = [f"openai,gpt-5.6-luna,usd_per_1m_{kind}_tokens,1,own,2026" for kind in ("input", "cache_read", "output")]
    book.write_text("\n".join(["vendor,model,unit,price,source,date", *rows]))
    assert hedge(UNPRICED, "watch.hedge=next", f"records.price_book={book}").seconds == (1,)


def test_calls_of_one_process_learn_together_and_each_way_to_hedge_has_its_own_account() -> None:
    first, again, other = (hedge(SONNET, LUNA, f"watch.hedge={how}") for how in ("next", "next", "same"))
    assert first is again
    assert first is not other
    assert first.models[0] is other.models[0]
