"""What a conversation has told so far: the slots the caller filled, the facts that tools returned.

Found anew from the messages of every request, since the vendor's interface has no memory either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from callwright.simulators import listening
from callwright.simulators.brain_rules import Rules, SlotRule
from callwright.simulators.conversation import JSON, Block, Message

_NEWS = re.compile(r"<tool_news>(.*)</tool_news>", re.DOTALL)


@dataclass
class Understanding:
    """What the conversation up to some message has told."""

    slots: dict[str, JSON] = field(default_factory=dict)
    facts: dict[str, JSON] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    caller: str = ""  # the caller's words since the agent last spoke
    last_words: str = ""
    arrived: tuple[str, ...] = ("caller",)  # what came last: the caller, or tools whose results came
    failed: bool = False
    pending: bool = False  # of what came last, something is still to come
    news: tuple[str, ...] = ()  # tools whose results came as news beside the caller's words
    news_failed: bool = False
    turns: int = 0

    def value(self, path: str) -> JSON:
        """What a reference such as `patient.appointments.0.start` stands for; None if unknown."""
        root, *rest = path.split(".")
        if root == "caller":
            return self.caller or None
        if root == "last_words":
            return self.last_words or None
        return walk(self.slots[root] if root in self.slots else self.facts.get(root), rest)


def understand(rules: Rules, messages: Sequence[Message]) -> Understanding:
    """Go through the conversation from its start, as if hearing it for the first time.

    Roles alternate: what the caller said in several pieces has become one message when the request was read.
    """
    known = Understanding()
    tool_of: dict[str, str] = {}
    for message in messages:
        if message.role == "assistant":
            tool_of.update((block.id, block.name) for block in message.blocks if block.kind == "tool_use")
            said = " ".join(block.text for block in message.blocks if block.kind == "text").strip()
            if said:
                known.last_words = said
            continue
        results = [
            (tool_of.get(block.id, "?"), _read(block.text), block.is_error)
            for block in message.blocks
            if block.kind == "tool_result"
        ]
        news = [one for block in message.blocks for one in _news(block)]
        known.new = set()
        known.arrived, known.failed, known.pending = _take(rules, known, results + news)
        known.news, known.news_failed = (), False
        words = listening.plain(" ".join(block.text for block in message.blocks if block.kind == "text"))
        if words or not (results or news):
            told = [one for one in news if not _is_pending(one[1])]
            known.news = tuple(tool for tool, _, _ in told)
            known.news_failed = any(_is_failure(content) for _, content, _ in told)
            known.caller = words
            known.arrived, known.failed = ("caller",), False
            known.turns += bool(listening.tokens(words))
            _listen(rules, known, words)
    return known


_Told = tuple[str, JSON, bool]
"""A tool, what it gave, and whether that was marked as an error."""


def _take(rules: Rules, known: Understanding, told: Sequence[_Told]) -> tuple[tuple[str, ...], bool, bool]:
    """Learn what tools gave: which of them gave something, whether any failed, whether any is still at it."""
    arrived: list[str] = []
    failed = False
    for tool, content, is_error in told:
        if _is_pending(content):
            continue
        arrived.append(tool)
        if is_error or _is_failure(content):
            failed = True
        else:
            _learn(rules, known, tool, content)
    return tuple(arrived), failed, len(arrived) < len(told)


def _learn(rules: Rules, known: Understanding, tool: str, content: JSON) -> None:
    for name, fact in rules.facts.items():
        for source in fact.source:
            source_tool, *path = source.split(".")
            value = walk(content, path) if source_tool == tool else None
            if source_tool == tool:
                known.facts.pop(name, None)  # a newer result that lacks it makes it unknown
            if value not in (None, "", [], {}):
                known.facts[name] = value
                break
    forgets = [(name, slot.forget_after) for name, slot in rules.slots.items()]
    forgets += [(name, fact.forget_after) for name, fact in rules.facts.items()]
    for name, events in forgets:
        for event in events:
            event_tool, *path = event.split(".")
            if event_tool == tool and (not path or walk(content, path)):
                known.slots.pop(name, None)
                known.facts.pop(name, None)


def _listen(rules: Rules, known: Understanding, words: str) -> None:
    for name, slot in rules.slots.items():
        if slot.newest_only:
            known.slots.pop(name, None)
        value = _hear(slot, words, known)
        if value is not None:
            known.slots[name] = value
            known.new.add(name)


def _hear(slot: SlotRule, words: str, known: Understanding) -> JSON:
    """What one slot hears in one utterance; None for nothing."""
    if slot.understand == "choice":
        chosen = _choice(slot.choices, words)
        if chosen is None and listening.yes_no(words):
            chosen = next((n for n, asks in slot.yes_means.items() if asked_for(asks, known.last_words)), None)
        return chosen
    if slot.understand == "name":
        asked = asked_for(slot.when_asked, known.last_words)
        return listening.person_name(words, slot.cues, asked=asked)
    if slot.understand == "day":
        return listening.day(words)
    if slot.understand == "yes_no":
        return listening.yes_no(words)
    if slot.understand == "time":
        at = listening.clock_time(words)
        return None if at is None else f"{at.hour:02}:{at.minute:02}"
    return _pick(known.facts.get(slot.of or ""), words)


def _choice(choices: Mapping[str, Sequence[str]], words: str) -> str | None:
    """The choice heard most surely; of equals the one that stands first in the rules."""
    sure = {name: max(listening.likeness(p, words) for p in phrases) for name, phrases in choices.items()}
    best = max(sure, key=lambda name: sure[name])
    return best if sure[best] > 0 else None


def _pick(items: JSON, words: str) -> JSON:
    """The item of a list the caller means: by its time, its weekday, a name in it, or its number."""
    if not isinstance(items, list):
        return None
    left = [item for item in items if isinstance(item, dict)]
    at, weekday = listening.clock_time(words), listening.day(words)
    starts = {id(item): _start(item) for item in left}
    if at is not None:
        # "nine" may be nine in the evening for all we know of the caller's habits: the clinic's hours decide
        left = [i for i in left if (s := starts[id(i)]) and (s.hour % 12, s.minute) == (at.hour % 12, at.minute)]
        if not left:
            return None
    if weekday is not None and weekday not in ("today", "tomorrow"):
        left = [i for i in left if (s := starts[id(i)]) and f"{s:%A}".lower() == weekday]
    number = listening.ordinal(words)
    if at is not None and left:
        return left[0]
    if number is not None and items:
        shown = items[:2] if number == -1 else items
        return shown[number] if -len(shown) <= number < len(shown) else None
    if weekday is not None and len(left) == 1 and len(items) > 1:
        return left[0]
    return None


def _start(item: Mapping[str, JSON]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(item.get("start")))
    except ValueError:
        return None


def asked_for(phrases: Sequence[str], last_words: str) -> bool:
    """True if one of the phrases, exactly, is in what the agent said last."""
    return any(phrase.lower() in last_words.lower() for phrase in phrases)


def only_results(message: Message) -> bool:
    """True for a message that only brings tool results (the caller said nothing in it)."""
    return message.role == "user" and all(
        block.kind == "tool_result" or not listening.plain(block.text) for block in message.blocks
    )


def notes(message: Message) -> list[str]:
    """What a program tells the model [in brackets], in a message in which the caller says nothing; else nothing."""
    texts = [block.text.strip() for block in message.blocks if block.kind == "text"]
    if message.role != "user" or len(texts) != len(message.blocks) or any(map(listening.plain, texts)):
        return []
    return [text for text in texts if text.startswith("[")]


def _news(block: Block) -> list[_Told]:
    """What a note of a program's tells of tools that were called earlier: a line of JSON each, with its "tool"."""
    found = _NEWS.fullmatch(block.text.strip()) if block.kind == "text" else None
    told: list[_Told] = []
    for line in found[1].splitlines() if found else ():
        content = _json(line)
        if isinstance(content, dict) and isinstance(tool := content.get("tool"), str):
            gave = {name: value for name, value in content.items() if name not in ("tool", "asked")}
            told.append((tool, _unwrapped(gave), False))
    return told


def _read(text: str) -> JSON:
    """A tool's result: JSON if it is, else the text."""
    return _unwrapped(_json(text))


def _json(text: str) -> JSON:
    try:
        content: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return content


def _unwrapped(content: JSON) -> JSON:
    """Without the client's own wrapper: a "result" by itself or with a "note"; of "parts", the newest."""
    if isinstance(content, dict) and set(content) - {"note"} == {"result"}:
        return content["result"]
    if isinstance(content, dict) and set(content) - {"note"} == {"parts"}:
        parts = content["parts"]
        return parts[-1] if isinstance(parts, list) and parts else parts
    return content


def _is_pending(content: JSON) -> bool:
    return isinstance(content, dict) and list(content) == ["pending"]


def _is_failure(content: JSON) -> bool:
    if isinstance(content, dict):
        return bool(content.get("error"))
    return content in ("CANCELLED", "IN_PROGRESS")  # Pipecat's words for a call that has no result


def walk(value: JSON, path: Sequence[str]) -> JSON:
    """What lies at a path of keys and numbers; None where there is nothing."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
