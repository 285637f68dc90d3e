"""Play a caller's script in a room: the steps one after the other, whatever the agent does."""

from __future__ import annotations

from collections.abc import Callable

from callwright.simulators.caller import Caller
from callwright.simulators.caller_report import CallerReport, turns
from callwright.simulators.errors import SimulatorError
from callwright.simulators.script import Cough, Dtmf, HangUp, Say, Script, Silence, Step, Wait

OnStep = Callable[[int, Step], None]


async def run_script(script: Script, caller: Caller, on_step: OnStep | None = None) -> CallerReport:
    """Do the steps, hang up, and report; a call that ends before (the agent leaves) is reported, not an
    error.

    `on_step(number from 1, step)` is called before each step. What the caller will say is rendered first, so
    that no step waits for the engine.
    """
    for text in script.texts:
        await caller.prepare(text)
    done = mute_waits = 0
    for number, step in enumerate(script.steps, 1):
        if caller.ended is not None:
            break
        if on_step is not None:
            on_step(number, step)
        try:
            answered = await _do(step, caller)
        except SimulatorError:
            if caller.ended is None:
                raise
            break  # the call ended while something was being said
        mute_waits += not answered and caller.ended is None
        done += caller.ended is None or isinstance(step, HangUp)
    await caller.hang_up()
    tape = caller.tape
    return CallerReport(
        turns=turns(tape),
        utterances=tuple(tape.utterances),
        ended=caller.ended or "caller",
        steps_done=done,
        steps=len(script.steps),
        unsaid=sum(isinstance(step, Say) for step in script.steps[done:]),
        mute_waits=mute_waits,
    )


async def _do(step: Step, caller: Caller) -> bool:
    """False if the step waited for the agent in vain."""
    match step:
        case Wait(agent_words=None):
            return await caller.agent_quiet(step.quiet_ms, step.timeout_s)
        case Wait(agent_words=int(count)):
            return await caller.agent_words(count, step.timeout_s)
        case Say(kind="start_saying"):
            await caller.start_say(step.text)
        case Say():
            await caller.say(step.text)
        case Cough():
            await caller.cough(step.duration_s, step.dbfs)
        case Silence():
            await caller.pause(step.seconds)
        case Dtmf():
            await caller.dtmf(step.digits)
        case HangUp():
            await caller.hang_up()
    return True
