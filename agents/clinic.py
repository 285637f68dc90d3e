"""The clinic's calendar: patients and their appointments in one SQLite file.

A slot cannot be booked twice: the database refuses it, whatever anybody says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path
from typing import Literal

PartOfDay = Literal["morning", "afternoon"]

# ---------------------------------------------------------------------------- what tools return


@dataclass(frozen=True)
class Appointment:
    """An appointment that stands. `start` is local time, ISO 8601; `spoken` is how to say it."""

    appointment_id: int
    start: str
    spoken: str
    practitioner: str


@dataclass(frozen=True)
class Patient:
    """A patient on file; `match` is "similar" when the name was only close to the one asked for."""

    patient_id: int
    name: str
    date_of_birth: str
    match: Literal["exact", "similar"]
    appointments: list[Appointment]


@dataclass(frozen=True)
class PatientSearch:
    """The patients a name may mean, best first; `note` says what to do when there is none."""

    patients: list[Patient]
    note: str = ""


@dataclass(frozen=True)
class Slot:
    """A time that is free. `start` is local time, ISO 8601; `spoken` is how to say it."""

    slot_id: str
    start: str
    spoken: str
    practitioner: str


@dataclass(frozen=True)
class FreeSlots:
    """Some of the free times. `today` is the clinic's date; `note` is set when the wish could not be met.

    `exact` is true when a time was wished for and is free; it is then the first of the slots.
    """

    today: str
    slots: list[Slot]
    exact: bool = False
    note: str = ""


@dataclass(frozen=True)
class Booking:
    """What became of a booking, a move or a cancellation. Nothing was changed unless `done` is true."""

    done: bool
    status: Literal["booked", "moved", "cancelled", "taken", "unknown_patient", "unknown_slot", "unknown_appointment"]
    appointment_id: int | None = None
    patient: str = ""
    start: str = ""
    spoken: str = ""
    practitioner: str = ""
    alternatives: list[Slot] = field(default_factory=list)


# ---------------------------------------------------------------------------- how times are said

_HOURS = "twelve one two three four five six seven eight nine ten eleven".split()  # noqa: SIM905
_ORDINALS = (  # noqa: SIM905
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth twenty-first "
    "twenty-second twenty-third twenty-fourth twenty-fifth twenty-sixth twenty-seventh twenty-eighth "
    "twenty-ninth thirtieth thirty-first"
).split()


def spoken_time(at: time) -> str:
    """A time on the half hour in words: 09:00 is "nine o'clock", 14:30 is "two thirty"."""
    hour = _HOURS[at.hour % 12]
    return f"{hour} thirty" if at.minute == 30 else f"{hour} o'clock"


def spoken_start(start: datetime, today: date) -> str:
    """A start in words; the date is left out within the coming week, where the weekday says it all."""
    days_ahead = (start.date() - today).days
    if days_ahead == 0:
        day = "today"
    elif days_ahead == 1:
        day = "tomorrow"
    elif days_ahead < 7:
        day = f"{start:%A}"
    else:
        day = f"{start:%A}, {start:%B} {_ORDINALS[start.day - 1]},"
    return f"{day} at {spoken_time(start.time())}"


# ---------------------------------------------------------------------------- the calendar

_SCHEMA = """
CREATE TABLE IF NOT EXISTS patients (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, date_of_birth TEXT NOT NULL, UNIQUE (name, date_of_birth)
);
CREATE TABLE IF NOT EXISTS practitioners (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS appointments (
    id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patients (id),
    practitioner_id TEXT NOT NULL REFERENCES practitioners (id),
    start TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'cancelled'))
);
CREATE UNIQUE INDEX IF NOT EXISTS one_patient_at_a_time
    ON appointments (practitioner_id, start) WHERE status = 'active';
CREATE UNIQUE INDEX IF NOT EXISTS one_place_at_a_time
    ON appointments (patient_id, start) WHERE status = 'active';
"""
_PATIENTS = (
    ("Mary Johnson", "1984-03-12"),
    ("Robert Anderson", "1957-11-02"),
    ("David Miller", "1990-07-25"),
    ("Helen Carter", "1972-01-30"),
    ("Richard Brown", "1965-09-08"),
)
_PRACTITIONERS = (("bell", "Doctor Bell"), ("grant", "Doctor Grant"))
# Every half hour from nine to five, closed from twelve to one.
_SEEDED = 4  # appointments that a new calendar begins with
_DAY_STARTS = tuple(time(9 + half // 2, 30 * (half % 2)) for half in range(16) if half not in (6, 7))
_HORIZON_DAYS = 60
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SIMILAR = 0.72  # a name heard over the phone: "susan trailer" is Susan Taylor, "mary anderson" is not Mary Johnson


class Calendar:
    """Patients and their appointments in one SQLite file.

    Every method is blocking and opens its own connection, so that it can run in any thread. Slots are not
    stored: a slot is a half hour of a working day within 60 days that no active appointment holds.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], datetime] = datetime.now) -> Calendar:
        """Open the calendar, creating it with a handful of patients and appointments if it is new."""
        path.parent.mkdir(parents=True, exist_ok=True)
        calendar = cls(path, now)
        with calendar._connection() as db:
            db.executescript(_SCHEMA)
            db.execute("BEGIN IMMEDIATE")  # two processes may open a new file at the same moment
            if db.execute("SELECT count(*) FROM patients").fetchone()[0] == 0:
                calendar._seed(db)
        return calendar

    def find_patient(self, name: str, date_of_birth: str | None = None) -> PatientSearch:
        """Patients of that name, or of a similar one, best first, with their coming appointments."""
        with self._connection() as db:
            rows = db.execute("SELECT id, name, date_of_birth FROM patients").fetchall()
            scored = sorted(((_likeness(name, row["name"]), row) for row in rows), key=lambda pair: -pair[0])
            close = [(score, row) for score, row in scored if score >= _SIMILAR]
            if any(score == 1 for score, _ in close):
                close = [(score, row) for score, row in close if score == 1]
            if date_of_birth is not None and len(close) > 1:
                close = [(score, row) for score, row in close if row["date_of_birth"] == date_of_birth] or close
            patients = [
                Patient(
                    row["id"],
                    row["name"],
                    row["date_of_birth"],
                    "exact" if score == 1 else "similar",
                    self._appointments(db, row["id"]),
                )
                for score, row in close[:3]
            ]
        return PatientSearch(patients, "" if patients else "Nobody by that name. Ask for first and last name again.")

    def free_slots(
        self,
        day: str | None = None,
        part_of_day: PartOfDay | None = None,
        near_time: str | None = None,
        *,
        limit: int = 4,
    ) -> FreeSlots:
        """Up to `limit` free slots on the wished day or, if it is full, on the days after it.

        `day` is a weekday, "today", "tomorrow" or an ISO date; anything else is treated as no wish, and the
        note says so. Without `near_time` (HH:MM) they are an hour or more apart, earliest first; with it, the
        nearest comes first.
        """
        today = self._now().date()
        wished = parse_day(day, today) if day else None
        near = parse_time(near_time) if near_time else None
        note = ""
        if day and wished is None:
            note = f"The day {day!r} was not understood; these are the next free times."
        free = self._free(wished or today, part_of_day)
        exact = False
        if near is None:
            slots = self._spread(free, limit, same_day=wished is not None)
        else:
            first = next(free, None)
            that_day = [first, *takewhile(lambda slot: slot.start[:10] == first.start[:10], free)] if first else []
            by_start = {slot.start: slot for slot in reversed(that_day)}  # one doctor of each time is enough
            slots = sorted(by_start.values(), key=lambda slot: _minutes_from(near, slot))[:limit]
            exact = bool(slots) and _minutes_from(near, slots[0]) == 0
            if slots and not exact:
                note = "That time is not free; these are the nearest."
        if wished is not None and slots and slots[0].start[:10] != wished.isoformat():
            note, exact = "Nothing free on that day; these are the next free times after it.", False
        if not slots:
            note = "Nothing free in the coming weeks."
        return FreeSlots(f"{today:%A}, {today.isoformat()}", slots, exact, note)

    def book(self, patient_id: int, slot_id: str) -> Booking:
        """Book a free slot for a patient; "taken" with alternatives when somebody else was faster."""
        slot = self._slot(slot_id)
        if slot is None:
            return Booking(False, "unknown_slot", alternatives=self._alternatives(None))
        practitioner, start = slot
        with self._connection() as db:
            patient = _patient_name(db, patient_id)
            if patient is None:
                return Booking(False, "unknown_patient")
            try:
                cursor = db.execute(
                    "INSERT INTO appointments (patient_id, practitioner_id, start) VALUES (?, ?, ?)",
                    (patient_id, practitioner, _iso(start)),
                )
            except sqlite3.IntegrityError:
                db.rollback()
                return Booking(False, "taken", patient=patient, alternatives=self._alternatives(start))
            return self._told(db, "booked", _row_id(cursor), patient)

    def move(self, appointment_id: int, slot_id: str) -> Booking:
        """Move an appointment to a free slot in one step: it never stands at both times nor at none."""
        slot = self._slot(slot_id)
        if slot is None:
            return Booking(False, "unknown_slot", appointment_id, alternatives=self._alternatives(None))
        practitioner, start = slot
        with self._connection() as db:
            patient = _holder(db, appointment_id)
            if patient is None:
                return Booking(False, "unknown_appointment", appointment_id)
            try:
                db.execute(
                    "UPDATE appointments SET practitioner_id = ?, start = ? WHERE id = ?",
                    (practitioner, _iso(start), appointment_id),
                )
            except sqlite3.IntegrityError:
                db.rollback()
                return Booking(False, "taken", appointment_id, patient, alternatives=self._alternatives(start))
            return self._told(db, "moved", appointment_id, patient)

    def cancel(self, appointment_id: int) -> Booking:
        """Cancel an appointment; its slot is free again at once."""
        with self._connection() as db:
            patient = _holder(db, appointment_id)
            if patient is None:
                return Booking(False, "unknown_appointment", appointment_id)
            told = self._told(db, "cancelled", appointment_id, patient)
            db.execute("UPDATE appointments SET status = 'cancelled' WHERE id = ?", (appointment_id,))
            return told

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that commits when the block ends well, and is closed in any case."""
        with closing(sqlite3.connect(self._path, timeout=5.0)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA foreign_keys = ON")
            with db:
                yield db

    def _seed(self, db: sqlite3.Connection) -> None:
        db.executemany("INSERT INTO patients (name, date_of_birth) VALUES (?, ?)", _PATIENTS)
        db.executemany("INSERT INTO practitioners (id, name) VALUES (?, ?)", _PRACTITIONERS)
        days = list(_working_days(self._now().date() + timedelta(days=1)))
        taken = (  # patient (by order above), practitioner, working day from tomorrow, hour
            (2, "bell", 2, time(9)),
            (3, "bell", 4, time(14, 30)),
            (4, "grant", 1, time(10, 30)),
            (5, "bell", 0, time(11)),
        )
        db.executemany(
            "INSERT INTO appointments (patient_id, practitioner_id, start) VALUES (?, ?, ?)",
            [(patient, doctor, _iso(datetime.combine(days[n], at))) for patient, doctor, n, at in taken],
        )

    def _appointments(self, db: sqlite3.Connection, patient_id: int) -> list[Appointment]:
        now = self._now()
        rows = db.execute(
            "SELECT a.id, a.start, p.name FROM appointments a "
            "JOIN practitioners p ON p.id = a.practitioner_id "
            "WHERE a.patient_id = ? AND a.status = 'active' AND a.start >= ? ORDER BY a.start",
            (patient_id, _iso(now)),
        )
        return [
            Appointment(
                row["id"],
                row["start"],
                spoken_start(datetime.fromisoformat(row["start"]), now.date()),
                row["name"],
            )
            for row in rows
        ]

    def _free(self, first: date, part_of_day: PartOfDay | None) -> Iterator[Slot]:
        now = self._now()
        with self._connection() as db:
            taken = {
                (row["practitioner_id"], row["start"])
                for row in db.execute("SELECT practitioner_id, start FROM appointments WHERE status = 'active'")
            }
            doctors = db.execute("SELECT id, name FROM practitioners ORDER BY id").fetchall()
        for day in _working_days(first, now.date() + timedelta(days=_HORIZON_DAYS)):
            for at in _DAY_STARTS:
                start = datetime.combine(day, at)
                if start < now + timedelta(minutes=30):
                    continue
                if part_of_day is not None and (at.hour < 12) != (part_of_day == "morning"):
                    continue
                for doctor in doctors:
                    if (doctor["id"], _iso(start)) not in taken:
                        slot_id = f"{doctor['id']}-{start:%Y%m%d-%H%M}"
                        yield Slot(slot_id, _iso(start), spoken_start(start, now.date()), doctor["name"])

    @staticmethod
    def _spread(free: Iterable[Slot], limit: int, *, same_day: bool) -> list[Slot]:
        """The first slots an hour or more apart: a choice for the caller, not nine and half past nine."""
        chosen: list[Slot] = []
        for slot in free:
            if chosen:
                if same_day and slot.start[:10] != chosen[0].start[:10]:
                    break
                gap = datetime.fromisoformat(slot.start) - datetime.fromisoformat(chosen[-1].start)
                if gap < timedelta(hours=1):
                    continue
            chosen.append(slot)
            if len(chosen) == limit:
                break
        return chosen

    def latest_booking(self) -> tuple[str, str] | None:
        """The patient's name and the start of the appointment made last, if it still stands."""
        with self._connection() as db:
            row = db.execute(
                "SELECT p.name, a.start FROM appointments a JOIN patients p ON p.id = a.patient_id "
                "WHERE a.status = 'active' AND a.id > ? ORDER BY a.id DESC LIMIT 1",
                (_SEEDED,),
            ).fetchone()
            return None if row is None else (str(row["name"]), str(row["start"]))

    def _alternatives(self, near: datetime | None) -> list[Slot]:
        return self._spread(self._free((near or self._now()).date(), None), 3, same_day=False)

    def _slot(self, slot_id: str) -> tuple[str, datetime] | None:
        """Practitioner and start of a slot id; None if the clinic has no such slot."""
        practitioner, _, stamp = slot_id.partition("-")
        try:
            start = datetime.strptime(stamp, "%Y%m%d-%H%M")
        except ValueError:
            return None
        known = practitioner in dict(_PRACTITIONERS)
        open_then = start.weekday() < 5 and start.time() in _DAY_STARTS
        return (practitioner, start) if known and open_then and start > self._now() else None

    def _told(
        self,
        db: sqlite3.Connection,
        status: Literal["booked", "moved", "cancelled"],
        appointment_id: int,
        patient: str,
    ) -> Booking:
        row = db.execute(
            "SELECT a.start, p.name FROM appointments a "
            "JOIN practitioners p ON p.id = a.practitioner_id WHERE a.id = ?",
            (appointment_id,),
        ).fetchone()
        spoken = spoken_start(datetime.fromisoformat(row["start"]), self._now().date())
        return Booking(True, status, appointment_id, patient, row["start"], spoken, row["name"])


def parse_day(day: str, today: date) -> date | None:
    """The date of "today", "tomorrow", a weekday (the next one, never today) or an ISO date, else None."""
    words = day.strip().lower()
    if words == "today":
        return today
    if words == "tomorrow":
        return today + timedelta(days=1)
    for number, name in enumerate(_WEEKDAYS):
        if name in words:
            return today + timedelta(days=(number - today.weekday() - 1) % 7 + 1)
    try:
        return date.fromisoformat(words)
    except ValueError:
        return None


def parse_time(text: str) -> time | None:
    """The time of day meant by HH:MM; None if it is none."""
    try:
        return time.fromisoformat(text.strip().zfill(5))
    except ValueError:
        return None


def _minutes_from(wished: time, slot: Slot) -> int:
    start = datetime.fromisoformat(slot.start)
    return abs((start.hour - wished.hour) * 60 + start.minute - wished.minute)


def _working_days(first: date, last: date | None = None) -> Iterator[date]:
    last = last or first + timedelta(days=_HORIZON_DAYS)
    while first <= last:
        if first.weekday() < 5:
            yield first
        first += timedelta(days=1)


def _likeness(asked: str, name: str) -> float:
    """1 for the same words, else the mean likeness of first and last name (each must be close on its own)."""
    heard, written = asked.lower().split(), name.lower().split()
    if any(heard[i : i + len(written)] == written for i in range(len(heard))):
        return 1.0  # also with a word too many: "mary johnson please"
    if len(heard) != len(written):
        return 0.99 * SequenceMatcher(None, " ".join(heard), " ".join(written)).ratio()
    parts = [SequenceMatcher(None, a, b).ratio() for a, b in zip(heard, written, strict=True)]
    return 0.99 * sum(parts) / len(parts) if min(parts) >= 0.6 else 0.0


def _patient_name(db: sqlite3.Connection, patient_id: int) -> str | None:
    row = db.execute("SELECT name FROM patients WHERE id = ?", (patient_id,)).fetchone()
    return None if row is None else str(row["name"])


def _holder(db: sqlite3.Connection, appointment_id: int) -> str | None:
    row = db.execute(
        "SELECT p.name FROM appointments a JOIN patients p ON p.id = a.patient_id "
        "WHERE a.id = ? AND a.status = 'active'",
        (appointment_id,),
    ).fetchone()
    return None if row is None else str(row["name"])


def _row_id(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None  # an INSERT that did not raise has one
    return cursor.lastrowid


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
