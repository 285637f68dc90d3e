"""The records name the vendor that did the work, not the one that was meant to."""

from types import SimpleNamespace
from typing import Any

from callwright.clock import ManualClock
from callwright.records import events
from callwright.scribe import Scribe
from callwright.stage import StageConfig

FIRST = StageConfig(vendor="deepgram", model="nova-3-general")
SECOND = StageConfig(vendor="deepgram-flux", model="flux-general-en")
REST = {"llm": StageConfig(vendor="anthropic", model="m"), "tts": StageConfig(vendor="cartesia", model="m")}


def scribe() -> tuple[Scribe, list[events.Event]]:
    notes: list[events.Event] = []
    journal: Any = SimpleNamespace(append=notes.append)
    room: Any = SimpleNamespace(now=lambda: 0, rate=24_000)
    stages: Any = {"stt": FIRST, **REST}
    return Scribe(journal, room, stages, ManualClock()), notes


def test_an_open_request_ends_with_its_vendor_and_is_asked_again_of_the_next() -> None:
    made, notes = scribe()
    made._start("stt", 1)
    made.serves("stt", SECOND, "no_transcript")
    made._end("stt")
    assert notes == [
        events.StageStarted(1, "stt", FIRST.vendor, FIRST.model, 1),
        events.StageEnded(1, "stt", 1, "no_transcript"),
        events.StageStarted(1, "stt", SECOND.vendor, SECOND.model, 2),
        events.StageEnded(1, "stt", 2),
    ]


def test_a_change_between_two_requests_is_seen_in_the_next() -> None:
    made, notes = scribe()
    made.serves("stt", SECOND)
    assert notes == []
    made._start("stt", 1)
    assert notes == [events.StageStarted(1, "stt", SECOND.vendor, SECOND.model, 1)]


def test_what_an_earlier_vendor_used_is_charged_to_it() -> None:
    made, notes = scribe()
    made.serves("stt", SECOND)
    made.used("stt", FIRST, {"audio_seconds": 2.5})
    assert notes == [events.Usage(0, "stt", FIRST.vendor, FIRST.model, {"audio_seconds": 2.5})]
