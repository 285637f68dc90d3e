"""Logging: what happened, never what was said.

Pipecat writes transcripts and prompts at its DEBUG level and quotes text in some warnings, so its
messages are not passed on at all: only where a warning came from.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record


def set_up(*, verbose: bool = False) -> None:
    """Send our own records to standard error, from WARNING (DEBUG with `verbose`); replace every other handler."""
    logger.remove()
    logger.configure(patcher=_withhold)
    logger.add(
        sys.stderr,
        level="DEBUG" if verbose else "WARNING",
        format="{time:HH:mm:ss.SSS} {level: <7} {message}",
        filter=_passes,
        backtrace=False,
        diagnose=False,  # would print the values of variables
    )
    logging.getLogger("livekit").setLevel(logging.CRITICAL)
    for chatty in ("httpx", "httpcore", "websockets", "aiohttp.access", "anthropic", "openai"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _passes(record: Record) -> bool:
    ours = _ours(record)
    return ours or record["level"].no >= logging.WARNING


def _ours(record: Record) -> bool:
    return (record["name"] or "").split(".")[0] in ("callwright", "pipelines", "processors")


def _withhold(record: Record) -> None:
    if not _ours(record):
        record["message"] = f"{record['name']}:{record['line']} (message withheld: it may quote the caller)"
        record["exception"] = None
