"""Where the recording's samples lie on the journal's clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from callwright.records import events
from callwright.records.journal import Entry


class Timeline:
    """Turns a sample of the recording into a monotonic time, by the `RecordingClock` events of a call.

    Without such an event the start of the recording is estimated: what the caller does is reported after it
    was heard, never before, so the earliest start that any report implies is the best bound. It is late by
    the fastest report (the voice detector's wait, about 0.2 s): times that follow are too short by as much.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.rate = 0
        clock: list[tuple[int, int]] = []
        reports: list[tuple[int, int]] = []
        for entry in entries:
            match entry.event:
                case events.CallStarted(audio_rate=rate):
                    self.rate = self.rate or max(rate, 0)
                case events.RecordingClock(sample=sample):
                    clock.append((sample, entry.monotonic_ns))
                case (
                    events.SpeechStarted(sample=sample)
                    | events.SpeechEnded(sample=sample)
                    | events.TurnStarted(end_of_speech_sample=sample)
                ) if sample >= 0:
                    reports.append((sample, entry.monotonic_ns))
                case _:
                    pass
        self.exact = bool(clock)
        if not clock and reports and self.rate:
            clock = [(0, min(moment - self._ns(sample) for sample, moment in reports))]
        self._marks = sorted(clock)

    def at(self, sample: int) -> int | None:
        """The monotonic time of that sample in ns, or None if nothing ties the recording to the clock."""
        if not self._marks or not self.rate:
            return None
        index = max(bisect_right(self._marks, sample, key=lambda mark: mark[0]) - 1, 0)
        marked, moment = self._marks[index]
        return moment + self._ns(sample - marked)

    def _ns(self, samples: int) -> int:
        return round(samples * 1_000_000_000 / self.rate)
