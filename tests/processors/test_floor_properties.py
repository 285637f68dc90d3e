"""What the context keeps is what left for the caller: random conversations on a virtual clock, no sound.

The real playback, floor, keeper and history; before them a voice that makes what the schedule says, behind
them a source that plays it in real time. Every sample is a number of its own, so that what was heard is
read off the source's own tape, by a reference that knows nothing of the floor.
"""

from __future__ import annotations

import asyncio
import selectors
from dataclasses import dataclass, field
from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pipecat.frames.frames import Frame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.utils.text.base_text_aggregator import TextType

from callwright.playback import Playback
from callwright.playout import Playout
from callwright.records.events import AgentText
from callwright.speech import Piece, Role, Utterance, UtteranceEnd
from callwright.speech_queue import Chunk
from processors.floor import Settled
from processors.floor_keeper import FloorKeeper
from processors.memory import History

RATE = 1000
"""One sample is one millisecond; the floor asks for more only where it must listen."""


# -- a loop whose time passes by itself


class _Jump(selectors.SelectSelector):
    """Never waits: time jumps to what is due next."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits for somebody else"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def now() -> int:
    """Milliseconds, and samples."""
    return round(asyncio.get_running_loop().time() * RATE)


# -- the room's source


class Source:
    """Plays what it is sent, in real time; `tape` is what the caller got: (when, sample)."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: list[tuple[int, int]] = []
        self._empty_at = 0
        self._played: list[tuple[int, int]] = []
        self.deaf: list[tuple[int, int | None]] = []

    @property
    def open(self) -> bool:
        return True

    def queued(self) -> int:
        return max(0, self._empty_at - now())

    async def send(self, pcm: bytes) -> bool:
        for sample in np.frombuffer(pcm, np.uint16).tolist():
            at = max(now(), self._empty_at)
            self._waiting.append((at, sample))
            self._empty_at = at + 1
        while self.queued() > self._capacity:  # noqa: ASYNC110
            await asyncio.sleep((self.queued() - self._capacity) / RATE)
        return True

    def clear(self) -> None:
        self._let_go()
        self._waiting.clear()
        self._empty_at = now()

    def _let_go(self) -> None:
        gone = [one for one in self._waiting if one[0] < now()]
        self._waiting = self._waiting[len(gone) :]
        self._played += gone

    @property
    def tape(self) -> list[tuple[int, int]]:
        self._let_go()
        return [one for one in self._played if not any(a <= one[0] < (10**9 if b is None else b) for a, b in self.deaf)]


# -- what is said


@dataclass
class Word:
    text: str
    length: int
    gap: int
    first: int = 0  # number of its first sample


@dataclass
class Plan:
    """An utterance: stretches of pieces of words, each stretch after `lead` ms of silence."""

    role: Role
    remembered: bool
    stretches: list[list[list[Word]]]
    chunk: int
    pace: float
    early_times: bool
    rest: int
    lead: int = 0
    utterance: Utterance | None = None

    @property
    def words(self) -> list[Word]:
        return [word for stretch in self.stretches for piece in stretch for word in piece]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass
class Step:
    after: int
    what: str
    late: int


words = st.builds(
    Word,
    st.sampled_from(["so", "so", "we", "open", "at", "nine", "on", "Monday", "then", "close", "late"]),
    st.integers(1, 150),
    st.sampled_from([0, 0, 0, 7, 60]),
)
plans = st.builds(
    Plan,
    st.sampled_from(["answer", "answer", "statement", "greeting"]),
    st.booleans() | st.just(True),
    st.lists(st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=3), min_size=1, max_size=2),
    st.sampled_from([13, 40, 100, 1000]),
    st.sampled_from([0.0, 0.2, 0.8, 1.2]),
    st.booleans(),
    st.sampled_from([0, 0, 30, 500]),
    st.sampled_from([0, 7, 200, 600]),
)
steps = st.lists(
    st.builds(
        Step,
        st.integers(0, 60) | st.integers(0, 800),
        st.sampled_from(["hold", "release", "hold again", "release again", "cut", "cut", "lose", "restore"]),
        st.integers(0, 3),
    ),
    max_size=8,
)


# -- the conversation


@dataclass
class Conversation:
    """One run. `over` holds, for each utterance, what the floor said of it and what the tape said then."""

    plans: list[Plan]
    steps: list[Step]
    capacity: int
    over: dict[Utterance, tuple[Settled, bool, str]] = field(default_factory=dict)
    by: dict[Utterance, Plan] = field(default_factory=dict)
    notes: list[AgentText] = field(default_factory=list)
    captions: dict[Utterance, list[str]] = field(default_factory=dict)
    after_cut: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = LLMContext()
        self.source = Source(self.capacity)
        self.playback = Playback(RATE, self)
        self.playout = Playout(RATE)
        self.speech: Any = None
        self.rate = RATE
        scribe = SimpleNamespace(interrupted=lambda: None, answering=lambda turn: None, note=self.notes.append)
        parts: Any = SimpleNamespace(
            room=self, voice=SimpleNamespace(), scribe=scribe, turn=1, on_close=lambda closer: None
        )
        self.keeper = FloorKeeper(parts)
        self.history = History(self.context)
        self.keeper.tell(heard=lambda u, text: self.captions.setdefault(u, []).append(text), settled=self._settled)
        self._numbers = count(1000)  # as a sound: all of them are audible
        self._stretches = count()
        self._cuts = 0
        self._turn = asyncio.Event()

    # what the playback tells, as the room passes it on
    def submitted(self, chunk: Chunk, index: int, queued: int) -> None:
        position = self.playout.submit(chunk.samples + chunk.padding, now=now(), queued=queued)
        self.keeper.submitted(chunk, index, position)

    def played(self, index: int) -> None:
        self.keeper.played(index)

    def silenced(self, index: int, dropped: int) -> None:
        self.keeper.silenced(index)
        self.playout.clear(dropped)

    def _settled(self, settled: Settled, cut: bool) -> None:
        utterance = settled.utterance
        assert utterance not in self.over, "over twice"
        self.over[utterance] = settled, cut, self.truth(self.by[utterance])
        self.history.settle(settled, cut=cut)

    def truth(self, plan: Plan) -> str:
        """The words of which half was on the tape in one go, up to the last one."""
        runs: list[list[int]] = []
        for _, sample in self.source.tape:
            if runs and runs[-1][1] == sample:
                runs[-1][1] += 1
            elif sample:
                runs.append([sample, sample + 1])
        heard = [
            any(2 * (min(b, word.first + word.length) - max(a, word.first)) >= word.length for a, b in runs)
            for word in plan.words
            if word.first
        ]
        assert heard == sorted(heard, reverse=True), "a word was left out in the middle"
        return " ".join(word.text for word in plan.words[: sum(heard)])

    # who plays
    async def run(self) -> None:
        async def push(frame: Frame) -> None:
            if isinstance(frame, UtteranceEnd):
                self.keeper.ended(frame.utterance)

        async def sounding(_: bool) -> None:
            pass

        player = asyncio.create_task(self.playback.run(self.source, push, sounding))
        voice = asyncio.create_task(self._voice())
        try:
            for step in self.steps:
                await asyncio.sleep(step.after / RATE)
                await self._do(step)
            for reason in ("overlap", "maybe speech"):
                self.keeper.release(reason)
            self._restore()
            async with asyncio.timeout(120):
                await voice
                while self.keeper.floor.busy:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            for task in (player, voice):
                task.cancel()
            ends = await asyncio.gather(player, voice, return_exceptions=True)
            assert not [end for end in ends if isinstance(end, Exception)], ends

    async def _do(self, step: Step) -> None:
        reason = "maybe speech" if step.what.endswith("again") else "overlap"
        match step.what.split()[0]:
            case "hold":
                self.keeper.hold(reason)
            case "release":
                self.keeper.release(reason)
            case "lose" if not self._lost:
                self.source.deaf.append((now(), None))
                self.keeper.connection(False)
            case "restore":
                self._restore()
            case "cut":
                await self._cut(step.late)

    @property
    def _lost(self) -> bool:
        return bool(self.source.deaf) and self.source.deaf[-1][1] is None

    def _restore(self) -> None:
        if self._lost:
            self.source.deaf[-1] = self.source.deaf[-1][0], now()
            self.keeper.connection(True)

    async def _cut(self, late: int) -> None:
        """The caller takes the floor; what was on its way still comes for a moment, then the pipeline is clear."""
        self._cuts += 1
        self.keeper.cut()
        assert not self.keeper.floor.busy
        before = self.source.tape
        for number in range(late):
            await asyncio.sleep(0.002)
            self.playback.append(f"late {number}", np.full(50, 9, np.uint16).tobytes())
        if self.source.tape != before:
            self.after_cut.append("something sounded")
        self.playback.cut()  # the room's output, when the InterruptionFrame gets there
        self.playback.accept()
        self._turn.set()

    # who makes it
    async def _voice(self) -> None:
        for plan in self.plans:
            cuts = self._cuts
            await asyncio.sleep(plan.rest / RATE)
            if await self._say(plan, cuts) and cuts == self._cuts:
                continue
            await self._turn.wait()  # nothing new before the pipeline is clear
        self._turn.set()

    async def _say(self, plan: Plan, cuts: int) -> bool:
        if cuts != self._cuts:
            return False
        self._turn.clear()
        plan.utterance = utterance = self.keeper.open(plan.role, remembered=plan.remembered)
        self.by[utterance] = plan
        first = True
        for stretch in plan.stretches:
            name = f"s{next(self._stretches)}"
            at = plan.lead
            silence = [0] * plan.lead
            for piece in stretch:
                text = ("" if first else " ") + " ".join(word.text for word in piece)
                first = False
                utterance.text += text
                self.history.show(utterance)
                frame = Piece(text, TextType.SENTENCE, raw_text=text, utterance=utterance, end=len(utterance.text))
                self.keeper.sent(name, frame)
                timed, samples, silence = [], silence, []
                for word in piece:
                    numbers = [next(self._numbers) for _ in range(word.length + word.gap)]
                    word.first = numbers[0]
                    timed.append((word.text, at / RATE, (at + word.length) / RATE))
                    at += len(numbers)
                    samples += numbers
                if plan.early_times:
                    self.keeper.timed(name, timed)
                sent = at - len(samples)
                for start in range(0, len(samples), plan.chunk):
                    chunk = samples[start : start + plan.chunk]
                    sent += len(chunk)
                    if not plan.early_times:  # a word's time comes with its first sample, or with silence before it
                        due = [one for one in timed if round(one[1] * RATE) < max(sent, plan.lead + 1)]
                        timed = timed[len(due) :]
                        self.keeper.timed(name, due)
                    pcm = np.array(chunk, np.uint16).tobytes()
                    self.playback.append(name, pcm, awaited=self.keeper.made(name, pcm))
                    await asyncio.sleep(len(chunk) * plan.pace / RATE)
                    if cuts != self._cuts:
                        return False
            self.playback.close(name)
            self.keeper.finished(name)
        for name in self.keeper.completed(utterance):
            self.playback.close(name, over=True)
        self.playback.mark(UtteranceEnd(utterance))
        return True


def run(conversation: Conversation) -> None:
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(None)
        loop.run_until_complete(conversation.run())
    finally:
        loop.close()


few = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # to shrink a conversation takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)


@few
@given(st.lists(plans, min_size=1, max_size=4), steps, st.sampled_from([0, 20, 200, 1000]))
def test_the_context_is_what_the_tape_says(said: list[Plan], steps: list[Step], capacity: int) -> None:
    talk = Conversation(said, steps, capacity)
    run(talk)
    assert not talk.after_cut
    opened = [plan for plan in said if plan.utterance is not None]
    for plan in opened:
        assert plan.utterance is not None
        settled, cut, truth = talk.over[plan.utterance]
        assert settled.heard == truth  # at the moment it was over
        assert settled.heard == talk.truth(plan)  # and nothing of it came after
        assert plan.text.startswith(settled.heard)
        assert f"{settled.heard} {settled.unheard}".strip() == plan.utterance.text
        if not cut:
            assert settled.heard == plan.text
        captions = talk.captions.get(plan.utterance, [""])
        assert captions[-1] == settled.heard
        assert all(b.startswith(a) for a, b in pairwise(captions))
    kept = [talk.over[plan.utterance][0] for plan in opened if plan.utterance and plan.remembered]
    messages = talk.context.messages
    assert _content(messages, "assistant") == [one.heard for one in kept if one.heard]
    assert bool(_content(messages, "user")) == any(one.unheard for one in kept)  # one cut, one note


@few
@given(st.lists(plans, min_size=1, max_size=3), st.sampled_from([0, 20, 200, 1000]))
def test_what_nobody_interrupts_is_whole_and_sounds_where_it_is_said_to(said: list[Plan], capacity: int) -> None:
    talk = Conversation(said, [], capacity)
    run(talk)
    assert _content(talk.context.messages, "assistant") == [plan.text for plan in said if plan.remembered]
    assert _content(talk.context.messages, "user") == []
    at = {sample: when for when, sample in talk.source.tape}
    for plan, note in zip(said, talk.notes, strict=True):
        assert not note.interrupted
        assert [word.text for word in note.words] == [word.text for word in plan.words]
        assert [word.start for word in note.words] == [at[word.first] for word in plan.words]


def test_what_is_said_to_nobody_is_not_heard_even_when_words_that_were_under_way_took_the_floor() -> None:
    said = [Plan("answer", True, [[[Word(text, 300, 0) for text in ("we", "open", "late")]]], 100, 1.2, True, 0)]
    again = [Plan("answer", True, [[[Word(text, 300, 0) for text in ("at", "nine")]]], 100, 0.0, True, 0)]
    steps = [Step(400, "lose", 0), Step(50, "cut", 0), Step(500, "restore", 0)]
    talk = Conversation(said + again, steps, 200)
    run(talk)
    assert [talk.truth(plan) for plan in (*said, *again)] == ["we", "at nine"]
    assert _content(talk.context.messages, "assistant") == ["we", "at nine"]


def _content(messages: list[Any], role: str) -> list[str]:
    return [one["content"] for one in messages if one["role"] == role]
