"""What goes wrong in the simulated world, as one line for the person who reads it."""

from __future__ import annotations


class SimulatorError(Exception):
    """A stand-in cannot start or cannot go on; `str(error)` says what is wrong, where, and the next step."""
