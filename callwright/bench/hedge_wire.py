"""`bench hedge` over HTTP: the front desk's booking, many callers at a time, through real minds to the stand-ins.

What is measured is a line that has been busy for some minutes: at first a hedge knows nothing, and a prompt that is in
no cache yet costs as much as ten turns. So every row begins alike: with one request alone, after which the prompt is in
the first model's cache, then with `Load.warm_up` conversations, by which the row's own hedge learns. None of them
counts. Between the caller's lines lies a pause as in a call, in which a vendor that was late rests.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field

from callwright.agent import Agent
from callwright.agent import load as load_agent
from callwright.bench.hedge_asks import Ask, Model, Served
from callwright.bench.hedge_caller import LINES, Caller
from callwright.bench.hedge_trial import DELAY
from callwright.config import Config
from callwright.config import load as load_config
from callwright.demo import default_script
from callwright.errors import CallwrightError
from callwright.simulators.account import AccountSettings, Delay
from callwright.simulators.process import Control, VendorProcess

Pair = tuple[Model, Model]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Load:
    """`conversations` of nine asks that count, begun evenly over `spread_s`, after `warm_up` that do not."""

    conversations: int
    warm_up: int = 11
    """By then a model that gives two answers of three has given as many as a hedge remembers (`hedge.KEPT`)."""
    spread_s: float = 8.0
    pause_s: float = 5.0
    """An answer of ten words and a line of three at 150 words a minute."""
    delay: Delay = DELAY


@dataclass
class Measured:
    """One pair's row: the callers that count, and the first tokens in the vendors' log of that time."""

    callers: list[Caller] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)

    @property
    def asks(self) -> list[Ask]:
        """All that are settled, of conversations that were broken off too."""
        return [ask for caller in self.callers for ask in caller.settled]


async def measure(pairs: Sequence[Pair], hedge: str, load: Load, seed: int, into: Sequence[Measured], say: Say) -> None:
    """Hold the conversations with each of `pairs` side by side, `watch.hedge` as said, into the one at its place.

    Raises CallwrightError when the stand-ins do not answer, or when a request that reached them is on no bill.
    """
    script = default_script()
    agent = load_agent(script)
    rules = script.with_name(f"{script.stem}.rules.yaml")
    async with VendorProcess(rules=rules) as stand_ins, Control(stand_ins.url) as control:
        rows = [
            _Row(agent, pair, hedge, stand_ins.url, random.Random(f"hedge/{seed}/{place}"))
            for place, pair in enumerate(pairs)
        ]
        for row in rows:
            settings = AccountSettings(seed=seed, ears="oracle", llm_first_token=load.delay)
            await control.configure(row.key, settings)
        await _together(row.caller(LINES[:1]).hold() for row in rows)
        await _together(row.caller().hold() for row in rows for _ in range(load.warm_up))
        say(f"hedge {hedge}: warm after {load.warm_up} conversations")
        for row, measured in zip(rows, into, strict=True):
            measured.callers += [row.caller() for _ in range(load.conversations)]
        since = time.monotonic()
        await _together(
            caller.hold((number + place / len(rows)) * load.spread_s / load.conversations, load.pause_s)
            for place, measured in enumerate(into)
            for number, caller in enumerate(measured.callers)
        )
        for row, measured in zip(rows, into, strict=True):
            log = [line for line in (await control.account(row.key))["served"] if (line["request_at"] or 0) >= since]
            _all_billed(log, measured.asks)
            measured.served += [
                Served(line["request_at"] * 1000, line["at"] * 1000) for line in log if line["what"] == "first_token"
            ]
        say(f"hedge {hedge}: {load.conversations} conversations with {len(rows)} pairs of models")


class _Row:
    """All conversations of one pair: an account of its own at the stand-ins, and so a cache of its own."""

    def __init__(self, agent: Agent, pair: Pair, hedge: str, url: str, rng: random.Random) -> None:
        self.key = f"bench-{secrets.token_hex(8)}"
        self._agent = agent
        self._rng = rng
        (vendor, model), (other, second) = pair
        at = f'base_url: "{url}", api_key: "{self.key}"'
        fallback = f"[{{vendor: {other}, model: {second}, {at}}}]"
        self._config: Config = load_config(
            file=None,
            overrides=[
                f"llm={{vendor: {vendor}, model: {model}, {at}, fallback: {fallback}}}",
                f"watch.hedge={hedge}",
            ],
            agent=agent.config,
            environ={},
        )

    def caller(self, lines: Sequence[str] = LINES) -> Caller:
        code = "".join(self._rng.choices("bcdfgkmptvxz", k=8))
        return Caller(self._agent, self._config, f"Hello, reference {code}.", lines)


def _all_billed(log: Sequence[dict[str, object]], asks: Sequence[Ask]) -> None:
    reached = len({line["request_id"] for line in log})
    billed = sum(len(ask.bills) for ask in asks)
    if reached > billed:
        raise CallwrightError(f"{reached} requests reached the stand-ins, and only {billed} are on the bill")


async def _together(work: Iterable[Coroutine[None, None, None]]) -> None:
    """All of it at once; the first failure ends the rest and is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
