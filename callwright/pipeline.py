"""Finding the function that orders a call's processors."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path

from pipecat.processors.frame_processor import FrameProcessor

from callwright import agent as agents
from callwright.agent import Agent
from callwright.config import Config
from callwright.errors import AgentError, CallwrightError
from callwright.parts import Parts, Pipeline


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
        except Exception as error:  # whatever a module of the user's own raises when it is imported
            raise AgentError(
                f"no pipeline '{chosen}': {error}; write 'cascade', 'module:function' or 'file.py:function'"
            ) from None
    found = getattr(module, name or place, None)
    if not callable(found):
        raise AgentError(f"pipeline '{chosen}': {place} has no function '{name or place}'")
    return found  # type: ignore[no-any-return]


def arrange(function: Pipeline, parts: Parts) -> list[FrameProcessor]:
    """The processors in the order that the function gives; AgentError says what is wrong with it."""
    name = getattr(function, "__name__", repr(function))
    try:
        order = function(parts)
    except CallwrightError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise AgentError(
            f"pipeline '{name}' failed at {where.filename}:{where.lineno}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(order, list) or not all(isinstance(part, FrameProcessor) for part in order):
        raise AgentError(f"pipeline '{name}' must return a list of Pipecat processors, not {order!r:.60}")
    return order
