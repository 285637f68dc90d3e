"""The voices: what a caller is given to hear when one of them fails. Real Pipecat services with scripted vendors."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.worker import PipelineParams
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.text.base_text_aggregator import TextType
from pydantic import SecretStr
from voices_world import Keeper, Notes

from callwright.clock import SystemClock
from callwright.failover.seat import Seat
from callwright.failover.voice import Voices
from callwright.sections import WatchConfig
from callwright.speech import Piece, Role, Say, UtteranceEnd
from callwright.stage import StageConfig
from callwright.voice import Afresh, attentive

RATE = 16_000
WORD_MS = 300
LIMITS = WatchConfig(first_audio_ms=200, audio_gap_ms=100, turn_budget_ms=3000)
LOUD = array("h", [3000, -3000] * (RATE * WORD_MS // 2000)).tobytes()


class Vendor(TTSService):
    """A websocket-like voice: a word takes 300 ms and is timed; what goes wrong, and when, is scripted."""

    def __init__(self, faults: Sequence[str] = ()) -> None:
        settings = TTSSettings(model=None, voice=None, language=None)
        super().__init__(push_start_frame=True, sample_rate=RATE, push_text_frames=False, settings=settings)
        self.faults = list(faults)
        self.fault = ""
        self.asked: list[str] = []
        self.cancelled = 0
        self._position: dict[str, int] = {}

    async def on_turn_context_created(self, context_id: str) -> None:
        self.fault = self.faults.pop(0) if self.faults else ""

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        self.asked.append(text)
        await self.start_tts_usage_metrics(text)
        if self.fault == "refuse":
            yield ErrorFrame("no", category=ErrorCategory.AUTHENTICATION)
            return
        if self.fault in ("mute", "silent done"):
            yield None
            return
        for number, word in enumerate(text.split()):
            if number == 2 and self.fault in ("stop", "drop", "cut off", "error"):
                half = TTSAudioRawFrame(LOUD[: len(LOUD) // 4 * 2], RATE, 1, context_id=context_id)
                await self.append_to_audio_context(context_id, half)
                if self.fault == "drop":
                    await self.remove_audio_context(context_id)
                elif self.fault == "cut off":
                    await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
                    await self.remove_audio_context(context_id)
                elif self.fault == "error":
                    yield ErrorFrame("no", category=ErrorCategory.SERVER)
                self.fault = "mute"
                yield None
                return
            at = self._position.get(context_id, 0)
            self._position[context_id] = at + 1
            await self.add_word_timestamps([(word, at * WORD_MS / 1000)], context_id)
            await self.append_to_audio_context(context_id, TTSAudioRawFrame(LOUD, RATE, 1, context_id=context_id))
        yield None

    def can_generate_metrics(self) -> bool:
        return True

    async def flush_audio(self, context_id: str | None = None) -> None:
        if context_id and self.fault != "mute":
            await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
            await self.remove_audio_context(context_id)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        self.cancelled += 1


class Set:
    """Voices over scripted vendors, named a, b, …"""

    def __init__(self, *faults: Sequence[str], lines: dict[str, bytes] | None = None) -> None:
        self.vendors: list[Any] = [attentive(Vendor)(one) for one in faults]
        self.notes = Notes()
        self.keeper = Keeper(RATE, WORD_MS)
        seats = [
            Seat(number, StageConfig(vendor="cartesia", model="abc"[number], api_key=SecretStr("k")), vendor)
            for number, vendor in enumerate(self.vendors)
        ]
        self.voices = Voices(
            seats,
            SimpleNamespace(find=(lines or {}).get),
            LIMITS,
            SystemClock(),
            rate=RATE,
            store_ms=lambda: 0.0,
            witness=self.notes,
            gave_up=lambda times, for_good, voice, why: self.notes.gave_up.append((times, for_good, why)),
        )
        self.voices.listener = self.keeper

    def answer(self, *texts: str) -> list[Frame]:
        utterance = self.keeper.utterance("answer", "".join(texts))
        frames: list[Frame] = [LLMFullResponseStartFrame()]
        end = 0
        for text in texts:
            end += len(text)
            frames.append(Piece(text, TextType.SENTENCE, raw_text=text, utterance=utterance, end=end))
        return [*frames, LLMFullResponseEndFrame(), UtteranceEnd(utterance)]

    def say(self, text: str, role: Role = "statement") -> list[Frame]:
        utterance = self.keeper.utterance(role, text)
        return [Say(text, role=role, utterance=utterance), UtteranceEnd(utterance)]

    async def hear(self, *frames: Frame) -> list[Frame]:
        """All that came out, once the last utterance is over."""
        params = PipelineParams(enable_metrics=True, enable_usage_metrics=True)
        down, _ = await run_test(self.voices, frames_to_send=list(frames), pipeline_params=params)
        return list(down)


def sounds(frames: Sequence[Frame]) -> list[tuple[str | None, int]]:
    """(stretch, whole words of audio) in the order of playing."""
    found: list[tuple[str | None, int]] = []
    for frame in frames:
        if isinstance(frame, TTSAudioRawFrame):
            before = found.pop()[1] if found and found[-1][0] == frame.context_id else 0
            found.append((frame.context_id, before + len(frame.audio)))
    return [(stretch, length // len(LOUD)) for stretch, length in found]


def kinds(frames: Sequence[Frame]) -> list[str]:
    shown = (TTSAudioRawFrame, TTSStoppedFrame, UtteranceEnd, LLMFullResponseEndFrame)
    return [type(frame).__name__ for frame in frames if isinstance(frame, shown)]


async def test_while_all_is_well_one_voice_says_everything_in_order() -> None:
    made = Set([], [])
    down = await made.hear(*made.answer("One two,", " three."), *made.say("Four five."))
    assert [words for _, words in sounds(down)] == [3, 2]
    assert made.notes.asked == ["a", "a"]
    assert made.notes.ended == [None, None]
    assert made.vendors[1].asked == []
    assert kinds(down) == [
        *["TTSAudioRawFrame"] * 3,
        *("TTSStoppedFrame", "LLMFullResponseEndFrame", "UtteranceEnd"),
        *["TTSAudioRawFrame"] * 2,
        *("TTSStoppedFrame", "UtteranceEnd"),
    ]


@pytest.mark.parametrize(
    ("fault", "what"),
    [("mute", "no_first_audio"), ("silent done", "empty"), ("refuse", "refused")],
)
async def test_a_text_of_which_nothing_came_is_said_by_the_next_voice(fault: str, what: str) -> None:
    made = Set([fault], [])
    down = await made.hear(*made.answer("One two,", " three four."))
    assert [words for _, words in sounds(down)] == [4]
    assert [(model, said, action) for model, said, action, _ in made.notes.troubles] == [("a", what, "next")]
    assert "".join(made.vendors[1].asked) == "One two, three four."
    assert made.notes.gave_up == []
    assert made.notes.asked == ["a", "b"]


@pytest.mark.parametrize(
    ("fault", "what"),
    [("stop", "audio_stopped"), ("drop", "dropped"), ("cut off", "truncated"), ("error", "refused")],
)
async def test_words_that_were_said_are_not_said_again_and_none_is_lost(fault: str, what: str) -> None:
    text = "One two three four five six seven eight nine ten."
    made = Set([fault], [])
    down = await made.hear(*made.answer(text))
    assert [(model, said, action) for model, said, action, _ in made.notes.troubles] == [("a", what, "next")]
    assert made.vendors[1].asked == ["three four five six seven eight nine ten."]
    (first, before), (second, after) = sounds(down)
    assert (before, after) == (2, 8)
    assert made.keeper.trimmed == {first: 2 * RATE * WORD_MS // 1000}  # the half of "three" is not played
    assert [stretch for stretch, _ in made.keeper.stretches] == [first, second]
    assert kinds(down)[-3:] == ["TTSStoppedFrame", "LLMFullResponseEndFrame", "UtteranceEnd"]


async def test_the_floor_knows_the_whole_text_however_many_said_it() -> None:
    text = "One two three four five six seven eight nine ten."
    made = Set(["drop"], [])
    frames = made.answer(text)
    utterance = frames[-1].utterance if isinstance(frames[-1], UtteranceEnd) else None
    assert utterance
    down = await made.hear(*frames)
    assert utterance.spoken == utterance.text == text
    assert utterance.sent == len(text)
    floor, index = made.keeper.floor, 0
    for stretch, words in sounds(down):
        assert stretch
        samples = words * RATE * WORD_MS // 1000
        floor.received(stretch, bytes(2 * samples))
        floor.submitted(stretch, 0, samples, index=index, position=index)
        index += samples
    floor.played(index)
    assert floor.heard(utterance) == text


async def test_one_voice_alone_is_tried_once_more() -> None:
    made = Set(["mute"])
    down = await made.hear(*made.answer("One two three."))
    assert [words for _, words in sounds(down)] == [3]
    assert [action for _, _, action, _ in made.notes.troubles] == ["retry"]
    assert made.vendors[0].cancelled == 1


async def test_when_nobody_can_it_is_told_and_everything_behind_keeps_its_place() -> None:
    made = Set(["mute", "mute"])
    down = await made.hear(*made.answer("One two."), *made.say("Three."))
    assert made.notes.gave_up == [(1, False, "no_first_audio")]
    assert [words for _, words in sounds(down)] == [1]
    assert kinds(down) == [
        *("TTSStoppedFrame", "TTSStoppedFrame", "LLMFullResponseEndFrame", "UtteranceEnd"),  # two attempts, closed
        *("TTSAudioRawFrame", "TTSStoppedFrame", "UtteranceEnd"),
    ]


async def test_a_refused_key_is_not_tried_twice() -> None:
    made = Set(["refuse", "refuse"])
    await made.hear(*made.answer("One two."))
    assert made.notes.troubles == [("a", "refused", "gave_up", "authentication")]
    assert made.notes.gave_up == [(1, True, "authentication")]


async def test_a_voice_that_failed_rests_while_another_works() -> None:
    made = Set(["drop"], [])
    await made.hear(*made.answer("One two three four."), *made.answer("Five six."))
    assert made.notes.asked == ["a", "b", "b"]


async def test_a_line_rendered_beforehand_needs_no_vendor() -> None:
    pcm = LOUD * 3
    made = Set(["mute"], lines={"One moment please.": pcm})
    down = await made.hear(*made.say("One moment please."))
    assert b"".join(frame.audio for frame in down if isinstance(frame, TTSAudioRawFrame)) == pcm
    assert kinds(down)[-2:] == ["TTSStoppedFrame", "UtteranceEnd"]
    assert made.notes.asked == []
    assert made.notes.used == []
    assert [text for _, text in made.keeper.stretches] == ["One moment please."]


async def test_a_cached_line_waits_for_what_is_being_said() -> None:
    made = Set([], lines={"Goodbye.": LOUD})
    down = await made.hear(*made.answer("One two."), *made.say("Goodbye.", "farewell"))
    assert [words for _, words in sounds(down)] == [2, 1]


async def test_a_filler_is_heard_ahead_of_an_answer_that_is_late() -> None:
    made = Set(["mute"], [], lines={"One moment.": LOUD})
    answer, filler = made.answer("One two three."), made.say("One moment.", "filler")
    down = await made.hear(*answer[:2], SleepFrame(0.05), *filler, *answer[2:])
    assert [words for _, words in sounds(down)] == [1, 3]
    ends = [frame.utterance.role for frame in down if isinstance(frame, UtteranceEnd)]
    assert ends == ["filler", "answer"]


async def test_a_filler_that_would_have_to_be_made_is_dropped_behind_an_answer() -> None:
    made = Set(["mute"], [])
    answer, filler = made.answer("One two three."), made.say("One moment.", "filler")
    down = await made.hear(*answer[:2], SleepFrame(0.05), *filler, *answer[2:])
    assert [words for _, words in sounds(down)] == [3]


async def test_an_interruption_passes_at_once_and_nothing_of_before_comes_after_it() -> None:
    made = Set(["mute"], [])
    answer = made.answer("One two.")
    down = await made.hear(*answer[:2], SleepFrame(0.05), InterruptionFrame(), SleepFrame(0.4), *made.say("Three."))
    at = next(number for number, frame in enumerate(down) if isinstance(frame, InterruptionFrame))
    assert sounds(down[:at]) == []
    assert [words for _, words in sounds(down[at:])] == [1]
    assert made.notes.ended[0] == "interrupted"
    assert made.vendors[0].cancelled == 1
    assert made.notes.troubles == []


async def test_late_audio_of_an_abandoned_attempt_is_refused() -> None:
    made = Set(["mute"], [])
    first, second = made.vendors

    async def while_the_next_speaks(_: Any, context_id: str, text: str) -> None:
        stale = TTSAudioRawFrame(LOUD * 5, RATE, 1, context_id=abandoned[0])
        await first.push_frame(stale)
        late.append(stale)

    abandoned: list[str] = []
    late: list[Frame] = []

    async def while_the_first_is_asked(_: Any, context_id: str, text: str) -> None:
        abandoned.append(context_id)

    first.add_event_handler("on_tts_request", while_the_first_is_asked)
    second.add_event_handler("on_tts_request", while_the_next_speaks)
    down = await made.hear(*made.answer("One two."))
    assert len(late) == 1
    assert [words for _, words in sounds(down)] == [2]


async def test_usage_is_counted_for_who_did_the_work() -> None:
    made = Set(["drop"], [])
    await made.hear(*made.answer("One two three four."))
    assert made.notes.used == [("a", len("One two three four.")), ("b", len("three four."))]


async def test_a_model_that_pauses_is_no_trouble_of_the_voice() -> None:
    made = Set([])
    answer = made.answer("One two three four five.", " Six.")
    down = await made.hear(*answer[:2], SleepFrame(0.5), *answer[2:])
    assert sum(words for _, words in sounds(down)) == 6
    assert made.notes.troubles == []


async def test_what_a_broken_connection_still_reports_is_no_failure_of_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its error is on its way while the voice is told to begin afresh."""
    made = Set([])
    (seat,) = made.voices.seats
    told: list[Frame] = []

    async def underway(frame: Frame) -> None:
        assert isinstance(frame, Afresh)

    async def pushed(_: Seat, frame: Frame, __: FrameDirection) -> None:
        told.append(frame)

    monkeypatch.setattr(seat._branch, "send", underway)
    monkeypatch.setattr(made.voices, "pushed", pushed)
    error = ErrorFrame("gone")
    await seat._branch._out(error, FrameDirection.UPSTREAM)
    await seat.begin_afresh()
    await seat._branch._out(ErrorFrame("gone as well"), FrameDirection.UPSTREAM)
    assert told == [error]
