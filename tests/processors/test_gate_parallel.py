"""Several tool calls of one reply through Pipecat's own service: at once, in the model's order, one asking."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings
from pipecat.workers.runner import WorkerRunner
from tool_bench import GateBench

from callwright.tools import tool
from processors.floor_keeper import FloorKeeper
from processors.memory import Memory


class ScriptedMind(LLMService[Any]):
    """Answers the first request with tool calls, and any other with nothing; keeps what it was shown."""

    def __init__(self, calls: list[tuple[str, str, Any]]) -> None:
        super().__init__(settings=LLMSettings(model="scripted"))
        self._calls = calls
        self.shown: list[list[Any]] = []
        self.answered = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        self.shown.append(json.loads(json.dumps(frame.context.messages)))
        await self.push_frame(LLMFullResponseStartFrame())
        if len(self.shown) == 1:
            await self.run_function_calls(
                [FunctionCallFromLLM(name, key, given, frame.context) for key, name, given in self._calls]
            )
        await self.push_frame(LLMFullResponseEndFrame())
        if len(self.shown) > 1:
            self.answered.set()


async def converse(bench: GateBench, calls: list[tuple[str, str, Any]]) -> ScriptedMind:
    """One reply with these calls, until the model has been asked about their results and a little longer."""
    mind = ScriptedMind(calls)
    bench.gate.guard(mind)
    room = SimpleNamespace(rate=8000, playback=SimpleNamespace(cut=lambda: None, release=lambda at=None: None))
    scribe = SimpleNamespace(interrupted=lambda: None, answering=lambda turn: None, note=lambda event: None)
    parts: Any = SimpleNamespace(room=room, voice=SimpleNamespace(), scribe=scribe, turn=1, on_close=lambda it: None)
    worker = PipelineWorker(
        Pipeline([mind, Memory(bench.context, FloorKeeper(parts))]), enable_rtvi=False, enable_turn_tracking=False
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        await worker.queue_frame(LLMContextFrame(bench.context))
        async with asyncio.timeout(10):
            await mind.answered.wait()
        await asyncio.sleep(0.1)  # a second asking would come in this time
    finally:
        await runner.cancel()
        await running
    return mind


@tool
async def wait(ms: int) -> int:
    """Wait."""
    await asyncio.sleep(ms / 1000)
    return ms


@pytest.mark.parametrize(
    "calls",
    [
        [("a", "wait", {"ms": 60}), ("b", "wait", {"ms": 20}), ("c", "wait", {"ms": 40}), ("d", "wait", {"ms": 0})],
        [("a", "nonsense", {}), ("b", "wait", {"ms": "soon"}), ("c", "wait", {"ms": 30})],
        [("a", "nonsense", {}), ("b", "nonsense", {}), ("c", "nonsense", {})],
    ],
    ids=["of different lengths", "some refused", "all refused"],
)
async def test_the_model_is_asked_once_with_every_answer_in_its_own_order(calls: list[tuple[str, str, Any]]) -> None:
    async with GateBench(wait) as bench:
        mind = await converse(bench, calls)
        assert len(mind.shown) == 2
        answers = [one for one in mind.shown[1] if one["role"] == "tool"]
        assert [one["tool_call_id"] for one in answers] == [key for key, _, _ in calls]
        assert all("result" in json.loads(one["content"]) or "error" in json.loads(one["content"]) for one in answers)


async def test_of_a_batch_only_what_is_late_is_pending() -> None:
    @tool(limit_s=0.05, side_effect=False)
    async def slow() -> str:
        """Be slow."""
        await asyncio.sleep(0.5)
        return "at last"

    async with GateBench(wait, slow) as bench:
        mind = await converse(bench, [("a", "slow", {}), ("b", "wait", {"ms": 10})])
        answers = [json.loads(one["content"]) for one in mind.shown[1] if one["role"] == "tool"]
        assert "pending" in answers[0]
        assert answers[1] == {"result": 10}


async def test_one_id_for_two_calls_of_a_reply_is_answered_for_both() -> None:
    async with GateBench(wait) as bench:
        mind = await converse(bench, [("a", "wait", {"ms": 10}), ("a", "wait", {"ms": 20})])
        answers = {one["tool_call_id"]: one["content"] for one in mind.shown[-1] if one["role"] == "tool"}
        assert list(answers) == ["a", "a-2"]
        assert bench.journal.kinds().count("tool_ended") == 2
        contents = await bench.request()
        assert '{"result": 20}' in " ".join(str(content) for content in contents)
