"""A delivery day with a million bids in its log, as the server's writer leaves it before the gate.

What lives here: the rows, seeded, and writing them. What must not: clearing them, or accounts that sign in.
"""

from collections.abc import Iterator
from datetime import date

import asyncpg
import numpy as np
from numpy.typing import NDArray

from market.slots import SLOTS
from storage.migrations import migrate

# Each places once, a bid for every slot: 1,000,032 bids.
ACCOUNTS = 10_417
BIDS = ACCOUNTS * SLOTS
_SEED = 96
# Placements that shared a transaction, as under load.
_BATCH = 32
_COLUMNS = (
    *("delivery_day", "first_seq", "last_seq", "batch_id", "account_id", "account_seq"),
    *("kind", "side", "slots", "prices", "volumes"),
)
_Day = NDArray[np.int64]


async def fill(url: str, delivery_day: date) -> None:
    """Migrate an empty database and write the day into it."""
    await migrate(url)
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await _write(connection, delivery_day)
        # As it is in a database that has run for a while.
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


async def _write(connection: "asyncpg.Connection[asyncpg.Record]", delivery_day: date) -> None:
    # Consumers are the even ones. A trigger opens each account's feed.
    rows = await connection.fetch(
        """
        INSERT INTO accounts (account_type, connection_id, username, phone, phone_as_given, password_hash)
        SELECT CASE n % 2 WHEN 0 THEN 'consumer' ELSE 'prosumer' END, 'bench-' || n, 'Asha',
               '+9198' || lpad(n::text, 8, '0'), '98' || lpad(n::text, 8, '0'), 'none'
          FROM generate_series(1, $1) AS n
        RETURNING id
        """,
        ACCOUNTS,
    )
    prices, volumes = bids()
    await connection.copy_records_to_table(
        "book_events",
        columns=_COLUMNS,
        records=_events(delivery_day, [row["id"] for row in rows], prices, volumes),
    )
    await connection.execute("UPDATE account_feeds SET last_seq = 1")
    await connection.execute(
        """
        INSERT INTO account_days (account_id, delivery_day, open_bids, first_account_seq, last_account_seq)
        SELECT id, $1, $2, 1, 1 FROM accounts
        """,
        delivery_day,
        SLOTS,
    )
    await connection.execute(
        "INSERT INTO delivery_days (delivery_day, last_seq, volume_bound) VALUES ($1, $2, $3)",
        delivery_day,
        BIDS,
        int(volumes.sum()),
    )


def bids() -> tuple[_Day, _Day]:
    """Limit prices and volumes (ticks), a row for each account and a column for each slot.

    Supply follows the sun and demand the evening; in every slot the curves cross, mostly dear at night.
    """
    chance = np.random.default_rng(_SEED)
    hours = (np.arange(SLOTS) + 0.5) / 4
    sun = np.clip(np.cos((hours - 12.5) / 12 * np.pi), 0, None)
    evening = np.exp(-(((hours - 20) / 3) ** 2))
    centre = 450 - 250 * sun + 350 * evening
    shape = (ACCOUNTS, SLOTS)
    is_buyer = np.arange(1, ACCOUNTS + 1)[:, None] % 2 == 0
    # A household is thrifty or not all day long; half of the prices are round.
    habit = chance.normal(0, 60, (ACCOUNTS, 1)) + np.where(is_buyer, 20, -20)
    prices = np.rint(np.clip(centre + habit + chance.normal(0, 40, shape), 1, 2000)).astype(np.int64)
    prices = np.where(chance.random(shape) < 0.5, (prices + 12) // 25 * 25, prices)
    usual = np.where(is_buyer, 900 + 900 * evening, 300 + 2000 * sun)
    volumes = (usual * chance.gamma(2.0, 0.5, shape)).astype(np.int64) + 1
    return prices, volumes


def _events(delivery_day: date, ids: list[int], prices: _Day, volumes: _Day) -> Iterator[tuple[object, ...]]:
    slots = list(range(1, SLOTS + 1))
    # People come in no order.
    order = np.random.default_rng(_SEED).permutation(ACCOUNTS).tolist()
    for position, number in enumerate(order):
        first = position * SLOTS + 1
        # The first account has number 1 and is a prosumer.
        side = b"S" if number % 2 == 0 else b"B"
        row = (delivery_day, first, first + SLOTS - 1, position // _BATCH + 1, ids[number], 1, "place", side, slots)
        yield (*row, prices[number].tolist(), volumes[number].tolist())
