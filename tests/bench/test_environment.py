"""An environment is made once, is what it says, and nothing incomplete is taken for it."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import pytest

from callwright.bench.environment import COMPLETE, Environment
from callwright.simulators.errors import SimulatorError


def wheel(folder: Path) -> Path:
    """The smallest package that can be installed, with no network."""
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "answer = 42\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    return path


async def test_it_is_made_once(tmp_path: Path) -> None:
    environment = Environment("tiny", (str(wheel(tmp_path)),))
    said: list[str] = []
    python = await environment.ensure(tmp_path, said.append)
    assert [line.split()[0] for line in said] == ["installing", "tiny"]
    assert await environment.ensure(tmp_path, said.append) == python
    assert len(said) == 2
    process = await asyncio.create_subprocess_exec(python, "-c", "import tiny; assert tiny.answer == 42")
    assert await process.wait() == 0


async def test_what_cannot_be_installed_is_one_clear_line_and_never_taken_for_complete(tmp_path: Path) -> None:
    environment = Environment("tiny", (str(tmp_path / "missing-1.0-py3-none-any.whl"),))
    folder = environment.folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "left by an interrupted run").touch()
    with pytest.raises(SimulatorError, match=r"^tiny cannot be installed \(.*missing.*\): check that PyPI") as caught:
        await environment.ensure(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (folder / "left by an interrupted run").exists()
    assert not (folder / COMPLETE).exists()


def test_other_packages_are_another_environment(tmp_path: Path) -> None:
    one, two = Environment("same", ("a==1",)), Environment("same", ("a==2",))
    assert one.folder(tmp_path) != two.folder(tmp_path)
