"""An account: the API key by which the stand-ins tell one simulated call from another.

Settings, seeded randomness, ordered faults, the log of what was really served, and what the oracle ears know
hang on it. The log stays in memory: it may carry words, so nothing of it goes to a log file.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from callwright.simulators.faults import FaultBook, Stage
from callwright.simulators.produced import Production
from callwright.simulators.recogniser import Recognisers

if TYPE_CHECKING:
    from callwright.simulators.voice import Voice

_Z95 = 1.6448536269514722  # 95th percentile of the standard normal distribution


@dataclass(frozen=True)
class Delay:
    """A log-normal delay given by its median and 95th percentile, in ms; equal figures make it constant."""

    p50_ms: float
    p95_ms: float

    def __post_init__(self) -> None:
        if not 0 <= self.p50_ms <= self.p95_ms:
            raise ValueError(f"a delay needs 0 <= p50_ms <= p95_ms, got {self.p50_ms} and {self.p95_ms}")

    def draw(self, rng: random.Random) -> float:
        """One delay in seconds."""
        if self.p50_ms == 0 or self.p95_ms == self.p50_ms:
            return self.p50_ms / 1000
        sigma = math.log(self.p95_ms / self.p50_ms) / _Z95
        return rng.lognormvariate(math.log(self.p50_ms), sigma) / 1000


class AccountSettings(BaseModel):
    """How the vendors behave towards one account.

    Where the default delays come from:
      stt_final, stt_speech_final  pipecat-ai/stt-benchmark (2026-06-22): Deepgram nova-3 247/298 ms from the
                                   end of speech, 200 ms of which is the benchmark's own VAD window
      flux_end_of_turn             Deepgram's figures for Flux: about 260 ms median, 1.5 s p95
      llm_first_token              kwindla/aiewf-eval (2026-08-18), Claude Haiku class
      llm_tokens_per_s             CallSphere (2026-04): 100 to 180 for Claude Haiku
      tts_first_audio              Coval (2026-05-04), Cartesia sonic-3: median 188, IQR 100, p95 derived
      tts_leading_silence_ms       kwindla/aiewf-eval (2026-08-18): 150 to 250 ms before the first sound
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    ears: Literal["pocketsphinx", "oracle"] = "pocketsphinx"
    brain_rules: str | None = None  # path of a rules file; None: the server's default
    speed: float = Field(default=1.0, ge=0)  # multiplies every delay; 0: no delays and no pacing at all
    stt_final: Delay = Delay(60, 120)  # Finalize received -> final Results
    stt_interim_ms: int = Field(default=250, gt=0)  # audio time between interim transcripts
    stt_speech_final: Delay = Delay(150, 300)  # on top of `endpointing`, for a final nobody asked for
    flux_end_of_turn: Delay = Delay(260, 1500)  # end of the last word -> EndOfTurn
    llm_first_token: Delay = Delay(637, 1615)
    llm_tokens_per_s: float = Field(default=120, gt=0)
    llm_cache_hit_factor: float = Field(default=1.0, ge=0)  # multiplies llm_first_token on a cache read
    tts_first_audio: Delay = Delay(188, 357)
    tts_pace: float = 3.0  # audio is sent at this multiple of real time after the first chunk; <= 0: all at once
    tts_chunk_ms: int = Field(default=100, gt=0)
    tts_leading_silence_ms: tuple[int, int] = (150, 250)  # uniform between the two
    keep_speech: bool = False  # keep what voices send, for `Control.speech`

    @property
    def paced(self) -> bool:
        return self.speed > 0 and self.tts_pace > 0


class Served(BaseModel):
    """One thing really sent to a client. Times are `time.monotonic()` of the server's process, in seconds."""

    stage: Stage
    what: str  # "final", "first_token", "first_audio", "turn_end", "refused", "cancelled", …
    at: float
    request_at: float | None = None  # when its cause arrived
    delay_ms: float = 0.0  # really injected: from request_at to `at`
    leading_silence_ms: float = 0.0
    context_id: str = ""
    request_id: str = ""
    detail: dict[str, JsonValue] = Field(default_factory=dict)


class SpokenWord(BaseModel):
    """A word as the caller's voice speaks it; seconds from the first sample of its utterance."""

    model_config = ConfigDict(extra="forbid")

    word: str
    start: float = Field(ge=0)
    end: float = Field(ge=0)


class Utterance(BaseModel):
    """What the caller begins to say now; without words it is a noise."""

    model_config = ConfigDict(extra="forbid")

    text: str
    words: tuple[SpokenWord, ...] = ()
    duration: float = Field(ge=0)  # seconds


@dataclass
class Account:
    """Everything the stand-ins know about one API key."""

    key: str
    settings: AccountSettings = field(default_factory=AccountSettings)
    monotonic: Callable[[], float] = time.monotonic
    served: list[Served] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)  # bodies sent to language models, as received
    faults: FaultBook = field(default_factory=FaultBook)
    speech: list[Production] = field(default_factory=list)  # with keep_speech: one a context, oldest first
    utterances: list[tuple[float, Utterance]] = field(default_factory=list)  # (announced at, what), oldest first
    rng: random.Random = field(init=False)
    _draws: dict[str, random.Random] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.settings.seed)

    def configure(self, settings: AccountSettings) -> None:
        """Take new settings and start all draws again from their seed; log and faults stay."""
        self.settings = settings
        self.rng = random.Random(settings.seed)
        self._draws.clear()

    def random_for(self, purpose: str) -> random.Random:
        """The generator of one purpose ("tts_first_audio"): seeded by settings.seed and the purpose alone, so
        that one stage's draws do not depend on how the stages happen to interleave."""
        rng = self._draws.get(purpose)
        if rng is None:
            rng = self._draws[purpose] = random.Random(f"{self.settings.seed}/{purpose}")
        return rng

    def draw(self, name: str) -> float:
        """The next delay of the setting `name`, in seconds, after `speed`.

        Drawn even at speed 0, so that a run at another speed meets the same sequence.
        """
        delay = getattr(self.settings, name)
        if not isinstance(delay, Delay):
            raise TypeError(f"AccountSettings.{name} is not a delay")
        return delay.draw(self.random_for(name)) * self.settings.speed

    def log(
        self,
        stage: Stage,
        what: str,
        *,
        request_at: float | None = None,
        leading_silence_ms: float = 0.0,
        context_id: str = "",
        request_id: str = "",
        detail: dict[str, JsonValue] | None = None,
    ) -> Served:
        """Note that `what` has just been sent; the delay is measured from `request_at` to now."""
        now = self.monotonic()
        line = Served(
            stage=stage,
            what=what,
            at=now,
            request_at=request_at,
            delay_ms=0.0 if request_at is None else (now - request_at) * 1000,
            leading_silence_ms=leading_silence_ms,
            context_id=context_id,
            request_id=request_id,
            detail=detail or {},
        )
        self.served.append(line)
        return line

    def announce(self, utterance: Utterance) -> None:
        self.utterances.append((self.monotonic(), utterance))

    def next_utterance(
        self, number: int = 0, *, again: bool = False, grace_s: float = 5.0
    ) -> tuple[int, Utterance] | None:
        """What a stream hears next, and its number: the first announced from `number` on.

        `again`: if there is none, the newest before; a stream in the place of another is given again what that one
        has not settled. An utterance expires its own duration and `grace_s` after it was announced.
        """
        now = self.monotonic()
        known = [
            (at, utterance)
            for at, (announced_at, utterance) in enumerate(self.utterances)
            if now <= announced_at + utterance.duration + grace_s
        ]
        newest = known[-1] if again and known else None
        return next((one for one in known if one[0] >= number), newest)


class Accounts:
    """All accounts of one server, made when first asked for.

    A key that begins with "refused" is refused always; another unknown one unless `accept_unknown` is set.
    """

    def __init__(
        self,
        default: AccountSettings | None = None,
        *,
        accept_unknown: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._default = default or AccountSettings()
        self._accept_unknown = accept_unknown
        self._monotonic = monotonic
        self._by_key: dict[str, Account] = {}

    def get(self, key: str) -> Account:
        """The account of `key`, with default settings when it is new."""
        account = self._by_key.get(key)
        if account is None:
            account = self._by_key[key] = Account(key, self._default, self._monotonic)
        return account

    def find(self, key: str | None) -> Account | None:
        """The account of a client that shows `key`; None when the vendor would refuse it."""
        if not key or key.startswith("refused"):
            return None
        if not self._accept_unknown and key not in self._by_key:
            return None
        return self.get(key)

    def configure(self, key: str, settings: AccountSettings) -> Account:
        account = self.get(key)
        account.configure(settings)
        return account


@dataclass
class World:
    """What every vendor module needs of the server it is part of."""

    accounts: Accounts
    voice: Voice
    default_rules: Path | None = None
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    recognisers: Recognisers = field(default_factory=Recognisers)

    async def sleep_until(self, due: float) -> None:
        """Sleep to the monotonic time `due`; at once if that is past."""
        if (left := due - self.monotonic()) > 0:
            await self.sleep(left)
