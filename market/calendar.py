"""Delivery days and their gates: which Indian calendar day is meant, and the instant its book closes.

Pure arithmetic on an instant that the caller gives: nothing here reads a clock, and the database, not this
module, decides whether a gate is still open when a bid is written.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from market.slots import SLOT_MINUTES, SLOTS

ZONE: Final = ZoneInfo("Asia/Kolkata")

_ONE_DAY: Final = timedelta(days=1)
_ZONE_NEEDED: Final = "the present moment needs a time zone: use datetime.now(UTC)"
_NEVER: Final = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), date.min
_CLOCK: Final = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?").fullmatch


class GateClosureError(ValueError):
    """A gate closure that is no time of the day before delivery; the text continues a sentence."""


def parse_gate_closure(value: object) -> timedelta:
    """`24:00`, `10:30` or `23:59:30` as the time that has passed of the day before delivery, in (0, 24 h]."""
    match = _CLOCK(value) if isinstance(value, str) else None
    if match is not None:
        hours, minutes, seconds = (int(part) for part in match.groups(default="0"))
        closure = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        if minutes < 60 and seconds < 60 and timedelta(0) < closure <= _ONE_DAY:
            return closure
    raise GateClosureError(
        "must be a quoted time of the day before delivery, after 00:00 and up to 24:00, "
        'like "10:30", "23:59:30" or "24:00"'
    )


@dataclass(frozen=True, slots=True)
class Calendar:
    """The market's calendar; `gate_closure` is the time of the day before delivery, in (0, 24 h].

    Every `now` must carry a time zone; which one does not matter. Instants come back in UTC.
    """

    gate_closure: timedelta = _ONE_DAY
    # One entry: the open day that was asked for last, and between which instants it is that.
    _open_days: list[tuple[datetime, datetime, date]] = field(
        default_factory=lambda: [_NEVER], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not timedelta(0) < self.gate_closure <= _ONE_DAY or self.gate_closure.microseconds:
            raise GateClosureError("must be in whole seconds, more than 0 and at most 24 hours")

    def today(self, now: datetime) -> date:
        """The calendar day in India at `now`."""
        if now.utcoffset() is None:
            raise ValueError(_ZONE_NEEDED)
        return now.astimezone(ZONE).date()

    def gate_at(self, day: date) -> datetime:
        """The instant from which delivery day `day` takes no bid, change or withdrawal."""
        day_before = datetime(day.year, day.month, day.day, tzinfo=ZONE) - _ONE_DAY
        return (day_before + self.gate_closure).astimezone(UTC)

    def open_day(self, now: datetime) -> date:
        """The earliest delivery day after today whose gate still lies ahead of `now`."""
        if now.tzinfo is None:
            raise ValueError(_ZONE_NEEDED)
        begins, ends, day = self._open_days[0]
        if not begins <= now < ends:
            tomorrow = self.today(now) + _ONE_DAY
            day = tomorrow if now < self.gate_at(tomorrow) else tomorrow + _ONE_DAY
            # It stays so from the gate of the day before it to its own: nearly everyone asks within one such day.
            self._open_days[0] = self.gate_at(day - _ONE_DAY), self.gate_at(day), day
        return day

    def slot_start(self, day: date, slot: int) -> datetime:
        """The instant at which slot 1..96 of `day` begins."""
        if not 1 <= slot <= SLOTS:
            raise ValueError(f"slot {slot} does not exist: a day has slots 1 to {SLOTS}")
        midnight = datetime(day.year, day.month, day.day, tzinfo=ZONE)
        return (midnight + timedelta(minutes=SLOT_MINUTES * (slot - 1))).astimezone(UTC)
