"""What the auction of a delivery day came to: its slots for everyone, and an account's own trades.

What lives here: one typed function for each query file, and reading all of an account's trades page by page. What must
not: clearing a day, or how a result is shown.
"""

from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Final, NamedTuple

from storage.database import Database

# So many trades at a time, so that whoever reads all of them gives way to others in between.
_PAGE: Final = 500


class ClearedDay(NamedTuple):
    """A cleared day; `seq` is the number of the event that announced its results."""

    delivery_day: date
    seq: int
    price_rule: str
    cleared_at: datetime


class UnclearedDay(NamedTuple):
    """A day that the log knows; `state` is open or closed."""

    state: str


class ClearedSlot(NamedTuple):
    """What a slot came to, in ticks. Price, low and high are None where nothing cleared; the offers are what stood in
    the book when the gate closed."""

    slot: int
    price: int | None
    low: int | None
    high: int | None
    volume: int
    buy_volume: int
    sell_volume: int
    buy_bids: int
    sell_bids: int


class Trade(NamedTuple):
    """A bid of a cleared day that was filled: the volume that it was filled with and its slot's price, in ticks."""

    bid_seq: int
    side: str
    slot: int
    volume: int
    price: int


class TradeTotals(NamedTuple):
    """Sums over trades: volume ticks, and price ticks times volume ticks."""

    volume: int
    amount: int


async def find(database: Database, delivery_day: date | None) -> ClearedDay | UnclearedDay | None:
    """A day by its name, or the last cleared one. None for a day that the log does not know, and while no day was
    cleared. Raises DatabaseUnavailable."""
    row = await database.fetchrow("results/find", delivery_day)
    if row is None:
        return None
    if row["seq"] is None:
        return UnclearedDay(row["state"])
    return ClearedDay(row["delivery_day"], row["seq"], row["price_rule"], row["cleared_at"])


async def list_slots(database: Database, delivery_day: date) -> list[ClearedSlot]:
    """All slots of a cleared day, in their order. Raises DatabaseUnavailable."""
    return [ClearedSlot(*row) for row in await database.fetch("results/list_slots", delivery_day)]


async def list_trades(
    database: Database, account_id: int, delivery_day: date, *, slot: int | None, after_seq: int, limit: int
) -> list[Trade]:
    """At most `limit` of an account's trades, of bids placed after event `after_seq`, in the order in which those were
    placed. Empty while the day is not cleared. Raises DatabaseUnavailable."""
    rows = await database.fetch("trades/list", account_id, delivery_day, slot, after_seq, limit)
    return [Trade(*row) for row in rows]


async def total_trades(database: Database, account_id: int, delivery_day: date, *, slot: int | None) -> TradeTotals:
    """What an account traded on a day, or in one slot of it. Raises DatabaseUnavailable."""
    row = await database.fetchrow("trades/total", account_id, delivery_day, slot)
    if row is None:
        raise AssertionError("the query always returns a row")
    return TradeTotals(int(row["volume"]), int(row["amount"]))


async def all_trades(
    database: Database, account_id: int, delivery_day: date, *, slot: int | None
) -> AsyncIterator[list[Trade]]:
    """All of an account's trades of a day, or of one slot of it, page by page. Raises DatabaseUnavailable."""
    after_seq = 0
    while page := await list_trades(database, account_id, delivery_day, slot=slot, after_seq=after_seq, limit=_PAGE):
        yield page
        if len(page) < _PAGE:
            return
        after_seq = page[-1].bid_seq
