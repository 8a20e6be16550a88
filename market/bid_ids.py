"""Bid ids: a bid's delivery day and its sequence number in one integer that every JSON client can hold.

`(day - 2000-01-01).days << 36 | seq` stays below 2^53 until the year 2358. The id is public and says nothing
about who bid.
"""

from datetime import date, timedelta
from typing import Final

MAX_SEQ: Final = 2**36 - 1

_EPOCH: Final = date(2000, 1, 1)
_SEQ_BITS: Final = 36
_MAX_DAYS: Final = 2 ** (53 - _SEQ_BITS) - 1


def bid_id(day: date, seq: int) -> int:
    """The id of the bid that event `seq` (1..2^36-1) of delivery day `day` placed; ValueError beyond that."""
    days = (day - _EPOCH).days
    if not 0 <= days <= _MAX_DAYS:
        raise ValueError(f"delivery day {day} has no bid ids: they reach from {_EPOCH} to the year 2358")
    if not 1 <= seq <= MAX_SEQ:
        raise ValueError(f"sequence number {seq} has no bid id: it must lie between 1 and {MAX_SEQ}")
    return days << _SEQ_BITS | seq


def split_bid_id(number: int) -> tuple[date, int] | None:
    """Delivery day and sequence number of an id, or None for a number that no bid can have."""
    days, seq = number >> _SEQ_BITS, number & MAX_SEQ
    if not 0 <= days <= _MAX_DAYS or not seq:
        return None
    return _EPOCH + timedelta(days=days), seq
