"""Callwright: voice agents for the browser and the phone that tell the truth about what was heard.

    from callwright import Agent, tool

The names below are the whole public door; everything else may change.
"""

from callwright.agent import Agent
from callwright.errors import CallwrightError
from callwright.tools import Call, ToolError, tool

__version__ = "0.1.0"
__all__ = ["Agent", "Call", "CallwrightError", "ToolError", "__version__", "tool"]
