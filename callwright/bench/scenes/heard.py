"""The agent of `callwright bench heard`: an information desk whose answers are long enough to be talked over.

What it says stands in heard.rules.yaml beside it; its tools only take their time.
"""

from __future__ import annotations

import asyncio

from callwright import Agent, Call, tool

FILLER = "One moment, please."
TOOL_S = 0.8


@tool
async def check(topic: str) -> dict[str, str]:
    """Check whether what the desk knows about a topic still holds.

    Args:
        topic: What the caller asks about.
    """
    await asyncio.sleep(TOOL_S)
    return {"checked": topic}


@tool
async def search(topic: str, call: Call) -> dict[str, str]:
    """Search for a topic that the desk has to look up; the caller is told to wait.

    Args:
        topic: What the caller asks about.
    """
    await call.say(FILLER, remember=False)
    await asyncio.sleep(TOOL_S)
    return {"found": topic}


agent = Agent(
    name="information",
    prompt=(
        "You are the information desk of Harbor Point, on the telephone. Your words are read aloud, so write plain "
        "sentences only. Answer what was asked in two or three sentences. When the caller asks you to check "
        "something, use check; when you have to look something up, use search. Callers may interrupt you: answer "
        "what they said last, and do not start over."
    ),
    greeting="Harbor Point, good day.",
    voice="slt",
    tools=[check, search],
    # A line said while the caller waits for the next answer would be taken for the end of the last one.
    config={"filler": {"enabled": False}},
)
