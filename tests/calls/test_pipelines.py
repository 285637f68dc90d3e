"""Pipelines of the user's own, and folders of theirs beside ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from callwright import Agent
from callwright.agent import load
from callwright.errors import AgentError
from callwright.pipeline import pipeline_function
from callwright.records.events import AgentText

from .conftest import Line

README = Path(__file__).parents[2] / "README.md"


def from_readme(containing: str) -> str:
    """The Python example of the README with this text in it: what the README shows is what is tested."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return str(found)


def test_the_readmes_agent_loads_and_offers_its_tools(tmp_path: Path) -> None:
    path = tmp_path / "my_agent.py"
    path.write_text(from_readme("opening_hours"))
    agent = load(path)
    assert [tool.name for tool in agent.tools] == ["opening_hours", "hang_up"]
    assert list(agent.tools[1].schema["properties"]) == []  # type: ignore[arg-type]


async def test_a_processor_of_the_users_own_takes_part_in_the_call(line: Line) -> None:
    path = line.folder / "polite.py"
    path.write_text(from_readme("class Polite"))
    steps = ["silence: 1.0", "say: Good morning, this is Mary.", "wait: {quiet_ms: 600}", "hang_up"]
    await line.hold(load(path), steps)
    said = [entry.event.text for entry in line.entries if isinstance(entry.event, AgentText)]
    assert said[-1] == "I heard you say: Good morning, this is Madam."


def test_a_pipeline_is_named_in_the_configuration_too(line: Line) -> None:
    path = line.folder / "polite_by_name.py"
    path.write_text(from_readme("class Polite"))
    agent = Agent(name="a", prompt="p")
    found = pipeline_function(agent, line.config(f"pipeline={path}:polite"))
    assert found.__name__ == "polite"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("casacde", "no pipeline 'casacde'"),
        ("pipelines.cascade:cascad", "has no function 'cascad'"),
        ("nowhere.py:polite", "nowhere.py"),
    ],
)
def test_a_pipeline_that_is_not_there_is_told(line: Line, named: str, told: str) -> None:
    with pytest.raises(AgentError, match=r"pipeline|Python file|No such") as refusal:
        pipeline_function(Agent(name="a", prompt="p", pipeline=named), line.config())
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_users_folders_of_the_same_names_stand_beside_ours(tmp_path: Path) -> None:
    for package in ("pipelines", "processors"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "mine.py").write_text("MINE = True\n")
    code = "import pipelines.mine, pipelines.cascade, processors.mine, processors.gate; print('both')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "both", done.stderr
