"""Reading bids: an account's own. Writing them is the writer's (storage/writer.py)."""

from datetime import date
from typing import NamedTuple

from asyncpg import Record

from storage.commands import Bid
from storage.database import Database


class Outcome(NamedTuple):
    """What the auction made of a bid that was in it, in ticks: the volume that it was filled with, and the price of its
    slot, None where nothing cleared."""

    filled: int
    price: int | None


class OwnBid(NamedTuple):
    """A bid as it stands now. It has no outcome while its day is not cleared, and none if it was withdrawn."""

    bid: Bid
    outcome: Outcome | None


async def list_own(
    database: Database, account_id: int, delivery_day: date, *, slot: int | None, after_seq: int, limit: int
) -> list[OwnBid]:
    """At most `limit` of an account's bids placed after event `after_seq`, in the order in which they were placed."""
    rows = await database.fetch("bids/list", account_id, delivery_day, slot, after_seq, limit)
    return [_own_bid(row) for row in rows]


def _own_bid(row: Record) -> OwnBid:
    bid = Bid(row["bid_seq"], row["side"], row["slot"], row["price"], row["volume"], row["is_withdrawn"])
    return OwnBid(bid, Outcome(row["filled"] or 0, row["clearing_price"]) if row["was_in_auction"] else None)
