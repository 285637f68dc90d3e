"""The voice: what its vendor says on the wire and Pipecat does not pass on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any


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
    """A websocket whose messages are shown to somebody before their reader gets them."""

    def __init__(self, websocket: Any, show: Any) -> None:
        self._websocket = websocket
        self._show = show

    def __getattr__(self, name: str) -> Any:
        return getattr(self._websocket, name)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        async for message in self._websocket:
            self._show(message)
            yield message
