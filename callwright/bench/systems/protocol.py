"""What the bench and a system under test say to each other: JSON lines, orders in, news out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

VoiceVendor = Literal["cartesia", "deepgram"]
"""Cartesia says when each word is spoken, Deepgram does not."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LiveKit(_Line):
    """The server to join, and what tokens for it are signed with."""

    url: str
    key: str
    secret: str


class CallRequest(_Line):
    """Hold one call: join `room`, talk to the one caller there, use the vendors at `stand_ins` with `key`.

    `environment` is set in the system's process before the call (a fresh calendar, for example); `folder` is
    where the system may keep what it writes. `tts` is the vendor of the voice (the agent's own voice is
    Cartesia's); `queue_ms` is how much of the agent's sound the room's queue holds, None leaves the system's own
    default, and a system that cannot set it ends the call with `ok` false. `backup_key` is a second account with the
    same vendors, for a system that can turn to others when one fails; "" if there is none.
    """

    call: str
    room: str
    livekit: LiveKit
    stand_ins: str
    key: str
    backup_key: str = ""
    agent: Path
    folder: Path
    environment: dict[str, str] = {}
    tts: VoiceVendor = "cartesia"
    queue_ms: int | None = None


class Up(_Line):
    """The process has loaded everything and takes orders."""

    news: Literal["up"] = "up"


class Ready(_Line):
    """The agent is in the room.

    `wait_ms` is the silence after which the system's configuration lets a turn end at the earliest;
    `settings` is what is worth knowing about how it is set up.
    """

    news: Literal["ready"] = "ready"
    call: str
    wait_ms: float
    settings: dict[str, JsonValue]


class Ended(_Line):
    """The call is over and the agent has left; `ok` is false where the system says that it failed."""

    news: Literal["ended"] = "ended"
    call: str
    reason: str
    ok: bool


class News(BaseModel):
    """Any line of a system."""

    model_config = ConfigDict(frozen=True)

    line: Up | Ready | Ended
