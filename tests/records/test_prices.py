"""A dollar figure follows from a published rate, or is said to be unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from callwright.errors import ConfigError
from callwright.records.events import Usage
from callwright.records.prices import Cost, PriceBook

BOOK = PriceBook.load()


def cost(vendor: str, model: str, book: PriceBook = BOOK, **quantities: float) -> Cost:
    return book.cost(Usage(1, "any", vendor, model, quantities))


@pytest.mark.parametrize(
    ("vendor", "model", "quantities", "usd"),
    [
        ("deepgram", "nova-3-general", {"audio_seconds": 60}, 0.0048),
        ("deepgram", "nova-3", {"audio_seconds": 90, "requests": 1}, 0.0072),
        ("deepgram", "nova-3-multilingual", {"audio_seconds": 60}, 0.0058),
        ("deepgram", "flux-general-en", {"audio_seconds": 60}, 0.0065),
        ("deepgram-flux", "flux-general-en", {"audio_seconds": 60}, 0.0065),
        ("deepgram-flux", "flux-general-multi", {"audio_seconds": 60}, 0.0078),
        ("deepgram", "aura-2-thalia-en", {"characters": 1e6}, 30),
        ("cartesia", "sonic-3.6", {"characters": 1_000}, 0.05),
        ("cartesia", "sonic", {"characters": 1_000}, 0.05),
        ("cartesia", "sonic-turbo-2025-03-07", {"characters": 1_000}, 0.05),
        ("cartesia", "ink-2", {"audio_seconds": 60}, 0.009),
        ("elevenlabs", "eleven_flash_v2_5", {"characters": 1e6}, 50),
        ("elevenlabs", "eleven_turbo_v2_5", {"characters": 1e6}, 50),
        ("assemblyai", "universal-streaming", {"audio_seconds": 3_600}, 0.15),
        ("soniox", "stt-rt", {"audio_seconds": 3_600}, 0.12),
        ("openai", "gpt-4.1", {"input_tokens": 1e6, "cache_read_tokens": 1e6, "output_tokens": 1e6}, 10.5),
        ("openai", "gpt-6-luna", {"cache_write_5m_tokens": 1e6}, 0.125),
        ("anthropic", "claude-haiku-4-5-20251001", {"input_tokens": 1e6, "output_tokens": 1e6}, 6),
        ("anthropic", "custom:claude-haiku-4-5", {"input_tokens": 1e6}, 1),
        ("anthropic", "claude-haiku-5-5", {"output_tokens": 1e6}, 0.5),
    ],
)
def test_published_rates(vendor: str, model: str, quantities: dict[str, float], usd: float) -> None:
    assert cost(vendor, model, **quantities).usd == pytest.approx(usd, rel=1e-12)


def test_each_class_of_prompt_token_has_its_own_price() -> None:
    found = cost(
        "anthropic",
        "claude-sonnet-5-5",
        input_tokens=1_000,
        cache_read_tokens=10_000,
        cache_write_5m_tokens=2_000,
        cache_write_1h_tokens=500,
        output_tokens=300,
        requests=1,
    )
    assert found.usd == pytest.approx((1_000 * 2 + 10_000 * 0.1 + 2_000 * 2.5 + 500 * 4 + 300 * 10) / 1e6)
    assert found.dated == "2026-10-10"
    assert len(found.prices) == 5


@pytest.mark.parametrize(("more", "input_rate"), [(0, 0.10), (1, 0.50)])
def test_a_prompt_over_a_hundred_thousand_tokens_costs_more_and_the_cache_counts(more: int, input_rate: float) -> None:
    found = cost("anthropic", "claude-haiku-5-5", input_tokens=20_000 + more, cache_read_tokens=80_000)
    cached = input_rate / 10
    assert found.usd == pytest.approx(((20_000 + more) * input_rate + 80_000 * cached) / 1e6)


@pytest.mark.parametrize(
    ("vendor", "model", "quantities"),
    [
        ("anthropic", "claude-nobody-1", {"input_tokens": 1}),
        ("nobody", "nova-3", {"audio_seconds": 1}),
        ("deepgram", "nova-4", {"audio_seconds": 0}),
        ("cartesia", "sonic-3", {"audio_seconds": 5}),
        ("openai", "gpt-4.1", {"input_tokens": 5, "cache_write_1h_tokens": 5}),
        ("openai", "gpt-4o-mini-tts", {"characters": 5}),
        ("anthropic", "claude-haiku-4-5", {"input_tokens": -5}),
        ("anthropic", "claude-haiku-4-5", {"input_tokens": float("nan")}),
    ],
)
def test_what_has_no_price_is_unpriced_and_never_free(vendor: str, model: str, quantities: dict[str, float]) -> None:
    found = cost(vendor, model, **quantities)
    assert found.usd is None
    assert found.unpriced.startswith(f"{vendor} {model}")


def test_what_a_vendor_reports_beside_what_it_bills_needs_no_price() -> None:
    assert cost("cartesia", "sonic-3.6", characters=1_000, audio_seconds=60).usd == pytest.approx(0.05)


def test_nothing_used_costs_nothing_where_the_model_has_a_price() -> None:
    assert cost("cartesia", "sonic-3.6", characters=0).usd == 0


def test_another_plan_has_other_rates() -> None:
    book = PriceBook.load(plans={"cartesia": "scale", "deepgram": "growth"})
    assert cost("cartesia", "sonic-3.6", book, characters=1e6).usd == pytest.approx(37.375)
    assert cost("deepgram", "nova-3-general", book, audio_seconds=60).usd == pytest.approx(0.0042)


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["vendor,model,unit,price,source,date", *rows]))
    return path


def test_the_users_own_prices_come_first(tmp_path: Path) -> None:
    own = write(
        tmp_path / "prices.csv",
        "cartesia,sonic-3.6,usd_per_1m_chars,20,our contract,2026-11-01",
        "anthropic,claude-haiku-4-5,usd_per_1m_output_tokens,4,our contract,2026-11-01",
        "ours,ears-1,usd_per_audio_minute,0.001,our own machines,2026-11-01",
    )
    book = PriceBook.load(own)
    assert cost("cartesia", "sonic-3.6", book, characters=1e6).usd == 20
    assert cost("cartesia", "sonic-3", book, characters=1e6).usd == 50
    assert cost("anthropic", "claude-haiku-4-5", book, input_tokens=1e6, output_tokens=1e6).usd == 5
    assert cost("ours", "ears-1", book, audio_seconds=60).usd == 0.001
    # The oldest date says how far the figure can be trusted.
    assert cost("anthropic", "claude-haiku-4-5", book, input_tokens=1, output_tokens=1).dated == "2026-10-10"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,b,usd_per_1m_chars,free,s,d", r"line 2: 'free' is not a price"),
        ("a,b,usd_per_1m_chars,-1,s,d", r"line 2: '-1' is not a price"),
        ("a,b,usd_per_1m_chars,nan,s,d", r"line 2: 'nan' is not a price"),
        ("a,b,usd_per_1m_charz,1,s,d", r"line 2: unknown unit 'usd_per_1m_charz'"),
        (",b,usd_per_1m_chars,1,s,d", r"line 2: vendor and model"),
        ("a,b", r"line 2: '' is not a price"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        PriceBook.load(write(tmp_path / "prices.csv", row))


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("model,price\nx,1\n")
    with pytest.raises(ConfigError, match="column 'vendor' is missing"):
        PriceBook.load(path)
    with pytest.raises(ConfigError, match="cannot read the price book"):
        PriceBook.load(tmp_path / "nowhere.csv")
