"""The 96 quarter hours of a delivery day: their names, and what a client may write for them.

Slots are numbers 1..96 everywhere; texts belong to the edge. Days, clocks and time zones live in calendar.py.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

SLOTS: Final = 96
SLOT_MINUTES: Final = 15

_TIMES: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?:-([0-9]{1,2}):([0-9]{2}))?").fullmatch
_DAY_MINUTES: Final = SLOTS * SLOT_MINUTES
_UNKNOWN: Final = "must be a slot like 10:00-10:15, its start like 10:00, or its number from 1 to 96"


class SlotError(ValueError):
    """A time slot that does not exist; the text continues a sentence that begins with its name."""


def _clock(quarter: int) -> str:
    hours, minutes = divmod(quarter * SLOT_MINUTES, 60)
    return f"{hours:02d}:{minutes:02d}"


SLOT_NAMES: Final = ("", *(f"{_clock(slot - 1)}-{_clock(slot)}" for slot in range(1, SLOTS + 1)))
"""The name of slot 1..96 at its place: for loops over slots that are known to exist; see `format_slot`."""


def _spellings() -> dict[str, int]:
    """Every accepted text of a single slot: its number, its start, both ends; hours with one digit or two."""
    spellings = {}
    for slot, name in enumerate(SLOT_NAMES[1:], start=1):
        start, end = name.split("-")
        ends = {end, "00:00"} if slot == SLOTS else {end}
        starts = {start, start.removeprefix("0")}
        spellings[str(slot)] = slot
        spellings.update(dict.fromkeys(starts, slot))
        for closing in ends | {text.removeprefix("0") for text in ends}:
            spellings.update({f"{opening}-{closing}": slot for opening in starts})
    return spellings


SLOT_OF_TEXT: Final[Mapping[str, int]] = _spellings()
"""Slot 1..96 of each text that names a single slot: the look-up that spares nearly every bid a parse."""

_SINGLE: Final = tuple(range(slot, slot + 1) for slot in range(SLOTS + 1))


def parse_timeslot(value: object) -> range:
    """The consecutive slots (1..96) that a client means.

    `10:00-10:15`, `10:00` and a number 1..96 (a text or a JSON number) are one slot, a longer aligned range
    is each slot in it. A range may end at the day's end, written 24:00 or 00:00. Raises SlotError, and
    TypeError for a float, which JSON numbers never are here.
    """
    if isinstance(value, str):
        slot = SLOT_OF_TEXT.get(value)
        return _parse_range(value) if slot is None else _SINGLE[slot]
    if isinstance(value, float):
        raise TypeError("a binary float reached a time slot; parse JSON numbers as Decimal")
    if isinstance(value, int) and not isinstance(value, bool):
        return _parse_number(value)
    # 37.0 is the number 37 to every JSON client; NaN and infinities have no order to be compared by.
    if isinstance(value, Decimal) and value.is_finite():
        return _parse_number(value)
    raise SlotError(_UNKNOWN)


def _parse_number(value: int | Decimal) -> range:
    if not 1 <= value <= SLOTS or value != int(value):
        raise SlotError("must be a slot number from 1 to 96")
    return _SINGLE[int(value)]


def _parse_range(value: str) -> range:
    match = _TIMES(value)
    if match is None:
        raise SlotError(_UNKNOWN)
    hours, minutes, end_hours, end_minutes = match.groups()
    start = _minute_of_day(hours, minutes)
    if end_hours is None:
        raise SlotError(_UNKNOWN)
    end = _minute_of_day(end_hours, end_minutes)
    if end == 0 < start:
        end = _DAY_MINUTES
    if end <= start:
        raise SlotError("must end after it starts, like 10:00-10:15; the end of the day is 24:00")
    return range(start // SLOT_MINUTES + 1, end // SLOT_MINUTES + 1)


def _minute_of_day(hours: str, minutes: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > _DAY_MINUTES:
        raise SlotError("must be a time of the day between 00:00 and 24:00")
    if minute % SLOT_MINUTES:
        raise SlotError("must start and end on a quarter hour, like 10:00-10:15")
    return minute


def format_slot(slot: int) -> str:
    """The name of slot 1..96 in answers: `10:00-10:15`; the last one is `23:45-24:00`."""
    if not 1 <= slot <= SLOTS:
        raise SlotError(f"must be a slot number from 1 to {SLOTS}")
    return SLOT_NAMES[slot]


def split_volume(volume_ticks: int, parts: int) -> list[int]:
    """`volume_ticks` over `parts` slots in equal shares; ticks left over go to the earliest, one each.

    Raises SlotError where a slot would be left without a tick: a bid of nothing is no bid.
    """
    if volume_ticks < parts or parts < 1:
        raise SlotError(f"a volume of {volume_ticks} ticks cannot be split over {parts} slots")
    share, left_over = divmod(volume_ticks, parts)
    return [share + 1] * left_over + [share] * (parts - left_over)
