"""Smart-meter readings: recording reports, and reading them back for their account and for its feed.

What lives here: one typed function for each thing asked of them. What must not: whether a slot has ended, or how a
value is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from asyncpg import Record

from market.readings import Metered
from storage.database import Connection, Database
from storage.errors import AccountGone, TooManyCorrections
from storage.sql import QUERIES

# A slot's history is shown whole, so it must end somewhere; no honest meter corrects itself so often.
MAX_REVISIONS = 100


@dataclass(frozen=True, slots=True)
class StoredReading:
    """One revision of a slot's reading. `cleared` is what the auction gave the account in that slot, in volume ticks;
    None while the day is not cleared."""

    slot: int
    revision: int
    metered: Metered
    recorded_at: datetime
    cleared: int | None

    @property
    def deviation(self) -> int | None:
        """Metered minus cleared volume in ticks; None while the day is not cleared."""
        return self.metered.deviation(self.cleared)


@dataclass(frozen=True, slots=True)
class ReportedReading:
    """A reading as an event of its account's own sequence; all of one report have the same `account_seq`. Ticks."""

    account_id: int
    account_seq: int
    delivery_day: date
    slot: int
    revision: int
    solar_generation: int | None
    net_energy: int | None
    energy_consumption: int | None
    cleared: int | None

    @property
    def deviation(self) -> int | None:
        """Metered minus cleared volume in ticks; None while the day is not cleared."""
        return Metered(self.solar_generation, self.net_energy, self.energy_consumption).deviation(self.cleared)


async def record(
    database: Database, account_id: int, delivery_day: date, metered: Mapping[int, Metered]
) -> list[StoredReading]:
    """Record what an account's meter says of slots, and return what holds for them then, in their order.

    What differs from the present value becomes the slot's next revision; all that differs together is one event of the
    account's own sequence, and what does not differ is none. Raises AccountGone, and TooManyCorrections for a value
    that would be one revision too many; then nothing was recorded.
    """
    async with database.transaction() as connection:
        if await connection.fetchrow(QUERIES["readings/lock_account"], account_id) is None:
            raise AccountGone
        slots = sorted(metered)
        rows = await connection.fetch(QUERIES["readings/find"], account_id, delivery_day, slots)
        changed = {row["slot"]: (row["revision"] or 0) + 1 for row in rows if _metered(row) != metered[row["slot"]]}
        if full := [slot for slot, revision in changed.items() if revision > MAX_REVISIONS]:
            raise TooManyCorrections(full, MAX_REVISIONS)
        at = await _append(connection, account_id, delivery_day, changed, metered) if changed else None
    return [
        StoredReading(
            row["slot"],
            changed.get(row["slot"], row["revision"]),
            metered[row["slot"]],
            at if at is not None and row["slot"] in changed else row["at"],
            row["cleared"],
        )
        for row in rows
    ]


async def list_own(database: Database, account_id: int, delivery_day: date) -> list[StoredReading]:
    """Every revision of every slot that an account reported for a day, by slot and revision."""
    rows = await database.fetch("readings/list", account_id, delivery_day)
    return [StoredReading(row["slot"], row["revision"], _metered(row), row["at"], row["cleared"]) for row in rows]


async def list_reports(
    database: Database, accounts: Sequence[int], after: Sequence[int], limit: int
) -> list[ReportedReading]:
    """Readings of `accounts`, each one's beyond its number in `after`, ordered by account, number and slot.

    At most `limit` readings of each account, and the rest of the report that the limit would cut.
    """
    rows = await database.fetch("readings/list_reports", list(accounts), list(after), limit)
    return [ReportedReading(*row) for row in rows]


async def _append(
    connection: Connection,
    account_id: int,
    delivery_day: date,
    changed: Mapping[int, int],
    metered: Mapping[int, Metered],
) -> datetime:
    """Write the revisions `changed` (by slot) as one event; the instant that they carry."""
    values = [metered[slot] for slot in changed]
    at: datetime = await connection.fetchval(
        QUERIES["readings/append"],
        account_id,
        delivery_day,
        list(changed),
        list(changed.values()),
        [value.solar_generation for value in values],
        [value.net_energy for value in values],
        [value.energy_consumption for value in values],
    )
    return at


def _metered(row: Record) -> Metered:
    return Metered(row["solar_generation"], row["net_energy"], row["energy_consumption"])
