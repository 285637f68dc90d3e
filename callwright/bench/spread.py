"""How figures are summed up: nearest-rank quantiles, so that every printed one was really measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median, 95th percentile, maximum and mean of `n` figures."""

    n: int
    p50: float
    p95: float
    max: float
    mean: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread | None:
        """The spread of `figures`, in any order; None of none."""
        if not figures:
            return None
        ordered = sorted(figures)
        return cls(
            n=len(ordered),
            p50=nearest_rank(ordered, 0.50),
            p95=nearest_rank(ordered, 0.95),
            max=ordered[-1],
            mean=math.fsum(ordered) / len(ordered),
        )


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The smallest of the ascending figures that at least `share` (0–1) of them do not exceed.

    Raises ValueError when there are none, or when `share` is not between 0 and 1.
    """
    if not ordered or not 0 <= share <= 1:
        raise ValueError(f"no quantile {share} of {len(ordered)} figures")
    # The product is rounded before it is taken up: 0.95 × 20 is 19, not 19.000000000000004.
    return ordered[max(0, math.ceil(round(share * len(ordered), 9)) - 1)]
