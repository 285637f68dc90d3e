"""Loading an agent from a file anywhere."""

from pathlib import Path

import pytest

from callwright import Agent, tool
from callwright.agent import load
from callwright.errors import AgentError


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_script_anywhere_gives_its_agent(tmp_path: Path) -> None:
    path = write(tmp_path, "from callwright import Agent\nagent = Agent(name='mine', prompt='Be kind.')\n")
    assert load(path).name == "mine"


def test_a_script_may_import_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "PROMPT = 'Be brief.'\n", "words_of_mine.py")
    path = write(
        tmp_path,
        "from callwright import Agent\nfrom words_of_mine import PROMPT\nbot = Agent(name='n', prompt=PROMPT)\n",
    )
    assert load(path).prompt == "Be brief."


def test_a_missing_script_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "", "frontdesk.py")
    with pytest.raises(AgentError, match=r"did you mean .*frontdesk\.py"):
        load(tmp_path / "frontdesc.py")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n", "defines no Agent"),
        ("def (:\n", r"mine\.py:1: "),
        ("x = 1\ny = x / 0\n", r"mine\.py:2: ZeroDivisionError"),
        (
            "from callwright import Agent\na = Agent(name='a', prompt='p')\nb = Agent(name='b', prompt='p')\n",
            "defines 2 agents",
        ),
    ],
)
def test_a_broken_script_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(AgentError, match=told) as refusal:
        load(write(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_two_tools_of_one_name_are_refused() -> None:
    @tool
    async def look() -> str:
        """Look."""
        return ""

    with pytest.raises(AgentError, match="two tools named 'look'"):
        Agent(name="a", prompt="p", tools=[look, look])


def test_an_undecorated_function_is_not_a_tool() -> None:
    async def look() -> str:
        """Look."""
        return ""

    with pytest.raises(AgentError, match="decorate the function with @tool"):
        Agent(name="a", prompt="p", tools=[look])  # type: ignore[list-item]


@pytest.mark.parametrize("fillers", ["One moment.", ["One moment."], ["Wait.", "Wait. "], ["Wait.", ""], ["Wait.", 3]])
def test_fillers_are_several_different_lines(fillers: object) -> None:
    with pytest.raises(AgentError, match=r"^agent 'mine': fillers "):
        Agent(name="mine", prompt="Be kind.", fillers=fillers)  # type: ignore[arg-type]
