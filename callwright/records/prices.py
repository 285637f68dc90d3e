"""The price book: what a vendor's published rates make of the usage it reported.

A price is a dated row of `prices.csv` (vendor, model, unit, price, source, date). A usage without a price is
said to be unpriced; it is never taken for free.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from callwright.errors import ConfigError
from callwright.records.events import Usage

COLUMNS = ("vendor", "model", "unit", "price", "source", "date")

# Unit of a price -> which reported quantity it is for, and how many of those one unit holds.
UNITS: Mapping[str, tuple[str, float]] = {
    "usd_per_1m_input_tokens": ("input_tokens", 1e6),
    "usd_per_1m_cache_read_tokens": ("cache_read_tokens", 1e6),
    "usd_per_1m_cache_write_5m_tokens": ("cache_write_5m_tokens", 1e6),
    "usd_per_1m_cache_write_1h_tokens": ("cache_write_1h_tokens", 1e6),
    # Vendors with one kind of cache entry; its tokens are reported under the shorter lifetime.
    "usd_per_1m_cache_write_tokens": ("cache_write_5m_tokens", 1e6),
    "usd_per_1m_output_tokens": ("output_tokens", 1e6),
    "usd_per_1m_chars": ("characters", 1e6),
    "usd_per_audio_minute": ("audio_seconds", 60.0),
    "usd_per_audio_hour": ("audio_seconds", 3600.0),
    # Billed while the socket is open: a streaming recogniser is fed for exactly that long.
    "usd_per_socket_hour": ("audio_seconds", 3600.0),
}
# Units in which a vendor publishes rates but no usage is reported: rows for people to read.
UNREPORTED = frozenset(
    {
        "usd_per_month",
        "credits_per_char",
        "credits_per_audio_second",
        "usd_per_1m_text_input_tokens",
        "usd_per_1m_audio_output_tokens",
    }
)
# What a prompt weighs, for prices that depend on it.
PROMPT = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
TOKENS = (*PROMPT, "output_tokens")
# Plans whose rates apply unless told otherwise: what an account without a contract pays.
PLANS: Mapping[str, str] = {"deepgram": "payg", "cartesia": "pro"}


@dataclass(frozen=True, slots=True)
class Alias:
    """Models named `pattern` at `vendor` are billed by the book's row `row` of `book_vendor`."""

    vendor: str
    pattern: re.Pattern[str]
    book_vendor: str
    row: str


def _alias(vendor: str, pattern: str, book_vendor: str, row: str) -> Alias:
    return Alias(vendor, re.compile(pattern), book_vendor, row)


# Tried in order after the exact name; `{plan}` is the vendor's plan and `{model}` the model's name.
ALIASES: Sequence[Alias] = (
    _alias("deepgram", r"nova-3(-general)?", "deepgram", "nova-3-monolingual-streaming-{plan}"),
    _alias("deepgram", r"nova-3-multi(lingual)?", "deepgram", "nova-3-multilingual-streaming-{plan}"),
    _alias("deepgram", r"flux-general-(en|multi)", "deepgram", "{model}-{plan}"),
    _alias("deepgram-flux", r"flux-general-(en|multi)", "deepgram", "{model}-{plan}"),
    _alias("deepgram", r"aura-2(-.+)?", "deepgram", "aura-2-{plan}"),
    _alias("cartesia", r"sonic(-.+)?", "cartesia", "sonic tts at {plan} plan rate"),
    _alias("cartesia", r"ink-2(-.+)?", "cartesia", "ink-2 at {plan} plan rate"),
    _alias("cartesia", r"ink-whisper(-.+)?", "cartesia", "ink-whisper at {plan} plan rate"),
)
# A snapshot's date at the end of a model's name: claude-haiku-4-5-20251001 costs what claude-haiku-4-5 does.
SNAPSHOT = re.compile(r"[-@](20\d{6}|20\d\d-\d\d-\d\d)$")
CONDITION = re.compile(r"^(?P<model>.+?) \(prompt (?P<sign><=|>) (?P<thousand>\d+)k tokens\)$")


@dataclass(frozen=True, slots=True)
class Price:
    """One row of the book; `min_prompt` < prompt tokens <= `max_prompt` is the range in which it holds."""

    vendor: str
    model: str
    unit: str
    usd: float
    source: str
    dated: str
    min_prompt: float = -1
    max_prompt: float = math.inf


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars of one usage; `usd` is None where the book has no price, and `unpriced` then says for what.

    `dated` is the date of the oldest price used, "" if none was.
    """

    usd: float | None
    prices: tuple[Price, ...] = ()
    dated: str = ""
    unpriced: str = ""


class PriceBook:
    """Prices by vendor and model. A pure value after loading."""

    def __init__(self, prices: Iterable[Price], plans: Mapping[str, str] = PLANS) -> None:
        """Of two prices for the same thing, the later one in `prices` holds."""
        self._plans = {**PLANS, **plans}
        self._rows: dict[tuple[str, str], dict[tuple[str, float, float], Price]] = {}
        for price in prices:
            of_model = self._rows.setdefault((price.vendor, price.model), {})
            of_model[(UNITS[price.unit][0], price.min_prompt, price.max_prompt)] = price

    @classmethod
    def load(cls, path: Path | str | None = None, plans: Mapping[str, str] = PLANS) -> PriceBook:
        """The book that is shipped, with the rows of the user's own CSV file, if any, in place of its own.

        Raises ConfigError with the file and line of what is wrong in the user's file.
        """
        shipped = resources.files("callwright.records").joinpath("prices.csv").read_text(encoding="utf-8")
        prices = list(_parse(shipped, "prices.csv"))
        if path is not None:
            try:
                own = Path(path).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise ConfigError(f"cannot read the price book {path}: {why}") from error
            prices.extend(_parse(own, str(path)))
        return cls(prices, plans)

    def cost(self, usage: Usage) -> Cost:
        """What this one request costs. Never raises: what cannot be priced comes back as unpriced."""
        name = f"{usage.vendor} {usage.model}"
        rows = self._find(usage.vendor, usage.model)
        if rows is None:
            return Cost(None, unpriced=name)
        amounts = {key: value for key, value in usage.quantities.items() if value != 0}
        if any(not math.isfinite(value) or value < 0 for value in amounts.values()):
            return Cost(None, unpriced=f"{name}: impossible quantities")
        prompt = sum(amounts.get(key, 0) for key in PROMPT)
        dollars: list[float] = []
        used: list[Price] = []
        missing: list[str] = []
        for key, amount in amounts.items():
            price = _holding(rows, key, prompt)
            if price is not None:
                dollars.append(price.usd * amount / UNITS[price.unit][1])
                used.append(price)
            elif key != "requests":
                missing.append(key)
        # A vendor bills tokens, characters or audio: without a price for what it bills, the cost is unknown.
        # What it reports beside that (the seconds of audio that characters became) needs none.
        if missing and (not used or any(key in TOKENS for key in missing)):
            return Cost(None, unpriced=f"{name}: {', '.join(missing)}")
        return Cost(math.fsum(dollars), tuple(used), min((price.dated for price in used), default=""))

    def _find(self, vendor: str, model: str) -> list[Price] | None:
        model = model.removeprefix("custom:")
        for name in dict.fromkeys((model, SNAPSHOT.sub("", model))):
            rows = self._rows.get((vendor, name))
            if rows is not None:
                return list(rows.values())
            for alias in ALIASES:
                if alias.vendor == vendor and alias.pattern.fullmatch(name):
                    plan = self._plans.get(alias.book_vendor, "")
                    rows = self._rows.get((alias.book_vendor, alias.row.format(plan=plan, model=name)))
                    if rows is not None:
                        return list(rows.values())
        return None


def _holding(rows: Iterable[Price], quantity: str, prompt: float) -> Price | None:
    for price in rows:
        if UNITS[price.unit][0] == quantity and price.min_prompt < prompt <= price.max_prompt:
            return price
    return None


def _parse(text: str, where: str) -> Iterable[Price]:
    """Prices of a CSV file; rows in units that no usage is reported in are passed over."""
    reader = csv.DictReader(text.splitlines())
    lacking = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if lacking:
        raise ConfigError(f"{where}: the column '{lacking[0]}' is missing; a price book has {','.join(COLUMNS)}")
    for row in reader:
        line = f"{where} line {reader.line_num}"
        values = {column: (row[column] or "").strip() for column in COLUMNS}
        if not values["vendor"] or not values["model"]:
            raise ConfigError(f"{line}: vendor and model must not be empty")
        try:
            usd = float(values["price"])
        except ValueError:
            usd = math.nan
        if not math.isfinite(usd) or usd < 0:
            raise ConfigError(f"{line}: '{values['price']}' is not a price in dollars")
        if values["unit"] in UNREPORTED:
            continue
        if values["unit"] not in UNITS:
            raise ConfigError(f"{line}: unknown unit '{values['unit']}'; units are {', '.join(UNITS)}")
        low, high = -1.0, math.inf
        model = values["model"]
        if condition := CONDITION.match(model):
            model = condition["model"]
            limit = 1000.0 * int(condition["thousand"])
            low, high = (low, limit) if condition["sign"] == "<=" else (limit, high)
        for name in model.split(" / "):
            yield Price(values["vendor"], name, values["unit"], usd, values["source"], values["date"], low, high)
