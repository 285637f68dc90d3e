"""The vendor table: one row per vendor and stage.

Facts are from the vendors' own documents as of 2026-10 and from pipecat-ai 1.14.0's signatures. A new vendor
is a new row here, and nothing else anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from callwright.stage import Stage
from callwright.vendors import effective, render
from callwright.vendors.endpoint import Root
from callwright.vendors.row import Probe, Setting, Settings, Vendor

Positive = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]

_LANGUAGE = Setting(str, "en", "Language as a BCP 47 tag.")

# Pipecat's own values (5 s to give up a send, 4 s before a reconnect) are longer than a caller's patience: a
# stalled socket would hold the interruption behind it, because the cancel message is awaited first.
_WEBSOCKET: dict[str, Setting] = {
    "ws_send_timeout": Setting(
        Annotated[float, Ge(0.05), Le(10)], 0.5, "Seconds a send may wait on a stalled socket.", "constructor"
    ),
    "reconnect_backoff_min_wait": Setting(
        Annotated[float, Ge(0.05), Le(10)],
        0.25,
        "Seconds before the second reconnect attempt.",
        "constructor",
    ),
    "ws_close_timeout": Setting(
        Annotated[float, Ge(0.05), Le(10)], 0.25, "Seconds a dead peer may take to agree to a close.", "constructor"
    ),
    "reconnect_backoff_max_wait": Setting(
        Annotated[float, Ge(0.05), Le(30)], 2.0, "Seconds between reconnect attempts at most.", "constructor"
    ),
}

# The SDKs would wait 600 s and retry twice, obeying any retry-after without a cap: a mute call. To retry
# is our decision, taken where something can be said meanwhile.
_HTTP: dict[str, Setting] = {
    "timeout_s": Setting(Annotated[float, Ge(1), Le(120)], 15.0, "Seconds without a byte before giving up.", "row"),
    "max_retries": Setting(Annotated[int, Ge(0), Le(5)], 0, "Silent retries inside the vendor's SDK.", "row"),
}


def _deepgram(root: Root, key: str, settings: Settings) -> dict[str, object]:
    return {"api_key": key, "base_url": root.ws}


def _flux(root: Root, key: str, settings: Settings) -> dict[str, object]:
    return {"api_key": key, "url": f"{root.ws}/v2/listen"}


def _anthropic(root: Root, key: str, settings: Settings) -> dict[str, object]:
    from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient, Timeout
    from httpx2 import Limits  # the HTTP library of the anthropic SDK

    wait = float(str(settings["timeout_s"]))
    timeout = Timeout(wait, connect=min(wait, 3.0))
    client = AsyncAnthropic(
        api_key=key,
        base_url=root.http,
        timeout=timeout,
        max_retries=int(str(settings["max_retries"])),
        # The SDK drops an idle connection after 5 s, less than a turn: each answer would begin with a TLS handshake.
        http_client=DefaultAsyncHttpxClient(
            base_url=root.http, timeout=timeout, limits=Limits(max_connections=10, keepalive_expiry=300)
        ),
    )
    return {"api_key": key, "client": client}


def _anthropic_fold(settings: Settings, has_tools: bool) -> dict[str, object]:
    # tool_choice without tools is a 400.
    if settings["parallel_tools"] or not has_tools:
        return {}
    return {"extra": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}}


def _openai(root: Root, key: str, settings: Settings) -> dict[str, object]:
    return {
        "api_key": key,
        "base_url": f"{root.http}/v1",
        "timeout_s": settings["timeout_s"],
        "max_retries": settings["max_retries"],
    }


def _cartesia(root: Root, key: str, settings: Settings) -> dict[str, object]:
    return {"api_key": key, "url": f"{root.ws}/tts/websocket"}


def _cartesia_fold(settings: Settings, has_tools: bool) -> dict[str, object]:
    given: dict[str, Any] = {
        name: settings[name] for name in ("speed", "volume", "emotion") if settings.get(name) is not None
    }
    if not given:
        return {}
    from pipecat.services.cartesia.tts import GenerationConfig

    return {"generation_config": GenerationConfig(**given)}


def _elevenlabs(root: Root, key: str, settings: Settings) -> dict[str, object]:
    return {"api_key": key, "url": root.ws}


def _token(key: str) -> dict[str, str]:
    return {"Authorization": f"Token {key}"}


_DEEPGRAM_KEYS = "https://console.deepgram.com"

ROWS: tuple[Vendor, ...] = (
    Vendor(
        name="deepgram",
        stage="stt",
        service="pipecat.services.deepgram.stt:DeepgramSTTService",
        key_env="DEEPGRAM_API_KEY",
        keys_url=_DEEPGRAM_KEYS,
        root="https://api.deepgram.com",
        endings=("/v1/listen", "/v1"),
        endpoint=_deepgram,
        effective=effective.deepgram_sdk,
        probe=Probe("/v1/projects", _token),
        default_model="nova-3-general",
        models=(
            "nova-3-general",
            "nova-3",
            "nova-3-medical",
            "nova-2-general",
            "nova-2",
            "nova-2-phonecall",
            "nova-2-medical",
            "nova-2-conversationalai",
        ),
        settings={
            "language": _LANGUAGE,
            "interim_results": Setting(bool, True, "Words while the caller still speaks."),
            "punctuate": Setting(bool, True, "Punctuation and capitals."),
            "smart_format": Setting(bool, False, "Dates, times, numbers in written form; may hold words back."),
            "numerals": Setting(bool, None, "Digits instead of number words."),
            "profanity_filter": Setting(bool, None, "Mask profanity."),
            "keyterm": Setting(list[str], None, "Words to expect: names, products, places."),
            # Deepgram's own endpointing (10 ms by default) would cut finals at every breath and leave nothing for
            # the Finalize at the end of speech to confirm, so that the turn waits for a reply that is empty.
            "endpointing": Setting(
                Literal[False] | Annotated[int, Ge(10), Le(5000)], False, "Milliseconds of silence, or false."
            ),
            "utterance_end_ms": Setting(Annotated[int, Ge(1000), Le(5000)], None, "Gap between words, in ms."),
            "redact": Setting(list[str], None, "Kinds of personal data Deepgram is to remove."),
            "mip_opt_out": Setting(bool, True, "Audio is not used to train Deepgram's models.", "constructor"),
            "tag": Setting(str, None, "Label on Deepgram's usage report.", "constructor"),
            "ttfs_p99_latency": Setting(
                Annotated[float, Ge(0), Le(5)],
                None,
                "Seconds from end of speech to final words that turn-taking allows for.",
                "constructor",
            ),
        },
        abilities=frozenset({"streaming", "empty_finals"}),
        rates=(8000, 16000, 24000, 32000, 44100, 48000),
        stand_in=True,
    ),
    Vendor(
        name="deepgram-flux",
        stage="stt",
        service="pipecat.services.deepgram.flux.stt:DeepgramFluxSTTService",
        key_env="DEEPGRAM_API_KEY",
        keys_url=_DEEPGRAM_KEYS,
        root="https://api.deepgram.com",
        endings=("/v2/listen", "/v2"),
        endpoint=_flux,
        effective=effective.url_attribute,
        probe=Probe("/v1/projects", _token),
        default_model="flux-general-en",
        models=("flux-general-en", "flux-general-multi"),
        settings={
            "eot_threshold": Setting(Annotated[float, Ge(0.5), Le(0.9)], None, "Confidence that ends a turn."),
            "eager_eot_threshold": Setting(Annotated[float, Ge(0.3), Le(0.9)], None, "Confidence for a guess."),
            "eot_timeout_ms": Setting(Annotated[int, Ge(500), Le(10000)], None, "Silence that ends a turn, in ms."),
            "keyterm": Setting(list[str], None, "Words to expect: names, products, places."),
            "min_confidence": Setting(Share, None, "Words below this are dropped."),
            "language_hints": Setting(list[str], None, "Languages to expect; flux-general-multi only."),
            "mip_opt_out": Setting(bool, True, "Audio is not used to train Deepgram's models.", "constructor"),
        },
        abilities=frozenset({"streaming", "end_of_turn"}),
        rates=(8000, 16000, 24000, 44100, 48000),
        stand_in=True,
    ),
    Vendor(
        name="anthropic",
        stage="llm",
        service="pipecat.services.anthropic.llm:AnthropicLLMService",
        key_env="ANTHROPIC_API_KEY",
        keys_url="https://platform.claude.com/settings/keys",
        root="https://api.anthropic.com",
        endings=("/v1/messages", "/v1"),
        endpoint=_anthropic,
        effective=effective.http_client,
        probe=Probe("/v1/models?limit=1", lambda key: {"x-api-key": key, "anthropic-version": "2023-06-01"}),
        # Caches prompts from 512 tokens (platform.claude.com, 2026-10-10). Haiku 4.5 needs 4,096: the usual
        # voice prompt of 1,000 to 3,000 tokens would never be cached there.
        default_model="claude-haiku-5-5",
        models=(
            "claude-haiku-5-5",
            "claude-sonnet-5-5",
            "claude-opus-5-5",
            "claude-fable-5-1",
            "claude-fable-5",
            "claude-sonnet-5",
            "claude-opus-5",
            "claude-opus-4-8",
            "claude-opus-4-7",
            "claude-opus-4-6",
            "claude-opus-4-5",
            "claude-sonnet-4-6",
            "claude-sonnet-4-5",
            "claude-haiku-4-5",
        ),
        settings={
            "max_tokens": Setting(Annotated[int, Ge(1), Le(64000)], 400, "Longest answer; a spoken one is short."),
            "enable_prompt_caching": Setting(bool, True, "Pay a tenth for the part of the prompt that stays."),
            "system_prompt_cache_ttl": Setting(Literal["5m", "1h"], None, "How long the system prompt is kept."),
            "effort": Setting(Literal["low", "medium", "high", "xhigh", "max"], None, "How much the model thinks."),
            "temperature": Setting(
                Share,
                None,
                "Randomness; models since 4.7 accept no other than their own.",
                refused_by=("claude-opus-4-[78]*", "claude-*-5", "claude-*-5-[1-9]"),
            ),
            "parallel_tools": Setting(bool, True, "Let the model ask for several tools at once.", "row"),
            **_HTTP,
        },
        abilities=frozenset({"streaming", "prompt_cache", "parallel_tools"}),
        fold=_anthropic_fold,
        stand_in=True,
    ),
    Vendor(
        name="openai",
        stage="llm",
        service="callwright.vendors.openai:PromptOpenAILLMService",
        key_env="OPENAI_API_KEY",
        keys_url="https://platform.openai.com/api-keys",
        root="https://api.openai.com",
        endings=("/v1/chat/completions", "/v1"),
        endpoint=_openai,
        effective=effective.http_client,
        probe=Probe("/v1/models", lambda key: {"Authorization": f"Bearer {key}"}),
        default_model="gpt-4.1",
        models=(
            "gpt-4.1",
            "gpt-4.1-mini",
            "gpt-4.1-nano",
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-5.1",
            "gpt-5.4",
            "gpt-5.6-luna",
            "gpt-6-luna",
            "gpt-6.1-terra",
            "gpt-6.1-sol",
        ),
        settings={
            "max_completion_tokens": Setting(
                Annotated[int, Ge(1), Le(64000)], 400, "Longest answer; a spoken one is short."
            ),
            "temperature": Setting(Annotated[float, Ge(0), Le(2)], None, "Randomness.", refused_by=("gpt-[5-9]*",)),
            "service_tier": Setting(Literal["auto", "default", "flex", "priority"], None, "Tier.", "constructor"),
            **_HTTP,
        },
        abilities=frozenset({"streaming", "prompt_cache", "parallel_tools", "gross_prompt_tokens"}),
        stand_in=True,
    ),
    Vendor(
        name="cartesia",
        stage="tts",
        service="pipecat.services.cartesia.tts:CartesiaTTSService",
        key_env="CARTESIA_API_KEY",
        keys_url="https://play.cartesia.ai/keys",
        root="https://api.cartesia.ai",
        endings=("/tts/websocket",),
        endpoint=_cartesia,
        effective=effective.url_attribute,
        probe=Probe("/voices?limit=1", lambda key: {"X-API-Key": key, "Cartesia-Version": "2026-03-01"}),
        default_model="sonic-3.6",
        models=("sonic-3.6", "sonic-3.5", "sonic-3", "sonic-latest"),
        settings={
            # "Katie" of Cartesia's public library.
            "voice": Setting(str, "f786b574-daa5-4673-aa0c-cbe3e8534c02", "Id of the voice."),
            "language": _LANGUAGE,
            "speed": Setting(Annotated[float, Ge(0.6), Le(1.5)], None, "Pace; 1 is the voice's own.", "row"),
            "volume": Setting(Annotated[float, Ge(0.5), Le(2)], None, "Loudness; 1 is the voice's own.", "row"),
            "emotion": Setting(str, None, "Tone, such as neutral, content, sympathetic.", "row"),
            "pronunciation_dict_id": Setting(str, None, "A pronunciation dictionary kept at Cartesia."),
            "max_buffer_delay_ms": Setting(
                Annotated[int, Ge(0), Le(5000)],
                None,
                "How long Cartesia may wait for more text.",
                "constructor",
            ),
            **_WEBSOCKET,
        },
        abilities=frozenset({"streaming", "speaks_pieces", "word_timestamps", "word_ends"}),
        rates=(8000, 16000, 22050, 24000, 44100, 48000),
        fold=_cartesia_fold,
        render=render.cartesia,
        stand_in=True,
    ),
    Vendor(
        name="deepgram",
        stage="tts",
        service="pipecat.services.deepgram.tts:DeepgramTTSService",
        key_env="DEEPGRAM_API_KEY",
        keys_url=_DEEPGRAM_KEYS,
        root="https://api.deepgram.com",
        endings=("/v1/speak", "/v1"),
        endpoint=_deepgram,
        effective=effective.base_url_attribute,
        probe=Probe("/v1/projects", _token),
        # Deepgram's own parameter `model` names the voice, as Pipecat's setting `voice` does: this is its family.
        default_model="aura-2",
        models=("aura-2",),
        settings={
            "voice": Setting(str, "aura-2-thalia-en", "Name of the voice, such as aura-2-apollo-en."),
            "speed": Setting(Annotated[float, Ge(0.7), Le(1.5)], None, "Pace; 1 is the voice's own."),
            "mip_opt_out": Setting(bool, True, "Text is not used to train Deepgram's models.", "constructor"),
            **_WEBSOCKET,
        },
        abilities=frozenset({"streaming"}),
        rates=(8000, 16000, 24000, 32000, 48000),
        render=render.deepgram,
        stand_in=True,
    ),
    Vendor(
        name="elevenlabs",
        stage="tts",
        service="pipecat.services.elevenlabs.tts:ElevenLabsTTSService",
        key_env="ELEVENLABS_API_KEY",
        keys_url="https://elevenlabs.io/app/settings/api-keys",
        root="https://api.elevenlabs.io",
        endings=("/v1/text-to-speech", "/v1"),
        endpoint=_elevenlabs,
        effective=effective.url_attribute,
        probe=Probe("/v1/models", lambda key: {"xi-api-key": key}),
        default_model="eleven_flash_v2_5",
        models=("eleven_flash_v2_5", "eleven_turbo_v2_5", "eleven_multilingual_v2", "eleven_flash_v2"),
        settings={
            # "Sarah", one of ElevenLabs' premade voices.
            "voice": Setting(str, "EXAVITQu4vr4xnSDxMaL", "Id of the voice."),
            "language": Setting(str, None, "Language as a BCP 47 tag; the model guesses without."),
            "stability": Setting(Share, None, "Evenness of tone."),
            "similarity_boost": Setting(Share, None, "Closeness to the original voice."),
            "style": Setting(Share, None, "Exaggeration of style."),
            "use_speaker_boost": Setting(bool, None, "Closer to the speaker, slower."),
            "speed": Setting(Annotated[float, Ge(0.7), Le(1.2)], None, "Pace; 1 is the voice's own."),
            "apply_text_normalization": Setting(Literal["auto", "on", "off"], None, "Spell out numbers."),
            "enable_logging": Setting(bool, None, "False: ElevenLabs keeps nothing.", "constructor"),
            **_WEBSOCKET,
        },
        abilities=frozenset({"streaming", "word_timestamps"}),
        rates=(8000, 16000, 22050, 24000, 32000, 44100, 48000),
        render=render.elevenlabs,
    ),
)

DEFAULTS: Mapping[Stage, str] = {"stt": "deepgram", "llm": "anthropic", "tts": "cartesia"}
"""The vendor of a stage for which none is named."""
