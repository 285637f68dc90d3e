"""The three stages as they are configured: each with all its vendors, ready to be put into a pipeline."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.services.tts_service import TTSService, WebsocketTTSService

from callwright import vendors
from callwright.agent import Agent
from callwright.clock import Clock
from callwright.config import Config, WatchConfig
from callwright.failover.ears import Ears
from callwright.failover.ears_leg import recogniser
from callwright.failover.ears_watch import EarsWaits
from callwright.failover.mind import Mind
from callwright.failover.priced import learned
from callwright.failover.seat import Seat
from callwright.failover.voice import Voices
from callwright.lines import Lines
from callwright.requests import Requests
from callwright.scribe import Scribe
from callwright.stage import StageConfig
from callwright.trouble import Trouble
from callwright.upstream.ears import SMART_TURN_RATE
from callwright.upstream.mind import Candid, candid
from callwright.upstream.voice import Drops, WordEnds
from callwright.voice import Voice, attentive


def build_ears(config: Config, scribe: Scribe, trouble: Trouble, clock: Clock) -> Ears:
    """All who can recognise the caller's words."""
    return Ears(
        config.stt.line,
        recogniser,
        EarsWaits.within(config.watch),
        rate=SMART_TURN_RATE,
        scribe=scribe,
        owner=trouble,
        clock=clock,
    )


def build_mind(
    agent: Agent,
    config: Config,
    scribe: Scribe,
    trouble: Trouble,
    clock: Clock,
    *,
    store_ms: Callable[[], float] = lambda: 0.0,
) -> Mind:
    """All who can answer; the first vendor has two services, so that it can be asked once more beside itself.

    `store_ms`: agent sound that is still to be heard; none where nobody speaks what is answered.
    """
    line = config.llm.line

    def service(config: StageConfig) -> Candid:
        built: Candid = vendors.build(
            "llm", config, system_prompt=agent.prompt, has_tools=bool(agent.tools), specialise=candid
        )
        return built

    return Mind(
        [[service(one) for _ in range(1 if number else 2)] for number, one in enumerate(line)],
        config.watch,
        Requests("llm", line, scribe.note, lambda: scribe.turn),
        clock,
        trouble,
        learned(line, config.watch.hedge, config.records.price_book),
        store_ms=store_ms,
    )


def build_voices(
    config: Config, lines: Lines, scribe: Scribe, trouble: Trouble, clock: Clock, *, store_ms: Callable[[], float]
) -> Voices:
    """All who can speak, and the lines rendered beforehand. `store_ms`: agent sound that is still to be heard."""
    rate = config.room.output_rate
    return Voices(
        [Seat(number, one, _voice(one, rate, config.watch)) for number, one in enumerate(config.tts.line)],
        lines,
        config.watch,
        clock,
        rate=rate,
        store_ms=store_ms,
        witness=scribe,
        gave_up=trouble.voices_gave_up,
    )


def _voice(config: StageConfig, rate: int, limits: WatchConfig) -> Voice:
    """A vendor's voice with all that is known of its messages; the watch, not Pipecat, decides when it is too late."""
    abilities = vendors.find("tts", config.vendor).abilities

    def specialise(service: type[TTSService]) -> type[TTSService]:
        knows: list[type] = [WordEnds] if "word_ends" in abilities else []
        if issubclass(service, WebsocketTTSService):
            knows.append(Drops)
        return attentive(service, *knows)

    patience_s = max(3.0, 1.0 + max(limits.first_audio_ms, limits.audio_gap_ms) / 1000)
    voice: Voice = vendors.build(
        "tts",
        config,
        sample_rate=rate,
        arguments={"stop_frame_timeout_s": patience_s},
        specialise=specialise,
    )
    return voice
