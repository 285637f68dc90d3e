"""What the gate may do with one tool: how long to wait, what to repeat, what never to do twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

KeyOf = Callable[[Mapping[str, object]], object]
"""From the validated arguments, what makes two calls the same deed: `lambda given: given["slot_id"]`."""

MAX_RETRIES = 10


class PolicyError(ValueError):
    """A policy that contradicts itself; the text says what to write instead."""


@dataclass(frozen=True)
class ToolPolicy:
    """Given in the decorator: `@tool(side_effect=False, limit_s=4)`.

    side_effect     whether the tool changes the world. True unless said otherwise: to forget it on a look-up costs
                    its retries, to forget it on a booking would cost a second booking. Such a tool is never
                    cancelled, and a call like one that the model has not seen the result of joins that one.
    limit_s         by then the model is told "still looking" and the conversation goes on; the result comes in as
                    news. 8 s is what callers bear with two or three lines in between ("I'm still checking").
    cancel_after_s  by then nobody waits for it any more: without a side effect it is cancelled, with one it is left
                    to finish and its outcome is reported as unknown. A minute: longer than any HTTP client's default.
    retries         further attempts after a passing error (`ToolError(…, passing=True)`, ConnectionError,
                    TimeoutError). None is 2 without a side effect or with a key, else 0. No attempt begins after
                    `limit_s`.
    cancellable     cancelled when the caller takes the floor while the model waits for it; not with a side effect.
    key             makes "the same deed" explicit: calls with the same key are one for the whole call, and the tool
                    gets the same `call.idempotency_key` each time, which makes retries of a side effect safe.
    fillers         what the agent may say while this tool runs ("I'll check the calendar.").
    """

    side_effect: bool = True
    limit_s: float = 8.0
    cancel_after_s: float = 60.0
    retries: int | None = None
    cancellable: bool = False
    key: KeyOf | None = None
    fillers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises PolicyError."""
        for name in ("limit_s", "cancel_after_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise PolicyError(f"{name} is a number of seconds above 0, not {value!r}")
        if self.cancel_after_s < self.limit_s:
            raise PolicyError(f"cancel_after_s ({self.cancel_after_s:g}) must not be below limit_s ({self.limit_s:g})")
        if self.retries is not None and (
            isinstance(self.retries, bool) or not isinstance(self.retries, int) or not 0 <= self.retries <= MAX_RETRIES
        ):
            raise PolicyError(f"retries is a whole number from 0 to {MAX_RETRIES}, not {self.retries!r}")
        if self.retries and not self.may_repeat:
            raise PolicyError(
                "retries could do a side effect twice; write side_effect=False if it has none, or give a key= "
                "and hand call.idempotency_key to the service behind it"
            )
        if self.cancellable and self.side_effect:
            raise PolicyError("a side effect is never cut in half; cancellable=True needs side_effect=False")
        if self.key is not None and not callable(self.key):
            raise PolicyError(
                f"key is a function of the arguments, such as lambda given: given['id'], not {self.key!r}"
            )
        if not isinstance(self.fillers, list | tuple) or not all(
            isinstance(line, str) and line.strip() for line in self.fillers
        ):
            raise PolicyError(f'fillers is a sequence of lines, such as ("I\'ll check.",), not {self.fillers!r}')
        object.__setattr__(self, "fillers", tuple(self.fillers))

    @property
    def may_repeat(self) -> bool:
        """Whether a further attempt cannot do the deed twice."""
        return not self.side_effect or self.key is not None

    @property
    def attempts(self) -> int:
        """How often the tool is tried at most."""
        return 1 + (self.retries if self.retries is not None else 2 if self.may_repeat else 0)
