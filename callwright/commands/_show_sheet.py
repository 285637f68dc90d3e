"""A sheet to draw on, in points from its upper left corner; and how texts keep out of each other's way on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle

DPI = 150
SIZE = 7.8  # of letters, in points like every length
INK = "#222222"
BETWEEN = 2.8  # texts on one line keep this distance


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of text to stand at `x` or a little later; `width` is that of its longest line."""

    x: float
    width: float
    lines: tuple[str, ...]


def stack(blocks: Sequence[Block], gap: float = BETWEEN, nudge: float = 0.0) -> list[tuple[int, Block]]:
    """The blocks, each with the line on which it begins: the first from which on it touches none before it.

    Lines count from 0. A block rather moves right by `nudge` than down.
    """
    ends: list[float] = []
    found: list[tuple[int, Block]] = []
    for block in blocks:
        line = 0
        while any(end > block.x + nudge for end in ends[line : line + len(block.lines)]):
            line += 1
        below = line + len(block.lines)
        block = replace(block, x=max([block.x, *ends[line:below]]))
        ends += [float("-inf")] * (below - len(ends))
        ends[line:below] = [block.x + block.width + gap] * len(block.lines)
        found.append((line, block))
    return found


class Sheet:
    """A figure whose height is known only in the end; knows how wide a text will be before it is drawn."""

    def __init__(self, width: float) -> None:
        self.width = width
        self._figure = Figure(figsize=(width / 72, 1), dpi=DPI, facecolor="white")
        self._renderer = FigureCanvasAgg(self._figure).get_renderer()  # type: ignore[no-untyped-call]
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._widths: dict[tuple[str, float, bool, bool], float] = {}

    def cut(self, height: float) -> Figure:
        """The figure, so high."""
        self._axes.set_xlim(0, self.width)
        self._axes.set_ylim(height, 0)
        self._figure.set_size_inches(self.width / 72, height / 72)
        return self._figure

    def measure(self, text: str, size: float = SIZE, *, italic: bool = False, bold: bool = False) -> float:
        """How wide the text will be."""
        key = (text, size, italic, bold)
        if key not in self._widths:
            font = FontProperties(
                size=size, style="italic" if italic else "normal", weight="bold" if bold else "normal"
            )
            width, _, _ = self._renderer.get_text_width_height_descent(text, font, False)
            self._widths[key] = width * 72 / DPI
        return self._widths[key]

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = SIZE,
        colour: str = INK,
        bold: bool = False,
        italic: bool = False,
        struck: int = -1,
    ) -> float:
        """Put text on the line at y, struck out from one of its letters on; returns where it ends.

        What comes from a call is never read as mathematics.
        """
        self._axes.text(
            x,
            y,
            text,
            fontsize=size,
            color=colour,
            weight="bold" if bold else "normal",
            style="italic" if italic else "normal",
            parse_math=False,
            zorder=5,
        )
        end = x + self.measure(text, size, italic=italic, bold=bold)
        if struck >= 0:
            begin = x + self.measure(text[:struck], size, italic=italic, bold=bold)
            self.line((begin, end), (y - size * 0.3, y - size * 0.3), colour, 0.7, zorder=6)
        return end

    def line(self, x: tuple[float, float], y: tuple[float, float], colour: str, width: float, zorder: float) -> None:
        self._axes.plot(x, y, color=colour, linewidth=width, zorder=zorder, solid_capstyle="butt")

    def box(
        self, x: float, y: float, width: float, height: float, face: str, edge: str = "none", zorder: float = 1.5
    ) -> None:
        self._axes.add_patch(
            Rectangle((x, y), width, height, facecolor=face, edgecolor=edge, linewidth=0.7, zorder=zorder)
        )

    def shape(self, x: npt.ArrayLike, upper: npt.ArrayLike, lower: npt.ArrayLike, colour: str) -> None:
        """Fill between two curves of steps."""
        self._axes.fill_between(x, upper, lower, step="post", color=colour, linewidth=0, zorder=2)

    def wrapped(self, text: str, room: float) -> list[str]:
        """The text in lines no wider than `room`; a longer word has a line of its own."""
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.measure(longer) > room:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def shortened(self, text: str, room: float, *, size: float = SIZE, bold: bool = False) -> str:
        """As much of the text as there is room for, with … where it goes on."""
        shown = text
        while self.measure(shown, size, bold=bold) > room:
            shown = shown.rstrip("…")[:-1].rstrip() + "…"
        return shown
