"""The private names of Pipecat and LiveKit that we lean on: each with what we rely on it to do."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from deepgram.core.unchecked_base_model import construct_type
from deepgram.listen.v1.types import ListenV1Results
from livekit import rtc
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState
from pipecat.frames.frames import (
    ControlFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    OutputAudioRawFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.anthropic.llm import AnthropicLLMService
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.deepgram.tts import DeepgramTTSService
from pipecat.services.llm_service import LLMService
from pipecat.services.openai.base_llm import BaseOpenAILLMService
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.livekit.transport import LiveKitOutputTransport, LiveKitTransport, LiveKitTransportClient
from websockets.protocol import State

from callwright.speech import Utterance, UtteranceEnd
from callwright.upstream.ears import EmptyFinals, SmartTurn, SpeechMeter, is_connected, is_settled, reaches_s
from callwright.upstream.mind import Ask
from callwright.upstream.room import RoomTransport, disconnect_reason
from callwright.upstream.voice import _Overheard

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


async def test_what_waits_to_be_let_in_counts_as_queued_and_goes_with_a_clear() -> None:
    """The playback reads the queue while a chunk waits in `capture_frame`, and clears it under that wait."""
    source = rtc.AudioSource(24_000, 1, queue_size_ms=100)
    try:
        await source.capture_frame(rtc.AudioFrame.create(24_000, 1, 2400))
        waiting = asyncio.create_task(source.capture_frame(rtc.AudioFrame.create(24_000, 1, 2400)))
        await asyncio.sleep(0)
        assert source.queued_duration == pytest.approx(0.2, abs=0.03)
        source.clear_queue()
        assert source.queued_duration == 0
        async with asyncio.timeout(1):
            await waiting
        assert source.queued_duration == 0
    finally:
        await source.aclose()


async def test_the_count_of_what_is_queued_starts_anew_from_empty_however_late_its_timer_is() -> None:
    client = RoomTransport(
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        url="ws://127.0.0.1:1",
        room="room",
        queue_ms=200,
        rate=24_000,
        connect_timeout_s=1,
    )._client
    client._audio_source = source = rtc.AudioSource(24_000, 1, queue_size_ms=200)
    client._connected = True
    client._out_sample_rate = 24_000
    try:
        await client.send(bytes(2 * 480))
        time.sleep(0.08)  # noqa: ASYNC251  # the loop stalls, and the timer with it
        assert client.queued() == 0
        await client.send(bytes(2 * 2400))
        assert client.queued() == pytest.approx(2400, abs=480)
    finally:
        await source.aclose()


async def test_a_second_clear_changes_nothing_and_the_source_takes_more() -> None:
    """The stock output clears the queue once more, after ours has."""
    source = rtc.AudioSource(24_000, 1, queue_size_ms=200)
    try:
        await source.capture_frame(rtc.AudioFrame.create(24_000, 1, 2400))
        source.clear_queue()
        source.clear_queue()
        await source.capture_frame(rtc.AudioFrame.create(24_000, 1, 2400))
        assert source.queued_duration == pytest.approx(0.1, abs=0.02)
    finally:
        await source.aclose()


async def test_a_client_that_is_not_connected_takes_no_audio_and_says_so() -> None:
    client = LiveKitTransport("ws://127.0.0.1:1", "", "room")._client
    assert await client.publish_audio(rtc.AudioFrame.create(24_000, 1, 240)) is False


# -- the room's output


class _Owner:
    """A room that only notes what its output tells."""

    def __init__(self) -> None:
        self.log: list[tuple[object, ...]] = []

    def made(self, stretch: str, pcm: bytes) -> bool:
        self.log.append(("made", stretch, len(pcm) // 2))
        return stretch == "awaited"

    def finished(self, stretch: str) -> None:
        self.log.append(("finished", stretch))

    def completed(self, utterance: Utterance) -> list[str]:
        return ["a", "b"]

    def ended(self, utterance: Utterance) -> None:
        self.log.append(("ended",))


class _Playback:
    """A playback that only notes what it is given."""

    def __init__(self, log: list[tuple[object, ...]]) -> None:
        self.log = log

    def append(self, stretch: str, pcm: bytes, *, awaited: bool = False) -> None:
        self.log.append(("append", stretch, len(pcm) // 2, *(("awaited",) if awaited else ())))

    def close(self, stretch: str, *, over: bool = False) -> None:
        self.log.append(("close", stretch, over))

    def mark(self, frame: Frame) -> None:
        self.log.append(("mark", type(frame).__name__))

    def cut(self) -> None:
        self.log.append(("cut",))

    def accept(self) -> None:
        self.log.append(("accept",))


def _output() -> tuple[Any, list[tuple[object, ...]]]:
    """Our output, as it is after set-up, and what it tells."""
    owner: Any = _Owner()
    playback: Any = _Playback(owner.log)
    transport = RoomTransport(
        owner, playback, url="ws://127.0.0.1:1", room="room", queue_ms=200, rate=24_000, connect_timeout_s=1
    )
    output: Any = transport.output()
    output._sample_rate = 24_000

    async def push(frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        owner.log.append(("push", type(frame).__name__))

    async def nothing() -> None: ...

    output.push_frame, output._start_interruption = push, nothing  # nothing runs that could be interrupted
    return output, owner.log


def test_the_output_still_starts_and_stops_where_we_hang_on() -> None:
    assert list(inspect.signature(BaseOutputTransport._handle_frame).parameters) == ["self", "frame"]
    assert list(inspect.signature(BaseOutputTransport.set_transport_ready).parameters) == ["self", "frame"]
    assert "await self.set_transport_ready(frame)" in inspect.getsource(LiveKitOutputTransport.start)
    assert "_client.disconnect()" in inspect.getsource(LiveKitOutputTransport.stop)
    end = inspect.getsource(BaseOutputTransport.process_frame).split("isinstance(frame, EndFrame)")[1]
    assert end.index("self.stop(frame)") < end.index("self.push_frame(frame")  # what is queued is played before


async def test_every_frame_that_has_its_place_in_the_speech_comes_to_handle_frame() -> None:
    output, log = _output()
    audio = TTSAudioRawFrame(bytes(480), 24_000, 1, context_id="a")
    for frame in (audio, TTSStoppedFrame(context_id="a"), ControlFrame(), UtteranceEnd(Utterance("answer", 1))):
        await output.process_frame(frame, FrameDirection.DOWNSTREAM)
    assert log == [
        ("made", "a", 240),
        ("append", "a", 240),
        ("close", "a", False),
        ("finished", "a"),
        ("mark", "TTSStoppedFrame"),
        ("mark", "ControlFrame"),
        ("close", "a", True),
        ("close", "b", True),
        ("mark", "UtteranceEnd"),
    ]


async def test_the_playback_learns_whether_speech_is_awaited() -> None:
    output, log = _output()
    await output.process_frame(TTSAudioRawFrame(bytes(480), 24_000, 1, context_id="awaited"), FrameDirection.DOWNSTREAM)
    assert log[-1] == ("append", "awaited", 240, "awaited")


async def test_a_sound_that_is_no_speech_is_a_stretch_of_its_own_and_not_the_floors() -> None:
    output, log = _output()
    sound = OutputAudioRawFrame(bytes(480), 24_000, 1)
    await output.process_frame(sound, FrameDirection.DOWNSTREAM)
    assert log == [("append", sound.name, 240), ("close", sound.name, False)]


async def test_an_interruption_is_obeyed_before_it_is_passed_on_and_speech_is_taken_again_after() -> None:
    output, log = _output()
    cleared: list[tuple[object, ...]] = []
    output._client._audio_source = SimpleNamespace(clear_queue=lambda: cleared.append(log[-1]))
    await output.process_frame(InterruptionFrame(), FrameDirection.DOWNSTREAM)
    assert log == [("cut",), ("push", "InterruptionFrame"), ("accept",)]
    assert cleared == [("push", "InterruptionFrame")]  # by the stock output, while nothing is taken


# -- the mind's streams


@pytest.mark.parametrize(
    ("service", "method", "parameters"),
    [
        (AnthropicLLMService, "_create_message_stream", ["api_call", "params"]),
        (BaseOpenAILLMService, "get_chat_completions", ["context"]),
    ],
)
def test_a_model_still_reads_its_reply_from_one_methods_stream(
    service: type[LLMService[Any]], method: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(service, method)).parameters)[1:] == parameters
    source = inspect.getsource(service._process_context)  # type: ignore[attr-defined]
    assert source.count(f"await self.{method}(") == 1
    assert source.index(f"await self.{method}(") < source.index("async for")


def test_a_model_still_answers_a_context_within_process_frame_and_so_does_an_ask() -> None:
    """`Candid` knows by that when the service has done with a request."""
    for service in (AnthropicLLMService, BaseOpenAILLMService):
        source = inspect.getsource(service.process_frame)
        assert "isinstance(frame, LLMContextFrame)" in source
        assert "await self._process_context(frame.context)" in source
    assert issubclass(Ask, LLMContextFrame)


def test_anthropic_still_ends_its_reply_only_after_its_stream_and_takes_no_end_for_an_end() -> None:
    """What `Candid` tells at the end of the stream comes before the end frame; EOF is no error there."""
    source = inspect.getsource(AnthropicLLMService._process_context)
    assert source.index("async for event in response") < source.index("LLMFullResponseEndFrame()")
    assert "message_stop" not in source


def test_an_error_still_passes_push_error_frame_before_it_costs_the_service() -> None:
    source = inspect.getsource(FrameProcessor.push_error_frame)
    assert list(inspect.signature(FrameProcessor.push_error_frame).parameters) == [
        "self",
        "error",
        "force_treat_as_permanent",
    ]
    assert "self.set_usable(False)" in source
    assert "push_error_frame(" in inspect.getsource(FrameProcessor.push_error)


# -- the voice's websocket


def test_cartesia_still_reads_its_messages_from_get_websocket() -> None:
    assert list(inspect.signature(CartesiaTTSService._get_websocket).parameters) == ["self"]
    assert "async for message in self._get_websocket()" in inspect.getsource(CartesiaTTSService._process_messages)


@pytest.mark.parametrize("service", [CartesiaTTSService, DeepgramTTSService])
def test_a_websocket_voice_still_connects_and_reads_under_these_names(service: type[Any]) -> None:
    """`disconnect` and `connect` use them; `Drops` wraps what the messages are read from."""
    for name in ("_connect", "_disconnect", "_close_connection_contexts", "_connect_websocket"):
        assert inspect.iscoroutinefunction(getattr(service, name)), name
        assert list(inspect.signature(getattr(service, name)).parameters) == ["self"], name
    assert "async for message in self._get_websocket()" in inspect.getsource(service)
    assert "self._receive_task = None" in inspect.getsource(service._disconnect)


async def test_a_voice_that_was_written_off_can_be_made_usable_again() -> None:
    voice = CartesiaTTSService(api_key="k", url="ws://127.0.0.1:9/tts/websocket", sample_rate=24_000)
    await voice.set_usable(False)
    assert not voice.is_usable
    await voice.set_usable(True)
    assert voice.is_usable


def test_a_context_still_ends_with_a_hook_behind_its_last_frame() -> None:
    source = inspect.getsource(TTSService._end_audio_context)
    assert source.index("push_frame(TTSStoppedFrame") < source.index("await self.on_audio_context_completed(")


async def test_the_end_of_a_connection_is_told_once_and_a_cancelled_reader_is_none() -> None:
    told: list[str] = []

    class Socket:
        def __init__(self, fails: bool) -> None:
            self.fails = fails

        async def __aiter__(self) -> AsyncIterator[str]:
            yield "one"
            if self.fails:
                raise ConnectionError

    async def lost() -> None:
        told.append("lost")

    assert [message async for message in _Overheard(Socket(fails=False), lost=lost)] == ["one"]
    assert told == ["lost"]
    with pytest.raises(ConnectionError):
        _ = [message async for message in _Overheard(Socket(fails=True), lost=lost)]
    assert told == ["lost", "lost"]
    reader = aiter(_Overheard(Socket(fails=False), lost=lost))
    await anext(reader)
    await reader.aclose()  # type: ignore[attr-defined]
    assert told == ["lost", "lost"]


def test_cartesia_still_tells_the_words_of_a_message_before_it_reads_the_next() -> None:
    """`WordEnds` keeps the ends of the last message only."""
    source = inspect.getsource(CartesiaTTSService._process_messages)
    assert "await self.add_word_timestamps(" in source
    assert 'msg["word_timestamps"]["words"], msg["word_timestamps"]["start"]' in source


# -- the recognisers' connections


def _deepgram() -> Any:
    class Deepgram(EmptyFinals, DeepgramSTTService):
        pushed: list[Frame]

        async def push_frame(self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
            if isinstance(frame, TranscriptionFrame):
                frame.finalized, self._finalize_pending = self._finalize_pending, False
            self.pushed.append(frame)

    service = Deepgram(api_key="k", base_url="ws://127.0.0.1:1")
    service.pushed = []
    return service


def _results(text: str, *, from_finalize: bool = True) -> ListenV1Results:
    body = {
        "type": "Results",
        "channel_index": [0, 1],
        "start": 1.5,
        "duration": 0.5,
        "is_final": True,
        "from_finalize": from_finalize,
        "channel": {"alternatives": [{"transcript": text, "confidence": 1.0, "words": []}]},
        "metadata": {"request_id": "", "model_info": {"name": "", "version": "", "arch": ""}, "model_uuid": ""},
    }
    return cast("ListenV1Results", construct_type(type_=ListenV1Results, object_=body))


@pytest.mark.parametrize("text", ["", "Yes."])
async def test_deepgrams_answer_to_a_finalize_comes_once_with_or_without_words(text: str) -> None:
    service = _deepgram()
    service.request_finalize()
    await service._on_message(_results(text))
    finals = [frame for frame in service.pushed if isinstance(frame, TranscriptionFrame)]
    assert [(frame.text, is_settled(frame), reaches_s(frame)) for frame in finals] == [(text, True, 2.0)]
    assert not service._finalize_pending


async def test_an_empty_final_that_nobody_asked_for_or_that_is_late_is_no_news() -> None:
    service = _deepgram()
    await service._on_message(_results("", from_finalize=False))
    await service._on_message(_results(""))  # the caller has begun again since the Finalize
    assert service.pushed == []


def test_a_recogniser_still_keeps_its_connection_where_we_look() -> None:
    deepgram = _deepgram()
    assert not is_connected(deepgram)
    deepgram._connection = object()
    assert is_connected(deepgram)
    assert "self._connection = None" in inspect.getsource(DeepgramSTTService._connection_handler)
    assert "self._connection = None" in inspect.getsource(DeepgramSTTService.run_stt)
    flux: Any = DeepgramFluxSTTService(api_key="k", url="ws://127.0.0.1:1")
    assert not is_connected(flux)
    flux._websocket = SimpleNamespace(state=State.OPEN)
    assert is_connected(flux)
    flux._websocket = SimpleNamespace(state=State.CLOSED)
    assert not is_connected(flux)
    assert is_connected(object())


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
    for name in (
        "self._vad_state",
        "self._vad_starting_count",
        "self._vad_stopping_count",
        "def _run_analyzer(self, buffer: bytes) -> VADState",
    ):
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
