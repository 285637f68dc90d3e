"""The stand-ins for language models on one port, for the tests that speak to them with a vendor's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from aiohttp import web

from callwright.simulators import anthropic, model_lists, openai
from callwright.simulators.account import Account, Accounts, AccountSettings, World
from callwright.simulators.faults import Fault

RULES = """
fallback: ["Sorry?"]
facts:
  weather: {from: [weather.sky]}
rules:
  - name: both
    when: {heard: ["compare"]}
    say: "Let me compare."
    call: [{tool: weather, with: {city: "Paris"}}, {tool: weather, with: {city: "Reykjavík"}}]
  - name: one
    when: {heard: ["weather"]}
    call: [{tool: weather, with: {city: "Paris"}}]
  - name: clock
    when: {heard: ["clock"]}
    call: [{tool: clock}]
  - name: told
    when: {after: weather}
    say: "It is {weather}."
  - name: long
    when: {heard: ["story"]}
    say: "Once upon a time there was a small house by the sea, and in it lived a very old man who knew every bird."
"""


@dataclass
class Desk:
    """The running stand-ins; a subclass brings the vendor's client."""

    url: str
    accounts: Accounts

    @classmethod
    @asynccontextmanager
    async def running(
        cls, tmp_path: Path, settings: AccountSettings | None = None, *, cancels: bool = True
    ) -> AsyncIterator[Self]:
        rules = tmp_path / "rules.yaml"
        rules.write_text(RULES)
        accounts = Accounts(settings or AccountSettings(speed=0))
        world = World(accounts, voice=cast("Any", None), default_rules=rules)
        app = web.Application(client_max_size=2**20)
        app.add_routes([*openai.routes(world), *anthropic.routes(world), *model_lists.routes(world)])
        runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=cancels)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            yield cls(f"http://{host}:{port}", accounts)
        finally:
            await runner.cleanup()

    def account(self, key: str = "sk-test") -> Account:
        return self.accounts.get(key)

    def order(self, **fault: Any) -> None:
        self.account().faults.add(Fault(stage="llm", **fault))

    async def until_cancelled(self) -> None:
        """Until the stand-in has noticed that its client has gone."""
        async with asyncio.timeout(5):
            while not any(line.what == "cancelled" for line in self.account().served):  # noqa: ASYNC110 a plain list
                await asyncio.sleep(0.01)
