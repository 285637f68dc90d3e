"""`python -m callwright.simulators`: the vendors' stand-ins as a process of their own.

Prints one JSON line {"url": …} when it listens, then serves until it is ended. The stand-ins decode
and synthesise speech: in the agent's own process they would take the time that is being measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from callwright.simulators.account import AccountSettings
from callwright.simulators.errors import SimulatorError
from callwright.simulators.server import VendorServer


async def serve(port: int, rules: Path | None, settings: AccountSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with VendorServer(port=port, default=settings, default_rules=rules) as server:
        print(json.dumps({"url": server.url}), flush=True)
        await stopped.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m callwright.simulators", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one")
    parser.add_argument("--rules", type=Path, help="rules file of the scripted model")
    parser.add_argument("--settings", default="{}", help="default account settings as JSON")
    arguments = parser.parse_args()
    try:
        settings = AccountSettings.model_validate_json(arguments.settings)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(arguments.port, arguments.rules, settings))
    except (SimulatorError, OSError, ValueError) as error:
        print(f"stand-ins: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
