"""What the fillers' thresholds cost: whole calls on a virtual clock, with the delays of slow and quick vendors.

Run as a program it prints the table in `processors/fillers.py`.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from callwright.filler_lines import BUILT_IN, Lines
from processors.fillers import Fillers, Waits

TURN_MS = 350.0
VOICE = 190.0, 360.0
MODELS = {"quick": (250.0, 400.0), "slow": (640.0, 1600.0)}
CACHED_MS = 20.0
TOOL_MS = 4000.0
LETTERS_PER_MS = 0.014


def draw(delay: tuple[float, float], rng: random.Random) -> float:
    """Log-normal, given by median and 95th percentile."""
    p50, p95 = delay
    return p50 * math.exp(rng.gauss(0.0, math.log(p95 / p50) / 1.6449))


@dataclass
class Turn:
    """What the caller hears after their last word, in ms from it. `answer` as if there were no filler."""

    tool: bool = False
    answer: float = 0.0
    sounds: list[tuple[float, float]] = field(default_factory=list)
    fillers: list[float] = field(default_factory=list)

    @property
    def longest_silence(self) -> float:
        ends = [0.0, *(end for _, end in self.sounds)]
        return max(begin - end for (begin, _), end in zip(self.sounds, ends, strict=False))


class Call:
    """One caller, one model, one voice, and the policy between them."""

    def __init__(self, waits: Waits, model: tuple[float, float], tools: float, seed: int) -> None:
        lines = BUILT_IN["en"]
        self.policy = Fillers(waits, Lines(lines.first, lines.later, lines.acknowledgements), expected=True)
        self.model = model
        self.tools = tools
        self.rng = random.Random(seed)
        self.now = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.sounding: tuple[float, float] | None = None  # the filler that sounds

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (when, next(self.order), what))

    def turn(self) -> Turn:
        start, turn, policy = self.now, Turn(), self.policy
        turn.tool = self.rng.random() < self.tools
        policy.turn_began()
        policy.caller_started()
        policy.caller_stopped(start)
        self.done = False

        def ask() -> None:
            policy.asked(self.now)
            self.at(self.now + draw(self.model, self.rng), reply)

        def reply() -> None:
            if not turn.tool or turn.answer:
                policy.wrote(self.now)
                policy.reply_ended()
                self.at(self.now + draw(VOICE, self.rng), answer)
                return
            turn.answer = -1.0
            policy.tool_started("1", ("Let me check the calendar.",), self.now)
            policy.reply_ended()
            self.at(self.now + TOOL_MS, result)

        def result() -> None:
            policy.tool_ended("1", self.now)
            ask()

        def answer() -> None:
            turn.answer = self.now - start
            if self.sounding is not None:  # the word that is being said ends, or the filler itself
                begun, end = self.sounding
                self.sounding = begun, min(end, self.now + self.rng.uniform(150.0, 450.0))
                turn.sounds[-1] = turn.sounds[-1][0], self.sounding[1] - start
                self.at(self.sounding[1], speak)
            else:
                speak()

        def speak() -> None:
            self.sounding, self.done = None, True
            policy.began(self.now, filler=False)
            turn.sounds.append((self.now - start, self.now - start))

        def begin(line: str) -> None:
            if not self.done:
                self.sounding = self.now, self.now + len(line) / LETTERS_PER_MS
                policy.began(self.now, filler=True)
                turn.fillers.append(self.now - start)
                turn.sounds.append((self.now - start, self.sounding[1] - start))
                self.at(self.sounding[1], fall_silent)

        def fall_silent() -> None:
            if self.sounding is not None and self.now >= self.sounding[1]:
                self.sounding = None
                policy.fell_silent(self.now)

        def decided() -> None:
            policy.turn_ended()
            ask()

        self.at(start + TURN_MS, decided)
        while not self.done:
            due_at = policy.due_at()
            if due_at is not None and (not self.queue or due_at < self.queue[0][0]):
                self.now = max(self.now, due_at)
                line = policy.take(self.now)
                assert line is not None
                self.at(self.now + CACHED_MS, lambda said=line: begin(said))  # type: ignore[misc]
                continue
            self.now, _, what = heapq.heappop(self.queue)
            what()
        self.queue.clear()
        self.now += 3000.0
        policy.fell_silent(self.now)
        self.now += 2000.0
        return turn


def turns(waits: Waits, model: str, tools: float, number: int) -> list[Turn]:
    """Calls of eight turns each; in a share `tools` of them, chosen at random, a tool is called."""
    found: list[Turn] = []
    for seed in range(number // 8):
        call = Call(waits, MODELS[model], tools, seed)
        found += [call.turn() for _ in range(8)]
    return found


def share(what: list[bool]) -> float:
    return sum(what) / len(what)


def needless(found: list[Turn], within_ms: float) -> float:
    return share([bool(turn.fillers) and turn.answer <= within_ms for turn in found])


def announced(found: list[Turn]) -> float:
    return share([bool(turn.fillers) for turn in found if not turn.tool])


def first(found: list[Turn]) -> float:
    return p95([turn.fillers[0] for turn in found if turn.tool])


def silence(found: list[Turn]) -> float:
    return p95([turn.longest_silence for turn in found if turn.tool])


def p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


@pytest.mark.parametrize(("model", "most"), [("quick", 0.1), ("slow", 0.3)])
def test_of_answers_without_a_tool_few_are_announced_and_none_for_nothing(model: str, most: float) -> None:
    found = turns(Waits(), model, 0.0, 800)
    assert needless(found, Waits().after_ms) == 0.0
    assert announced(found) <= most


@pytest.mark.parametrize("model", MODELS)
def test_where_every_turn_takes_four_seconds_there_is_no_dead_air(model: str) -> None:
    found = turns(Waits(), model, 1.0, 800)
    assert first(found) <= 900 - 92  # the way through the room, there and back
    assert silence(found) <= 1200 - 100  # a voice's own pauses around a line


@pytest.mark.parametrize("model", MODELS)
def test_where_tools_come_unexpected_the_silence_before_them_is_bounded_all_the_same(model: str) -> None:
    found = turns(Waits(), model, 0.5, 800)
    bound = Waits().latest_ms + Waits().grace_ms  # words that came at the last moment are given that much more
    assert max(turn.longest_silence for turn in found if turn.tool) <= bound + 50
    assert announced(found) <= 0.5


def _print_table() -> None:
    for latest_ms in (1100.0, 1400.0, 1600.0, 1800.0):
        for model in MODELS:
            waits = replace(Waits(), latest_ms=latest_ms)
            plain, mixed, tool = (turns(waits, model, tools, 8000) for tools in (0.0, 0.5, 1.0))
            print(
                f"    {latest_ms:>9.0f}  {model:5}{announced(plain):>16.1%}{announced(mixed):>16.1%}"
                f"{first(mixed):>7.0f}{silence(mixed):>9.0f}{first(tool):>10.0f}{silence(tool):>9.0f}"
            )
            assert not needless([*plain, *mixed, *tool], waits.after_ms)


if __name__ == "__main__":
    _print_table()
