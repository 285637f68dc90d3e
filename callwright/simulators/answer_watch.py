"""When is the agent done? A caller's ear for the end of an answer, as a pure object fed with moments in
seconds.

`mark` begins the wait for a new answer (at join, and whenever the caller has finished an utterance). Sound
that was already going on at the mark and stops within `TAIL_S` is the tail of what was talked over, not an
answer.
"""

from __future__ import annotations

SOUNDING_S = 0.15
"""Sound counts as going on this long after the last loud window: the short silences within words."""

TAIL_S = 1.0
"""An agent that still speaks so long after the caller's last word did not yield: that is its answer."""

TAIL_GAP_S = 0.3
"""So much silence ends the tail; what comes then is new."""

BUSY_LIMIT_S = 4.0
"""An agent that says it is thinking or speaking (`lk.agent.state`) is waited for this long in silence, not
more: a filler is not the end of an answer, but agents are known to stay stuck in a state (livekit/agents
#3418)."""

WORD_S = 0.3
"""Duration of a spoken word where there are no captions (English at 200 words a minute)."""

SHORTEST_WORD_S = 0.15
"""No voice speaks faster: captions that run ahead of the sound are held back to this."""


class AnswerWatch:
    """Feed it `sound`, `state` and `words`; ask it `sounding`, `begun`, `done`, `spoke`."""

    def __init__(self, now_s: float) -> None:
        self._last_sound_s: float | None = None
        self._busy = False
        self.mark(now_s)

    def mark(self, now_s: float) -> None:
        """From now on a new answer is expected."""
        self._mark_s = now_s
        self._tail = self.sounding(now_s)
        self._begun_s: float | None = None
        self._loud_s = 0.0
        self._words = 0

    def sound(self, now_s: float, duration_s: float) -> None:
        """A loud window of the agent's arrived."""
        if self._tail and self._last_sound_s is not None:
            if now_s - self._last_sound_s > TAIL_GAP_S:
                self._tail = False
            elif now_s - self._mark_s >= TAIL_S:
                self._tail, self._begun_s = False, self._mark_s
        if not self._tail and self._begun_s is None:
            self._begun_s = now_s
        if not self._tail:
            self._loud_s += duration_s
        self._last_sound_s = now_s

    def state(self, name: str) -> None:
        """The agent published its state."""
        self._busy = name in ("thinking", "speaking")

    def words(self, count: int) -> None:
        """So many words of captions came since the mark."""
        self._words = count

    def sounding(self, now_s: float) -> bool:
        """Whether the agent is speaking at this moment."""
        return self._last_sound_s is not None and now_s - self._last_sound_s <= SOUNDING_S

    @property
    def begun_s(self) -> float | None:
        """When the answer began to sound; None if it has not."""
        return self._begun_s

    def done(self, now_s: float, quiet_s: float) -> bool:
        """Whether an answer was heard and then `quiet_s` of silence, the agent claiming no more work."""
        if self._begun_s is None or self._last_sound_s is None:
            return False
        silent_s = now_s - self._last_sound_s
        return silent_s >= max(quiet_s, BUSY_LIMIT_S if self._busy else 0.0)

    def spoke(self, count: int) -> bool:
        """Whether the agent has spoken about `count` words of this answer."""
        if self._begun_s is None:
            return False
        if self._words:
            return self._words >= count and self._loud_s >= count * SHORTEST_WORD_S
        return self._loud_s >= count * WORD_S
