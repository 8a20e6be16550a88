"""Responses kept under clients' idempotency keys: one typed function for each query file.

What lives here: finding, keeping and forgetting them. What must not: deciding what a replay means (writer.py).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import structlog

from storage.commands import IdempotencyKey
from storage.database import Connection, Database
from storage.errors import DatabaseUnavailable
from storage.sql import QUERIES

KEY_LIFETIME = timedelta(hours=24)
_FORGET_AT_ONCE = 5000
log = structlog.get_logger("shakti.idempotency")

Scope: TypeAlias = tuple[int, str, str, str]


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response that was given, and the digest of the body that it answered."""

    body_sha256: bytes
    response: bytes


def scope_of(account_id: int, key: IdempotencyKey) -> Scope:
    """Within what a key names one request: the account, the method and the path."""
    return account_id, key.method, key.path, key.key


async def find_responses(connection: Connection, scopes: Sequence[Scope]) -> dict[Scope, KeptResponse]:
    """The live responses kept under the given keys."""
    columns = [list(column) for column in zip(*scopes, strict=True)]
    rows = await connection.fetch(QUERIES["idempotency/find"], *columns, KEY_LIFETIME)
    return {
        (row["account_id"], row["method"], row["path"], row["key"]): KeptResponse(row["body_sha256"], row["response"])
        for row in rows
    }


async def keep_responses(
    connection: Connection,
    account_ids: Sequence[int],
    keys: Sequence[IdempotencyKey],
    responses: Sequence[bytes],
) -> bool:
    """Keep responses; false when another transaction kept one under one of the keys meanwhile."""
    rows = await connection.fetch(
        QUERIES["idempotency/keep"],
        list(account_ids),
        [key.method for key in keys],
        [key.path for key in keys],
        [key.key for key in keys],
        [key.body_sha256 for key in keys],
        list(responses),
        KEY_LIFETIME,
    )
    return len(rows) == len(keys)


async def forget_old_responses(database: Database, every_s: float = 600.0) -> None:
    """Forget keys past their lifetime, again and again until cancelled."""
    while True:
        try:
            async with database.transaction() as connection:
                answer = await connection.execute(QUERIES["idempotency/forget"], KEY_LIFETIME, _FORGET_AT_ONCE)
        except DatabaseUnavailable:
            log.warning("old idempotency keys not forgotten: the database is unavailable")
            answer = ""
        if answer != f"DELETE {_FORGET_AT_ONCE}":
            await asyncio.sleep(every_s)
