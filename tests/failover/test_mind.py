"""The mind on real asyncio with tiny limits: scripted services in its branches, one answer out of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openai import APIStatusError
from pipecat.clocks.system_clock import SystemClock as PipecatClock
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    StartFrame,
    TTSSpeakFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.services.llm_service import FunctionCallParams, LLMService
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams
from pydantic import SecretStr

from callwright.clock import SystemClock
from callwright.failover.asking import GO_ON
from callwright.failover.branch import Branch
from callwright.failover.hedge import FEWEST, Bill, Hedge, Model
from callwright.failover.mind import _NO_SETTINGS, Mind
from callwright.records import events
from callwright.requests import Requests
from callwright.sections import WatchConfig
from callwright.speech import BROKEN_OFF, Kept, Piece, Utterance, UtteranceEnd
from callwright.stage import StageConfig
from callwright.upstream.mind import Candid
from processors.clauses import Clauses
from processors.floor_keeper import FloorKeeper
from processors.memory import Memory

WATCH = {"first_token_ms": 300, "token_gap_ms": 300, "turn_budget_ms": 2500}
FOREVER = 60.0

Script = Sequence[str | float | int | tuple[str, str] | None]
"""Words; seconds to wait (float); an HTTP status to fail with (int); a tool call (name, JSON); None: no end marker."""


class _Error(APIStatusError):
    def __init__(self, status: int) -> None:
        response = cast("Any", SimpleNamespace(status_code=status, request=None, headers={}))
        super().__init__("secret words", response=response, body=None)


class _Stream:
    """A reply in OpenAI's chunks."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        calls, ends = 0, True
        for step in self._script:
            match step:
                case float():
                    await asyncio.sleep(step)
                case int():
                    raise _Error(step)
                case str():
                    yield _chunk(content=step)
                case (name, arguments):
                    function = SimpleNamespace(name=name, arguments=arguments)
                    part = SimpleNamespace(index=calls, id=f"call_{calls}", function=function)
                    calls += 1
                    yield _chunk(tool_calls=[part])
                case None:
                    ends = False
        if ends:
            yield _chunk(finish="stop")

    async def close(self) -> None:
        return


def _chunk(content: str | None = None, tool_calls: Any = None, finish: str | None = None) -> Any:
    delta = SimpleNamespace(content=content, tool_calls=tool_calls, refusal=None)
    return SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=finish)])


class _Scripted(LLMService[Any]):
    """Answers each request with the next of its scripts, as Pipecat's services do; then falls silent."""

    def __init__(self, scripts: list[Script]) -> None:
        super().__init__(settings=_NO_SETTINGS)
        self.scripts = scripts
        self.asked: list[list[Any]] = []

    async def get_chat_completions(self, context: LLMContext) -> _Stream:
        self.asked.append([dict(cast("Any", message)) for message in context.messages])
        script = self.scripts.pop(0) if self.scripts else (FOREVER,)
        if script and isinstance(script[0], int):
            raise _Error(script[0])
        return _Stream(script)

    def can_generate_metrics(self) -> bool:
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        used = LLMTokenUsage(prompt_tokens=40, completion_tokens=7, total_tokens=47)
        try:
            async for chunk in await self.get_chat_completions(frame.context):
                if content := chunk.choices[0].delta.content:
                    await self._push_llm_text(content)
                if chunk.choices[0].finish_reason:
                    await self.start_llm_usage_metrics(used)
        finally:
            await self.push_frame(LLMFullResponseEndFrame())


class _Service(Candid, _Scripted):
    pass


class Stage:
    """A mind in a branch of its own, and all that comes out of it."""

    def __init__(
        self,
        *vendors: list[Script],
        hedge: Hedge | None = None,
        behind: bool = False,
        store_ms: Callable[[], float] = lambda: 0.0,
        **watch: Any,
    ) -> None:
        # The first vendor's two services share its scripts.
        services = [[_Service(scripts) for _ in range(1 if n else 2)] for n, scripts in enumerate(vendors)]
        names = ("anthropic", "openai")
        line = [StageConfig(vendor=names[n % 2], model=f"m{n}", api_key=SecretStr("k")) for n in range(len(vendors))]
        self.events: list[events.Event] = []
        requests = Requests("llm", line, self._note, lambda: 1)
        config = WatchConfig(**{**WATCH, **watch})
        self.mind = Mind(cast("Any", services), config, requests, SystemClock(), self, hedge, store_ms=store_ms)
        self.services = [cast("_Service", service) for service in self.mind.services]
        self.context = LLMContext([{"role": "user", "content": "hello"}])
        self.branch = Branch(Pipeline([self.mind, *self._behind()]) if behind else self.mind, self._pushed)
        self.out: list[Frame] = []
        self.over = asyncio.Event()
        self.changed = asyncio.Event()
        self.answers = 0
        self.gave_up: list[tuple[str, bool]] = []
        self.kept: str | None = None

    def _behind(self) -> list[FrameProcessor]:
        """What stands behind the mind in the cascade, up to the voice."""
        playback = SimpleNamespace(cut=lambda: None, release=lambda *_: None, held=False)
        self.room = SimpleNamespace(rate=8000, playback=playback, speech=None)
        parts = SimpleNamespace(
            room=self.room,
            voice=SimpleNamespace(listener=None),
            scribe=SimpleNamespace(interrupted=lambda: None, note=self.events.append),
            turn=1,
            on_close=lambda closer: None,
        )
        return [Memory(self.context, FloorKeeper(cast("Any", parts))), Clauses()]

    async def _pushed(self, _: Branch, frame: Frame, direction: FrameDirection) -> None:
        if direction is FrameDirection.DOWNSTREAM:
            self.out.append(frame)
            self.changed.set()
        broken = isinstance(frame, LLMFullResponseEndFrame) and frame.metadata.get(BROKEN_OFF)
        if broken and self.kept is not None:  # what the cutter of pieces would answer
            utterance = Utterance("answer", 1, text=self.kept)
            if self.kept:
                self.context.add_message({"role": "assistant", "content": self.kept})
            await self.branch.send(Kept(utterance), FrameDirection.UPSTREAM)

    async def mind_answered(self) -> None:
        self.answers += 1
        self.over.set()

    async def mind_gave_up(self, category: str, permanent: bool) -> None:
        self.gave_up.append((category, permanent))
        self.over.set()

    async def ask(self) -> str:
        """One ask to its end; what was said, an utterance in brackets each."""
        self.over.clear()
        await self.branch.send(LLMContextFrame(self.context))
        async with asyncio.timeout(5):
            await self.over.wait()
        return self.said

    @property
    def said(self) -> str:
        signs: list[tuple[type[Frame], str]] = [(LLMFullResponseStartFrame, "["), (LLMFullResponseEndFrame, "]")]
        return "".join(
            frame.text
            if isinstance(frame, LLMTextFrame)
            else next((sign for kind, sign in signs if isinstance(frame, kind)), "")
            for frame in self.out
        )

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def troubles(self) -> list[tuple[str, str, str]]:
        return [(event.vendor, event.what, event.action) for event in self.of(events.StageTroubled)]

    async def until(self, count: int, kind: type[Any]) -> None:
        await self.when(lambda: sum(isinstance(frame, kind) for frame in self.out) >= count)

    async def when(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def _note(self, event: events.Event) -> None:
        self.events.append(event)
        self.changed.set()


@asynccontextmanager
async def staged(*vendors: list[Script], **options: Any) -> AsyncIterator[Stage]:
    stage = Stage(*vendors, **options)
    tasks = TaskManager()
    tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
    worker = cast("Any", SimpleNamespace(app_resources=None, worker_runner=None))
    setup = FrameProcessorSetup(
        clock=PipecatClock(), task_manager=tasks, pipeline_worker=worker, enable_metrics=True, enable_usage_metrics=True
    )
    await stage.branch.setup(setup)
    await stage.branch.send(StartFrame())
    await stage.until(1, StartFrame)
    try:
        yield stage
    finally:
        await stage.branch.cleanup()


async def test_an_answer_passes_as_one_utterance() -> None:
    async with staged([["Hel", "lo."]]) as stage:
        assert await stage.ask() == "[Hello.]"
        assert (stage.answers, stage.troubles) == (1, [])


async def test_an_overloaded_vendor_is_retried_and_the_caller_hears_one_answer() -> None:
    async with staged([[529], ["Hello."]]) as stage:
        assert await stage.ask() == "[Hello.]"
        assert stage.troubles == [("anthropic", "refused", "retry")]
        assert [event.error for event in stage.of(events.StageEnded)] == ["server", None]
        assert [(event.category, event.permanent) for event in stage.of(events.VendorFailed)] == [("server", False)]


async def test_a_refused_key_moves_on_at_once() -> None:
    async with staged([[401]], [["Hello."]]) as stage:
        assert await stage.ask() == "[Hello.]"
        assert [(event.vendor, event.request) for event in stage.of(events.StageStarted)] == [
            ("anthropic", 1),
            ("openai", 2),
        ]
        assert [event.vendor for event in stage.of(events.Usage)] == ["openai"]


async def test_one_bad_request_leaves_the_vendor_the_first_choice() -> None:
    async with staged([[400], ["Again me."]], [["Hello."]]) as stage:
        await stage.ask()
        assert await stage.ask() == "[Hello.][Again me.]"


async def test_a_silent_vendor_is_overtaken_and_its_bill_is_estimated() -> None:
    async with staged([[FOREVER]], [["Hello."]]) as stage:
        assert await stage.ask() == "[Hello.]"
        assert stage.troubles == [("anthropic", "no_first_token", "next")]
        await stage.when(lambda: len(stage.of(events.Usage)) == 2)
        bills = {event.vendor: event for event in stage.of(events.Usage)}
        assert not bills["openai"].estimated
        assert bills["anthropic"].estimated
        assert bills["anthropic"].quantities["input_tokens"] == 40
        assert bills["anthropic"].quantities["output_tokens"] == 0
        ended = {event.request: event.error for event in stage.of(events.StageEnded)}
        assert ended == {1: "cancelled", 2: None}


async def test_the_late_one_may_still_win() -> None:
    async with staged([[0.45, "First."]], [[FOREVER]]) as stage:
        assert await stage.ask() == "[First.]"


async def test_a_single_vendor_is_asked_again_beside_itself() -> None:
    async with staged([[FOREVER], ["Hello."]]) as stage:
        assert await stage.ask() == "[Hello.]"
        assert stage.troubles == [("anthropic", "no_first_token", "retry")]


async def test_a_hedge_answers_before_the_limit_and_is_on_record() -> None:
    async with staged([[FOREVER], ["Hello."]], hedge=_hedge(0)) as stage:
        assert await stage.ask() == "[Hello.]"
        assert stage.troubles == [("anthropic", "no_first_token", "hedge")]
        assert stage.of(events.StageTroubled)[0].waited_ms < 300


async def test_the_next_vendor_answers_as_a_hedge_and_the_first_ones_prompt_is_on_the_bill() -> None:
    hedge = _hedge(1)
    settled: list[tuple[Sequence[Bill], bool]] = []
    hedge.settled = lambda bills, *, hedged: settled.append((bills, hedged))  # type: ignore[method-assign]
    async with staged([[FOREVER]], [["Hello."]], hedge=hedge) as stage:
        assert await stage.ask() == "[Hello.]"
        assert [event.vendor for event in stage.of(events.StageStarted)] == ["anthropic", "openai"]
        assert stage.of(events.StageTroubled)[0].waited_ms < 300
        await stage.when(lambda: bool(settled))
        bills = {event.vendor: event for event in stage.of(events.Usage)}
        assert bills["anthropic"].estimated
        assert bills["anthropic"].quantities == {**USUAL, "output_tokens": 0, "requests": 1}
        assert [(bill.vendor, bill.answered) for bill in settled[0][0]] == [(0, False), (1, True)]
        assert settled[0][1]


async def test_what_is_interrupted_before_the_first_token_is_billed_all_the_same() -> None:
    async with staged([[FOREVER]], hedge=_hedge()) as stage:
        await stage.branch.send(LLMContextFrame(stage.context))
        await stage.when(lambda: bool(stage.of(events.StageStarted)))
        await stage.when(lambda: bool(stage.services[0].asked or stage.services[1].asked))
        await stage.branch.send(InterruptionFrame())
        await stage.when(lambda: bool(stage.of(events.Usage)))
        assert stage.of(events.Usage)[0].quantities["input_tokens"] == USUAL["input_tokens"]


USUAL = {"input_tokens": 1, "output_tokens": 100}


def _hedge(*seconds: int) -> Hedge:
    """One that knows the first vendor's first tokens to come after 40 ms, and its answers to be long."""
    hedge = Hedge([Model(), Model()], seconds)
    for _ in range(FEWEST):
        hedge.models[0].first_token(40)
        hedge.models[0].answered(USUAL)
    return hedge


async def test_an_answer_that_stops_is_ended_and_continued_by_the_next() -> None:
    async with staged([["Your table is booked, for", FOREVER]], [[" eight o'clock."]]) as stage:
        stage.kept = "Your table is booked,"
        assert await stage.ask() == "[Your table is booked, for][ eight o'clock.]"
        assert stage.troubles == [("anthropic", "tokens_stopped", "go_on")]
        ends = [frame.metadata.get(BROKEN_OFF) for frame in stage.out if isinstance(frame, LLMFullResponseEndFrame)]
        assert ends == ["dropped", None]
        assert stage.services[2].asked == [
            [
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "Your table is booked,"},
                {"role": "user", "content": GO_ON},
            ]
        ]
        assert [cast("Any", message)["content"] for message in stage.context.messages] == ["hello", stage.kept]


async def test_an_answer_that_trickles_is_continued_by_the_next() -> None:
    trickle = [step for letter in "eight" for step in (0.25, letter)]
    async with staged([["Your table is booked, for ", *trickle]], [["eight o'clock."]]) as stage:
        stage.kept = "Your table is booked,"
        assert (await stage.ask()).endswith("][eight o'clock.]")
        assert stage.troubles == [("anthropic", "tokens_stopped", "go_on")]


async def test_an_answer_that_pauses_while_the_caller_still_hears_it_is_let_alone() -> None:
    async with staged([["Your table is booked,", 0.6, " for eight."]], [["No."]], store_ms=lambda: 5000) as stage:
        assert await stage.ask() == "[Your table is booked, for eight.]"
        assert not stage.troubles


async def test_in_the_cascade_the_context_has_what_went_to_the_voice_and_then_the_rest() -> None:
    async with staged([["Your table is booked. It is", None]], [[" It is for eight."]], behind=True) as stage:
        await stage.ask()
        await stage.until(2, UtteranceEnd)
        assert [frame.text for frame in stage.out if isinstance(frame, Piece)] == [
            "Your table is booked.",
            " It is for eight.",
        ]
        contents = [cast("Any", message)["content"] for message in stage.context.messages]
        assert contents == ["hello", "Your table is booked.", "It is for eight."]
        assert [one["content"] for one in stage.services[2].asked[0]] == [*contents[:2], GO_ON]


async def test_in_the_cascade_what_never_went_to_the_voice_leaves_no_trace() -> None:
    async with staged([["Your", None]], [["Hello."]], behind=True) as stage:
        await stage.ask()
        await stage.until(2, UtteranceEnd)
        assert [frame.text for frame in stage.out if isinstance(frame, Piece)] == ["Hello."]
        assert [cast("Any", message)["content"] for message in stage.context.messages] == ["hello", "Hello."]
        assert stage.services[2].asked == [[{"role": "user", "content": "hello"}]]


async def test_an_answer_of_which_nothing_went_to_the_voice_is_asked_for_anew() -> None:
    async with staged([["Your", None]], [["Hello."]]) as stage:
        stage.kept = ""
        assert await stage.ask() == "[Your][Hello.]"
        assert stage.services[2].asked == [[{"role": "user", "content": "hello"}]]


async def test_without_a_cutter_of_pieces_the_answer_goes_on_all_the_same() -> None:
    async with staged([["Your table", None]], [[" is booked."]]) as stage:
        assert await stage.ask() == "[Your table][ is booked.]"


async def test_an_answer_that_broke_off_is_on_the_bill_although_nobody_reports_it() -> None:
    async with staged([["Your table", None]], [[" is booked."]]) as stage:
        await stage.ask()
        await stage.when(lambda: len(stage.of(events.Usage)) == 2)
        broken = next(event for event in stage.of(events.Usage) if event.vendor == "anthropic")
        assert broken.estimated
        assert broken.quantities["output_tokens"] > 0
        assert broken.quantities["input_tokens"] > 0


async def test_an_empty_answer_is_no_answer() -> None:
    async with staged([[" \n"], []], [["Hello."]]) as stage:
        assert (await stage.ask()).strip("[] \n") == "Hello."
        assert [what for _, what, _ in stage.troubles] == ["empty", "empty"]


async def test_when_nothing_works_that_is_told_once_and_in_time() -> None:
    async with staged([[401]], [[401]]) as stage:
        assert await stage.ask() == "[]", "an empty answer ends the turn of whoever waits for one"
        assert [end.metadata[BROKEN_OFF] for end in stage.out if isinstance(end, LLMFullResponseEndFrame)] == [
            "dropped"
        ]
        assert stage.gave_up == [("authentication", True)]
        assert stage.troubles[-1] == ("openai", "refused", "gave_up")


async def test_when_everybody_is_silent_it_is_given_up_within_the_budget() -> None:
    async with staged([], [], turn_budget_ms=600) as stage:
        began = asyncio.get_running_loop().time()
        await stage.ask()
        assert stage.gave_up == [("timeout", False)]
        assert asyncio.get_running_loop().time() - began < 1.5


async def test_no_text_of_a_vendors_error_is_on_record() -> None:
    async with staged([[401]], [[500], [500]], turn_budget_ms=500) as stage:
        await stage.ask()
        assert "secret" not in " ".join(map(repr, stage.events))


# -- interruptions and the order of frames


async def test_an_interruption_ends_the_answer_and_the_next_one_is_clean() -> None:
    async with staged([["One", FOREVER], ["Two."]]) as stage:
        await stage.branch.send(LLMContextFrame(stage.context))
        await stage.until(1, LLMTextFrame)
        await stage.branch.send(InterruptionFrame())
        await stage.until(1, InterruptionFrame)
        assert stage.said == "[One]"
        assert [event.error for event in stage.of(events.StageEnded)] == ["interrupted"]
        assert await stage.ask() == "[One][Two.]"
        assert not stage.troubles


async def test_an_interruption_while_several_are_asked_cancels_them_all() -> None:
    async with staged([[FOREVER], ["Two."]], [[FOREVER]]) as stage:
        await stage.branch.send(LLMContextFrame(stage.context))
        await stage.when(lambda: len(stage.of(events.StageStarted)) == 2)
        await stage.branch.send(InterruptionFrame())
        await stage.until(1, InterruptionFrame)
        assert sum(isinstance(frame, InterruptionFrame) for frame in stage.out) == 1
        assert [event.error for event in stage.of(events.StageEnded)] == ["interrupted", "interrupted"]
        assert await stage.ask() == "[Two.]"


async def test_frames_pass_while_the_model_is_asked_and_speech_waits_for_the_end_of_an_answer() -> None:
    async with staged([[0.15, "One", 0.1, " two."]]) as stage:
        await stage.branch.send(LLMContextFrame(stage.context))
        await stage.branch.send(TTSSpeakFrame("filler"))
        await stage.until(1, TTSSpeakFrame)
        assert stage.said == ""
        await stage.until(1, LLMTextFrame)
        await stage.branch.send(TTSSpeakFrame("behind"))
        await stage.branch.send(InputAudioRawFrame(b"\0\0", 16000, 1))
        await stage.until(1, InputAudioRawFrame)
        assert sum(isinstance(frame, TTSSpeakFrame) for frame in stage.out) == 1
        await stage.until(2, TTSSpeakFrame)
        order = [type(frame) for frame in stage.out]
        assert order.index(LLMFullResponseEndFrame) < len(order) - 1 - order[::-1].index(TTSSpeakFrame)
        assert stage.said == "[One two.]"


async def test_two_contexts_are_answered_one_after_the_other() -> None:
    async with staged([[0.05, "One."], ["Two."]]) as stage:
        await stage.branch.send(LLMContextFrame(stage.context))
        await stage.branch.send(LLMContextFrame(stage.context))
        await stage.until(2, LLMFullResponseEndFrame)
        assert stage.said == "[One.][Two.]"


@pytest.mark.parametrize("last", [EndFrame, CancelFrame])
async def test_the_last_frame_leaves_when_all_branches_have_had_it(last: type[Frame]) -> None:
    async with staged([["One."]], [["Two."]]) as stage:
        had: list[FrameProcessor] = []

        async def has(service: FrameProcessor, frame: Frame) -> None:
            if isinstance(frame, last):
                had.append(service)

        for service in stage.services:
            service.add_event_handler("on_before_push_frame", has)
        await stage.branch.send(last())
        await stage.until(1, last)
        assert len(had) == 3


# -- tools


async def test_all_tools_of_the_adopted_reply_run_once_inside_its_utterance() -> None:
    ran: list[str] = []

    async def handler(params: FunctionCallParams) -> None:
        ran.append(f"{params.function_name} {params.tool_call_id}")
        assert params.context is stage.context
        await params.result_callback({"result": 1})

    async with staged([["Look.", ("a", "{}"), ("b", "{}")]]) as stage:
        stage.mind.register_function(None, handler)
        assert await stage.ask() == "[Look.]"
        await stage.until(2, FunctionCallResultFrame)
        assert ran == ["a call_0", "b call_1"]
        kinds = [type(frame) for frame in stage.out]
        assert kinds.index(FunctionCallsStartedFrame) < kinds.index(LLMFullResponseEndFrame)


async def test_a_losers_tools_never_run_and_cancelling_it_leaves_running_tools_alone() -> None:
    ran: list[str] = []
    go_on = asyncio.Event()

    async def handler(params: FunctionCallParams) -> None:
        await go_on.wait()
        ran.append(params.function_name)
        await params.result_callback({"result": 1})

    async with staged([[("slow", "{}")], [0.45, ("lost", "{}")]], [["Hello."]]) as stage:
        stage.mind.register_function(None, handler)
        await stage.ask()  # its tool runs on
        await stage.ask()  # the first vendor is late, and cancelled
        go_on.set()
        await stage.until(1, FunctionCallResultFrame)
        assert ran == ["slow"]
        assert stage.said.endswith("[Hello.]")


async def test_a_reply_that_breaks_off_in_its_tool_calls_runs_none_of_them() -> None:
    ran: list[str] = []

    async def handler(params: FunctionCallParams) -> None:
        ran.append(params.tool_call_id)
        await params.result_callback({"result": 1})

    async with staged([[("book", '{"at": '), None], [("book", "{}")]]) as stage:
        stage.mind.register_function(None, handler)
        assert await stage.ask() == "[]"
        await stage.until(1, FunctionCallResultFrame)
        assert ran == ["call_0"]
        assert stage.troubles == [("anthropic", "truncated", "retry")]
