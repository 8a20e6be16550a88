"""Clearing a delivery day: one transaction from the closed log to committed results.

What lives here: who may clear, the statements in their order, and the columns that go to the auction and come back.
What must not: the auction's rules (market/), or when a day is due (server/gate_keeper.py).

A connection of its own, without the short time limits of requests: a million bids take seconds. No lock is held that a
request could wait for until the last moment: a closed day's log does not change any more, so it is read without one.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from market.calendar import Calendar
from market.clearing import PriceRule
from storage.database import as_unavailable, committed
from storage.sql import QUERIES

if TYPE_CHECKING:
    from market.day_auction import DayAuction, DayBids, Positions

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
# One statement reads a million bids, or writes as many fills.
_STATEMENT_S: Final = 120.0
# Writers hold these locks for moments.
_LOCK_S: Final = 10.0
# Between statements a million bids take a second or two to clear.
_IDLE_S: Final = 30.0
_PIECE: Final = 1 << 16


class Clearance(Enum):
    """What became of an attempt to clear a day."""

    NOT_DUE = "its gate is still open"
    UNKNOWN = "nobody used it"
    TAKEN = "another process is clearing it"
    CLEARED = "cleared"
    CLEARED_BEFORE = "was cleared before"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt, and if it cleared the day: the number of the event that announces it, how many bids
    took part and how many were filled, the seconds that reading, clearing and writing took."""

    clearance: Clearance
    seq: int | None = None
    bids: int = 0
    filled: int = 0
    read_s: float = 0.0
    clear_s: float = 0.0
    write_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a delivery day has come; `seq`, `price_rule` and `cleared_at` are of its clearing, None before."""

    state: str
    last_seq: int
    seq: int | None
    price_rule: str | None
    cleared_at: datetime | None


async def clear_day(
    database_url: str, delivery_day: date, calendar: Calendar, rule: PriceRule, *, must_exist: bool = False
) -> Outcome:
    """Close a day's gate if it is due, and clear the day if nobody has. Asking again is safe, whatever happened.

    A day that nobody used is cleared too, without a result, but for `must_exist`. Raises DatabaseUnavailable.
    """
    async with _connected(database_url) as connection:
        if not await connection.fetchval(QUERIES["clearing/try_lock"], delivery_day):
            return Outcome(Clearance.TAKEN)
        standing = await _standing(connection, delivery_day)
        if must_exist and standing is None:
            return Outcome(Clearance.UNKNOWN)
        # What is closed stays closed, wherever the clock or the gate's time may have been set since.
        if standing is None or standing.state == "open":
            gate_at = calendar.gate_at(delivery_day)
            closure = await connection.fetchrow(QUERIES["gate/close"], delivery_day, gate_at, secrets.randbits(63))
            if closure is None or not closure["is_due"]:
                return Outcome(Clearance.NOT_DUE)
        async with _transaction(connection):
            return await _clear(connection, delivery_day, rule)


async def preview_day(database_url: str, delivery_day: date, rule: PriceRule) -> "tuple[Standing, DayAuction] | None":
    """What a day would clear if its gate closed now, or cleared; nothing is written. None when nobody used it. Raises
    DatabaseUnavailable."""
    async with (
        _connected(database_url) as connection,
        _transaction(connection, isolation="repeatable_read", readonly=True),
    ):
        standing = await _standing(connection, delivery_day)
        if standing is None:
            return None
        bids = await _read_bids(connection, delivery_day)
        return standing, await asyncio.to_thread(_clear_slots, bids, rule)


async def _clear(connection: Connection, delivery_day: date, rule: PriceRule) -> Outcome:
    began = time.monotonic()
    standing = await _standing(connection, delivery_day)
    if standing is not None and standing.state == "cleared":
        return Outcome(Clearance.CLEARED_BEFORE, standing.seq)
    bids = await _read_bids(connection, delivery_day)
    read = time.monotonic()
    found, given = await asyncio.to_thread(_work_out, bids, rule)
    cleared = time.monotonic()
    await _write_fills(connection, delivery_day, bids, found)
    await _gather_positions(connection, given)
    # Whoever waited for this day from here on waits for moments.
    locked = await connection.fetchrow(QUERIES["clearing/lock_day"], delivery_day)
    if locked is None or locked["state"] != "closed":
        raise AssertionError(f"{delivery_day} changed while its clearing lock was held")
    seq = await connection.fetchval(QUERIES["clearing/write_results"], *_results(delivery_day, found, rule))
    await connection.execute(QUERIES["clearing/lock_accounts"])
    await connection.execute(QUERIES["clearing/write_positions"], delivery_day)
    return Outcome(
        Clearance.CLEARED,
        seq,
        bids=len(bids.volumes),
        filled=int((found.filled > 0).sum()),
        read_s=read - began,
        clear_s=cleared - read,
        write_s=time.monotonic() - cleared,
    )


@contextlib.asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[Connection]:
    """A connection of its own; locks of its session go with it. Raises DatabaseUnavailable."""
    with as_unavailable():
        connection = await asyncpg.connect(
            database_url,
            timeout=_LOCK_S,
            command_timeout=_STATEMENT_S,
            server_settings={
                "application_name": "shakti-clearing",
                "timezone": "UTC",
                "default_transaction_isolation": "read committed",
                "jit": "off",
                "lock_timeout": f"{int(_LOCK_S * 1000)}ms",
                "statement_timeout": f"{int(_STATEMENT_S * 1000)}ms",
                # A process that stops in the middle must not keep others from clearing.
                "idle_in_transaction_session_timeout": f"{int(_IDLE_S * 1000)}ms",
            },
        )
        try:
            yield connection
        finally:
            connection.terminate()


@contextlib.asynccontextmanager
async def _transaction(connection: Connection, **options: Any) -> AsyncIterator[None]:
    transaction = connection.transaction(**options)
    await transaction.start()
    async with committed(connection, transaction):
        yield


async def _standing(connection: Connection, delivery_day: date) -> Standing | None:
    row = await connection.fetchrow(QUERIES["clearing/read_day"], delivery_day)
    return None if row is None else Standing(*row)


async def _read_bids(connection: Connection, delivery_day: date) -> "DayBids":
    text = bytearray()

    async def take(piece: bytes) -> None:
        # To put a list of them together at the end would hold up all threads for as long as that takes.
        text.extend(piece)

    query = QUERIES["clearing/read_bids"].rstrip(";")
    await connection.copy_from_query(query, delivery_day, output=take, format="binary")
    return await asyncio.to_thread(_columns_of, text)


def _columns_of(text: bytearray) -> "DayBids":
    # Here and not above: NumPy takes a worker that never clears some 25 MB.
    from market.day_auction import DayBids
    from storage.binary_copy import columns_of

    columns = columns_of(text, bid_seq=8, priority=8, account=8, slot=2, side=1, price=8, volume=8)
    return DayBids(
        columns["bid_seq"],
        columns["priority"],
        columns["account"],
        columns["slot"],
        columns["side"] == ord("S"),
        columns["price"],
        columns["volume"],
    )


def _clear_slots(bids: "DayBids", rule: PriceRule) -> "DayAuction":
    from market.day_auction import clear_slots

    return clear_slots(bids, rule)


def _work_out(bids: "DayBids", rule: PriceRule) -> "tuple[DayAuction, Positions]":
    from market.day_auction import clear_slots, positions

    found = clear_slots(bids, rule)
    return found, positions(bids, found.filled)


async def _write_fills(connection: Connection, delivery_day: date, bids: "DayBids", found: "DayAuction") -> None:
    def rows() -> memoryview:
        import numpy as np

        from storage.binary_copy import rows_of

        taken = np.flatnonzero(found.filled)
        # In the order of the table's key, which is then filled page by page.
        taken = taken[np.argsort(bids.bid_seqs[taken])]
        # A date is the number of days since 2000.
        days = np.full(len(taken), (delivery_day - date(2000, 1, 1)).days, dtype=np.int32)
        return rows_of(delivery_day=days, bid_seq=bids.bid_seqs[taken], volume=found.filled[taken])

    await _copy(connection, "fills", await asyncio.to_thread(rows))


async def _gather_positions(connection: Connection, given: "Positions") -> None:
    from storage.binary_copy import rows_of

    await connection.execute(QUERIES["clearing/make_given"])
    filled = rows_of(account_id=given.accounts, slot=given.slots, volume=given.volumes)
    await _copy(connection, "given", filled)
    await _copy(connection, "given", rows_of(account_id=given.unfilled), ["account_id"])
    await connection.execute(QUERIES["clearing/gather_given"])


async def _copy(connection: Connection, table: str, rows: memoryview, columns: list[str] | None = None) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(rows), _PIECE):
            yield bytes(rows[start : start + _PIECE])

    await connection.copy_to_table(table, source=pieces(), columns=columns, format="binary")


def _results(delivery_day: date, found: "DayAuction", rule: PriceRule) -> list[object]:
    """The parameters of clearing/write_results."""
    slots = found.slots
    cleared = [result.clearing for result in slots]
    return [
        delivery_day,
        secrets.randbits(63),
        rule.value,
        [one and one.price for one in cleared],
        [one and one.lo for one in cleared],
        [one and one.hi for one in cleared],
        [one.volume if one else 0 for one in cleared],
        [result.buy_volume for result in slots],
        [result.sell_volume for result in slots],
        [result.buy_bids for result in slots],
        [result.sell_bids for result in slots],
    ]
