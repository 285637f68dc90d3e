"""The three stages of a turn on virtual time: the product's policies decide, the vendors are played. Pure."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from callwright.bench.fault_scenes import Scene
from callwright.failover import attempts as asks
from callwright.failover.attempts import Attempts, Limits
from callwright.failover.breaker import Breaker, order
from callwright.failover.ears_watch import EarsWaits, EarsWatch, GiveUp, Use
from callwright.failover.voice_watch import Take, Troubles, What
from callwright.pace import LETTERS_PER_S, Pace
from callwright.sections import WatchConfig
from callwright.simulators.account import AccountSettings
from callwright.simulators.faults import Fault, Moment, Stage

SPEECH_MS = 2000.0
NOTICED_MS = 120.0
"""From the last sample of speech to the moment at which its end is noticed."""
DECIDED_MS = 350.0
"""A turn is not decided before."""
IDLE_MS = 300.0
"""From what strikes a connection at rest to the caller's first word; as in `faults`."""
HANDSHAKE_MS = (30.0, 80.0)
REPLAY_MS = 100.0
"""A vendor that takes over is given what was said at more than real time."""
ANSWER_MS = 20.0
"""From a request to a refusal."""
TOKENS, TOKEN_LETTERS = 40, 4
CLAUSE_TOKENS = 8
"""So many go to the voice at once: it is given clauses, not tokens."""
LINE_LEAD_MS = 20.0
"""From the decision to a line that was rendered beforehand to its sound."""
LINE_MS, FILLER_MS = 3000.0, 900.0
STEP_MS, LOOK_MS = 10.0, 40.0
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


# ---------------------------------------------------------------------- the ears


class _Ears:
    def __init__(self, world: World, limits: WatchConfig) -> None:
        self.watch = EarsWatch(EarsWaits.within(limits), [0.0] * world.vendors)
        self.world = world
        self.events = Events(-60_000.0)
        self.leg = 0  # which connection; what an earlier one does is of no interest
        self.messages = 0
        self.ended = False
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


# ---------------------------------------------------------------------- the mind


class _Mind:
    def __init__(self, world: World, limits: WatchConfig, now: float) -> None:
        self.world = world
        self.events = Events(now)
        within = Limits(limits.first_token_ms, limits.token_gap_ms, limits.turn_budget_ms)
        self.policy = Attempts(within, [Breaker() for _ in range(world.vendors)], now)
        self.live: set[int] = set()
        self.tokens: list[float] = []  # when each was handed on
        self.pieces: list[tuple[float, int]] = []
        self.complete = False
        self.gave_up_at: float | None = None

    def run(self) -> None:
        self._do(self.policy.begin())
        while not self.policy.over and self.events.step(self.policy.wakes_at):
            self._do(self.policy.tick(self.events.now))

    def _do(self, found: Sequence[asks.Do]) -> None:
        for one in found:
            if isinstance(one, asks.Start):
                self._ask(one.attempt, one.vendor)
            elif isinstance(one, asks.Cancel):
                self.live.discard(one.attempt)
            elif isinstance(one, asks.BreakOff):
                self._hand_on()
            elif isinstance(one, asks.GiveUp):
                self.gave_up_at = self.events.now

    def _ask(self, attempt: int, vendor: int) -> None:
        self.live.add(attempt)
        now = self.events.now
        ahead = self.world.strikes("llm", "connect", vendor) or self.world.strikes("llm", "before", vendor)
        if ahead is not None:
            if ahead.kind not in ("stall", "silence"):
                self.events.at(now + ANSWER_MS, lambda: self._fail(attempt, ahead))
            return
        within, step = self.world.strikes("llm", "within", vendor), 1000 / self.world.delays.llm_tokens_per_s
        at = now + self.world.draw("llm_first_token")
        for number in range(TOKENS - len(self.tokens)):
            if within is not None and number >= within.after:
                if within.kind == "trickle":
                    step = 1000 / within.trickle
                elif within.kind in ("stall", "silence"):
                    return
                elif within.kind != "malformed":
                    self.events.at(at, lambda: self._fail(attempt, within))
                    return
            self.events.at(at, lambda: self._token(attempt))
            at += step
        self.events.at(at, lambda: self._end(attempt))

    def _token(self, attempt: int) -> None:
        if attempt in self.live:
            self._do(self.policy.token(attempt, self.events.now, words=True))
            if self.policy.adopted == attempt:
                self.tokens.append(self.events.now)
                if len(self.tokens) % CLAUSE_TOKENS == 0:
                    self._hand_on()

    def _hand_on(self) -> None:
        """What has been written of a clause goes to the voice: it is whole, or the answer is over or broken off."""
        written = len(self.tokens) * TOKEN_LETTERS - sum(letters for _, letters in self.pieces)
        if written:
            self.pieces.append((self.events.now, written))

    def _end(self, attempt: int) -> None:
        if attempt in self.live:
            self.complete = True
            self._do(self.policy.ended(attempt))

    def _fail(self, attempt: int, fault: Fault) -> None:
        if attempt in self.live:
            self.live.discard(attempt)
            why = {"truncate": "truncated", "malformed": "unknown"}.get(fault.kind, category(fault))
            self._do(self.policy.failed(attempt, self.events.now, why, (fault.retry_after or 0) * 1000))


def mind(world: World, limits: WatchConfig, found: Sounds) -> tuple[list[tuple[float, int]], bool]:
    """The letters of the answer as (when, how many), and whether that is all of it."""
    assert found.asked_at is not None
    one = _Mind(world, limits, found.asked_at)
    one.run()
    if one.gave_up_at is not None:
        found.tell(one.gave_up_at)
    found.wrote_at = one.tokens[0] if one.tokens else None
    return one.pieces, one.complete


# ---------------------------------------------------------------------- the voice


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
            saying = _Saying(world, limits, who, now, connected=who not in unconnected)
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
