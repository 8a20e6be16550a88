"""Smart-meter readings: which slots can have one, and how far it is from what the auction gave.

Whole volume ticks; net energy below zero was drawn from the grid. Nothing here knows how readings are sent or kept.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from market.calendar import Calendar
from market.slots import SLOT_MINUTES, SLOTS


@dataclass(frozen=True, slots=True)
class Metered:
    """One slot's energy in volume ticks: a prosumer's meter tells the first two, a consumer's the third."""

    solar_generation: int | None = None
    net_energy: int | None = None
    energy_consumption: int | None = None

    def deviation(self, cleared: int | None) -> int | None:
        """Metered minus cleared volume, in ticks: what a prosumer gave minus what it sold, what a consumer took minus
        what it bought. None while `cleared` is: the auction has not given its result."""
        metered = self.energy_consumption if self.net_energy is None else self.net_energy
        return None if cleared is None or metered is None else metered - cleared


def last_ended_slot(calendar: Calendar, day: date, now: datetime) -> int:
    """The last slot of `day` that is over at `now`, as are all before it; 0 while none is, 96 once the day is."""
    passed = (now - calendar.slot_start(day, 1)) // timedelta(minutes=SLOT_MINUTES)
    return min(max(passed, 0), SLOTS)
