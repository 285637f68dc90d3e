"""The `flite` program as a voice: one sentence in, samples and true word boundaries out.

flite prints the phones of what it speaks with their end times, and the spoken words, but not which phones
belong to which word. So the words and phones of each written word are asked for on their own too (cheap, and
kept), and aligned with those of the whole sentence: an edit-distance alignment, since context changes a few
of them ("the apple", "Dr." before a name, "$5 million"). Nothing is guessed: flite printed every boundary.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from callwright.simulators.errors import SimulatorError

VOICES = (
    "slt",
    "rms",
    "awb",
    "kal16",
)  # US English, 16 kHz; "kal" is 8 kHz, "awb_time" can only tell the time
_QUICK_VOICE = "kal"  # shares text analysis and dictionary with the others and is ten times as fast
_TIMEOUT_S = 30.0
_PAUSE = "pau"
_VOWELS = frozenset(["aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"])
_ALONE_LIMIT = 20_000

Cost = Callable[[str, str], float]


class Flite:
    """Blocking; meant for a worker thread. Raises SimulatorError when the program fails."""

    name = "flite"
    voices: tuple[str, ...] = VOICES
    default_voice = "slt"

    def __init__(self, program: str) -> None:
        self._program = program
        self._words_alone: dict[str, tuple[str, ...]] = {}
        self._phones_alone: dict[str, tuple[str, ...]] = {}

    def render(
        self, words: Sequence[str], voice: str, speed: float
    ) -> tuple[NDArray[np.int16], int, list[tuple[float, float]]]:
        """Samples, their rate, and (start, end) in seconds of each of `words`.

        `words` are ASCII and hold no whitespace; one in which flite finds nothing to say gets an empty span
        at the end of the word before it.
        """
        text = " ".join(words)
        with tempfile.TemporaryDirectory(prefix="callwright-flite-") as folder:
            file = Path(folder, "speech.wav")
            stretch = ["--setf", f"duration_stretch={1 / speed:.4f}"] if speed != 1 else []
            printed = self._run("-voice", voice, *stretch, "-psdur", "-t", text, "-o", str(file))
            with wave.open(str(file)) as recorded:
                rate = recorded.getframerate()
                pcm = np.frombuffer(recorded.readframes(recorded.getnframes()), dtype=np.int16)
        phones: list[tuple[str, float, float]] = []
        start = 0.0
        for item in printed.split():
            name, _, end = item.rpartition(":")
            if name != _PAUSE:
                phones.append((name, start, float(end)))
            start = float(end)
        spoken = self._run("-voice", _QUICK_VOICE, "-pw", "-t", text, "-o", "none").split()
        self._look_up(words, "-pw", self._words_alone)
        self._look_up(spoken, "-ps", self._phones_alone)
        phones_of_spoken = partition(
            [self._phones_alone.get(word, ()) for word in spoken],
            [name for name, _, _ in phones],
            _phone_cost,
        )
        spoken_of_written = partition([self._words_alone.get(word, ()) for word in words], spoken, _word_cost)
        spans: list[tuple[float, float]] = []
        latest = 0.0
        for first, last in spoken_of_written:
            own = phones[phones_of_spoken[first][0] : phones_of_spoken[last - 1][1]] if last > first else []
            spans.append((own[0][1], own[-1][2]) if own else (latest, latest))
            latest = spans[-1][1]
        return pcm, rate, spans

    def _look_up(self, items: Sequence[str], option: str, known: dict[str, tuple[str, ...]]) -> None:
        """Fill `known` with what flite makes of each new item when it stands alone."""
        new = sorted({item for item in items if item not in known})
        if not new:
            return
        if len(known) > _ALONE_LIMIT:
            known.clear()
        with tempfile.TemporaryDirectory(prefix="callwright-flite-") as folder:
            file = Path(folder, "words.txt")
            # An empty line ends an utterance, and each utterance is printed on a line of its own. A word that
            # flite itself splits ("hi.There") would shift the rest: after such a surprise each goes alone.
            file.write_text("".join(f"{item}\n\n" for item in new), encoding="ascii", errors="ignore")
            lines = self._run("-voice", _QUICK_VOICE, option, "-f", str(file), "-o", "none").splitlines()
        if len(lines) != len(new):
            lines = [
                " ".join(self._run("-voice", _QUICK_VOICE, option, "-t", item, "-o", "none").split()) for item in new
            ]
        for item, line in zip(new, lines, strict=True):
            known[item] = tuple(symbol for symbol in line.split() if symbol != _PAUSE)

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self._program, *arguments],
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SimulatorError(f"{self._program} did not run ({type(error).__name__}); try it by hand") from error
        if done.returncode != 0:
            raise SimulatorError(
                f"{self._program} failed with exit code {done.returncode}; "
                "check that the package is whole: apt-get install --reinstall flite"
            )
        return done.stdout.decode("ascii", "replace")


def _word_cost(expected: str, actual: str) -> float:
    return 0.0 if expected == actual else 1.0


def _phone_cost(expected: str, actual: str) -> float:
    if expected == actual:
        return 0.0
    # Reduced vowels are the usual difference ("the", "a", "to"); a vowel is never heard for a consonant.
    if (expected in _VOWELS) != (actual in _VOWELS):
        return 1.9
    return 0.5 if actual in _VOWELS else 1.2


def partition(groups: Sequence[Sequence[str]], actual: Sequence[str], cost: Cost) -> list[tuple[int, int]]:
    """Cut `actual` into consecutive runs, one per group, each as like its group as possible.

    Returns (first, last + 1) indices of each run. The whole of `actual` is given out unless all groups are
    empty; a group that expects something goes empty only if there are not enough symbols to go round.
    """
    expected = [(symbol, number) for number, group in enumerate(groups) for symbol in group]
    rows, columns = len(expected), len(actual)
    best = [[float(row + column) for column in range(columns + 1)] for row in range(rows + 1)]
    for row in range(1, rows + 1):
        symbol = expected[row - 1][0]
        above, here = best[row - 1], best[row]
        for column in range(1, columns + 1):
            here[column] = min(
                here[column - 1] + 1, above[column] + 1, above[column - 1] + cost(symbol, actual[column - 1])
            )
    owner = [0] * columns
    row, column = rows, columns
    while column > 0:
        # A symbol nobody expects goes to the group before it ("$5 | million dollars").
        if row == 0 or best[row][column] >= best[row][column - 1] + 1 - 1e-9:
            column -= 1
            owner[column] = expected[max(row - 1, 0)][1] if expected else 0
        elif best[row][column] >= best[row - 1][column] + 1 - 1e-9:
            row -= 1
        else:
            row, column = row - 1, column - 1
            owner[column] = expected[row][1]
    runs = [[number for number, group in enumerate(owner) if group == index] for index in range(len(groups))]
    for index, group in enumerate(groups):
        if group and not runs[index]:
            if index > 0 and len(runs[index - 1]) > 1:
                runs[index].append(runs[index - 1].pop())
            elif index + 1 < len(runs) and len(runs[index + 1]) > 1:
                runs[index].append(runs[index + 1].pop(0))
    cuts: list[tuple[int, int]] = []
    latest = 0
    for run in runs:
        cuts.append((run[0], run[-1] + 1) if run else (latest, latest))
        latest = cuts[-1][1]
    return cuts
