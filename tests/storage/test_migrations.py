"""Migrations: applied once, in order, by whoever starts first; anything odd refuses with a sentence."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from storage.migrations import Migration, MigrationError, migrate, read_migrations
from tests.conftest import Services

FIRST = Migration(1, "create_things", "CREATE TABLE things (id integer);")
SECOND = Migration(2, "add_name", "ALTER TABLE things ADD name text;")


@pytest.fixture
async def empty_url(services: Services) -> AsyncIterator[str]:
    admin = await asyncpg.connect(services.database_url)
    await admin.execute("DROP DATABASE IF EXISTS empty")
    await admin.execute("CREATE DATABASE empty")
    yield services.url_of("empty")
    await admin.execute("DROP DATABASE empty WITH (FORCE)")
    await admin.close()


async def columns(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'things' ORDER BY 1"
    )
    await connection.close()
    return [row["column_name"] for row in rows]


async def test_each_is_applied_once_and_said(empty_url: str) -> None:
    assert await migrate(empty_url, [FIRST]) == ["0001_create_things"]
    assert await migrate(empty_url, [FIRST, SECOND]) == ["0002_add_name"]
    assert await migrate(empty_url, [FIRST, SECOND]) == []
    assert await columns(empty_url) == ["id", "name"]


async def test_of_several_processes_that_start_at_once_one_applies(empty_url: str) -> None:
    done = await asyncio.gather(*(migrate(empty_url, [FIRST, SECOND]) for _ in range(6)))
    assert sorted(map(len, done)) == [0, 0, 0, 0, 0, 2]


async def test_without_its_lock_concurrent_starts_collide(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_lock(*_: object) -> None:
        return None

    monkeypatch.setattr("storage.migrations._lock", no_lock)
    slow = Migration(1, "create_things", "CREATE TABLE things (id integer); SELECT pg_sleep(0.2);")
    done = await asyncio.gather(*(migrate(empty_url, [slow]) for _ in range(4)), return_exceptions=True)
    assert any(isinstance(answer, Exception) for answer in done)


async def test_an_edited_one_refuses(empty_url: str) -> None:
    await migrate(empty_url, [FIRST])
    edited = Migration(1, "create_things", "CREATE TABLE things (id bigint);")
    with pytest.raises(MigrationError, match=r"0001_create_things\.sql is not what was applied.*new migration"):
        await migrate(empty_url, [edited])


async def test_a_database_of_a_newer_version_refuses(empty_url: str) -> None:
    await migrate(empty_url, [FIRST, SECOND])
    with pytest.raises(MigrationError, match=r"newer version \(it has 0002_add_name\)"):
        await migrate(empty_url, [FIRST])


async def test_one_that_fails_leaves_nothing_and_names_itself(empty_url: str) -> None:
    broken = Migration(2, "break_things", "ALTER TABLE things ADD half text; SELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"0002_break_things\.sql failed and was rolled back: division by zero"):
        await migrate(empty_url, [FIRST, broken])
    assert await columns(empty_url) == ["id"]
    assert await migrate(empty_url, [FIRST, SECOND]) == ["0002_add_name"]


async def test_a_lock_that_is_never_freed_says_who_holds_it(empty_url: str) -> None:
    holder = await asyncpg.connect(empty_url, server_settings={"application_name": "a stale one"})
    await holder.fetchval("SELECT pg_advisory_lock(7406274213)")
    with pytest.raises(MigrationError, match=r"process [0-9]+ \(a stale one\) has held the migration lock"):
        await migrate(empty_url, [FIRST], lock_timeout_s=0.1)
    await holder.close()
    assert await migrate(empty_url, [FIRST]) == ["0001_create_things"]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["0001_a.sql", "0003_c.sql"], "number 0002 was expected"),
        (["0001_a.sql", "0001_b.sql"], "number 0002 was expected"),
        (["0001_a.sql", "2_b.sql"], "is not named like"),
        (["0001_a.sql", "notes.txt"], "is not named like"),
    ],
)
def test_gaps_repeats_and_odd_names_refuse(tmp_path: Path, names: list[str], complaint: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=complaint):
        read_migrations(tmp_path)


def test_our_own_are_in_order() -> None:
    assert [migration.number for migration in read_migrations()] == list(range(1, len(read_migrations()) + 1))
