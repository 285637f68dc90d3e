"""The private names of Pipecat and LiveKit that we lean on: each with what we rely on it to do."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState
from pipecat.transports.livekit.transport import LiveKitTransport, LiveKitTransportClient

from callwright.upstream import SmartTurn, SpeechMeter, disconnect_reason

CLIENT_METHODS = {
    "_async_on_participant_connected": ["participant"],
    "_async_on_participant_disconnected": ["participant"],
    "_async_on_track_subscribed": ["track", "publication", "participant"],
    "_close_audio_stream": ["participant_id"],
    "_on_data_received_wrapper": ["data"],
    "_on_disconnected_wrapper": [],
    "_on_sip_dtmf_received_wrapper": ["dtmf"],
    "_process_audio_stream": ["audio_stream", "participant_id"],
    "_rollback_partial_connect": [],
}


@pytest.mark.parametrize(("name", "parameters"), CLIENT_METHODS.items())
def test_the_client_still_has_the_methods_we_override_or_call(name: str, parameters: list[str]) -> None:
    method = getattr(LiveKitTransportClient, name)
    assert list(inspect.signature(method).parameters)[1:] == parameters


def test_the_client_still_keeps_its_state_under_these_names() -> None:
    source = inspect.getsource(LiveKitTransportClient.__init__)
    for name in (
        "_async_lock",
        "_audio_queue",
        "_audio_source",
        "_audio_streams",
        "_audio_track",
        "_audio_tracks",
        "_callbacks",
        "_connected",
        "_disconnect_counter",
        "_participant_id",
        "_room",
        "_task_manager",
        "_token",
        "_url",
    ):
        assert f"self.{name}" in source, name


def test_the_clients_room_handlers_are_looked_up_at_set_up() -> None:
    """Our overrides count because the stock set-up registers bound methods, not copies."""
    source = inspect.getsource(LiveKitTransportClient.setup)
    for name in ("_on_data_received_wrapper", "_on_disconnected_wrapper", "_on_sip_dtmf_received_wrapper"):
        assert f"(self.{name})" in source


def test_the_transport_still_hands_its_client_to_input_and_output() -> None:
    transport = LiveKitTransport("ws://127.0.0.1:1", "", "room")
    assert transport.input()._client is transport._client  # type: ignore[attr-defined]
    assert transport.output()._client is transport._client  # type: ignore[attr-defined]


async def test_what_is_queued_can_be_read_before_it_is_cleared_and_not_after() -> None:
    source = rtc.AudioSource(24_000, 1, queue_size_ms=200)
    try:
        await source.capture_frame(rtc.AudioFrame.create(24_000, 1, 2400))
        assert source.queued_duration == pytest.approx(0.1, abs=0.02)
        source.clear_queue()
        assert source.queued_duration == 0
    finally:
        await source.aclose()


def test_smart_turn_still_predicts_from_an_array() -> None:
    assert list(inspect.signature(LocalSmartTurnAnalyzerV3._predict_endpoint).parameters) == ["self", "audio_array"]


async def test_smart_turn_gives_a_probability_of_silence() -> None:
    model = SmartTurn()
    try:
        assert 0 <= await model.probability(np.zeros(16_000, dtype=np.int16)) <= 1
    finally:
        model.close()


def test_the_vad_still_keeps_its_state_under_these_names() -> None:
    source = inspect.getsource(VADAnalyzer)
    for name in ("self._vad_state", "self._vad_stopping_count", "def _run_analyzer(self, buffer: bytes) -> VADState"):
        assert name in source, name


async def test_the_end_of_speech_is_counted_from_the_last_audible_sample() -> None:
    meter = SpeechMeter(VADParams(stop_secs=0.2))
    meter.set_sample_rate(16_000)
    try:
        await meter.analyze_audio(bytes(512 * 2))
        meter._vad_state = VADState.SPEAKING
        states = [await meter.analyze_audio(bytes(320 * 2)) for _ in range(12)]
    finally:
        await meter.cleanup()
    # 32 ms of silence were there before: the 200 ms are full with the ninth frame of 20 ms.
    assert states.index(VADState.QUIET) == 8


def test_reasons_of_a_disconnect_are_words() -> None:
    assert disconnect_reason(rtc.DisconnectReason.DUPLICATE_IDENTITY) == "duplicate_identity"
    nonsense: Any = "x"
    assert disconnect_reason(nonsense) == "unknown"
