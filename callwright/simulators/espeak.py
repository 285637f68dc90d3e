"""The `espeak-ng` program as a voice, for machines without flite.

The program tells nobody where its words lie, so each word is rendered on its own and the words are set side
by side: stilted, and every boundary is true. Run as a program, never linked (it is GPL, this is not).
"""

from __future__ import annotations

import io
import subprocess
import wave
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from callwright.simulators.errors import SimulatorError

VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb+m3")
_RATE = 22050  # what espeak-ng renders at
_WORDS_PER_MINUTE = 165
_GAP_MS = 20
_CLAUSE_GAP_MS = 160
_SENTENCE_GAP_MS = 280
_AUDIBLE = 100  # of 32768
_TIMEOUT_S = 30.0


class Espeak:
    """Blocking; meant for a worker thread. Raises SimulatorError when the program fails."""

    name = "espeak-ng"
    voices: tuple[str, ...] = VOICES
    default_voice = "en-us"

    def __init__(self, program: str) -> None:
        self._program = program
        self._alone: dict[tuple[str, str, float], NDArray[np.int16]] = {}

    def render(
        self, words: Sequence[str], voice: str, speed: float
    ) -> tuple[NDArray[np.int16], int, list[tuple[float, float]]]:
        """Samples, their rate, and (start, end) in seconds of each of `words`; see `Flite.render`."""
        pieces: list[NDArray[np.int16]] = []
        spans: list[tuple[float, float]] = []
        position = 0
        for word in words:
            pcm = self._word(word, voice, speed)
            spans.append((position / _RATE, (position + len(pcm)) / _RATE))
            gap_ms = _SENTENCE_GAP_MS if word[-1:] in ".?!" else _CLAUSE_GAP_MS if word[-1:] in ",;:" else _GAP_MS
            gap = np.zeros(int(_RATE * gap_ms / 1000 / speed) if len(pcm) else 0, dtype=np.int16)
            pieces += [pcm, gap]
            position += len(pcm) + len(gap)
        return np.concatenate([np.zeros(0, dtype=np.int16), *pieces]), _RATE, spans

    def _word(self, word: str, voice: str, speed: float) -> NDArray[np.int16]:
        key = (word, voice, speed)
        pcm = self._alone.get(key)
        if pcm is None:
            if len(self._alone) > 5_000:
                self._alone.clear()
            pcm = self._alone[key] = _trimmed(self._run(word, voice, speed))
        return pcm

    def _run(self, text: str, voice: str, speed: float) -> NDArray[np.int16]:
        pace = str(round(_WORDS_PER_MINUTE * speed))
        try:
            done = subprocess.run(
                [self._program, "-v", voice, "-s", pace, "--stdin", "--stdout"],
                input=text.encode(),
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SimulatorError(f"{self._program} did not run ({type(error).__name__}); try it by hand") from error
        if done.returncode != 0:
            raise SimulatorError(
                f"{self._program} failed with exit code {done.returncode}; "
                "check that the package is whole: apt-get install --reinstall espeak-ng"
            )
        if len(done.stdout) <= 44:
            return np.zeros(0, dtype=np.int16)
        with wave.open(io.BytesIO(done.stdout)) as recorded:
            return np.frombuffer(recorded.readframes(recorded.getnframes()), dtype=np.int16)


def _trimmed(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    audible = np.flatnonzero(np.abs(pcm.astype(np.int32)) > _AUDIBLE)
    return pcm[audible[0] : audible[-1] + 1] if len(audible) else pcm[:0]
