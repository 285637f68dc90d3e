"""The vendors: `find` a row by stage and name, `build` the Pipecat service that a stage asks for."""

from __future__ import annotations

from callwright.vendors.construct import build
from callwright.vendors.effective import release
from callwright.vendors.endpoint import Root, parse_root, parse_vendor_root
from callwright.vendors.lookup import find, names
from callwright.vendors.render import RenderError
from callwright.vendors.row import CUSTOM_MODEL, Ability, Probe, Setting, Vendor
from callwright.vendors.table import DEFAULTS, ROWS

__all__ = [
    "CUSTOM_MODEL",
    "DEFAULTS",
    "ROWS",
    "Ability",
    "Probe",
    "RenderError",
    "Root",
    "Setting",
    "Vendor",
    "build",
    "find",
    "names",
    "parse_root",
    "parse_vendor_root",
    "release",
]
