"""Where configuration comes from: each source as a flat list of keys with their values and their places."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from callwright.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

ENVIRONMENT: Mapping[str, str] = {
    "LIVEKIT_URL": "room.url",
    "LIVEKIT_API_KEY": "room.api_key",
    "LIVEKIT_API_SECRET": "room.api_secret",
    "CALLWRIGHT_DATABASE": "records.database",
    "CALLWRIGHT_RECORDINGS": "records.recordings",
}
"""Variables that set a key of their own; the vendors' key variables are in the vendor table."""


@dataclass(frozen=True)
class Given:
    """One value somebody gave, and where."""

    key: str
    """Dotted: `tts.model`."""
    value: JsonValue
    source: str
    """`agent`, `callwright.yaml:12`, `environment LIVEKIT_URL` or `--set`."""
    text: str | None = None
    """The scalar as it was written, for a field that wants text where YAML saw a number (`voice: 7`)."""
    secret_allowed: bool = False
    """Whether a key may stand here in clear."""


def from_file(path: Path) -> list[Given]:
    """The leaves of a YAML file, each with its line. A ConfigError if it cannot be read or parsed."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"the configuration file {path} does not exist; check the path after --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {_reason(error)}") from None
    try:
        return _leaves(text, lambda line: f"{path}:{line}")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        what = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{place}: not valid YAML: {' '.join(what.split())}") from None


def from_overrides(overrides: Sequence[str]) -> list[Given]:
    """`--set a.b=value`, each value read as YAML; a later one for the same key wins."""
    found: list[Given] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            # What stands there may be a key somebody pasted, so it is not repeated.
            raise ConfigError("--set wants key=value, as in --set tts.model=sonic-3; one has no '=' or no key")
        try:
            value: JsonValue = yaml.safe_load(text) if text.strip() else None
        except yaml.YAMLError:
            value = text  # `--set tts.emotion=: happy`: nobody writes YAML errors on purpose in a shell
        if isinstance(value, dict) and "." not in key:
            found += [
                Given(f"{key}.{name}", inner, "--set", _scalar_text(inner), True) for name, inner in value.items()
            ]
        else:
            found.append(Given(key, _json(value), "--set", text.strip(), secret_allowed=True))
    return found


def from_agent(config: Mapping[str, object]) -> list[Given]:
    """What the agent's script says about its own configuration."""
    found: list[Given] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            found += [
                Given(f"{name}.{inner}", _json(leaf), "agent", _scalar_text(leaf)) for inner, leaf in value.items()
            ]
        else:
            found.append(Given(str(name), _json(value), "agent", _scalar_text(value)))
    return found


def from_environ(environ: Mapping[str, str]) -> list[Given]:
    """The variables in `ENVIRONMENT` that are set; an empty one counts as not set."""
    return [
        Given(key, environ[name], f"environment {name}", environ[name], secret_allowed=True)
        for name, key in ENVIRONMENT.items()
        if environ.get(name)
    ]


def references(value: JsonValue) -> list[str]:
    """The variables that `value` refers to as `${VARIABLE}`."""
    return _REFERENCE.findall(value) if isinstance(value, str) else []


def substitute(value: str, environ: Mapping[str, str]) -> str:
    """`value` with its `${VARIABLE}` references replaced; all of them must be set."""
    return _REFERENCE.sub(lambda match: environ[match[1]], value)


def is_reference(value: JsonValue) -> bool:
    """Whether `value` is one `${VARIABLE}` and nothing else."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value.strip()) is not None


def _leaves(text: str, place: Any) -> list[Given]:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return []
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{place(1)}: the file must hold sections such as 'tts:', not a list or a single value")
        found: dict[str, Given] = {}
        for name, node, line in _pairs(root):
            if isinstance(node, yaml.MappingNode):
                for inner, leaf, inner_line in _pairs(node):
                    _add(found, f"{name}.{inner}", leaf, inner_line, loader, place)
            else:
                _add(found, name, node, line, loader, place)
        return list(found.values())
    finally:
        loader.dispose()


def _pairs(node: yaml.MappingNode) -> list[tuple[str, yaml.Node, int]]:
    return [(str(key.value), value, key.start_mark.line + 1) for key, value in node.value]


def _add(found: dict[str, Given], key: str, node: yaml.Node, line: int, loader: Any, place: Any) -> None:
    if key in found:
        raise ConfigError(f"{key} is given twice: {found[key].source} and {place(line)}; keep one of them")
    value = _json(loader.construct_object(node, deep=True))
    found[key] = Given(key, value, place(line), node.value if isinstance(node, yaml.ScalarNode) else None)


def _json(value: Any) -> JsonValue:
    """`value` as JSON has it; YAML's dates become the text they were."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(inner) for inner in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _scalar_text(value: object) -> str | None:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
