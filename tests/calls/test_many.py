"""Several calls in one process."""

from __future__ import annotations

import asyncio
import dataclasses

from callwright import Agent

from .conftest import Line

ECHO = Agent(name="echo", prompt="Repeat what you hear.", greeting="Hello?")


async def test_five_calls_at_once_all_complete_and_none_is_mute(line: Line) -> None:
    lines = [
        dataclasses.replace(line, room=f"{line.room}-{n}", key=f"{line.key}-{n}", entries=[], folder=line.folder)
        for n in range(5)
    ]

    def steps(n: int) -> list[str]:
        return [
            "wait: {quiet_ms: 700}",
            f"say: Good morning, I am caller number {n}.",
            "wait: {quiet_ms: 700}",
            "say: Goodbye.",
            "wait: {quiet_ms: 700}",
            "hang_up",
        ]

    held = await asyncio.gather(*(one.hold(ECHO, steps(n)) for n, one in enumerate(lines)))
    for n, (outcome, report, _) in enumerate(held):
        assert outcome.ending.reason == "caller_left"
        assert report.mute_turns == 0
        assert report.steps_done == report.steps
        heard = [turn.caller_text for turn in outcome.record.turns if turn.number]
        assert heard == [f"Good morning, I am caller number {n}.", "Goodbye."]
