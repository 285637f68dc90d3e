"""`bench overlap`: whole calls in which the caller, or somebody behind them, makes a sound over each answer.

Half of the sounds are interruptions, half only sound like one. Vendors' stand-ins with the usual delays; the
ears are told what a recogniser would plausibly write, or really listen (`ears="pocketsphinx"`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from pydantic import JsonValue

from callwright.bench import ear
from callwright.bench.agenda import Agenda, Job
from callwright.bench.ground import Ground, GroundCall, Say
from callwright.bench.heard_scenes import RULES, SCRIPT, WORDS_PER_S
from callwright.bench.latency import ANSWER_LIMIT_S
from callwright.bench.overlap_metrics import Effect, Moment, effect
from callwright.bench.overlap_set import Scene, Utterance, scenes
from callwright.simulators import account, brain_rules, sound, tape
from callwright.simulators.account import AccountSettings, SpokenWord
from callwright.simulators.announce import Announcer
from callwright.simulators.caller import Caller
from callwright.simulators.voice import Speech, Voice

EarKind = Literal["oracle", "pocketsphinx"]

ROUNDS = 6
"""Sounds in one call: the caller's usual level is known from the first question on."""

EARLIEST_S = 0.6
LATEST_S = 2.5
"""A sound comes no earlier than this after the beginning of the answer, no later than this before its end."""

QUIET_MS = 3000
"""So much silence after an answer, and it is over: an agent in doubt may hold its words for nearly as long."""

SILENT_LIMIT_S = 6.0
"""An agent that says nothing more for so long after a sound has dropped the answer without another."""

POLL_S = 0.02


@dataclass(frozen=True)
class Plan:
    """What to run: `sounds` sounds with every system, `concurrency` calls at once."""

    systems: tuple[str, ...]
    sounds: int = 96
    concurrency: int = 2
    seed: int = 0
    ears: EarKind = "oracle"

    def scenes(self) -> list[Scene]:
        """The callers; the same for every system."""
        return scenes(self.seed, -(-self.sounds // ROUNDS), ROUNDS)

    def settings(self, seed: int) -> AccountSettings:
        """How the vendors behave towards one call."""
        return AccountSettings(seed=seed, ears=self.ears, brain_rules=str(RULES), keep_speech=True)


@dataclass(frozen=True)
class Round:
    """One question, and the sound over its answer. `onset` (tape samples) is None if it was never made.

    `asked` and `until` delimit the answer on the tape: the end of its question, the beginning of the next one.
    """

    utterance: Utterance
    answer: str
    asked: int
    onset: int | None = None
    until: int = 0


@dataclass(frozen=True)
class CallResult:
    """One call as it was judged; an effect for every round. `failure` says why it did not run to its end."""

    system: str
    number: int
    scene: Scene
    effects: tuple[Effect, ...]
    settings: dict[str, JsonValue] = field(default_factory=dict)
    failure: str = ""


@dataclass
class Results:
    """What has been judged so far; complete or not, it can be reported at any time."""

    calls: list[CallResult] = field(default_factory=list)

    def held(self, system: str) -> int:
        """How many calls of the system have been judged."""
        return sum(call.system == system for call in self.calls)


async def run(plan: Plan, results: Results, say: Say) -> None:
    """Hold all calls of `plan`, one line of progress each, and put what they gave into `results`.

    A call that fails is a result too. Raises SimulatorError when there is no ground to measure on.
    """
    staged = plan.scenes()
    async with Ground(plan.systems, RULES, say) as ground:
        agenda = Agenda(("",), plan.systems, lambda _, system: results.held(system), wanted=len(staged))
        while jobs := agenda.round(plan.concurrency):
            for held in await asyncio.gather(*(_hold(ground, plan, job, staged[job.number]) for job in jobs)):
                results.calls.append(await held.judged())  # listening takes the processor: not beside a call
                say(f"{agenda.progress()}  {progress(results.calls[-1])}")
            for job in jobs:
                agenda.ended(job)


def progress(result: CallResult) -> str:
    """One call in one line."""
    line = f"{result.system}, call {result.number}: {', '.join(_verdict(effect) for effect in result.effects) or '–'}"
    return f"{line}; FAILED: {result.failure}" if result.failure else line


def _verdict(effect: Effect) -> str:
    if effect.unjudged:
        return f"{effect.kind} not judged"
    if effect.kind == "interruption":
        return f"{effect.kind} {'yielded' if effect.yielded else 'MISSED'}"
    return f"{effect.kind} {'kept' if effect.kept else 'LOST'}"


@dataclass(frozen=True)
class _Question:
    """What the caller asks, and all that the agent will answer."""

    text: str
    answer: str

    @property
    def length_s(self) -> float:
        return len(self.answer.split()) / WORDS_PER_S


def _questions(rounds: int, seed: int) -> list[_Question]:
    """Questions of the information desk.

    From the end of its list on: of two topics in one message (nothing was said between them) it takes the first.
    """
    rules = brain_rules.load(RULES)
    said = {rule.name: rule.say for rule in rules.rules}
    topics = [(name, phrases[0]) for name, phrases in rules.slots["topic"].choices.items()]
    chosen = sorted((((seed * rounds + number) % len(topics)) for number in range(rounds)), reverse=True)
    return [_Question(f"Tell me about the {topics[at][1]}.", said[topics[at][0]]) for at in chosen]


class _Mouth:
    """The caller's voice, and whoever else is heard through the caller's microphone. A `Speaker` for `Caller`.

    `voice` and `gain` hold for what is said next.
    """

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self.voice: str | None = None
        self.gain = 1.0

    async def speak(self, text: str, *, voice: str, rate: int, speed: float) -> Speech:
        speech = await self._voice.speak(text, voice=self.voice or voice, rate=rate, speed=speed)
        loud = np.frombuffer(speech.pcm, "<i2") * self.gain
        return replace(speech, pcm=np.clip(loud, -32768, 32767).astype("<i2").tobytes())


class _Whisper:
    """Tells the oracle ears what a recogniser would write; None says nothing to them.

    The caller's own words are written as they are. Of a voice in the background, softer by 15 to 25 dB, every
    second sentence is written word for word as if it were the caller's; of the others, of coughs and of what
    recognisers leave out ("uh-huh") nothing is written.
    """

    def __init__(self) -> None:
        self._announcer: Announcer | None = None
        self.text: str | None = None

    def through(self, announcer: Announcer) -> _Whisper:
        """Itself, speaking through `announcer` from now on."""
        self._announcer = announcer
        return self

    async def __call__(self, said: account.Utterance) -> None:
        if not self.text or self._announcer is None:
            return
        written = self.text.split()
        spans = said.words
        if len(written) != len(spans):  # "Mm-hmm" is one word in writing and two in speech
            each = said.duration / len(written)
            spans = tuple(
                SpokenWord(word=word, start=at * each, end=(at + 1) * each) for at, word in enumerate(written)
            )
        await self._announcer(account.Utterance(text=self.text, words=spans, duration=said.duration))


def level_dbfs(pcm: bytes, rate: int) -> float:
    """The average level (RMS) of the loud windows of s16le mono speech; -100 for silence."""
    samples = np.frombuffer(pcm, "<i2")
    size = rate * sound.WINDOW_MS // 1000
    windows = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    loud = windows[sound.loud_windows(samples, rate)]
    return float(10 * np.log10((loud**2).mean() / 32768**2)) if len(loud) else -100.0


async def _hold(ground: Ground, plan: Plan, job: Job, scene: Scene) -> _Held:
    """One call from its order to its end."""
    seed = plan.seed + job.number
    mouth = _Mouth(ground.voice)
    async with ground.call(
        job.system,
        f"overlap-{job.system}-{job.number}",
        plan.settings(seed),
        agent=SCRIPT,
        voice=mouth,
        voice_name=scene.voice,
        noise_dbfs=scene.noise_dbfs,
        announced=(ears := _Whisper()).through,
    ) as call:
        talk = _Talk(call.caller, mouth, ears, scene, seed)
        await talk.prepare()
        async with call.joined():
            call.failure = await talk.hold()
    result = CallResult(job.system, job.number, scene, (), dict(call.settings), call.failure)
    return _Held(result, call, talk.rounds)


class _Talk:
    """The caller's side of one call."""

    def __init__(self, caller: Caller, mouth: _Mouth, ears: _Whisper, scene: Scene, seed: int) -> None:
        self.caller = caller
        self._scene = scene
        self._questions = _questions(len(scene.utterances), seed)
        self._mouth = mouth
        self._ears = ears
        self._rng = np.random.default_rng(seed)
        self._usual_db = 0.0
        self._gains: dict[Utterance, float] = {}
        self.rounds: list[Round] = []

    async def prepare(self) -> None:
        """Render everything, and see how loud the caller usually is."""
        levels = []
        for question in self._questions:
            speech = await self.caller.prepare(question.text)
            levels.append(level_dbfs(speech.pcm, speech.rate))
        self._usual_db = float(np.median(levels))
        for utterance in self._scene.utterances:
            if utterance.spoken:
                self._as(utterance)
                speech = await self.caller.prepare(utterance.spoken)
                level_db = self._usual_db - utterance.below_db - level_dbfs(speech.pcm, speech.rate)
                self._gains[utterance] = 10 ** (level_db / 20)
        self._as(None)

    def _as(self, utterance: Utterance | None) -> None:
        """Speak like this from now on; None: as usual."""
        behind = utterance is not None and utterance.kind == "background"
        self._mouth.voice = self._scene.other if behind else None
        self._mouth.gain = self._gains.get(utterance, 1.0) if utterance else 1.0

    async def hold(self) -> str:
        """Ask everything, and make each sound over its answer; why it was not possible, "" if it was."""
        caller = self.caller
        await caller.agent_quiet(QUIET_MS / 3, ANSWER_LIMIT_S)
        for question, utterance in zip(self._questions, self._scene.utterances, strict=True):
            self._ears.text = question.text
            asked = await caller.say(question.text)
            onset = None
            begun_s = await self._begun()
            if begun_s is not None:
                wait_s = begun_s + self._rng.uniform(EARLIEST_S, question.length_s - LATEST_S) - time.monotonic()
                await caller.pause(max(0.0, wait_s))
                onset = await self._sound(utterance)
                await caller.agent_quiet(QUIET_MS, SILENT_LIMIT_S)
            self.rounds.append(Round(utterance, question.answer, asked.end, onset, caller.tape.now()))
            if caller.ended is not None:
                return f"the call ended after '{question.text}': {caller.ended}"
        return ""

    async def _begun(self) -> float | None:
        """When the answer began to sound; None if it does not in time."""
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while self.caller.watch.begun_s is None and time.monotonic() < deadline:
            if not await self.caller.pause(POLL_S):
                break
        return self.caller.watch.begun_s

    async def _sound(self, utterance: Utterance) -> int:
        """Make the sound; where on the tape it begins to be loud."""
        self._ears.text = utterance.text
        self._as(utterance)
        if utterance.spoken:
            made = await self.caller.say(utterance.spoken)
        else:
            made = await self.caller.cough(utterance.length_s, self._usual_db - utterance.below_db)
        self._as(None)
        onset = sound.onset(self.caller.tape.sent_samples(), tape.RATE, made.start, made.end)
        return made.start if onset is None else onset


@dataclass(frozen=True)
class _Held:
    """A call that is over and not judged yet."""

    result: CallResult
    call: GroundCall
    rounds: list[Round]

    async def judged(self) -> CallResult:
        effects = await asyncio.to_thread(self._effects, await self.call.sources())
        return replace(self.result, effects=effects)

    def _effects(self, sources: list[ear.Source]) -> tuple[Effect, ...]:
        samples = self.call.caller.tape.heard_samples()
        heard = ear.listen(sources, samples)
        found = []
        for one in self.rounds:
            kind = one.utterance.kind
            if one.onset is None:
                found.append(Effect(kind, unjudged="the question was not answered"))
                continue
            span = range(one.asked, one.until)
            own = [n for n, source in enumerate(sources) if round(source.at_s * tape.RATE) in span]
            found.append(
                effect(
                    kind,
                    Moment(one.onset, one.until),
                    one.answer,
                    [sources[n] for n in own],
                    [heard[n] for n in own],
                    samples,
                )
            )
        missing = self.result.scene.utterances[len(self.rounds) :]
        return (*found, *(Effect(one.kind, unjudged="the call had ended") for one in missing))
