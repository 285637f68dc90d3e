"""Finding a row of the vendor table by what a user wrote."""

from __future__ import annotations

from callwright.errors import ConfigError
from callwright.stage import Stage
from callwright.suggest import did_you_mean
from callwright.vendors.row import Vendor
from callwright.vendors.table import ROWS


def names(stage: Stage) -> list[str]:
    """The vendors there are for `stage`."""
    return [row.name for row in ROWS if row.stage == stage]


def find(stage: Stage, name: str) -> Vendor:
    """The row of vendor `name` for `stage`; a ConfigError with the nearest right name if there is none."""
    for row in ROWS:
        if row.stage == stage and row.name == name:
            return row
    elsewhere = sorted({row.stage for row in ROWS if row.name == name})
    if elsewhere:
        raise ConfigError(
            f"vendor '{name}' is for {', '.join(elsewhere)}, not for {stage}; known: {', '.join(names(stage))}"
        )
    raise ConfigError(f"unknown vendor '{name}' for {stage}; {did_you_mean(name, names(stage))}")
