"""Deepgram's voice in the vendor table: the voice is what Deepgram calls a model, and it tells no word times."""

from __future__ import annotations

from pydantic import SecretStr

from callwright import vendors
from callwright.records.events import Usage
from callwright.records.prices import PriceBook
from callwright.stage import StageConfig
from callwright.vendors import find

ROW = find("tts", "deepgram")


def test_the_voice_is_asked_for_where_deepgram_has_its_model() -> None:
    config = StageConfig(
        vendor="deepgram",
        model=ROW.default_model,
        base_url="http://127.0.0.1:9/v1/speak",
        api_key=SecretStr("k"),
        settings={"voice": "aura-2-apollo-en", "speed": 0.9},
    )
    service = vendors.build("tts", config, sample_rate=24000)
    assert service.settings.voice == "aura-2-apollo-en"
    assert service.settings.speed == 0.9
    assert service._base_url == "ws://127.0.0.1:9"
    assert service._ws_send_timeout == 0.5
    assert service._reconnect_backoff_min_wait == 0.25


def test_it_streams_without_word_times_and_has_a_stand_in() -> None:
    assert ROW.abilities == {"streaming"}
    assert ROW.stand_in


def test_its_characters_are_priced() -> None:
    usage = Usage(1, "tts", ROW.name, ROW.default_model, {"characters": 1_000_000})
    assert PriceBook.load().cost(usage).usd == 30  # deepgram.com/pricing, 2026-07-31
