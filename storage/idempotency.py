"""Clients' idempotency keys: one typed function for each query file.

What lives here: finding and forgetting them, and forgetting with them the batches that were given up; they are written
with what they answer for (book_transaction.py, short_way.py). What must not: deciding what a replay means.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import structlog
from asyncpg import Record

from storage.arrays import array_of, array_of_words
from storage.commands import Command, Receipt
from storage.database import Connection, Database
from storage.errors import DatabaseUnavailable
from storage.sql import QUERIES

KEY_LIFETIME = timedelta(hours=24)
# Far longer than any connection keeps a statement that did not arrive yet.
_ABANDONED_LIFETIME = timedelta(hours=24)
_FORGET_AT_ONCE = 5000
log = structlog.get_logger("shakti.idempotency")

# The account, and the digest of what else a key is bound to.
Scope: TypeAlias = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What answered a key first, and the digest of the body of that request. `answer` is the receipt that the same
    response is rendered from again, or the response itself where an earlier version kept it."""

    body_sha256: bytes
    answer: Receipt | bytes


def scope_of(command: Command) -> Scope | None:
    """Within what a command's key names one request: the account, the method and the path. None without a key."""
    key = command.key
    if key is None:
        return None
    # Neither a method nor a path holds a line break, so no two scopes have the same text.
    return command.account_id, hashlib.sha256(f"{key.method}\n{key.path}\n{key.key}".encode()).digest()


async def find_answers(connection: Connection, scopes: Sequence[Scope]) -> dict[Scope, KeptAnswer]:
    """What the given keys were answered with, of those that are alive."""
    rows = await connection.fetch(
        QUERIES["idempotency/find"],
        array_of([account_id for account_id, _ in scopes]),
        array_of_words(digest.hex() for _, digest in scopes),
        KEY_LIFETIME,
    )
    return {(row["account_id"], row["scope"]): KeptAnswer(row["body_sha256"], _answer(row)) for row in rows}


def _answer(row: Record) -> Receipt | bytes:
    if row["response"] is not None:
        response: bytes = row["response"]
        return response
    if row["kind"] == "place":
        bid_seq, columns = row["first_seq"], (row["slots"], row["prices"], row["volumes"])
    else:
        # The bid as it stood then: with its new price and volume, or when it was withdrawn with its last.
        bid_seq, columns = row["bid_seq"], (row["slots"][-1:], row["prices"][-1:], [abs(row["volumes"][-1])])
    is_withdrawn = row["kind"] == "withdraw"
    return Receipt(row["delivery_day"], row["last_seq"], bid_seq, row["side"], *columns, is_withdrawn=is_withdrawn)


async def forget_what_is_old(database: Database, every_s: float = 600.0) -> None:
    """Forget keys past their lifetime, and batches that were given up as long ago, again and again until cancelled."""
    while True:
        try:
            async with database.transaction() as connection:
                answer = await connection.execute(QUERIES["idempotency/forget"], KEY_LIFETIME, _FORGET_AT_ONCE)
                await connection.execute(QUERIES["book/forget_abandoned"], _ABANDONED_LIFETIME)
        except DatabaseUnavailable:
            log.warning("old idempotency keys not forgotten: the database is unavailable")
            answer = ""
        if answer != f"DELETE {_FORGET_AT_ONCE}":
            await asyncio.sleep(every_s)
