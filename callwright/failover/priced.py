"""The process's knowledge of its models, with their prices: a call is too short to learn from alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from callwright.errors import ConfigError
from callwright.failover.hedge import Hedge, Model, Price, relative
from callwright.records.events import Usage
from callwright.records.prices import PROMPT, PriceBook
from callwright.sections import Hedging
from callwright.stage import StageConfig


def learned(line: Sequence[StageConfig], wanted: Hedging, prices: str | None = None) -> Hedge:
    """What the process has learnt of the models of `line`, for a hedge as `wanted`; `prices` is the user's own book.

    Raises ConfigError where another model is to be asked and the book does not say what that costs.
    """
    names = tuple((one.vendor, one.model, one.base_url) for one in line)
    if wanted in (False, "off"):
        return _hedge(names, (), prices)
    unpriced = [f"{vendor} {model}" for vendor, model, _ in names[:2] if price_of(vendor, model, prices) is None]
    if wanted == "next" and unpriced:
        raise ConfigError(
            f"watch.hedge 'next' needs the prices of both models, and the book has none of {unpriced[0]}; "
            "add it to records.price_book, or take 'same'"
        )
    same = () if wanted == "next" else (0,)
    others = () if wanted == "same" or len(names) == 1 or unpriced else (1,)
    return _hedge(names, same + others, prices)


@cache
def _hedge(names: Sequence[tuple[str, str, str | None]], seconds: Sequence[int], prices: str | None) -> Hedge:
    return Hedge([_model(*name, prices) for name in names], seconds)


@cache
def _model(vendor: str, model: str, address: str | None, prices: str | None) -> Model:
    return Model(price_of(vendor, model, prices) or relative)


def price_of(vendor: str, model: str, prices: str | None = None) -> Price | None:
    """What requests to that model cost in USD; None where the book does not say."""
    book = _book(prices)

    def usd(quantities: Mapping[str, float]) -> float | None:
        return book.cost(Usage(0, "llm", vendor, model, dict(quantities))).usd

    def price(quantities: Mapping[str, float]) -> float:
        if (known := usd(quantities)) is not None:
            return known
        # Another vendor's usage, by kinds of tokens that this one does not tell apart.
        plain = {"input_tokens": sum(quantities.get(name, 0.0) for name in PROMPT)}
        return usd({**plain, "output_tokens": quantities.get("output_tokens", 0.0)}) or 0.0

    return None if usd({"input_tokens": 1.0, "output_tokens": 1.0}) is None else price


@cache
def _book(prices: str | None) -> PriceBook:
    return PriceBook.load(prices)
