"""The front desk of a small clinic: finds patients, offers free appointments, books, moves and cancels them.

    python agents/frontdesk.py --room demo

Its calendar (clinic.py) is a SQLite file: FRONTDESK_CALENDAR, else one in the user's data folder.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path

import platformdirs
from clinic import Booking, Calendar, FreeSlots, PartOfDay, PatientSearch

from callwright import Agent, Call, tool


@cache
def _opened(path: Path) -> Calendar:
    return Calendar.open(path)


def calendar() -> Calendar:
    """The calendar named by FRONTDESK_CALENDAR, else the one in the user's data folder."""
    named = os.environ.get("FRONTDESK_CALENDAR")
    return _opened(Path(named) if named else Path(platformdirs.user_data_dir("callwright")) / "frontdesk.db")


# ---------------------------------------------------------------------------- the tools


@tool(side_effect=False, fillers=("Let me find your file.", "I'm looking you up."))
async def find_patient(name: str, date_of_birth: str | None = None) -> PatientSearch:
    """Find a patient by name, with the appointments they already have. Use it as soon as you know the name.

    Args:
        name: First and last name, as the caller said them.
        date_of_birth: Year-month-day. Only needed when two patients have the same name.
    """
    return await asyncio.to_thread(lambda: calendar().find_patient(name, date_of_birth))


@tool(side_effect=False, fillers=("I'll check the calendar.", "I'm looking at the free times."))
async def free_slots(
    day: str | None = None, part_of_day: PartOfDay | None = None, near_time: str | None = None
) -> FreeSlots:
    """Look up free appointments, and today's date. Only times from this result may be offered.

    The result is a selection: a time that is not in it may still be free, so ask again with near_time.

    Args:
        day: A weekday such as "tuesday", "today", "tomorrow", or year-month-day. Leave out for the earliest.
        part_of_day: Only the morning or only the afternoon. Leave out for the whole day.
        near_time: The wished time of day as HH:MM on the 24-hour clock, if the caller named one.
    """
    return await asyncio.to_thread(lambda: calendar().free_slots(day, part_of_day, near_time))


@tool(fillers=("I'm putting that in for you.",))
async def book(patient_id: int, slot_id: str) -> Booking:
    """Book a free slot for a patient. Call it only after the caller has agreed to this day and time.

    Args:
        patient_id: From find_patient.
        slot_id: From free_slots, unchanged.
    """
    return await asyncio.to_thread(lambda: calendar().book(patient_id, slot_id))


@tool(fillers=("I'm moving it now.",))
async def move(appointment_id: int, slot_id: str) -> Booking:
    """Move an appointment to a free slot. Call it only after the caller has agreed to the new day and time.

    Args:
        appointment_id: From find_patient.
        slot_id: From free_slots, unchanged.
    """
    return await asyncio.to_thread(lambda: calendar().move(appointment_id, slot_id))


@tool(fillers=("I'm taking that out of the calendar.",))
async def cancel(appointment_id: int) -> Booking:
    """Cancel an appointment. Call it only after the caller has agreed to cancel exactly this one.

    Args:
        appointment_id: From find_patient.
    """
    return await asyncio.to_thread(lambda: calendar().cancel(appointment_id))


@tool
async def end_call(farewell: str, call: Call) -> str:
    """Hang up, after a short farewell. Call it when the caller says goodbye or needs nothing more.

    Args:
        farewell: One short sentence, said before the line closes.
    """
    await call.end(farewell)
    return "The call is ending."


# ---------------------------------------------------------------------------- for `callwright demo`


def demo_result() -> dict[str, dict[str, str] | None]:
    """What the demo reports as done: the booking that is now in the calendar."""
    found = calendar().latest_booking()
    return {"booked": {"patient": found[0], "start": found[1]} if found else None}


# ---------------------------------------------------------------------------- the agent

PROMPT = """\
You are the front desk of Riverside Clinic, on the telephone. You help callers to book, move and cancel \
appointments.

How you speak
- Your words are read aloud, so write only what is to be said: plain sentences, no lists, no headings, no \
symbols, no emoji.
- Be brief: one or two short sentences, then let the caller speak. Start with a few words that can be said \
at once, such as "Sure," or "One moment," or "All right,".
- Ask one question at a time.
- Say days and times in words, as people do: "Tuesday at ten thirty", never "10:30" or "2026-11-24". Use \
the spoken form that tool results give you. Never read out an identifier.
- Be warm and calm. Do not repeat the caller's every word, and do not apologise more than once for the \
same thing.

What you hear
- The caller's words come from speech recognition and may be wrong. Think of what they most likely said.
- If you did not understand, ask the caller to say it again; the second time, ask a simpler question, such \
as one for yes or no.
- Callers may interrupt you. Your last message then holds only what they heard. Answer what they said; do \
not start over.
- If the caller says nothing useful, for example "hold on", answer in two or three words and wait.

Booking
1. Ask for the caller's first and last name, and look it up with find_patient. If the match is only \
similar, ask whether that is the right name before you go on. If nobody is found, ask for the name once \
more; after that, say that you cannot find them and that a colleague will call back.
2. Ask which day suits, and call free_slots with it. Days without a date are fine: pass "tuesday" or \
"tomorrow" as it was said.
3. Offer two of the times in the result, and no others. Never invent a time, and never promise one that \
you have not just looked up. If the caller wants another time, look it up with near_time before you say \
whether it is free.
4. When the caller has chosen, read back the day, the time and the doctor, and ask whether to book it.
5. Only after a clear yes, call book. Confirm with day and time once it is done. If the slot was taken \
meanwhile, say so, and offer the alternatives in the result.

Moving and cancelling
- Find the patient first. Name the appointment that you found, so that the caller can say whether it is \
that one.
- To move it, look up free times as for a booking, read back the new day and time, and call move after a \
clear yes.
- To cancel it, ask whether to cancel exactly that appointment, and call cancel after a clear yes.
- Nothing has been booked, moved or cancelled until a tool result says so. If a tool fails, say that it \
did not work, and try once more or offer that a colleague calls back.

Limits
- Give no medical advice. If it sounds like an emergency, tell the caller to hang up and dial the \
emergency number at once.
- Say nothing about any other patient, and do not read out a date of birth.
- For anything that is not about appointments, say kindly that you can only help with appointments here.
- When the caller needs nothing more or says goodbye, call end_call with a short farewell instead of \
writing one.
"""

agent = Agent(
    name="frontdesk",
    prompt=PROMPT,
    greeting="Riverside Clinic, good day. How can I help you?",
    tools=[find_patient, free_slots, book, move, cancel, end_call],
)

if __name__ == "__main__":
    agent.run()
