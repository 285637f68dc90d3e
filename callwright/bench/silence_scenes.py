"""The scenes of `bench silence`: what the caller has the desk ask, of whom, and when the caller speaks up meanwhile.

Pure: a row and a seed make the caller's lines, the same for every system and in every process.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from pathlib import Path

from callwright.bench.conversation import VOICES
from callwright.bench.scenes.silence import TAKES_S
from callwright.simulators import brain_rules
from callwright.simulators.account import AccountSettings

SCRIPT = Path(__file__).with_name("scenes") / "silence.py"
RULES = SCRIPT.with_name("silence.rules.yaml")

PER_CALL = 6
"""Lines of a call, those that talk over the agent not counted: as many as a call of a minute or two has."""

EARLIEST_S = 0.3
LATEST_S = 4.0
"""A caller speaks up so long after the order at the earliest, and so long after the tool's end at the latest: while
the model is asked, while the tool runs, and while its result is being told."""

_OPENERS = ("Hello", "And now", "Next", "Good", "Thank you", "All right")


def draws(row: str, seed: int) -> int:
    """The seed of the vendors' delays in a call: another in each row, the same for every system."""
    return zlib.crc32(f"{row}/{seed}".encode())


@dataclass(frozen=True)
class Scene:
    """One row. `whom` is None where nobody is asked, or where that differs from line to line.

    `own_words`: the model says something itself before it calls the tool. `at_times`: in about half of the lines,
    chosen at random, nobody is asked.
    """

    name: str
    what: str
    whom: str | None = None
    questions: int = 1
    own_words: bool = False
    interrupted: bool = False
    at_times: bool = False

    def settings(self, seed: int) -> AccountSettings:
        """How the vendors behave towards one call: their usual delays."""
        return AccountSettings(seed=draws(self.name, seed), ears="oracle", brain_rules=str(RULES), keep_speech=True)


SCENES = {
    scene.name: scene
    for scene in (
        Scene("plain", "no tool"),
        *(Scene(f"tool{round(s * 1000)}", f"a tool of {s:g} s", whom) for whom, s in TAKES_S.items()),
        *(Scene(f"parallel{n}", f"{n} tools of 2 s in one reply", "harbor", n) for n in (2, 3, 4)),
        Scene("preamble", "a tool of 4 s; the model says some words first", "ministry", own_words=True),
        Scene("mixed", "a tool of 4 s, or none", "ministry", at_times=True),
        Scene("interrupted", "one to four tools of 0.2 to 8 s; the caller speaks up meanwhile", interrupted=True),
    )
}
ROWS = tuple(SCENES)


@dataclass(frozen=True)
class Line:
    """One thing the caller says, and what it is to lead to.

    `barge` is said `barge_s` seconds after the line has left the caller, whatever the agent does; "" if nothing is.
    """

    text: str
    topic: str
    takes_s: float
    questions: int
    barge: str = ""
    barge_s: float = 0.0


@dataclass(frozen=True)
class Script:
    """The caller's side of one call."""

    voice: str
    lines: tuple[Line, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """All that the caller says, in order."""
        return tuple(text for line in self.lines for text in (line.text, line.barge) if text)


def script(scene: Scene, seed: int, size: int = PER_CALL) -> Script:
    """The lines of a call, `size` of them; no topic comes twice in it. ValueError if there are not enough."""
    slots = brain_rules.load(RULES).slots
    topics = {name: phrases[0] for name, phrases in slots["topic"].choices.items()}
    if 2 * size > len(topics):
        raise ValueError(f"a call has at most {len(topics) // 2} lines, not {size}")
    offices = {name: phrases[0] for name, phrases in slots["whom"].choices.items()}
    rng = random.Random(f"silence/{scene.name}/{seed}")
    chosen = rng.sample(list(topics), 2 * size)
    lines = []
    for number in range(size):
        topic = chosen[number]
        whom = rng.choice(list(TAKES_S)) if scene.interrupted else scene.whom
        if scene.at_times and rng.random() < 0.5:
            whom = None
        questions = rng.randint(1, 4) if scene.interrupted else scene.questions
        opener = "Hello" if number == 0 else rng.choice(_OPENERS[1:])
        if whom is None:
            lines.append(Line(f"{opener}, what do you know about the {topics[topic]}?", topic, 0.0, 0))
            continue
        asking = "would you kindly ask" if scene.own_words else "please ask"
        many = "" if questions == 1 else f"{('two', 'three', 'four')[questions - 2]} questions "
        text = f"{opener}, {asking} the {offices[whom]} {many}about the {topics[topic]}."
        takes_s = TAKES_S[whom]
        barge, barge_s = "", 0.0
        if scene.interrupted:
            other = topics[chosen[size + number]]
            barge = rng.choice(
                ("Are you still there?", f"Sorry, please ask the {offices['reception']} about the {other}.")
            )
            barge_s = rng.uniform(EARLIEST_S, takes_s + LATEST_S)
        lines.append(Line(text, topic, takes_s, questions, barge, barge_s))
    return Script(rng.choice(VOICES), tuple(lines))
