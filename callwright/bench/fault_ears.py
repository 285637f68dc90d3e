"""The ears of a turn on virtual time: `EarsWatch` decides, the recognisers are played. Pure."""

from __future__ import annotations

from collections.abc import Callable

from callwright.bench.fault_world import Events, Sounds, World, category
from callwright.failover.ears_watch import EarsWaits, EarsWatch, GiveUp, Use
from callwright.sections import WatchConfig
from callwright.simulators.faults import Fault

SPEECH_MS = 2000.0
NOTICED_MS = 120.0
"""From the last sample of speech to the moment at which its end is noticed."""
IDLE_MS = 300.0
"""From what strikes a connection at rest to the caller's first word; as in `faults`."""
REPLAY_MS = 100.0
"""A vendor that takes over is given what was said at more than real time."""


class _Ears:
    def __init__(self, world: World, limits: WatchConfig) -> None:
        self.watch = EarsWatch(EarsWaits.within(limits), [0.0] * world.vendors)
        self.world = world
        self.events = Events(-60_000.0)
        self.leg = 0  # which connection; what an earlier one does is of no interest
        self.messages = 0
        self.ended = self.up = False
        self.heard_at: float | None = None
        self.gave_up_at: float | None = None

    def run(self) -> None:
        self._decide(quiet=True)
        at = self.events.at
        if self.world.scene.stage == "stt" and self.world.loses_connection:
            at(-SPEECH_MS - IDLE_MS, self._lost)
        at(-SPEECH_MS, lambda: self.watch.speech_began(-SPEECH_MS))
        for number in range(1, int(SPEECH_MS // self.world.delays.stt_interim_ms)):
            at(
                -SPEECH_MS + number * self.world.delays.stt_interim_ms,
                lambda: self._message(self.leg, self.watch.interim),
            )
        at(NOTICED_MS, self._end)
        while self.heard_at is None and self.gave_up_at is None and self.events.step(self.watch.wakes_at()):
            self._decide()

    def _lost(self) -> None:
        if self.world.scene.moment == "idle":
            self.world.strikes("stt", "idle", 0)
        self.watch.failed("connectivity")

    def _end(self) -> None:
        self.ended = True
        self.watch.speech_ended(0.0)
        self._finalize(self.leg)

    def _decide(self, *, quiet: bool = False) -> None:
        while (found := self.watch.next(self.events.now)) is not None:
            if isinstance(found, GiveUp):
                self.gave_up_at = self.events.now
                return
            if isinstance(found, Use):
                self._connect(found.vendor, None if quiet else self.world.strikes("stt", "connect", found.vendor))
            else:
                self.leg += 1  # it is left

    def _connect(self, vendor: int, fault: Fault | None) -> None:
        self.leg, self.messages = self.leg + 1, 0
        leg, done = self.leg, self.events.now + self.world.handshake()
        self.up = False
        if fault is None or fault.kind == "silence":
            self.events.at(done, lambda: self._connected(leg, mute=fault is not None))
        elif fault.kind != "stall":
            self.events.at(done, lambda: self._failed(leg, fault))

    def _connected(self, leg: int, *, mute: bool) -> None:
        if leg != self.leg:
            return
        self.watch.connected(self.events.now)
        self.up = not mute
        if self.ended:
            self.events.at(self.events.now + REPLAY_MS, lambda: self._message(leg, self.watch.interim))
            self.events.at(self.events.now + REPLAY_MS, lambda: self._finalize(leg))

    def _failed(self, leg: int, fault: Fault) -> None:
        if leg == self.leg:
            self.watch.failed(category(fault))

    def _finalize(self, leg: int) -> None:
        if leg != self.leg or not self.up:
            return
        fault = self.world.strikes("stt", "before", self.watch.vendor)
        at = self.events.now + self.world.draw("stt_final")
        if fault is None or fault.kind == "empty":
            words = fault is None
            self.events.at(at, lambda: self._message(leg, lambda: self._final(words=words)))
        elif fault.kind in ("status", "drop", "truncate"):
            self.events.at(at, lambda: self._failed(leg, fault))

    def _message(self, leg: int, tell: Callable[[], object]) -> None:
        """Something the vendor writes, unless the fault strikes in its place."""
        if leg != self.leg or not self.up:
            return
        self.messages += 1
        wanted = self.world.scene.faults[-1].after < self.messages
        fault = self.world.strikes("stt", "within", self.watch.vendor) if wanted else None
        if fault is None:
            tell()
        elif fault.kind in ("silence", "stall"):
            self.up = False
        elif fault.kind != "malformed":
            self._failed(leg, fault)

    def _final(self, *, words: bool) -> None:
        if self.watch.final(self.events.now, words=words, settled=True) and words:
            self.heard_at = self.events.now


def ears(world: World, limits: WatchConfig, found: Sounds) -> float | None:
    """When the caller's words are there; None: they were lost."""
    one = _Ears(world, limits)
    one.run()
    if one.gave_up_at is not None:
        found.tell(one.gave_up_at)
    return one.heard_at
