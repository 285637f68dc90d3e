"""Fillers: when the agent says something only so that the caller is not left in silence, and what.

Pure. It is told what happens, with times in ms of any one clock, and says when a line is due and which. All waits
count silence: from the end of the caller's speech, then from the end of whatever the agent last said.

With a tool running an answer needs another reply of the model, so that there is nothing to guess. While only the model
is awaited, nobody knows yet whether it will answer or call a tool. A line is then said as soon as an answer is not
likely within `soon_ms`, if the last two waits of the call were longer than `long_ms`, as where the agent looks
something up in turn after turn; else not before `latest_ms`. An agent with tools begins as if one such wait had been:
no cache is warm. What is said on a guess is an acknowledgement that fits whatever follows, and the tool's own line
takes its place if it does not sound yet.

What `latest_ms` costs, by `tests/processors/test_filler_tradeoff.py`: 8,000 turns a figure on a virtual clock; the turn
is decided 350 ms after speech ended, the model's first token is log-normal (p50/p95 in ms), the voice's first sound
190/360, a line is cached and sounds 20 ms after it was asked for; all times as it leaves for the room. In each turn of
a call no tool is called, or one of 4 s, or in half of them, at random. With a line: share of the turns without a tool;
first line, silence: p95 in ms in turns with one.

                         no tool          half of the turns              every turn
    latest_ms  model     with a line     with a line  first  silence     first  silence
         1100  quick            6.9%           11.8%    826      850       766      800
         1100  slow            50.8%           63.7%   1100     1100       650      900
         1400  quick            5.6%           10.9%    826      850       766      800
         1400  slow            31.1%           49.4%   1400     1400       650      900
         1600  quick            5.6%           10.9%    826      850       766      800
         1600  slow            23.8%           44.0%   1599     1599       650      900
         1800  quick            5.6%           10.9%    826      850       766      800
         1800  slow            19.7%           41.1%   1780     1780       650      900

quick: 250/400, slow: 640/1600. No line was needless in any of them (the answer's sound there within `after_ms`). With a
slow model, at the moment at which a line is due if it is to be heard within 0.9 s of the caller's last word, four of
five replies have not begun: whoever announces all tools by then announces four of five answers too. So it is done only
where waits are long; a tool that comes unexpected is announced by `latest_ms` at the latest, or `grace_ms`
later if words came just before. At 1600 that is heard before the silence lasts 2 s, which it must not, whatever a
vendor does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from callwright.filler_lines import Lines
from processors.reply_times import ReplyTimes

STEP_MS = 20.0
"""How finely the moment is looked for at which an answer is no longer likely."""

LOST_MS = 3000.0
"""A line that has not sounded by then will not; another may be tried."""

RESULT_MS = 3000.0
"""A model that has its tools' results and is not asked again by then will not be."""


@dataclass(frozen=True, slots=True)
class Waits:
    """When a line is due, all in ms. The first four are the configuration's `filler` section.

    after_ms       silence after the caller's last word
    tool_after_ms  a tool has run
    latest_ms      silence that is broken although the model may be about to answer
    intervals_ms   silence before the second line, the third, …
    expected_ms    in place of `latest_ms` where a long wait is expected, and after an acknowledgement
    long_ms        a wait for the agent's own words that is long
    soon_ms        an answer expected within this is waited for
    voice_ms       the model has written: its words sound within this, or the voice is late; a line is due then once
                   the silence has lasted `latest_ms`, or `expected_ms` where there was another line or a tool
    grace_ms       for so much longer such words are waited for, late or not
    asked_ms       a model just asked is given so long, even when its turn was slow to be decided
    guard_ms       after the caller's voice, whatever it was
    """

    after_ms: float = 650
    tool_after_ms: float = 100
    latest_ms: float = 1600
    intervals_ms: tuple[float, ...] = (700, 800, 900, 1500, 2500, 4000, 6000, 8000)
    expected_ms: float = 850
    long_ms: float = 2500
    soon_ms: float = 300
    voice_ms: float = 400
    grace_ms: float = 250
    asked_ms: float = 200
    guard_ms: float = 300


class Fillers:
    """Decides over one call. `due_at` changes with everything that is told; ask it again after each.

    `expected`: the first wait is expected to be long.
    """

    def __init__(self, waits: Waits, lines: Lines, *, expected: bool = False) -> None:
        self._waits = waits
        self._lines = lines
        self._long = deque([expected], maxlen=2)  # whether the last waits were
        self._replies = ReplyTimes()
        self._lead = 40.0  # from the decision to the sound, as it was lately
        self._voice = 200.0  # from the model's first words to their sound, as it was lately
        self._caller = False
        self._caller_at = 0.0
        self._sounding = False
        self._sound_at = 0.0
        self._ending = False
        self._owed = False
        self._begin()

    def _begin(self) -> None:
        """A new turn: nothing is known of its answer, and nobody waits for it yet."""
        self._waiting = False
        self._tools: dict[str, float] = {}
        self._tool_lines: list[str] = []
        self._result_at: float | None = None  # of the last tool, when the model has not been asked again yet
        self._asked_at: float | None = None
        self._open = 0  # requests to the model
        self._signed = False
        self._wrote = False
        self._words_at: float | None = None  # words that are on their way to the caller's ear
        self._taken_at: float | None = None
        self._guess = self._overtaken = False  # the line that was taken last: as a guess, before words came
        self._said = 0
        self._announced = False  # the model has said itself that it calls a tool
        self._heard = False  # the agent has sounded since the caller spoke
        self._answered = False  # and words that were no filler
        self._had_tool = False

    # -- the caller

    def caller_started(self) -> None:
        """The caller's voice is heard; whether they take the floor is not known."""
        self._caller = True

    def caller_stopped(self, at: float) -> None:
        """They fell silent, `at` which moment."""
        self._caller = False
        self._caller_at = max(self._caller_at, at)

    def turn_began(self) -> None:
        """They have the floor; what was owed is void."""
        self._owed = False
        self._begin()

    def turn_ended(self) -> None:
        """They are owed an answer."""
        self._owed = True

    def call_ending(self) -> None:
        """Nothing more is said but the farewell."""
        self._ending = True

    # -- the model and its tools

    def asked(self, now: float) -> None:
        """The model is asked: for an answer to a turn, or to go on from its tools' results."""
        self._asked_at, self._result_at = now, None
        self._open += 1
        self._signed = self._wrote = False
        self._waiting = self._waiting or self._owed

    def wrote(self, now: float) -> None:
        """The model has begun to write what is to be spoken."""
        self._sign(now)
        if not self._wrote:
            self._wrote = self._overtaken = True
            self._words_at = now

    def line_passed(self, now: float) -> None:
        """Somebody else lets the agent say a line: a tool, the call."""
        self._words_at = now
        self._overtaken = True

    def reply_ended(self) -> None:
        """The model's reply is complete; if it holds neither words nor tools, nothing is to be waited for."""
        self._open = max(0, self._open - 1)
        if self._open:
            return  # it is already asked for the next one
        self._asked_at = None
        if not self._wrote and not self._tools and self._result_at is None:
            self._waiting = False

    def tool_started(self, key: str, lines: Sequence[str], now: float) -> None:
        """The model waits for a tool, which brings lines of its own.

        Where the model's words came first, each tool's first line would say again what they have said.
        """
        self._sign(now)
        self._tools[key] = now
        if self._wrote:
            self._announced = True
            lines = lines[1:]
        self._tool_lines += [line for line in lines if line not in self._tool_lines]
        self._waiting = self._had_tool = True

    def tool_ended(self, key: str, now: float) -> None:
        """The model has an answer to that tool call."""
        if self._tools.pop(key, None) is not None and not self._tools:
            self._result_at = now

    def _sign(self, now: float) -> None:
        if self._asked_at is not None and not self._signed:
            self._signed = True
            self._replies.add(now - self._asked_at)

    # -- the agent's voice

    def began(self, now: float, *, filler: bool) -> None:
        """The agent sounds."""
        self._sounding = self._heard = True
        if filler and self._taken_at is not None:
            self._lead += (min(now - self._taken_at, 500.0) - self._lead) / 2
            self._taken_at = None
            return
        if not filler:
            if self._waiting and not self._answered:
                self._answered = True
                self._long.append(now - self._caller_at > self._waits.long_ms)
            if self._words_at is not None and self._wrote:  # a line may need no voice
                self._voice += (min(now - self._words_at, 1000.0) - self._voice) / 4
            if not self._tools and self._result_at is None and (self._wrote or self._asked_at is None):
                self._waiting = self._owed = False
        self._words_at = None

    def fell_silent(self, now: float) -> None:
        """Nothing of the agent sounds any more."""
        self._sounding = False
        self._sound_at = now

    def withdrawn(self) -> None:
        """The line that was taken last will not be said, as it was decided meanwhile."""
        if self._taken_at is not None:
            self._taken_at = None
            self._said -= 1
            self._lines.unsaid()

    def lost(self) -> None:
        """The line that was taken last could not be said."""
        self._taken_at = None

    @property
    def waiting(self) -> bool:
        """Whether the caller waits for an answer, and nobody makes a sound."""
        return self._waiting and not (self._ending or self._caller or self._sounding)

    @property
    def wanted(self) -> bool:
        """Whether the line that was taken last may still be said: no words of an answer came meanwhile."""
        outdated = self._guess and bool(self._tool_lines)  # what is done is known by now
        return self.waiting and self._taken_at is not None and not (self._overtaken or outdated)

    @property
    def silent_since(self) -> float:
        return max(self._caller_at, self._sound_at)

    # -- the decision

    def due_at(self) -> float | None:
        """When to `take` a line if nothing more happens; None if there is no reason to say any."""
        sounds_at = self._sounds_at() if self.waiting else None
        return None if sounds_at is None else sounds_at - self._lead

    def hold_due_at(self, after_ms: float) -> float | None:
        """When a hold sound may begin, the caller having waited `after_ms`; None while it may not."""
        if not self.waiting or self._taken_at is not None or self._words_at is not None:
            return None
        return max(self._caller_at + after_ms, self.silent_since + self._waits.guard_ms)

    def take(self, now: float) -> str | None:
        """The line to be said now; None if none is due or none is left that was not just said."""
        due_at = self.due_at()
        if due_at is None or now < due_at:
            return None
        guess = not (self._had_tool or self._heard)
        line = self._lines.next(self._tool_lines, said_now=self._said, announced=self._announced, guess=guess)
        if line is None:
            self._waiting = False
            return None
        self._lines.said(line)
        self._said += 1
        self._guess, self._overtaken = guess, False
        self._taken_at = now
        return line

    def _sounds_at(self) -> float | None:
        """When the next line should be heard."""
        waits = self._waits
        since = self.silent_since
        intervals = waits.intervals_ms
        said = max(self._said + self._announced, 1)
        wait = intervals[min(said, len(intervals)) - 1] if self._heard else waits.after_ms
        earliest = max(since + wait, self._caller_at + waits.guard_ms)
        if self._taken_at is not None:
            return max(earliest, self._taken_at + LOST_MS)
        if self._words_at is not None:
            patience = waits.expected_ms if self._had_tool or self._heard else waits.latest_ms
            late = max(self._words_at + waits.voice_ms, since + patience)
            return max(earliest, min(late, since + patience + waits.grace_ms))
        if self._tools:
            return max(earliest, min(self._tools.values()) + waits.tool_after_ms)
        if self._asked_at is None:
            return earliest if self._result_at is not None and earliest < self._result_at + RESULT_MS else None
        earliest = max(earliest, self._asked_at + waits.asked_ms)
        patience = min(waits.expected_ms, waits.latest_ms)
        if not self._had_tool and (self._heard or not all(self._long)):
            return max(earliest, since + (patience if self._heard else waits.latest_ms))
        return self._unlikely_at(earliest, max(earliest, since + patience))

    def _unlikely_at(self, earliest: float, latest: float) -> float:
        """When, from `earliest` on, the model's answer is no longer likely to sound soon; `latest` at the latest."""
        assert self._asked_at is not None
        at = earliest
        while at < latest:
            waited = max(0.0, at - self._lead - self._asked_at)
            if self._replies.likely(waited, self._waits.soon_ms + self._lead - self._voice) < 0.5:
                return at
            at += STEP_MS
        return latest
