"""Operators: one typed function for each query file.

What lives here: making and finding them. What must not: what an operator may see.
"""

from dataclasses import dataclass

import asyncpg

from storage.database import Database
from storage.errors import AlreadyRegistered
from storage.sql import QUERIES


@dataclass(frozen=True, slots=True)
class OperatorCredentials:
    """What an operator's sign-in is checked against."""

    operator_id: int
    password_hash: str
    token_generation: int


async def create(database: Database, name: str, password_hash: str) -> None:
    """Make an operator. Raises AlreadyRegistered."""
    try:
        async with database.transaction() as connection:
            await connection.execute(QUERIES["operators/create"], name, password_hash)
    except asyncpg.UniqueViolationError as fault:
        raise AlreadyRegistered(("name",)) from fault


async def find_credentials(database: Database, name: str) -> OperatorCredentials | None:
    """What a sign-in under this name is checked against."""
    row = await database.fetchrow("operators/find_credentials", name)
    return None if row is None else OperatorCredentials(row["id"], row["password_hash"], row["token_generation"])
