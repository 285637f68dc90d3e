"""The shape of one row of the vendor table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import JsonValue

from callwright.stage import Stage
from callwright.vendors.endpoint import Root, parse_root

if TYPE_CHECKING:
    from httpx import AsyncClient

Ability = Literal[
    "word_timestamps",
    "word_ends",
    "end_of_turn",
    "empty_finals",
    "streaming",
    "speaks_pieces",
    "parallel_tools",
    "prompt_cache",
    "gross_prompt_tokens",
]
"""What a vendor can do.

speaks_pieces        its voice says every piece of text at once; others wait for the end of a sentence, or of the text
word_ends            its voice says where words end, in messages that `upstream.voice.WordEnds` reads
end_of_turn          its ears judge for themselves when the caller has finished, and settle nothing before
empty_finals         its ears answer the end of speech even when there was no word, as `upstream.ears.EmptyFinals` reads
gross_prompt_tokens  its count of prompt tokens includes those read from its cache
"""
Settings = Mapping[str, JsonValue]

Render = Callable[["AsyncClient", Root, str, str, Settings, str, int], Awaitable[bytes]]
"""(client, root, key, model, settings, text, rate in Hz) → the text as s16le mono; see `vendors.render`."""

CUSTOM_MODEL = "custom:"
"""Written before a model's name, it says: I know that this version of Callwright does not know it."""


@dataclass(frozen=True)
class Setting:
    """One thing a user may set for a vendor, under its name in Pipecat wherever it has one there."""

    type: Any
    """A type as Pydantic understands it, checked strictly: `float`, `Literal["5m", "1h"]`, …"""
    default: JsonValue
    """None means: not sent, so the vendor's own default holds."""
    doc: str
    where: Literal["setting", "constructor", "row"] = "setting"
    """A field of the service's Settings, an argument of its constructor, or for the row's own functions."""
    refused_by: tuple[str, ...] = ()
    """Models (shell patterns) whose API answers this parameter with a 400."""


@dataclass(frozen=True)
class Probe:
    """The cheapest request that tells a good key from a refused one, for `callwright doctor`."""

    path: str
    headers: Callable[[str], dict[str, str]]
    """Key → headers."""


@dataclass(frozen=True)
class Vendor:
    """All that is known about one vendor for one stage. Code asks for an ability, never for a name."""

    name: str
    stage: Stage
    service: str
    """`module:Class` of the Pipecat service, imported only when it is built."""
    key_env: str
    keys_url: str
    """The page on which a user makes a key."""
    root: str
    """The vendor's own server."""
    endings: tuple[str, ...]
    """Paths a user may have left on a base_url; they are cut off."""
    endpoint: Callable[[Root, str, Settings], dict[str, object]]
    """Server, key and settings → the constructor arguments that make the service talk to that server."""
    effective: Callable[[Any], str]
    """A built service → the address it will really use (see `effective.py`)."""
    probe: Probe
    default_model: str
    models: tuple[str, ...]
    settings: Mapping[str, Setting]
    abilities: frozenset[Ability]
    rates: tuple[int, ...] = ()
    """Sample rates in Hz the vendor takes or gives as 16-bit PCM; empty for a stage without sound."""
    fold: Callable[[Settings, bool], dict[str, object]] = field(default=lambda settings, has_tools: {})
    """Settings marked "row", and whether tools are offered → fields of the service's Settings."""
    render: Render | None = None
    """Synthesizes a whole line in one request; None where the vendor's batch endpoint is not known."""
    stand_in: bool = False
    """Whether `callwright.simulators` speaks this vendor's protocol."""

    def knows(self, model: str) -> bool:
        """Whether `model` is a known model, or a dated snapshot (`…-20251001`, `…-2026-05-04`) of one."""
        return any(
            model == known or (model.startswith(f"{known}-") and _is_date(model[len(known) + 1 :]))
            for known in self.models
        )

    def default_root(self) -> Root:
        """The vendor's own server, parsed."""
        return parse_root(self.root)


def _is_date(text: str) -> bool:
    digits = text.replace("-", "")
    return len(digits) == 8 and digits.isdigit()
