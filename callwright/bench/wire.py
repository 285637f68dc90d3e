"""What the model wrote and asked for in a call, told from the requests on the wire alone.

The stand-in model keeps no state, so that its answer to a request can be found again from the request; the vendors'
log says whether that answer was sent to its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from callwright.simulators.account import Served
from callwright.simulators.anthropic_parse import parse_request
from callwright.simulators.anthropic_request import RequestRefused
from callwright.simulators.brain import Brain, Use
from callwright.simulators.brain_rules import Rules
from callwright.simulators.conversation import JSON


@dataclass(frozen=True)
class Reply:
    """One answer of the model. Times are seconds of the monotonic clock.

    `whole`: all of it was sent; otherwise the client went away, or a fault struck, and what it got is not known.
    `first_token_ms`: how long the vendor let its first token be waited for; None if it sent none, or a fault had a part
    in that.
    """

    text: str
    uses: tuple[Use, ...]
    asked_at: float
    ended_at: float
    whole: bool
    first_token_ms: float | None = None


def replies(requests: Sequence[Mapping[str, Any]], served: Sequence[Served], rules: Rules) -> list[Reply]:
    """The model's answers to these requests (Anthropic's Messages API), in the order in which they were asked.

    `requests` and `served` are those of one account. A request to which a fault was the only answer is not among
    `requests`, nor its lines counted.
    """
    brain = Brain(rules)
    found = []
    for body, lines in zip(requests, _by_request(served), strict=False):
        try:
            answer = brain.answer(parse_request(cast("JSON", body)))
        except RequestRefused:
            continue
        last = lines[-1]
        asked_at = last.at if last.request_at is None else last.request_at
        whole = last.what == "reply"
        found.append(Reply(answer.text, answer.uses, asked_at, last.at, whole, _first_token_ms(lines)))
    return found


def served(account: Mapping[str, Any]) -> list[Served]:
    """The log of an account, as `Control.account` gives it."""
    return [Served.model_validate(line) for line in account["served"]]


def shown(requests: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """For each request, what the model was shown as its own words, message by message."""
    found = []
    for request in requests:
        texts = []
        for message in request.get("messages", ()):
            content = message.get("content") or ""
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            if message.get("role") == "assistant":
                texts += [block["text"] for block in blocks if block.get("type") == "text" and block["text"].strip()]
        found.append(texts)
    return found


def _by_request(served: Sequence[Served]) -> list[list[Served]]:
    """The model's lines, one list a request, in the order in which they were asked."""
    groups: dict[str, list[Served]] = {}
    for line in served:
        if line.stage == "llm" and line.request_id and "fault" not in line.detail:
            groups.setdefault(line.request_id, []).append(line)
    came = [lines for lines in groups.values() if not _met_at_the_door(lines)]
    return sorted(came, key=lambda lines: lines[0].request_at or lines[0].at)


def _met_at_the_door(lines: Sequence[Served]) -> bool:
    """Whether a fault was all that came of the request, before its body was read."""
    first = lines[0].detail
    ahead = lines[0].what == "fault" and first.get("moment") != "within" and first.get("kind") != "empty"
    return ahead and not any(line.what in ("first_token", "reply") for line in lines)


def _first_token_ms(lines: Sequence[Served]) -> float | None:
    first = next((line for line in lines if line.what in ("fault", "first_token")), None)
    return first.delay_ms if first is not None and first.what == "first_token" else None
