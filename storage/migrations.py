"""Versioned migrations: forward only, gap-free, each applied once in a transaction of its own.

What lives here: reading sql/migrations, the ledger of what was applied, the lock that lets several processes start at
once. What must not: SQL of any migration.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from storage.sql import QUERIES, SQL_DIR

# Any number that is ours alone: the key of PostgreSQL's advisory lock.
_LOCK_KEY = 7_406_274_213
_NAME = re.compile(r"([0-9]{4})_([a-z][a-z0-9_]*)\.sql")


class MigrationError(Exception):
    """The migrations or the database are not as they should be; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def title(self) -> str:
        return f"{self.number:04}_{self.name}"


def read_migrations(directory: Path = SQL_DIR / "migrations") -> list[Migration]:
    """All migrations in order. Raises MigrationError for a bad name, a repeated number or a gap."""
    found = []
    for file in sorted(directory.iterdir()):
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"{file} is not named like 0001_verb_noun.sql; rename or remove it")
        found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    for position, migration in enumerate(found, start=1):
        if migration.number != position:
            raise MigrationError(
                f"{migration.title}: number {position:04} was expected; numbers run without gap or repeat"
            )
    return found


async def migrate(
    dsn: str, migrations: Sequence[Migration] | None = None, *, lock_timeout_s: float = 30.0
) -> list[str]:
    """Bring the database to the state of the code; returns the titles of the migrations applied now.

    Safe when several processes start at once: one applies, the others wait and find nothing to do. Raises
    MigrationError when the ledger disagrees with the files, a statement fails (nothing of that migration stays), or
    the lock is not free within `lock_timeout_s` seconds.
    """
    plan = read_migrations() if migrations is None else list(migrations)
    connection = await asyncpg.connect(dsn, timeout=10, server_settings={"application_name": "shakti-migrate"})
    try:
        await _lock(connection, lock_timeout_s)
        await connection.execute(QUERIES["migrations/create_ledger"])
        applied = {row["number"]: row for row in await connection.fetch(QUERIES["migrations/list"])}
        _check_ledger(plan, applied)
        done = []
        for migration in plan[len(applied) :]:
            await _apply(connection, migration)
            done.append(migration.title)
        return done
    finally:
        # Closing the session frees the lock too, also when it is closed by a crash.
        await connection.close()


async def _lock(connection: "asyncpg.Connection[asyncpg.Record]", timeout_s: float) -> None:
    # Polled: waiting inside pg_advisory_lock() holds a snapshot, which deadlocks with CREATE INDEX CONCURRENTLY.
    deadline = time.monotonic() + timeout_s
    while not await connection.fetchval(QUERIES["migrations/try_lock"], _LOCK_KEY):
        if time.monotonic() >= deadline:
            holder = await connection.fetchrow(QUERIES["migrations/find_lock_holder"], _LOCK_KEY)
            who = f"process {holder['pid']} ({holder['application_name']})" if holder else "another process"
            raise MigrationError(
                f"{who} has held the migration lock for over {timeout_s:g} s; let it finish, or end that database "
                "session and start again"
            )
        await asyncio.sleep(0.05)


def _check_ledger(plan: Sequence[Migration], applied: dict[int, asyncpg.Record]) -> None:
    for number, row in sorted(applied.items()):
        title = f"{number:04}_{row['name']}"
        if number > len(plan):
            raise MigrationError(
                f"the database was migrated by a newer version (it has {title}); start that version instead"
            )
        if (row["name"], row["sha256"]) != (plan[number - 1].name, plan[number - 1].sha256):
            raise MigrationError(
                f"{plan[number - 1].title}.sql is not what was applied to this database as {title}; restore the file "
                "and put the change into a new migration"
            )
    if sorted(applied) != list(range(1, len(applied) + 1)):
        raise MigrationError("the ledger schema_migrations has a gap; restore the database from a backup")


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.text)
            await connection.execute(QUERIES["migrations/record"], migration.number, migration.name, migration.sha256)
    except asyncpg.PostgresError as fault:
        raise MigrationError(f"{migration.title}.sql failed and was rolled back: {fault}") from fault
