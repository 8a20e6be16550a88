"""What an audit reads: all that is there, in stretches, as of one moment."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from storage import audit
from storage.audit import AuditedDay
from tests.audited_day import DAY, PaperDay

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def all_of(stretches: AsyncIterator[list[Any]]) -> list[Any]:
    """The rows of all stretches, none of which is empty."""
    found: list[Any] = []
    async for rows in stretches:
        assert rows
        found += rows
    return found


async def everything(reader: audit.Connection) -> list[object]:
    """What every function of the module reads of the day."""
    return [
        await audit.read_day(reader, DAY),
        await all_of(audit.read_log(reader, DAY)),
        await all_of(audit.list_changed_bids(reader, DAY)),
        await all_of(audit.list_account_days(reader, DAY)),
        await audit.list_slots(reader, DAY),
        await all_of(audit.list_fills(reader, DAY)),
        await all_of(audit.list_positions(reader, DAY)),
        await all_of(audit.list_taken_numbers(reader, DAY)),
    ]


def written(day: PaperDay) -> list[object]:
    """The same as it was written."""
    return [
        AuditedDay(day.state, day.last_seq, day.cleared_seq, day.price_rule, True),
        day.log,
        day.changed,
        day.accounts,
        list(day.slots.values()),
        day.fill_rows,
        list(day.positions.values()),
        [],
    ]


@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_all_that_was_written_is_read(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    for stretch in ("_LOG_ROWS", "_WIDE_ROWS", "_ROWS"):
        monkeypatch.setattr(audit, stretch, size)
    day = PaperDay()
    await day.write(connection)
    async with audit.snapshot(database_url) as reader:
        assert await everything(reader) == written(day)


async def test_what_others_write_meanwhile_is_not_seen(database_url: str, connection: Connection) -> None:
    day = PaperDay()
    await day.write(connection)
    async with audit.snapshot(database_url) as reader:
        assert await audit.read_day(reader, DAY) is not None
        for table in ("book_events", "changed_bids", "account_days", "cleared_days", "fills", "cleared_positions"):
            await connection.execute(f"DELETE FROM {table}")  # noqa: S608 - named in this test
        assert await everything(reader) == written(day)
    async with audit.snapshot(database_url) as reader:
        assert await all_of(audit.read_log(reader, DAY)) == []


async def test_nothing_can_be_written_by_an_audit(database_url: str) -> None:
    async with audit.snapshot(database_url) as reader:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await reader.execute("DELETE FROM fills")


async def test_of_a_day_that_nobody_used_nothing_is_known(database_url: str, connection: Connection) -> None:
    await PaperDay().write(connection)
    async with audit.snapshot(database_url) as reader:
        assert await audit.read_day(reader, DAY.replace(day=25)) is None


async def test_a_day_that_is_not_cleared_has_no_results(database_url: str, connection: Connection) -> None:
    await PaperDay().until("closed").write(connection)
    async with audit.snapshot(database_url) as reader:
        assert await audit.read_day(reader, DAY) == AuditedDay("closed", 12, None, None, has_results=False)


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        (("delivery_days", "cleared_days"), AuditedDay(None, None, None, None, has_results=True)),
        (("delivery_days",), AuditedDay(None, None, 13, "midpoint", has_results=True)),
        (("cleared_days", "fills"), AuditedDay("cleared", 13, None, None, has_results=True)),
        (
            ("delivery_days", "cleared_days", "fills", "cleared_positions"),
            AuditedDay(None, None, None, None, has_results=False),
        ),
    ],
)
async def test_a_day_is_known_by_whatever_is_left_of_it(
    database_url: str, connection: Connection, gone: tuple[str, ...], left: AuditedDay
) -> None:
    await PaperDay().write(connection)
    for table in gone:
        await connection.execute(f"DELETE FROM {table}")  # noqa: S608 - named in this test
    async with audit.snapshot(database_url) as reader:
        assert await audit.read_day(reader, DAY) == left


@pytest.mark.parametrize(
    "other",
    [
        "UPDATE book_events SET account_seq = 4 WHERE account_id = 1 AND first_seq = 10",
        "INSERT INTO readings (account_id, delivery_day, slot, revision, account_seq, energy_consumption) "
        "VALUES (1, '2026-11-20', 1, 1, 4, 5)",
        "INSERT INTO cleared_positions VALUES (1, '2026-11-20', 4, '{}', '{}')",
        "UPDATE account_feeds SET last_seq = 3 WHERE account_id = 1",
    ],
)
async def test_a_position_whose_number_is_taken_is_read(database_url: str, connection: Connection, other: str) -> None:
    await PaperDay().write(connection)
    await connection.execute(other)
    async with audit.snapshot(database_url) as reader:
        assert await all_of(audit.list_taken_numbers(reader, DAY)) == [(1, 4)]
