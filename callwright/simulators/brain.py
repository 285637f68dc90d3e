"""A scripted model: reads the rules of an agent and decides what to say and which tools to call.

It sees what a language model sees and nothing else: the messages of the request, tool results among them, and
the tools it was offered. It keeps no state: what it knows is found anew in the messages of every request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from callwright.simulators import listening
from callwright.simulators.brain_rules import REFERENCE, Phrase, Rule, Rules
from callwright.simulators.conversation import JSON, Conversation, Message, OfferedTool
from callwright.simulators.understanding import Understanding, asked_for, notes, only_results, understand, walk

_PIECE = re.compile(r"\s*[^\W\d_]{1,8}|\s*\d{1,3}|\s*_|\s*[^\w\s]|\s+")


@dataclass(frozen=True)
class Use:
    """A tool the model wants called."""

    tool: str
    arguments: Mapping[str, JSON]


@dataclass(frozen=True)
class Answer:
    """What the model says, and then calls. Both may be empty: the model has nothing to add."""

    text: str = ""
    uses: tuple[Use, ...] = ()
    rule: str = "fallback"


class Brain:
    """A model that follows one set of rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def answer(self, request: Conversation) -> Answer:
        """The next message. Honours the tools offered, the choice of them and whether several may be called."""
        answer = self._decide(request.messages, request.tools)
        choice = request.tool_choice
        if choice.kind == "none" and answer.uses:
            answer = Answer(answer.text or self._rules.fallback[0], (), answer.rule)
        if choice.kind in ("any", "tool"):
            wanted = [use for use in answer.uses if choice.kind == "any" or use.tool == choice.name]
            tool = next(t for t in request.tools if choice.kind == "any" or t.name == choice.name)
            answer = Answer("", tuple(wanted) or (Use(tool.name, _least(tool)),), answer.rule)
        if not choice.parallel and len(answer.uses) > 1:
            answer = Answer(answer.text, answer.uses[:1], answer.rule)
        return answer

    def _decide(self, messages: Sequence[Message], tools: Sequence[OfferedTool]) -> Answer:
        if (rest := self._rest(messages, tools)) is not None:
            return rest
        left_over = self._left_over(messages, tools)
        if left_over is not None:
            return left_over
        known = understand(self._rules, messages)
        if not known.arrived:  # nothing but that something is still to come
            return Answer(self._in_turn(self._rules.pending, known), rule="pending")
        answer = self._ruled(known, tools)
        if known.news:
            told = self._ruled(replace(known, arrived=known.news, failed=known.news_failed, new=set()), tools)
            answer = _both(answer, told)
        if answer is not None:
            return answer
        if known.arrived == ("caller",):
            return Answer(self._in_turn(self._rules.fallback, known))
        # A result that no rule speaks about is nothing to speak of; that another is missing is.
        return Answer(self._in_turn(self._rules.pending, known), rule="pending") if known.pending else Answer()

    def _ruled(self, known: Understanding, tools: Sequence[OfferedTool]) -> Answer | None:
        """What the first rule that fits makes of this moment."""
        fitting = (self._follow(rule, known, tools) for rule in self._rules.rules if self._fits(rule, known))
        return next((answer for answer in fitting if answer is not None), None)

    def _in_turn(self, lines: Sequence[str], known: Understanding) -> str:
        """Another one at every turn, of those in which nothing is unknown."""
        for line in (*lines[max(0, known.turns - 1) % len(lines) :], *lines):
            text = self._fill(line, known)
            if text is not None:
                return text
        return "Sorry?"

    def _rest(self, messages: Sequence[Message], tools: Sequence[OfferedTool]) -> Answer | None:
        """Where a note asks to go on with words that broke off: what this model would have said after them.

        All of it if its own words are others: it does not know what another model meant to say.
        """
        if len(messages) < 3 or not any(listening.heard("go on", note) for note in notes(messages[-1])):
            return None
        said = " ".join(block.text for block in messages[-2].blocks if block.kind == "text").split()
        meant = self._decide(messages[:-2], tools)
        words = meant.text.split()
        return replace(meant, text=" ".join(words[len(said) :])) if words[: len(said)] == said else meant

    def _left_over(self, messages: Sequence[Message], tools: Sequence[OfferedTool]) -> Answer | None:
        """The next of several calls one rule wanted, when they have to be made one at a time."""
        if not messages or not only_results(messages[-1]):
            return None
        asked = max((i for i, m in enumerate(messages) if m.role == "user" and not only_results(m)), default=None)
        if asked is None:
            return None
        wanted = self._decide(messages[: asked + 1], tools).uses
        if len(wanted) < 2:
            return None
        made = [
            (block.name, dict(block.input or {}))
            for message in messages[asked + 1 :]
            for block in message.blocks
            if block.kind == "tool_use"
        ]
        missing = [use for use in wanted if (use.tool, dict(use.arguments)) not in made]
        return Answer("", tuple(missing[:1]), "calls left over") if missing and len(missing) < len(wanted) else None

    def _fits(self, rule: Rule, known: Understanding) -> bool:
        when = rule.when
        came = set(known.arrived)
        if "caller" not in came and "any_result" in when.after:
            came.add("any_result")
        # An error speaks for itself: only a rule that says `failed: true` answers it.
        if known.failed != bool(when.failed) or not came & set(when.after):
            return False
        if when.silent is not None and when.silent == bool(listening.tokens(known.caller)):
            return False
        if when.heard and not any(listening.heard(phrase, known.caller) for phrase in when.heard):
            return False
        if any(listening.heard(phrase, known.caller) for phrase in when.unheard):
            return False
        if when.asked and not asked_for(when.asked, known.last_words):
            return False
        return (
            known.new.issuperset(when.new)
            and all(known.value(name) is not None for name in when.have)
            and all(known.value(name) is None for name in when.lack)
            and all(known.value(path) == wanted for path, wanted in when.values.items())
        )

    def _follow(self, rule: Rule, known: Understanding, tools: Sequence[OfferedTool]) -> Answer | None:
        """What the rule makes of this moment; None when it needs a tool or a value that is not there."""
        text = self._fill(rule.say, known)
        if text is None:
            return None
        uses: list[Use] = []
        for call in rule.call:
            tool = next((tool for tool in tools if tool.name == call.tool), None)
            if tool is None:
                return None
            accepted = tool.schema.get("properties")
            arguments: dict[str, JSON] = {}
            for name, template in call.arguments.items():
                if isinstance(accepted, dict) and name not in accepted:
                    continue
                value = self._argument(template, known)
                if value is not None:
                    arguments[name] = value
            required = tool.schema.get("required")
            if isinstance(required, list) and any(name not in arguments for name in required):
                return None
            uses.append(Use(call.tool, arguments))
        return Answer(text, tuple(uses), rule.name)

    def _argument(self, template: str | bool | int | float, known: Understanding) -> JSON:
        if not isinstance(template, str):
            return template
        whole = REFERENCE.fullmatch(template)
        if whole and not whole[2] and whole[1].split(".")[0] not in self._rules.phrases:
            return known.value(whole[1])
        return self._fill(template, known)

    def _fill(self, template: str, known: Understanding) -> str | None:
        """The template with its references in words; None if one of them is unknown."""
        pieces: list[str] = []
        end = 0
        for found in REFERENCE.finditer(template):
            phrase = self._rules.phrases.get(found[1])
            text = self._list(phrase, known) if phrase else _in_words(known.value(found[1]))
            if text is None:
                return None
            pieces += [template[end : found.start()], _filtered(text, found[2])]
            end = found.end()
        return "".join(pieces) + template[end:]

    def _list(self, phrase: Phrase, known: Understanding) -> str | None:
        items = known.value(phrase.each)
        if not isinstance(items, list) or not items:
            return None
        said: list[str] = []
        for item in items[: phrase.limit]:
            text = phrase.say
            for found in REFERENCE.finditer(phrase.say):
                value = _in_words(walk(item, found[1].split(".")))
                if value is None:
                    return None
                text = text.replace(found[0], _filtered(value, found[2]))
            said.append(text)
        return phrase.join.join(said)


def _both(answer: Answer | None, told: Answer | None) -> Answer | None:
    """The answer to the caller, and after it what the news is answered with; not where each wants tools of its own."""
    if answer is None or told is None or (answer.uses and told.uses):
        return answer or told
    return replace(answer, text=f"{answer.text} {told.text}".strip(), uses=answer.uses or told.uses)


def _in_words(value: JSON) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _filtered(text: str, name: str | None) -> str:
    if name == "first":
        return text.split()[0] if text.split() else text
    if name == "lower":
        return text.lower()
    return text[:1].upper() + text[1:] if name == "capital" else text


def _least(tool: OfferedTool) -> dict[str, JSON]:
    """The smallest arguments that fit a schema, for a call that was forced."""
    properties, required = tool.schema.get("properties"), tool.schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {}
    return {name: _least_value(properties.get(name)) for name in required if isinstance(name, str)}


def _least_value(schema: JSON) -> JSON:
    if not isinstance(schema, dict):
        return ""
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    by_type: dict[str, JSON] = {
        "integer": 0,
        "number": 0,
        "boolean": False,
        "array": [],
        "object": {},
        "null": None,
    }
    kind = schema.get("type")
    return by_type.get(kind, "") if isinstance(kind, str) else ""


def pieces(text: str) -> list[str]:
    """A text in tokens: a word (long ones in parts) with the space before it, or a mark of punctuation."""
    return _PIECE.findall(text)
