"""The scenes of `bench heard`: how the agent answers, how its voice behaves, and where it is talked over.

Pure: a scene and a seed make the caller's lines, the same for every system and in every process.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from callwright.bench.conversation import VOICES
from callwright.bench.scenes.heard import FILLER, TOOL_S
from callwright.bench.systems.protocol import VoiceVendor
from callwright.simulators import brain_rules
from callwright.simulators.account import AccountSettings
from callwright.simulators.faults import Fault

SCRIPT = Path(__file__).with_name("scenes") / "heard.py"
RULES = SCRIPT.with_name("heard.rules.yaml")

WORDS_PER_S = 2.9
"""Of the voice `slt` with these texts; only where in an answer the caller speaks up depends on it."""

THINK_S = 1.1
"""From a tool's result to the next sound: the usual first-token and first-audio delays, and the voice's leading
silence."""

SOON_S = 1.5
"""The second of two interruptions in a row falls within so much of the answer."""

EDGE_S = 0.1

_OPENERS = ("No wait", "Stop please and", "Hold on", "Sorry", "Actually", "Wait", "No please", "Excuse me")
_ASK = {
    "at length": "tell me about the {topic}",
    "briefly": "tell me briefly about the {topic}",
    "check": "please check the {topic}",
    "search": "please search for the {topic}",
}
Manner = Literal["at length", "briefly", "check", "search"]


@dataclass(frozen=True)
class Point:
    """Where the caller speaks up: `s` seconds from the `mark` of the answer's sound.

    What falls there is the caller's first sample; with `silence` it is the agent's falling silent, as well as it
    can be foreseen from how long that took before.
    """

    s: float
    mark: Literal["start", "end"] = "start"
    silence: bool = False


@dataclass(frozen=True)
class Stretch:
    """An answer as it is expected to sound (s): its length, and where the voice's fault begins and ends."""

    length_s: float
    fault_s: tuple[float, float] = (0.0, 0.0)


Aim = Callable[[random.Random, int, Stretch], Point]
"""The point for the n-th interruption of a call."""


def anywhere(rng: random.Random, _: int, answer: Stretch) -> Point:
    return Point(rng.uniform(0, answer.length_s))


def _edge(mark: Literal["start", "end"]) -> Aim:
    def aim(rng: random.Random, number: int, _: Stretch) -> Point:
        at = rng.uniform(0, EDGE_S)
        return Point(at if mark == "start" else -at, mark, silence=number % 2 == 1)

    return aim


def _in_a_row(rng: random.Random, number: int, answer: Stretch) -> Point:
    return Point(rng.uniform(0, SOON_S if number % 2 else answer.length_s))


def _about_the_fault(rng: random.Random, number: int, answer: Stretch) -> Point:
    begin, end = answer.fault_s
    spans = ((0.0, begin), (begin, end), (end, answer.length_s))
    return Point(rng.uniform(*spans[number % 3]))


def _in_the_hang(rng: random.Random, _: int, answer: Stretch) -> Point:
    begin, end = answer.fault_s
    return Point(rng.uniform(begin - 0.4, end - 1.0))


@dataclass(frozen=True)
class Scene:
    """One row. `aim` is None where nobody is interrupted.

    `pace` is how much faster than real time the voice delivers (0: all at once), `stall_s` how long it stops in
    the middle of every answer; in a hang it does not heed a cancel meanwhile.
    """

    name: str
    what: str
    manner: Manner = "at length"
    aim: Aim | None = anywhere
    pace: float = 3.0
    stall_s: float = 0.0
    stall: Literal["stall", "hang"] = "stall"
    tts: VoiceVendor = "cartesia"
    queue_ms: int | None = None

    def settings(self, seed: int) -> AccountSettings:
        """How the vendors behave towards one call."""
        return AccountSettings(seed=seed, ears="oracle", brain_rules=str(RULES), keep_speech=True, tts_pace=self.pace)


_INTERRUPTED = (
    Scene("default", "long answers, anywhere"),
    Scene("fast", "the voice delivers all at once", pace=0),
    Scene("slow", "the voice delivers at 0.8 of real time", pace=0.8),
    Scene("stall", "the voice stalls for 1.5 s: before, in and after it", pace=1.0, stall_s=1.5, aim=_about_the_fault),
    Scene("preamble", "some words, a tool of 0.8 s, the answer", "check"),
    Scene("filler", "a tool that says a filler and takes 0.8 s, the answer", "search"),
    Scene("short", "four short sentences", "briefly"),
    Scene("untimed", "a voice without word timestamps", tts="deepgram"),
    Scene("first100", "caller or silence in the first 100 ms", aim=_edge("start")),
    Scene("last100", "caller or silence in the last 100 ms", aim=_edge("end")),
    Scene("twice", "two in a row, the second within 1.5 s", aim=_in_a_row),
    Scene("queue50", "50 ms in the room's queue", queue_ms=50),
    Scene("queue400", "400 ms in the room's queue", queue_ms=400),
    Scene("queue1000", "1000 ms in the room's queue", queue_ms=1000),
    Scene("hang", "the voice hangs for 5 s, interrupted then", pace=1.0, stall_s=5.0, stall="hang", aim=_in_the_hang),
)
_SPECIAL_AIMS = ("first100", "last100", "twice")  # otherwise as `default`
WHOLE = tuple(replace(scene, aim=None) for scene in _INTERRUPTED if scene.name not in _SPECIAL_AIMS)
SCENES = {scene.name: scene for scene in _INTERRUPTED}
ROWS = (*SCENES, "whole")
"""What can be asked for. `whole` lets answers be heard to the end, a call in each of the scenes in turn."""


def scene(row: str, call: int) -> Scene:
    """The scene of a row's n-th call."""
    return WHOLE[call % len(WHOLE)] if row == "whole" else SCENES[row]


@dataclass(frozen=True)
class Line:
    """One thing the caller says, and what the agent is to answer.

    `topic` are the words by which the question is known again; `expected` is all that the model will say about it
    (`filler` aside). `point` says where in that answer the next line begins, None after its end. `fault` strikes
    the voice in it.
    """

    text: str
    topic: str
    expected: str
    filler: str = ""
    point: Point | None = None
    fault: Fault | None = None


@dataclass(frozen=True)
class Script:
    """The caller's side of one call; the last line is there for the request that it makes."""

    voice: str
    lines: tuple[Line, ...]


def script(scene: Scene, seed: int, answers: int) -> Script:
    """The lines of a call in which `answers` answers are judged. ValueError if there are not so many topics."""
    rules = brain_rules.load(RULES)
    topics = {name: phrases[0] for name, phrases in rules.slots["topic"].choices.items()}
    if answers >= len(topics):
        raise ValueError(f"a call can judge at most {len(topics) - 1} answers, not {answers}")
    said = {rule.name: rule.say for rule in rules.rules}
    rng = random.Random(f"heard/{scene.name}/{seed}")
    # From the end of the rules to their beginning: of two topics in one message the first in the rules is answered.
    chosen = sorted(rng.sample(range(len(topics)), answers + 1), reverse=True)
    lines = []
    for number, index in enumerate(chosen):
        name, topic = list(topics.items())[index]
        answer = said[f"short {name}" if scene.manner == "briefly" else name]
        before = said[f"look into {name}"] if scene.manner == "check" else ""
        stretch, fault = _stretch(scene, rng, answer, before)
        opener = rng.choice(_OPENERS) if number else "Hello"
        lines.append(
            Line(
                text=f"{opener} {_ASK[scene.manner].format(topic=topic)}.",
                topic=topic,
                expected=f"{before} {answer}".strip(),
                filler=FILLER if scene.manner == "search" else "",
                point=scene.aim(rng, number, stretch) if scene.aim else None,
                fault=fault,
            )
        )
    return Script(rng.choice(VOICES), tuple(lines))


def _stretch(scene: Scene, rng: random.Random, answer: str, before: str) -> tuple[Stretch, Fault | None]:
    length_s = len(answer.split()) / WORDS_PER_S / min(1.0, scene.pace or 1.0)
    if scene.manner == "check":
        length_s += len(before.split()) / WORDS_PER_S + TOOL_S + THINK_S
    if scene.manner == "search":
        length_s += TOOL_S + THINK_S
    if not scene.stall_s:
        return Stretch(length_s), None
    begin_s = rng.uniform(1.0, 3.0)
    chunk_s = AccountSettings.model_fields["tts_chunk_ms"].default / 1000
    fault = Fault(stage="tts", kind=scene.stall, moment="within", after=round(begin_s / chunk_s), stall_s=scene.stall_s)
    return Stretch(length_s + scene.stall_s, (begin_s, begin_s + scene.stall_s)), fault
