"""Which call comes next: row by row, the systems in turn, until each has given enough. Pure, but for `work_off`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple


class Job(NamedTuple):
    """One call to hold: the `number`-th of its row and system, in which `size` things are to be judged."""

    row: str
    system: str
    number: int
    size: int


class Agenda:
    """The calls of a run.

    Every system has to give `wanted` judged things in every row, at most `per_call` in one call; `most` calls are
    held for them, however few can be judged. `judged(row, system)` says how many there are by now.
    """

    def __init__(
        self,
        rows: Sequence[str],
        systems: Sequence[str],
        judged: Callable[[str, str], int],
        *,
        wanted: int,
        per_call: int = 1,
        most: int | None = None,
    ) -> None:
        self._rows = rows
        self._systems = systems
        self._judged = judged
        self._wanted = wanted
        self._per_call = per_call
        self._most = -(-wanted // per_call) if most is None else most
        self._started: Counter[tuple[str, str]] = Counter()
        self._under_way: Counter[tuple[str, str]] = Counter()  # things in calls that have not ended

    def next(self) -> Job | None:
        """The next call; None when there is enough of all."""
        for row in self._rows:
            if waiting := [name for name in self._systems if self._missing(row, name) > 0]:
                return self._start(row, min(waiting, key=lambda name: self._started[row, name]))
        return None

    def round(self, count: int) -> list[Job]:
        """The next call and up to `count` in all of the same system and row, to be held at once; [] at the end."""
        jobs = [first] if (first := self.next()) else []
        while jobs and len(jobs) < count and self._missing(jobs[0].row, jobs[0].system) > 0:
            jobs.append(self._start(jobs[0].row, jobs[0].system))
        return jobs

    def ended(self, job: Job) -> None:
        """That call is over; what it gave is counted as judged."""
        self._under_way[job.row, job.system] -= job.size

    def progress(self) -> str:
        """How much of all has been judged."""
        pairs = [(row, name) for row in self._rows for name in self._systems]
        return f"{sum(min(self._wanted, self._judged(*pair)) for pair in pairs)}/{self._wanted * len(pairs)}"

    def _start(self, row: str, system: str) -> Job:
        job = Job(row, system, self._started[row, system], min(self._per_call, self._missing(row, system)))
        self._started[row, system] += 1
        self._under_way[row, system] += job.size
        return job

    def _missing(self, row: str, system: str) -> int:
        if self._started[row, system] >= self._most:
            return 0
        return self._wanted - self._judged(row, system) - self._under_way[row, system]


async def work_off(agenda: Agenda, hold: Callable[[Job], Awaitable[None]], *, concurrency: int) -> None:
    """Hold all calls of the agenda, so many at once. The first error of `hold` ends the others and is raised."""

    async def work() -> None:
        while (job := agenda.next()) is not None:
            await hold(job)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(concurrency):
                workers.create_task(work())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
