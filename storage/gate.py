"""Closing the gate of a delivery day in its log: one typed function for each query file.

What lives here: the writing. What must not: when a gate may be due (server/gate_keeper.py).
"""

import secrets
from dataclasses import dataclass
from datetime import date

from market.calendar import Calendar
from storage.database import Database
from storage.sql import QUERIES


@dataclass(frozen=True, slots=True)
class Closure:
    """Whether a gate is over, by the database's clock, and the number of its event if it was closed just now."""

    is_due: bool
    seq: int | None


async def close(database: Database, delivery_day: date, calendar: Calendar) -> Closure:
    """Close a day's gate if its time has come and nobody has closed it. Raises DatabaseUnavailable; then it may be
    closed all the same, and asking again is safe."""
    async with database.transaction() as connection:
        row = await connection.fetchrow(
            QUERIES["gate/close"], delivery_day, calendar.gate_at(delivery_day), secrets.randbits(63)
        )
    if row is None:
        raise AssertionError("the query always returns a row")
    return Closure(row["is_due"], row["seq"])


async def list_due(database: Database, last_day: date) -> list[date]:
    """The days that are closed and not cleared, and those up to `last_day` that are still open in the log, the earliest
    first. Raises DatabaseUnavailable."""
    return [row["delivery_day"] for row in await database.fetch("gate/list_due", last_day)]
