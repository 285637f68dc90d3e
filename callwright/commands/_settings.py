"""What the commands that take a configuration have in common: its options, and loading it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from callwright.config import Config, load

File = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration file. [default: ./callwright.yaml]"),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one value, e.g. tts.voice=slt.")
]
Script = Annotated[
    Path | None,
    typer.Argument(metavar="AGENT.py", help="An agent's script, for its own defaults.", show_default=False),
]


def load_for(script: Path | None, file: Path | None, overrides: list[str] | None) -> Config:
    """The effective configuration, the agent's own defaults included when there is a script."""
    if script is None:
        return load(file=file, overrides=overrides or [], environ=os.environ)
    from callwright.running import prepare

    return prepare(script, file, overrides or [])[1]
