"""The cascade: speech to text, a text model, text to speech.

caller ─► in ─► ears ─► turn ─► mind ─► clauses ─► voice ─► out ─► caller
                                 │                           │
                                gate ◄── tools            memory
"""

from __future__ import annotations

from pipecat.processors.aggregators.llm_response_universal import LLMAssistantAggregator
from pipecat.processors.frame_processor import FrameProcessor

from callwright.parts import Parts
from processors.clauses import Clauses
from processors.gate import Gate
from processors.presence import CallerCaptions, Presence
from processors.turns import listen


def cascade(parts: Parts) -> list[FrameProcessor]:
    """The order in which frames pass the processors of an ordinary call.

    A pipeline of your own calls this and inserts what it wants to add, wherever it wants it.
    """
    gate = Gate(parts)
    gate.guard(parts.mind)
    parts.context.set_tools(gate.schemas)
    memory = LLMAssistantAggregator(parts.context)
    parts.scribe.watch_memory(memory)
    return [
        parts.room.input,
        parts.ears,
        CallerCaptions(parts.room),
        listen(parts),
        parts.mind,
        Clauses(),
        parts.voice,
        parts.room.output,
        Presence(parts.room),
        memory,
    ]
