"""The scenes: the same lines for everybody, and points that lie where the row says."""

from __future__ import annotations

from itertools import pairwise

import pytest

from callwright.agent import load
from callwright.bench.heard_scenes import RULES, SCENES, SCRIPT, WHOLE, Scene, scene, script
from callwright.simulators import brain_rules

MANY = range(30)


def points(row: str) -> list[tuple[int, float, bool]]:
    lines = [script(SCENES[row], seed, 8).lines for seed in MANY]
    return [(n, line.point.s, line.point.silence) for call in lines for n, line in enumerate(call) if line.point]


def test_the_same_seed_makes_the_same_call() -> None:
    assert script(SCENES["stall"], 3, 8) == script(SCENES["stall"], 3, 8)
    assert script(SCENES["stall"], 3, 8) != script(SCENES["stall"], 4, 8)


def test_answers_are_long_and_many() -> None:
    said = {line.expected for seed in MANY for line in script(SCENES["default"], seed, 8).lines}
    assert len(said) >= 12
    assert all(25 <= len(answer.split()) <= 45 for answer in said)


def test_of_two_topics_in_one_message_the_later_one_is_answered() -> None:
    order = list(brain_rules.load(RULES).slots["topic"].choices.values())
    for seed in MANY:
        places = [order.index((line.topic,)) for line in script(SCENES["default"], seed, 8).lines]
        assert all(later < earlier for earlier, later in pairwise(places))


def test_no_answer_names_a_topic() -> None:
    rules = brain_rules.load(RULES)
    topics = [phrase for phrases in rules.slots["topic"].choices.values() for phrase in phrases]
    assert not [(rule.name, topic) for rule in rules.rules for topic in topics if topic in rule.say.lower()]


def test_points_spread_over_the_answer() -> None:
    found = [s for _, s, _ in points("default")]
    assert min(found) < 0.5
    assert max(found) > 9


def test_edges_are_aimed_at_with_the_caller_and_with_the_silence_in_turn() -> None:
    assert all(0 <= s <= 0.1 and silence == (n % 2 == 1) for n, s, silence in points("first100"))
    assert all(-0.1 <= s <= 0 for _, s, _ in points("last100"))


def test_the_second_of_two_in_a_row_comes_soon() -> None:
    assert all(s <= 1.5 for n, s, _ in points("twice") if n % 2)
    assert max(s for n, s, _ in points("twice") if not n % 2) > 8


def test_a_stall_is_met_before_in_and_after() -> None:
    for seed in MANY:
        for number, line in enumerate(script(SCENES["stall"], seed, 8).lines):
            assert line.point is not None
            assert line.fault is not None
            begin = line.fault.after / 10
            place = 0 if line.point.s < begin else 1 if line.point.s < begin + 1.5 else 2
            assert place == number % 3 or abs(line.point.s - begin) < 0.1 or abs(line.point.s - begin - 1.5) < 0.1


def test_whole_answers_are_heard_in_every_kind_of_scene() -> None:
    assert all(kind.aim is None for kind in WHOLE)
    assert {scene("whole", call).name for call in range(13)} >= {"default", "stall", "preamble", "filler", "untimed"}
    assert all(line.point is None for line in script(scene("whole", 0), 0, 8).lines)


def test_a_call_has_an_end() -> None:
    with pytest.raises(ValueError, match="at most 13 answers, not 14"):
        script(Scene("default", ""), 0, 14)


def test_the_agent_has_the_tools_that_the_rules_call() -> None:
    called = {call.tool for rule in brain_rules.load(RULES).rules for call in rule.call}
    assert {tool.name for tool in load(SCRIPT).tools} == called


def test_every_topic_has_a_preamble_of_its_own() -> None:
    lines = script(SCENES["preamble"], 1, 13).lines
    assert len({line.expected[:20] for line in lines}) == 14
