"""The lines an agent may say while the caller waits. All are true of any wait: none says what is being done."""

from __future__ import annotations

from dataclasses import dataclass

from callwright.agent import Agent
from callwright.config import Config


@dataclass(frozen=True, slots=True)
class Repertoire:
    """`first` breaks a silence, `later` is for a wait that goes on: a little longer, so that less of it is silent."""

    first: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


BUILT_IN = {
    "en": Repertoire(
        first=("One moment, please.", "Just a second.", "Let me see.", "Okay, one moment."),
        later=(
            "I'm still on it, just a moment longer, please.",
            "Thank you for waiting, I will be with you as soon as I can.",
            "This is taking a little while, please stay with me.",
            "I'm sorry for the wait, I am still working on it.",
        ),
    ),
    "de": Repertoire(
        first=("Einen Moment, bitte.", "Eine Sekunde, bitte.", "Mal sehen.", "Okay, einen Augenblick."),
        later=(
            "Ich bin noch dabei, einen kleinen Moment noch, bitte.",
            "Danke, dass Sie warten, ich bin so bald wie möglich wieder für Sie da.",
            "Das dauert gerade ein wenig, bitte bleiben Sie dran.",
            "Entschuldigen Sie die Wartezeit, ich arbeite noch daran.",
        ),
    ),
}
"""By language; where there is none for the call's own, silence is better than a foreign tongue."""


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
    return list(dict.fromkeys((*of_tools, *general.first, *general.later)))


def language(config: Config) -> str:
    """The language spoken in the call, as two letters: the voice's, else what the ears write, else English."""
    for stage in (config.tts, config.stt):
        named = str(stage.settings.get("language") or "").partition("-")[0].lower()
        if len(named) == 2:
            return named
    return "en"
