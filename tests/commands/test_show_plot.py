"""`callwright show ID --plot FILE.png`: nothing in the picture hides anything else, and what is wrong is one line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from callwright.clock import ManualClock
from callwright.commands import _show_plot, show
from callwright.errors import CallwrightError
from callwright.records import events as e
from callwright.records.calls import load
from callwright.records.database import Database
from callwright.records.journal import Journal, read
from callwright.records.plot import Stretch, Utterance
from callwright.records.recording import Recording

pytest.importorskip("matplotlib", reason="matplotlib is not installed (callwright[plot])")
from callwright.commands._show_page import NUDGE, WIDTH, portion
from callwright.commands._show_sheet import DPI, Block, stack

RATE = 8_000
ANSWER = "It costs $5 or $10 at a_b^c, and that is a considerably long sentence without any pause for breath in it."


def words(text: str, start_s: float, word_s: float, *, estimated: bool = False) -> tuple[e.HeardWord, ...]:
    def sample(place: float) -> int:
        return round((start_s + place * word_s) * RATE)

    return tuple(
        e.HeardWord(word, sample(place), sample(place + 0.9), estimated) for place, word in enumerate(text.split())
    )


def said(turn: int, text: str, role: str, start_s: float, word_s: float = 0.25, unheard: str = "") -> list[e.Event]:
    """All events of one utterance; with something unheard it was cut off."""
    heard = words(text, start_s, word_s)
    end = heard[-1].end if heard else round((start_s + 0.1) * RATE)
    return [
        e.AgentSpeechStarted(turn, round(start_s * RATE)),
        e.AgentSpeechEnded(turn, end, interrupted=bool(unheard)),
        e.AgentText(turn, text, role, bool(unheard), heard, unheard, remembered=role != "filler"),
    ]


def asked(turn: int, text: str, start_s: float, end_s: float) -> list[e.Event]:
    end = round(end_s * RATE)
    return [e.SpeechStarted(round(start_s * RATE)), e.SpeechEnded(end), e.TurnStarted(turn, text, end)]


async def hold(
    database: Path, call_id: str, recording: Path | None, happened: list[tuple[float, list[e.Event]]]
) -> None:
    clock = ManualClock()
    with Database.open(str(database)) as opened:
        async with await Journal.open(opened, call_id, clock) as journal:
            path = str(recording) if recording else None
            journal.append(e.CallStarted("front$desk", "demo", {}, {}, path, RATE))
            journal.append(e.RecordingClock(0))
            for at_s, events in happened:
                clock.advance(ms=at_s * 1000 - clock.monotonic_ns() / 1e6)
                for event in events:
                    journal.append(event)
            journal.append(e.CallEnded("caller_left", "the caller hung up", ok=True))


CROWDED: list[tuple[float, list[e.Event]]] = [
    (2.0, said(0, "Hello, how can I help you?", "greeting", 0.5, 0.2)),
    (4.0, asked(1, "I would like to know what that costs and $whether$ you have it at all, please.", 2.5, 3.5)),
    (4.1, asked(2, "Quickly!", 3.7, 3.9)),
    (4.2, [e.ToolStarted(2, f"t{number}", "look_up_prices", {}) for number in range(4)]),
    (4.3, [e.ToolEnded(2, f"t{number}", "look_up_prices", ok=number > 1, result=1) for number in range(3)]),
    (4.3, [e.ToolPending(2, "t3", "look_up_prices"), e.ToolJoined(2, "t4", "look_up_prices", {}, run="t3")]),
    (4.6, [e.StageTroubled(2, "llm", "anthropic", "no_first_token", 700, "hedge")]),
    (4.7, [e.StageTroubled(2, "llm", "anthropic", "refused", 20, "next")]),
    (5.0, said(2, "One moment.", "filler", 4.4, 0.15)),
    (9.0, said(2, ANSWER, "answer", 5.0, 0.12, unheard="Nobody hears these words, however many there are. " * 3)),
    (9.1, asked(3, "Stop.", 7.4, 8.0)),
    (9.3, said(3, "", "answer", 8.2, unheard="Of course.")),
    (20.0, said(3, ANSWER, "statement", 9.0, 0.5)),
    (21.0, [e.ToolEnded(2, "t3", "look_up_prices", ok=False, result=None, error="it has not ended")]),
    (21.5, [e.ToolLate(2, "t3", "look_up_prices", ok=True, result=1)]),
    (22.0, said(3, "Goodbye, goodbye.", "farewell", 20.0, 0.1)),
]


BARS = (
    "look_up_prices  failed, 100 ms",
    "look_up_prices  joined",
    "look_up_prices  17300 ms, not waited for, late",
    "llm no first token: hedge",
    "llm refused: next",
    "trouble",
)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALLWRIGHT_DATABASE", str(tmp_path / "calls.db"))
    return tmp_path / "calls.db"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    tone = (8_000 * np.sin(np.arange(2 * RATE) / 5)).astype("<i2").tobytes()
    with Recording(path, RATE) as file:
        file.agent(RATE // 2, tone)
        file.caller(3 * RATE, tone)
        file.agent(20 * RATE, tone)
    return path


def run(*arguments: str) -> Result:
    app = typer.Typer()
    show.register(app)
    return CliRunner().invoke(app, list(arguments))


def refused(*arguments: str) -> CallwrightError:
    error = run(*arguments).exception
    assert isinstance(error, CallwrightError), error
    assert "\n" not in str(error)
    assert error.exit_code
    return error


def texts(database: Path, call_id: str) -> Iterator[list[tuple[str, float, float, float, float]]]:
    """Every text of every page, with its left, lower, right and upper edge in pixels."""
    with Database.open(str(database)) as opened:
        pages = _show_plot.pages(load(opened, call_id), read(opened, call_id))
    for figure in pages:
        figure.canvas.draw()
        extents = [(text.get_text(), text.get_window_extent()) for axes in figure.axes for text in axes.texts]
        yield [(text, box.x0, box.y0, box.x1, box.y1) for text, box in extents if text]


def test_a_call_becomes_a_picture(database: Path, recording: Path, tmp_path: Path) -> None:
    asyncio.run(hold(database, "c", recording, CROWDED))
    result = run("c", "--plot", str(tmp_path / "c.png"))
    assert result.exit_code == 0, result.exception
    assert result.stdout == f"{tmp_path / 'c.png'}\n"
    picture = (tmp_path / "c.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    width, height = (int.from_bytes(picture[place : place + 4]) for place in (16, 20))
    assert 1_500 < width < 2_500
    assert 500 < height < 2_000


@pytest.mark.parametrize("recorded", [True, False])
def test_no_text_touches_another_or_leaves_the_page(database: Path, recording: Path, *, recorded: bool) -> None:
    asyncio.run(hold(database, "c", recording if recorded else None, CROWDED))
    (page,) = texts(database, "c")
    shown = [text for text, *_ in page]
    for one in ("cut", "$5", "“Hello, how can I help you?”", "nothing", "not kept", *BARS):
        assert one in shown, one
    assert ("not recorded: bars show who spoke, by the journal" in shown) is not recorded
    width = WIDTH / 72 * DPI
    for text, left, lower, right, _ in page:
        assert left >= 0, text
        assert lower >= 0, text
        assert right <= width, text
    for (one, left, lower, right, upper), (other, left2, lower2, right2, upper2) in combinations(page, 2):
        across = min(right, right2) - max(left, left2)
        down = min(upper, upper2) - max(lower, lower2)
        assert across <= 0.5 or down <= 1.5, f"{one!r} touches {other!r}"


def test_the_context_is_shown_word_for_word(database: Path, recording: Path) -> None:
    asyncio.run(hold(database, "c", recording, CROWDED))
    (page,) = texts(database, "c")
    drawn = " ".join(text for text, *_ in page)
    for text in ("Hello, how can I help you?", ANSWER, "Goodbye, goodbye."):
        assert f"“{text}”" in drawn


def test_what_is_missing_is_said_in_the_picture(database: Path, tmp_path: Path) -> None:
    asyncio.run(hold(database, "c", tmp_path / "gone.wav", CROWDED))
    (page,) = texts(database, "c")
    assert "no readable recording: bars show who spoke, by the journal" in [text for text, *_ in page]


def test_a_long_call_needs_pages(database: Path, tmp_path: Path) -> None:
    turns = [(second + 3.0, said(0, "One two three.", "answer", second)) for second in range(0, 420, 4)]
    asyncio.run(hold(database, "c", None, turns))
    result = run("c", "--plot", str(tmp_path / "c.png"))
    assert result.stdout.split() == [str(tmp_path / "c.png"), str(tmp_path / "c-2.png")]
    assert (tmp_path / "c-2.png").stat().st_size > 10_000


def test_a_call_that_broke_off_at_once_still_has_a_picture(database: Path, tmp_path: Path) -> None:
    asyncio.run(hold(database, "c", None, []))
    assert run("c", "--plot", str(tmp_path / "c.png")).exit_code == 0


def test_a_letter_that_the_font_lacks_is_no_error(
    database: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    asyncio.run(hold(database, "c", None, [(3.0, asked(1, "予約 🎧 \x1b[2J please", 1, 2))]))
    assert run("c", "--plot", str(tmp_path / "c.png")).exit_code == 0
    assert not recwarn.list


def test_what_is_wrong_is_told_in_a_line(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(hold(database, "call-1", None, CROWDED[:2]))
    picture = str(tmp_path / "c.png")
    assert "c.png" in str(refused("call-1", "--plot", str(tmp_path / "c.jpg")))
    assert "--json" in str(refused("call-1", "--plot", picture, "--json"))
    assert "the nearest are call-1" in str(refused("call-2", "--plot", picture))
    assert "No such file or directory" in str(refused("call-1", "--plot", str(tmp_path / "nowhere" / "c.png")))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'callwright[plot]'" in str(refused("call-1", "--plot", picture))
    assert not list(tmp_path.glob("*.png"))


@given(
    st.lists(st.tuples(st.floats(0, 300), st.floats(1, 90), st.integers(1, 3)), max_size=25),
    st.sampled_from([0.0, NUDGE]),
)
def test_stacked_blocks_never_touch(sizes: list[tuple[float, float, int]], nudge: float) -> None:
    blocks = [Block(x, width, ("",) * lines) for x, width, lines in sizes]
    placed = stack(blocks, gap=2, nudge=nudge)
    assert all(given.x <= block.x <= given.x + nudge for given, (_, block) in zip(blocks, placed, strict=True))
    for (line, one), (line2, other) in combinations(placed, 2):
        left, right = sorted((one, other), key=lambda block: block.x)
        if line < line2 + len(other.lines) and line2 < line + len(one.lines):
            assert right.x >= left.x + left.width + 2


def test_a_text_that_goes_on_in_the_next_row_is_parted_between_words() -> None:
    text = "that  that is, that."
    spoken = words("that that is, that.", 0, 1)
    utterance = Utterance(1, "answer", text, spoken, 0, 4 * RATE, None, "", remembered=True)
    rows = [Stretch(0, RATE), Stretch(RATE, 3 * RATE), Stretch(3 * RATE, 9 * RATE), Stretch(9 * RATE, 10 * RATE)]
    assert [portion(utterance, row) for row in rows] == [
        ("that", True, False),
        ("that is,", False, False),
        ("that.", False, True),
        ("", False, False),
    ]
