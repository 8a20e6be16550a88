"""What an audit is given: rows of the log and of the tables that are held against it, and the words for what it finds.

What lives here: their shapes, findings, how a bid is named. What must not: any rule, and where rows come from.
Prices and volumes are whole ticks.
"""

from datetime import date
from typing import Final, NamedTuple

from market.bid_ids import bid_id

# A person reads them. Of a table that is wrong throughout, the first few say it all.
_KEPT: Final = 50


class LoggedRow(NamedTuple):
    """One row of book_events; what each kind holds stands in migrations 0003, 0004 and 0008."""

    first_seq: int
    last_seq: int
    kind: str
    side: str | None
    slots: list[int]
    prices: list[int]
    volumes: list[int]
    account_id: int | None
    account_seq: int | None
    bid_seq: int | None


class ChangedBid(NamedTuple):
    """One row of changed_bids."""

    bid_seq: int
    seq: int
    price: int
    volume: int
    is_withdrawn: bool


class CountedAccount(NamedTuple):
    """One row of account_days."""

    account_id: int
    open_bids: int
    first_account_seq: int
    last_account_seq: int


class ClearedSlot(NamedTuple):
    """One row of cleared_slots."""

    slot: int
    price: int | None
    low: int | None
    high: int | None
    volume: int
    buy_volume: int
    sell_volume: int
    buy_bids: int
    sell_bids: int


class Fill(NamedTuple):
    """One row of fills."""

    bid_seq: int
    volume: int


class Position(NamedTuple):
    """One row of cleared_positions."""

    account_id: int
    account_seq: int
    slots: list[int]
    volumes: list[int]


class Findings:
    """Everything that does not agree, in words: how many there are, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """One more; `text` is a sentence without its full stop that names the bid, the slot or the event."""
        self.count += 1
        if len(self.texts) < _KEPT:
            self.texts.append(text)


def name_bid(delivery_day: date, seq: int) -> str:
    """A bid as its id names it, and the event that placed it; by the event alone where there can be no such id."""
    try:
        return f"bid {bid_id(delivery_day, seq)} (event {seq})"
    except ValueError:
        return f"the bid of event {seq}"
