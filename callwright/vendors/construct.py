"""From a stage's configuration to a running Pipecat service.

Pipecat accepts constructor arguments it does not know without a word, so every argument is held against the
signatures along the class's MRO, and every setting against the fields of its Settings.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from callwright.errors import ConfigError, SetupError
from callwright.stage import Stage, StageConfig
from callwright.suggest import did_you_mean
from callwright.vendors.endpoint import Root, parse_root, parse_vendor_root
from callwright.vendors.lookup import find
from callwright.vendors.row import Vendor


def build(
    stage: Stage,
    config: StageConfig,
    *,
    system_prompt: str | None = None,
    sample_rate: int | None = None,
    has_tools: bool = True,
    arguments: Mapping[str, object] | None = None,
    specialise: Callable[[type[Any]], type[Any]] | None = None,
) -> Any:
    """The Pipecat service that `config` asks for, not yet connected.

    `sample_rate` (Hz) is required for stt and tts and must be one the vendor has. `has_tools` says whether
    the model will be offered any. `arguments` are further constructor arguments of the pipeline's own,
    checked like the others. `specialise` may return a subclass of the vendor's class to build in its place.

    Raises ConfigError (no key, wrong rate, an argument or setting this Pipecat does not have) or SetupError
    (the vendor's package is not installed).
    """
    row = find(stage, config.vendor)
    if config.api_key is None:
        raise ConfigError(f"{stage}: no key for {row.name}; set {row.key_env} (keys: {row.keys_url})")
    root = _root(row, config)
    service = _import(row)
    if specialise is not None:
        service = specialise(service)

    wanted = {name: setting.default for name, setting in row.settings.items()} | dict(config.settings)
    kwargs: dict[str, object] = dict(row.endpoint(root, config.api_key.get_secret_value(), wanted))
    settings: dict[str, object] = {"model": config.model, **row.fold(wanted, has_tools)}
    for name, value in wanted.items():
        if name not in row.settings:
            raise ConfigError(f"unknown setting '{name}' for {row.name} ({stage}); {did_you_mean(name, row.settings)}")
        if value is None:
            continue
        match row.settings[name].where:
            case "setting":
                settings[name] = value
            case "constructor":
                kwargs[name] = value
            case "row":
                pass  # read by row.endpoint or row.fold
    if system_prompt is not None:
        settings["system_instruction"] = system_prompt
    if stage != "llm":
        kwargs["sample_rate"] = _rate(row, sample_rate)
    kwargs.update(arguments or {})

    _refuse_unknown("setting", settings, [f.name for f in fields(service.Settings)], row)
    _refuse_unknown("constructor argument", kwargs, constructor_names(service), row)
    try:
        built = service(settings=service.Settings(**settings), **kwargs)
    except TypeError as error:
        raise ConfigError(f"{stage}: this Pipecat's {service.__name__} cannot be built: {error}") from error
    _assert_address(row, root, built)
    return built


def constructor_names(service: type[Any]) -> set[str]:
    """Every keyword that some constructor along the MRO of `service` names."""
    names: set[str] = set()
    for cls in service.__mro__:
        if "__init__" in vars(cls) and cls is not object:
            names.update(
                parameter.name
                for parameter in inspect.signature(vars(cls)["__init__"]).parameters.values()
                if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            )
    return names - {"self"}


def _root(row: Vendor, config: StageConfig) -> Root:
    if config.base_url is None:
        return row.default_root()
    try:
        return parse_vendor_root(config.base_url, endings=row.endings)
    except ValueError as error:
        raise ConfigError(f"{row.stage}.base_url '{config.base_url}' {error}") from None


def _import(row: Vendor) -> type[Any]:
    module, _, name = row.service.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise SetupError(
            f"the packages for {row.name} are not installed ({error}); "
            f"run: pip install 'pipecat-ai[{row.name.partition('-')[0]}]==1.14.*'"
        ) from error
    assert isinstance(found, type)
    return found


def _rate(row: Vendor, sample_rate: int | None) -> int:
    if sample_rate is None:
        raise TypeError(f"build({row.stage!r}, …) needs sample_rate")
    if sample_rate not in row.rates:
        rates = ", ".join(str(rate) for rate in row.rates)
        raise ConfigError(f"{row.stage}: {row.name} has no sample rate of {sample_rate} Hz; it has {rates}")
    return sample_rate


def _refuse_unknown(kind: str, given: Mapping[str, object], known: Iterable[str], row: Vendor) -> None:
    names = set(known)
    for name in given:
        if name not in names:
            service = row.service.partition(":")[2]
            raise ConfigError(
                f"{row.stage}: {service} of the installed Pipecat has no {kind} '{name}'; {did_you_mean(name, names)}"
            )


def _assert_address(row: Vendor, root: Root, built: Any) -> None:
    used = parse_root(row.effective(built))
    if (used.secure, used.host, used.effective_port) != (root.secure, root.host, root.effective_port):
        raise ConfigError(
            f"{row.stage}: {row.name} would connect to {used.authority} although {root.authority} was asked "
            f"for; the installed Pipecat did not take the address over"
        )
