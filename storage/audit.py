"""Reading a delivery day for its audit: the log in stretches, and every table that says the same, all as of one moment.

What lives here: one typed function for each query file, and the connection they share. What must not: any comparison
(market/audit.py, market/audit_book.py), writing.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeAlias

import asyncpg

from market.audit_rows import ChangedBid, ClearedSlot, CountedAccount, Fill, LoggedRow, Position
from storage.sql import QUERIES

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_CONNECT_S: Final = 10.0
# Longest wait for one stretch. It may be the first of a million rows that have to be sorted.
_STRETCH_S: Final = 120.0
# A row of the log holds up to a thousand bids, and one of the positions 96 slots.
_LOG_ROWS: Final = 200
_WIDE_ROWS: Final = 2_000
_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class AuditedDay:
    """How far a delivery day has come. `state` and `last_seq` are None without a row of delivery_days, `cleared_seq`
    and `price_rule` without one of cleared_days; `has_results` tells of any row of results."""

    state: str | None
    last_seq: int | None
    cleared_seq: int | None
    price_rule: str | None
    has_results: bool


@contextlib.asynccontextmanager
async def snapshot(database_url: str) -> AsyncIterator[Connection]:
    """A connection of its own on which every query sees the database as of its first one. Nothing can be written on it.

    Raises what asyncpg raises: an audit runs once, for a person, and need not ride through a restart.
    """
    connection = await asyncpg.connect(
        database_url,
        timeout=_CONNECT_S,
        command_timeout=_STRETCH_S,
        server_settings={
            "application_name": "shakti-audit",
            "timezone": "UTC",
            "jit": "off",
            # Between two stretches the audit computes, for as long as that takes.
            "idle_in_transaction_session_timeout": "0",
            "statement_timeout": "0",
        },
    )
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        connection.terminate()


async def read_day(connection: Connection, delivery_day: date) -> AuditedDay | None:
    """How far a delivery day has come; None when nothing is known of it."""
    row = await connection.fetchrow(QUERIES["audit/read_day"], delivery_day)
    return None if row is None else AuditedDay(*row)


async def read_log(connection: Connection, delivery_day: date) -> AsyncIterator[list[LoggedRow]]:
    """The log, ordered by first event, in stretches."""
    async for rows in _stretches(connection, "audit/read_log", delivery_day, _LOG_ROWS):
        yield [LoggedRow(*row) for row in rows]


async def list_changed_bids(connection: Connection, delivery_day: date) -> AsyncIterator[list[ChangedBid]]:
    """All rows of changed_bids, in stretches."""
    async for rows in _stretches(connection, "audit/list_changed_bids", delivery_day, _ROWS):
        yield [ChangedBid(*row) for row in rows]


async def list_account_days(connection: Connection, delivery_day: date) -> AsyncIterator[list[CountedAccount]]:
    """All rows of account_days, in stretches."""
    async for rows in _stretches(connection, "audit/list_account_days", delivery_day, _ROWS):
        yield [CountedAccount(*row) for row in rows]


async def list_slots(connection: Connection, delivery_day: date) -> list[ClearedSlot]:
    """All rows of cleared_slots."""
    return [ClearedSlot(*row) for row in await connection.fetch(QUERIES["audit/list_slots"], delivery_day)]


async def list_fills(connection: Connection, delivery_day: date) -> AsyncIterator[list[Fill]]:
    """All rows of fills, in stretches."""
    async for rows in _stretches(connection, "audit/list_fills", delivery_day, _ROWS):
        yield [Fill(*row) for row in rows]


async def list_positions(connection: Connection, delivery_day: date) -> AsyncIterator[list[Position]]:
    """All rows of cleared_positions, in stretches."""
    async for rows in _stretches(connection, "audit/list_positions", delivery_day, _WIDE_ROWS):
        yield [Position(*row) for row in rows]


async def list_taken_numbers(connection: Connection, delivery_day: date) -> AsyncIterator[list[tuple[int, int]]]:
    """Account and number of every position whose number in its account's own sequence is another event's, or beyond the
    account's last, in stretches."""
    async for rows in _stretches(connection, "audit/list_taken_numbers", delivery_day, _ROWS):
        yield [(row["account_id"], row["account_seq"]) for row in rows]


async def _stretches(
    connection: Connection, query: str, delivery_day: date, rows: int
) -> AsyncIterator[list[asyncpg.Record]]:
    """What a query finds, at most so many rows at a time, so that a day of any length takes the same memory."""
    cursor = await connection.cursor(QUERIES[query], delivery_day)
    while stretch := await cursor.fetch(rows):
        yield stretch
