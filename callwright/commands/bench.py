"""`callwright bench`: measure, from the caller's end, what the promises are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def register(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure whole calls, ours and others', from the caller's end.", no_args_is_help=True)
    app.add_typer(bench, name="bench")

    @bench.callback()
    def root() -> None:
        """Measure whole calls, ours and others', from the caller's end."""

    @bench.command()
    def latency(
        calls: Annotated[int, typer.Option(min=1, help="Calls of each system at each setting.")] = 20,
        json_file: Annotated[
            Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON.")
        ] = None,
        turns_file: Annotated[
            Path | None, typer.Option("--turns-json", metavar="FILE", help="Write every turn as a line of JSON.")
        ] = None,
        system: Annotated[
            str, typer.Option(metavar="NAMES", help="Systems in turn: callwright, pipecat, pipecat-tuned.")
        ] = "callwright",
        delays: Annotated[
            Literal["default", "zero", "both"],
            typer.Option(help="The vendors' delays: as published, none, or one after the other."),
        ] = "both",
        concurrency: Annotated[int, typer.Option(min=1, help="Calls at once in one process.")] = 1,
        seed: Annotated[int, typer.Option(help="Of the callers' words and the vendors' delays.")] = 0,
        turns: Annotated[int, typer.Option(min=1, max=6, help="The caller's turns in a call.")] = 6,
        noise_dbfs: Annotated[
            float | None, typer.Option(min=-90, max=-48, help="Noise behind the caller, e.g. -55. [default: none]")
        ] = None,
    ) -> None:
        """Conversation time: how long the caller waits for an answer, and what of it is the framework's.

        Whole calls through a LiveKit server of its own, vendors' stand-ins with perfect ears, the front desk.
        A call takes about a minute. Ctrl-C prints what has been measured so far.
        """
        import asyncio
        import json
        import sys

        from rich.console import Console

        from callwright.bench.latency import Plan, Results, run
        from callwright.bench.provenance import provenance
        from callwright.bench.report import render, summarise, turn_lines
        from callwright.bench.system import SYSTEMS
        from callwright.demo import default_script
        from callwright.errors import CallwrightError, ConfigError, SetupError
        from callwright.logs import set_up
        from callwright.simulators.errors import SimulatorError
        from callwright.suggest import did_you_mean

        set_up()
        names = tuple(dict.fromkeys(name.strip() for name in system.split(",") if name.strip()))
        for name in names:
            if name not in SYSTEMS:
                raise ConfigError(f"unknown system '{name}'; {did_you_mean(name, SYSTEMS)}")
        if not names:
            raise ConfigError(f"no system to measure; give --system one or more of {', '.join(SYSTEMS)}")
        for option, file in (("--json", json_file), ("--turns-json", turns_file)):
            if file is not None and not file.resolve().parent.is_dir():
                raise ConfigError(f"{option} {file}: there is no such folder")
        script = default_script()
        plan = Plan(
            systems=names,
            agent=script,
            rules=script.with_name(f"{script.stem}.rules.yaml"),
            calls=calls,
            delays=("default", "zero") if delays == "both" else (delays,),
            concurrency=concurrency,
            seed=seed,
            turns=turns,
            noise_dbfs=noise_dbfs,
        )
        results = Results()

        def say(line: str) -> None:
            print(f"· {line}", file=sys.stderr, flush=True)

        interrupted = False
        try:
            asyncio.run(run(plan, results, say))
        except KeyboardInterrupt:
            interrupted = True
        except SimulatorError as error:
            raise SetupError(str(error)) from error
        found, made = summarise(plan, results), provenance()
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 120
        console.print(render(found, made))
        if json_file is not None:
            json_file.write_text(json.dumps([summary.to_json(made) for summary in found], indent=2) + "\n")
        if turns_file is not None:
            turns_file.write_text("".join(json.dumps(line) + "\n" for line in turn_lines(results)))
        if interrupted:
            raise KeyboardInterrupt
        failed = [call for call in results.calls if call.failure]
        if failed:
            raise CallwrightError(f"{len(failed)} of {len(results.calls)} calls failed; first: {failed[0].failure}")
