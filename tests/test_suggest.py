"""The nearest right name."""

import pytest

from callwright.suggest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("elevanlabs", "elevenlabs"),
        ("Deepgram", "deepgram"),
        ("deepgram_flux", "deepgram-flux"),
        ("catresia", "cartesia"),
    ],
)
def test_a_slip_of_the_finger_is_understood(typed: str, meant: str) -> None:
    assert nearest(typed, ["elevenlabs", "deepgram", "deepgram-flux", "cartesia"]) == meant


def test_an_unrelated_word_suggests_nothing_but_says_what_is_known() -> None:
    assert nearest("zebra", ["cartesia", "elevenlabs"]) is None
    assert did_you_mean("zebra", ["elevenlabs", "cartesia"]) == "known: cartesia, elevenlabs"
