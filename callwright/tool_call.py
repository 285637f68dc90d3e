"""The call, as a tool has it: who is on the line, what has been said, and what may be done about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from callwright.records.events import ToolNote
from callwright.tool_result import as_json

if TYPE_CHECKING:  # every command and every agent's script imports this; databases are opened by few
    from callwright.records.journal import Journal

Said = tuple[str, str]
"""Who ("caller" or "agent") and what."""


NEWS_TAG = "tool_news"
"""In this tag the model is told, in a message of its own, what tools gave that it no longer waited for."""


class CallNotes(Protocol):
    """The call's records, as far as tools write and read them."""

    @property
    def notes(self) -> Mapping[str, JsonValue]:
        """What has been noted in this call so far, by name; the latest value of each."""
        ...

    async def note(self, name: str, value: object) -> None:
        """Write a fact into the call's journal; it is durable when this returns.

        Raises ResultError if the value is not JSON, RecordsError if it cannot be written.
        """
        ...


class Call(Protocol):
    """What a tool may do with the call it runs in; annotate a parameter with it to receive it.

    The parameter is filled in by the engine and is not part of the schema the model sees.
    """

    @property
    def id(self) -> str:
        """The call's identifier, as in the records."""
        ...

    @property
    def caller(self) -> str:
        """The identity of the linked caller in the room."""
        ...

    @property
    def ending(self) -> bool:
        """Whether the call is ending already, because `end` was called or for any other reason."""
        ...

    @property
    def idempotency_key(self) -> str:
        """Names this one deed of the tool, the same in every attempt at it: for the service that the tool asks.

        With a `key` in the tool's policy it is the same for the same key throughout the call.
        """
        ...

    @property
    def records(self) -> CallNotes:
        """The call's records."""
        ...

    @property
    def memory(self) -> tuple[Said, ...]:
        """The conversation so far: what the caller said, and what was heard of the agent."""
        ...

    async def say(self, text: str, *, remember: bool = True) -> None:
        """Speak `text` to the caller as the agent, now, without asking the model.

        The model is shown what was heard of it, unless `remember` is false ("one moment, please").
        """
        ...

    async def end(self, farewell: str | None = None) -> None:
        """End the call after what is being said and `farewell` have been played (in bounded time)."""
        ...

    async def transfer(self, to: str, farewell: str | None = None) -> None:
        """Give the caller up to `to` (a number or a name), after the farewell.

        There is no telephony yet that could connect them: the call ends, and its record says whom it was for.
        Do not promise in the farewell that somebody is on the line.
        """
        ...


class CallRecords:
    """One call's notes; `of` is what a single run of a tool gets of them."""

    def __init__(self, journal: Journal, turn: Callable[[], int], tool_call_id: str = "") -> None:
        self._journal = journal
        self._turn = turn
        self._tool_call_id = tool_call_id
        self._notes: dict[str, JsonValue] = {}

    def of(self, tool_call_id: str) -> CallRecords:
        """The same records, in which that tool call's notes are marked as its own."""
        view = CallRecords(self._journal, self._turn, tool_call_id)
        view._notes = self._notes
        return view

    @property
    def notes(self) -> Mapping[str, JsonValue]:
        return MappingProxyType(self._notes)

    async def note(self, name: str, value: object) -> None:
        clean = as_json(value)
        event = ToolNote(turn=self._turn(), tool_call_id=self._tool_call_id, name=name, value=clean)
        await self._journal.durable(self._journal.append(event))
        self._notes[name] = clean


class RunCall:
    """The call of one run of a tool: the call itself, and what is this run's own."""

    def __init__(self, call: Call, idempotency_key: str, records: CallNotes) -> None:
        self._call = call
        self.idempotency_key = idempotency_key
        self.records = records

    @property
    def id(self) -> str:
        return self._call.id

    @property
    def caller(self) -> str:
        return self._call.caller

    @property
    def ending(self) -> bool:
        return self._call.ending

    @property
    def memory(self) -> tuple[Said, ...]:
        return self._call.memory

    async def say(self, text: str, *, remember: bool = True) -> None:
        await self._call.say(text, remember=remember)

    async def end(self, farewell: str | None = None) -> None:
        await self._call.end(farewell)

    async def transfer(self, to: str, farewell: str | None = None) -> None:
        await self._call.transfer(to, farewell)


def conversation(messages: Iterable[object]) -> tuple[Said, ...]:
    """What was said, of the messages that the model is shown; our notes to the model are left out."""
    said: list[Said] = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        who = {"user": "caller", "assistant": "agent"}.get(str(message.get("role")))
        text = message.get("content")
        if who and isinstance(text, str) and text and not (who == "caller" and _is_note(text)):
            said.append((who, text))
    return tuple(said)


def _is_note(text: str) -> bool:
    return (text[0] == "[" and text[-1] == "]") or text.startswith(f"<{NEWS_TAG}>")
