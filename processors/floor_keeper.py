"""Keeps the floor: brings the voice, the room and everybody who asks what was heard together at one `Floor`.

Thin: it decides nothing that the floor has not decided, and it never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from callwright.parts import Parts
from callwright.records.events import AgentText, SpokenOver
from callwright.speech import Piece, Role, Say, Utterance
from callwright.speech_queue import Chunk
from processors.floor import Floor, Settled
from processors.stretch import Timed

OnHeard = Callable[[Utterance, str], None]
"""Told what of an utterance has been heard so far, each time it has become more."""

OnSettled = Callable[[Settled, bool], None]
"""Told what is left of an utterance that is over; True when it was cut off by the caller."""


OnSound = Callable[[Utterance, bool], None]
"""Told that the agent sounds, and what is heard; or that it fell silent, and what was heard last."""


class FloorKeeper:
    """One call's floor and its hold on the room."""

    def __init__(self, parts: Parts) -> None:
        self.floor = Floor(parts.room.rate)
        self._parts = parts
        self._rate = parts.room.rate
        self._on_heard: list[OnHeard] = []
        self._on_settled: list[OnSettled] = []
        self._on_sound: list[OnSound] = []
        self._heard: dict[Utterance, str] = {}
        self._sounding: Utterance | None = None
        self._sounds_to = 0  # index behind the last sample handed over
        self._made: Utterance | None = None
        self._withdrawn: set[Utterance] = set()
        self._reasons: set[str] = set()
        parts.room.speech = self
        parts.voice.listener = self
        parts.on_close(self.aclose)

    def tell(
        self, *, heard: OnHeard | None = None, settled: OnSettled | None = None, sound: OnSound | None = None
    ) -> None:
        """Subscribe."""
        if sound:
            self._on_sound.append(sound)
        if heard:
            self._on_heard.append(heard)
        if settled:
            self._on_settled.append(settled)

    # -- who has the floor

    def open(self, role: Role, *, remembered: bool = True) -> Utterance:
        """The agent is going to say something."""
        return self.floor.open(role, self._parts.turn, remembered=remembered)

    @property
    def held(self) -> bool:
        """Whether the agent is silenced for the moment: the caller may be speaking."""
        return self._parts.room.playback.held

    def take_back(self, utterance: Utterance) -> None:
        """Have `utterance` not be said, unless it sounds already."""
        stretches = self.floor.stretches(utterance)
        if self.floor.is_open(utterance) and not any(self.floor.reached(name) for name in stretches):
            self._withdrawn.add(utterance)
            for name in stretches:
                self._parts.room.playback.trim(name, 0)

    def hold(self, reason: str = "overlap") -> None:
        """Silence the agent at once; nothing is lost."""
        self._reasons.add(reason)
        self._parts.room.playback.hold()

    def release(self, reason: str = "overlap") -> None:
        """Go on with the word that was broken off, once nobody holds the agent any more."""
        self._reasons.discard(reason)
        playback = self._parts.room.playback
        if not self._reasons and playback.held:
            playback.release(self.floor.resume_point())

    def keep(self, text: str) -> None:
        """What the caller said over the agent, `text`, did not take the floor: the agent goes on."""
        parts = self._parts
        parts.scribe.note(SpokenOver(turn=parts.turn, sample=parts.room.now(), text=text))
        self.release("overlap")

    def cut(self) -> None:
        """The caller takes the floor: silence, and everything under way is over where it stands."""
        self._reasons -= {"overlap", "maybe speech"}
        playback = self._parts.room.playback
        playback.cut()
        if not self._reasons:
            playback.release()
        self._parts.scribe.interrupted()
        for settled in self.floor.cut():
            self._settle(settled, cut=True)

    async def aclose(self) -> None:
        """The call is over, and so is whatever was being said."""
        self.cut()

    def _settle(self, settled: Settled | None, *, cut: bool) -> None:
        if settled is None:
            return
        utterance = settled.utterance
        self._show(utterance, settled.heard)
        self._heard.pop(utterance, None)
        self._withdrawn.discard(utterance)
        for told in self._on_settled:
            told(settled, cut)
        if settled.heard or settled.unheard:
            self._parts.scribe.note(
                AgentText(
                    turn=utterance.turn,
                    text=settled.heard,
                    role=utterance.role,
                    interrupted=cut and bool(settled.unheard),
                    words=settled.words,
                    unheard=settled.unheard,
                    remembered=utterance.remembered,
                )
            )

    def _show(self, utterance: Utterance, heard: str) -> None:
        if heard != self._heard.get(utterance, ""):
            self._heard[utterance] = heard
            for told in self._on_heard:
                told(utterance, heard)

    # -- what the voices tell (failover.voice.Keeper)

    def sent(self, stretch: str, cause: Piece | Say) -> None:
        if isinstance(cause, Piece):
            self.floor.sent(stretch, cause.utterance, cause.text, end=cause.end)
        elif cause.utterance:
            self.floor.sent(stretch, cause.utterance, cause.text, end=len(cause.utterance.text))

    def timed(self, stretch: str, words: Sequence[tuple[str, float, float | None]]) -> None:
        rate = self._rate
        self.floor.timed(
            stretch,
            [Timed(word, round(at * rate), None if end is None else round(end * rate)) for word, at, end in words],
        )

    def unsaid(self, stretch: str, samples: int) -> str | None:
        return self.floor.unsaid(stretch, samples)

    def withdraw(self, stretch: str, samples: int) -> int | None:
        if (found := self.floor.withdraw(stretch, samples)) is None:
            return None
        at, offset = found
        self._parts.room.playback.trim(stretch, offset)
        return at

    # -- what the room tells (room.SpeechListener)

    def made(self, stretch: str, pcm: bytes) -> bool:
        self.floor.received(stretch, pcm)
        utterance = self.floor.utterance(stretch)
        playback = self._parts.room.playback
        awaited = not playback.store
        if utterance in self._withdrawn:
            playback.trim(stretch, 0)
        elif utterance is not None and utterance is not self._made:
            self._made = utterance
            self._hand_over(utterance)
            # A pause between two things said is the voice's own; after a filler it is a hole.
            awaited |= all(other is utterance or other.role == "filler" for other in self.floor.speaking)
        return awaited

    def _hand_over(self, utterance: Utterance) -> None:
        """The first sound of `utterance` is there: a filler that is being said ends with its word."""
        speaking = self.floor.speaking
        if utterance.role == "filler":  # it takes the place of those before it, as a line does of the hold sound
            speaking = speaking[: speaking.index(utterance)] if utterance in speaking else []
        for other in speaking:
            if other.role == "filler":
                self.trim(other)

    def trim(self, utterance: Utterance) -> None:
        """Have `utterance` end with the word that is being said."""
        for name in self.floor.stretches(utterance):
            end = self.floor.word_end_after(name, self.floor.reached(name))
            self._parts.room.playback.trim(name, end)

    def finished(self, stretch: str) -> None:
        self.floor.closed(stretch)

    def submitted(self, chunk: Chunk, index: int, position: int) -> None:
        self.floor.submitted(chunk.stretch, chunk.offset, chunk.samples, index=index, position=position)
        if (utterance := self.floor.utterance(chunk.stretch)) is not None:
            self._parts.scribe.answering(utterance.turn)
            self._sounds_to = index + chunk.samples + chunk.padding
            if utterance is not self._sounding:
                self._sounds(utterance)

    def played(self, index: int) -> None:
        self.floor.played(index)
        if index >= self._sounds_to:
            self._sounds(None)
        for utterance in self.floor.speaking:
            self._show(utterance, self.floor.heard(utterance))

    def silenced(self, index: int) -> None:
        self.floor.silenced(index)
        self._sounds(None)

    def _sounds(self, utterance: Utterance | None) -> None:
        last, self._sounding = self._sounding, utterance
        if (heard := utterance or last) is not None:
            for told in self._on_sound:
                told(heard, utterance is not None)

    def ended(self, utterance: Utterance) -> None:
        self._settle(self.floor.over(utterance), cut=False)

    def completed(self, utterance: Utterance) -> list[str]:
        names = self.floor.stretches(utterance)
        for name in names:
            self.floor.closed(name)
        return names

    def connection(self, steady: bool) -> None:
        if steady:
            self.release("connection")
        else:
            self.hold("connection")
