"""Delivery days that are cleared by hand: what the auction leaves in the tables, as a test wants it.

What lives here: the rows. What must not: an auction, or what anything shows of it.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import asyncpg

from market.bid_ids import split_bid_id
from market.slots import SLOTS

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
CLEARED_AT = datetime(2026, 11, 22, 18, 30, 0, 412_000, tzinfo=UTC)
_BIDS = """
SELECT e.first_seq + x.position - 1 AS bid_seq, e.account_id, e.side::text AS side, x.slot,
       coalesce(c.volume, x.volume) AS volume
  FROM book_events AS e
 CROSS JOIN LATERAL unnest(e.slots, e.volumes) WITH ORDINALITY AS x (slot, volume, position)
  LEFT JOIN changed_bids AS c ON c.delivery_day = e.delivery_day AND c.bid_seq = e.first_seq + x.position - 1
 WHERE e.delivery_day = $1 AND e.kind = 'place' AND NOT coalesce(c.is_withdrawn, false)
 ORDER BY 1
"""


async def clear(
    connection: Connection,
    day: str,
    prices: Mapping[int, tuple[int, int, int]] | None = None,
    filled: Mapping[int, int] | None = None,
    rule: str = "midpoint",
) -> int:
    """Clear a day. `prices` has (price, low, high) in ticks of the slots that clear, `filled` the volume in ticks that
    each bid gets, by its id. The number of the event that announces it; the gate's is the one before."""
    delivery_day = date.fromisoformat(day)
    fills = {_seq_of(bid_id, delivery_day): volume for bid_id, volume in (filled or {}).items()}
    bids = await connection.fetch(_BIDS, delivery_day)
    assert fills.keys() <= {row["bid_seq"] for row in bids}, "a fill of no bid"
    async with connection.transaction():
        seq: int = await connection.fetchval(
            "INSERT INTO delivery_days AS d (delivery_day, state, last_seq) VALUES ($1, 'cleared', 2)"
            " ON CONFLICT (delivery_day) DO UPDATE SET state = 'cleared', last_seq = d.last_seq + 2 RETURNING last_seq",
            delivery_day,
        )
        await connection.execute(
            "INSERT INTO cleared_days VALUES ($1, $2, $3, $4)", delivery_day, seq, rule, CLEARED_AT
        )
        rows = _slots(bids, prices or {}, fills)
        await connection.executemany(
            "INSERT INTO cleared_slots VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            [(delivery_day, *row) for row in rows],
        )
        cleared = [(slot, price, volume) for slot, price, _, _, volume, *_ in rows if volume]
        await connection.executemany(
            "INSERT INTO book_events (delivery_day, first_seq, last_seq, batch_id, kind, slots, prices, volumes)"
            " VALUES ($1, $2, $2, 0, $3, $4, $5, $6)",
            [
                (delivery_day, seq - 1, "close", [], [], []),
                (delivery_day, seq, "clear", *([row[column] for row in cleared] for column in range(3))),
            ],
        )
        await connection.executemany(
            "INSERT INTO fills VALUES ($1, $2, $3)", [(delivery_day, *fill) for fill in fills.items()]
        )
        for account_id in {row["account_id"] for row in bids}:
            position = _position([row for row in bids if row["account_id"] == account_id], fills)
            await give(connection, account_id, delivery_day, position)
    return seq


async def give(connection: Connection, account_id: int, delivery_day: date, position: Mapping[int, int]) -> None:
    """What the auction gave an account, volume ticks by slot: an event of its own sequence."""
    await connection.execute(
        "WITH counted AS (UPDATE account_feeds SET last_seq = last_seq + 1 WHERE account_id = $1 RETURNING last_seq)"
        " INSERT INTO cleared_positions SELECT $1, $2, last_seq, $3, $4 FROM counted",
        account_id,
        delivery_day,
        sorted(position),
        [position[slot] for slot in sorted(position)],
    )


def _slots(
    bids: list[Any], prices: Mapping[int, tuple[int, int, int]], fills: Mapping[int, int]
) -> list[tuple[Any, ...]]:
    rows = []
    for slot in range(1, SLOTS + 1):
        sides = {side: [row for row in bids if row["slot"] == slot and row["side"] == side] for side in "BS"}
        bought, sold = (sum(fills.get(row["bid_seq"], 0) for row in sides[side]) for side in "BS")
        assert bought == sold, f"slot {slot} buys {bought} and sells {sold}"
        asked, offered = (sum(row["volume"] for row in sides[side]) for side in "BS")
        price = prices.get(slot, (None, None, None))
        rows.append((slot, *price, sold, asked, offered, len(sides["B"]), len(sides["S"])))
    return rows


def _position(bids: list[Any], fills: Mapping[int, int]) -> dict[int, int]:
    position: dict[int, int] = defaultdict(int)
    for row in bids:
        if row["bid_seq"] in fills:
            position[row["slot"]] += fills[row["bid_seq"]]
    return position


def _seq_of(bid_id: int, delivery_day: date) -> int:
    named = split_bid_id(bid_id)
    assert named is not None
    assert named[0] == delivery_day, "a bid of another day"
    return named[1]
