"""The room: one agent, one linked caller, on a LiveKit server.

Pipecat's transport carries the audio; this module decides whom it hears, what LiveKit's stock
clients see of the agent (state and captions), and where every sample stands on the call's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Protocol

from livekit import api, rtc
from loguru import logger
from pipecat.processors.frame_processor import FrameProcessor

from callwright.arrival import Arrival
from callwright.clock import Clock
from callwright.config import RoomConfig
from callwright.errors import RoomError
from callwright.playback import Playback
from callwright.playout import Playout
from callwright.speech import Utterance
from callwright.speech_queue import Chunk
from callwright.upstream.ears import SMART_TURN_RATE
from callwright.upstream.room import REFUSED, RoomTransport, disconnect_reason

AGENT_STATE = "lk.agent.state"  # attribute read by LiveKit's stock clients (livekit-agents types.py:24)
AGENT_NAME = "lk.agent.name"
TRANSCRIPTION = "lk.transcription"  # topic of the caption streams (livekit-agents types.py:81)
SEGMENT_ID = "lk.segment_id"
TRANSCRIPTION_FINAL = "lk.transcription_final"
TRACK_ID = "lk.transcribed_track_id"

RECONNECT_LIMIT_S = 8.0
"""A caller does not hold a dead line longer; the SDK itself would try for about 25 s."""

_NEVER_LINKED = (
    rtc.ParticipantKind.PARTICIPANT_KIND_AGENT,
    rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS,
    rtc.ParticipantKind.PARTICIPANT_KIND_INGRESS,
)


class Listener(Protocol):
    """What the call learns from its room."""

    def caller_joined(self, identity: str) -> None: ...

    def caller_left(self, identity: str, reason: str) -> None: ...

    def room_changed(self, state: str, reason: str) -> None: ...

    def caller_audio(self, position: int, pcm: bytes) -> None:
        """16 kHz mono of the caller; position in samples of the call's clock at the room's rate."""
        ...

    def agent_audio(self, position: int, pcm: bytes) -> None:
        """Agent audio submitted to the room, and where on the call's clock it will sound."""
        ...

    def agent_cut(self, position: int) -> None:
        """What was to sound at or after `position` has been cleared."""
        ...

    def fault(self, bug: BaseException) -> None:
        """A mistake of ours: the call cannot go on."""
        ...


class SpeechListener(Protocol):
    """Who keeps the floor: told of the agent's speech from the voice to the ear. Counts are samples at `Room.rate`."""

    def made(self, stretch: str, pcm: bytes) -> bool:
        """The voice has made more of a stretch, 16-bit mono; True when the caller waits for that stretch to begin."""
        ...

    def finished(self, stretch: str) -> None:
        """The voice has made all of it."""
        ...

    def submitted(self, chunk: Chunk, index: int, position: int) -> None:
        """Its samples were handed over as numbers `index`…, to sound at `position` of the call's clock."""
        ...

    def played(self, index: int) -> None:
        """All samples before number `index` have left for the caller."""
        ...

    def silenced(self, index: int) -> None:
        """None from number `index` on was heard, and the count goes on there."""
        ...

    def ended(self, utterance: Utterance) -> None:
        """All that was made of it has been played."""
        ...

    def completed(self, utterance: Utterance) -> Iterable[str]:
        """The voice has made all of that utterance; the stretches it is made of."""
        ...

    def connection(self, steady: bool) -> None:
        """Whether the room is connected; what is said meanwhile is not heard."""
        ...


@dataclass(frozen=True)
class Credentials:
    """How to get into a LiveKit server."""

    url: str
    api_key: str
    api_secret: str


def token(
    credentials: Credentials,
    room: str,
    identity: str,
    *,
    ttl_s: int,
    agent_name: str | None = None,
) -> str:
    """A short-lived token: for an agent (with kind and grant, or stock clients do not see it), else for a caller."""
    made = (
        api.AccessToken(credentials.api_key, credentials.api_secret)
        .with_identity(identity)
        .with_ttl(datetime.timedelta(seconds=ttl_s))
    )
    grants = api.VideoGrants(room_join=True, room=room, can_publish=True, can_subscribe=True, can_publish_data=True)
    if agent_name is not None:
        grants.agent = True
        grants.can_update_own_metadata = True
        made = (
            made.with_kind("agent")
            .with_name(agent_name)
            .with_attributes({AGENT_STATE: "initializing", AGENT_NAME: agent_name})
        )
    return made.with_grants(grants).to_jwt()


class Room:
    """One agent's place in one room. Owned by the call, which starts and ends it."""

    def __init__(
        self,
        config: RoomConfig,
        credentials: Credentials,
        name: str,
        *,
        agent_name: str,
        rate: int,
        clock: Clock,
        listener: Listener,
    ) -> None:
        self.name = name
        self.rate = rate
        self.playout = Playout(rate)
        self.caller: str | None = None
        self._config = config
        self._credentials = credentials
        self._agent_name = agent_name
        self._clock = clock
        self._listener = listener
        self._start_ns = clock.monotonic_ns()
        self._arrival = Arrival(rate)
        self._state = "initializing"
        self._tasks: set[asyncio.Task[None]] = set()
        self._state_lock = asyncio.Lock()
        self._lost: asyncio.TimerHandle | None = None
        self.speech: SpeechListener | None = None
        self.playback = Playback(rate, self)
        self._transport = RoomTransport(
            self,
            self.playback,
            url=credentials.url,
            room=name,
            queue_ms=config.output_queue_ms,
            rate=rate,
            connect_timeout_s=config.connect_timeout_s,
        )

    # -- what the pipeline takes

    @property
    def input(self) -> FrameProcessor:
        """Where the caller's audio enters the pipeline, 16 kHz mono."""
        return self._transport.input()

    @property
    def output(self) -> FrameProcessor:
        """Where the agent's audio leaves it, at `rate`."""
        return self._transport.output()

    @property
    def connected(self) -> bool:
        return self._transport.connected

    def now(self) -> int:
        """The present sample position on the call's clock."""
        return (self._clock.monotonic_ns() - self._start_ns) * self.rate // 1_000_000_000

    async def until_heard(self, limit_s: float) -> None:
        """Wait until somebody's client has subscribed to the agent's voice: what is said before is lost."""
        room = self._transport.rtc_room
        if room is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                for publication in room.local_participant.track_publications.values():
                    await publication.wait_for_subscription()

    # -- what stock clients see

    def show_state(self, state: str) -> None:
        """Publish `lk.agent.state`: initializing, listening, thinking or speaking."""
        if state == self._state:
            return
        self._state = state
        self._spawn(self._publish_state())

    async def _publish_state(self) -> None:
        async with self._state_lock:
            room = self._transport.rtc_room
            if room is None or not self.connected:
                return
            wanted = self._state  # the latest wins; an overtaken one is not published
            if room.local_participant.attributes.get(AGENT_STATE) != wanted:
                await room.local_participant.set_attributes({AGENT_STATE: wanted})

    async def open_caption(self, segment: str) -> rtc.TextStreamWriter | None:
        """A stream for the agent's words of one segment, written as they are heard; None when not connected."""
        room = self._transport.rtc_room
        if room is None or not self.connected:
            return None
        attributes = {SEGMENT_ID: segment, TRANSCRIPTION_FINAL: "false"}
        tracks = list(room.local_participant.track_publications.values())
        if tracks:
            attributes[TRACK_ID] = tracks[0].sid
        return await room.local_participant.stream_text(topic=TRANSCRIPTION, attributes=attributes)

    def caption_caller(self, segment: str, text: str, *, final: bool) -> None:
        """Publish what the caller is understood to have said so far in this utterance."""
        self._spawn(self._caption_caller(segment, text, final))

    async def _caption_caller(self, segment: str, text: str, final: bool) -> None:
        room = self._transport.rtc_room
        if room is None or not self.connected or self.caller is None:
            return
        participant = room.remote_participants.get(self.caller)
        attributes = {SEGMENT_ID: segment, TRANSCRIPTION_FINAL: "true" if final else "false"}
        for publication in participant.track_publications.values() if participant else ():
            if publication.kind == rtc.TrackKind.KIND_AUDIO:
                attributes[TRACK_ID] = publication.sid
        writer = await room.local_participant.stream_text(
            topic=TRANSCRIPTION, attributes=attributes, sender_identity=self.caller
        )
        await writer.write(text)
        await writer.aclose()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # Captions and state are for display; losing one never harms the call.
            logger.debug("room {}: display update failed ({})", self.name, type(error).__name__)

    async def aclose(self) -> None:
        """Cancel whatever is still being published. The transport leaves the room with the pipeline."""
        if self._lost:
            self._lost.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what the transport asks and tells (upstream.room.RoomOwner)

    def new_token(self) -> str:
        identity = f"{self._config.agent_identity_prefix}-{uuid.uuid4().hex[:12]}"
        return token(
            self._credentials,
            self.name,
            identity,
            ttl_s=self._config.token_ttl_s,
            agent_name=self._agent_name,
        )

    def wants_audio_of(self, participant: rtc.RemoteParticipant) -> bool:
        if participant.kind in _NEVER_LINKED:
            return False
        return self._config.audio_from == "all" or participant.identity == self.caller

    def participant_joined(self, participant: rtc.RemoteParticipant) -> None:
        if self.caller is not None or participant.kind in _NEVER_LINKED:
            return
        self.caller = participant.identity
        self._transport.subscribe_wanted()
        self._listener.caller_joined(participant.identity)

    def participant_left(self, participant: rtc.RemoteParticipant) -> None:
        # When the connection breaks, the SDK reports everybody as gone before it tries to come back.
        if participant.identity == self.caller and self._transport.steady:
            self.playback.hold()  # nobody hears what is said from now on
            self._listener.caller_left(participant.identity, disconnect_reason(participant.disconnect_reason))

    def heard(self, identity: str, pcm: bytes) -> None:
        if identity != self.caller:
            return  # of all who are heard, only the linked caller has a lane in the recording
        samples = len(pcm) // 2 * self.rate // SMART_TURN_RATE
        self._listener.caller_audio(self._arrival.place(samples, self.now()), pcm)

    def connection_changed(self, state: str, reason: str) -> None:
        self._listener.room_changed(state, reason)
        if self.speech:
            self.speech.connection(state == "reconnected")
        if self._lost:
            self._lost.cancel()
            self._lost = None
        if state == "reconnecting":
            self._lost = asyncio.get_running_loop().call_later(RECONNECT_LIMIT_S, self._give_up)
        elif state == "reconnected":
            room = self._transport.rtc_room
            if self.caller and room is not None and self.caller not in room.remote_participants:
                self._listener.caller_left(self.caller, "left while the connection was lost")

    def _give_up(self) -> None:
        self._listener.room_changed("disconnected", f"no connection for {RECONNECT_LIMIT_S:g} s")

    def made(self, stretch: str, pcm: bytes) -> bool:
        return self.speech.made(stretch, pcm) if self.speech else False

    def finished(self, stretch: str) -> None:
        if self.speech:
            self.speech.finished(stretch)

    def ended(self, utterance: Utterance) -> None:
        if self.speech:
            self.speech.ended(utterance)

    def completed(self, utterance: Utterance) -> Iterable[str]:
        return self.speech.completed(utterance) if self.speech else ()

    def failed(self, bug: Exception) -> None:
        self._listener.fault(bug)

    # -- what the playback tells (playback.Listener)

    def submitted(self, chunk: Chunk, index: int, queued: int) -> None:
        position = self.playout.submit(chunk.samples + chunk.padding, now=self.now(), queued=queued)
        if self.speech:
            self.speech.submitted(chunk, index, position)
        self._listener.agent_audio(position, chunk.pcm)

    def played(self, index: int) -> None:
        if self.speech:
            self.speech.played(index)

    def silenced(self, index: int, dropped: int) -> None:
        if self.speech:
            self.speech.silenced(index)
        self._listener.agent_cut(self.playout.clear(dropped))


def room_error(url: str, failure: str) -> RoomError:
    """LiveKit's refusal in one line with the next step."""
    if failure == REFUSED:
        return RoomError(f"LiveKit at {url} refused the credentials; check LIVEKIT_API_KEY and LIVEKIT_API_SECRET")
    return RoomError(f"no LiveKit server answers at {url}; check LIVEKIT_URL, or start one with scripts/demo")
