"""What a vendor's voice tells once it is attentive, whatever vendor it is: run inside Pipecat, without a network."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.utils.text.base_text_aggregator import TextType

from callwright.speech import Piece, Say, Utterance, UtteranceEnd
from callwright.upstream.voice import WordEnds
from callwright.voice import Voice, attentive


class Vendor(TTSService):
    """A voice that makes 20 ms for every piece of text and times each word."""

    def __init__(self) -> None:
        settings = TTSSettings(model=None, voice=None, language=None)
        super().__init__(push_start_frame=True, push_stop_frames=True, sample_rate=16_000, settings=settings)
        self.asked: list[str] = []

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        self.asked.append(text)
        await self.add_word_timestamps([(word, number / 10) for number, word in enumerate(text.split())], context_id)
        yield TTSAudioRawFrame(bytes(640), 16_000, 1, context_id=context_id)


class Ear:
    """Who listens."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.causes: list[Piece | Say] = []
        self.words: list[tuple[str, list[tuple[str, float, float | None]]]] = []
        self.ended: list[str] = []

    def over(self, stretch: str) -> None:
        self.ended.append(stretch)

    def sent(self, stretch: str, cause: Piece | Say) -> None:
        self.texts.append((stretch, cause.text))
        self.causes.append(cause)

    def timed(self, stretch: str, words: Sequence[tuple[str, float, float | None]]) -> None:
        self.words.append((stretch, list(words)))


def voice() -> tuple[Any, Ear]:
    made: Any = attentive(Vendor)()
    made.listener = ear = Ear()
    return made, ear


def answer(*texts: str) -> tuple[Utterance, list[Frame]]:
    """An answer of the model, as clauses send it on."""
    utterance = Utterance("answer", 1)
    frames: list[Frame] = [LLMFullResponseStartFrame()]
    for text in texts:
        utterance.text += text
        frames.append(Piece(text, TextType.SENTENCE, raw_text=text, utterance=utterance, end=len(utterance.text)))
    return utterance, [*frames, LLMFullResponseEndFrame(), UtteranceEnd(utterance)]


def test_an_attentive_voice_is_still_its_vendors() -> None:
    made = attentive(Vendor)
    assert made.__name__ == "Vendor"
    assert issubclass(made, Voice)
    assert issubclass(made, Vendor)


def test_without_ends_a_word_has_none() -> None:
    made, _ = voice()
    assert made.with_ends([("one", 0.1), ("two", 0.4)]) == [("one", 0.1, None), ("two", 0.4, None)]


async def test_every_piece_is_told_with_the_context_it_goes_to() -> None:
    made, ear = voice()
    utterance, frames = answer("One,", " two three.")
    await run_test(made, frames_to_send=frames)
    assert [text for _, text in ear.texts] == ["One,", " two three."]
    assert len({stretch for stretch, _ in ear.texts}) == 1
    assert [cause.end for cause in ear.causes if isinstance(cause, Piece)] == [4, len(utterance.text)]
    assert [stretch for stretch, _ in ear.words] == [stretch for stretch, _ in ear.texts]
    assert [[word for word, _, _ in words] for _, words in ear.words] == [["One,"], ["two", "three."]]


async def test_a_fixed_line_is_a_stretch_of_its_own_even_inside_an_answer() -> None:
    made, ear = voice()
    _, frames = answer("One,", " two.")
    line = Say("A moment.", utterance=Utterance("statement", 1))
    await run_test(made, frames_to_send=[*frames[:2], line, *frames[2:]])
    assert [text for _, text in ear.texts] == ["One,", "A moment.", " two."]
    one, moment, two = (stretch for stretch, _ in ear.texts)
    assert one == two != moment
    assert ear.causes[1] is line


async def test_the_end_of_an_utterance_comes_behind_its_last_audio() -> None:
    made, _ = voice()
    first, frames = answer("One.", " Two.")
    second, more = answer("Three.")
    down, _ = await run_test(made, frames_to_send=[*frames, *more])
    kinds = [frame for frame in down if isinstance(frame, TTSAudioRawFrame | TTSStoppedFrame | UtteranceEnd)]
    assert [type(frame).__name__ for frame in kinds] == [
        *("TTSAudioRawFrame", "TTSAudioRawFrame", "TTSStoppedFrame", "UtteranceEnd"),
        *("TTSAudioRawFrame", "TTSStoppedFrame", "UtteranceEnd"),
    ]
    assert [frame.utterance for frame in kinds if isinstance(frame, UtteranceEnd)] == [first, second]


async def test_audio_says_which_stretch_it_is_of() -> None:
    made, ear = voice()
    _, frames = answer("One.")
    _, more = answer("Two.")
    down, _ = await run_test(made, frames_to_send=[*frames, *more])
    audio = [frame.context_id for frame in down if isinstance(frame, TTSAudioRawFrame)]
    assert audio == [stretch for stretch, _ in ear.texts]
    assert len(set(audio)) == 2
    assert ear.ended == audio  # and when each is over


async def test_text_that_no_piece_brought_is_not_told() -> None:
    made, ear = voice()
    _, frames = answer("One.")
    await run_test(made, frames_to_send=frames)
    assert made._cause is None
    assert [chunk async for chunk in made.run_tts("Two.", "x")]
    assert [text for _, text in ear.texts] == ["One."]


async def test_times_of_a_context_that_was_interrupted_are_not_told() -> None:
    made, ear = voice()
    _, frames = answer("One.")
    await run_test(made, frames_to_send=[*frames[:-2], SleepFrame(), InterruptionFrame(), SleepFrame()])
    told = len(ear.words)
    await made.add_word_timestamps([("late", 0.5)], ear.texts[0][0])
    assert len(ear.words) == told


# -- where words end


class _Socket:
    """A vendor's websocket."""

    closed = False

    def __init__(self, messages: list[str | bytes]) -> None:
        self._messages = messages

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        for message in self._messages:
            yield message


class _Streaming:
    """As much of a vendor's class as word ends lean on."""

    def __init__(self, messages: list[str | bytes]) -> None:
        self.socket = _Socket(messages)

    def _get_websocket(self) -> _Socket:
        return self.socket


class _Ends(WordEnds, _Streaming):
    pass


def _message(words: list[str], **times: list[float]) -> str:
    return json.dumps({"type": "timestamps", "word_timestamps": {"words": words, **times}})


@pytest.mark.parametrize("as_bytes", [False, True])
async def test_ends_are_read_off_the_message_its_words_come_in(as_bytes: bool) -> None:
    messages = [
        _message(["one", "two"], start=[0.0, 0.5], end=[0.4, 0.9]),
        json.dumps({"type": "chunk", "data": "AAAA"}),
        _message(["three"], start=[1.0], end=[1.3]),
    ]
    made = _Ends([text.encode() if as_bytes else text for text in messages])
    seen = []
    async for message in made._get_websocket():
        times = json.loads(message).get("word_timestamps")
        if times:
            seen += made.with_ends(list(zip(times["words"], times["start"], strict=True)))
    assert seen == [("one", 0.0, 0.4), ("two", 0.5, 0.9), ("three", 1.0, 1.3)]


@pytest.mark.parametrize("times", [{"start": [0.0, 0.5]}, {"start": [0.0, 0.5], "end": [0.4]}])
async def test_words_without_an_end_for_each_have_none(times: dict[str, list[float]]) -> None:
    made = _Ends([_message(["one", "two"], **times)])
    _ = [message async for message in made._get_websocket()]
    assert made.with_ends([("one", 0.0), ("two", 0.5)]) == [("one", 0.0, None), ("two", 0.5, None)]


def test_the_overheard_websocket_is_still_the_vendors() -> None:
    made = _Ends([])
    assert made._get_websocket().closed is False
    made.socket.closed = True
    assert made._get_websocket().closed is True
