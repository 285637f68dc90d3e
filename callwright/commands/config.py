"""`callwright config show`: every effective value, and where it comes from."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from callwright.commands._settings import File, Overrides, Script


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True)
    app.add_typer(group, name="config", help="Show the effective configuration.")

    @group.callback()
    def config() -> None:
        """Show the effective configuration."""

    @group.command()
    def show(
        script: Script = None,
        file: File = None,
        settings: Overrides = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Print every effective value with its source; keys are masked.

        Later wins: defaults, the vendor's defaults, the agent's script, the file, the environment, --set.
        """
        from callwright.commands._settings import load_for
        from callwright.config import table

        loaded = load_for(script, file, settings)
        if as_json:
            values = {leaf.key: {"value": leaf.value, "source": leaf.source} for leaf in loaded.leaves()}
            print(json.dumps({"values": values, "notes": list(loaded.notes)}, indent=2, ensure_ascii=False))
            return
        for line in table(loaded):
            print(line)
