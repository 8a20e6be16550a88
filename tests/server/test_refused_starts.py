"""Starts that must fail, as an operator meets them: one sentence that says why and what to do, and no trace."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import orjson
import pytest

from server.config import Config, ServerSettings
from server.database_faults import describe_fault
from storage.migrations import read_migrations
from tests.conftest import SECRET, Services
from tests.drills.server import ENVIRONMENT, DrillServer, Said, assert_refused, free_port, run_command


@pytest.fixture
def external(database_url: str, redis_url: str) -> dict[str, str]:
    """Settings that name a database and a Redis of the test's own, as variables."""
    return {**ENVIRONMENT, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "SECRET_KEY": SECRET}


async def test_a_missing_or_corrupt_settings_file_is_named(tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.toml"
    corrupt.write_text("[server\n")
    missing = tmp_path / "missing.toml"
    assert_refused(await run_command("--config", missing), f"Shakti cannot start: {missing} does not exist", code=78)
    assert_refused(await run_command("--config", corrupt), f"Shakti cannot start: {corrupt} is not valid TOML", code=78)
    assert_refused(await run_command("migrate", "--config", corrupt), "Shakti cannot migrate: ", code=78)
    assert_refused(await run_command("operator", "create", "x", "--config", corrupt), "No operator was made: ", code=78)


async def test_a_data_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for data_dir in (Path("/proc/shakti"), tmp_path / "file", tmp_path / "file" / "data"):
        said = await run_command("--port", "0", "--data-dir", data_dir)
        assert_refused(said, f"The data directory {data_dir} cannot be used", "Make it writable", "choose another one")
    said = await run_command("migrate", "--data-dir", data_dir)
    assert_refused(said, f"Shakti cannot migrate: The data directory {data_dir} cannot be used")


async def failing(external: dict[str, str], **more: str) -> Said:
    return await run_command("--port", "0", environ={**external, **more})


async def test_a_database_that_cannot_be_reached_is_told_without_its_password(external: dict[str, str]) -> None:
    for url, words in (
        (f"postgresql://u:pa55@127.0.0.1:{free_port()}/x", "at 127.0.0.1 cannot be reached: Connect call failed"),
        ("postgresql://u:pa55@no-such-host.invalid/x", "at no-such-host.invalid cannot be reached"),
        ("postgresql:///x?host=/nowhere", "cannot be reached"),
    ):
        said = await failing(external, DATABASE_URL=url)
        assert_refused(
            said, "Shakti cannot start: The database server", words, "Is it running, and is DATABASE_URL right?"
        )
        assert "pa55" not in said.err
    for url in ("postgresql://u:pa55/word@127.0.0.1/x", "postgresql://u:p@127.0.0.1:pa55/x"):
        said = await failing(external, DATABASE_URL=url)
        assert_refused(said, "DATABASE_URL cannot be read", "postgresql://user:password@host:5432/name", "%2F for /")
        assert "pa55" not in said.err


async def test_a_redis_that_cannot_be_used_is_told(external: dict[str, str], tmp_path: Path) -> None:
    said = await failing(external, REDIS_URL="redis://:pa55@127.0.0.1:port/0")
    assert_refused(said, "REDIS_URL cannot be read; it must look like redis://", code=78)
    assert "pa55" not in said.err
    # One that does not answer may come back: bidding goes on without it.
    server = DrillServer(
        tmp_path / "data", environ={**external, "REDIS_URL": f"redis://:pa55@127.0.0.1:{free_port()}/0"}
    )
    server.launch()
    try:
        await server.wait_until_said("Stop it with Ctrl+C.")
        async with aiohttp.ClientSession(server.url) as session, session.get("/readyz") as response:
            assert (response.status, (await response.json())["redis"]) == (503, "unavailable")
    finally:
        assert await server.stop() == 0
    warned = orjson.loads(server.err.splitlines()[0])
    assert warned["event"].startswith("Redis cannot be used; until it can, nobody signs up or in.")
    assert "Connect call failed" in warned["reason"] or "refused" in warned["reason"]
    assert "pa55" not in server.log


@pytest.fixture
async def guarded(services: Services) -> AsyncIterator[str]:
    """The address of an empty database whose user must give a password, which is `right`, and may create nothing."""
    admin = await asyncpg.connect(services.database_url)
    rules: str = await admin.fetchval("SELECT pg_read_file('pg_hba.conf')")

    async def put(text: str) -> None:
        # COPY takes no parameters.
        lines = await admin.fetchval("SELECT format('SELECT string_to_table(%L, %L)', $1::text, chr(10))", text)
        await admin.execute(f"COPY ({lines}) TO '/proc/self/cwd/pg_hba.conf'")
        await admin.execute("SELECT pg_reload_conf()")

    await admin.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    await admin.execute("CREATE DATABASE guarded")
    await put(f"local all guarded scram-sha-256\n{rules}")
    yield services.url_of("guarded").replace("://shakti@", "://guarded:right@")
    await put(rules)
    await admin.execute("DROP DATABASE guarded WITH (FORCE)")
    await admin.execute("DROP ROLE guarded")
    await admin.close()


async def test_a_database_that_does_not_let_us_in_is_told_why(external: dict[str, str], guarded: str) -> None:
    wrong_password = await failing(external, DATABASE_URL=guarded.replace("right", "wr0ng"))
    assert_refused(wrong_password, 'password authentication failed for user "guarded"', "Correct user and password")
    assert "wr0ng" not in wrong_password.err
    assert_refused(
        await failing(external, DATABASE_URL=guarded.replace("/guarded?", "/nowhere?")), '"nowhere" does not exist'
    )
    no_right = await failing(external, DATABASE_URL=guarded)
    assert_refused(no_right, "The database refuses: permission denied for schema public", "allowed to create tables")


async def test_a_migration_that_does_not_fit_is_told(
    external: dict[str, str], connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    newer = len(read_migrations()) + 1
    await connection.execute("INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, 'later', '')", newer)
    said = await failing(external)
    assert_refused(said, f"newer version (it has {newer:04}_later); start that version instead")
    await connection.execute("DELETE FROM schema_migrations WHERE number = $1", newer)
    await connection.execute("UPDATE schema_migrations SET sha256 = 'edited' WHERE number = 1")
    assert_refused(await failing(external), "0001_create_accounts.sql is not what was applied", "restore the file")
    said = await run_command("migrate", environ=external)
    assert_refused(said, "Shakti cannot migrate: 0001_create_accounts.sql is not what was applied")


async def test_a_database_that_may_lose_bids_is_refused(
    external: dict[str, str], connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    said = await failing(external)
    assert_refused(said, "PostgreSQL runs with synchronous_commit = off", "switch it on", code=78)


def test_a_fault_of_the_embedded_database_names_its_log_and_no_variable() -> None:
    config = Config(server=ServerSettings(data_dir=Path("/srv/shakti")))
    for fault, reason in (
        (TimeoutError(), "it did not answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (asyncpg.CannotConnectNowError("the database system is shutting down"), "the database system is shutting down"),
        (EOFError(), "EOFError"),
    ):
        assert describe_fault(fault, config, is_embedded=True) == (
            f"The embedded PostgreSQL does not do what it should: {reason}. More is in /srv/shakti/postgres.log"
        )
