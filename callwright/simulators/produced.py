"""What a voice really produced: the audio that was sent to the client, and where each word lies in it.

Kept on request (`AccountSettings.keep_speech`), whether or not the vendor tells the client of word times: a judge
of what a caller heard needs the truth of the source.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, TypeAdapter

from callwright.simulators.encodings import Samples


class ProducedWord(BaseModel):
    """A written word, punctuation included; samples from the first one of its context. `end` is where the voice says
    it ends, even beyond what was sent. `start == end` for a word in which there is nothing to say (a lone dash)."""

    model_config = ConfigDict(frozen=True)

    text: str
    start: int
    end: int
    whole: bool  # all of its audio was sent


class Produced(BaseModel):
    """One context (utterance) of a voice, as far as it was sent; `context_id` is that of the log (`Served`).

    In JSON `pcm` is URL-safe base64.
    """

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    context_id: str
    text: str  # all that was asked for, verbatim, sent or not
    rate: int  # Hz
    pcm: bytes  # s16le mono, before the client's encoding; leading silence and pauses included
    words: tuple[ProducedWord, ...]  # those whose audio has begun, in order
    at: float | None  # `time.monotonic()` of the server when the first chunk was sent; None: nothing was


SPEECH = TypeAdapter(list[Produced])


class Production:
    """Collects what one context produces; `so_far` may be asked for at any time."""

    def __init__(self, context_id: str, rate: int) -> None:
        self._context_id = context_id
        self._rate = rate
        self._text = ""
        self._pcm = bytearray()
        self._words: list[tuple[str, int, int]] = []
        self._at: float | None = None

    def asked(self, text: str) -> None:
        self._text += text

    def planned(self, words: Iterable[tuple[str, int, int]]) -> None:
        """Words of audio about to be sent: (text, start, end), in samples from the beginning of the context."""
        self._words.extend(words)

    def sent(self, audio: Samples, now: float) -> None:
        if self._at is None:
            self._at = now
        self._pcm += audio.astype("<i2", copy=False).tobytes()

    def so_far(self) -> Produced:
        sent = len(self._pcm) // 2
        begun = [word for word in self._words if word[1] < sent or word[2] <= sent]
        return Produced(
            context_id=self._context_id,
            text=self._text,
            rate=self._rate,
            pcm=bytes(self._pcm),
            words=tuple(ProducedWord(text=text, start=start, end=end, whole=end <= sent) for text, start, end in begun),
            at=self._at,
        )
