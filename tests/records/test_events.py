"""An event comes back from its JSON as it was written, whoever wrote it."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from callwright.records import events
from callwright.records.events import KINDS, Event, Stage, Unknown, from_json, to_json

EXAMPLES: tuple[Event, ...] = (
    events.CallStarted(
        agent="frontdesk",
        room="demo",
        stages={
            "stt": Stage("deepgram", "nova-3-general", stand_in=True),
            "llm": Stage("anthropic", "haiku"),
        },
        config={"turn": {"vad_stop_ms": 200, "words": ["a", None]}},
        recording=None,
        audio_rate=48_000,
    ),
    events.RecordingClock(0),
    events.CallerJoined("caller"),
    events.CallerLeft("caller", "client initiated"),
    events.RoomChanged("connected", ""),
    events.SpeechStarted(480),
    events.SpeechEnded(960),
    events.Transcript("hello", final=True, sample=960),
    events.TurnStarted(1, "hello", 960),
    events.SpokenOver(1, 3_000, "uh-huh"),
    events.StageStarted(1, "llm", "anthropic", "haiku", 1),
    events.StageFirstByte(1, "llm", 1),
    events.StageEnded(1, "llm", 1, error="429"),
    events.AgentSpeechStarted(1, 2_000),
    events.AgentSpeechEnded(1, 4_000, interrupted=True),
    events.AgentText(1, "Good morning.", "answer", interrupted=False),
    events.ToolStarted(1, "t1", "find_patient", {"name": "Mary"}),
    events.ToolEnded(1, "t1", "find_patient", ok=True, result=[{"id": 3}]),
    events.Usage(1, "llm", "anthropic", "haiku", {"input_tokens": 12.0}),
    events.VendorFailed(1, "tts", "cartesia", "timeout", "no audio in 3 s", permanent=False),
    events.StageTroubled(1, "llm", "anthropic", "no_first_token", 1500, "next"),
    events.CallEnded("caller_left", "the caller hung up", ok=True),
)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.kind)
def test_an_event_survives_the_way_through_json(event: Event) -> None:
    assert from_json(event.kind, json.loads(json.dumps(to_json(event)))) == event


def test_every_kind_has_an_example_above() -> None:
    assert {event.kind for event in EXAMPLES} == set(KINDS)


def test_a_kind_we_do_not_know_is_kept_as_it_was() -> None:
    event = from_json("hologram_started", {"depth": 3})
    assert event == Unknown("hologram_started", {"depth": 3})
    assert event.kind == "hologram_started"
    assert to_json(event) == {"depth": 3}


@pytest.mark.parametrize("data", [{}, {"sample": "now"}, {"sample": None}])
def test_a_known_kind_whose_fields_do_not_fit_is_kept_as_unknown(data: events.JsonObject) -> None:
    assert from_json("speech_started", data) == Unknown("speech_started", data)


def test_a_field_added_by_a_newer_version_does_not_hide_the_rest() -> None:
    assert from_json("speech_started", {"sample": 7, "confidence": 0.9}) == events.SpeechStarted(7)


def test_an_event_cannot_be_changed() -> None:
    event = events.SpeechStarted(7)
    with pytest.raises(AttributeError):
        setattr(event, fields(event)[0].name, 8)
