"""Clauses: when the model's words are enough to begin speaking.

A voice that waits for the first full stop waits for nothing: the vendor continues an utterance
piece by piece with its prosody. So the first piece leaves at the first clause, the rest by sentence.
"""

from __future__ import annotations

from pipecat.frames.frames import (
    AggregatedTextFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.utils.text.base_text_aggregator import TextType

from callwright.speech import BROKEN_OFF, Kept, Piece, Say, Utterance, UtteranceEnd

_CLAUSE = ",;:–—"
_SENTENCE = ".!?…"
_CLOSERS = "\"'”’)]"


class ClauseCutter:
    """Cuts a stream of tokens into speakable pieces. Pure; concatenated pieces give the text back exactly.

    The first piece of an answer ends at the first clause mark that follows at least `first_words`
    words, or at a word boundary once it has `first_limit` words; later pieces end at sentences, or at
    a clause mark once they have `long_words` words. A mark counts only when white space follows it:
    "9.30" and "1,200" are not cut.
    """

    def __init__(self, *, first_words: int = 1, first_limit: int = 4, long_words: int = 16) -> None:
        self._first_words = first_words
        self._first_limit = first_limit
        self._long_words = long_words
        self.reset()

    def reset(self) -> None:
        """Forget what is buffered; the next piece is a first one."""
        self._text = ""
        self._first = True

    def feed(self, token: str) -> list[str]:
        """The pieces that are complete once `token` has arrived."""
        self._text += token
        pieces = []
        while (end := self._end_of_piece()) is not None:
            pieces.append(self._text[:end])
            self._text = self._text[end:]
            self._first = False
        return pieces

    def flush(self) -> str:
        """What is left at the end of the answer; "" if nothing but white space."""
        rest, self._text, self._first = self._text, "", True
        return rest if rest.strip() else ""

    def _end_of_piece(self) -> int | None:
        """The index just behind the piece: its closing mark, without the white space that follows."""
        text = self._text
        for index, character in enumerate(text):
            if not character.isspace() or not text[:index].strip():
                continue
            before = text[:index].rstrip(_CLOSERS)
            words = len(before.split())
            if not before:
                continue
            if before[-1] in _SENTENCE and not _abbreviation(before):
                return index
            if before[-1] in _CLAUSE and words >= (self._first_words if self._first else self._long_words):
                return index
            if self._first and words >= self._first_limit:
                return index
        return None


def _abbreviation(text: str) -> bool:
    """Whether the final full stop belongs to a title or an initial ("Dr.", "J.") and ends no sentence."""
    last = text.rsplit(None, 1)[-1]
    return last in ("Dr.", "Mr.", "Mrs.", "Ms.", "Prof.", "St.") or (
        len(last) == 2 and last[0].isupper() and last != "I."
    )


class Clauses(FrameProcessor):
    """Stands between memory and voice: tokens in, pieces out that say which part of which utterance they are."""

    def __init__(self, cutter: ClauseCutter | None = None) -> None:
        super().__init__()
        self._cutter = cutter or ClauseCutter()
        self._utterance: Utterance | None = None
        self._sent = 0  # characters of it that went to the voice

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame) and not frame.skip_tts:
            for piece in self._cutter.feed(frame.text):
                await self._speak(piece)
            return
        ended: Utterance | None = None
        if isinstance(frame, LLMFullResponseStartFrame | InterruptionFrame):
            self._cutter.reset()
            self._utterance, self._sent = frame.metadata.get("utterance"), 0
        elif isinstance(frame, LLMFullResponseEndFrame):
            rest = self._cutter.flush()
            broken = frame.metadata.get(BROKEN_OFF)
            if rest and (broken is None or (broken == "limit" and not self._sent)):
                await self._speak(rest)
            elif broken and self._utterance:
                self._utterance.text = self._utterance.text[: self._sent]
            if broken and self._utterance:
                await self.push_frame(Kept(self._utterance), FrameDirection.UPSTREAM)
            ended, self._utterance = self._utterance, None
        elif isinstance(frame, Say):
            ended = frame.utterance
        await self.push_frame(frame, direction)
        if ended:
            await self.push_frame(UtteranceEnd(ended))

    async def _speak(self, piece: str) -> None:
        # The piece keeps its leading space: vendors join the pieces of an utterance verbatim.
        if self._utterance is None:
            await self.push_frame(AggregatedTextFrame(piece, TextType.SENTENCE, raw_text=piece))
            return
        self._sent += len(piece)
        await self.push_frame(
            Piece(piece, TextType.SENTENCE, raw_text=piece, utterance=self._utterance, end=self._sent)
        )
