"""What a picture of a call shows, folded from its journal: who sounded when, in samples of the recording.

`CallRecord` counts in milliseconds after the caller's last word; a picture needs one axis for everything.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from callwright.records import events
from callwright.records.bars import Bars, ToolBar, TroubleBar
from callwright.records.events import HeardWord
from callwright.records.journal import Entry
from callwright.records.timeline import Timeline

# A row of the picture may end between these, and looks for a late pause there. One before the caller speaks counts
# as so much later: question and answer stand in one row.
SHORTEST_ROW_S = 6.0
LONGEST_ROW_S = 12.0
ASKING_S = 2.5
# A shorter silence is one within speech. Of a longer one, so much stays before the next sound.
PAUSE_S = 0.15
LEAD_S = 0.3


@dataclass(frozen=True, slots=True)
class Stretch:
    """The samples in [start, end)."""

    start: int
    end: int

    def __contains__(self, sample: int) -> bool:
        return self.start <= sample < self.end


@dataclass(frozen=True, slots=True)
class CallerTurn:
    """What the caller said in one turn, and from where to where; number 0 in brackets where it was none."""

    number: int
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """One thing the agent said; `text`, `role`, `unheard` and `remembered` as in `events.AgentText`.

    The words of a text whose journal holds none are spread over its sound and marked `estimated`. `cut` is the
    sample at which it was silenced, None if it was not.
    """

    turn: int
    role: str
    text: str
    words: tuple[HeardWord, ...]
    start: int
    end: int
    cut: int | None
    unheard: str
    remembered: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """A call on one axis of samples, all in [0, `length`); everything in order of its start.

    `cuts` are all samples at which the agent was silenced, also where no text belongs to it.
    """

    rate: int
    length: int
    caller: tuple[Stretch, ...]
    agent: tuple[Stretch, ...]
    turns: tuple[CallerTurn, ...]
    utterances: tuple[Utterance, ...]
    tools: tuple[ToolBar, ...]
    troubles: tuple[TroubleBar, ...]
    cuts: tuple[int, ...]

    def rows(self) -> tuple[Stretch, ...]:
        """The call in rows of 6 to 12 s that break in a pause, best before the caller speaks.

        Without any pause the break falls between two words, and at 12 s where even that cannot be.
        """
        shortest, longest, asking, pause, lead = (
            round(seconds * self.rate) for seconds in (SHORTEST_ROW_S, LONGEST_ROW_S, ASKING_S, PAUSE_S, LEAD_S)
        )
        busy = _merged([*self.caller, *self.agent, *self._spoken(), *self.tools])
        asked = {stretch.start for stretch in self.caller} | {turn.start for turn in self.turns}
        rows: list[Stretch] = []
        start = 0
        while self.length - start > longest:
            reach = range(start + shortest, start + longest + 1)
            pauses: dict[int, int] = {}  # where to break: how late that counts
            for before, after in pairwise([*busy, Stretch(self.length, self.length)]):
                at = max(before.end, min(after.start - lead, reach[-1]))
                if after.start - before.end >= pause and at in reach:
                    pauses[at] = at + (asking if after.start in asked else 0)
            words = [word.start for said in self.utterances for word in said.words if word.start in reach]
            end = max(pauses, key=pauses.__getitem__) if pauses else max(words, default=reach[-1])
            rows.append(Stretch(start, end))
            start = end
        return (*rows, Stretch(start, self.length))

    def _spoken(self) -> Iterator[Stretch]:
        for said in self.utterances:
            yield Stretch(said.start, said.end)
        for turn in self.turns:
            yield Stretch(turn.start, turn.end)


def plot(entries: Sequence[Entry], recorded: int = 0) -> Plot | None:
    """Fold the entries of one call; `recorded` is the recording's length in samples.

    None if the journal does not say the recording's rate: then no sample has a time.
    """
    timeline = Timeline(entries)
    if not timeline.rate:
        return None
    call = _Call(timeline.rate)
    for entry in entries:
        call.take(entry.event, _sample(timeline, entry.monotonic_ns))
    length = call.close(recorded)
    utterances = _utterances(call.texts, call.sounds, length)
    cuts = {sound.end for sound in call.sounds if sound.cut} | {said.cut for said in utterances if said.cut is not None}
    return Plot(
        rate=timeline.rate,
        length=length,
        caller=tuple(call.caller),
        agent=_merged(Stretch(sound.start, sound.end) for sound in call.sounds),
        turns=tuple(call.turns),
        utterances=utterances,
        tools=call.bars.tools,
        troubles=tuple(call.bars.troubles),
        cuts=tuple(sorted(cuts)),
    )


# --- gathering -------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Sound:
    """A stretch of agent speech, as it is being gathered; its end is not known at first."""

    turn: int
    start: int
    end: int = -1
    cut: bool = False


@dataclass(frozen=True, slots=True)
class _Text:
    """What the agent said, when that was noted, and the sounds of its turn that no earlier text has claimed."""

    said: events.AgentText
    at: int
    sounds: tuple[_Sound, ...]


class _Call:
    """The events sorted by what they are about, in samples."""

    def __init__(self, rate: int) -> None:
        self.caller: list[Stretch] = []
        self.turns: list[CallerTurn] = []
        self.sounds: list[_Sound] = []
        self.texts: list[_Text] = []
        self.bars = Bars(rate)
        self._now = 0
        self._speaking: int | None = None  # the caller, since
        self._turn_begun: int | None = None
        self._unclaimed: list[_Sound] = []

    def take(self, event: events.Event, at: int | None) -> None:
        if at is not None:
            self._reach(at)
            self.bars.take(event, at)
        match event:
            case events.SpeechStarted(sample=sample):
                self._reach(sample)
                self._speaking = sample if self._speaking is None else self._speaking
                self._turn_begun = sample if self._turn_begun is None else self._turn_begun
            case events.SpeechEnded(sample=sample):
                self._caller_silent(sample)
            case events.TurnStarted(turn=number, text=text, end_of_speech_sample=end):
                end = end if end >= 0 else self.caller[-1].end if self.caller else self._now
                begun = end if self._turn_begun is None else min(self._turn_begun, end)
                self.turns.append(CallerTurn(number, text, begun, end))
                self._turn_begun = self._speaking
            case events.SpokenOver(text=text):
                if text and self._turn_begun is not None:
                    end = self.caller[-1].end if self.caller else self._now
                    self.turns.append(CallerTurn(0, f"({text})", self._turn_begun, max(end, self._turn_begun)))
                self._turn_begun = None
            case events.AgentSpeechStarted(turn=turn, sample=sample):
                self._agent_silent(sample, cut=False)
                self._reach(sample)
                self.sounds.append(_Sound(turn, sample))
                self._unclaimed.append(self.sounds[-1])
            case events.AgentSpeechEnded(sample=sample, interrupted=cut):
                self._agent_silent(sample, cut=cut)
            case events.AgentText() as said:
                self._reach(*(word.end for word in said.words))
                own = tuple(sound for sound in self._unclaimed if sound.turn == said.turn)
                self._unclaimed = [sound for sound in self._unclaimed if sound not in own]
                self.texts.append(_Text(said, self._now, own))
            case _:
                pass

    def close(self, recorded: int) -> int:
        """End what is still open at the end of the call, and return that."""
        length = max(self._now + 1, recorded)
        if self._speaking is not None:
            self._caller_silent(length)
        self._agent_silent(length, cut=False)
        self.bars.close(length)
        return length

    def _reach(self, *samples: int) -> None:
        self._now = max(self._now, *samples, 0)

    def _caller_silent(self, sample: int) -> None:
        self._reach(sample)
        if self._speaking is not None:
            self.caller.append(Stretch(self._speaking, max(sample, self._speaking)))
            self._speaking = None

    def _agent_silent(self, sample: int, *, cut: bool) -> None:
        self._reach(sample)
        if self.sounds and self.sounds[-1].end < 0:
            self.sounds[-1].end = max(sample, self.sounds[-1].start)
            self.sounds[-1].cut = cut


def _sample(timeline: Timeline, moment_ns: int) -> int | None:
    """The inverse of the timeline: the first sample at or after that moment, 0 if it came before the recording."""
    origin_ns = timeline.at(0)
    if origin_ns is None:
        return None
    # Twice as far as the clock says: the recording may have drifted against it.
    limit = max(2 * (moment_ns - origin_ns) * timeline.rate // 1_000_000_000, 0)
    return bisect_left(range(limit), moment_ns, key=lambda sample: timeline.at(sample) or 0)


# --- placing ---------------------------------------------------------------------------------------------


def _utterances(texts: Sequence[_Text], sounds: Sequence[_Sound], length: int) -> tuple[Utterance, ...]:
    """Each text where it sounded: from its first word until the next text begins or the sound ends."""
    timed = [(text, text.said.words or tuple(_spread(text.said.text, text.sounds))) for text in texts]
    placed = sorted(((_start(text, words), text.said, words) for text, words in timed), key=lambda place: place[0])
    found: list[Utterance] = []
    for index, (start, said, words) in enumerate(placed):
        spoken = max(start, words[-1].end) if words else start
        following = placed[index + 1][0] if index + 1 < len(placed) else length
        sound = next((sound for sound in reversed(sounds) if sound.start < max(spoken, start + 1)), None)
        end = max(spoken, min(sound.end, following)) if sound else spoken
        silenced = sound.end if sound and sound.cut else end
        found.append(
            Utterance(
                said.turn,
                said.role,
                said.text,
                words,
                start,
                end,
                cut=silenced if said.interrupted else None,
                unheard=said.unheard,
                remembered=said.remembered,
            )
        )
    return tuple(found)


def _start(text: _Text, words: Sequence[HeardWord]) -> int:
    if words:
        return words[0].start
    return text.sounds[0].start if text.sounds else text.at


def _spread(text: str, sounds: Sequence[_Sound]) -> Iterator[HeardWord]:
    """The words of a text over the sounds it was heard in, each as long as its letters."""
    words = text.split()
    letters = sum(len(word) + 1 for word in words)
    sounding = sum(sound.end - sound.start for sound in sounds)

    def at(passed: int) -> int:
        left = passed * sounding // letters
        for sound in sounds:
            if left <= sound.end - sound.start:
                return sound.start + left
            left -= sound.end - sound.start
        return sounds[-1].end

    passed = 0
    for word in words if sounds else ():
        yield HeardWord(word, at(passed), at(passed + len(word)), estimated=True)
        passed += len(word) + 1


def _merged(stretches: Iterable[Stretch | CallerTurn | ToolBar]) -> tuple[Stretch, ...]:
    """In order, without overlaps."""
    found: list[Stretch] = []
    for stretch in sorted(stretches, key=lambda stretch: stretch.start):
        if found and stretch.start <= found[-1].end:
            found[-1] = Stretch(found[-1].start, max(found[-1].end, stretch.end))
        else:
            found.append(Stretch(stretch.start, stretch.end))
    return tuple(found)
