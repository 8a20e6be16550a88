"""Accounts' own sequences: a log that was written before they existed gets its numbers, and every account its row."""

from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pytest

from storage.migrations import migrate, read_migrations
from tests.account_log import assert_sequences_are_whole, make_accounts, own_numbers
from tests.conftest import Services

FIRST_DAY, SECOND_DAY = date(2026, 11, 23), date(2026, 11, 24)
DAYS = (FIRST_DAY, SECOND_DAY)


@pytest.fixture
async def old_url(services: Services) -> AsyncIterator[str]:
    """A database from before accounts had sequences."""
    admin = await asyncpg.connect(services.database_url)
    await admin.execute("CREATE DATABASE before_feeds")
    url = services.url_of("before_feeds")
    await migrate(url, read_migrations()[:3])
    yield url
    await admin.execute("DROP DATABASE before_feeds WITH (FORCE)")
    await admin.close()


async def write_old_log(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Three accounts, two of them with requests on two days, in an order of time that is not that of the days."""
    await make_accounts(connection, 3)
    await connection.execute("INSERT INTO delivery_days (delivery_day, last_seq) VALUES ($1, 6), ($2, 1)", *DAYS)
    rows = [
        # day, first seq, last seq, second of the minute, account, kind
        (FIRST_DAY, 1, 3, 1, 1, "place"),
        (FIRST_DAY, 4, 4, 3, 2, "place"),
        (FIRST_DAY, 5, 5, 4, 1, "withdraw"),
        (FIRST_DAY, 6, 6, 5, None, "close"),
        (SECOND_DAY, 1, 1, 2, 1, "place"),
    ]
    for day, first_seq, last_seq, second, account, kind in rows:
        count = 0 if account is None else last_seq - first_seq + 1
        await connection.execute(
            """
            INSERT INTO book_events (delivery_day, first_seq, last_seq, at, batch_id, account_id, kind, side,
                                     slots, prices, volumes)
            VALUES ($1, $2, $3, timestamptz '2026-11-20 10:00Z' + make_interval(secs => $4), 1, $5, $6, 'S',
                    array_fill(1::smallint, ARRAY[$7::int]), array_fill(1::bigint, ARRAY[$7::int]),
                    array_fill(1::bigint, ARRAY[$7::int]))
            """,
            *(day, first_seq, last_seq, float(second), account, kind, count),
        )
    await connection.execute(
        "INSERT INTO account_days SELECT account_id, delivery_day, count(*) FROM book_events"
        " WHERE account_id IS NOT NULL GROUP BY account_id, delivery_day"
    )


async def test_an_older_log_gets_numbers_in_the_order_of_its_time(old_url: str) -> None:
    connection = await asyncpg.connect(old_url)
    await write_old_log(connection)
    assert (await migrate(old_url))[0] == "0004_create_account_feeds"
    rows = await connection.fetch(
        "SELECT delivery_day, first_seq, account_id, account_seq FROM book_events ORDER BY delivery_day, first_seq"
    )
    assert [tuple(row) for row in rows] == [
        (FIRST_DAY, 1, 1, 1),
        (FIRST_DAY, 4, 2, 1),
        (FIRST_DAY, 5, 1, 3),
        (FIRST_DAY, 6, None, None),
        (SECOND_DAY, 1, 1, 2),
    ]
    await assert_sequences_are_whole(connection)
    days = await connection.fetch("SELECT * FROM account_days ORDER BY account_id, delivery_day")
    assert [(row["account_id"], row["first_account_seq"], row["last_account_seq"]) for row in days] == [
        (1, 1, 3),
        (1, 2, 2),
        (2, 1, 1),
    ]
    feeds = await connection.fetch("SELECT account_id, last_seq FROM account_feeds ORDER BY account_id")
    assert [tuple(row) for row in feeds] == [(1, 3), (2, 1), (3, 0)]
    await connection.close()


async def test_an_account_has_its_row_from_the_start_and_no_longer_than_itself(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    await make_accounts(connection, 2)
    feeds = await connection.fetch("SELECT account_id, last_seq FROM account_feeds ORDER BY 1")
    assert [tuple(row) for row in feeds] == [(1, 0), (2, 0)]
    await connection.execute("DELETE FROM accounts WHERE id = 1")
    assert await connection.fetchval("SELECT array_agg(account_id) FROM account_feeds") == [2]
    assert await own_numbers(connection) == {}
