"""Lines rendered beforehand: read whole or not at all, one file for one sound, whoever else uses the folder."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import wave
from array import array
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from callwright import lines as module
from callwright.lines import Lines, Shelf, name_of
from callwright.stage import StageConfig
from callwright.vendors import RenderError

RATE = 24_000
SOUND = array("h", [0, 4000, 0, -4000] * RATE).tobytes()  # 4 s: long enough for any line here
OWN = StageConfig(vendor="cartesia", model="sonic-3.6", api_key=SecretStr("k"), settings={"voice": "a"})
OTHER = StageConfig(vendor="deepgram", model="aura-2", api_key=SecretStr("k"), settings={"voice": "b"})


class Told:
    def __init__(self) -> None:
        self.rendered: list[tuple[str, int]] = []
        self.failed: list[tuple[str, str]] = []

    def line_rendered(self, stage: StageConfig, characters: int) -> None:
        self.rendered.append((stage.vendor, characters))

    def line_failed(self, stage: StageConfig, category: str) -> None:
        self.failed.append((stage.vendor, category))


class Vendors:
    """In place of the network: every vendor's answer, and how many were asked at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fails: dict[str, Exception] = {}
        self.busy = self.most = 0
        monkeypatch.setattr(module, "_render", self.render)

    async def render(self, client: httpx.AsyncClient, voice: StageConfig, text: str, rate: int) -> bytes:
        self.asked.append((voice.vendor, text))
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        if failure := self.fails.get(voice.vendor):
            raise failure
        return SOUND


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Vendors:
    return Vendors(monkeypatch)


def shelf_of(path: Path) -> Shelf:
    return Shelf(path / "lines")


async def test_a_line_is_rendered_once_and_then_lies_there(tmp_path: Path, vendors: Vendors) -> None:
    told = Told()
    first = Lines(shelf_of(tmp_path), [OWN, OTHER], RATE, told)
    await first.prepare(["One moment.", "Goodbye.", "One moment."])
    assert first.find("One moment.") == SOUND
    second = Lines(shelf_of(tmp_path), [OWN, OTHER], RATE, told)
    assert second.find("One moment.") is None  # before `prepare` nothing is known
    await second.prepare(["One moment.", "Goodbye."])
    assert second.find("One moment.") == SOUND
    assert sorted(told.rendered) == [("cartesia", 8), ("cartesia", 11)]
    assert not told.failed


async def test_a_line_begins_and_ends_with_its_sound(tmp_path: Path, vendors: Vendors) -> None:
    silence = bytes(2 * RATE // 4)
    name, shelf = name_of(OWN, "Okay.", RATE), shelf_of(tmp_path)
    shelf.write(name, RATE, silence + SOUND + silence)  # as vendors make it, and as it may lie there
    lines = Lines(shelf, [OWN], RATE, Told())
    await lines.prepare(["Okay."])
    found = lines.find("Okay.")
    assert found is not None
    margin = bytes(2 * RATE * module.MARGIN_MS // 1000)
    assert found.strip(b"\0") == SOUND.strip(b"\0")
    assert len(found) <= len(SOUND) + 2 * len(margin)
    assert found.startswith(margin[:-4])


async def test_another_voice_renders_what_the_own_one_cannot(tmp_path: Path, vendors: Vendors) -> None:
    told = Told()
    vendors.fails["cartesia"] = RenderError("server")
    lines = Lines(shelf_of(tmp_path), [OWN, OTHER], RATE, told)
    await lines.prepare(["Goodbye."])
    assert lines.find("Goodbye.") == SOUND
    assert told.failed == [("cartesia", "server")]
    assert told.rendered == [("deepgram", 8)]
    del vendors.fails["cartesia"]
    await Lines(shelf_of(tmp_path), [OWN, OTHER], RATE, told).prepare(["Goodbye."])
    assert told.rendered[-1] == ("cartesia", 8)  # the agent's own voice, as soon as it can


async def test_no_vendor_and_no_disk_end_nothing(tmp_path: Path, vendors: Vendors) -> None:
    told = Told()
    (tmp_path / "lines").write_text("a file where the folder should be")
    lines = Lines(shelf_of(tmp_path), [OWN], RATE, told)
    await lines.prepare(["Hello."])
    assert lines.find("Hello.") == SOUND  # for this call it is there
    assert told.failed == [("cartesia", "disk")]
    vendors.fails["cartesia"] = TimeoutError()
    await lines.prepare(["Goodbye."])
    assert lines.find("Goodbye.") is None
    assert told.failed[-1] == ("cartesia", "timeout")


async def test_at_most_two_are_asked_for_at_once_and_nothing_unspeakable(tmp_path: Path, vendors: Vendors) -> None:
    lines = Lines(shelf_of(tmp_path), [OWN], RATE, Told())
    await lines.prepare([f"Line {number}." for number in range(9)] + ["…", ""])
    assert len(vendors.asked) == 9
    assert vendors.most == module.AT_ONCE


def test_a_name_depends_on_all_that_makes_the_sound_and_on_no_key() -> None:
    base = name_of(OWN, "Hello.", RATE)
    assert name_of(OWN.model_copy(update={"api_key": SecretStr("other")}), "Hello.", RATE) == base
    changed = [{"model": "sonic-3"}, {"settings": {"voice": "b"}}, {"vendor": "x"}, {"base_url": "http://127.0.0.1:1"}]
    names = {name_of(OWN.model_copy(update=change), "Hello.", RATE) for change in changed}
    names |= {name_of(OWN, "Hello", RATE), name_of(OWN, "Hello.", 16_000), base}
    assert len(names) == 7


@pytest.mark.parametrize("harm", ["cut", "garbage", "empty", "rate", "stereo"])
def test_what_does_not_read_well_is_not_there(tmp_path: Path, harm: str) -> None:
    shelf = shelf_of(tmp_path)
    shelf.write("a", RATE, SOUND)
    path = shelf.folder / "a.wav"
    whole = path.read_bytes()
    if harm == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif harm == "garbage":
        path.write_bytes(os.urandom(500))
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2 if harm == "stereo" else 1)
            file.setsampwidth(2)
            file.setframerate(16_000 if harm == "rate" else RATE)
            file.writeframes(SOUND)
    assert shelf.read("a", RATE) is None
    shelf.write("a", RATE, SOUND)
    assert shelf.read("a", RATE) == SOUND


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "lines", limit_bytes=2 * len(SOUND) + 200, limit_days=30)
    for age, name in enumerate(("newest", "middle", "oldest")):
        shelf.write(name, RATE, SOUND)
        os.utime(shelf.folder / f"{name}.wav", (1e9 - age, 1e9 - age))
    shelf.prune(1e9)
    assert sorted(path.name for path in shelf.folder.iterdir()) == ["middle.wav", "newest.wav"]
    shelf.prune(1e9 + 31 * 86_400)
    assert list(shelf.folder.iterdir()) == []
    Shelf(tmp_path / "nowhere").prune(1e9)


def _write_often(folder: Path, value: int) -> None:
    for _ in range(40):
        Shelf(folder).write("a", RATE, array("h", [value] * 4000).tobytes())


def test_processes_that_write_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_often, args=(tmp_path, value)) for value in (1000, 2000)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if (pcm := Shelf(tmp_path).read("a", RATE)) is not None:
            seen.add(pcm)
    for writer in writers:
        writer.join()
    assert seen <= {array("h", [value] * 4000).tobytes() for value in (1000, 2000)}
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


async def test_silence_and_half_a_line_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"Goodbye.": bytes(2 * RATE), "Thank you for calling us today.": SOUND[: RATE // 5]}

    async def render(
        client: object, root: object, key: str, model: str, settings: object, text: str, rate: int
    ) -> bytes:
        return answers[text]

    row = type("Row", (), {"render": staticmethod(render), "settings": {}, "default_root": lambda self: None})()
    monkeypatch.setattr(module, "find", lambda stage, vendor: row)
    async with httpx.AsyncClient() as client:
        for text, category in zip(answers, ("silent", "truncated"), strict=True):
            with pytest.raises(RenderError, match=category):
                await module._render(client, OWN, text, RATE)
