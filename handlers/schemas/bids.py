"""Requests about bids, but for the array of bids itself (bid_array.py).

What lives here: their schemas and dataclasses, and how a bid is shown. What must not: prices as anything but ticks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, fields

from handlers.schemas.base import InvalidRequest, Reading, RequestSchema
from handlers.schemas.bid_array import BidFaults, BidLimits, Change, ParsedBids, parse_bids, parse_change
from handlers.schemas.fields import Number, Text
from market.bid_ids import bid_id
from market.slots import SLOT_NAMES, SlotError, format_slot, parse_timeslot
from market.ticks import Tick
from storage.bids import Outcome
from storage.commands import Bid, Receipt

PAGE_LIMIT = 1000
# For the documentation: a single slot, a range, or the number of a slot; and a decimal number.
TIMESLOT_PATTERN = "^([0-9]{1,2}:[0-9]{2}(-[0-9]{1,2}:[0-9]{2})?|[0-9]{1,2})$"
_DECIMAL_PATTERN = r"^-?[0-9]+(\.[0-9]+)?$"
# Far enough from the ends of the calendar, and of what a bid's id can say, for every sum of days.
_YEARS = range(2001, 2301)


class Day(Text):
    """A delivery day, `2026-11-23`."""

    def read(self, text: str) -> date:
        """The day."""
        try:
            # fromisoformat also reads 20261123 and week dates.
            if len(text) != 10 or not text.isascii():
                raise ValueError
            day = date.fromisoformat(text)
        except ValueError:
            raise ValidationError("must be a day like 2026-11-23") from None
        if day.year not in _YEARS:
            raise ValidationError(f"must be a day of the years {_YEARS.start} to {_YEARS[-1]}")
        return day


class Slot(fields.Field[Any]):
    """One time slot: `10:00-10:15`, `10:00` or 1..96."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> Any:  # noqa: ARG002
        if value == "":
            # A blank parameter is one left out.
            return None
        try:
            slots = parse_timeslot(value)
        except SlotError as fault:
            raise ValidationError(str(fault)) from None
        if len(slots) != 1:
            raise ValidationError("must be a single slot like 10:00-10:15")
        return slots[0]


@dataclass(frozen=True, slots=True)
class DayQuery:
    day: date | None = None
    slot: int | None = None


class DayQuerySchema(RequestSchema[DayQuery]):
    target = DayQuery
    day = Day(data_key="deliveryDate", required=False, metadata={"description": "The open day when left out"})
    slot = Slot(data_key="timeslot", metadata={"example": "10:00-10:15"})


@dataclass(frozen=True, slots=True)
class BidsQuery:
    day: date | None = None
    slot: int | None = None
    after: int = 0
    limit: int = 500


class BidsQuerySchema(RequestSchema[BidsQuery]):
    target = BidsQuery
    day = Day(data_key="deliveryDate", required=False, metadata={"description": "The open day when left out"})
    slot = Slot(data_key="timeslot", metadata={"example": "10:00-10:15"})
    after = Number(
        low=0,
        high=10**12 - 1,
        is_whole=True,
        required=False,
        metadata={"description": "`next` of the page before", "example": 0},
    )
    limit = Number(
        low=1,
        high=PAGE_LIMIT,
        is_whole=True,
        required=False,
        metadata={"description": "Bids a page; 500 when left out", "example": 500},
    )

    def prepare(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """As the fields expect it; `next`, as the answer calls it, stands for `after`."""
        given = dict(super().prepare(document))
        if "next" in given:
            given.setdefault("after", given["next"])
        return given


def _value(kind: str, description: str, **more: Any) -> fields.Raw:
    """A value that bid_array.py reads, for the documentation: a text or a JSON number."""
    pattern = TIMESLOT_PATTERN if kind == "integer" else _DECIMAL_PATTERN
    return fields.Raw(
        allow_none=True,
        metadata={"type": ["string", kind], "description": description, "pattern": pattern, "maxLength": 40, **more},
    )


class OneBidSchema(Schema):
    """A bid of `arr`, for the documentation; bid_array.py reads the whole array in one loop."""

    class Meta:
        unknown = EXCLUDE

    timeslot = _value("integer", "A slot, its number, or a longer range of slots", example="10:00-10:15")
    volume = _value("number", "kWh; of a range of slots it is split equally over them", example="2.5")
    price = _value("number", "INR per kWh", example="4.25")


class PlaceBids(NamedTuple):
    bids: ParsedBids
    day: date | None


class PlaceBidsSchema(RequestSchema[PlaceBids]):
    """A placement. `timeslot`, `volume`, `price` beside `arr` fill what its objects leave out, or are one bid."""

    target = PlaceBids
    arr = fields.List(
        fields.Nested(OneBidSchema),
        metadata={
            "description": "The bids. Without it timeslot, volume and price are one bid",
            "example": [{"timeslot": "10:00-10:15", "volume": "2.5", "price": "4.25"}],
        },
    )
    timeslot = _value("integer", "For every bid of arr that has none")
    volume = _value("number", "For every bid of arr that has none; kWh")
    price = _value("number", "For every bid of arr that has none; INR per kWh")
    day = Day(data_key="deliveryDate", required=False, metadata={"description": "The open day when left out"})


class PinnedDaySchema(RequestSchema[DayQuery]):
    target = DayQuery
    day = Day(data_key="deliveryDate", required=False)


class AmendBidSchema(RequestSchema[Change]):
    """A change of one bid: at least one of both."""

    target = Change
    price = _value("number", "INR per kWh", example="4.25")
    volume = _value("number", "kWh", example="2.5")


@dataclass(frozen=True, slots=True)
class PinnableDays:
    """What a pinned day is read with, and the last one that may be pinned."""

    reading: Reading
    last: date


def read_placement(document: Mapping[str, Any], limits: BidLimits, pinnable: Callable[[], PinnableDays]) -> PlaceBids:
    """A placement, with all faults of all bids and of the day at once. Raises InvalidRequest.

    `pinnable` is asked only where a day is pinned, as few do. A day that is over is not refused here: its gate is
    closed, and a placement that is repeated under its key after the gate still gets its first answer.
    """
    errors: list[str] = []
    bids: ParsedBids | None = None
    day: date | None = None
    try:
        bids = parse_bids(document, limits)
    except BidFaults as fault:
        errors += fault.errors
    if document.get("deliveryDate") is not None:
        days = pinnable()
        try:
            day = PinnedDaySchema().read(document, days.reading).day
        except InvalidRequest as fault:
            errors += fault.errors
        if day is not None and day > days.last:
            errors.append(f"deliveryDate must not be after {days.last.isoformat()}")
    if bids is None or errors:
        raise InvalidRequest(errors)
    return PlaceBids(bids, day)


def read_change(document: Mapping[str, Any], limits: BidLimits) -> Change:
    """A change of one bid. Raises BidFaults."""
    return parse_change(document, limits)


@lru_cache(maxsize=32)
def _texts_to_volume(day: str, side: str) -> list[str]:
    """What stands between a bid's id and its volume, by slot."""
    return [f',"deliveryDate":"{day}","timeslot":"{name}","side":"{side}","volume":"' for name in SLOT_NAMES]


def _status(bid: Bid, outcome: Outcome | None) -> str:
    if bid.is_withdrawn:
        return "withdrawn"
    if outcome is None:
        return "open"
    if not outcome.filled:
        return "rejected"
    return "cleared" if outcome.filled == bid.volume else "partly cleared"


class BidView(NamedTuple):
    """Shows bids of one delivery day in JSON: decimals as texts."""

    price_tick: Tick
    volume_tick: Tick

    def show(self, delivery_day: date, bid: Bid, outcome: Outcome | None = None) -> dict[str, Any]:
        """A bid as its owner sees it, with what the auction made of it once it has."""
        filled, clearing_price = outcome or (0, None)
        return {
            "id": bid_id(delivery_day, bid.bid_seq),
            "deliveryDate": delivery_day.isoformat(),
            "timeslot": format_slot(bid.slot),
            "side": "sell" if bid.side == "S" else "buy",
            "volume": self.volume_tick.format(bid.volume),
            "price": self.price_tick.format(bid.price),
            "status": _status(bid, outcome),
            "filledVolume": self.volume_tick.format(filled),
            "clearingPrice": None if clearing_price is None else self.price_tick.format(clearing_price),
        }

    def placement(self, receipt: Receipt) -> bytes:
        """The answer to a placement: its bids as `show` shows each, in the same bytes.

        Put together from pieces of text, for most of it is the same in all bids, and nothing in it needs escaping: to
        make a dictionary of each and encode that takes seven times as long.
        """
        day = receipt.delivery_day.isoformat()
        numbers = count(bid_id(receipt.delivery_day, receipt.bid_seq))
        volume_text, price_text = self.volume_tick.text_of, self.price_tick.text_of
        to_volume = _texts_to_volume(day, "sell" if receipt.side == "S" else "buy")
        to_end = f'","status":"open","filledVolume":"{volume_text[0]}","clearingPrice":null}}'
        columns = zip(numbers, receipt.slots, receipt.volumes, receipt.prices, strict=False)  # numbers have no end
        bids = ",".join(
            [
                f'{{"id":{number}{to_volume[slot]}{volume_text[volume]}","price":"{price_text[price]}{to_end}'
                for number, slot, volume, price in columns
            ]
        )
        return (
            f'{{"message":"Bid placed successfully","deliveryDate":"{day}","seq":{receipt.seq},"bids":[{bids}]}}'
        ).encode()

    def single(self, message: str) -> Callable[[Receipt], bytes]:
        """How to answer a change or a withdrawal."""

        def render(receipt: Receipt) -> bytes:
            return orjson.dumps(
                {"message": message, "seq": receipt.seq, "bid": self.show(receipt.delivery_day, receipt.bids[0])}
            )

        return render
