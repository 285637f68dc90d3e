"""What asks of the model came to over HTTP: turns with their bills, and what of them is not the vendor's delay. Pure.

Nothing reports what a request used that was cancelled before its first token. Every caller of `bench hedge` says the
same, so it is billed here for what its model reports at the same place of the other conversations: the median, which
the few prompts that had to be written to the cache anew do not move. What the mind took it for is compared with that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from callwright.bench.hedge_trial import Turn, Usage
from callwright.errors import CallwrightError
from callwright.records import events
from callwright.records.prices import PriceBook

Model = tuple[str, str]
"""Vendor and model."""

LOG_MS = 5.0
"""By so much a line of the vendors' log may be later than what it tells of."""


@dataclass
class Ask:
    """One ask of the model. `place`: which of its conversation's, from 1 on; times in ms of the machine's clock."""

    place: int
    asked: float
    sent: list[tuple[float, Model]] = field(default_factory=list)
    """Its requests: when, and to whom."""
    answered: float = 0.0
    by: int | None = None
    """Which of them gave the first token."""
    bills: list[events.Usage] = field(default_factory=list)


@dataclass(frozen=True)
class Served:
    """A first token in the vendors' log: when its request arrived, and when it was sent, in ms of the same clock."""

    asked: float
    sent: float


class Usual:
    """What requests use at each place of the conversation, as reported."""

    def __init__(self, asks: Iterable[Ask]) -> None:
        self._found: defaultdict[Model, defaultdict[int, list[Mapping[str, float]]]]
        self._found = defaultdict(lambda: defaultdict(list))
        for ask in asks:
            for bill in ask.bills:
                if not bill.estimated:
                    self._found[bill.vendor, bill.model][ask.place].append(bill.quantities)

    def at(self, model: Model, place: int) -> Usage | None:
        """The median of each quantity; of all places if there is none at this one. None: nothing is known."""
        places: Mapping[int, list[Mapping[str, float]]] = self._found.get(model, {})
        found = places.get(place) or [one for those in places.values() for one in those]
        return {name: median(one.get(name, 0.0) for one in found) for name in _names(found)} if found else None

    def mean(self, model: Model) -> Usage:
        """Of an answer, each place counting alike; empty if nothing is known."""
        each = [usual for place in self._found.get(model, {}) if (usual := self.at(model, place))]
        return {name: fmean(one[name] for one in each) for name in _names(each)}


def turns(asks: Iterable[Ask], first: Model, alone: Usual, book: PriceBook) -> list[Turn]:
    """Those that were answered. `alone`: what is usual where nobody is asked twice on purpose.

    Raises CallwrightError for what the book has no price for.
    """
    asks = [ask for ask in asks if ask.by is not None]
    usual = Usual(asks)
    found = []
    for ask in asks:
        once = alone.at(first, ask.place)
        found.append(
            Turn(
                first_token_ms=ask.answered - ask.asked,
                usd=sum(_usd(_reckoned(bill, ask.place, usual), book) for bill in ask.bills),
                alone_usd=_usd(_bill(first, once), book) if once else 0.0,
                again_ms=ask.sent[1][0] - ask.sent[0][0] if len(ask.sent) > 1 else None,
                by_second=ask.by is not None and ask.sent[ask.by][1] != first,
            )
        )
    return found


def overrated(asks: Sequence[Ask], book: PriceBook) -> float | None:
    """How much more the mind took the requests for that nothing reported, all of them together; None if none is."""
    usual = Usual(asks)
    lost = [(bill, ask.place) for ask in asks for bill in ask.bills if bill.estimated]
    likely = sum(_usd(_reckoned(bill, place, usual), book) for bill, place in lost)
    return sum(_usd(bill, book) for bill, _ in lost) / likely - 1 if likely else None


def overheads(asks: Iterable[Ask], served: Sequence[Served]) -> list[float]:
    """What each first token took beyond the vendor's delay, in ms: the mind's own steps and HTTP, there and back.

    Which line of the log belongs to an answer is told by both its ends: of all that lie within the answer's own, the
    one that leaves least between them. Another conversation's would have to begin and end within the same few ms.
    """
    found = []
    for ask in asks:
        if ask.by is None:
            continue
        began, _ = ask.sent[ask.by]
        between = [
            (one.asked - began) + (ask.answered - one.sent)
            for one in served
            if one.asked >= began and one.sent <= ask.answered + LOG_MS
        ]
        if between:
            found.append(min(between) + ask.sent[0][0] - ask.asked)
    return found


def _reckoned(bill: events.Usage, place: int, usual: Usual) -> events.Usage:
    prompt = usual.at((bill.vendor, bill.model), place) if bill.estimated else None
    if prompt is None:
        return bill
    said = bill.quantities.get("output_tokens", 0.0)
    return _bill((bill.vendor, bill.model), {**prompt, "output_tokens": said})


def _bill(model: Model, quantities: Usage) -> events.Usage:
    return events.Usage(0, "llm", *model, quantities)


def _usd(bill: events.Usage, book: PriceBook) -> float:
    cost = book.cost(bill)
    if cost.usd is None:
        raise CallwrightError(f"the price book has no price for {cost.unpriced}")
    return cost.usd


def _names(found: Iterable[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for one in found for name in one))
