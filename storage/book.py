"""Reading the aggregated book of a delivery day, and what tells its history from another's.

What lives here: one typed function for each query file. What must not: checksums and prices (market/book.py).
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from market.book import Level
from storage.database import Database


@dataclass(frozen=True, slots=True)
class AggregatedBook:
    """Levels, state and the sequence number that they stand at, read in one snapshot."""

    state: Literal["open", "closed", "cleared"]
    seq: int
    levels: list[Level]


async def read(database: Database, delivery_day: date) -> AggregatedBook | None:
    """The book of a delivery day, from its event log; None when nobody used the day."""
    row = await database.fetchrow("book/read", delivery_day)
    if row is None:
        return None
    columns = (row["slots"], row["sides"], row["prices"], row["volumes"], row["bids"])
    return AggregatedBook(row["state"], row["last_seq"], [Level(*level) for level in zip(*columns, strict=True)])


async def read_identity(database: Database) -> str:
    """A text that a restore, a failover that lost events, or another database would change."""
    row = await database.fetchrow("book/read_identity")
    if row is None:
        raise AssertionError("the query always returns a row")
    return str(row["identity"])
