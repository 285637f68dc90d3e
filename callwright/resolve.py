"""From layers of given values to checked parts: the vendors' own settings, the sections, and their defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Any, TypeVar

from pydantic import JsonValue, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from callwright.errors import ConfigError
from callwright.layers import FALLBACK, STAGE_KEYS, Values, check_key, is_secret, merge, replace_references
from callwright.sections import CallConfig, FillerConfig, RecordsConfig, RoomConfig, Section, TurnConfig, WatchConfig
from callwright.sources import ENVIRONMENT, Given
from callwright.stage import STAGES, Stage, StageConfig
from callwright.suggest import did_you_mean, nearest
from callwright.vendors import CUSTOM_MODEL, DEFAULTS, ROWS, Root, Vendor, find, parse_vendor_root

LOCAL_KEY = "callwright-local"
"""Sent as key to a server on this machine when none is set: other people's stand-ins want some key."""

DEFAULT_PIPELINE = "cascade"

SectionT = TypeVar("SectionT", bound=Section)


@dataclass
class Resolved:
    """The parts of a configuration, checked."""

    stages: dict[Stage, StageConfig]
    turn: TurnConfig
    watch: WatchConfig
    room: RoomConfig
    call: CallConfig
    filler: FillerConfig
    records: RecordsConfig
    pipeline: str
    sources: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def resolve(layers: Iterable[Iterable[Given]], environ: Mapping[str, str]) -> Resolved:
    """Merge `layers`, the weakest first, and check everything. Raises ConfigError at the first fault."""
    variables = {key: name for name, key in ENVIRONMENT.items() if key.startswith("room.")}
    values, notes = merge(layers)
    for given in values.values():
        check_key(given)
    values = replace_references(values, environ, variables)

    sources: dict[str, str] = {}
    stages = {stage: _stage(stage, stage, values, environ, sources, variables) for stage in STAGES}
    resolved = Resolved(
        stages=stages,
        turn=_section(TurnConfig, "turn", values, sources),
        watch=_section(WatchConfig, "watch", values, sources),
        room=_section(RoomConfig, "room", values, sources),
        call=_section(CallConfig, "call", values, sources),
        filler=_section(FillerConfig, "filler", values, sources),
        records=_section(RecordsConfig, "records", values, sources),
        pipeline=_text(values["pipeline"], sources) if "pipeline" in values else DEFAULT_PIPELINE,
        sources=sources,
        variables=variables,
        notes=notes,
    )
    _check_output_rate(resolved)
    _check_hedge(resolved)
    return resolved


def _stage(
    stage: Stage,
    at: str,
    values: Values,
    environ: Mapping[str, str],
    sources: dict[str, str],
    variables: dict[str, str],
) -> StageConfig:
    """The vendor whose keys begin with `at`: the stage's own, or one of its fallbacks."""
    row = _row(stage, at, values, sources)
    model = _model(row, at, values, sources)
    base_url, root = _base_url(row, at, values, sources)
    settings: dict[str, JsonValue] = {}
    for key in [key for key in values if key.startswith(f"{at}.") and not key.startswith(f"{at}.{FALLBACK}.")]:
        name = key.removeprefix(f"{at}.")
        if name not in STAGE_KEYS and name not in row.settings:
            raise ConfigError(
                f"unknown setting '{name}' for {row.name} ({stage}); {_hint(row, name)} ({values[key].source})"
            )
    for name, setting in row.settings.items():
        key = f"{at}.{name}"
        if key in values:
            settings[name] = _checked(setting.type, values[key], sources)
            if any(fnmatchcase(model, pattern) for pattern in setting.refused_by):
                raise ConfigError(f"{key}: {model} does not accept '{name}'; leave it out ({values[key].source})")
        else:
            sources[key] = f"default of {row.name}"
            if setting.default is not None:
                settings[name] = setting.default
    return StageConfig(
        vendor=row.name,
        model=model,
        base_url=base_url,
        api_key=_key(row, root, at, values, environ, sources, variables),
        settings=settings,
        fallback=tuple(
            _stage(stage, f"{at}.{FALLBACK}.{index}", values, environ, sources, variables)
            for index in range(_fallbacks(at, values))
        ),
    )


def _fallbacks(at: str, values: Values) -> int:
    """How many there are; each has at least its vendor."""
    count = 0
    while f"{at}.{FALLBACK}.{count}.vendor" in values:
        count += 1
    return count


def _row(stage: Stage, at: str, values: Values, sources: dict[str, str]) -> Vendor:
    given = values.get(f"{at}.vendor")
    if given is None:
        sources[f"{at}.vendor"] = "default"
        return find(stage, DEFAULTS[stage])
    name = _text(given, sources)
    try:
        return find(stage, name)
    except ConfigError as error:
        raise ConfigError(f"{error} ({given.source})") from None


def _model(row: Vendor, at: str, values: Values, sources: dict[str, str]) -> str:
    given = values.get(f"{at}.model")
    if given is None:
        sources[f"{at}.model"] = f"default of {row.name}"
        return row.default_model
    model = _text(given, sources)
    if model.startswith(CUSTOM_MODEL) and len(model) > len(CUSTOM_MODEL):
        return model.removeprefix(CUSTOM_MODEL)
    if not row.knows(model):
        raise ConfigError(
            f"unknown model '{model}' for {row.name} ({row.stage}); {did_you_mean(model, row.models)} "
            f"(write '{CUSTOM_MODEL}{model}' if it is newer than this version) ({given.source})"
        )
    return model


def _base_url(row: Vendor, at: str, values: Values, sources: dict[str, str]) -> tuple[str | None, Root]:
    given = values.get(f"{at}.base_url")
    if given is None:
        sources[f"{at}.base_url"] = f"default of {row.name}"
        return None, row.default_root()
    text = _text(given, sources)
    try:
        return text, parse_vendor_root(text, endings=row.endings)
    except ValueError as error:
        raise ConfigError(f"{given.key} '{text}' {error} ({given.source})") from None


def _key(
    row: Vendor,
    root: Root,
    at: str,
    values: Values,
    environ: Mapping[str, str],
    sources: dict[str, str],
    variables: dict[str, str],
) -> SecretStr | None:
    """A key given by reference or `--set`, else the vendor's usual variable, else for this machine any."""
    key = f"{at}.api_key"
    given = values.get(key)
    referred = variables.setdefault(key, row.key_env)
    if given is not None:
        text = _text(given, sources)
    else:
        text = environ.get(referred, "").strip()
        sources[key] = f"environment {referred}" if text else "default"
    if not text and root.loopback:
        text = LOCAL_KEY
        sources[key] = "placeholder for a server on this machine"
    if not text:
        return None
    # In a header it would fail later, in an exception that quotes it.
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(f"{key} holds a character that no key has; copy it again ({sources[key]})")
    return SecretStr(text)


def _section(model: type[SectionT], name: str, values: Values, sources: dict[str, str]) -> SectionT:
    parts: dict[str, JsonValue] = {}
    for field_name, info in model.model_fields.items():
        key = f"{name}.{field_name}"
        if key in values:
            parts[field_name] = _checked(_annotation(info), values[key], sources)
        else:
            sources[key] = "default"
    return model(**parts)


def _annotation(info: FieldInfo) -> Any:
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


def _checked(wanted: Any, given: Given, sources: dict[str, str]) -> JsonValue:
    """The value if it is of the right type (what YAML read as a number may be text), else a ConfigError."""
    adapter: TypeAdapter[object] = TypeAdapter(wanted)
    sources[given.key] = given.source
    try:
        adapter.validate_python(given.value, strict=True)
        return given.value
    except ValidationError as error:
        if given.text is not None and not isinstance(given.value, str):
            try:
                adapter.validate_python(given.text, strict=True)
                return given.text
            except ValidationError:
                pass
        reason = _reason(error)
    shown = "" if is_secret(given.key) else f", not {given.value!r}"
    raise ConfigError(f"{given.key} {reason}{shown} ({given.source})")


def _text(given: Given, sources: dict[str, str]) -> str:
    return str(_checked(str, given, sources)).strip()


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=True)[0]
    message = first["msg"]
    if first["type"] == "value_error":
        return message.removeprefix("Value error, ")
    return message.replace("Input should", "must", 1) if message.startswith("Input should") else f"is wrong: {message}"


def _hint(row: Vendor, name: str) -> str:
    known = [*STAGE_KEYS, *row.settings]
    if nearest(name, known) is None:
        others = [other.name for other in ROWS if other.stage == row.stage and name in other.settings]
        if others:
            return f"it is a setting of {', '.join(others)}"
    if name == "settings":
        return "write the settings beside 'vendor' and 'model'"
    return did_you_mean(name, known)


def _check_hedge(resolved: Resolved) -> None:
    if resolved.watch.hedge == "next" and len(resolved.stages["llm"].line) == 1:
        source = resolved.sources["watch.hedge"]
        raise ConfigError(f"watch.hedge is 'next', but llm.fallback names no other model to ask ({source})")


def _check_output_rate(resolved: Resolved) -> None:
    """Every voice must have the room's rate: a mismatch would be noise."""
    rate = resolved.room.output_rate
    for row in (find("tts", config.vendor) for config in resolved.stages["tts"].line):
        if rate not in row.rates:
            rates = ", ".join(str(known) for known in row.rates)
            raise ConfigError(
                f"room.output_rate is {rate} Hz, which {row.name} does not have; it has {rates} "
                f"({resolved.sources['room.output_rate']})"
            )
