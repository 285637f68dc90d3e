"""The rules file of a scripted model: its format, and loading it with errors that name file, line and rule.

    fallback: ["Sorry, could you say that again?"]     # said in turn when no rule fits
    pending: ["I am still waiting for that."]          # said in turn when a tool is still at it
    slots:                                             # what to listen for in the caller's words
      intent: {choices: {book: ["book", "make an appointment"]}, forget_after: [book.done]}
      name:   {understand: name, cues: ["my name is"], when_asked: ["name"], forget_after: [find_patient]}
      day:    {understand: day}
      answer: {understand: yes_no, newest_only: true}
      pick:   {understand: pick, of: offers}           # an item of a fact: "the second one", "ten thirty"
    facts:                                             # what tool results have told; the latest wins
      patient: {from: [find_patient.patients.0]}
      offers:  {from: [free_slots.slots, book.alternatives], forget_after: [book.done]}
    phrases:
      choices: {each: offers, limit: 2, say: "{spoken}", join: ", or "}
    rules:                                             # the first one that fits is followed
      - name: look the caller up
        when: {new: [name], lack: [patient]}           # all conditions must hold
        say: "One moment, please."
        call: [{tool: find_patient, with: {name: "{name}"}}]
      - name: found
        when: {after: find_patient, have: [patient]}      # `after`: what came last; default: caller
        say: "Thank you, {patient.name|first}. Which day would suit you?"

A rule that calls a tool which was not offered, or whose text refers to something unknown at the time, does
not fit. `{x.y.0}` walks into facts; a `with` value that is one reference alone keeps its type, and is left out
when unknown. The latest slot and fact win.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from callwright.simulators.errors import SimulatorError

REFERENCE = re.compile(r"\{([a-z_]\w*(?:\.\w+)*)(?:\|(\w+))?\}")
FILTERS = ("first", "lower", "capital")
BUILT_IN = ("caller", "last_words")  # the caller's newest words; the agent's last ones


def _one_or_more(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
"""One text or a list of them."""

Value = str | bool | int | float


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SlotRule(_Part):
    """What to listen for: fixed choices, or one of the built-in understandings.

    choices     what to call it, and phrases that mean it
    yes_means   the same, for a yes to a question of the agent's that holds the phrase
    cues        phrases a name follows
    when_asked  questions that a name alone answers
    of          the fact whose items are picked from
    newest_only forgotten when the caller speaks again
    forget_after  tools, or fields of their results that are true: `book.done`
    """

    understand: Literal["choice", "name", "day", "time", "yes_no", "pick"] = "choice"
    choices: dict[str, Texts] = Field(default_factory=dict)
    yes_means: dict[str, Texts] = Field(default_factory=dict)
    cues: Texts = ()
    when_asked: Texts = ()
    of: str | None = None
    newest_only: bool = False
    forget_after: Texts = ()


class FactRule(_Part):
    """Where in tool results a fact is found: `tool.path.0`."""

    source: Texts = Field(alias="from")
    forget_after: Texts = ()


class Phrase(_Part):
    """A list in words: `say` for each item of a fact, joined."""

    each: str
    say: str
    limit: int = 2
    join: str = ", or "


class When(_Part):
    """Conditions of a rule; all that are given must hold.

    after     what came last: "caller", the name of a tool whose result it is, or "any_result"
    heard     one of these is in the caller's newest words
    unheard   none of these is
    asked     one of these is in the agent's last words, exactly
    new       all of these slots were filled by the caller's newest words
    have/lack all of these slots and facts are known / unknown
    values    slots and facts (dotted) with exactly these values
    failed    the newest result is an error
    silent    the caller's newest message has no words
    """

    after: Texts = ("caller",)
    heard: Texts = ()
    unheard: Texts = ()
    asked: Texts = ()
    new: Texts = ()
    have: Texts = ()
    lack: Texts = ()
    values: dict[str, Value] = Field(default_factory=dict, alias="is")
    failed: bool | None = None
    silent: bool | None = None


class ToolCall(_Part):
    """A tool to call, and its arguments as templates or plain values."""

    tool: str
    arguments: dict[str, Value] = Field(default_factory=dict, alias="with")


class Rule(_Part):
    """One thing the scripted model knows to do."""

    name: str
    when: When = When()
    say: str = ""
    call: tuple[ToolCall, ...] = ()


class Rules(_Part):
    """A whole rules file."""

    fallback: Texts = ("Sorry, could you say that again?",)
    pending: Texts = ("That is taking a little longer.",)
    slots: dict[str, SlotRule] = Field(default_factory=dict)
    facts: dict[str, FactRule] = Field(default_factory=dict)
    phrases: dict[str, Phrase] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


BUILT_IN_RULES = Rules(
    fallback=("I heard you say: {caller}",),
    rules=(Rule(name="silence", when=When(silent=True), say="I heard nothing."),),
)
"""For an agent without rules of its own: it repeats what it heard, so that a pipeline can be tried at all."""


class _Yaml(yaml.SafeLoader):
    """YAML in which only true and false are booleans: a choice may be called "yes", a rule "no"."""

    yaml_implicit_resolvers = {  # noqa: RUF012 copied, so that the class above stays as it is
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load(path: Path) -> Rules:
    """Read a rules file; SimulatorError, in one line with file, line and rule, when it is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SimulatorError(f"cannot read the rules file {path}: {error.strerror}") from None
    return parse(text, str(path))


def parse(text: str, where: str = "rules") -> Rules:
    """Rules from YAML; `where` stands in front of the line number in errors."""
    try:
        node = yaml.compose(text, Loader=_Yaml)
        content = yaml.load(text, Loader=_Yaml)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SimulatorError(f"{where}:{line}: not YAML: {error.problem}") from None
    if not isinstance(content, dict):
        raise SimulatorError(f"{where}:1: a rules file is a mapping with 'rules', 'slots' and 'facts'")
    try:
        rules = Rules.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        loc = problem["loc"]
        raise SimulatorError(f"{where}:{_line(node, loc)}: {_place(content, loc)}{problem['msg']}") from None
    for loc, message in _misfits(rules):
        raise SimulatorError(f"{where}:{_line(node, loc)}: {_place(content, loc)}{message}")
    return rules


def _misfits(rules: Rules) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """References to things that do not exist: found at load, not in the middle of a call."""
    things = [*rules.slots, *rules.facts]
    sayable = [*things, *rules.phrases, *BUILT_IN]
    facts = list(rules.facts)
    for name, slot in rules.slots.items():
        if slot.understand == "choice" and not slot.choices:
            yield ("slots", name), "needs 'choices' or 'understand'"
        if slot.understand == "pick" and slot.of not in rules.facts:
            yield ("slots", name), _unknown("fact", slot.of or "", facts)
    for name, phrase in rules.phrases.items():
        if phrase.each not in rules.facts:
            yield ("phrases", name), _unknown("fact", phrase.each, facts)
    seen: set[str] = set()
    for number, rule in enumerate(rules.rules):
        if rule.name in seen:
            yield ("rules", number), "another rule has the same name"
        seen.add(rule.name)
        for condition, names in (("new", rule.when.new), ("have", rule.when.have), ("lack", rule.when.lack)):
            known = list(rules.slots) if condition == "new" else things
            for name in names:
                if name not in known:
                    yield ("rules", number, "when", condition), _unknown("slot or fact", name, known)
        for name in rule.when.values:
            if name.split(".")[0] not in things:
                yield ("rules", number, "when", "is"), _unknown("slot or fact", name, things)
        texts = [rule.say] + [str(value) for call in rule.call for value in call.arguments.values()]
        for path, text_filter in (found for text in texts for found in REFERENCE.findall(text)):
            if path.split(".")[0] not in sayable:
                yield ("rules", number), _unknown("slot, fact or phrase", path, sayable)
            if text_filter and text_filter not in FILTERS:
                yield ("rules", number), _unknown("filter", text_filter, FILTERS)
        if not rule.say and not rule.call and rule.when.after == ("caller",):
            yield ("rules", number), "answers the caller with nothing; give it 'say' or 'call'"


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name.split(".")[0], known, n=1)
    return f"unknown {kind} '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")


def _line(node: yaml.Node | None, loc: Sequence[str | int]) -> int:
    """The line (from 1) of the deepest part of `loc` that exists in the file."""
    line = 1
    for step in loc:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    line, found = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = node.value[step]
            line = found.start_mark.line + 1
        if found is None:
            break
        node = found
    return line


def _place(content: dict[str, object], loc: Sequence[str | int]) -> str:
    steps = list(loc)
    prefix = ""
    rules = content.get("rules")
    if len(steps) >= 2 and steps[0] == "rules" and isinstance(steps[1], int) and isinstance(rules, list):
        rule = rules[steps[1]]
        name = rule.get("name") if isinstance(rule, dict) else None
        prefix = f"rule '{name}': " if name else f"rule {steps[1] + 1}: "
        steps = steps[2:]
    return prefix + (".".join(str(step) for step in steps) + ": " if steps else "")
