"""What the model is shown of its own side: one message a thing said, of it what was heard, and what tools became."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection

from callwright.speech import Kept, Piece, Role, Say, Utterance
from callwright.speech_queue import Chunk
from processors.floor import Settled
from processors.floor_keeper import FloorKeeper
from processors.memory import HEARD_NOTHING, HEARD_PART, LOST_PART, History, Memory

USER = {"role": "user", "content": "And the price?"}


def utterance(text: str, role: Role = "answer", *, remembered: bool = True) -> Utterance:
    return Utterance(role, 1, remembered=remembered, text=text)


def settled(of: Utterance, heard: str, unheard: str = "") -> Settled:
    return Settled(of, heard, unheard, ())


def tool_call(key: str, content: str = "IN_PROGRESS") -> list[dict[str, Any]]:
    call = {"id": key, "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    return [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": content, "tool_call_id": key},
    ]


def history(*messages: Any) -> tuple[LLMContext, History]:
    context = LLMContext([*messages])
    return context, History(context)


# -- one message for each thing said


def test_an_utterance_is_one_message_that_grows() -> None:
    context, past = history(USER)
    said = utterance("It is")
    past.show(said)
    said.text += " ninety. "
    past.show(said)
    assert context.messages == [USER, {"role": "assistant", "content": "It is ninety."}]


def test_two_utterances_are_two_messages_in_the_order_in_which_they_began() -> None:
    context, past = history(USER)
    first, second = utterance("It is"), utterance("Anything", "statement")
    past.show(first)
    past.show(second)
    first.text += " ninety."
    past.show(first)
    assert [one["content"] for one in context.messages[1:]] == ["It is ninety.", "Anything"]  # type: ignore[index]


@pytest.mark.parametrize("said", [utterance("One moment.", "filler", remembered=False), utterance(" \n")])
def test_what_is_not_remembered_or_empty_is_never_shown(said: Utterance) -> None:
    context, past = history(USER)
    past.show(said)
    past.settle(settled(said, "", "One moment."), cut=True)
    assert context.messages == [USER]


# -- when it is over


def test_what_was_heard_to_its_end_stays() -> None:
    context, past = history(USER)
    said = utterance("It is ninety.")
    past.show(said)
    past.settle(settled(said, "It is ninety."), cut=False)
    assert context.messages == [USER, {"role": "assistant", "content": "It is ninety."}]


def test_what_was_cut_off_is_left_as_it_was_heard_and_the_model_is_told() -> None:
    context, past = history(USER)
    said = utterance("It is ninety.")
    past.show(said)
    past.settle(settled(said, "It is", "ninety."), cut=True)
    note = {"role": "user", "content": HEARD_PART}
    assert context.messages == [USER, {"role": "assistant", "content": "It is"}, note]


def test_what_was_not_heard_leaves_no_message() -> None:
    context, past = history(USER)
    said = utterance("It is ninety.")
    past.show(said)
    past.settle(settled(said, "", "It is ninety."), cut=True)
    assert context.messages == [USER, {"role": "user", "content": HEARD_NOTHING}]


def test_what_a_fault_cut_off_is_not_laid_to_the_caller() -> None:
    context, past = history(USER)
    said = utterance("It is ninety.")
    past.show(said)
    past.settle(settled(said, "It is", "ninety."), cut=False)
    assert context.messages[-1] == {"role": "user", "content": LOST_PART}


def test_a_note_to_the_model_cannot_be_taken_for_the_callers_words() -> None:
    for note in (HEARD_PART, HEARD_NOTHING, LOST_PART):
        assert note.startswith("[")
        assert note.endswith("]")


def test_an_utterance_that_is_over_is_not_settled_again() -> None:
    context, past = history(USER)
    said = utterance("It is ninety.")
    past.show(said)
    past.settle(settled(said, "It is ninety."), cut=False)
    past.settle(settled(said, "", "It is ninety."), cut=True)
    assert context.messages == [USER, {"role": "assistant", "content": "It is ninety."}]


def test_equal_texts_are_different_messages() -> None:
    context, past = history(USER)
    first, second = utterance("Yes."), utterance("Yes.")
    past.show(first)
    past.show(second)
    past.settle(settled(first, "", "Yes."), cut=False)
    past.settle(settled(second, "Yes."), cut=False)
    assert [one for one in context.messages if one["role"] == "assistant"] == [  # type: ignore[index]
        {"role": "assistant", "content": "Yes."}
    ]


# -- beside tools


def test_a_line_said_while_a_tool_runs_stands_before_its_call() -> None:
    context, past = history(USER, *tool_call("1"), *tool_call("2"))
    past.show(utterance("I am looking.", "statement"))
    said = {"role": "assistant", "content": "I am looking."}
    assert context.messages == [USER, said, *tool_call("1"), *tool_call("2")]


def test_the_answer_to_a_tools_result_stands_behind_it() -> None:
    context, past = history(USER, *tool_call("1", '{"result": 90}'))
    past.show(utterance("Ninety."))
    assert context.messages[-1] == {"role": "assistant", "content": "Ninety."}


def test_an_unheard_line_goes_from_before_the_call_without_touching_it() -> None:
    context, past = history(USER, *tool_call("1"))
    said = utterance("I am looking.", "statement")
    past.show(said)
    past.settle(settled(said, "", "I am looking."), cut=True)
    assert context.messages[:3] == [USER, *tool_call("1")]


# -- the processor


class _Stage:
    """Memory between two recorders, with a real floor and a room without sound."""

    def __init__(self) -> None:
        self.context = LLMContext([USER])  # type: ignore[list-item]
        self.closers: list[Any] = []
        self.notes: list[Any] = []
        playback = SimpleNamespace(release=lambda at=None: None, cut=lambda: None, hold=lambda: None, held=False)
        scribe = SimpleNamespace(interrupted=lambda: None, answering=lambda turn: None, note=self.notes.append)
        parts: Any = SimpleNamespace(
            room=SimpleNamespace(rate=8000, playback=playback),
            voice=SimpleNamespace(),
            scribe=scribe,
            turn=1,
            on_close=self.closers.append,
        )
        self.keeper = FloorKeeper(parts)
        self.memory = Memory(self.context, self.keeper)
        self.pushed: list[tuple[Frame, FrameDirection]] = []

        async def push(frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
            self.pushed.append((frame, direction))

        async def nothing() -> None: ...

        memory: Any = self.memory
        memory.push_frame, memory._start_interruption = push, nothing  # nothing runs that could be interrupted

    async def give(self, *frames: Frame) -> None:
        for frame in frames:
            await self.memory.process_frame(frame, FrameDirection.DOWNSTREAM)

    async def answer(self, text: str) -> Utterance:
        start = LLMFullResponseStartFrame()
        await self.give(start, LLMTextFrame(text), LLMFullResponseEndFrame())
        said: Utterance = start.metadata["utterance"]
        return said

    def hear(self, said: Utterance, ms: int = 100) -> None:
        """The voice makes `ms` for the whole text, one word a 100 ms, and all of it is played."""
        name = str(id(said))
        self.keeper.sent(name, Piece(said.text, "sentence", utterance=said, end=len(said.text)))
        self.keeper.timed(name, [(word, n / 10, n / 10 + 0.1) for n, word in enumerate(said.text.split())])
        self.keeper.submitted(Chunk(name, 0, bytes(2 * 8 * ms)), 0, 0)
        self.keeper.played(8 * ms)

    @property
    def contents(self) -> list[Any]:
        return [one.get("content") for one in self.context.messages if isinstance(one, dict)]


async def test_the_models_words_enter_the_context_in_its_own_spelling_and_pass_on() -> None:
    stage = _Stage()
    said = await stage.answer(" It costs\n$90. ")
    assert stage.contents == [USER["content"], "It costs\n$90."]
    assert [type(frame) for frame, _ in stage.pushed] == [
        LLMFullResponseStartFrame,
        LLMTextFrame,
        LLMFullResponseEndFrame,
    ]
    stage.keeper.ended(said)


async def test_words_that_come_after_the_cut_are_not_written() -> None:
    stage = _Stage()
    await stage.give(LLMFullResponseStartFrame(), LLMTextFrame("It costs"))
    stage.keeper.cut()
    await stage.give(LLMTextFrame(" ninety."), LLMFullResponseEndFrame())
    assert stage.contents == [USER["content"], HEARD_NOTHING]
    assert not stage.keeper.floor.busy


async def test_an_answer_that_broke_off_is_shown_as_far_as_it_is_going_to_be_heard() -> None:
    stage = _Stage()
    said = await stage.answer("Your table is booked, for")
    said.text = "Your table is booked,"
    await stage.give(Kept(said))
    assert stage.contents == [USER["content"], "Your table is booked,"]
    assert isinstance(stage.pushed[-1][0], Kept), "the mind waits for it"
    stage.hear(said, ms=400)
    stage.keeper.ended(said)
    assert stage.contents == [USER["content"], "Your table is booked,"]


async def test_an_answer_that_broke_off_before_a_word_went_to_the_voice_was_never_given() -> None:
    stage = _Stage()
    said = await stage.answer("Your")
    said.text = ""
    await stage.give(Kept(said))
    assert stage.contents == [USER["content"]]
    stage.keeper.ended(said)
    assert stage.contents == [USER["content"]]


async def test_what_broke_off_after_the_caller_cut_it_is_settled_already() -> None:
    stage = _Stage()
    said = await stage.answer("Your table is booked.")
    stage.keeper.cut()
    await stage.give(Kept(said))
    assert stage.contents == [USER["content"], HEARD_NOTHING]


async def test_a_cut_leaves_of_each_answer_what_was_heard() -> None:
    stage = _Stage()
    first = await stage.answer("It costs ninety.")
    stage.hear(first, ms=200)
    stage.keeper.cut()
    assert stage.contents == [USER["content"], "It costs", HEARD_PART]
    second = await stage.answer("Of course.")
    stage.hear(second, ms=200)
    stage.keeper.ended(second)
    assert stage.contents == [USER["content"], "It costs", HEARD_PART, "Of course."]


async def test_a_fixed_line_is_an_utterance_of_its_own_even_inside_an_answer() -> None:
    stage = _Stage()
    line = Say("I am looking.")
    await stage.give(LLMFullResponseStartFrame(), LLMTextFrame("One"), line, LLMTextFrame(" two."))
    assert stage.contents == [USER["content"], "One two.", "I am looking."]
    assert line.utterance is not None
    stage.keeper.cut()


async def test_a_result_does_not_wait_until_the_agent_is_silent() -> None:
    """Pipecat holds it back because the text is not in the context before; here it is."""
    stage = _Stage()
    await stage.give(*_started("1"), _in_progress("1"))
    await stage.give(FunctionCallResultFrame("look_up", "1", {}, {"result": 90}))
    asked = [frame for frame, direction in stage.pushed if direction is FrameDirection.UPSTREAM]
    assert [type(frame) for frame in asked] == [LLMContextFrame]
    assert stage.context.messages[1:] == tool_call("1", '{"result": 90}')


async def test_an_interruption_ends_what_began_before_it_and_nothing_that_begins_behind() -> None:
    stage = _Stage()
    await stage.give(LLMFullResponseStartFrame(), LLMTextFrame("It costs"))
    line = Say("Sorry, please say that again.")
    await stage.give(InterruptionFrame(), line)
    assert stage.contents == [USER["content"], HEARD_NOTHING, line.text]
    assert line.utterance is not None
    assert stage.keeper.floor.is_open(line.utterance)
    stage.keeper.cut()


async def test_while_the_connection_is_lost_the_playback_is_held_until_it_is_back() -> None:
    stage = _Stage()
    calls: list[str] = []
    playback: Any = stage.keeper._parts.room.playback
    playback.hold, playback.release = lambda: calls.append("hold"), lambda at: calls.append("release")
    stage.keeper.connection(False)
    playback.held = True
    stage.keeper.hold()
    stage.keeper.release()
    assert calls == ["hold", "hold"]
    stage.keeper.cut()  # words that were under way take the floor meanwhile
    stage.keeper.connection(True)
    assert calls == ["hold", "hold", "release"]


def _started(key: str) -> list[Frame]:
    return [FunctionCallsStartedFrame([FunctionCallFromLLM("look_up", key, {}, None)])]


def _in_progress(key: str) -> Frame:
    return FunctionCallInProgressFrame("look_up", key, {}, cancel_on_interruption=True)
