"""The lines an agent may say while the caller waits, and which is next. Pure.

All that are built in are true of any wait: none says what is being done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callwright.agent import Agent
from callwright.config import Config


@dataclass(frozen=True, slots=True)
class Repertoire:
    """`first` breaks a silence, `later` is for a wait that goes on.

    `acknowledgements` are said where the answer may come at once: a word that goes before any of them. All are short:
    an answer that comes meanwhile waits for the end of a line.
    """

    first: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    acknowledgements: tuple[str, ...] = ()


BUILT_IN = {
    "en": Repertoire(
        first=("One moment, please.", "Just a second.", "Please bear with me.", "Just a moment, please."),
        later=(
            "I'm still on it.",
            "Thank you for waiting.",
            "This is taking a little while.",
            "I'm still working on it.",
        ),
        acknowledgements=("Okay.", "I see.", "Right."),
    ),
    "de": Repertoire(
        first=("Einen Moment, bitte.", "Eine Sekunde, bitte.", "Einen Augenblick.", "Kleinen Moment noch."),
        later=(
            "Ich bin noch dabei.",
            "Danke, dass Sie warten.",
            "Das dauert gerade ein wenig.",
            "Ich arbeite noch daran.",
        ),
        acknowledgements=("Okay.", "Verstehe.", "Gut."),
    ),
}
"""By language; where there is none for the call's own, silence is better than a foreign tongue."""


class Lines:
    """Which line is next. Never the same twice running, in the whole call; what was said longest ago comes first."""

    def __init__(self, first: Sequence[str], later: Sequence[str], acknowledgements: Sequence[str] = ()) -> None:
        self._first = first
        self._later = later
        self._acknowledgements = acknowledgements
        self._said: list[str] = []

    def next(
        self, of_tools: Sequence[str], *, said_now: int, announced: bool = False, guess: bool = False
    ) -> str | None:
        """The line for a wait in which `said_now` lines were said; a tool's own come first, each once a wait.

        `announced`: the model has said itself that it takes a moment. `guess`: it may be about to answer.
        """
        now = self._said[len(self._said) - said_now :]
        told = announced or any(line not in self._acknowledgements for line in now)
        general = self._later if told else self._first
        fresh = [line for line in of_tools if line not in now]
        for lines in (self._acknowledgements if guess else (), fresh, general, of_tools):
            ready = [line for line in lines if line not in self._said[-1:]]
            if ready:
                return min(ready, key=self._last_said)
        return None

    def said(self, line: str) -> None:
        self._said.append(line)

    def unsaid(self) -> None:
        """The last one was not said after all."""
        self._said.pop()

    def _last_said(self, line: str) -> int:
        return max((at for at, said in enumerate(self._said) if said == line), default=-1)


def repertoire(agent: Agent, config: Config) -> Repertoire:
    """What is said where a tool brings no line: the configured lines, else the agent's, else the built-in ones."""
    if own := tuple(config.filler.lines) or tuple(agent.fillers):
        return Repertoire(own, own)
    return BUILT_IN.get(language(config), Repertoire())


def lines_of(agent: Agent, config: Config) -> list[str]:
    """Every line that may be said as a filler in a call, each once; none when fillers are switched off."""
    if not config.filler.enabled:
        return []
    general = repertoire(agent, config)
    of_tools = (line for tool in agent.tools for line in tool.policy.fillers)
    return list(dict.fromkeys((*general.acknowledgements, *of_tools, *general.first, *general.later)))


def language(config: Config) -> str:
    """The language spoken in the call, as two letters: the voice's, else what the ears write, else English."""
    for stage in (config.tts, config.stt):
        named = str(stage.settings.get("language") or "").partition("-")[0].lower()
        if len(named) == 2:
            return named
    return "en"
