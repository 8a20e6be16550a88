"""The bids of a request, from parsed JSON to whole ticks: the array of a placement and the change of one bid.

One tight loop instead of a schema per object, because a placement of 96 bids is the hottest path of the
server. Every fault is collected and named; requests, accounts, delivery days and storage are unknown here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple

from market.slots import SLOT_OF_TEXT, SlotError, parse_timeslot, split_volume
from market.ticks import Tick, TickError

MAX_FAULTS: Final = 100

_FIELDS: Final = ("timeslot", "volume", "price")
_TIMESLOT, _VOLUME, _PRICE = map(itemgetter, _FIELDS)


@dataclass(frozen=True, slots=True)
class BidLimits:
    """What the market allows: tick sizes, limit prices within floor..cap, volume of a bid, bids of a request.

    Prices and volumes in ticks, all bounds inclusive; `max_volume_ticks` holds for a bid as it was sent,
    `max_bids` for what ranges make of it: one bid a slot.
    """

    price_tick: Tick
    volume_tick: Tick
    floor_ticks: int
    cap_ticks: int
    max_volume_ticks: int
    max_bids: int


class ParsedBids(NamedTuple):
    """Parallel columns, one entry a bid of a single slot, in the order sent and with ranges already split."""

    slots: list[int]
    prices: list[int]
    volumes: list[int]


@dataclass(frozen=True, slots=True)
class Change:
    """The new price and volume of a bid in ticks; None leaves what it was. At least one is set."""

    price: int | None
    volume: int | None


class BidFaults(Exception):
    """A request refused as a whole; `errors` holds a text per fault: MAX_FAULTS, then a count of the rest."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors[:3]))
        self.errors = errors


@dataclass(slots=True)
class _Faults:
    texts: list[str] = field(default_factory=list)
    unnamed: int = 0

    def add(self, text: str) -> None:
        if len(self.texts) < MAX_FAULTS:
            self.texts.append(text)
        else:
            self.unnamed += 1

    def raise_if_any(self) -> None:
        if self.unnamed:
            raise BidFaults([*self.texts, f"... and {self.unnamed} more"])
        if self.texts:
            raise BidFaults(self.texts)


def parse_bids(body: Mapping[str, object], limits: BidLimits) -> ParsedBids:
    """The bids of a placement: those in `arr`, or the single one beside it where there is no `arr`.

    timeslot, volume and price beside `arr` fill what its objects leave out; null is left out. All or nothing:
    raises BidFaults with every fault of every bid. A float anywhere raises TypeError (see market.ticks).
    """
    arr = body.get("arr")
    faults = _Faults()
    bids = ParsedBids([], [], [])
    if arr is None:
        if all(body.get(name) is None for name in _FIELDS):
            raise BidFaults(["arr is required"])
        _read_bid("", body, limits, bids, faults)
        counted = "timeslot makes"
    elif not isinstance(arr, list):
        raise BidFaults(["arr must be an array"])
    elif not arr:
        raise BidFaults(["arr must not be empty"])
    elif len(arr) > limits.max_bids:
        # Refused before it is read: a body of a megabyte holds enough empty objects to stall the event loop.
        raise BidFaults([f"arr holds {len(arr)} bids; at most {limits.max_bids} are allowed in a request"])
    else:
        _read_array(arr, body, limits, bids, faults)
        counted = "arr makes"
    if len(bids.slots) > limits.max_bids:
        faults.add(
            f"{counted} more than {limits.max_bids} bids, counting one for each slot of a range; "
            f"at most {limits.max_bids} are allowed in a request"
        )
    faults.raise_if_any()
    return bids


def parse_change(body: Mapping[str, object], limits: BidLimits) -> Change:
    """A new price, a new volume or both; null is left out. Raises BidFaults with every fault."""
    price, volume = body.get("price"), body.get("volume")
    faults = _Faults()
    if price is None and volume is None:
        raise BidFaults(["price or volume is required"])
    change = Change(
        price=None if price is None else _read_price("", price, limits, faults),
        volume=None if volume is None else _read_volume("", volume, limits, faults),
    )
    faults.raise_if_any()
    return change


def _read_array(
    arr: list[Any], body: Mapping[str, object], limits: BidLimits, bids: ParsedBids, faults: _Faults
) -> None:
    if _read_columns(arr, limits, bids):
        return
    for index, item in enumerate(arr):
        if isinstance(item, dict):
            _read_bid(f"arr[{index}].", _filled(item, body), limits, bids, faults)
        else:
            faults.add(f"arr[{index}] must be an object")


def _read_columns(arr: list[Any], limits: BidLimits, bids: ParsedBids) -> bool:
    """The way of nearly every array: each bid complete, of a single slot, and nothing wrong. If so, column by column,
    which takes a quarter of the time of one bid after another. If not, nothing is read, and may be for any reason: the
    same values are then read again with care."""
    try:
        slots = list(map(SLOT_OF_TEXT.__getitem__, map(_TIMESLOT, arr)))
        volumes = list(map(limits.volume_tick.ticks_of.__getitem__, map(_VOLUME, arr)))
        prices = list(map(limits.price_tick.ticks_of.__getitem__, map(_PRICE, arr)))
    except (KeyError, TypeError, TickError):
        return False
    if min(volumes) <= 0 or max(volumes) > limits.max_volume_ticks:
        return False
    if min(prices) < limits.floor_ticks or max(prices) > limits.cap_ticks:
        return False
    bids.slots.extend(slots)
    bids.volumes.extend(volumes)
    bids.prices.extend(prices)
    return True


def _filled(item: Mapping[str, object], body: Mapping[str, object]) -> dict[str, object]:
    """What an object of the array says, and where it is silent what stands beside the array."""
    return {name: body.get(name) if item.get(name) is None else item[name] for name in _FIELDS}


def _read_bid(prefix: str, bid: Mapping[str, object], limits: BidLimits, bids: ParsedBids, faults: _Faults) -> None:
    """Reads one bid whole: appends what it makes to `bids`, or each of its faults to `faults`."""
    slots = _read_timeslot(prefix, bid.get("timeslot"), faults)
    volume_ticks = _read_volume(prefix, bid.get("volume"), limits, faults)
    price_ticks = _read_price(prefix, bid.get("price"), limits, faults)
    if slots is None or volume_ticks is None or price_ticks is None:
        return
    parts = len(slots)
    if volume_ticks < parts:
        least = _plain(limits.volume_tick, parts)
        faults.add(f"{prefix}volume must be at least {least} to be split over {parts} slots")
    elif len(bids.slots) <= limits.max_bids:
        # One bid too many refuses the request, so what comes after it is checked but no longer kept.
        bids.slots.extend(slots)
        bids.prices.extend([price_ticks] * parts)
        bids.volumes.extend(split_volume(volume_ticks, parts))


def _read_timeslot(prefix: str, value: object, faults: _Faults) -> range | None:
    if value is None:
        faults.add(f"{prefix}timeslot is required")
        return None
    try:
        return parse_timeslot(value)
    except SlotError as error:
        faults.add(f"{prefix}timeslot {error}")
        return None


def _read_volume(prefix: str, value: object, limits: BidLimits, faults: _Faults) -> int | None:
    ticks = _read_ticks(f"{prefix}volume", value, limits.volume_tick, faults)
    if ticks is None:
        return None
    if ticks <= 0:
        faults.add(f"{prefix}volume must be greater than 0")
    elif ticks > limits.max_volume_ticks:
        faults.add(f"{prefix}volume must be at most {_plain(limits.volume_tick, limits.max_volume_ticks)}")
    else:
        return ticks
    return None


def _read_price(prefix: str, value: object, limits: BidLimits, faults: _Faults) -> int | None:
    ticks = _read_ticks(f"{prefix}price", value, limits.price_tick, faults)
    if ticks is None:
        return None
    if ticks < limits.floor_ticks:
        faults.add(f"{prefix}price must be at least {_plain(limits.price_tick, limits.floor_ticks)}")
    elif ticks > limits.cap_ticks:
        faults.add(f"{prefix}price must be at most {_plain(limits.price_tick, limits.cap_ticks)}")
    else:
        return ticks
    return None


def _read_ticks(name: str, value: object, tick: Tick, faults: _Faults) -> int | None:
    if value is None:
        faults.add(f"{name} is required")
        return None
    try:
        return tick.parse(value)
    except TickError as error:
        faults.add(f"{name} {error}")
        return None


def _plain(tick: Tick, ticks: int) -> str:
    """A limit as people write it: 1000000 rather than 1000000.000."""
    text = tick.format(ticks)
    return text.rstrip("0").rstrip(".") if "." in text else text
