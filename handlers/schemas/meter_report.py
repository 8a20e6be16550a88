"""The readings of a report, from parsed JSON to whole ticks.

Every fault is collected and named. What lives here: reading them. What must not: the report's date (readings.py), or
what is kept of them (storage/readings.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from market.readings import Metered
from market.slots import SLOTS, SlotError, format_slot, parse_timeslot
from market.ticks import Tick, TickError

# What each kind of account reports: the name in JSON, that in Metered, and whether it may be below zero.
VALUES: Final[Mapping[str, tuple[tuple[str, str, bool], ...]]] = {
    "prosumer": (("solarGeneration", "solar_generation", False), ("netEnergy", "net_energy", True)),
    "consumer": (("energyConsumption", "energy_consumption", False),),
}
_ONE: Final = ("timeslot", "solarGeneration", "netEnergy", "energyConsumption")


@dataclass(frozen=True, slots=True)
class MeterRules:
    """What is asked of readings: the fields of an account's `kind`, prosumer or consumer, as multiples of the tick and
    no further from zero than `max_ticks`."""

    kind: str
    volume_tick: Tick
    max_ticks: int


@dataclass(slots=True)
class ReadingParser:
    """Parses the readings of one report: `metered` by slot is what they say, `errors` has a text for each fault.

    Slots after `last_slot` have not ended yet, and are refused.
    """

    rules: MeterRules
    last_slot: int
    metered: dict[int, Metered] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    _named: dict[int, str] = field(default_factory=dict)

    def parse(self, document: Mapping[str, Any]) -> None:
        """Those in `readings`, or the one beside it where there is no `readings`; null is left out."""
        for prefix, item in self._items(document):
            if isinstance(item, dict):
                self._parse_one(prefix, item)
            else:
                self.errors.append(f"{prefix.removesuffix('.')} must be an object")

    def _items(self, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Each reading, and what the names of its fields begin with."""
        readings = document.get("readings")
        if readings is None:
            if all(document.get(name) is None for name in _ONE):
                self.errors.append("readings is required")
            else:
                yield "", document
        elif not isinstance(readings, list):
            self.errors.append("readings must be an array")
        elif not readings:
            self.errors.append("readings must not be empty")
        elif len(readings) > SLOTS:
            # Refused before they are read: a body of a megabyte holds enough of them to stall the event loop.
            self.errors.append(f"readings holds {len(readings)} readings; at most {SLOTS} are allowed in a request")
        else:
            yield from ((f"readings[{index}].", item) for index, item in enumerate(readings))

    def _parse_one(self, prefix: str, item: Mapping[str, Any]) -> None:
        slot = self._parse_slot(f"{prefix}timeslot", item.get("timeslot"))
        values = {
            attribute: self._parse_value(f"{prefix}{name}", item.get(name), may_be_negative=may_be_negative)
            for name, attribute, may_be_negative in VALUES[self.rules.kind]
        }
        if slot is not None:
            self.metered[slot] = Metered(**values)

    def _parse_slot(self, name: str, value: object) -> int | None:
        try:
            slot = _single_slot(value)
        except SlotError as fault:
            self.errors.append(f"{name} {fault}")
            return None
        if slot in self._named:
            self.errors.append(f"{name} must not repeat {format_slot(slot)}: it is {self._named[slot]} already")
            return None
        self._named[slot] = name
        if slot > self.last_slot:
            self.errors.append(f"{name} must be a slot that has ended: {format_slot(slot)} has not ended yet")
            return None
        return slot

    def _parse_value(self, name: str, value: object, *, may_be_negative: bool) -> int | None:
        if value is None:
            self.errors.append(f"{name} is required")
            return None
        tick, high = self.rules.volume_tick, self.rules.max_ticks
        try:
            ticks = tick.parse(value)
        except TickError as fault:
            self.errors.append(f"{name} {fault}")
            return None
        low = -high if may_be_negative else 0
        if not low <= ticks <= high:
            self.errors.append(f"{name} must be from {_plain(tick, low)} to {_plain(tick, high)}")
        return ticks


def _single_slot(value: object) -> int:
    """The one slot that is meant. Raises SlotError."""
    if value is None:
        raise SlotError("is required")
    slots = parse_timeslot(value)
    if len(slots) != 1:
        raise SlotError("must be a single slot like 10:00-10:15")
    return slots[0]


def _plain(tick: Tick, ticks: int) -> str:
    """A bound as people write it: 1000000 rather than 1000000.000."""
    text = tick.format(ticks)
    return text.rstrip("0").rstrip(".") if "." in text else text
