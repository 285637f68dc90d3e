"""The vendors of a turn on virtual time: their published delays, and the one of them that misbehaves. Pure."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from callwright.bench.fault_scenes import Scene
from callwright.simulators.account import AccountSettings
from callwright.simulators.faults import Fault, Moment, Stage

DECIDED_MS = 350.0
"""A turn is not decided before."""
HANDSHAKE_MS = (30.0, 80.0)
"""Of a websocket, from and to."""
LINE_LEAD_MS = 20.0
"""From the decision to a line that was rendered beforehand to its sound."""
LINE_MS, FILLER_MS = 3000.0, 900.0
LIMIT_MS = 30_000.0

_CATEGORY = {401: "authentication", 429: "rate_limit", 500: "server"}


@dataclass
class Sounds:
    """What comes of a turn. `told_at`: the program says that it could not; `answer` and `lines` are (begin, end)."""

    asked_at: float | None = None
    wrote_at: float | None = None
    told_at: float | None = None
    answered: bool = False
    answer: list[tuple[float, float]] = field(default_factory=list)
    lines: list[tuple[float, float]] = field(default_factory=list)

    def tell(self, now: float) -> None:
        self.told_at = now + LINE_LEAD_MS


@dataclass
class World:
    """The vendors, of which the first misbehaves: once, or whenever it can if `lasting`; never if `well`."""

    scene: Scene
    vendors: int
    lasting: bool
    seed: str
    delays: AccountSettings
    well: bool = False
    struck: int = 0
    _draws: dict[str, random.Random] = field(default_factory=dict)

    def strikes(self, stage: Stage, moment: Moment, vendor: int) -> Fault | None:
        """The fault, if it strikes here and now."""
        fault = self.scene.faults[-1]
        if self.well or vendor or (fault.stage, fault.moment) != (stage, moment) or (self.struck and not self.lasting):
            return None
        self.struck += 1
        return fault

    @property
    def loses_connection(self) -> bool:
        """Whether the scene begins with a connection that is lost before the caller speaks."""
        return not self.well and self.scene.faults[0].moment == "idle"

    def uniform(self, purpose: str, low: float, high: float) -> float:
        """Each purpose has draws of its own, so that turns with and without a fault can be compared."""
        return self._random(purpose).uniform(low, high)

    def handshake(self) -> float:
        return self.uniform("handshake", *HANDSHAKE_MS)

    def draw(self, name: str) -> float:
        """The next delay of that name in ms."""
        drawn: float = getattr(self.delays, name).draw(self._random(name)) * 1000
        return drawn

    def _random(self, purpose: str) -> random.Random:
        return self._draws.setdefault(purpose, random.Random(f"{self.seed}/{purpose}"))


def category(fault: Fault) -> str:
    """As what the product's services report it."""
    if fault.kind == "status":
        return _CATEGORY.get(fault.status or 500, "server")
    return fault.kind if fault.kind in ("truncate", "empty") else "connectivity"


class Events:
    """What is to happen, in order of time."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, moment: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(moment, self.now), self._count, what))

    def step(self, wakes_at: float | None) -> bool:
        """Go on to the next event, or to `wakes_at` if that is sooner; False where neither comes any more."""
        moments = [moment for moment in (self._heap[0][0] if self._heap else None, wakes_at) if moment is not None]
        if not moments or min(moments) > LIMIT_MS:
            return False
        self.now = max(self.now, min(moments))
        if self._heap and self._heap[0][0] <= self.now:
            heapq.heappop(self._heap)[2]()
        return True
