"""The watch over a voice: when one is in trouble with what it says, and who is to go on. Pure; ms of any one clock.

A voice makes sound faster than it is played, so that what is left to play is time to act in: a voice that stops is
replaced before the caller has heard `audio_gap_ms` of silence, and is let alone as long as there is enough to play.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from callwright.pace import Pace
from callwright.sections import WatchConfig

What = Literal["no_first_audio", "audio_stopped", "refused", "dropped", "truncated", "empty"]
"""As in `records.events.StageTroubled`."""

DRY_MS = 150.0
"""With so little left to play, the next voice must be asked: it needs 90 to 200 ms to its first audio."""
SAID = 0.75
"""Sound for such a share of a text's expected length may be all of it: voices differ, and read numbers differently."""
CUT_OFF, CUT_OFF_KNOWN = 0.4, 0.6
"""What is shorter than this share of the expected length was cut off; the second once the voice's pace is known."""
KNOWN_LETTERS = 60
"""About two sentences, after which a voice's pace is known to some 15 %."""
SOUND_MS = 40.0
"""Less sound in one piece is a click, after which the caller goes on waiting; pieces less apart are one."""
LAST_MS = 1000
"""To its first audio for the attempt after which nobody is left: behind a gap in the sound before it, what the program
says instead is still heard within 2 s."""
SHORT_TEXT = 12
"""Letters: of less, the length says nothing."""


class Take:
    """One attempt of one voice at one text, or at the rest of it."""

    def __init__(self, limits: WatchConfig, pace: Pace) -> None:
        self._limits = limits
        self._pace = pace
        self._due = 0
        self._since = 0.0  # when the voice was last given something, or gave something worth hearing
        self._waiting_from: float | None = None
        self._made_ms = self._silent_ms = self._starved_ms = 0.0
        self._piece_ms = self._piece_ends = 0.0  # the latest sound without a break, and when it is over
        self._sounded = self._ended = False
        self._looked: float | None = None

    @property
    def sounded(self) -> bool:
        """Whether anything has come but silence and clicks."""
        return self._sounded

    def due(self, now: float, letters: int) -> None:
        """So many letters, of all it was given, are to be said now."""
        if letters > self._due:
            self._due = letters
            self._since = max(self._since, now)
            if self._waiting_from is None:
                self._waiting_from = now

    def ended(self) -> None:
        """It was told that there will be no more text."""
        self._ended = True

    def audio(self, now: float, ms: float, *, sounding: bool) -> None:
        """So much of it came; `sounding` unless that is silence."""
        self._made_ms += ms
        if not sounding:
            self._silent_ms += ms
            self._piece_ms = 0.0
            self._since = now
            return
        if now - self._piece_ends > SOUND_MS:
            self._piece_ms = 0.0
        self._piece_ms += ms
        self._piece_ends = max(now, self._piece_ends) + ms
        if self._piece_ms >= SOUND_MS:
            self._silent_ms, self._sounded, self._since = 0.0, True, now

    def waited_ms(self, now: float) -> float:
        """Since when it owes something."""
        if not self._sounded:
            return 0.0 if self._waiting_from is None else now - self._waiting_from
        return now - self._since

    @property
    def owes(self) -> bool:
        """Whether some of the text cannot have been said yet."""
        return self._made_ms < SAID * self._pace.expected_ms(self._due)

    def look(self, now: float, store_ms: float) -> What | Literal["over"] | None:
        """What is wrong while `store_ms` are left to play; "over": all seems said, and only the end marker is missing.

        Look every 50 ms or so.
        """
        passed = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        if not self._due:
            return None
        if not self._sounded:
            if self._silent_ms >= self._limits.first_audio_ms:
                return "empty"
            return "no_first_audio" if self.waited_ms(now) >= self._limits.first_audio_ms else None
        if self._silent_ms >= 2 * self._limits.audio_gap_ms:
            return "audio_stopped"
        if self.owes and store_ms <= 0:
            self._starved_ms += passed
        quiet = now - self._since >= self._limits.audio_gap_ms and store_ms <= DRY_MS
        if self.owes and (quiet or self._starved_ms >= self._limits.audio_gap_ms):
            return "audio_stopped"
        return "over" if quiet and self._ended else None

    def done(self, unsaid: int | None) -> What | None:
        """It says that it is done; `unsaid` letters were not among the words it told of, None if it told of none."""
        if not self._due:
            return None
        if not self._sounded:
            return "empty"
        expected = self._pace.expected_ms(self._due)
        share = CUT_OFF_KNOWN if self._pace.heard >= KNOWN_LETTERS else CUT_OFF
        if unsaid is not None and unsaid < SHORT_TEXT // 2:
            share = 0.0
        elif unsaid is not None:
            share = max(share, SAID)
        if self._due >= SHORT_TEXT and self._made_ms < share * expected:
            return "truncated"
        self._pace.learn(self._due, self._made_ms)
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`vendor` (its number in the configured line) is to go on; None: nobody can."""

    action: Literal["retry", "next", "gave_up"]
    vendor: int | None


class Troubles:
    """Those of one utterance: every voice is tried once, then one of them again, within the turn's budget."""

    def __init__(self, limits: WatchConfig) -> None:
        self._limits = limits
        self._failed: set[int] = set()
        self._retried = False
        self._since: float | None = None

    @property
    def patience(self) -> WatchConfig:
        """The limits of the next attempt: the last one is not given up for somebody else."""
        if not self._retried:
            return self._limits
        return self._limits.model_copy(update={"first_audio_ms": max(LAST_MS, self._limits.first_audio_ms)})

    def sounded(self) -> None:
        """The caller hears something: the budget begins anew."""
        self._since = None

    def trouble(
        self, now: float, vendor: int, waited_ms: float, order: Sequence[int], barred: Collection[int]
    ) -> Verdict:
        """`vendor` failed after so long. `order`: all vendors, best first; `barred`: those that will refuse again."""
        self._failed.add(vendor)
        if self._since is None:
            self._since = now - waited_ms
        if now - self._since >= self._limits.turn_budget_ms:
            return Verdict("gave_up", None)
        fresh = [number for number in order if number not in self._failed and number not in barred]
        if fresh:
            return Verdict("next", fresh[0])
        again = [number for number in order if number not in barred]
        if again and not self._retried:
            self._retried = True
            return Verdict("retry" if again[0] == vendor else "next", again[0])
        return Verdict("gave_up", None)
