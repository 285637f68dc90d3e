"""When the ears fail, and who is to listen then. Pure; times are ms of any one clock.

It is told what the caller and the vendor do, and says what to do: leave the vendor, use one, give up. What the
caller said meanwhile is kept elsewhere (`backlog.py`), and is given to whoever is used next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self

from callwright.failover.breaker import Breaker, order
from callwright.sections import WatchConfig

FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 250.0, 1000.0
"""Between attempts once every vendor has failed: doubled each time."""

STEADY_MS = 5000.0
"""A connection that has held for so long was a good one: that it breaks is a first failure again."""

GRACE_MS = 100.0
"""From the moment at which a vendor is late to the one at which the next has the words to write."""


@dataclass(frozen=True)
class EarsWaits:
    """How long each doubt is given, in ms.

    transcript_ms  from the end of speech (or from when a new vendor was given it) to its settled words
    connect_ms     to connect: a vendor in the same region takes 100 to 300
    budget_ms      of troubles, while the caller waits in silence: no filler is said before a turn is known. Then they
                   are asked to say it again; another vendor in the same region has the words within 500
    speech_ms      of speech owe a transcript; a click or a breath does not
    clear_ms       of speech in which a vendor finds no word are worth counting: a cough lasts 300 to 500
    """

    transcript_ms: float = 700
    connect_ms: float = 700
    budget_ms: float = 1000
    speech_ms: float = 300
    clear_ms: float = 500

    @classmethod
    def within(cls, limits: WatchConfig) -> Self:
        """Those of a configuration."""
        return cls(transcript_ms=limits.transcript_ms, budget_ms=min(limits.turn_budget_ms, cls.budget_ms))


@dataclass(frozen=True)
class Failed:
    """The vendor in use is to be left; `what` and `action` as in `events.StageTroubled`.

    `permanent`: it will refuse whatever it is asked.
    """

    vendor: int
    what: str
    category: str
    permanent: bool
    waited_ms: float
    action: str


@dataclass(frozen=True)
class Use:
    """Connect this vendor and give it what is not written yet; say so with `connected`."""

    vendor: int


@dataclass(frozen=True)
class GiveUp:
    """What was said is lost: leave the vendor, forget the sound, and ask the caller to say it again.

    `vendor` failed last, `times` counts in a row; `permanent`: every vendor has refused for good.
    """

    vendor: int
    times: int
    waited_ms: float
    permanent: bool


class _Link(Enum):
    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"


class EarsWatch:
    """Watches one call's ears. `next` after anything told, and when `wakes_at` says, until it says None."""

    def __init__(self, waits: EarsWaits, vendors: Sequence[float]) -> None:
        """`vendors`: for each, by how many ms it may settle later than asked, once it has shown words.

        0 for one that answers the end of speech; one that judges for itself whether the caller has finished takes
        its time over that.
        """
        self._waits = waits
        self._vendors = tuple(vendors)
        self._breakers = [Breaker() for _ in vendors]
        self.vendor = 0
        """Who is in use, or will be next."""
        self._left = 0  # who failed last
        self._link = _Link.DOWN
        self._link_at = 0.0  # since when, or until when when it is down
        self._trouble: tuple[str, str] | None = None
        self._troubled_at: float | None = None
        self._failures = 0  # since somebody last did their work
        self._given_up = 0
        self._hopeless = False
        self._empties = 0
        self._settled_at = -math.inf
        self._ended = 0.0
        self._speaking_since: float | None = None
        self._forget()

    def _forget(self) -> None:
        """All that was said is written, or lost."""
        self._speech_ms = 0.0
        self._worded = self._sign = False
        self._doubted: int | None = None  # whose empty answer to this utterance is being checked
        self._troubled_at = None

    # -- what it is told

    def speech_began(self, at: float) -> None:
        if self._speaking_since is not None:
            return
        if not self.owed:
            self._forget()
        self._speaking_since = at
        if self._link is _Link.DOWN:
            self._link_at = min(self._link_at, at)  # there is need: no vendor may rest now

    def speech_ended(self, at: float) -> bool:
        """The last sample of speech was at `at`: a while before this is noticed. True: it is all written already."""
        if self._speaking_since is None:
            return False
        self._speech_ms += max(0.0, at - self._speaking_since)
        self._speaking_since = None
        self._ended = at
        if self._settled_at < at:
            return False
        self._forget()
        return True

    def connected(self, now: float) -> None:
        """The vendor in use takes audio, and was given all there is."""
        if self._link is _Link.CONNECTING:
            self._link, self._link_at = _Link.UP, now

    def failed(self, category: str) -> None:
        """The vendor in use reported an error or has gone; `category` is one of Pipecat's `ErrorCategory`."""
        if self._link is not _Link.DOWN:
            self._trouble = ("refused" if self._link is _Link.CONNECTING else "dropped", category)

    def interim(self) -> None:
        """The vendor is writing: words that it takes back in the end are not to be believed."""
        self._sign = True

    def final(self, now: float, *, words: bool, settled: bool) -> bool:
        """Text that will not change; `settled`: it is all there is up to the present pause.

        False: it is not to be believed. Whoever is used next gives another.
        """
        written, self._sign = self._sign, True
        if words:
            self._worded = True
            self._breakers[self.vendor].worked()
            self._failures = self._given_up = self._empties = 0
        if not settled:
            return True
        self._settled_at = now
        if self._speaking_since is not None:
            return True
        if self.owed and not self._worded and self._speech_ms >= self._waits.clear_ms:
            self._empties += 1
            if written or (self._empties >= 2 and self._doubted is None):
                self._doubted = self.vendor
                self._trouble = ("empty", "unknown")
                return False
            if self._doubted is not None:  # two vendors agree: the first was right
                self._breakers[self._doubted].worked()
                self._empties = 0
        self._failures = 0
        self._forget()
        return True

    # -- what it says

    @property
    def speaking(self) -> bool:
        return self._speaking_since is not None

    @property
    def owed(self) -> bool:
        """Whether the caller has stopped speaking, and their words are still to come."""
        return not self.speaking and self._speech_ms >= self._waits.speech_ms

    @property
    def idle(self) -> bool:
        """Whether nobody speaks and nothing is owed."""
        return not self.speaking and not self.owed

    def expected_by(self, now: float) -> float | None:
        """When to ask again whether the words have come; None: none are on their way."""
        if not self.owed:
            return None
        return max(now, self.wakes_at() or now) + GRACE_MS

    def wakes_at(self) -> float | None:
        """When to ask `next` again if nothing happens before."""
        times = [self._late_at(), self._gives_up_at(), self._link_at if self._link is _Link.DOWN else math.inf]
        if self._may_return():
            times += [one.rests_until for one in self._breakers[: self.vendor] if not one.permanent]
        earliest = min(times)
        return None if earliest == math.inf else earliest

    def next(self, now: float) -> Failed | Use | GiveUp | None:
        """What is to be done now."""
        if self._trouble is None and self._late_at() <= now:
            self._trouble = ("no_transcript" if self._link is _Link.UP else "dropped", "timeout")
        if self._trouble is not None:
            (what, category), self._trouble = self._trouble, None
            return self._leave(now, what, category)
        hopeless = all(one.permanent for one in self._breakers)
        if (hopeless and not self._hopeless) or self._gives_up_at() <= now:
            return self._give_up(now, hopeless)
        if self._link is _Link.DOWN and self._link_at <= now:
            return self._use(self.vendor, now)
        if self._may_return() and (first := order(self._breakers, now)[0]) < self.vendor:
            return self._use(first, now)
        return None

    # -- how

    def _late_at(self) -> float:
        if self._link is _Link.CONNECTING:
            return self._link_at + self._waits.connect_ms
        if self._link is _Link.UP and self.owed:
            patience = self._vendors[self.vendor] if self._sign else 0.0
            return max(self._ended, self._link_at) + self._waits.transcript_ms + patience
        return math.inf

    def _gives_up_at(self) -> float:
        if self._troubled_at is None or not self.owed:
            return math.inf
        return max(self._troubled_at, self._ended) + self._waits.budget_ms

    def _may_return(self) -> bool:
        """To a vendor that is preferred and has rested: only while that costs the caller nothing."""
        return self._link is _Link.UP and self.idle

    def _leave(self, now: float, what: str, category: str) -> Failed:
        failed = self._left = self.vendor
        if self._link is _Link.UP and now - self._link_at >= STEADY_MS:
            self._failures = 0
        waited = now - (max(self._ended, self._link_at) if self.owed else self._link_at)
        breaker = self._breakers[failed]
        breaker.failed(now, category)
        # A recogniser is asked the same thing on every connection: what it refuses once it refuses always.
        breaker.permanent = breaker.permanent or category == "invalid_request"
        self._failures += 1
        if not self.idle and self._troubled_at is None:
            self._troubled_at = now
        self.vendor = order(self._breakers, now)[0]
        self._link, self._link_at, self._sign = _Link.DOWN, self._again_at(now), False
        action = "retry" if self.vendor == failed else "next"
        return Failed(failed, what, category, breaker.permanent, waited, action)

    def _again_at(self, now: float) -> float:
        """When the next one is to be tried: at once until each has failed, then at growing distances."""
        beyond = self._failures - len(self._vendors)
        if self._breakers[self.vendor].permanent:
            return math.inf
        if beyond <= 0:
            return now
        if self.idle:
            return max(now, self._breakers[self.vendor].rests_until)
        return now + min(FIRST_PAUSE_MS * 2.0 ** min(beyond - 1, 8), LONGEST_PAUSE_MS)

    def _use(self, vendor: int, now: float) -> Use:
        self.vendor = vendor
        self._link, self._link_at, self._sign = _Link.CONNECTING, now, False
        return Use(vendor)

    def _give_up(self, now: float, permanent: bool) -> GiveUp:
        waited = now - self._ended if self.owed else 0.0
        self._hopeless = permanent
        self._given_up += 1
        self._forget()
        if self._link is not _Link.DOWN:
            self._link, self._link_at = _Link.DOWN, now
        return GiveUp(self._left, self._given_up, waited, permanent)
