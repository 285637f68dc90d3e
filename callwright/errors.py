"""Everything that can go wrong, and the one consequence each kind has.

CallwrightError                 one line for the user: what, where, next step
├── ConfigError                 wrong configuration          -> refused before the call starts (exit 2)
├── AgentError                  wrong agent script or tool   -> refused before the call starts (exit 2)
├── RoomError                   LiveKit refused or is gone   -> the call ends, recorded        (exit 3)
├── VendorPermanent             a vendor refused for good    -> the call ends, recorded        (exit 4)
├── RecordsError                database or files            -> refused, or the call ends      (exit 5)
└── SetupError                  something is not installed   -> says how to install it         (exit 6)
"""

from __future__ import annotations


class CallwrightError(Exception):
    """Base of every error a user may see; `str(error)` is one line with the next step."""

    exit_code = 1


class ConfigError(CallwrightError):
    """The configuration is wrong: which key, what was found, what is right."""

    exit_code = 2


class AgentError(CallwrightError):
    """The agent script or one of its tools is wrong."""

    exit_code = 2


class RoomError(CallwrightError):
    """LiveKit could not be reached, refused the token, or dropped the call for good."""

    exit_code = 3


class VendorPermanent(CallwrightError):
    """A failure that a retry cannot mend: refused key, refused request, unknown model.

    `stage` is stt, llm or tts. What may pass (a timeout, a rate limit, a dropped socket) is no error of the
    program: it is an event in the journal, and something true is said.
    """

    exit_code = 4

    def __init__(self, message: str, *, stage: str, vendor: str, category: str = "unknown") -> None:
        super().__init__(message)
        self.stage = stage
        self.vendor = vendor
        self.category = category


class RecordsError(CallwrightError):
    """The records could not be written or read."""

    exit_code = 5


class SetupError(CallwrightError):
    """A program or package that is needed is not installed."""

    exit_code = 6
