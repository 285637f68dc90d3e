"""A call as a picture: what is asked for is checked, the call is folded, and each page goes to its file."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from callwright.commands._show_text import clean, counted, seconds
from callwright.errors import ConfigError, RecordsError, SetupError
from callwright.records.envelope import envelope
from callwright.records.journal import Entry
from callwright.records.plot import plot
from callwright.records.record import CallRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS_A_PAGE = 30  # five minutes: about 9,000 pixels high


def write(path: Path, record: CallRecord, entries: Sequence[Entry]) -> list[Path]:
    """Draw the call into `path`, a PNG file, and what needs more pages into `path` with -2, -3 … in its name.

    Raises ConfigError for another kind of file, SetupError without matplotlib, RecordsError where nothing can be
    drawn or written.
    """
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--plot {path}: the picture is a PNG file; write --plot {path.with_suffix('.png')}")
    if importlib.util.find_spec("matplotlib") is None:
        raise SetupError("a picture needs matplotlib: pip install 'callwright[plot]'")
    written: list[Path] = []
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for number, figure in enumerate(pages(record, entries), start=1):
            target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            try:
                figure.savefig(target, format="png")
            except OSError as error:
                raise RecordsError(f"cannot write {target}: {error.strerror or error}") from error
            written.append(target)
    return written


def pages(record: CallRecord, entries: Sequence[Entry]) -> Iterator[Figure]:
    """The call's figures, each to be saved before the next is drawn. Raises RecordsError."""
    from callwright.commands._show_page import Page

    first = plot(entries)
    if first is None:
        raise RecordsError(f"call {record.call_id} cannot be drawn: its journal does not say the recording's rate")
    sound, note = None, "not recorded: bars show who spoke, by the journal"
    if record.recording:
        try:
            sound, note = envelope(Path(record.recording), first.rate), ""
        except RecordsError:
            note = "no readable recording: bars show who spoke, by the journal"
    call = (plot(entries, sound.length) if sound else None) or first
    rows = call.rows()
    count = -(-len(rows) // ROWS_A_PAGE)
    for number in range(count):
        title = (
            f"call {record.call_id}  ·  {record.agent}  ·  {record.started.astimezone():%Y-%m-%d %H:%M %Z}  ·  "
            f"{seconds(record.duration_s)}, {counted(record.caller_turns, 'turn')}"
        )
        if count > 1:
            title += f"  ·  page {number + 1} of {count}"
        yield Page(call, sound, clean(title), note).draw(rows[number * ROWS_A_PAGE : (number + 1) * ROWS_A_PAGE])
