"""How long sound takes through a LiveKit server."""

from __future__ import annotations

import numpy as np
import pytest

from callwright.simulators import echo
from callwright.simulators.livekit import LiveKitServer


async def test_both_crossings_are_measured() -> None:
    async with LiveKitServer() as server:
        transport = await echo.measure(server, pairs=1, chirps=2)
    assert len(transport.there_ms) == len(transport.back_ms) == 2
    assert 30 < transport.ms < 300


def test_a_sound_is_found_to_the_sample() -> None:
    pattern = np.sin(np.arange(2400) ** 1.3 / 50) * 9000
    noise = np.random.default_rng(1).standard_normal(20000) * 300
    noise[7001 : 7001 + 2400] += pattern
    assert echo.find(pattern.astype(np.int16), noise.astype(np.int16)) == 7001


@pytest.mark.parametrize("length", [100, 20000])
def test_a_sound_that_is_not_there_is_not_found(length: int) -> None:
    pattern = (np.sin(np.arange(2400) ** 1.3 / 50) * 9000).astype(np.int16)
    noise = (np.random.default_rng(2).standard_normal(length) * 3000).astype(np.int16)
    assert echo.find(pattern, noise) is None


def test_the_metric_is_both_medians_added() -> None:
    transport = echo.Transport((40.0, 50.0, 90.0), (30.0, 31.0, 32.0))
    assert transport.ms == 81.0
    assert transport.spread_ms == 60.0
