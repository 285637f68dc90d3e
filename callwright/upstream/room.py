"""The room: Pipecat's LiveKit transport with a client and an output of ours in the places of the stock ones."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from typing import Any, Protocol

from livekit import rtc
from livekit.rtc._ffi_client import FfiClient
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    MixerControlFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputImageRawFrame,
    OutputTransportMessageFrame,
    SpriteFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.livekit.transport import (
    LiveKitInputTransport,
    LiveKitOutputTransport,
    LiveKitParams,
    LiveKitTransport,
    LiveKitTransportClient,
)

from callwright.playback import Playback
from callwright.speech import Utterance, UtteranceEnd
from callwright.upstream.ears import SMART_TURN_RATE


class RoomOwner(Protocol):
    """What the transport asks of, and tells, the room that owns it."""

    def new_token(self) -> str:
        """A token with an identity never used before: a half-open earlier attempt cannot kick this one."""
        ...

    def wants_audio_of(self, participant: rtc.RemoteParticipant) -> bool:
        """Whether this participant's microphone is to be heard."""
        ...

    def participant_joined(self, participant: rtc.RemoteParticipant) -> None: ...

    def participant_left(self, participant: rtc.RemoteParticipant) -> None: ...

    def heard(self, identity: str, pcm: bytes) -> None:
        """16-bit mono samples of a participant who is listened to, at the input rate, as they arrive."""
        ...

    def connection_changed(self, state: str, reason: str) -> None:
        """state: reconnecting, reconnected or disconnected."""
        ...

    def made(self, stretch: str, pcm: bytes) -> bool:
        """The voice has made audio of a stretch, 16-bit mono at the room's rate; it is queued now.

        True when the stretch is awaited: nothing else is to be heard before it.
        """
        ...

    def finished(self, stretch: str) -> None:
        """The voice has made all of a stretch."""
        ...

    def completed(self, utterance: Utterance) -> Iterable[str]:
        """The voice has made all of an utterance; the stretches that it is made of."""
        ...

    def ended(self, utterance: Utterance) -> None:
        """All that was made of an utterance has been played."""
        ...

    def failed(self, bug: Exception) -> None:
        """Nothing more can be played."""
        ...


class _Client(LiveKitTransportClient):
    """Joins once per token, hears only whom the owner wants, and keeps the reason of a disconnect."""

    owner: RoomOwner
    connect_attempts = 3
    connect_timeout_s = 10.0
    """For all attempts together."""
    _refused = ""

    async def setup(self, setup: Any) -> None:
        if self._task_manager:
            return
        await super().setup(setup)
        self.room.on("reconnecting", lambda: self.owner.connection_changed("reconnecting", ""))
        self.room.on("reconnected", lambda: self.owner.connection_changed("reconnected", ""))
        self.room.on("track_published", self._subscribe)

    async def connect(self) -> None:  # type: ignore[override]  # the stock one is wrapped by tenacity
        """Join the room and publish the agent's track; ConnectionError after the last attempt.

        The stock method retries with one fixed token, so that a half-open first attempt makes the
        second a duplicate identity, and subscribes to everybody.
        """
        async with self._async_lock:
            if self._connected:
                self._disconnect_counter += 1
                return
            if self._refused:  # the transport's other half asks again: the answer is the same
                raise ConnectionError(self._refused)
            failure = ""
            for attempt in range(self.connect_attempts):
                if attempt:
                    await asyncio.sleep(0.2 * 2**attempt)
                try:
                    await self._join()
                    break
                except Exception as error:
                    failure = connect_failure(error)
                    await self._rollback_partial_connect()  # type: ignore[no-untyped-call]
                    if failure == REFUSED:
                        break  # the same credentials will be refused again
            if not self._connected:
                self._refused = failure
                self.owner.connection_changed("unreachable", failure)
                raise ConnectionError(failure)
            self._disconnect_counter += 1
            await self._callbacks.on_connected()
            for participant in list(self.room.remote_participants.values()):
                await self._async_on_participant_connected(participant)
                for publication in participant.track_publications.values():
                    self._subscribe(publication, participant)

    async def _join(self) -> None:
        options = rtc.RoomOptions(auto_subscribe=False, connect_timeout=self.connect_timeout_s / self.connect_attempts)
        try:
            await self.room.connect(self._url, self.owner.new_token(), options=options)
        except asyncio.CancelledError:
            # The SDK forgets its subscription to native events when a connect is cancelled.
            FfiClient.instance.queue.unsubscribe(self.room._ffi_queue)
            raise
        self._participant_id = self.room.local_participant.identity
        self._audio_source = rtc.AudioSource(
            self._out_sample_rate,
            self._params.audio_out_channels,
            queue_size_ms=self._params.audio_out_queue_size_ms,
        )
        self._audio_track = rtc.LocalAudioTrack.create_audio_track("agent", self._audio_source)
        publish = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(self._audio_track, publish)
        self._connected = True

    def _subscribe(self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        audio = publication.kind == rtc.TrackKind.KIND_AUDIO
        if audio and not publication.subscribed and self.owner.wants_audio_of(participant):
            publication.set_subscribed(True)

    def subscribe_wanted(self) -> None:
        """Look again at everybody present: whom the owner wants may have changed."""
        for participant in self.room.remote_participants.values():
            for publication in participant.track_publications.values():
                self._subscribe(publication, participant)

    async def _async_on_participant_connected(self, participant: rtc.RemoteParticipant) -> None:
        self.owner.participant_joined(participant)
        await super()._async_on_participant_connected(participant)

    async def _async_on_participant_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        self.owner.participant_left(participant)
        await super()._async_on_participant_disconnected(participant)

    async def _async_on_track_subscribed(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        if track.kind != rtc.TrackKind.KIND_AUDIO or not self.owner.wants_audio_of(participant):
            return
        assert self._task_manager is not None
        await self._close_audio_stream(participant.identity)
        self._audio_tracks[participant.identity] = track
        # The native resampler delivers the pipeline's own rate; a bounded queue drops, and never lags.
        stream = rtc.AudioStream(track, capacity=50, sample_rate=SMART_TURN_RATE, frame_size_ms=20)
        task = self._task_manager.create_task(
            self._process_audio_stream(stream, participant.identity), f"{self}::_process_audio_stream"
        )
        self._audio_streams[participant.identity] = (stream, task)
        await self._callbacks.on_audio_track_subscribed(participant.identity)

    async def _process_audio_stream(self, audio_stream: rtc.AudioStream, participant_id: str) -> None:
        async for event in audio_stream:
            self.owner.heard(participant_id, bytes(event.frame.data))
            # Before the pipeline starts nobody drains this queue: what waits there would be stale.
            while self._audio_queue.qsize() > 25:
                self._audio_queue.get_nowait()
            self._audio_queue.put_nowait((event, participant_id))

    def _on_data_received_wrapper(self, data: rtc.DataPacket) -> None:
        """Data messages are dropped: any participant may send one, and none may steer the agent."""

    def _on_sip_dtmf_received_wrapper(self, dtmf: rtc.SipDTMF) -> None:
        if dtmf.participant is not None and self.owner.wants_audio_of(dtmf.participant):
            super()._on_sip_dtmf_received_wrapper(dtmf)

    def _on_disconnected_wrapper(self, reason: Any = None) -> None:
        was_connected = self._connected
        super()._on_disconnected_wrapper()  # type: ignore[no-untyped-call]
        if was_connected:
            self.owner.connection_changed("disconnected", disconnect_reason(reason))

    # -- the outlet of the playback

    @property
    def open(self) -> bool:
        return self._connected and self._audio_source is not None

    def queued(self) -> int:
        source = self._audio_source
        return 0 if source is None else round(source.queued_duration * source.sample_rate)

    async def send(self, pcm: bytes) -> bool:
        if self._audio_source is not None and not self.queued():
            # The SDK starts its count anew by a timer; one that is late leaves it short by as long as it was empty.
            self._audio_source._release_waiter()
        return await self.publish_audio(rtc.AudioFrame(pcm, self._out_sample_rate, 1, len(pcm) // 2))

    def clear(self) -> None:
        if self._audio_source is not None:
            self._audio_source.clear_queue()


_SENT_BY_PIPECAT = (
    OutputTransportMessageFrame,
    OutputDTMFFrame,
    OutputImageRawFrame,
    SpriteFrame,
    MixerControlFrame,
)
DRAIN_LIMIT_S = 30.0
"""An orderly end waits so long for what is still to be played."""


class _Output(LiveKitOutputTransport):
    """Gives the agent's speech to our playback instead of Pipecat's sender, and every other frame its place in it."""

    _client: _Client
    owner: RoomOwner
    playback: Playback
    _playing: asyncio.Task[None] | None = None

    async def set_transport_ready(self, frame: Any) -> None:
        await super().set_transport_ready(frame)
        self._other_rates = create_stream_resampler()
        if self._playing is None:
            self._playing = self.create_task(self._play(), "playback")

    async def _play(self) -> None:
        try:
            await self.playback.run(self._client, self._due, self._sounding)
        except Exception as bug:
            self.owner.failed(bug)  # a call that plays nothing more must not go on

    async def stop(self, frame: EndFrame) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_LIMIT_S):
                await self.playback.drain()
        await super().stop(frame)

    async def cleanup(self) -> None:
        playing, self._playing = self._playing, None
        if playing is not None:
            await self.cancel_task(playing)
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, InterruptionFrame):
            self.playback.cut()  # it may come from somewhere else than the caller
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            self.playback.accept()

    async def _handle_frame(self, frame: Frame) -> None:
        if isinstance(frame, InterruptionFrame):
            return
        if isinstance(frame, OutputAudioRawFrame):
            await self._queue(frame)
            return
        if isinstance(frame, TTSStoppedFrame) and frame.context_id:
            self.playback.close(frame.context_id)
            self.owner.finished(frame.context_id)
        elif isinstance(frame, UtteranceEnd):
            # The voice gives up on a context that stalls, or whose connection is lost, without a word.
            for stretch in self.owner.completed(frame.utterance):
                self.playback.close(stretch, over=True)
        self.playback.mark(frame)

    async def _queue(self, frame: OutputAudioRawFrame) -> None:
        """Speech belongs to its context; any other sound is a stretch of its own."""
        stretch = getattr(frame, "context_id", None) if isinstance(frame, TTSAudioRawFrame) else None
        pcm = frame.audio
        if frame.sample_rate != self.sample_rate:
            pcm = await self._other_rates.resample(pcm, frame.sample_rate, self.sample_rate)
        if stretch:
            awaited = self.owner.made(stretch, pcm)
            self.playback.append(stretch, pcm, awaited=awaited)
        else:
            self.playback.append(frame.name, pcm)
            self.playback.close(frame.name)

    async def _due(self, frame: Frame) -> None:
        if isinstance(frame, UtteranceEnd):
            self.owner.ended(frame.utterance)
        if isinstance(frame, _SENT_BY_PIPECAT):
            await super()._handle_frame(frame)
        else:
            await self.push_frame(frame)

    async def _sounding(self, sounding: bool) -> None:
        await self.broadcast_frame(BotStartedSpeakingFrame if sounding else BotStoppedSpeakingFrame)


class RoomTransport(LiveKitTransport):
    """Pipecat's LiveKit transport with our client and output in the places of the stock ones."""

    def __init__(
        self,
        owner: RoomOwner,
        playback: Playback,
        *,
        url: str,
        room: str,
        queue_ms: int,
        rate: int,
        connect_timeout_s: float,
    ) -> None:
        params = LiveKitParams(
            audio_in_enabled=True,
            audio_in_sample_rate=SMART_TURN_RATE,
            audio_out_enabled=True,
            audio_out_sample_rate=rate,
            audio_out_queue_size_ms=queue_ms,
            audio_out_end_silence_secs=0,
        )
        super().__init__(url, "", room, params)
        client = _Client(url, "", room, params, self._client._callbacks, self.name)
        client.owner = self._owner = owner
        client.connect_timeout_s = connect_timeout_s
        self._client: _Client = client
        self._playback = playback

    def output(self) -> LiveKitOutputTransport:
        if not self._output:
            output = _Output(self, self._client, self._params, name=self._output_name)
            output.owner, output.playback = self._owner, self._playback
            self._output = output
        return self._output

    def input(self) -> LiveKitInputTransport:
        return super().input()

    @property
    def rtc_room(self) -> rtc.Room | None:
        """The room of the SDK, once it is set up."""
        return self._client._room

    @property
    def connected(self) -> bool:
        return self._client._connected

    @property
    def steady(self) -> bool:
        """Connected, and not just trying to be again: only then do participants really come and go."""
        room = self._client._room
        return room is not None and room.connection_state == rtc.ConnectionState.CONN_CONNECTED

    def subscribe_wanted(self) -> None:
        if self._client._connected:
            self._client.subscribe_wanted()


REFUSED = "credentials refused"


def connect_failure(error: Exception) -> str:
    """Why a connect failed, without the SDK's own words: those quote the token."""
    if re.search(r"\b(401|403)\b|unauthorized", str(error), re.IGNORECASE):
        return REFUSED
    return f"no answer ({type(error).__name__})"


def disconnect_reason(reason: Any) -> str:
    """LiveKit's reason in words: 'server_shutdown', 'duplicate_identity', …"""
    try:
        return str(rtc.DisconnectReason.Name(reason)).lower()
    except (TypeError, ValueError):
        return "unknown"
