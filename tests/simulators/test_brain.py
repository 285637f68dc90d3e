"""The scripted model: what it decides from a request alone, and how a wrong rules file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callwright.simulators import brain_rules
from callwright.simulators.anthropic_parse import parse_request
from callwright.simulators.brain import Answer, Brain, Use, pieces
from callwright.simulators.errors import SimulatorError

FRONTDESK = Path(__file__).parents[2] / "agents" / "frontdesk.rules.yaml"
RULES = """
fallback: ["Pardon?", "Once more, please?"]
pending: ["Still looking.", "Not yet."]
slots:
  name: {understand: name, cues: ["my name is"], when_asked: ["your name"], forget_after: [find.people]}
  size:
    choices: {large: ["large", "big"], small: ["small"]}
    yes_means: {small: ["a small one"]}
    forget_after: [order.done]
  answer: {understand: yes_no, newest_only: true}
  pick: {understand: pick, of: offers}
  day: {understand: day}
facts:
  person: {from: [find.people.0]}
  offers: {from: [slots.free]}
  receipt: {from: [order]}
phrases:
  choices: {each: offers, limit: 2, say: "{spoken}", join: " or "}
rules:
  - name: broken
    when: {after: any_result, failed: true}
    say: "That did not work."
  - name: both
    when: {heard: [compare]}
    say: "One moment."
    call: [{tool: find, with: {name: "Ann"}}, {tool: slots, with: {day: "{day}"}}]
  - name: find
    when: {new: [name]}
    call: [{tool: find, with: {name: "{name}", unheard_of: 1}}]
  - name: found
    when: {after: find, have: [person]}
    say: "Hello, {person.name|first}."
  - name: missing
    when: {after: find, lack: [person]}
    say: "Nobody. What is your name?"
  - name: offer
    when: {after: slots, have: [offers]}
    say: "I have {choices}."
  - name: picked
    when: {new: [pick]}
    say: "So {pick.spoken}."
    call: [{tool: order, with: {slot: "{pick.id}", urgent: true, note: "for {person.name}"}}]
  - name: small
    when: {new: [size], is: {size: small}}
    say: "Small it is."
  - name: yes
    when: {is: {answer: true, size: large}}
    say: "A large one."
  - name: quiet
    when: {silent: true}
    say: "Hello?"
  - name: echo
    when: {heard: [echo], unheard: [stop]}
    say: "{last_words}"
"""


def schema(*names: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {} for name in names}, "required": list(required)}


TOOLS = [
    {"name": "find", "input_schema": schema("name", required=("name",))},
    {"name": "slots", "input_schema": schema("day")},
    {"name": "order", "input_schema": schema("slot", "urgent", "note", required=("slot",))},
]
FREE = [
    {"id": 7, "start": "2026-11-24T09:00", "spoken": "Tuesday at nine"},
    {"id": 8, "start": "2026-11-24T14:30", "spoken": "Tuesday at two thirty"},
    {"id": 9, "start": "2026-11-25T10:00", "spoken": "Wednesday at ten"},
]


class Talk:
    """A conversation as the client of a model keeps it."""

    def __init__(self, rules: str = RULES) -> None:
        self.brain = Brain(brain_rules.parse(rules))
        self.messages: list[dict[str, Any]] = []
        self.count = 0

    def hear(self, text: str | list[dict[str, Any]], **request: Any) -> Answer:
        self.messages.append({"role": "user", "content": text})
        return self.answer(**request)

    def result(self, *results: Any, is_error: bool = False, **request: Any) -> Answer:
        asked = [block["id"] for block in self.messages[-1]["content"] if block["type"] == "tool_use"]
        content = [
            {
                "type": "tool_result",
                "tool_use_id": use_id,
                "content": value if isinstance(value, str) else json.dumps(value),
                "is_error": is_error,
            }
            for use_id, value in zip(asked, results, strict=True)
        ]
        self.messages.append({"role": "user", "content": content})
        return self.answer(**request)

    def answer(self, **request: Any) -> Answer:
        body = {"model": "claude-haiku-5-5", "max_tokens": 99, "tools": TOOLS, "messages": self.messages, **request}
        answer = self.brain.answer(parse_request(body))
        content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}] if answer.text else []
        for use in answer.uses:
            self.count += 1
            content.append(
                {"type": "tool_use", "id": f"toolu_{self.count}", "name": use.tool, "input": dict(use.arguments)}
            )
        if content:
            self.messages.append({"role": "assistant", "content": content})
        return answer


def test_what_no_rule_fits_gets_a_fallback_in_turn() -> None:
    talk = Talk()
    said = [talk.hear(text).text for text in ("xyz", "xyz", "xyz")]
    assert len(set(said)) == 2
    assert said[0] != said[1]


def test_a_slot_fills_an_argument() -> None:
    assert Talk().hear("hi my name is mary johnson").uses == (Use("find", {"name": "Mary Johnson"}),)


def test_an_argument_the_tool_does_not_have_is_left_out() -> None:
    (use,) = Talk().hear("my name is mary").uses
    assert "unheard_of" not in use.arguments


def test_the_answer_speaks_about_the_result() -> None:
    talk = Talk()
    talk.hear("my name is mary johnson")
    assert talk.result({"people": [{"name": "Mary Johnson"}]}).text == "Hello, Mary."


def test_a_result_in_a_wrapper_of_the_client_is_read() -> None:
    talk = Talk()
    talk.hear("my name is mary johnson")
    assert talk.result({"result": {"people": [{"name": "Mary Johnson"}]}}).text == "Hello, Mary."


def test_a_newer_empty_result_makes_a_fact_unknown() -> None:
    talk = Talk()
    talk.hear("my name is mary johnson")
    talk.result({"people": [{"name": "Mary Johnson"}]})
    talk.hear("my name is mark johnston")
    assert talk.result({"people": []}).rule == "missing"


def test_a_name_is_taken_from_a_short_answer_to_the_question() -> None:
    talk = Talk()
    talk.hear("my name is mary")
    talk.result({"people": []})
    assert talk.hear("mary johnson").uses == (Use("find", {"name": "Mary Johnson"}),)


@pytest.mark.parametrize(
    "result", [{"error": "timeout"}, "CANCELLED", "IN_PROGRESS"], ids=["error", "cancelled", "in progress"]
)
def test_a_failed_tool_is_not_taken_for_an_answer(result: Any) -> None:
    talk = Talk()
    talk.hear("my name is mary")
    assert talk.result(result).text == "That did not work."


# ---------------------------------------------------------------------------- tools that take long

PENDING = {"pending": "still running; its result will be told to you later"}
MARY = {"people": [{"name": "Mary Johnson"}]}


def news(*told: dict[str, Any]) -> str:
    """A note about tools in the words of a program, the results as JSON."""
    return "\n".join(
        ["<tool_news>", "[Tools have come to an end. Tell the caller.]", *map(json.dumps, told), "</tool_news>"]
    )


def waiting() -> Talk:
    """The caller waits for a tool that has not ended."""
    talk = Talk()
    talk.hear("my name is mary")
    assert talk.result(PENDING) == Answer("Still looking.", (), "pending")
    return talk


def test_without_lines_of_its_own_it_says_that_it_takes_longer() -> None:
    talk = Talk(RULES.replace('pending: ["Still looking.", "Not yet."]', ""))
    talk.hear("my name is mary")
    assert "longer" in talk.result(PENDING).text


def test_a_pending_tool_is_neither_a_result_nor_a_failure() -> None:
    talk = waiting()
    assert talk.hear("xyz").rule == "fallback"
    talk.hear("my name is mary")
    talk.result(MARY)
    talk.hear("my name is ann")
    assert talk.result(PENDING).text == "Not yet."
    assert talk.hear("compare").uses[0].arguments == {"name": "Ann"}


def test_a_rule_for_any_result_is_not_for_one_that_is_still_to_come() -> None:
    talk = Talk(RULES.replace("when: {after: any_result, failed: true}", "when: {after: any_result}"))
    talk.hear("my name is mary")
    assert talk.result(PENDING).text == "Still looking."
    talk.hear("my name is mary")
    assert talk.result(MARY).rule == "broken"


def test_of_two_tools_the_one_that_has_ended_is_spoken_about() -> None:
    talk = Talk()
    talk.hear("compare on monday")
    assert talk.result(PENDING, {"free": FREE}).rule == "offer"


def test_news_is_spoken_about_as_the_result_would_have_been() -> None:
    assert waiting().hear(news({"tool": "find", "asked": {"name": "Mary"}, "result": MARY})).text == "Hello, Mary."
    assert waiting().hear(news({"tool": "find", "asked": {}, "result": {"people": []}})).rule == "missing"
    assert waiting().hear(news({"tool": "find", "asked": {}, "error": "timeout"})).text == "That did not work."


def test_what_was_told_as_news_is_known_from_then_on() -> None:
    talk = waiting()
    talk.hear(
        news({"tool": "find", "asked": {}, "result": MARY}, {"tool": "slots", "asked": {}, "result": {"free": FREE}})
    )
    assert talk.hear("the first one").uses == (Use("order", {"slot": 7, "urgent": True, "note": "for Mary Johnson"}),)


def test_a_part_of_a_result_is_spoken_about() -> None:
    talk = waiting()
    note = {"tool": "find", "asked": {}, "parts": [{"people": []}, MARY], "note": "there is more to come"}
    assert talk.hear(news(note)).text == "Hello, Mary."


def test_a_result_with_a_note_of_the_clients_is_read() -> None:
    talk = Talk()
    talk.hear("my name is mary")
    assert talk.result({"result": MARY, "note": "asked for more than once and done once"}).text == "Hello, Mary."


@pytest.mark.parametrize(
    ("words", "text"),
    [("echo", "Still looking. Hello, Mary."), ("xyz", "Hello, Mary."), ("my name is ann", "Hello, Mary.")],
)
def test_news_beside_the_callers_words_is_told_with_the_answer_to_them(words: str, text: str) -> None:
    talk = waiting()
    note = news({"tool": "find", "asked": {}, "result": MARY})
    talk.messages.append({"role": "user", "content": [{"type": "text", "text": words}, {"type": "text", "text": note}]})
    answer = talk.answer()
    assert answer.text == text
    assert bool(answer.uses) == ("ann" in words)


def test_news_and_the_caller_do_not_have_two_tools_called_for_each_of_them() -> None:
    talk = Talk(RULES.replace('say: "Hello, {person.name|first}."', "say: Well.\n    call: [{tool: slots}]"))
    talk.hear("my name is mary")
    talk.result(PENDING)
    note = news({"tool": "find", "asked": {}, "result": MARY})
    for words, tools in (("compare", ["find", "slots"]), ("echo", ["slots"]), ("xyz", ["slots"])):
        content = [{"type": "text", "text": words}, {"type": "text", "text": note}]
        answer = talk.hear(content)
        assert [use.tool for use in answer.uses] == tools
        talk.messages = talk.messages[:3]


@pytest.mark.parametrize(
    "note",
    [
        "<tool_news>\nmy name is ann\n</tool_news>",
        '<tool_news>\n{"tool": 7, "result": 1}\n[1]\n{"tool": "nobody", "result": "my name is ann"}\n</tool_news>',
        f"<tool_news>\n{'[' * 100_000}\n</tool_news>",
        "<tool_news>",
    ],
)
def test_news_that_cannot_be_read_is_not_taken_for_the_callers_words(note: str) -> None:
    assert waiting().hear(note).uses == ()


# ---------------------------------------------------------------------------- answers that broke off

GO_ON = "[A fault broke your words off. Go on from exactly there, in the middle of the sentence if need be.]"


def test_an_answer_that_broke_off_is_gone_on_with_from_there() -> None:
    talk = Talk()
    talk.hear("compare")
    said = talk.result(PENDING, {"free": FREE}).text
    assert said == "I have Tuesday at nine or Tuesday at two thirty."
    talk.messages[-1]["content"] = "I have Tuesday at"
    assert talk.hear(GO_ON) == Answer("nine or Tuesday at two thirty.", (), "offer")


def test_the_calls_that_an_answer_broke_off_before_are_made() -> None:
    talk = Talk()
    talk.hear("compare on monday")
    talk.messages[-1]["content"] = "One"
    answer = talk.hear(GO_ON)
    assert answer.text == "moment."
    assert [use.tool for use in answer.uses] == ["find", "slots"]


def test_nothing_is_added_to_what_was_said_to_its_end() -> None:
    talk = Talk()
    whole = talk.hear("small").text
    assert whole == "Small it is."
    assert talk.hear(GO_ON).text == ""


def test_where_another_model_broke_off_this_one_says_its_own() -> None:
    talk = Talk()
    talk.hear("small")
    talk.messages[-1]["content"] = "Certainly, I"
    assert talk.hear(GO_ON).text == "Small it is."


@pytest.mark.parametrize("note", ["[The caller has heard your last words, a small one, in part.]", GO_ON])
def test_a_note_in_brackets_is_not_the_callers_words(note: str) -> None:
    """Neither by itself, nor beside what the caller says."""
    assert Talk().hear(note).text == "Hello?"
    talk = Talk()
    talk.messages.append({"role": "user", "content": note})
    assert talk.hear("xyz").rule == "fallback"
    assert talk.hear("echo").rule == "echo"


def test_a_caller_who_says_go_on_is_the_caller() -> None:
    talk = Talk()
    talk.hear("small")
    assert talk.hear("go on").rule == "fallback"


def test_a_result_marked_as_error_is_a_failure() -> None:
    talk = Talk()
    talk.hear("my name is mary")
    assert talk.result({"people": [{"name": "Mary"}]}, is_error=True).rule == "broken"


def test_words_after_a_failure_are_answered_themselves() -> None:
    talk = Talk()
    talk.hear("my name is mary")
    (use_id,) = [block["id"] for block in talk.messages[-1]["content"]]
    failure = {"type": "tool_result", "tool_use_id": use_id, "content": "CANCELLED"}
    talk.messages.append({"role": "user", "content": [failure, {"type": "text", "text": "my name is ann"}]})
    assert talk.answer().uses == (Use("find", {"name": "Ann"}),)


def test_two_tools_are_called_at_once() -> None:
    talk = Talk()
    assert [use.tool for use in talk.hear("compare on monday").uses] == ["find", "slots"]
    assert talk.result({"people": []}, {"free": FREE}).rule in ("missing", "offer")


def test_two_tools_are_called_one_after_the_other_when_they_must_be() -> None:
    one_at_a_time = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    talk = Talk()
    first = talk.hear("compare on monday", **one_at_a_time)
    second = talk.result({"people": [{"name": "Ann"}]}, **one_at_a_time)
    third = talk.result({"free": FREE}, **one_at_a_time)
    assert [use.tool for use in first.uses] == ["find"]
    assert second.uses == (Use("slots", {"day": "monday"}),)
    assert third == Answer("I have Tuesday at nine or Tuesday at two thirty.", (), "offer")


def test_a_tool_that_was_not_offered_is_never_called() -> None:
    answer = Talk().hear("my name is mary", tools=TOOLS[1:])
    assert answer.uses == ()


def test_tool_choice_none_means_words_only() -> None:
    answer = Talk().hear("my name is mary", tool_choice={"type": "none"})
    assert answer.uses == ()
    assert answer.text


def test_a_forced_tool_is_called_with_arguments_that_fit() -> None:
    answer = Talk().hear("xyz", tool_choice={"type": "tool", "name": "order"})
    assert answer.uses == (Use("order", {"slot": ""}),)


@pytest.mark.parametrize(
    ("words", "slot"),
    [
        ("the second one please", 8),
        ("two thirty", 8),
        ("nine o'clock is good", 7),
        ("wednesday", 9),
        ("the last one", 8),  # of the two that were offered
        ("the first line please", 7),
    ],
)
def test_an_offer_is_picked_by_number_time_or_day(words: str, slot: int) -> None:
    talk = Talk()
    talk.hear("compare")
    talk.result({"people": [{"name": "Ann"}]}, {"free": FREE})
    assert talk.hear(words).uses == (Use("order", {"slot": slot, "urgent": True, "note": "for Ann"}),)


def test_a_time_that_was_not_offered_picks_nothing() -> None:
    talk = Talk()
    talk.hear("compare")
    talk.result({"people": [{"name": "Ann"}]}, {"free": FREE})
    assert talk.hear("eleven thirty").uses == ()


def test_a_yes_counts_only_in_the_newest_words() -> None:
    talk = Talk()
    talk.hear("a large one")
    assert talk.hear("yes").text == "A large one."
    assert talk.hear("hm").rule == "fallback"


def test_a_yes_means_what_the_question_offered() -> None:
    talk = Talk()
    talk.hear("hm")
    talk.messages[-1]["content"] = "Would you like a small one?"
    assert talk.hear("yes please").text == "Small it is."


def test_pieces_of_one_turn_are_heard_together() -> None:
    talk = Talk()
    talk.messages.append({"role": "user", "content": "a large one"})
    assert talk.hear("yes").rule == "yes"


def test_silence_is_noticed() -> None:
    assert Talk().hear(".").text == "Hello?"


def test_a_note_in_tags_is_not_the_callers_words() -> None:
    assert Talk().hear("<note>my name is mary</note> xyz").rule == "fallback"


def test_the_last_words_can_be_repeated_and_a_word_can_forbid_it() -> None:
    talk = Talk()
    first = talk.hear("xyz").text
    assert talk.hear("echo").text == first
    assert talk.hear("echo stop").rule == "fallback"


def test_a_result_no_rule_speaks_about_is_met_with_silence() -> None:
    talk = Talk(
        RULES.replace(
            "  - name: found\n    when: {after: find, have: [person]}", "  - name: found\n    when: {heard: [never]}"
        )
    )
    talk.hear("my name is mary")
    assert talk.result({"people": [{"name": "Mary"}]}) == Answer()


def test_the_same_request_gets_the_same_answer() -> None:
    body = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "my name is mary"}]}
    brain = Brain(brain_rules.parse(RULES))
    request = parse_request({**body, "tools": TOOLS})  # type: ignore[dict-item]
    assert brain.answer(request) == brain.answer(request) == Brain(brain_rules.parse(RULES)).answer(request)


def test_without_rules_it_repeats_what_it_heard() -> None:
    brain = Brain(brain_rules.BUILT_IN_RULES)
    body: dict[str, Any] = {"model": "claude-haiku-5-5", "max_tokens": 9}
    answer = brain.answer(parse_request({**body, "messages": [{"role": "user", "content": "good day"}]}))
    assert answer.text == "I heard you say: good day"


@pytest.mark.parametrize("text", ["Sure, I can.", "Émile's café: 3,50 €!", "a  b\n", "x_y", "…", ""])
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


# ---------------------------------------------------------------------------- wrong rules files

WRONG = {
    "not yaml": ("rules: [", r"rules\.yaml:1: not YAML: "),
    "not a mapping": ("- a", r"rules\.yaml:1: a rules file is a mapping"),
    "unknown key": ("rules:\n  - name: hi\n    sya: hello", r"rules\.yaml:3: rule 'hi': sya: Extra inputs"),
    "no name": ("rules:\n  - say: hello", r"rules\.yaml:2: rule 1: name: Field required"),
    "unknown slot": (
        "slots:\n  size: {choices: {big: [big]}}\nrules:\n  - name: hi\n    when: {have: [sise]}\n    say: x",
        r"rules\.yaml:5: rule 'hi': when\.have: unknown slot or fact 'sise'; did you mean 'size'\?",
    ),
    "unknown reference": (
        "facts:\n  person: {from: [find]}\nrules:\n  - name: hi\n    say: 'Hello {persn.name}'",
        r"rules\.yaml:4: rule 'hi': unknown slot, fact or phrase 'persn\.name'; did you mean 'person'\?",
    ),
    "unknown filter": ("rules:\n  - name: hi\n    say: '{caller|shout}'", r"unknown filter 'shout'"),
    "same name": ("rules:\n  - {name: a, say: x}\n  - {name: a, say: y}", r"rules\.yaml:3: rule 'a': another rule"),
    "nothing to do": ("rules:\n  - {name: a}", r"rules\.yaml:2: rule 'a': answers the caller with nothing"),
    "pick of nothing": ("slots:\n  p: {understand: pick, of: x}", r"rules\.yaml:2: slots\.p: unknown fact 'x'"),
    "empty choice": ("slots:\n  p: {}", r"rules\.yaml:2: slots\.p: needs 'choices' or 'understand'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rules_file_is_one_line_with_file_line_and_rule(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(SimulatorError, match=message) as caught:
        brain_rules.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_rules_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=r"cannot read the rules file .*nowhere\.yaml"):
        brain_rules.load(tmp_path / "nowhere.yaml")


def test_the_shipped_rules_load() -> None:
    assert len(brain_rules.load(FRONTDESK).rules) > 30
