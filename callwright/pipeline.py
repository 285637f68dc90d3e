"""Finding the function that orders a call's processors."""

from __future__ import annotations

import importlib
from pathlib import Path

from callwright import agent as agents
from callwright.agent import Agent
from callwright.config import Config
from callwright.errors import AgentError
from callwright.parts import Pipeline


def pipeline_function(agent: Agent, config: Config) -> Pipeline:
    """The function that orders the call's processors: the agent's, else the configured one.

    A name is "cascade" (a function of that name in a module of that name under `pipelines`),
    "module:function" or "path/to/file.py:function". AgentError says what could not be found.
    """
    chosen = agent.pipeline or config.pipeline
    if callable(chosen):
        return chosen
    place, _, name = str(chosen).partition(":")
    if place.endswith(".py"):
        module = agents.load_module(Path(place))
    else:
        path = place if name else f"pipelines.{place}"
        try:
            module = importlib.import_module(path)
        except ImportError as error:
            raise AgentError(
                f"no pipeline '{chosen}': {error}; write 'cascade', 'module:function' or 'file.py:function'"
            ) from None
    found = getattr(module, name or place, None)
    if not callable(found):
        raise AgentError(f"pipeline '{chosen}': {place} has no function '{name or place}'")
    return found  # type: ignore[no-any-return]
