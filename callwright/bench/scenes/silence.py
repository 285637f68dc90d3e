"""The agent of `callwright bench silence`: a desk that asks others, who take between 0.2 and 8 s to answer.

What it says stands in silence.rules.yaml beside it. What its tool does to the world is a line in a file, so that
a judge can count without asking anybody: "begun" when it starts, "done" when the effect is there.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from callwright import Agent, Call, tool

EFFECTS = "CALLWRIGHT_BENCH_EFFECTS"
"""The environment variable with the folder in which every call has a file of its own."""

TAKES_S = {
    "reception": 0.2,
    "librarian": 0.5,
    "gardener": 1.0,
    "harbor": 2.0,
    "ministry": 4.0,
    "keeper": 8.0,
}
"""Whom the desk asks, and how long they take (s)."""


def _note(call: str, ticket: str, what: str) -> None:
    line = json.dumps({"ticket": ticket, "what": what, "at": time.monotonic()})
    with (Path(os.environ[EFFECTS]) / f"{call}.jsonl").open("a") as file:
        file.write(line + "\n")


@tool
async def ask(whom: str, topic: str, question: int, call: Call) -> dict[str, str | int]:
    """Ask somebody about a topic. Every question has a number; ask all questions about a topic at once.

    Args:
        whom: Who is asked.
        topic: What it is about.
        question: The number of the question, from 1.
    """
    ticket = f"{topic}/{question}"
    _note(call.id, ticket, "begun")
    await asyncio.sleep(TAKES_S[whom])
    _note(call.id, ticket, "done")
    return {"question": question, "answer": topic}


agent = Agent(
    name="inquiries",
    prompt=(
        "You are the inquiry desk of Harbor Point, on the telephone. Your words are read aloud, so write plain "
        "sentences only. When the caller wants somebody asked, use ask, once for each question, all in one reply; "
        "then tell the caller in a sentence or two what you were told. What you know yourself you answer at once."
    ),
    greeting="Harbor Point inquiries, good day.",
    voice="slt",
    tools=[ask],
)
