"""A line rendered by the stand-in's batch endpoint is the sound its voice makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from callwright.lines import Lines, Shelf
from callwright.simulators.account import AccountSettings
from callwright.simulators.server import VendorServer
from callwright.stage import StageConfig
from callwright.vendors import find


class Told:
    def __init__(self) -> None:
        self.rendered: list[int] = []
        self.failed: list[str] = []

    def line_rendered(self, stage: StageConfig, characters: int) -> None:
        self.rendered.append(characters)

    def line_failed(self, stage: StageConfig, category: str) -> None:
        self.failed.append(category)


@pytest.mark.skipif(
    shutil.which("flite") is None and shutil.which("espeak-ng") is None, reason="no speech engine is installed"
)
async def test_cartesia_renders_a_line_that_is_kept(tmp_path: Path) -> None:
    row = find("tts", "cartesia")
    settings = {name: one.default for name, one in row.settings.items()}
    told = Told()
    async with VendorServer(default=AccountSettings(ears="oracle", speed=0)) as server:
        voice = StageConfig(
            vendor=row.name,
            model=row.default_model,
            base_url=server.url,
            api_key=SecretStr("k"),
            settings=settings,
        )
        lines = Lines(Shelf(tmp_path), [voice], 24_000, told)
        await lines.prepare(["One moment, please."])
    assert (told.rendered, told.failed) == ([len("One moment, please.")], [])
    pcm = lines.find("One moment, please.")
    assert pcm is not None
    sound = np.frombuffer(pcm, dtype="<i2")
    assert 0.7 < len(sound) / 24_000 < 3
    assert np.abs(sound).max() > 2000
    assert [path.suffix for path in tmp_path.iterdir()] == [".wav"]
