"""How a call ends."""

from __future__ import annotations

from dataclasses import dataclass

from callwright.errors import CallwrightError


@dataclass(frozen=True)
class Ending:
    """Why the call ended; `ok` is false where it is a failure, which `error` then explains in one line."""

    reason: str
    detail: str
    ok: bool
    error: CallwrightError | None = None

    @classmethod
    def failed(cls, reason: str, error: CallwrightError) -> Ending:
        """It ended because of `error`."""
        return cls(reason, str(error), ok=False, error=error)
