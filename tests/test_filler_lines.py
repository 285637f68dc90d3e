"""Which lines an agent may say while the caller waits."""

from __future__ import annotations

import pytest

from callwright import Agent, tool
from callwright.config import Config, load
from callwright.filler_lines import BUILT_IN, lines_of, repertoire


@tool(fillers=("I will check the calendar.",))
async def look() -> str:
    """Look."""
    return ""


def config(*overrides: str) -> Config:
    return load(file=None, overrides=overrides, environ={})


def agent(**given: object) -> Agent:
    return Agent(name="a", prompt="p", tools=[look], **given)  # type: ignore[arg-type]


def test_what_is_configured_comes_before_the_agents_own_and_that_before_the_built_in() -> None:
    own = agent(fillers=["Hm.", "Well."])
    assert repertoire(agent(), config()) == BUILT_IN["en"]
    assert repertoire(own, config()).first == ("Hm.", "Well.")
    assert repertoire(own, config("filler.lines=[So., Ah.]")).first == ("So.", "Ah.")


@pytest.mark.parametrize(("given", "language"), [("de", "de"), ("de-AT", "de"), ("en-GB", "en")])
def test_built_in_lines_are_in_the_voices_language(given: str, language: str) -> None:
    assert repertoire(agent(), config(f"tts.language={given}")) == BUILT_IN[language]


def test_in_a_language_without_lines_nothing_is_said() -> None:
    assert lines_of(Agent(name="a", prompt="p"), config("tts.language=nl")) == []


def test_every_line_that_may_be_said_is_named_once_and_none_when_fillers_are_off() -> None:
    lines = lines_of(agent(fillers=["I will check the calendar.", "Hm."]), config())
    assert lines == ["I will check the calendar.", "Hm."]
    built_in = lines_of(agent(), config())
    default = BUILT_IN["en"]
    assert set(built_in) == {
        "I will check the calendar.",
        *default.acknowledgements,
        *default.first,
        *default.later,
    }
    assert lines_of(agent(), config("filler.enabled=false")) == []


@pytest.mark.parametrize("language", BUILT_IN)
def test_built_in_lines_are_all_different_and_speakable(language: str) -> None:
    built_in = BUILT_IN[language]
    lines = [*built_in.acknowledgements, *built_in.first, *built_in.later]
    assert all(lines)
    assert len(set(lines)) == len(lines)
    assert all(line.endswith(".") and line.isprintable() for line in lines)
