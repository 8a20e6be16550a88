"""Reading bids: an account's own. Writing them is the writer's (storage/writer.py)."""

from datetime import date

from storage.commands import Bid
from storage.database import Database


async def list_own(
    database: Database, account_id: int, delivery_day: date, *, slot: int | None, after_seq: int, limit: int
) -> list[Bid]:
    """At most `limit` of an account's bids placed after event `after_seq`, in the order in which they were placed."""
    rows = await database.fetch("bids/list", account_id, delivery_day, slot, after_seq, limit)
    return [
        Bid(row["bid_seq"], row["side"], row["slot"], row["price"], row["volume"], row["is_withdrawn"]) for row in rows
    ]
