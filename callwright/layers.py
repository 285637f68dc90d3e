"""Layers of given values: which one wins, which keys exist, and what a reference stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from callwright.errors import ConfigError
from callwright.sections import CallConfig, FillerConfig, RecordsConfig, RoomConfig, Section, TurnConfig, WatchConfig
from callwright.sources import Given, is_reference, references, substitute
from callwright.stage import STAGES
from callwright.suggest import did_you_mean, nearest
from callwright.vendors import DEFAULTS

SECTIONS: Mapping[str, type[Section]] = {
    "turn": TurnConfig,
    "watch": WatchConfig,
    "room": RoomConfig,
    "call": CallConfig,
    "filler": FillerConfig,
    "records": RecordsConfig,
}
STAGE_KEYS = ("vendor", "model", "base_url", "api_key")
FALLBACK = "fallback"
"""Of a stage: the list of those who take over, each written like the stage itself."""

Values = dict[str, Given]
"""Dotted key → the value that won."""


def merge(layers: Iterable[Iterable[Given]]) -> tuple[Values, list[str]]:
    """Later wins; null takes back. A new vendor starts afresh: the old one's voice means nothing to it."""
    vendors: dict[str, JsonValue] = {str(stage): name for stage, name in DEFAULTS.items()}
    values: Values = {}
    notes: list[str] = []
    for layer in layers:
        given_here = list(layer)
        for given in given_here:
            stage, _, name = given.key.partition(".")
            if name != "vendor" or stage not in vendors or given.value in (None, vendors[stage]):
                continue
            for key in [key for key in values if key.startswith(f"{stage}.") and _meant_for_vendor(key)]:
                notes.append(
                    f"{key} ({values.pop(key).source}) is set aside: it was meant for {vendors[stage]}, "
                    f"and {stage}.vendor is now {given.value} ({given.source})"
                )
            vendors[stage] = given.value
        for given in given_here:
            if given.value is not None:
                values[given.key] = given
            elif not given.key.endswith(".vendor"):
                values.pop(given.key, None)
    return _expand(values), notes


def _meant_for_vendor(key: str) -> bool:
    return key.partition(".")[2] not in ("vendor", FALLBACK)


def _expand(values: Values) -> Values:
    """The vendors of a fallback list as keys: `llm.fallback.0.model` is the first one's model."""
    expanded: Values = {}
    for key, given in values.items():
        stage, _, name = key.partition(".")
        if stage not in STAGES or name != FALLBACK:
            expanded[key] = given
            continue
        if not isinstance(given.value, list) or not all(isinstance(item, dict) for item in given.value):
            raise ConfigError(
                f"{key} must be a list of vendors, such as '[{{vendor: {DEFAULTS[stage]}, model: …}}]' ({given.source})"
            )
        for index, item in enumerate(given.value):
            assert isinstance(item, dict)
            if "vendor" not in item:
                raise ConfigError(f"{key}: number {index + 1} names no vendor ({given.source})")
            for inner, value in item.items():
                if value is not None:
                    inner_key = f"{key}.{index}.{inner}"
                    text = None if isinstance(value, str | bool | list | dict) else str(value)
                    expanded[inner_key] = Given(inner_key, value, given.source, text, given.secret_allowed)
    return expanded


def is_secret(key: str) -> bool:
    """Whether the value of `key` must never be shown, nor stand in a file."""
    return key.endswith(".api_key") or key == "room.api_secret"


def check_key(given: Given) -> None:
    """A ConfigError if no key of that name exists; a vendor's own settings are left to its row."""
    parts = given.key.split(".")
    groups = [*STAGES, *SECTIONS]
    if parts[0] not in groups:
        if given.key == "pipeline":
            return
        everywhere = {f"{group}.{name}" for group in groups for name in _names(group)}
        same_name = sorted(key for key in everywhere if key.partition(".")[2] == parts[-1])
        hint = f"did you mean '{same_name[0]}'?" if same_name and len(parts) == 1 else None
        hint = hint or did_you_mean(parts[0], [*groups, "pipeline"])
        raise ConfigError(f"unknown key '{parts[0]}'; {hint} ({given.source})")
    if len(parts) == 1:
        raise ConfigError(
            f"'{given.key}' is a section: write keys below it, such as "
            f"'{given.key}: {{{_names(given.key)[0]}: …}}' ({given.source})"
        )
    if len(parts) > 2 and not (parts[0] in STAGES and parts[1] == FALLBACK and len(parts) == 4):
        raise ConfigError(
            f"unknown key '{given.key}'; a key has two parts, as in '{parts[0]}.{parts[1]}' ({given.source})"
        )
    if parts[0] in SECTIONS and parts[1] not in _names(parts[0]):
        known = _names(parts[0])
        guess = nearest(parts[1], known)
        elsewhere = [group for group in SECTIONS if parts[1] in _names(group)]
        if guess is None and elsewhere:
            raise ConfigError(
                f"unknown key '{parts[1]}' in {parts[0]}; did you mean '{elsewhere[0]}.{parts[1]}'? ({given.source})"
            )
        raise ConfigError(f"unknown key '{parts[1]}' in {parts[0]}; {did_you_mean(parts[1], known)} ({given.source})")


def _names(group: str) -> list[str]:
    return list(SECTIONS[group].model_fields) if group in SECTIONS else [*STAGE_KEYS, FALLBACK]


def replace_references(values: Values, environ: Mapping[str, str], variables: dict[str, str]) -> Values:
    """`${VARIABLE}` replaced by its value; a key in clear in a file is refused.

    A key whose variable is not set is dropped, and `variables` (key → variable) remembers what would supply it.
    """
    found: Values = {}
    for key, given in values.items():
        secret = is_secret(key)
        if secret and not given.secret_allowed and not is_reference(given.value):
            raise ConfigError(
                f"{key} stands in clear in a file, where backups and version control keep it; write "
                f"${{{variables.get(key, 'MY_KEY')}}} there and set that variable ({given.source})"
            )
        names = references(given.value)
        if not names or given.source.startswith("environment"):
            found[key] = given
            continue
        unset = [name for name in names if not environ.get(name)]
        if secret:
            variables[key] = names[0]
            if unset:
                continue  # missing, which the command may mend or refuse
        elif unset:
            raise ConfigError(f"{key} refers to ${{{unset[0]}}}, which is not set in the environment ({given.source})")
        text = substitute(str(given.value), environ)
        found[key] = Given(key, text, f"{given.source} (${names[0]})", text, secret_allowed=True)
    return found
