"""Requests about smart-meter readings, but for the readings of a report themselves (meter_report.py).

What lives here: their schemas and dataclasses, and how a reading is shown. What must not: what is kept of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from marshmallow import fields

from handlers.schemas.base import InvalidRequest, Reading, RequestSchema
from handlers.schemas.bids import TIMESLOT_PATTERN, Day
from handlers.schemas.meter_report import VALUES, MeterRules, ReadingParser
from market.calendar import Calendar
from market.readings import Metered, last_ended_slot
from market.slots import SLOTS, format_slot
from storage.readings import StoredReading


def _value(kind: str, pattern: str, example: str, description: str, **more: Any) -> dict[str, Any]:
    """The JSON schema of a value that meter_report.py reads: a text or a JSON number."""
    shape = {"type": ["string", kind], "pattern": pattern, "maxLength": 40, "examples": [example]}
    return {**shape, "description": description, **more}


def _reading(description: str, **values: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a reading, all of whose fields are required. What else it holds is ignored."""
    slot = _value("integer", TIMESLOT_PATTERN, "10:00-10:15", "A slot that has ended, or its number from 1 to 96")
    properties = {"timeslot": slot, **values}
    return {"type": "object", "description": description, "properties": properties, "required": list(properties)}


_KWH = "^[0-9]+(\\.[0-9]+)?$"
_ANY_KWH = f"^-?{_KWH[1:]}"
_OF_PROSUMER = _reading(
    "Of a prosumer",
    solarGeneration=_value("number", _KWH, "1.2", "kWh that the panels made", minimum=0),
    netEnergy=_value("number", _ANY_KWH, "0.8", "kWh that went to the grid; below zero, that came from it"),
)
_OF_CONSUMER = _reading(
    "Of a consumer",
    energyConsumption=_value("number", _KWH, "0.4", "kWh that came from the grid", minimum=0),
)


@dataclass(frozen=True, slots=True)
class ReportDay:
    day: date


class ReportDaySchema(RequestSchema[ReportDay]):
    target = ReportDay
    day = Day(data_key="date", metadata={"example": "2026-11-21"})


class ReportSchema(ReportDaySchema):
    """A report for the documentation; `read_report` reads one."""

    readings = fields.List(
        fields.Raw(metadata={"anyOf": [_OF_PROSUMER, _OF_CONSUMER]}),
        metadata={
            "description": "Each of another slot. Without it, a reading's fields beside the date are the only reading",
            "minItems": 1,
            "maxItems": SLOTS,
            "example": [{"timeslot": "10:00-10:15", "solarGeneration": "1.2", "netEnergy": "0.8"}],
        },
    )


@dataclass(frozen=True, slots=True)
class ReadingsQuery:
    day: date | None = None


class ReadingsQuerySchema(RequestSchema[ReadingsQuery]):
    target = ReadingsQuery
    day = Day(data_key="date", required=False, metadata={"description": "Today when left out"})


@dataclass(frozen=True, slots=True)
class Report:
    """What a meter says of one day's slots."""

    day: date
    metered: Mapping[int, Metered]


def read_report(
    document: Mapping[str, Any], rules: MeterRules, reading: Reading, calendar: Calendar, now: datetime
) -> Report:
    """A report, with all faults of the date and of all readings at once. Raises InvalidRequest."""
    errors: list[str] = []
    day: date | None = None
    # While the date is at fault, no slot is: it cannot be said when it ends.
    last_slot = SLOTS
    try:
        day = ReportDaySchema().read(document, reading).day
    except InvalidRequest as fault:
        errors += fault.errors
    else:
        today = calendar.today(now)
        if day > today:
            errors.append(f"date must not be after {today.isoformat()}: no slot of that day has ended yet")
        else:
            last_slot = last_ended_slot(calendar, day, now)
    parser = ReadingParser(rules, last_slot)
    parser.parse(document)
    errors += parser.errors
    if day is None or errors:
        raise InvalidRequest(errors)
    return Report(day, parser.metered)


@dataclass(frozen=True, slots=True)
class ReadingView:
    """Shows readings in JSON: kWh as decimal texts, of the fields that the account's kind has."""

    rules: MeterRules

    def show(self, reading: StoredReading) -> dict[str, Any]:
        """A slot's reading as its owner sees it."""
        deviation = reading.deviation
        return {
            "timeslot": format_slot(reading.slot),
            **self._values(reading.metered),
            "deviation": None if deviation is None else self.rules.volume_tick.format(deviation),
            "revision": reading.revision,
            "recordedAt": _instant(reading.recorded_at),
        }

    def show_all(self, revisions: Sequence[StoredReading]) -> list[dict[str, Any]]:
        """Every slot's reading with what it was before, oldest first; `revisions` come by slot and revision."""
        shown = []
        for _, of_slot in groupby(revisions, key=lambda reading: reading.slot):
            *earlier, latest = of_slot
            shown.append({**self.show(latest), "history": [self._show_earlier(reading) for reading in earlier]})
        return shown

    def _show_earlier(self, reading: StoredReading) -> dict[str, Any]:
        values = self._values(reading.metered)
        return {"revision": reading.revision, **values, "recordedAt": _instant(reading.recorded_at)}

    def _values(self, metered: Metered) -> dict[str, str]:
        show = self.rules.volume_tick.format
        return {name: show(getattr(metered, attribute)) for name, attribute, _ in VALUES[self.rules.kind]}


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
