"""Ears: a stream of samples in, words with their times out.

Two kinds behind one protocol: pocketsphinx really listens; the oracle was told by the caller's script what is
being said, and lets each word out when the audio in which it lies has arrived. Vendors' protocols sit on top.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from callwright.simulators.account import Account, Utterance
from callwright.simulators.activity import RATE, Activity
from callwright.simulators.recogniser import HeardWord, Recogniser, Recognisers

Words = tuple[HeardWord, ...]

_SLICE = RATE // 10  # so that at most one sound begins within what is looked at at once
_PREROLL = RATE * 3 // 10  # samples before the onset that the recogniser is given too
_WORD_TOLERANCE_S = 0.1  # a word counts as arrived this much before its end: the onset is found a little late
_LATE_NEWS = RATE  # an announcement may come this long after the sound it is about began
_UTTERANCE_TAIL_S = 0.05


class Ears(Protocol):
    """One stream at 16 kHz. Times of words are seconds from the beginning of the stream."""

    name: str
    activity: Activity

    async def feed(self, samples: NDArray[np.int16]) -> None: ...

    async def hypothesis(self) -> Words:
        """The words since the last `finish`, as far as they are known."""
        ...

    async def finish(self) -> Words:
        """End the segment here: its words for good. What comes next belongs to the next segment."""
        ...

    async def aclose(self) -> None: ...


async def open_ears(account: Account, recognisers: Recognisers) -> Ears:
    """The ears that the account's settings name."""
    if account.settings.ears == "oracle":
        return OracleEars(account)
    ears = PocketSphinxEars(recognisers)
    await ears.prepare()
    return ears


class PocketSphinxEars:
    """Recognises speech. Only sound, with a little silence around it, goes to the recogniser."""

    name = "pocketsphinx"

    def __init__(self, recognisers: Recognisers) -> None:
        self.activity = Activity()
        self._pool = recognisers
        self._recogniser: Recogniser | None = None
        self._held: deque[NDArray[np.int16]] = deque()  # the latest silence
        self._held_samples = 0
        self._received = 0
        self._segment_start: int | None = None
        self._finished_at = 0  # stream position where the latest segment ended
        self._voiced = Voicing()

    async def prepare(self) -> None:
        """Have the recogniser load its models (0.4 s) before there is anything to hear."""
        await self._ready()

    async def feed(self, samples: NDArray[np.int16]) -> None:
        for at in range(0, len(samples), _SLICE):
            await self._feed(samples[at : at + _SLICE])

    async def _feed(self, samples: NDArray[np.int16]) -> None:
        self.activity.push(samples)
        self._received += len(samples)
        if self._segment_start is None:
            self._held.append(samples)
            self._held_samples += len(samples)
            while self._held and self._held_samples - len(self._held[0]) >= _PREROLL:
                self._held_samples -= len(self._held.popleft())
            if self.activity.onset < self._finished_at and not self.activity.sounding:
                return
            self._segment_start = self._received - self._held_samples
            recogniser = await self._ready()
            await recogniser.begin()
            samples = np.concatenate(list(self._held))
            self._held.clear()
            self._held_samples = 0
            self._voiced = Voicing()
        self._voiced.push(samples)
        await (await self._ready()).feed(samples.astype("<i2", copy=False).tobytes())

    async def hypothesis(self) -> Words:
        if self._segment_start is None:
            return ()
        return self._placed(await (await self._ready()).hypothesis())

    async def finish(self) -> Words:
        if self._segment_start is None:
            return ()
        words = self._placed(await (await self._ready()).finish())
        self._segment_start = None
        self._finished_at = self.activity.position
        return words

    async def aclose(self) -> None:
        if self._recogniser is None:
            return
        recogniser, self._recogniser = self._recogniser, None
        self._pool.give_back(recogniser)

    async def _ready(self) -> Recogniser:
        if self._recogniser is None:
            self._recogniser = await self._pool.borrow()
            await self._recogniser.new_stream()
        return self._recogniser

    def _placed(self, words: Words) -> Words:
        if not self._voiced.enough:
            return ()  # a cough, a click, a rustle: the recogniser would make "if" of it
        begin = (self._segment_start or 0) / RATE
        return tuple(HeardWord(word.text, word.start + begin, word.end + begin, word.confidence) for word in words)


class Voicing:
    """Whether a segment holds a voice: enough of its frames repeat at the pitch of one. Noise does not repeat."""

    _FRAME = RATE * 3 // 100
    _LAGS = slice(RATE // 400, RATE // 70)  # pitch of 70 to 400 Hz
    _PERIODIC = 0.55  # of the frame's own energy
    _NEEDED = 3  # frames of 30 ms; one syllable has that many

    def __init__(self) -> None:
        self._rest: NDArray[np.int16] = np.zeros(0, dtype=np.int16)
        self._found = 0

    @property
    def enough(self) -> bool:
        return self._found >= self._NEEDED

    def push(self, samples: NDArray[np.int16]) -> None:
        if self.enough:
            return
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // self._FRAME
        self._rest = samples[count * self._FRAME :]
        for frame in samples[: count * self._FRAME].reshape(count, self._FRAME).astype(np.float64):
            frame = frame - frame.mean()
            if (frame**2).mean() < 200**2:
                continue
            spectrum = np.fft.rfft(frame, 2 * self._FRAME)
            repeats = np.fft.irfft(np.abs(spectrum) ** 2)
            # The overlap shrinks with the lag, so the peak is held against a shrunken whole.
            overlap = 1 - np.arange(self._FRAME) / self._FRAME
            ratio = repeats[self._LAGS] / (repeats[0] * overlap[self._LAGS])
            self._found += int(ratio.max() >= self._PERIODIC)


class OracleEars:
    """Knows what the caller says (`Account.announce`), but not before it arrives.

    The first sound after silence belongs to the next utterance announced since the stream began, whatever other
    streams have heard; where there is none yet, a stream's first sound is the newest from before, given to it again.
    A word is out once the audio received since that onset has passed the word's end. What never arrived (the caller
    hung up) is never heard.
    """

    name = "oracle"

    def __init__(self, account: Account) -> None:
        self.activity = Activity()
        self._account = account
        self._utterance: Utterance | None = None
        self._next = len(account.utterances)  # number of the utterance that is to be heard next
        self._first = True  # no utterance has been heard on this stream
        self._zero = 0  # stream position of the utterance's first sample
        self._given = 0  # words of the utterance that earlier segments had
        self._earlier: list[HeardWord] = []  # words of this segment from utterances before this one
        self._settled_onset = -1  # the onset for which an utterance has been found, or no longer is looked for

    async def feed(self, samples: NDArray[np.int16]) -> None:
        for at in range(0, len(samples), _SLICE):
            self._hear(samples[at : at + _SLICE])

    def _hear(self, samples: NDArray[np.int16]) -> None:
        self.activity.push(samples)
        onset = self.activity.onset
        if onset == self._settled_onset:
            return
        if self._utterance is not None:
            if (onset - self._zero) / RATE <= self._utterance.duration + _UTTERANCE_TAIL_S:
                self._settled_onset = onset  # sound after a pause within the utterance
                return
            self._earlier += self._arrived()[self._given :]
            self._utterance = None
        heard = self._account.next_utterance(self._next, again=self._first)
        if heard is not None:
            number, self._utterance = heard
            self._next, self._first = number + 1, False
            first = self._utterance.words[0].start if self._utterance.words else 0.0
            self._zero = onset - round(first * RATE)
            self._given = 0
            self._settled_onset = onset
        elif self.activity.position - onset > _LATE_NEWS:
            self._settled_onset = onset

    def _arrived(self) -> Words:
        if self._utterance is None:
            return ()
        heard_s = (self.activity.position - self._zero) / RATE
        begin = self._zero / RATE
        written = self._utterance.text.split()
        spoken = self._utterance.words
        texts = written if len(written) == len(spoken) else [word.word for word in spoken]
        return tuple(
            HeardWord(text, begin + word.start, begin + word.end, 1.0)
            for text, word in zip(texts, spoken, strict=True)
            if word.end - _WORD_TOLERANCE_S <= heard_s
        )

    async def hypothesis(self) -> Words:
        return (*self._earlier, *self._arrived()[self._given :])

    async def finish(self) -> Words:
        words = await self.hypothesis()
        self._earlier.clear()
        self._given = len(self._arrived())
        return words

    async def aclose(self) -> None:
        return
