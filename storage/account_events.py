"""An account's own sequence: its last number, what it did to its bids beyond a number, and what auctions gave it.

What lives here: one typed function for each query file. What must not: readings (readings.py), or how it is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from storage.database import Database
from storage.errors import AccountGone


@dataclass(frozen=True, slots=True)
class BidEvent:
    """One request of an account that changed its bids. `seq` is of the account's sequence, `first_seq` and `last_seq`
    are of the book's. `kind` is place, change or withdraw; slots, prices and volumes (ticks) are as the log has them,
    see migration 0003."""

    account_id: int
    seq: int
    delivery_day: date
    first_seq: int
    last_seq: int
    kind: str
    side: str
    bid_seq: int | None
    slots: list[int]
    prices: list[int]
    volumes: list[int]


@dataclass(frozen=True, slots=True)
class TradeEvent:
    """What the auction of a delivery day gave an account. `seq` is of the account's sequence, `book_seq` of the book's.
    The filled bids as columns, none if nothing was: prices of the clearing and filled volumes in ticks."""

    account_id: int
    seq: int
    delivery_day: date
    book_seq: int
    bid_seqs: list[int]
    sides: list[str]
    slots: list[int]
    prices: list[int]
    volumes: list[int]


async def last_seq(database: Database, account_id: int) -> int:
    """The number of the account's last event, 0 before the first. Raises AccountGone, DatabaseUnavailable."""
    row = await database.fetchrow("account_events/last_seq", account_id)
    if row is None:
        raise AccountGone
    return int(row["last_seq"])


async def list_bids(database: Database, cursors: Mapping[int, int], limit: int) -> list[BidEvent]:
    """The bid events of accounts beyond the number that each has in `cursors`, at most `limit` of each account, by
    account and number. Raises DatabaseUnavailable."""
    rows = await database.fetch("account_events/list_bids", list(cursors), list(cursors.values()), limit)
    return [
        BidEvent(
            account_id=row["account_id"],
            seq=row["account_seq"],
            delivery_day=row["delivery_day"],
            first_seq=row["first_seq"],
            last_seq=row["last_seq"],
            kind=row["kind"],
            side=row["side"],
            bid_seq=row["bid_seq"],
            slots=row["slots"],
            prices=row["prices"],
            volumes=row["volumes"],
        )
        for row in rows
    ]


async def list_trades(database: Database, cursors: Mapping[int, int], limit: int) -> list[TradeEvent]:
    """What auctions gave accounts beyond the number that each has in `cursors`, at most `limit` of each account, by
    account and number. Raises DatabaseUnavailable."""
    rows = await database.fetch("account_events/list_trades", list(cursors), list(cursors.values()), limit)
    return [TradeEvent(*row) for row in rows]
