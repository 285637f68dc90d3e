"""An agent: what it is told, how it greets, how it sounds, what it may do."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callwright.errors import AgentError
from callwright.suggest import nearest
from callwright.tools import Tool


@dataclass(frozen=True)
class Agent:
    """Everything that makes one agent different from another.

    name      how it is called in the records and in the room
    prompt    the system prompt; the same for every call, so that the vendor's prompt cache holds
    greeting  the first words the caller hears; None lets the caller speak first
    voice     the vendor's id of the voice; None takes the configured one
    tools     functions made with `@tool`
    fillers   said while the caller waits, in place of the built-in lines: none or several, they take turns
    trouble   said when no model answers; what the caller said last has then been heard and not answered
    farewell  said when the engine ends the call by itself (a cap, an unusable vendor)
    pipeline  a function `pipeline(parts)` or its name ("cascade", "module:function", "file.py:function");
              None takes the configured one
    config    defaults of this agent, in the shape of the configuration file
    """

    name: str
    prompt: str
    greeting: str | None = None
    voice: str | None = None
    tools: Sequence[Tool] = ()
    trouble: str = "I'm sorry, I'm having a technical problem, and I couldn't answer that."
    farewell: str = "Thank you for calling. Goodbye."
    pipeline: str | Callable[..., Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    fillers: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.prompt.strip():
            raise AgentError("an agent needs a name and a prompt")
        names = [tool.name if isinstance(tool, Tool) else None for tool in self.tools]
        for tool, name in zip(self.tools, names, strict=True):
            if name is None:
                raise AgentError(f"agent '{self.name}': {tool!r} is not a tool; decorate the function with @tool")
            if names.count(name) > 1:
                raise AgentError(f"agent '{self.name}' has two tools named '{name}'")

        self._check_fillers()

    def _check_fillers(self) -> None:
        if isinstance(self.fillers, str) or any(
            not isinstance(line, str) or not line.strip() or not line.isprintable() for line in self.fillers
        ):
            raise AgentError(f"agent '{self.name}': fillers is a list of lines, each spoken as it stands")
        if len(self.fillers) == 1 or len({line.strip() for line in self.fillers}) != len(self.fillers):
            raise AgentError(
                f"agent '{self.name}': fillers holds two different lines at least: none is said twice running"
            )

    def run(self, arguments: Sequence[str] | None = None) -> None:
        """Be a script: `python my_agent.py --room R` is `callwright run my_agent.py --room R`."""
        from callwright.commands import main

        if _loading:
            raise AgentError(
                f"{_loading[-1]} runs its agent while it is being loaded; "
                "write 'if __name__ == \"__main__\": agent.run()'"
            )
        main_module = sys.modules.get("__main__")
        path = getattr(main_module, "__file__", None)
        if path is None:
            raise AgentError("agent.run() is for scripts; elsewhere use 'callwright run my_agent.py'")
        main(["run", str(path), *(sys.argv[1:] if arguments is None else arguments)])


_loading: list[Path] = []
"""Scripts that are being loaded just now, the innermost last."""


def load(path: Path) -> Agent:
    """The agent that the script at `path` defines: the one named `agent`, or its only one.

    The script runs as a module of its own (never as `__main__`). AgentError says what is wrong with it.
    """
    if not path.is_file():
        neighbours = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        hint = nearest(path.name, neighbours)
        raise AgentError(f"no agent script at {path}" + (f"; did you mean {path.with_name(hint)}?" if hint else ""))
    module = load_module(path)
    agents = {name: value for name, value in vars(module).items() if isinstance(value, Agent)}
    if isinstance(agents.get("agent"), Agent):
        return agents["agent"]
    if len(agents) == 1:
        return next(iter(agents.values()))
    if not agents:
        raise AgentError(f"{path} defines no Agent; write: agent = Agent(name=…, prompt=…)")
    raise AgentError(f"{path} defines {len(agents)} agents ({', '.join(agents)}); name the one to run 'agent'")


def load_module(path: Path) -> Any:
    """Import a file anywhere on disk; AgentError, with the line, when it cannot be imported."""
    name = f"callwright_script_{path.resolve().as_posix().replace('/', '_').removesuffix('.py')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AgentError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _loading.append(path)
    sys.path.insert(0, str(path.resolve().parent))  # a script may import its neighbours, as when run directly
    try:
        spec.loader.exec_module(module)
    except AgentError:
        del sys.modules[name]
        raise
    except SyntaxError as error:
        del sys.modules[name]
        raise AgentError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    except Exception as error:
        del sys.modules[name]
        line = _line_in(path, error)
        raise AgentError(f"{path}{line}: {type(error).__name__}: {error}") from error
    finally:
        _loading.pop()
        sys.path.remove(str(path.resolve().parent))
    return module


def _line_in(path: Path, error: BaseException) -> str:
    """The last line of the script itself in the error's traceback, as ':12'."""
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line
