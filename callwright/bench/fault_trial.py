"""`bench faults --virtual`: every fault in every stage at every moment, on virtual time, by the policies alone.

A turn is played from the caller's last word to the end of the answer. The product's own policies decide (`EarsWatch`,
`Attempts`, `Take` and `Troubles`, the fillers); the vendors are played by the published delays, without sound or
network. Each fault strikes once, or again and again, and where it does there is another vendor or none.

All times are ms after the caller's last sample, as the sound leaves for the room.
"""

from __future__ import annotations

import heapq
import importlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from callwright.bench.fault_ears import ears
from callwright.bench.fault_mind import mind
from callwright.bench.fault_scenes import SCENES, Scene
from callwright.bench.fault_voice import voice
from callwright.bench.fault_world import DECIDED_MS, FILLER_MS, LINE_LEAD_MS, LINE_MS, Sounds, World
from callwright.bench.ground import Say
from callwright.sections import WatchConfig
from callwright.simulators.account import AccountSettings

FILLERS = "processors.fillers"
"""Found by name, as pipelines are: the engine imports nothing of what stands above it."""

MUTE_MS = 5000.0
TURN_MS = 30_000.0
"""What has not been said by then never will be."""
SAY_EVERY = 20


@dataclass(frozen=True)
class Case:
    """One row under one circumstance: how many vendors there are, and whether the fault stays."""

    row: str
    vendors: int
    lasting: bool

    @property
    def scene(self) -> Scene:
        return SCENES[self.row]

    @property
    def setting(self) -> str:
        return f"{'fallback' if self.vendors > 1 else 'alone'}, {'lasting' if self.lasting else 'once'}"


def cases(rows: Sequence[str]) -> list[Case]:
    """All of them."""
    return [Case(row, *how) for row in rows for how in itertools.product((2, 1), (False, True))]


@dataclass(frozen=True)
class Turn:
    """How a turn went. `added_ms`: the answer began so much later than the same turn's without the fault."""

    silence_ms: float
    mute: bool
    answered: bool
    told: bool
    struck: bool
    added_ms: float | None


@dataclass
class Trial:
    """What has been played so far."""

    turns: dict[Case, list[Turn]] = field(default_factory=dict)

    def worst(self, cases: Iterable[Case]) -> Case | None:
        """Under which of these cases a caller was left in silence for longest."""
        return max(cases, key=lambda case: max(turn.silence_ms for turn in self.turns[case]), default=None)


def trial(rows: Sequence[str], turns: int, seed: int, found: Trial, say: Say) -> None:
    """Play `turns` turns of every case into `found`."""
    limits = WatchConfig()
    every = cases(rows)
    for number, case in enumerate(every, 1):
        found.turns[case] = [play(case, limits, f"{seed}/{case.row}/{turn}") for turn in range(turns)]
        if number % SAY_EVERY == 0 or number == len(every):
            worst = max((turn.silence_ms for one in found.turns.values() for turn in one), default=0.0)
            say(f"{number}/{len(every)}  longest silence so far {worst:.0f} ms")


def play(case: Case, limits: WatchConfig, name: str) -> Turn:
    """One turn, and beside it the same one with nothing wrong."""
    usual = _sounds(World(case.scene, case.vendors, False, name, AccountSettings(), well=True), limits)
    world = World(case.scene, case.vendors, case.lasting, name, AccountSettings())
    found = _sounds(world, limits)
    _fill(found)
    over = found.told_at if found.told_at is not None else max((end for _, end in found.answer), default=TURN_MS)
    if not found.answered and found.told_at is None:
        over = TURN_MS
    heard = sorted((*found.answer, *found.lines))
    began = found.answer[0][0] if found.answered and found.answer else None
    return Turn(
        silence_ms=_longest_silence(heard, over),
        mute=not heard or heard[0][0] > MUTE_MS,
        answered=found.answered,
        told=found.told_at is not None,
        struck=world.struck > 0,
        added_ms=None if began is None or not usual.answer else began - usual.answer[0][0],
    )


def _sounds(world: World, limits: WatchConfig) -> Sounds:
    found = Sounds()
    if (heard_at := ears(world, limits, found)) is None:
        return found
    found.asked_at = max(heard_at, DECIDED_MS)
    pieces, complete = mind(world, limits, found)
    if pieces:
        voice(world, limits, pieces, complete, found)
    return found


def _longest_silence(heard: Sequence[tuple[float, float]], over: float) -> float:
    longest = at = 0.0
    for begin, end in heard:
        if begin >= over:
            break
        longest, at = max(longest, begin - at), max(at, end)
    return max(longest, over - at)


def _fill(found: Sounds) -> None:
    """Add the lines that the caller is given meanwhile."""
    module = importlib.import_module(FILLERS)
    fillers = module.Fillers(module.Waits(), module.Lines(("One moment.",), ("Still there.", "A moment more.")))
    fillers.caller_started()
    fillers.turn_began()
    fillers.caller_stopped(0.0)
    for now, tell in _events(found, fillers):
        while (due := fillers.due_at()) is not None and due < now:
            at = max(due, found.asked_at or 0.0)
            if at >= now or fillers.take(at) is None:
                break
            begin = at + LINE_LEAD_MS
            end = min(begin + FILLER_MS, now) if begin < now else begin
            if end <= begin:
                fillers.withdrawn()
                break
            fillers.began(begin, filler=True)
            fillers.fell_silent(end)
            found.lines.append((begin, end))
        tell()


def _events(found: Sounds, fillers: Any) -> Iterator[tuple[float, Callable[[], None]]]:
    """What the fillers are told, in order."""
    heap: list[tuple[float, int, Callable[[], None]]] = []

    def at(moment: float, *told: Callable[[], None]) -> None:
        for one in told:
            heapq.heappush(heap, (moment, len(heap), one))

    if (asked := found.asked_at) is not None:
        at(asked, fillers.turn_ended, lambda: fillers.asked(asked))
        if (wrote := found.wrote_at) is not None:
            at(wrote, lambda: fillers.wrote(wrote))
    for begin, end in found.answer:
        at(begin, lambda begin=begin: fillers.began(begin, filler=False))  # type: ignore[misc]
        at(end, lambda end=end: fillers.fell_silent(end))  # type: ignore[misc]
    if (told := found.told_at) is not None:
        at(told, lambda: fillers.line_passed(told), lambda: fillers.began(told, filler=False), fillers.call_ending)
        found.lines.append((told, told + LINE_MS))
    at(TURN_MS, lambda: None)
    while heap:
        moment, _, one = heapq.heappop(heap)
        yield moment, one
