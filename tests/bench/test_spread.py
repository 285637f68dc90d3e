"""Quantiles by nearest rank."""

from __future__ import annotations

import pytest

from callwright.bench.spread import Spread, nearest_rank


def test_a_quantile_is_always_one_of_the_figures() -> None:
    twenty = [float(n) for n in range(1, 21)]
    assert [nearest_rank(twenty, share) for share in (0, 0.05, 0.051, 0.5, 0.95, 0.951, 1)] == [1, 1, 2, 10, 19, 20, 20]


def test_the_order_of_the_figures_does_not_matter() -> None:
    assert Spread.of([30, 10, 20]) == Spread(n=3, p50=20, p95=30, max=30, mean=20)


def test_nothing_has_no_spread() -> None:
    assert Spread.of([]) is None
    with pytest.raises(ValueError, match="no quantile"):
        nearest_rank([], 0.5)
