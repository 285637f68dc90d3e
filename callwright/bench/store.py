"""The lines that were rendered beforehand in a run: which of what was made is one, and who may play it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from callwright.bench.ear import Source
from callwright.bench.lines import beforehand


class Speaker(Protocol):
    """A call, as far as a store looks at it."""

    async def sources(self) -> list[Source]:
        """All that the voices have sent to the call."""
        ...


class Store:
    """The lines that each system had rendered beforehand in this run; every other call may play them from its cache.

    A call that is under way may have had lines rendered that one beside it plays: `look` finds them.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[str, bytes], Source] = {}
        self._under_way: list[tuple[str, Speaker]] = []

    @contextlib.contextmanager
    def beside(self, system: str, call: Speaker) -> Iterator[None]:
        """Look at `call` as well, until it has been judged."""
        self._under_way.append((system, call))
        try:
            yield
        finally:
            self._under_way.remove((system, call))

    async def look(self) -> None:
        """Take in what the calls under way have had rendered so far."""
        for system, call in tuple(self._under_way):
            self.split(system, await call.sources())

    def split(self, system: str, sources: list[Source]) -> tuple[list[Source], list[Source]]:
        """What of `sources` was streamed, and every line that the system may have in its cache by now."""
        for source in sources:
            if beforehand(source):
                self._lines.setdefault((system, source.pcm), source)
        streamed = [source for source in sources if not beforehand(source)]
        return streamed, [line for (owner, _), line in self._lines.items() if owner == system]
