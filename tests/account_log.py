"""Accounts' own sequences in the database, seen from outside.

What lives here: bare accounts for tests of storage, and looking at their numbers. What must not: placing anything.
"""

from typing import TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def make_accounts(connection: Connection, count: int) -> None:
    """Accounts 1 to `count` in a database that has none yet."""
    await connection.execute(
        """
        INSERT INTO accounts (account_type, connection_id, username, phone, phone_as_given, password_hash)
        SELECT 'prosumer', n, 'Asha', '+9198' || to_char(n, 'FM00000000'), n, '' FROM generate_series(1, $1) AS n
        """,
        count,
    )


async def own_numbers(connection: Connection) -> dict[int, list[int]]:
    """Of each account with events of the book: their numbers in its own sequence, in order."""
    rows = await connection.fetch(
        """
        SELECT account_id, array_agg(account_seq ORDER BY account_seq) AS numbers
          FROM book_events WHERE account_id IS NOT NULL GROUP BY account_id
        """
    )
    return {row["account_id"]: row["numbers"] for row in rows}


async def assert_sequences_are_whole(connection: Connection) -> None:
    """Every account's numbers are 1, 2, 3, ..., its row knows the last, and its days their first and last."""
    numbers = await own_numbers(connection)
    assert numbers == {account: list(range(1, len(taken) + 1)) for account, taken in numbers.items()}
    last = await connection.fetch("SELECT account_id, last_seq FROM account_feeds WHERE last_seq > 0")
    assert {row["account_id"]: row["last_seq"] for row in last} == {a: len(taken) for a, taken in numbers.items()}
    wrong = await connection.fetch(
        """
        SELECT *
          FROM (
                SELECT account_id, delivery_day,
                       min(account_seq) AS first_account_seq, max(account_seq) AS last_account_seq
                  FROM book_events WHERE account_id IS NOT NULL GROUP BY account_id, delivery_day
               ) AS counted
          FULL JOIN account_days AS kept USING (account_id, delivery_day, first_account_seq, last_account_seq)
         WHERE counted IS NULL OR kept IS NULL
        """
    )
    assert wrong == []
