"""Clearing a day by hand, as an operator does: what is said, what is written, and what is refused."""

from datetime import timedelta
from typing import TypeAlias

import asyncpg
import pytest

from market.calendar import Calendar
from storage.commands import Place
from storage.database import Database
from storage.writer import BookWriter
from tests.account_log import make_accounts
from tests.batches import command
from tests.clock import india_today
from tests.conftest import SECRET
from tests.drills.server import ENVIRONMENT, Said, assert_refused, run_command

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
# By a gate closure at the very beginning of today, tomorrow's gate is over.
OVER = "00:00:01"
DAY = india_today() + timedelta(days=1)
SLOT = ["10:00-10:15", "4.20", "4.20", "4.20", "2.000", "2.000", "3.000"]


@pytest.fixture
async def environ(database_url: str, connection: Connection) -> dict[str, str]:
    """Settings that name a database in which 2 kWh are bought of 3 offered for tomorrow."""
    await make_accounts(connection, 2)
    database = await Database.open(database_url, pool_size=2, timeout_s=4)
    writer = BookWriter(database, Calendar(), max_open_bids=10)
    writer.start()
    await writer.submit(command(Place("S", [41, 41], [400, 420], [1000, 2000]), account=1, day=DAY))
    await writer.submit(command(Place("B", [41], [420], [2000]), account=2, day=DAY))
    await writer.close()
    await database.close()
    return {**ENVIRONMENT, "DATABASE_URL": database_url, "SECRET_KEY": SECRET, "REDIS_URL": "redis://127.0.0.1:1"}


async def clear(environ: dict[str, str], *more: str, gate: str = OVER) -> Said:
    return await run_command("clear", *more, environ={**environ, "SHAKTI_MARKET_GATE_CLOSURE": gate})


async def test_a_day_is_cleared_once_by_hand(environ: dict[str, str], connection: Connection) -> None:
    said = await clear(environ, "--date", str(DAY))
    first, second = said.out.splitlines()
    assert (said.code, said.err) == (0, "")
    assert first == f"{DAY} is cleared, by event 5: 3 of 3 bids were filled."
    assert second.startswith("Read in 0.")
    fills = await connection.fetch("SELECT bid_seq, volume FROM fills ORDER BY bid_seq")
    assert [tuple(row) for row in fills] == [(1, 1000), (2, 1000), (3, 2000)]
    again = await clear(environ, "--date", str(DAY))
    assert again == Said(0, f"{DAY} was cleared before, by event 5; nothing was changed.\n", "")
    assert await connection.fetchval("SELECT count(*) FROM book_events WHERE kind = 'clear'") == 1


async def test_a_dry_run_shows_the_slots_and_writes_nothing(environ: dict[str, str], connection: Connection) -> None:
    for gate in ("24:00", OVER):
        said = await clear(environ, "--dry-run", "--date", str(DAY), gate=gate)
        assert (said.code, said.err) == (0, "")
        lines = said.out.splitlines()
        assert lines[0].startswith(f"{DAY} is open: ")
        assert SLOT in [line.split() for line in lines], said.out
        assert lines[-3:] == ["Cleared 2.000 kWh for 8.40000 INR; 3 of 3 bids filled.", "", "Nothing was written."]
    assert await connection.fetchval("SELECT state FROM delivery_days") == "open"
    assert await connection.fetchval("SELECT count(*) FROM cleared_days") == 0


async def test_what_cannot_be_cleared_is_refused_with_the_reason(
    environ: dict[str, str], connection: Connection
) -> None:
    early = await clear(environ, "--date", str(DAY), gate="24:00")
    assert_refused(early, f"{DAY} was not cleared: its gate closes at {DAY} 00:00:00 Indian time", "--dry-run")
    for more in ((), ("--dry-run",)):
        unknown = await clear(environ, "--date", "2020-02-29", *more)
        assert_refused(unknown, "2020-02-29 was not cleared: nobody placed a bid for it")
    assert await connection.fetchval("SELECT count(*) FROM delivery_days") == 1
    wrong = await clear(environ, "--date", "2026-02-30")
    assert (wrong.code, wrong.out) == (2, "")
    assert "'2026-02-30' is no day like 2026-11-23" in wrong.err


async def test_a_database_that_does_not_answer_is_named(environ: dict[str, str]) -> None:
    gone = environ["DATABASE_URL"].replace("port=5432", "port=5999")
    said = await clear({**environ, "DATABASE_URL": gone}, "--date", str(DAY))
    assert_refused(said, f"{DAY} was not cleared: ", "DATABASE_URL")
