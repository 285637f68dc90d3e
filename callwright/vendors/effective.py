"""What a built service holds: the address it will really use, and a client that somebody must close.

Pipecat's Deepgram service answers an address it cannot use with a log line and production (deepgram/stt.py,
1.14), so `build` reads the address back from the service and compares. These are private names of Pipecat and
the SDKs; `tests/test_vendors.py` holds the contract that an upgrade must still meet.
"""

from __future__ import annotations

from typing import Any


def url_attribute(service: Any) -> str:
    """Websocket services of Pipecat keep their address in `_url` (Flux, Cartesia, ElevenLabs)."""
    return str(service._url)


def base_url_attribute(service: Any) -> str:
    """`DeepgramTTSService` keeps the root of its websocket in `_base_url`."""
    return str(service._base_url)


def deepgram_sdk(service: Any) -> str:
    """`DeepgramSTTService` keeps an SDK client, whose environment holds the websocket root."""
    return str(service._client._client_wrapper.get_environment().production)


def http_client(service: Any) -> str:
    """Anthropic and OpenAI services keep the SDK's client, whose `base_url` is public."""
    return str(service._client.base_url)


async def release(service: Any) -> None:
    """Close the HTTP client behind a model's service: Pipecat does not, and its sockets stay."""
    close = getattr(getattr(service, "_client", None), "close", None)
    if close is not None:
        await close()
