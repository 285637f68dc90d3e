"""The scenes of `bench faults`: what goes wrong, in which stage, at which moment. Pure.

A call has six questions; two of them, never neighbours, are met by the row's fault. The others say what a turn of
that call takes when nothing is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from callwright.bench.conversation import VOICES
from callwright.bench.silence_scenes import RULES, draws
from callwright.simulators import brain_rules
from callwright.simulators.account import AccountSettings, Served
from callwright.simulators.faults import POSSIBLE, Fault

TURNS = 6
FAULTS = 2
"""Of a call; more would leave too few turns to compare with."""

_STATUS: dict[str, tuple[int, float | None]] = {"401": (401, None), "429": (429, 5.0), "500": (500, None)}
"""A permanent error, one that asks for a wait that no caller bears, and a passing one."""

_AFTER = {"stt": 1, "llm": 8, "tts": 10}
"""Moment "within": so many messages in, which is a first interim result, some words, a second of speech."""


@dataclass(frozen=True)
class Scene:
    """One row: the faults that are ordered just before the caller speaks, the first one to strike first."""

    name: str
    stage: str
    moment: str
    faults: tuple[Fault, ...]

    def settings(self, seed: int) -> AccountSettings:
        """How the vendors behave towards one call: their usual delays."""
        return AccountSettings(seed=draws(self.name, seed), ears="oracle", brain_rules=str(RULES), keep_speech=True)

    def strikes(self, served: Iterable[Served]) -> int:
        """How often the row's fault has struck, by the vendor's own log; an ordered one may find nothing to strike."""
        last = self.faults[-1]
        return sum(
            line.what == "fault"
            and line.stage == last.stage
            and (line.detail.get("kind"), line.detail.get("moment")) == (last.kind, last.moment)
            for line in served
        )


def _scenes() -> Iterator[Scene]:
    for (stage, moment), kinds in POSSIBLE.items():
        for kind in kinds:
            for label, (status, retry_after) in _STATUS.items() if kind == "status" else ((kind, (None, None)),):
                fault = Fault(
                    stage=stage,
                    kind=kind,
                    moment=moment,
                    status=status,
                    retry_after=retry_after,
                    after=_AFTER[stage] if moment == "within" else 0,
                )
                # A socket that is open meets what happens at the door only once it has been lost.
                socket = moment == "connect" and (stage, "idle") in POSSIBLE
                lost = (Fault(stage=stage, kind="drop", moment="idle"),) if socket else ()
                faults = (*lost, fault)
                yield Scene(f"{stage}-{moment}-{label}", stage, moment, faults)


SCENES = {scene.name: scene for scene in _scenes()}
ROWS = tuple(SCENES)


@dataclass(frozen=True)
class Question:
    """What the caller asks, all that the model answers, and whether the fault meets it."""

    text: str
    answer: str
    faulted: bool


@dataclass(frozen=True)
class Script:
    """The caller's side of one call."""

    voice: str
    questions: tuple[Question, ...]


def script(scene: Scene, seed: int) -> Script:
    """The questions of a call; the first is never met by a fault, nor are two in a row."""
    rules = brain_rules.load(RULES)
    said = {rule.name: rule.say for rule in rules.rules}
    topics = {name: phrases[0] for name, phrases in rules.slots["topic"].choices.items()}
    rng = random.Random(f"faults/{scene.name}/{seed}")
    chosen = rng.sample(list(topics), TURNS)
    first = rng.randint(1, 3)
    met = (first, rng.randint(first + 2, TURNS - 1))
    return Script(
        rng.choice(VOICES),
        tuple(
            Question(f"What do you know about the {topics[name]}?", said[f"know {name}"], number in met)
            for number, name in enumerate(chosen)
        ),
    )
