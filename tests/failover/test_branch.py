"""A service in a branch lives as in a pipeline, and all it pushes comes to one place."""

import asyncio
from typing import cast

from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import ErrorFrame, Frame, StartFrame, TextFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams

from callwright.failover.branch import Branch

NOBODY = cast("PipelineWorker", None)


class _Shout(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TextFrame):
            await self.push_frame(TextFrame(frame.text.upper()))
            await self.push_error("too loud")
        else:
            await self.push_frame(frame, direction)


async def test_frames_go_in_and_come_out_of_both_ends() -> None:
    out: asyncio.Queue[tuple[Frame, FrameDirection]] = asyncio.Queue()

    async def pushed(_: Branch, frame: Frame, direction: FrameDirection) -> None:
        await out.put((frame, direction))

    tasks = TaskManager()
    tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
    branch = Branch(_Shout(), pushed)
    await branch.setup(FrameProcessorSetup(clock=SystemClock(), task_manager=tasks, pipeline_worker=NOBODY))
    await branch.send(StartFrame())
    assert isinstance((await out.get())[0], StartFrame)
    await branch.send(TextFrame("hello"))
    found = [await out.get(), await out.get()]
    texts = [(frame.text, direction) for frame, direction in found if isinstance(frame, TextFrame)]
    errors = [(frame.error, direction) for frame, direction in found if isinstance(frame, ErrorFrame)]
    assert texts == [("HELLO", FrameDirection.DOWNSTREAM)]
    assert errors == [("too loud", FrameDirection.UPSTREAM)]
    await branch.cleanup()
