"""Responses kept under clients' idempotency keys: one typed function for each query file.

What lives here: finding, keeping and forgetting them. What must not: deciding what a replay means (writer.py).
"""

import asyncio
import hashlib
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

# The account, and the digest of what else a key is bound to.
Scope: TypeAlias = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response that was given, and the digest of the body that it answered."""

    body_sha256: bytes
    response: bytes


def scope_of(command: Command) -> Scope | None:
    """Within what a command's key names one request: the account, the method and the path. None without a key."""
    key = command.key
    if key is None:
        return None
    # Neither a method nor a path holds a line break, so no two scopes have the same text.
    return command.account_id, hashlib.sha256(f"{key.method}\n{key.path}\n{key.key}".encode()).digest()


async def find_responses(connection: Connection, scopes: Sequence[Scope]) -> dict[Scope, KeptResponse]:
    """The live responses kept under the given keys."""
    rows = await connection.fetch(
        QUERIES["idempotency/find"],
        [account_id for account_id, _ in scopes],
        [digest for _, digest in scopes],
        KEY_LIFETIME,
    )
    return {(row["account_id"], row["scope"]): KeptResponse(row["body_sha256"], row["response"]) for row in rows}


async def keep_responses(connection: Connection, commands: Sequence[Command], responses: Sequence[bytes]) -> None:
    """Keep the responses of commands under their keys, none of which has a live one."""
    keyed = [(scope, command.key) for command in commands if (scope := scope_of(command)) and command.key]
    await connection.execute(
        QUERIES["idempotency/keep"],
        [account_id for (account_id, _), _ in keyed],
        [digest for (_, digest), _ in keyed],
        [key.body_sha256 for _, key in keyed],
        list(responses),
    )


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
