"""A page of a call's picture: rows of two lanes of sound, the words where they sounded, and what the context keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from callwright.commands._show_sheet import BETWEEN, INK, Block, Sheet, stack
from callwright.commands._show_text import clean
from callwright.records.bars import ToolBar, TroubleBar
from callwright.records.envelope import Envelope, Outline
from callwright.records.plot import LONGEST_ROW_S, Plot, Stretch, Utterance

# Lengths are points (1/72 inch). A second is as wide as an ordinary second of speech is at this size of letters.
SECOND = 68.0
LEFT, RIGHT, BOTTOM = 62.0, 34.0, 14.0
WIDTH = LEFT + LONGEST_ROW_S * SECOND + RIGHT
SMALL, LINE = 6.8, 10.5
LANE, AXIS, ROW_GAP, PAD = 26.0, 10.0, 18.0, 3.0
NUDGE = 6.0  # rather than on another line, a word stands so much (90 ms) after its mark
UNHEARD = 130.0  # the least room for what was not heard, before it is shortened

# Okabe and Ito's palette (jfly.uni-koeln.de/color), which the colour-blind can tell apart.
COLOURS = {
    "greeting": "#009E73",
    "answer": "#0072B2",
    "filler": "#E69F00",
    "statement": "#D55E00",
    "farewell": "#CC79A7",
}
OTHER = "#56B4E9"
CALLER, SOUND, FAINT, GROUND, GRID = "#5A5A5A", "#BDBDBD", "#8A8A8A", "#F5F5F5", "#E2E2E2"


def portion(said: Utterance, row: Stretch) -> tuple[str, bool, bool]:
    """The part of its text that begins to sound in `row`, and whether the text begins and ends there."""
    inside = [index for index, word in enumerate(said.words) if word.start in row]
    places: list[int] = []
    searched = 0
    for word in said.words:
        places.append(said.text.find(word.text, searched))
        searched = places[-1] + len(word.text)
    if not inside or min(places) < 0:
        return (said.text, True, True) if said.start in row else ("", False, False)
    first, after = inside[0], inside[-1] + 1
    begin = places[first] if first else 0
    end = places[after] if after < len(places) else len(said.text)
    return said.text[begin:end].strip(), first == 0, after == len(places)


@dataclass(frozen=True, slots=True)
class _Word:
    """One line of text with its block's place and its own style."""

    block: Block
    colour: str
    italic: bool = False
    struck: int = -1  # from which letter on it is struck out


@dataclass(frozen=True, slots=True)
class _Bar:
    """A tool's or a trouble's bar, its text, and the block that holds both."""

    block: Block
    x: float
    width: float
    colour: str
    text: str
    text_x: float
    inside: bool


class Page:
    """Draws rows onto one figure, from the top down; y counts points from the page's upper edge.

    A method that draws a part of a row takes the y where the part begins and returns the y where it ends.
    """

    def __init__(self, call: Plot, sound: Envelope | None, title: str, note: str) -> None:
        self._call, self._sound, self._title, self._note = call, sound, title, note
        self._sheet = Sheet(WIDTH)

    def draw(self, rows: Sequence[Stretch]) -> Figure:
        title = self._sheet.shortened(self._title, WIDTH - LEFT - 8, size=10, bold=True)
        self._sheet.text(LEFT, 22, title, size=10, bold=True)
        y = self._legend(38)
        for row in rows:
            y = self._row(row, y) + ROW_GAP
        return self._sheet.cut(y - ROW_GAP + BOTTOM)

    def _legend(self, y: float) -> float:
        said, x = self._call.utterances, LEFT
        for role in dict.fromkeys(utterance.role for utterance in said):
            self._sheet.box(x, y - 6, 7, 7, _colour(role))
            x = self._sheet.text(x + 10, y, clean(role), colour=_ink(role)) + 14
        if any(utterance.unheard for utterance in said):
            x = self._sheet.text(x, y, "not heard", colour=FAINT, struck=0) + 14
        if any(word.estimated for utterance in said for word in utterance.words):
            x = self._sheet.text(x, y, "slanted: a place reckoned from the sound", colour=FAINT, italic=True) + 14
        if self._note:
            y += LINE + 1
            self._sheet.text(LEFT, y, self._note, colour=_ink("statement"), bold=True)
        return y + BOTTOM

    # -- a row

    def _row(self, row: Stretch, y: float) -> float:
        y += AXIS
        self._times(row, y - 2)
        top = y
        caller = y = self._caller_words(row, y)
        sound = self._sound
        y = self._lane(row, y, "caller", sound.caller if sound else None, [(CALLER, self._call.caller)])
        y = self._troubles(row, self._tools(row, y + 2))
        spoken = [(_colour(said.role), (Stretch(said.start, said.end),)) for said in self._call.utterances]
        agent = y
        y = self._lane(row, y, "agent", sound.agent if sound else None, [(SOUND, self._call.agent), *spoken])
        self._cuts(row, caller, agent, y)
        self._grid(row, top, y)
        y = self._agent_words(row, y + 1)
        return self._context(row, y + PAD)

    def _times(self, row: Stretch, y: float) -> None:
        rate = self._call.rate
        for second in self._ticks(row):
            if second % 2 == 0:
                long = self._call.length >= 60 * rate
                shown = f"{second // 60}:{second % 60:02}" if long else f"{second} s"
                x = self._x(row, second * rate)
                self._sheet.text(x - self._sheet.measure(shown, SMALL) / 2, y, shown, size=SMALL, colour=FAINT)

    def _grid(self, row: Stretch, top: float, bottom: float) -> None:
        for second in self._ticks(row):
            x = self._x(row, second * self._call.rate)
            self._sheet.line((x, x), (top, bottom), GRID, 0.6, zorder=0.5)

    def _ticks(self, row: Stretch) -> range:
        return range(-(-row.start // self._call.rate), row.end // self._call.rate + 1)

    def _caller_words(self, row: Stretch, y: float) -> float:
        turns = [turn for turn in self._call.turns if turn.start in row]
        blocks = self._blocks(row, [(turn.start, turn.end, clean(turn.text)) for turn in turns])
        words = [_Word(block, INK) for block in blocks]
        return self._stacked(words, y, up=True) + (2 if blocks else 0)

    def _lane(
        self,
        row: Stretch,
        y: float,
        name: str,
        outline: Outline | None,
        layers: Sequence[tuple[str, Sequence[Stretch]]],
    ) -> float:
        """A lane's sound, or bars in its place; later layers colour over earlier ones."""
        end = self._x(row, row.end)
        self._name(name, y + LANE / 2 + 2.5)
        self._sheet.box(LEFT, y, end - LEFT, LANE, GROUND, zorder=0)
        self._sheet.line((LEFT, end), (y + LANE / 2, y + LANE / 2), GRID, 0.6, zorder=0.6)
        if outline is not None:
            self._outline(row, y, outline, row, layers[0][0])
        for colour, stretches in layers:
            for stretch in stretches:
                inside = Stretch(max(stretch.start, row.start), min(stretch.end, row.end))
                if inside.start >= inside.end:
                    continue
                if outline is not None:
                    self._outline(row, y, outline, inside, colour)
                else:
                    x = self._x(row, inside.start)
                    self._sheet.box(x, y + LANE / 3, self._x(row, inside.end) - x, LANE / 3, colour)
        return y + LANE

    def _outline(self, row: Stretch, y: float, outline: Outline, part: Stretch, colour: str) -> None:
        assert self._sound
        hop = self._sound.hop
        columns = np.arange(part.start // hop, min(-(-part.end // hop), len(outline)))
        if not len(columns):
            return
        x = LEFT + (columns * hop - row.start) / self._call.rate * SECOND
        middle, half = y + LANE / 2, LANE / 2 - 1
        low, high = outline[columns, 0], outline[columns, 1]
        self._sheet.shape(x, middle - high * half - 0.2, middle - low * half + 0.2, colour)

    def _tools(self, row: Stretch, y: float) -> float:
        bars = []
        for tool in self._call.tools:
            took = f"{(tool.end - tool.start) * 1000 / self._call.rate:.0f} ms"
            state = {True: took, False: f"failed, {took}", None: "no end recorded"}[tool.ok]
            text = f"{tool.name}  {', '.join(['joined'] if tool.joined else [state, *tool.notes])}"
            bars.append(self._bar(row, tool, text, _ink("statement") if tool.ok is False else CALLER))
        return self._bars("tools", bars, y)

    def _troubles(self, row: Stretch, y: float) -> float:
        bars = []
        for one in self._call.troubles:
            text = f"{one.stage} {one.what}: {one.action}".replace("_", " ")
            bars.append(self._bar(row, one, text, _ink("statement" if one.action == "gave_up" else "filler")))
        return self._bars("trouble", bars, y)

    def _bars(self, name: str, found: Sequence[_Bar | None], y: float) -> float:
        bars = sorted((bar for bar in found if bar), key=lambda bar: bar.block.x)
        if not bars:
            return y
        self._name(name, y + LINE - 3)
        stacked = stack([bar.block for bar in bars])
        for (line, _), bar in zip(stacked, bars, strict=True):
            middle = y + line * LINE + LINE / 2
            self._sheet.box(bar.x, middle - 4, bar.width, 8, bar.colour)
            self._sheet.text(bar.text_x, middle + 2.4, bar.text, size=SMALL, colour="white" if bar.inside else INK)
        return y + (max(line for line, _ in stacked) + 1) * LINE + 1

    def _bar(self, row: Stretch, of: ToolBar | TroubleBar, text: str, colour: str) -> _Bar | None:
        """The bar with its text after it, or where that leaves the page, in it or before it; None in other rows."""
        if of.start >= row.end or max(of.end, of.start + 1) <= row.start:
            return None
        x = self._x(row, max(of.start, row.start))
        width = max(self._x(row, min(of.end, row.end)) - x, 2.0)
        text = clean(text) if of.start in row else ""
        letters = self._sheet.measure(text, SMALL)
        outside = x + width + 3 + letters > WIDTH - 8
        inside = outside and letters + 6 <= width
        text_x = x + 3 if inside else x - 3 - letters if outside else x + width + 3
        left, right = min(x, text_x), max(x + width, text_x + letters)
        return _Bar(Block(left, right - left, (text,)), x, width, colour, text, text_x, inside)

    def _cuts(self, row: Stretch, top: float, agent: float, bottom: float) -> None:
        for cut in self._call.cuts:
            if row.start < cut <= row.end:
                x = self._x(row, cut)
                self._sheet.line((x, x), (top, bottom), INK, 1.2, zorder=4)
                self._sheet.text(x + 2.5, agent + 7, "cut", size=SMALL, bold=True)

    def _agent_words(self, row: Stretch, y: float) -> float:
        words: list[_Word] = []
        for said in self._call.utterances:
            for word in said.words:
                if word.start in row:
                    x, text = self._x(row, word.start), clean(word.text)
                    mark = min(self._x(row, word.end), self._x(row, row.end)) - x - 0.8
                    self._sheet.box(x, y, max(mark, 0.5), 1.6, _colour(said.role))
                    block = self._block(row, x, (text,), italic=word.estimated)
                    words.append(_Word(block, _ink(said.role), italic=word.estimated))
            if said.unheard and said.cut is not None and row.start < said.cut <= row.end:
                x = self._x(row, said.cut) + 2
                following = [self._x(row, next_.start) for next_ in self._call.utterances if next_.start > said.cut]
                room = min([*following, WIDTH - 8]) - x - BETWEEN
                label = "not heard: "
                text = self._sheet.shortened(label + clean(said.unheard), max(room, UNHEARD))
                words.append(_Word(self._block(row, x, (text,)), FAINT, struck=len(label)))
        words.sort(key=lambda word: word.block.x)
        return self._stacked(words, y + 3)

    def _context(self, row: Stretch, y: float) -> float:
        """What the model is shown of it, word for word, in a box under the sound it stands for."""
        kept: list[tuple[Utterance, str]] = []
        for said in self._call.utterances:
            text, first, last = portion(said, row)
            if not text and not (first and last):
                continue
            if not said.remembered:
                text = "not kept" if first else ""
            elif not said.text:
                text = "nothing"
            else:
                text = f"{'“' if first else ''}{text}{'”' if last else ''}"
            if text:
                kept.append((said, text))
        if not kept:
            return y
        self._name("context\nkeeps", y + LINE - 1)
        blocks = self._blocks(row, [(said.start, said.end, clean(text)) for said, text in kept], gap=8)
        stacked = stack(blocks, gap=8)
        for (line, block), (said, _) in zip(stacked, kept, strict=True):
            is_kept = said.remembered and bool(said.text)
            height = len(block.lines) * LINE + 3
            at = y + line * (LINE + 1)
            self._sheet.box(
                block.x - 3, at, block.width + 6, height, _tint(said.role) if is_kept else "white", _colour(said.role)
            )
            for number, shown in enumerate(block.lines):
                self._sheet.text(block.x, at + number * LINE + LINE - 1.5, shown, colour=INK if is_kept else FAINT)
        return y + max(line * (LINE + 1) + len(block.lines) * LINE + 3 for line, block in stacked)

    # -- placing text

    def _x(self, row: Stretch, sample: int) -> float:
        return LEFT + (sample - row.start) / self._call.rate * SECOND

    def _block(self, row: Stretch, x: float, lines: tuple[str, ...], *, italic: bool = False) -> Block:
        """A block that begins at `x`, or as much earlier as it must to stay on the page."""
        width = max(self._sheet.measure(line, italic=italic) for line in lines)
        return Block(max(min(x, WIDTH - 8 - width), LEFT), width, lines)

    def _blocks(self, row: Stretch, texts: Sequence[tuple[int, int, str]], gap: float = BETWEEN) -> list[Block]:
        """Texts with their first and last sample, broken into lines as wide as their sound or the room after it."""
        starts = [self._x(row, max(start, row.start)) for start, _, _ in texts]
        found: list[Block] = []
        for x, following, (_, end, text) in zip(starts, [*starts, WIDTH - 8][1:], texts, strict=True):
            sounding = self._x(row, min(end, row.end)) - x
            room = max(sounding, min(self._sheet.measure(text), following - x - gap), 30.0)
            found.append(self._block(row, x, tuple(self._sheet.wrapped(text, room))))
        return found

    def _stacked(self, words: Sequence[_Word], y: float, *, up: bool = False) -> float:
        """Lines from the top down, or from the bottom `up`; either way they reach down from y."""
        stacked = stack([word.block for word in words], nudge=NUDGE)
        count = max((line + len(block.lines) for line, block in stacked), default=0)
        for (line, block), word in zip(stacked, words, strict=True):
            first = count - line - len(block.lines) if up else line
            for number, text in enumerate(block.lines, start=first + 1):
                at = y + number * LINE - 2
                self._sheet.text(block.x, at, text, colour=word.colour, italic=word.italic, struck=word.struck)
        return y + count * LINE

    def _name(self, name: str, y: float) -> None:
        for number, line in enumerate(name.split("\n")):
            self._sheet.text(
                LEFT - 6 - self._sheet.measure(line, bold=True), y + number * LINE, line, colour=FAINT, bold=True
            )


def _colour(role: str) -> str:
    return COLOURS.get(role, OTHER)


def _ink(role: str) -> str:
    """The role's colour, dark enough to be read as letters on white."""
    return _mixed(_colour(role), 0, 0.68)


def _tint(role: str) -> str:
    return _mixed(_colour(role), 255, 0.12)


def _mixed(colour: str, with_grey: int, share: float) -> str:
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part * share + with_grey * (1 - share)):02X}" for part in parts)
