"""Which of the vendors' models the peers use: those that Callwright takes when nothing is configured."""

from __future__ import annotations

from callwright.bench.systems.protocol import VoiceVendor

STT_MODEL = "nova-3-general"

LLM_MODEL = "claude-haiku-5-5"
"""The same for all, so that the same prompt is cached by the same rules."""

TTS_MODEL = "sonic-3.6"
VOICE = "f786b574-daa5-4673-aa0c-cbe3e8534c02"
"""Cartesia's, where the agent names no voice."""

AURA_VOICE = "aura-2-thalia-en"
"""Deepgram's; model and voice in one name."""

SPEECH_MODELS: dict[VoiceVendor, str] = {"cartesia": TTS_MODEL, "deepgram": AURA_VOICE}

CONNECTED = "[The caller is connected.]"
"""Messages must begin with the user's; the same one that Callwright sends."""
