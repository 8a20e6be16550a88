"""The event log of the book, and the book that bids add up to.

What lives here: looking at them from outside. What must not: placing anything.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import asyncpg

from market.book import Level
from storage.database import Database
from tests.answers import call
from tests.conftest import Client
from tests.factories import Household

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class LoggedBook(NamedTuple):
    """State, last event and levels of a day."""

    state: str
    seq: int
    levels: list[Level]


async def log_of(connection: Connection) -> list[tuple[int, int]]:
    """First and last number of every row of the log, in order."""
    rows = await connection.fetch("SELECT first_seq, last_seq FROM book_events ORDER BY first_seq, last_seq")
    return [(row["first_seq"], row["last_seq"]) for row in rows]


def has_gaps(log: Sequence[tuple[int, int]]) -> bool:
    """Whether the numbers are anything but 1, 2, 3, ..."""
    return [first for first, _ in log] != [1] + [last + 1 for _, last in log[:-1]]


async def read_book(database: Database, day: date) -> LoggedBook | None:
    """The book of a day as one plain aggregation over its whole log has it; None when nobody used the day."""
    async with database.transaction() as connection:
        used = await connection.fetchrow("SELECT state, last_seq FROM delivery_days WHERE delivery_day = $1", day)
        rows = await connection.fetch(
            """
            SELECT x.slot, e.side::text, x.price, sum(x.volume)::bigint, sum(sign(x.volume))::bigint
              FROM book_events AS e, unnest(e.slots, e.prices, e.volumes) AS x (slot, price, volume)
             WHERE e.delivery_day = $1 AND e.kind <> 'clear'
             GROUP BY x.slot, e.side, x.price
            HAVING sum(x.volume) <> 0
             ORDER BY x.slot, e.side, x.price
            """,
            day,
        )
    return None if used is None else LoggedBook(used["state"], used["last_seq"], [Level(*row) for row in rows])


async def open_levels(client: Client, *households: Household, day: date | None = None) -> list[list[Any]]:
    """The levels that the bids of the households' own lists add up to, but for withdrawn ones."""
    volumes: Counter[tuple[int, str, int]] = Counter()
    bids: Counter[tuple[int, str, int]] = Counter()
    query = f"?limit=1000&deliveryDate={day}" if day else "?limit=1000"
    for household in households:
        page = (await call(client, "GET", f"/bids/dayahead{query}", by=household)).body
        assert page["next"] is None
        for listed in page["bids"]:
            if listed["status"] != "withdrawn":
                hour, minute = listed["timeslot"][:5].split(":")
                slot = int(hour) * 4 + int(minute) // 15 + 1
                side = "S" if household.account_type == "prosumer" else "B"
                level = (slot, side, int(Decimal(listed["price"]) * 100))
                volumes[level] += int(Decimal(listed["volume"]) * 1000)
                bids[level] += 1
    return [[*level, volumes[level], bids[level]] for level in sorted(volumes)]
