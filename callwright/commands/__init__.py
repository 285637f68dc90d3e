"""The `callwright` command: one file per subcommand, no logic here but how an error is shown."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

# Pipecat greets on import at INFO, and prints prompts at DEBUG; both before anyone can say no.
os.environ.setdefault("LOGURU_LEVEL", "WARNING")
# A proxy for the outside world must not be asked for servers on this machine.
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1", "localhost")))

COMMANDS = (
    "demo",
    "run",
    "call",
    "calls",
    "show",
    "replay",
    "config",
    "doctor",
    "bench",
    "stand_ins",
    "install_livekit",
)
"""Modules of this package, in the order of the help; each has `register(app)`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, or the error's own code after one line on standard error."""
    import typer

    from callwright import __version__
    from callwright.errors import CallwrightError, SetupError
    from callwright.simulators.errors import SimulatorError

    app = typer.Typer(
        name="callwright",
        help="Voice agents for the browser and the phone that tell the truth about what was heard.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback(invoke_without_command=True)
    def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
        if version:
            print(f"callwright {__version__}")
            raise typer.Exit

    for name in COMMANDS:
        importlib.import_module(f"callwright.commands.{name}").register(app)
    try:
        code = app(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except CallwrightError as error:
        _fail(str(error), error.exit_code)
    except SimulatorError as error:
        _fail(str(error), SetupError.exit_code)
    except typer.TyperException as error:
        _fail(f"{error.format_message()} (see --help)", 2)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if "--verbose" in sys.argv or "-v" in sys.argv:
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        _fail(
            f"a fault of ours, {type(error).__name__} in {os.path.basename(where.filename)}:{where.lineno}; "
            "run again with --verbose, and report it",
            70,
        )
    sys.exit(code if isinstance(code, int) else 0)


def _fail(line: str, code: int) -> None:
    print(f"callwright: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(code)
