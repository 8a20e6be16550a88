"""Responses kept under clients' idempotency keys: one typed function for each query file.

What lives here: finding, keeping and forgetting them. What must not: deciding what a replay means (writer.py).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import structlog

from storage.commands import Command
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


def scope_of(command: Command) -> Scope | None:
    """Within what a command's key names one request: the account, the method and the path. None without a key."""
    key = command.key
    return None if key is None else (command.account_id, key.method, key.path, key.key)


async def find_responses(connection: Connection, scopes: Sequence[Scope]) -> dict[Scope, KeptResponse]:
    """The live responses kept under the given keys."""
    columns = [list(column) for column in zip(*scopes, strict=True)]
    rows = await connection.fetch(QUERIES["idempotency/find"], *columns, KEY_LIFETIME)
    return {
        (row["account_id"], row["method"], row["path"], row["key"]): KeptResponse(row["body_sha256"], row["response"])
        for row in rows
    }


async def keep_responses(connection: Connection, commands: Sequence[Command], responses: Sequence[bytes]) -> bool:
    """Keep the responses of commands under their keys; false when another transaction was first with one of them."""
    keyed = [(command.account_id, command.key) for command in commands if command.key]
    rows = await connection.fetch(
        QUERIES["idempotency/keep"],
        [account_id for account_id, _ in keyed],
        [key.method for _, key in keyed],
        [key.path for _, key in keyed],
        [key.key for _, key in keyed],
        [key.body_sha256 for _, key in keyed],
        list(responses),
        KEY_LIFETIME,
    )
    return len(rows) == len(keyed)


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
