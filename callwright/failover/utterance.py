"""One utterance as the voices get it: pieces of text, then an end; it may be said in several attempts."""

from __future__ import annotations

import asyncio
import re

from pipecat.frames.frames import AggregatedTextFrame, TextFrame, TTSSpeakFrame
from pipecat.utils.text.base_text_aggregator import TextType

from callwright.pace import letters
from callwright.speech import Piece, Say, Utterance

_SENTENCE_END = re.compile(r"[.!?…。？！][\"'”’)\]]*(?=\s|$)")


class Spoken:
    """One utterance for the voices. `given` characters of `text` are with the voice, or said."""

    def __init__(self) -> None:
        self.text = ""
        self.given = 0
        self.ended = False
        self.utterance: Utterance | None = None
        self.news = asyncio.Event()
        self._end = 0
        self._type: TextType | str = TextType.SENTENCE

    @classmethod
    def line(cls, frame: TTSSpeakFrame) -> Spoken:
        """A fixed line: all of it is there."""
        spoken = cls()
        spoken.text = frame.text
        spoken._type = frame.text_type
        if isinstance(frame, Say) and frame.utterance:
            spoken.utterance = frame.utterance
            spoken._end = len(frame.utterance.text)
        spoken.end()
        return spoken

    def add(self, frame: TextFrame) -> None:
        """More of it."""
        self.text += frame.text
        if isinstance(frame, AggregatedTextFrame):
            self._type = frame.text_type
        if isinstance(frame, Piece):
            self.utterance, self._end = frame.utterance, frame.end
        self.news.set()

    def end(self) -> None:
        """There is no more."""
        self.ended = True
        self.news.set()

    @property
    def waiting(self) -> bool:
        """Whether there is something to say that no voice was given."""
        return letters(self.text[self.given :]) > 0

    def take(self) -> AggregatedTextFrame | None:
        """All that no voice was given yet, as one piece; None if there is nothing to say in it."""
        if not self.waiting:
            return None
        text, self.given = self.text[self.given :], len(self.text)
        if self.utterance is None:
            return AggregatedTextFrame(text, self._type, raw_text=text)
        return Piece(text, self._type, raw_text=text, utterance=self.utterance, end=self._end)

    def due(self, start: int, *, by_piece: bool) -> int:
        """Letters of what was given from `start` on that are due: to the last full stop, if not `by_piece`."""
        given = self.text[start : self.given]
        if not by_piece and not self.ended:
            ends = [match.end() for match in _SENTENCE_END.finditer(given)]
            given = given[: ends[-1]] if ends else ""
        return letters(given)
