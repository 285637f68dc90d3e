"""The voice of a turn on virtual time: `Take` and `Troubles` decide, the voices are played. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from callwright.bench.fault_world import LIMIT_MS, Sounds, World
from callwright.failover.breaker import Breaker, order
from callwright.failover.voice_watch import Take, Troubles, What
from callwright.pace import LETTERS_PER_S, Pace
from callwright.sections import WatchConfig
from callwright.simulators.faults import Fault

STEP_MS, LOOK_MS = 10.0, 40.0


class _Saying:
    """One attempt of a voice that makes 100 ms of sound at three times the pace of speech."""

    CHUNK_MS = 100.0

    def __init__(self, world: World, limits: WatchConfig, vendor: int, now: float, *, connected: bool) -> None:
        self.vendor = vendor
        self.take = Take(limits, Pace())
        self.made = 0.0
        self.chunks = 0
        self.silent = world.uniform("silence", *world.delays.tts_leading_silence_ms)
        self.broken: What | None = None
        self.next_at: float | None = None
        self._world = world
        self._fault = world.strikes("tts", "before", vendor)
        door = None if connected else world.strikes("tts", "connect", vendor)
        self._ready_at = now if connected else now + world.handshake()
        self._mute = door is not None and door.kind in ("stall", "silence")
        if door is not None and not self._mute:
            self.broken = "refused"

    def go_on(self, now: float, due: float) -> list[bool]:
        """The chunks that come now, each whether it sounds; `due` ms of speech are asked for."""
        if self._mute or self.broken or not due:
            return []
        if self.next_at is None:
            self.next_at = max(now, self._ready_at) + self._world.draw("tts_first_audio")
        came = []
        while self.next_at <= now and self.made < due + self.silent:
            fault, self._fault = self._fault, None
            if fault is None and self._world.scene.faults[-1].after <= self.chunks and not self._trickles:
                fault = self._world.strikes("tts", "within", self.vendor)
            self.next_at += self.CHUNK_MS / self._pace
            self.chunks += 1
            if fault is not None and not self._lets_go_on(fault):
                break
            if fault is None or fault.kind == "trickle":
                self.made += self.CHUNK_MS
                came.append(self.made > self.silent)
        return came

    _trickles = False

    @property
    def _pace(self) -> float:
        return 0.3 if self._trickles else self._world.delays.tts_pace

    def _lets_go_on(self, fault: Fault) -> bool:
        if fault.kind in ("stall", "silence", "hang"):
            self._mute = True
        elif fault.kind == "trickle":
            self._trickles = True
        elif fault.kind in ("status", "drop"):
            self.broken = "refused" if fault.kind == "status" else "dropped"
        elif fault.kind in ("truncate", "empty"):
            self.broken = "truncated" if self.made else "empty"
        return fault.kind in ("trickle", "malformed")


def voice(
    world: World, limits: WatchConfig, pieces: Sequence[tuple[float, int]], complete: bool, found: Sounds
) -> None:
    """Say the letters as they come; `found` gets their sound, or the line that says that nobody can."""
    breakers = [Breaker() for _ in range(world.vendors)]
    troubles = Troubles(limits)
    total = sum(letters for _, letters in pieces)
    said, now, until, looked = 0, pieces[0][0], 0.0, 0.0
    saying: _Saying | None = None
    who, unconnected = 0, set[int]()
    if world.scene.stage == "tts" and world.loses_connection:
        unconnected.add(0)
        world.strikes("tts", "idle", 0)
    while now < LIMIT_MS:
        given = sum(letters for at, letters in pieces if at <= now)
        if given <= said and (given == total or saying is None):
            found.answered = complete and said >= total
            return
        if saying is None:
            saying = _Saying(world, troubles.patience, who, now, connected=who not in unconnected)
            unconnected.discard(who)
        due = 0 if given - said < min(20, total - said) else given - said
        saying.take.due(now, due)
        if given == total:
            saying.take.ended()
        for sounding in saying.go_on(now, due * 1000 / LETTERS_PER_S):
            saying.take.audio(now, saying.CHUNK_MS, sounding=sounding)
            begin = max(now, until)
            until = begin + saying.CHUNK_MS
            if sounding:
                _extend(found.answer, begin, until)
                if saying.take.sounded:
                    troubles.sounded()
        what: str | None = saying.broken
        if what is None and now - looked >= LOOK_MS:
            looked = now
            what = saying.take.look(now, until - now)
        if what == "over" or (given == total and due and saying.made >= due * 1000 / LETTERS_PER_S + saying.silent):
            what = saying.take.done(0)
            if what is None:
                found.answered = complete
                return
        if what is not None:
            said += min(due, int(max(0.0, saying.made - saying.silent) * LETTERS_PER_S / 1000))
            unconnected.add(who)
            breakers[who].failed(now, what)
            verdict = troubles.trouble(now, who, saying.take.waited_ms(now), order(breakers, now), ())
            if verdict.vendor is None:
                found.tell(now)
                return
            who, saying = verdict.vendor, None
        now += STEP_MS


def _extend(sounds: list[tuple[float, float]], begin: float, end: float) -> None:
    if sounds and sounds[-1][1] >= begin:
        sounds[-1] = (sounds[-1][0], end)
    else:
        sounds.append((begin, end))
