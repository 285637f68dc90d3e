"""`callwright bench`: measure, from the caller's end, what the promises are worth."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import RenderableType

    from callwright.bench.report import Provenance, Summary

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON.")]
Details = Annotated[Path | None, typer.Option("--details", metavar="FILE", help="Write every one as a line of JSON.")]
Systems = Annotated[
    str, typer.Option("--system", metavar="NAMES", help="Systems in turn: callwright, pipecat, livekit-agents, …")
]
Tapes = Annotated[
    Path | None, typer.Option("--tapes", metavar="FOLDER", help="Keep what the caller said and heard in every call.")
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Calls at once in one process.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the callers' words, their moments and the vendors' delays.")]


def register(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure whole calls, ours and others', from the caller's end.", no_args_is_help=True)
    app.add_typer(bench, name="bench")

    @bench.callback()
    def root() -> None:
        """Measure whole calls, ours and others', from the caller's end."""

    @bench.command()
    def latency(
        calls: Annotated[int, typer.Option(min=1, help="Calls of each system at each setting.")] = 20,
        json_file: JsonFile = None,
        turns_file: Annotated[
            Path | None, typer.Option("--turns-json", metavar="FILE", help="Write every turn as a line of JSON.")
        ] = None,
        system: Systems = "callwright",
        delays: Annotated[
            Literal["default", "zero", "both"],
            typer.Option(help="The vendors' delays: as published, none, or one after the other."),
        ] = "both",
        concurrency: Concurrency = 1,
        seed: Seed = 0,
        turns: Annotated[int, typer.Option(min=1, max=6, help="The caller's turns in a call.")] = 6,
        noise_dbfs: Annotated[
            float | None, typer.Option(min=-90, max=-48, help="Noise behind the caller, e.g. -55. [default: none]")
        ] = None,
    ) -> None:
        """Conversation time: how long the caller waits for an answer, and what of it is the framework's.

        Whole calls through a LiveKit server of its own, vendors' stand-ins with perfect ears, the front desk.
        A call takes about a minute. Ctrl-C prints what has been measured so far.
        """
        from callwright.bench.latency import Plan, Results, run
        from callwright.bench.report import render, summarise, turn_lines
        from callwright.demo import default_script

        names = _systems(system)
        _writable({"--json": json_file, "--turns-json": turns_file})
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
        interrupted = _held(run(plan, results, _say))
        _report(summarise(plan, results), render, json_file)
        _write_lines(turns_file, turn_lines(results))
        _conclude(interrupted, [call.failure for call in results.calls])

    @bench.command()
    def heard(
        interruptions: Annotated[int, typer.Option(min=1, help="Of each system in each row.")] = 100,
        rows: Annotated[
            str, typer.Option(metavar="NAMES", help="Rows, or all: default, stall, untimed, whole, … [default: all]")
        ] = "all",
        json_file: JsonFile = None,
        details_file: Details = None,
        tapes: Tapes = None,
        system: Systems = "callwright",
        concurrency: Concurrency = 2,
        seed: Seed = 0,
    ) -> None:
        """Truth of the conversation: is what the model is told of an interrupted answer what the caller heard?

        Whole calls through a LiveKit server of its own in which the caller talks over every answer; judged by the
        caller's recording and the model's next request. 100 interruptions of one row take about ten minutes.
        Ctrl-C prints what has been judged so far.
        """
        from callwright.bench.heard import Plan, Results, run
        from callwright.bench.heard_report import detail_lines, render, summarise
        from callwright.bench.heard_scenes import ROWS

        names = _systems(system)
        chosen = _rows(rows, ROWS)
        _writable({"--json": json_file, "--details": details_file, "--tapes": tapes})
        plan = Plan(names, chosen, interruptions, concurrency, seed, tapes)
        results = Results()
        interrupted = _held(run(plan, results, _say))
        _report(summarise(plan, results), render, json_file)
        _write_lines(details_file, detail_lines(results))
        _conclude(interrupted, [call.failure for call in results.calls])

    @bench.command()
    def overlap(
        sounds: Annotated[int, typer.Option(min=1, help="Sounds over answers, with each system; six in a call.")] = 96,
        json_file: JsonFile = None,
        details_file: Details = None,
        system: Systems = "callwright",
        ears: Annotated[
            Literal["oracle", "pocketsphinx"], typer.Option(help="Told what is said, or really listening.")
        ] = "oracle",
        concurrency: Concurrency = 2,
        seed: Seed = 0,
    ) -> None:
        """Interruptions, true and false: does the agent yield to the one and finish its sentence at the other?

        Whole calls through a LiveKit server of its own. The caller says "no, wait" or "uh-huh", coughs, or
        somebody else talks in the background. Six sounds take about two minutes. Ctrl-C prints what has been
        measured so far.
        """
        from callwright.bench.overlap import Plan, Results, run
        from callwright.bench.overlap_report import render, sound_lines, summarise

        names = _systems(system)
        _writable({"--json": json_file, "--details": details_file})
        plan, results = Plan(names, sounds, concurrency, seed, ears), Results()
        interrupted = _held(run(plan, results, _say))
        _report(summarise(plan, results), render, json_file)
        _write_lines(details_file, sound_lines(results))
        _conclude(interrupted, [call.failure for call in results.calls])

    @bench.command()
    def silence(
        turns: Annotated[int, typer.Option(min=1, help="Orders of the caller to each system in each row.")] = 12,
        rows: Annotated[
            str, typer.Option(metavar="NAMES", help="Rows, or all: plain, tool4000, parallel3, … [default: all]")
        ] = "all",
        virtual: Annotated[
            int | None, typer.Option(min=1, help="Instead: try the gate alone in so many calls on virtual time.")
        ] = None,
        json_file: JsonFile = None,
        details_file: Details = None,
        tapes: Tapes = None,
        system: Systems = "callwright",
        concurrency: Concurrency = 2,
        seed: Seed = 0,
    ) -> None:
        """Tools and fillers: is the caller ever left in silence, and is everything done exactly once?

        Whole calls through a LiveKit server of its own, with tools of 0.2 to 8 s, one to four in one reply, and a
        caller who speaks up meanwhile; judged by the caller's recording and by what the tools did. All rows take
        about 15 minutes. Ctrl-C prints what has been judged so far. With --virtual nothing is heard: thousands of
        tool calls that last, fail, come twice and are interrupted pass through the gate, and what was done is counted.
        """
        if virtual:
            _try_the_gate(virtual, seed, system, json_file)
            return
        from callwright.bench.silence import Plan, Results, run
        from callwright.bench.silence_report import detail_lines, render, summarise
        from callwright.bench.silence_scenes import ROWS

        names, chosen = _systems(system), _rows(rows, ROWS)
        _writable({"--json": json_file, "--details": details_file, "--tapes": tapes})
        plan, results = Plan(names, chosen, turns, concurrency, seed, tapes=tapes), Results()
        interrupted = _held(run(plan, results, _say))
        _report(summarise(plan, results), render, json_file)
        _write_lines(details_file, detail_lines(results))
        _conclude(interrupted, [call.failure for call in results.calls])

    @bench.command()
    def faults(
        faults: Annotated[int, typer.Option(min=1, help="Turns met by each fault, with each system.")] = 2,
        rows: Annotated[
            str, typer.Option(metavar="NAMES", help="Faults, or all: llm-before-429, tts-within-drop, … [default: all]")
        ] = "all",
        virtual: Annotated[
            int | None,
            typer.Option(min=1, help="Instead: the policies alone, so many turns of each on virtual time."),
        ] = None,
        json_file: JsonFile = None,
        details_file: Details = None,
        tapes: Tapes = None,
        system: Systems = "callwright",
        concurrency: Concurrency = 2,
        seed: Seed = 0,
    ) -> None:
        """Failing vendors: does the caller get an answer, or at least the truth, whatever one vendor does?

        Whole calls through a LiveKit server of its own, six turns each, two of them met by a fault: each kind in
        each stage at each moment. All faults take about an hour. Ctrl-C prints what has been judged so far.
        With --virtual nothing is heard: the policies decide over played vendors, with a fallback and without, and
        over faults that strike once and that stay.
        """
        if virtual:
            _try_the_watches(virtual, rows, seed, system, json_file)
            return
        from callwright.bench.fault_report import detail_lines, render, summarise
        from callwright.bench.fault_scenes import ROWS
        from callwright.bench.faults import Plan, Results, run

        names, chosen = _systems(system), _rows(rows, ROWS)
        _writable({"--json": json_file, "--details": details_file, "--tapes": tapes})
        plan, results = Plan(names, chosen, faults, concurrency, seed, tapes), Results()
        interrupted = _held(run(plan, results, _say))
        _report(summarise(plan, results), render, json_file)
        _write_lines(details_file, detail_lines(results))
        _conclude(interrupted, [])  # a call that a fault has ended is a result, not a failure of the bench

    @bench.command()
    def hedge(
        turns: Annotated[int, typer.Option(min=1, help="Turns of each row on a clock that is only counted.")] = 4000,
        calls: Annotated[
            int, typer.Option(min=0, help="Conversations of nine turns over HTTP, in each row of the first two pairs.")
        ] = 50,
        pairs: Annotated[
            str, typer.Option(metavar="MODELS", help="first+second,… [default: three pairs of different prices]")
        ] = "",
        json_file: JsonFile = None,
        seed: Seed = 0,
    ) -> None:
        """Hedging: how much sooner is the first token if the model is asked once more, and for how much money?

        Slow first tokens (p50 637, p95 1615 ms), nobody asked twice, the same model asked twice, and the next one, at
        the price book's prices. First through the deciding parts alone, then for the first two pairs the front desk's
        booking through the whole mind to the vendors' stand-ins. Takes about five minutes. Ctrl-C prints what has
        been measured so far.
        """
        from callwright.bench.hedge import PAIRS, Plan, Results, run
        from callwright.bench.hedge import pairs as parse
        from callwright.bench.hedge_report import render, summarise

        chosen = parse(pairs or ",".join(PAIRS))
        _writable({"--json": json_file})
        plan, results = Plan(chosen, turns, calls, seed), Results()
        interrupted = _held(run(plan, results, _say))
        _report(summarise(plan, results), render, json_file)
        _conclude(interrupted, [results.failure])


def _try_the_gate(calls: int, seed: int, system: str, json_file: Path | None) -> None:
    from callwright.bench.silence_report import render_trial, summarise_trial
    from callwright.bench.trial import Tally, trial
    from callwright.errors import ConfigError
    from callwright.logs import set_up

    if system != "callwright":
        raise ConfigError("--virtual tries the gate, which only callwright has; leave --system out")
    _writable({"--json": json_file})
    set_up()
    tally, interrupted = Tally(), False
    try:
        trial(calls, seed, tally, _say)
    except KeyboardInterrupt:
        interrupted = True
    _report(summarise_trial(tally, calls, seed), render_trial, json_file)
    _conclude(interrupted, [])


def _try_the_watches(turns: int, rows: str, seed: int, system: str, json_file: Path | None) -> None:
    from callwright.bench.fault_report import render_trial, summarise_trial
    from callwright.bench.fault_scenes import ROWS
    from callwright.bench.fault_trial import Trial, trial
    from callwright.errors import ConfigError

    if system != "callwright":
        raise ConfigError("--virtual tries our own policies; leave --system out")
    chosen = _rows(rows, ROWS)
    _writable({"--json": json_file})
    found, interrupted = Trial(), False
    try:
        trial(chosen, turns, seed, found, _say)
    except KeyboardInterrupt:
        interrupted = True
    _report(summarise_trial(found, turns, seed), render_trial, json_file)
    _conclude(interrupted, [])


def _say(line: str) -> None:
    import sys

    print(f"· {line}", file=sys.stderr, flush=True)


def _known(kind: str, given: str, known: Iterable[str]) -> tuple[str, ...]:
    """The names in a list with commas, each once; ConfigError for one that is not known."""
    from callwright.errors import ConfigError
    from callwright.suggest import did_you_mean

    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {kind} '{name}'; {did_you_mean(name, known)}")
    return names


def _systems(given: str) -> tuple[str, ...]:
    from callwright.bench.system import SYSTEMS
    from callwright.errors import ConfigError

    names = _known("system", given, SYSTEMS)
    if not names:
        raise ConfigError(f"no system to measure; give --system one or more of {', '.join(SYSTEMS)}")
    return names


def _rows(given: str, known: tuple[str, ...]) -> tuple[str, ...]:
    from callwright.errors import ConfigError

    names = known if given == "all" else _known("row", given, known)
    if not names:
        raise ConfigError(f"no row to measure; give --rows one or more of {', '.join(known)}")
    return names


def _writable(files: dict[str, Path | None]) -> None:
    """Refuse before the run what could not be written after it."""
    from callwright.errors import ConfigError

    for option, file in files.items():
        if file is not None and not file.resolve().parent.is_dir():
            raise ConfigError(f"{option} {file}: there is no such folder")


def _held(running: Coroutine[None, None, None]) -> bool:
    """Hold the calls; whether Ctrl-C ended them early. SetupError when there is nothing to hold them on."""
    import asyncio

    from callwright.errors import SetupError
    from callwright.logs import set_up
    from callwright.simulators.errors import SimulatorError

    set_up()
    try:
        asyncio.run(running)
    except KeyboardInterrupt:
        return True
    except SimulatorError as error:
        raise SetupError(str(error)) from error
    return False


def _report(
    found: Sequence[Summary],
    render: Callable[[Sequence[Summary], Provenance], RenderableType],
    json_file: Path | None,
) -> None:
    """Show what was found, and write it as JSON where that was asked for."""
    import json

    from rich.console import Console

    from callwright.bench.provenance import provenance

    made = provenance()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(render(found, made))
    if json_file is not None:
        json_file.write_text(json.dumps([summary.to_json(made) for summary in found], indent=2) + "\n")


def _write_lines(file: Path | None, lines: Iterable[dict[str, JsonValue]]) -> None:
    import json

    if file is not None:
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _conclude(interrupted: bool, failures: list[str]) -> None:
    """How the command ends once its report is out: as it was ended, or with the first call that failed."""
    from callwright.errors import CallwrightError

    if interrupted:
        raise KeyboardInterrupt
    failed = [failure for failure in failures if failure]
    if failed:
        raise CallwrightError(f"{len(failed)} of {len(failures)} calls failed; first: {failed[0]}")
