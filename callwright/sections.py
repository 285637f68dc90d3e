"""The parts of a configuration that are the same for every vendor, with their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from platformdirs import user_cache_path, user_data_path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from callwright.errors import ConfigError
from callwright.vendors.endpoint import parse_root


def _server(url: str) -> str:
    parse_root(url, endings=("/rtc",))
    return url.strip()


def _database(url: str) -> str:
    # A bare path is what people type; as a URL it has three slashes in front, four if it begins with one.
    return url if "://" in url else f"sqlite:///{Path(url).expanduser()}"


def _directory(path: str) -> str:
    return str(Path(path).expanduser())


def _growing(seconds: list[float]) -> list[float]:
    if seconds != sorted(seconds):
        raise ValueError("must not shrink from one silence to the next")
    return seconds


def _lines(lines: list[str]) -> list[str]:
    if any(not line.strip() or not line.isprintable() for line in lines):
        raise ValueError("must hold one spoken line each")
    if len({line.strip() for line in lines}) != len(lines) or len(lines) == 1:
        raise ValueError("must hold two different lines at least: none is said twice running")
    return [line.strip() for line in lines]


def _hold_sound(name: str) -> str:
    path = Path(name).expanduser()
    if name == SOFT:
        return name
    if path.suffix.lower() != ".wav" or not path.is_file():
        raise ValueError(f"must be '{SOFT}' or the path of a WAV file that is there")
    return str(path)


SOFT = "soft"
"""The hold sound that comes with Callwright."""


class Section(BaseModel):
    """Closed, unchangeable, and strict: `"200"` is not a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TurnConfig(Section):
    """When the caller has begun and finished a turn. Voice activity figures are Pipecat 1.14's."""

    vad_stop_ms: Annotated[int, Ge(50), Le(2000)] = 200
    """Silence after which speech may have ended."""
    vad_start_ms: Annotated[int, Ge(32), Le(2000)] = 200
    """Speech after which it has begun."""
    vad_confidence: Annotated[float, Ge(0), Le(1)] = 0.7
    vad_min_volume: Annotated[float, Ge(0), Le(1)] = 0.6
    smart_turn: bool = True
    """Ask the end-of-turn model whether the caller sounds finished; False: silence alone decides."""
    incomplete_ms: Annotated[int, Ge(0), Le(10000)] = 1200
    """How long to wait all the same when that model says: not finished."""
    max_turn_s: Annotated[float, Gt(0), Le(600)] = 60.0
    """A turn that nothing else has ended ends this long after the last sign of the caller's speech."""


Hedging = Literal["off", "same", "next"] | bool


class WatchConfig(Section):
    """How long each stage may keep the caller waiting before another takes over, all in ms.

    A caller repeats themselves or hangs up after a second or two of silence, so that nothing here may be longer.
    """

    transcript_ms: Annotated[int, Ge(200), Le(10000)] = 700
    """From the end of the caller's speech to its final words: twice the p99 of the default recogniser (326 ms), so
    that less than one turn in 10,000 is asked twice, and the next has its words within a second of when they were due.
    """
    first_token_ms: Annotated[int, Ge(200), Le(60000)] = 1500
    """From asking the model to its first token or tool call; another is asked then, and the first answer wins. With a
    fallback it is asked sooner, as soon as seven of ten first tokens would have come (`failover.hedge`)."""
    token_gap_ms: Annotated[int, Ge(200), Le(60000)] = 1000
    """How long an answer that has not ended may bring fewer words than are spoken meanwhile. It is let alone while
    enough of it is left to be heard, so that a pause is a fault only where the caller would hear it."""
    first_audio_ms: Annotated[int, Ge(200), Le(10000)] = 700
    """From the first text for the voice to its first audio. With the published 188/357 ms (p50/p95, log-normal) and 150
    to 250 ms of silence ahead, 0.6 texts in 1,000 go to the next voice for nothing (600: 2.4, 800: 0.1, 1000: 0.02),
    and that one is heard 920 ms (p95) after the first would have been (800: 1020). Asked with a look every 40 ms.
    """
    audio_gap_ms: Annotated[int, Ge(100), Le(10000)] = 800
    """How long the caller may hear nothing in the middle of what the voice has begun to say."""
    turn_budget_ms: Annotated[int, Ge(500), Le(60000)] = 6000
    """After so much of retrying and changing vendors the agent says that it does not work."""
    hedge: Hedging = False
    """Ask once more when the first token is later than usual, and take the first answer: the `next` model of the
    fallback list, or the `same` one; true: whichever may be asked sooner for at most 15 % more spend, which is the
    next one if it is cheaper (callwright bench hedge)."""


class RoomConfig(Section):
    """The LiveKit room. Server and credentials may be absent until they are needed."""

    url: Annotated[str, AfterValidator(_server)] | None = None
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    output_queue_ms: Annotated[int, Ge(50), Le(1000)] = 150
    """Agent sound held in the room's queue: a stall of the program shorter than this is not heard."""
    audio_from: Literal["linked", "all"] = "linked"
    """Hear the one linked caller, or everyone in the room mixed up."""
    token_ttl_s: Annotated[int, Ge(30), Le(86400)] = 600
    """How long a token may be used to join; a joined room outlives it."""
    agent_identity_prefix: Annotated[str, Field(min_length=1, max_length=64)] = "agent"
    connect_timeout_s: Annotated[float, Gt(0), Le(120)] = 10.0
    output_rate: Literal[16000, 24000, 48000] = 24000
    """Hz, the agent's sound from the voice to the room. The caller's is 16000, which the turn models want."""

    def credentials(self) -> tuple[str, str, str]:
        """Server, key and secret; a ConfigError naming the variables that are missing."""
        if self.url is None or self.api_key is None or self.api_secret is None:
            given = (
                ("LIVEKIT_URL", self.url),
                ("LIVEKIT_API_KEY", self.api_key),
                ("LIVEKIT_API_SECRET", self.api_secret),
            )
            missing = ", ".join(name for name, value in given if value is None)
            raise ConfigError(f"no LiveKit server to go to: set {missing}")
        return self.url, self.api_key.get_secret_value(), self.api_secret.get_secret_value()


class CallConfig(Section):
    """Limits of a call, all in seconds, and where the lines it always says are kept."""

    end_timeout_s: Annotated[float, Ge(0), Le(60)] = 8.0
    """How long the farewell may play before the call ends anyway."""
    max_duration_s: Annotated[float, Gt(0), Le(86400)] = 3600.0
    wait_for_caller_s: Annotated[float, Gt(0), Le(86400)] = 120.0
    """How long an agent waits in an empty room."""
    silence_s: Annotated[float, Ge(0), Le(3600)] = 0.0
    """End the call when neither side has made a sound for so long; 0 never does."""
    lines_cache: Annotated[str, AfterValidator(_directory)] = Field(
        default_factory=lambda: str(user_cache_path("callwright") / "lines")
    )
    """Greeting, fillers and the like, rendered beforehand: shared by all calls on this machine."""


class FillerConfig(Section):
    """What the agent says while the caller waits. Times are silence: the sounds between it do not count.

    The silences are chosen so that with a tool of 4 s none is longer than 1.2 s at the caller's ear: an answer that is
    written just before a line is due is waited for, and its voice takes another 0.2 to 0.5 s.
    """

    enabled: bool = True
    after_ms: Annotated[int, Ge(300), Le(10000)] = 650
    """No line begins sooner after the caller's last word. 650 and the way through the room is heard at 0.8 s."""
    tool_after_ms: Annotated[int, Ge(0), Le(10000)] = 100
    """Nor sooner after a tool has begun: one that ends the call has said so by then."""
    latest_ms: Annotated[int, Ge(300), Le(20000)] = 1600
    """So much silence is broken even if the model may be about to answer; sooner only where waits are long in this
    call, or a tool is known to run. It leaves 0.4 s for the way to the caller's ear, where no silence may reach 2 s."""
    intervals_s: Annotated[
        list[Annotated[float, Ge(0.3), Le(120)]], Field(min_length=1, max_length=32), AfterValidator(_growing)
    ] = [0.7, 0.8, 0.9, 1.5, 2.5, 4.0, 6.0, 8.0]
    """Silence before the second line, the third, …; the last one is for all that follow."""
    lines: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=64), AfterValidator(_lines)] = []
    """Said in place of the agent's own and the built-in lines; what a tool brings with it still comes first."""
    hold_sound: Annotated[str, AfterValidator(_hold_sound)] | None = None
    """"soft" or the path of a WAV file, looped in a long wait; null leaves it silent between the lines."""
    hold_after_s: Annotated[float, Ge(1), Le(120)] = 5.0
    """How long the caller has waited when the hold sound begins."""


class RecordsConfig(Section):
    """What remains of a call, and where. `database` is a URL, or the path of an SQLite file."""

    database: Annotated[str, AfterValidator(_database)] = Field(
        # A URL may hold a password, and a repr may end in a log.
        repr=False,
        default_factory=lambda: f"sqlite:///{user_data_path('callwright') / 'calls.db'}",
    )
    recordings: Annotated[str, AfterValidator(_directory)] = Field(
        default_factory=lambda: str(user_data_path("callwright") / "recordings")
    )
    record_audio: bool = True
    price_book: Annotated[str, AfterValidator(_directory)] | None = None
    """A CSV of prices in place of the one that comes with Callwright."""
