"""What the keeper tells the playback: which speech the caller waits for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from callwright.speech import Role, Say, Utterance
from processors.floor_keeper import FloorKeeper

SOUND = bytes(2 * 800)


class Room:
    """A room with so many samples left to play; nothing is really played."""

    def __init__(self) -> None:
        self.rate = 8000
        self.speech: Any = None
        self.playback = self
        self.store = 0

    def trim(self, stretch: str, end: int) -> None: ...


def keeper_of(room: Room) -> FloorKeeper:
    parts: Any = SimpleNamespace(room=room, voice=SimpleNamespace(), turn=1, on_close=lambda closer: None)
    return FloorKeeper(parts)


def speak(keeper: FloorKeeper, role: Role, stretch: str, utterance: Utterance | None = None) -> Utterance:
    """Text that is with the voice, under `stretch`."""
    if utterance is None:
        utterance = keeper.open(role)
    utterance.text += "One moment."
    keeper.sent(stretch, Say("One moment.", role=role, utterance=utterance))
    return utterance


def test_what_comes_into_silence_is_awaited_and_so_is_what_comes_behind_a_filler() -> None:
    room = Room()
    keeper = keeper_of(room)
    speak(keeper, "filler", "f")
    assert keeper.made("f", SOUND)
    room.store = 4000
    speak(keeper, "answer", "a")
    assert keeper.made("a", SOUND)


def test_a_pause_between_two_sentences_of_one_answer_or_two_things_said_is_the_voices() -> None:
    room = Room()
    keeper = keeper_of(room)
    answer = speak(keeper, "answer", "a")
    assert keeper.made("a", SOUND)
    room.store = 4000
    speak(keeper, "answer", "b", answer)
    assert not keeper.made("b", SOUND)
    speak(keeper, "statement", "c")
    assert not keeper.made("c", SOUND)


def test_a_voice_that_goes_on_after_a_hole_is_awaited() -> None:
    room = Room()
    keeper = keeper_of(room)
    answer = speak(keeper, "answer", "a")
    keeper.made("a", SOUND)
    room.store = 0  # all of it has been heard, and the first voice has failed
    speak(keeper, "answer", "b", answer)
    assert keeper.made("b", SOUND)
