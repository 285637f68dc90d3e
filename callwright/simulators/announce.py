"""Tell the oracle ears of the vendor stand-ins what a caller begins to say."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from callwright.simulators.account import Utterance
from callwright.simulators.errors import SimulatorError

LIMIT_S = 5.0


class Announcer:
    """An `announce` for `Caller`: posts to the accounts `keys` of the stand-ins at `url`, to all who may have to
    listen; an async context manager.

    Raises SimulatorError when they do not take it: a caller that the ears cannot hear makes no call worth
    keeping.
    """

    def __init__(self, url: str, *keys: str) -> None:
        self._urls = [f"{url.rstrip('/')}/_sim/accounts/{quote(key, safe='')}/utterances" for key in keys]
        self._base = url
        self._client = httpx.AsyncClient(timeout=LIMIT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def __call__(self, utterance: Utterance) -> None:
        for url in self._urls:
            await self._post(url, utterance)

    async def _post(self, url: str, utterance: Utterance) -> None:
        try:
            answer = await self._client.post(url, json=utterance.model_dump(mode="json"))
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise SimulatorError(f"no stand-ins at {self._base} to announce to ({why}); are they running?") from error
        if answer.status_code != 200:
            raise SimulatorError(f"the stand-ins at {self._base} refused an announcement ({answer.status_code})")
