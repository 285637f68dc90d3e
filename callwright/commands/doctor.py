"""`callwright doctor`: will a call work here, and what to mend if not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from callwright.commands._settings import File, Overrides, Script


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(
        script: Script = None,
        file: File = None,
        settings: Overrides = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Check configuration, keys, LiveKit, vendors, records and local engines: one line each.

        ✓ is well, ✗ must be mended before a call, – is good to know. Exits 1 if there is a ✗.
        """
        import asyncio

        from callwright.commands._settings import load_for
        from callwright.doctor import examine
        from callwright.upstream.ears import SMART_TURN_RATE

        findings = asyncio.run(examine(lambda: load_for(script, file, settings), input_rate=SMART_TURN_RATE))
        healthy = all(finding.state != "bad" for finding in findings)
        if as_json:
            report = {"healthy": healthy, "findings": [asdict(finding) for finding in findings]}
            print(json.dumps(report, indent=2, ensure_ascii=False))
        else:
            for finding in findings:
                print(finding)
        if not healthy:
            raise typer.Exit(1)
