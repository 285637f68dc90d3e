"""The cascade: speech to text, a text model, text to speech.

caller ─► in ─► ears ─► turn ─► mind ─► memory ─► clauses ─► voice ─► out ─► caller
                         │       │        ▲                    │       │
                         │      gate      └────── floor ◄──────┴───────┘
                         └──────────────────────────▲
"""

from __future__ import annotations

from pipecat.processors.frame_processor import FrameProcessor

from callwright.parts import Parts
from processors.clauses import Clauses
from processors.floor_keeper import FloorKeeper
from processors.gate import Gate
from processors.memory import Memory
from processors.news import NewsDesk
from processors.overlap import Overlap
from processors.presence import CallerCaptions, Presence
from processors.turns import listen


def cascade(parts: Parts, *, overlap: Overlap | None = None) -> list[FrameProcessor]:
    """The order in which frames pass the processors of an ordinary call.

    A pipeline of your own calls this and inserts what it wants to add, wherever it wants it. `overlap` is a
    policy of your own for speech over the agent (a subclass of `processors.overlap.Overlap`).
    """
    keeper = FloorKeeper(parts)
    gate = Gate(parts)
    gate.guard(parts.mind)
    NewsDesk(parts, keeper, gate)
    parts.context.set_tools(gate.schemas)
    return [
        parts.room.input,
        parts.ears,
        CallerCaptions(parts.room),
        listen(parts, keeper, busy=lambda: gate.busy, overlap=overlap),
        parts.mind,
        Memory(parts.context, keeper),
        Clauses(),
        parts.voice,
        parts.room.output,
        Presence(parts, keeper),
    ]
