"""The server with a lock taken out, for tests that must see it break.

A mutant widens the window that its missing lock leaves open, so that it loses every time; the real server must win
under the same requests. What lives here: the mutants. What must not: the races that they lose.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from storage import book_transaction
from storage.codes import Codes, ConsumedOtp, OtpAnswer, OtpRules
from storage.short_way import Placements
from storage.sql import QUERIES

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_MIGRATIONS = Path(__file__).resolve().parents[1] / "sql" / "migrations"


def mutate(monkeypatch: pytest.MonkeyPatch, query: str, old: str, new: str) -> None:
    """Replace a part of a query file for the rest of the test."""
    text = QUERIES[query]
    assert old in text, f"{query} has changed; the mutant must change with it"
    monkeypatch.setitem(QUERIES._texts, query, text.replace(old, new))


def only_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every batch written statement by statement, as those are that the short way is no good for."""
    monkeypatch.setattr(Placements, "of", lambda *_: None)


async def mutate_the_short_way(connection: Connection, *parts: tuple[str, str]) -> None:
    """Replace parts of the function that places a batch at once, in the test's database."""
    text = (_MIGRATIONS / "0007_place_at_once.sql").read_text()
    body = text[text.index("CREATE FUNCTION place_at_once") :]
    for old, new in parts:
        assert body.count(old) == 1, f"the function has changed; the mutant must change with it: {old}"
        body = body.replace(old, new)
    await connection.execute(body.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))


async def until_waiting(connection: Connection, count: int) -> None:
    """Return when so many statements wait for a lock."""
    async with asyncio.timeout(5):
        while count > await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass


def without_the_lock_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers of one day, and of one account, read without waiting for each other; the next two have both read before
    either writes."""
    only_the_long_way(monkeypatch)
    mutate(monkeypatch, "book/lock_day", "FOR UPDATE", "")
    mutate(monkeypatch, "book/lock_accounts", "FOR UPDATE OF f", "")
    meet = meeting(2)
    write = book_transaction._write

    async def meet_and_write(*args: Any) -> None:
        await meet()
        await write(*args)

    monkeypatch.setattr(book_transaction, "_write", meet_and_write)


async def without_the_key_of_the_log(connection: Connection) -> None:
    """What catches two writers that took the same number."""
    await connection.execute("ALTER TABLE book_events DROP CONSTRAINT book_events_pkey")


def meeting(parties: int) -> Callable[[], Awaitable[None]]:
    """Where the first so many callers wait for each other; later ones pass."""
    barrier, expected = asyncio.Barrier(parties), iter(range(parties))

    async def meet() -> None:
        if next(expected, None) is not None:
            async with asyncio.timeout(10):
                await barrier.wait()

    return meet


def look_then_delete(monkeypatch: pytest.MonkeyPatch, parties: int) -> None:
    """Have OTPs tried in several steps, as one would write it first; so many have looked before the first deletes."""
    meet = meeting(parties)

    async def try_otp(
        self: Codes, purpose: str, phone: str, digest: str, rules: OtpRules
    ) -> tuple[OtpAnswer, ConsumedOtp | None]:
        key = f"otp:{purpose}:{phone}"
        redis = self._redis
        kept = await redis.hgetall(key)
        await meet()
        if kept.get("digest") == digest:
            await redis.delete(key)
            return OtpAnswer.RIGHT, ConsumedOtp(key, digest, 1000, 0)
        failures = int(kept.get("failures", 0)) + 1
        await redis.hset(key, "failures", failures)
        if failures >= rules.tries:
            await redis.delete(key)
        return OtpAnswer.WRONG, None

    monkeypatch.setattr(Codes, "try_otp", try_otp)
