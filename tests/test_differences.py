"""Where two JSON values differ: what is found, what is called the same, and what may be left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.differences import ABSENT, Difference, compare

SLOTS: dict[str, Any] = {
    "today": "Friday",
    "slots": [{"id": 1, "start": "09:00", "doctor": "Bell"}, {"id": 2, "start": "10:30", "doctor": "Bell"}],
}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


def changed(**places: object) -> dict[str, Any]:
    """SLOTS, with each place `today` or `slots_0_start` at another value."""
    value: dict[str, Any] = json.loads(json.dumps(SLOTS))
    for place, new in places.items():
        name, _, rest = place.partition("_")
        if rest:
            index, _, member = rest.partition("_")
            value[name][int(index)][member] = new
        else:
            value[name] = new
    return value


def shown(then: Any, now: Any, **options: Any) -> list[tuple[str, object, object]]:
    return [(found.path, found.then, found.now) for found in compare(then, now, **options)]


@given(VALUES, st.booleans())
def test_a_value_does_not_differ_from_itself(value: Any, strict: bool) -> None:
    assert compare(value, json.loads(json.dumps(value)), strict=strict) == ()


@given(VALUES, VALUES)
def test_strictly_nothing_is_overlooked(then: Any, now: Any) -> None:
    same = json.dumps(then, sort_keys=True) == json.dumps(now, sort_keys=True)
    assert (compare(then, now, strict=True) == ()) == same


@given(VALUES, VALUES, st.booleans())
def test_what_differs_one_way_differs_the_other_way(then: Any, now: Any, strict: bool) -> None:
    assert bool(compare(then, now, strict=strict)) == bool(compare(now, then, strict=strict))


def test_a_place_is_named_by_its_path() -> None:
    assert shown(SLOTS, changed(slots_1_start="11:00")) == [("slots[1].start", "10:30", "11:00")]


def test_a_name_that_would_be_mistaken_for_a_path_is_quoted() -> None:
    assert shown({"a.b": {"c d": 1}}, {"a.b": {"c d": 2}}) == [('["a.b"]["c d"]', 1, 2)]


def test_the_whole_value_has_the_empty_path() -> None:
    assert shown("ok", ["ok"]) == [("", "ok", ["ok"])]


def test_null_is_a_value_and_absence_is_none() -> None:
    assert shown({"a": None}, {}) == [("a", None, ABSENT)]
    assert shown({}, {"a": None}) == [("a", ABSENT, None)]
    assert Difference("a", None, ABSENT).to_json() == {"path": "a", "then": None}


def test_true_is_not_one() -> None:
    assert shown([True], [1]) == [("[0]", True, 1)]


def test_the_order_of_a_list_counts_only_strictly() -> None:
    assert compare([[1, 2], "a"], ["a", [2, 1]]) == ()
    assert shown([1, 2], [2, 1], strict=True) == [("[0]", ABSENT, 2), ("[1]", 2, ABSENT)]


def test_a_whole_number_may_be_written_either_way_unless_strictly() -> None:
    assert compare({"usd": 90}, {"usd": 90.0}) == ()
    assert shown({"usd": 90}, {"usd": 90.0}, strict=True) == [("usd", 90, 90.0)]


def test_an_item_that_is_gone_does_not_make_the_rest_differ() -> None:
    then, now = ["a", "b", "c"], ["b", "c", "d"]
    assert shown(then, now) == [("[0]", "a", "d")]
    assert shown(then, now, strict=True) == [("[0]", "a", ABSENT), ("[2]", ABSENT, "d")]


def test_an_object_that_changed_is_compared_with_the_one_most_like_it() -> None:
    now = {"today": "Friday", "slots": [{"id": 2, "start": "10:30", "doctor": "Grant"}]}
    assert shown(SLOTS, now) == [
        ("slots[0]", {"id": 1, "start": "09:00", "doctor": "Bell"}, ABSENT),
        ("slots[1].doctor", "Bell", "Grant"),
    ]


@pytest.mark.parametrize(
    "path",
    ["slots", "slots[1]", "slots[1].start", "slots[*].start", "slots[*].*", "**.start", "slots**", "**", "*[1]", "*"],
)
def test_a_place_that_is_ignored_may_differ(path: str) -> None:
    assert compare(SLOTS, changed(slots_1_start="11:00"), ignore=[path]) == ()


@pytest.mark.parametrize("path", ["slot", "start", "slots[0].start", "slots[*]x", "slots.*"])
def test_what_is_not_named_still_counts(path: str) -> None:
    now = changed(slots_1_start="11:00", today="Monday")
    assert [found.path for found in compare(SLOTS, now, ignore=[path])] == ["today", "slots[1].start"]


def test_items_that_differ_only_in_what_is_ignored_are_the_same_item() -> None:
    then: dict[str, Any] = {"found": [{"id": 1, "name": "Mary"}, {"id": 2, "name": "John"}]}
    now: dict[str, Any] = {"found": [{"id": 8, "name": "John"}, {"id": 9, "name": "Mary"}]}
    assert compare(then, now, ignore=["**.id"]) == ()


def test_a_result_nested_beyond_reason_is_answered_all_the_same() -> None:
    deep: Any = "end"
    for _ in range(600):
        deep = [deep]
    (found,) = compare([deep], [[deep]])
    assert found.path == ""
