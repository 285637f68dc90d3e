"""A vendor's service beside the pipeline: it is given frames, and what it pushes comes to one place.

A stage with several vendors is one processor of the pipeline. It decides to which branch a frame goes, and which
branch's frames go on.

    pipeline ──► stage ──► pipeline
                 │   ▲
                 ▼   │
               branches, a service each
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipecat.frames.frames import Frame
from pipecat.pipeline.pipeline import Pipeline, PipelineSink, PipelineSource
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

Pushed = Callable[["Branch", Frame, FrameDirection], Awaitable[None]]
"""Told of every frame that the service pushes out of either end, in order for each end."""


class Branch:
    """One service on its own. `setup` it before the first frame (a StartFrame, as in a pipeline), `cleanup` at last."""

    def __init__(self, service: FrameProcessor, pushed: Pushed) -> None:
        self.service = service
        self._pushed = pushed
        self._pipeline = Pipeline(
            [service], source=PipelineSource(self._out, name=f"{service}::source"), sink=PipelineSink(self._out)
        )

    async def _out(self, frame: Frame, direction: FrameDirection) -> None:
        await self._pushed(self, frame, direction)

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await self._pipeline.setup(setup)

    async def cleanup(self) -> None:
        await self._pipeline.cleanup()

    async def send(self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        """Give the service a frame, as if from upstream or, with `direction` UPSTREAM, from downstream."""
        await self._pipeline.queue_frame(frame, direction)
