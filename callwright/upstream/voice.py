"""The voice: what its vendor says on the wire and Pipecat does not pass on, and a connection made anew."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from pipecat.services.tts_service import TTSService, WebsocketTTSService

CONNECT_LIMIT_S = 3.0
"""For a close or a handshake; a caller does not wait longer for a voice, and its next use tries again."""


async def disconnect(voice: TTSService) -> None:
    """Close its connection, if it keeps one, and end everything that is open on it."""
    if isinstance(voice, WebsocketTTSService):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await voice._disconnect()


async def connect(voice: TTSService) -> None:
    """Forget that the voice failed and connect it. Only after `disconnect`.

    Pipecat writes a service off for the rest of its life after a refusal or three drops, and then no longer reads
    what comes over a later connection.
    """
    await voice.set_usable(True)
    if isinstance(voice, WebsocketTTSService):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await voice._connect()


class Drops:
    """Mixin for a websocket voice: ends what is being said when the connection breaks, at once.

    Pipecat ends it only after it has connected again, and not at all when the vendor closes in good order.
    """

    lost = False
    """Whether the connection broke and no later one has brought anything yet; Pipecat's errors say so only in words."""

    def _get_websocket(self) -> Any:
        websocket: Any = super()._get_websocket()  # type: ignore[misc]
        return _Overheard(websocket, self._alive, self._dropped)

    def _alive(self, _: str | bytes) -> None:
        self.lost = False

    async def _dropped(self) -> None:
        self.lost = True
        await self._close_connection_contexts()  # type: ignore[attr-defined]


class WordEnds:
    """Mixin for a voice whose websocket says where each word ends: Pipecat reads only where it starts.

    The messages are `{"word_timestamps": {"words": […], "start": […], "end": […]}}`, as Cartesia sends them.
    """

    _ends: tuple[float, ...] = ()

    def _get_websocket(self) -> Any:
        return _Overheard(super()._get_websocket(), self._note_ends)  # type: ignore[misc]

    def _note_ends(self, message: str | bytes) -> None:
        mark = b'"word_timestamps"' if isinstance(message, bytes) else '"word_timestamps"'
        if mark in message:  # type: ignore[operator]
            times = json.loads(message).get("word_timestamps") or {}
            self._ends = tuple(times.get("end") or ())

    def with_ends(self, word_times: list[tuple[str, float]]) -> list[tuple[str, float, float | None]]:
        """The words with the ends of the message they came in, if there is one for each."""
        ends: Iterable[float | None] = self._ends
        if len(self._ends) != len(word_times):
            ends = [None] * len(word_times)
        return [(word, start, end) for (word, start), end in zip(word_times, ends, strict=True)]


class _Overheard:
    """A websocket whose messages are shown to somebody before their reader gets them, and its end to somebody else."""

    def __init__(
        self,
        websocket: Any,
        show: Callable[[str | bytes], None] | None = None,
        lost: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._websocket = websocket
        self._show = show
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._websocket, name)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        try:
            async for message in self._websocket:
                if self._show:
                    self._show(message)
                yield message
        except Exception:
            if self._lost:
                await self._lost()
            raise
        if self._lost:
            await self._lost()
