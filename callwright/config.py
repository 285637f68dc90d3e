"""The configuration of a call.

Later wins: built-in defaults < the vendor's < the agent's < YAML file < environment < `--set`. `load` returns
it complete and checked, with the source of every value. Keys and LiveKit credentials may be missing: the
command decides whether that matters. Anything unknown or malformed is a ConfigError that names the key, the
place, and the nearest right name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, SecretStr

from callwright.errors import ConfigError
from callwright.resolve import LOCAL_KEY, Resolved, resolve
from callwright.sections import CallConfig, FillerConfig, RecordsConfig, RoomConfig, TurnConfig, WatchConfig
from callwright.sources import from_agent, from_environ, from_file, from_overrides
from callwright.stage import STAGES, Stage, StageConfig
from callwright.vendors import DEFAULTS, find

__all__ = [
    "LOCAL_KEY",
    "CallConfig",
    "Config",
    "FillerConfig",
    "Leaf",
    "Missing",
    "RecordsConfig",
    "RoomConfig",
    "StageConfig",
    "TurnConfig",
    "WatchConfig",
    "load",
    "table",
    "with_stand_ins",
]

DEFAULT_FILE = Path("callwright.yaml")
"""Read from the working directory when no file is named and it is there."""


@dataclass(frozen=True)
class Missing:
    """A credential that is not there, and the variable that would supply it."""

    key: str
    variable: str
    stage: Stage | None
    """None for the room's."""
    keys_url: str | None = None
    """Where such a key is made."""

    def __str__(self) -> str:
        where = f" (make one at {self.keys_url})" if self.keys_url else ""
        return f"{self.key} is missing; set {self.variable}{where}"


@dataclass(frozen=True)
class Leaf:
    """One effective value, fit to be shown: secrets are masked."""

    key: str
    value: JsonValue
    source: str


class Config(BaseModel):
    """Everything a call needs to know before it starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stt: StageConfig
    llm: StageConfig
    tts: StageConfig
    turn: TurnConfig
    watch: WatchConfig
    room: RoomConfig
    call: CallConfig
    filler: FillerConfig
    records: RecordsConfig
    pipeline: str
    sources: Mapping[str, str]
    """Dotted key → `default of cartesia`, `callwright.yaml:12`, `environment X`, `--set`, …"""
    variables: Mapping[str, str]
    """Dotted key of a credential → the environment variable that supplies it."""
    notes: tuple[str, ...] = ()
    """What a user should know: values set aside, stages replaced."""

    def stage(self, name: Stage) -> StageConfig:
        """The configuration of one stage."""
        found: StageConfig = getattr(self, name)
        return found

    def missing(self) -> list[Missing]:
        """Credentials that are not there, stages first."""
        found = [
            Missing(f"{at}.api_key", self.variables[f"{at}.api_key"], stage, find(stage, config.vendor).keys_url)
            for stage in STAGES
            for at, config in placed(stage, self.stage(stage))
            if config.api_key is None
        ]
        room = (("url", self.room.url), ("api_key", self.room.api_key), ("api_secret", self.room.api_secret))
        found += [Missing(f"room.{key}", self.variables[f"room.{key}"], None) for key, value in room if value is None]
        return found

    def leaves(self) -> list[Leaf]:
        """Every effective value with its source, in a stable order, secrets masked."""
        found: list[Leaf] = []

        def add(key: str, value: object) -> None:
            found.append(Leaf(key, mask(value), self.sources.get(key, "default")))

        for stage in STAGES:
            for at, config in placed(stage, self.stage(stage)):
                add(f"{at}.vendor", config.vendor)
                add(f"{at}.model", config.model)
                add(f"{at}.base_url", config.base_url or find(stage, config.vendor).root)
                add(f"{at}.api_key", config.api_key)
                for name in find(stage, config.vendor).settings:
                    add(f"{at}.{name}", config.settings.get(name))
                if config.stand_in:
                    found.append(Leaf(f"{at}.stand_in", True, "stand-in"))
        for section in ("turn", "watch", "room", "call", "filler", "records"):
            part: BaseModel = getattr(self, section)
            for name in type(part).model_fields:
                add(f"{section}.{name}", getattr(part, name))
        add("pipeline", self.pipeline)
        return found

    def masked(self) -> dict[str, JsonValue]:
        """The effective values as nested JSON without secrets, for the call's record."""
        tree: dict[str, JsonValue] = {}
        for leaf in self.leaves():
            *branches, name = leaf.key.split(".")
            branch = tree
            for part in branches:
                inner = branch.setdefault(part, {})
                assert isinstance(inner, dict)
                branch = inner
            branch[name] = leaf.value
        return tree


def load(
    *,
    file: Path | None,
    overrides: Sequence[str],
    agent: Mapping[str, object] | None = None,
    environ: Mapping[str, str],
) -> Config:
    """The effective configuration; `file` None means `./callwright.yaml` if it is there.

    Raises ConfigError, one line, for anything unknown, malformed or out of range.
    """
    try:
        layers = [from_agent(agent or {})]
        path = file if file is not None else DEFAULT_FILE
        if file is not None or path.is_file():
            layers.append(from_file(path))
        layers += [from_environ(environ), from_overrides(overrides)]
        return _config(resolve(layers, environ))
    except ConfigError as error:
        # It quotes what was written, which may hold line breaks.
        raise ConfigError(" ".join(str(error).split())) from None


def with_stand_ins(config: Config, stages: Iterable[Stage], base_url: str, api_key: str) -> Config:
    """`config` with a simulator at `base_url` behind each of `stages`.

    A stage whose vendor has no simulator falls back to the default vendor and its defaults; `notes` says
    so.
    """
    update: dict[str, object] = {}
    sources = dict(config.sources)
    notes = list(config.notes)
    for stage in stages:
        replaced = [
            _stand_in(
                stage, at, one, base_url, api_key if number == 0 else f"{api_key}-fallback-{number}", sources, notes
            )
            for number, (at, one) in enumerate(placed(stage, config.stage(stage)))
        ]
        update[stage] = replaced[0].model_copy(update={"fallback": tuple(replaced[1:])})
    return config.model_copy(update={**update, "sources": sources, "notes": tuple(notes)})


def placed(stage: Stage, config: StageConfig) -> list[tuple[str, StageConfig]]:
    """All of a stage's vendors, each with the dotted key under which it is configured."""
    return [(stage if not number else f"{stage}.fallback.{number - 1}", one) for number, one in enumerate(config.line)]


def _stand_in(
    stage: Stage, at: str, current: StageConfig, base_url: str, api_key: str, sources: dict[str, str], notes: list[str]
) -> StageConfig:
    if not find(stage, current.vendor).stand_in:
        row = find(stage, DEFAULTS[stage])
        notes.append(f"{at}: there is no stand-in for {current.vendor}; {row.name} stands in for it")
        for key in [key for key in sources if key.startswith(f"{at}.") and not key.startswith(f"{at}.fallback.")]:
            del sources[key]
        sources |= {f"{at}.{name}": f"default of {row.name}" for name in ("model", *row.settings)}
        sources[f"{at}.vendor"] = "stand-in"
        settings = {name: setting.default for name, setting in row.settings.items() if setting.default is not None}
        current = StageConfig(vendor=row.name, model=row.default_model, settings=settings)
    sources |= {f"{at}.base_url": "stand-in", f"{at}.api_key": "stand-in"}
    return current.model_copy(update={"base_url": base_url, "api_key": SecretStr(api_key), "stand_in": True})


def mask(value: object) -> JsonValue:
    """`value` fit to be shown: of a secret its last four characters at most, of a URL no password."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        # Of a short key, four characters would be too large a part.
        return f"set (…{text[-4:]})" if len(text) >= 16 else "set"
    if isinstance(value, str):
        if "://" not in value:
            return value
        hidden = re.sub(r"(://[^/@\s:]*):.*@", r"\1:…@", value)
        return re.sub(r"([?&]\w*password=)[^&\s]*", r"\1…", hidden)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): mask(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [mask(inner) for inner in value]
    return str(value)


def _config(resolved: Resolved) -> Config:
    return Config(
        stt=resolved.stages["stt"],
        llm=resolved.stages["llm"],
        tts=resolved.stages["tts"],
        turn=resolved.turn,
        watch=resolved.watch,
        room=resolved.room,
        call=resolved.call,
        filler=resolved.filler,
        records=resolved.records,
        pipeline=resolved.pipeline,
        sources=resolved.sources,
        variables=resolved.variables,
        notes=tuple(resolved.notes),
    )


def table(config: Config) -> list[str]:
    """`config` as aligned lines: key, value, source; then the notes."""
    leaves = config.leaves()
    values = [_shown(leaf.value) for leaf in leaves]
    keys_wide = max(len(leaf.key) for leaf in leaves)
    # One long path must not push every source off the screen.
    values_wide = max(len(value) for value in values if len(value) <= 48)
    lines = [
        f"{leaf.key:{keys_wide}}  {value:{values_wide}}  {leaf.source}"
        for leaf, value in zip(leaves, values, strict=True)
    ]
    return [*lines, *(f"note: {note}" for note in config.notes)]


def _shown(value: JsonValue) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
