"""The event log read back: a day added up is the book that lived through it; nothing is read twice or missed."""

import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import asyncpg
import orjson
import pytest

from market.book import Book, BrokenLog, Level
from market.calendar import Calendar
from market.clearing import PriceRule
from storage import events
from storage.clearing import clear_day
from storage.commands import Amend, Change, Command, Place, Receipt, Withdraw
from storage.database import Database
from storage.errors import GateClosed
from storage.events import LogRow
from storage.sql import QUERIES
from storage.writer import BookWriter
from tests.account_log import make_accounts
from tests.book_log import read_book
from tests.mutants import mutate

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
CALENDAR = Calendar(timedelta(hours=24))
DAY = CALENDAR.today(datetime.now(UTC)) + timedelta(days=2)
MIDPOINT = PriceRule.MIDPOINT


@pytest.fixture
async def database_url(database_url: str) -> str:
    """A database with accounts 1 to 5."""
    opened = await asyncpg.connect(database_url)
    await make_accounts(opened, 5)
    await opened.close()
    return database_url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(database_url, pool_size=4, timeout_s=4)
    yield opened
    await opened.close()


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[BookWriter]:
    opened = BookWriter(database, CALENDAR, max_open_bids=1000)
    opened.start()
    yield opened
    await opened.close()


class PastGate(Calendar):
    """A calendar by which every gate has closed."""

    def gate_at(self, day: date) -> datetime:  # noqa: ARG002 - of every day
        return datetime.now(UTC) - timedelta(hours=1)


async def submit(writer: BookWriter, change: Change, account: int = 1, day: date = DAY) -> list[int]:
    """Do a change; the numbers of its bids."""
    seqs = await writer.submit(Command(account, day, change, lambda receipt: bytes(orjson.dumps(_seqs(receipt)))))
    return list(orjson.loads(seqs))


def _seqs(receipt: Receipt) -> list[int]:
    return [bid.bid_seq for bid in receipt.bids]


async def close_gate(database: Database, day: date = DAY) -> None:
    """The first command after the gate closes it."""
    late = BookWriter(database, PastGate(timedelta(hours=24)), max_open_bids=1000)
    late.start()
    with pytest.raises(GateClosed):
        await submit(late, Place("S", [1], [1], [1]), day=day)
    await late.close()


async def trade(writer: BookWriter, chance: random.Random, steps: int) -> None:
    """Place, change and withdraw at random, on few levels; each account only its own bids."""
    own: dict[int, list[int]] = {account: [] for account in range(1, 6)}
    for _ in range(steps):
        account = chance.randint(1, 5)
        held = own[account]
        if not held or chance.random() < 0.5:
            slots = chance.sample(range(41, 53), chance.choice((1, 1, 3, 12)))
            prices = [chance.randint(400, 402) for _ in slots]
            volumes = [chance.randint(1, 9) for _ in slots]
            held += await submit(writer, Place("SB"[account % 2], slots, prices, volumes), account)
            continue
        bid_seq = held.pop(chance.randrange(len(held)))
        if chance.random() < 0.5:
            held += await submit(writer, Amend(bid_seq, chance.choice((None, 400, 403)), chance.randint(1, 9)), account)
        else:
            await submit(writer, Withdraw(bid_seq), account)


async def restored(database: Database) -> Book:
    found = await events.read_day(database, DAY)
    assert found is not None
    return Book.restore(
        MIDPOINT,
        seq=found.seq,
        state=found.state,
        closed_seq=found.closed_seq,
        cleared_seq=found.cleared_seq,
        results=found.results,
        levels=found.levels,
    )


def catch_up(book: Book, rows: Sequence[LogRow]) -> None:
    for row in rows:
        book.apply(*row[1:8])


def all_that_is_known(book: Book) -> tuple[object, ...]:
    return (
        (book.seq, book.state, book.closed_seq, book.cleared_seq, book.crc()),
        book.results,
        book.levels(),
        book.indicatives(range(1, 97)),
        [book.changed_since(since) for since in range(book.seq + 1)],
    )


async def test_a_restored_book_equals_the_one_that_lived_through_the_log(
    writer: BookWriter, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived = Book(MIDPOINT)
    await trade(writer, random.Random(1), 40)
    for state in ("open", "closed", "cleared"):
        if state == "closed":
            await close_gate(database)
        elif state == "cleared":
            await clear_day(database_url, DAY, PastGate(), MIDPOINT)
        catch_up(lived, await events.read_beyond(database, {DAY: lived.seq}, 1000))
        assert lived.state == state
        # A day that takes one statement, several, and one for every row.
        for stretch in (250_000, 50, 1):
            monkeypatch.setattr(events, "_STRETCH_EVENTS", stretch)
            assert all_that_is_known(await restored(database)) == all_that_is_known(lived)
        aggregated = await read_book(database, DAY)
        assert aggregated is not None
        assert (lived.results != []) == (state == "cleared")
        assert (lived.seq, lived.state, lived.levels()) == (aggregated.seq, aggregated.state, aggregated.levels)


async def test_a_client_resumes_across_a_restart_as_if_there_had_been_none(
    writer: BookWriter, database: Database
) -> None:
    chance = random.Random(2)
    first = Book(MIDPOINT)
    copies: dict[int, list[Level]] = {}
    for _ in range(4):
        await trade(writer, chance, 10)
        catch_up(first, await events.read_beyond(database, {DAY: first.seq}, 1000))
        copies[first.seq] = first.levels()
    second = await restored(database)
    await trade(writer, chance, 10)
    for after in (first, second):
        catch_up(after, await events.read_beyond(database, {DAY: after.seq}, 1000))
    for seq, copy in copies.items():
        update = second.changed_since(seq)
        assert update == first.changed_since(seq)
        merged = {level[:3]: level for level in [*copy, *update]}
        assert sorted(level for level in merged.values() if level.volume_ticks) == first.levels()


async def test_levels_that_are_gone_are_restored_with_the_event_that_took_them(
    writer: BookWriter, database: Database
) -> None:
    await submit(writer, Place("S", [41, 42], [425, 430], [1000, 70]))
    await submit(writer, Amend(1, 426, None))
    await submit(writer, Withdraw(2))
    found = await events.read_day(database, DAY)
    assert found is not None
    assert (found.seq, found.state, found.closed_seq) == (4, "open", None)
    assert sorted(found.levels) == [
        (Level(41, "S", 425, 0, 0), 3),
        (Level(41, "S", 426, 1000, 1), 3),
        (Level(42, "S", 430, 0, 0), 4),
    ]


async def test_the_gate_s_event_is_known_whatever_follows_it(
    writer: BookWriter, database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_STRETCH_EVENTS", 1)
    await submit(writer, Place("S", [41], [425], [1000]))
    await close_gate(database)
    await connection.execute(
        "INSERT INTO book_events (delivery_day, first_seq, last_seq, batch_id, kind) VALUES ($1, 3, 3, 1, 'change')",
        DAY,
    )
    await connection.execute("UPDATE delivery_days SET last_seq = 3")
    found = await events.read_day(database, DAY)
    assert found is not None
    assert (found.seq, found.state, found.closed_seq) == (3, "closed", 2)


async def test_a_day_that_nobody_used_is_none(writer: BookWriter, database: Database) -> None:
    await submit(writer, Place("S", [41], [425], [1000]))
    assert await events.read_day(database, DAY + timedelta(days=1)) is None


async def test_a_day_that_was_used_and_holds_nothing_is_empty(
    writer: BookWriter, database: Database, connection: Connection
) -> None:
    await submit(writer, Place("S", [41], [425], [1000]))
    await submit(writer, Withdraw(1))
    await connection.execute("INSERT INTO delivery_days (delivery_day) VALUES ($1)", DAY + timedelta(days=1))
    assert (await restored(database)).levels() == []
    found = await events.read_day(database, DAY + timedelta(days=1))
    assert found == events.LoggedDay(0, "open", None, None, [], [])


async def test_a_log_without_its_last_events_is_refused(
    writer: BookWriter, database: Database, connection: Connection
) -> None:
    await trade(writer, random.Random(3), 5)
    await connection.execute("DELETE FROM book_events WHERE first_seq = (SELECT max(first_seq) FROM book_events)")
    with pytest.raises(BrokenLog, match="ends at event"):
        await events.read_day(database, DAY)


async def test_rows_beyond_cursors_come_day_by_day_in_order_and_no_more_than_asked_for(
    writer: BookWriter, database: Database
) -> None:
    days = [DAY + timedelta(days=number) for number in range(3)]
    for day in (days[1], days[0], days[1], days[0], days[1], days[0]):
        await submit(writer, Place("S", [41, 42], [425, 430], [1000, 70]), day=day)
    await close_gate(database, days[1])

    async def read(cursors: dict[date, int], limit: int) -> list[tuple[date, int, int]]:
        return [row[:3] for row in await events.read_beyond(database, cursors, limit)]

    first = [(days[0], 1, 2), (days[0], 3, 4), (days[0], 5, 6)]
    second = [(days[1], 1, 2), (days[1], 3, 4), (days[1], 5, 6), (days[1], 7, 7)]
    assert await read(dict.fromkeys(days, 0), 100) == first + second
    assert await read({days[2]: 0, days[1]: 4, days[0]: 2}, 100) == first[1:] + second[2:]
    assert await read({days[1]: 2, days[0]: 0}, 1) == [first[0], second[1]]
    assert await read({days[1]: 7}, 100) == []
    assert await read({}, 100) == []


async def test_a_row_has_what_books_and_accounts_feeds_need(writer: BookWriter, database: Database) -> None:
    await submit(writer, Place("B", [41, 42], [425, 430], [1000, 70]), account=3)
    await submit(writer, Withdraw(2), account=3)
    await close_gate(database)
    assert await events.read_beyond(database, {DAY: 0}, 100) == [
        LogRow(DAY, 1, 2, "place", "B", [41, 42], [425, 430], [1000, 70], 3, 1),
        LogRow(DAY, 3, 3, "withdraw", "B", [42], [430], [-70], 3, 2),
        LogRow(DAY, 4, 4, "close", None, [], [], [], None, None),
    ]


async def test_live_days_are_those_from_a_day_on_that_were_used(writer: BookWriter, database: Database) -> None:
    days = [DAY + timedelta(days=number) for number in range(4)]
    for day in (days[0], days[1], days[3]):
        await submit(writer, Place("S", [41, 42], [425, 430], [1000, 70]), day=day)
    await submit(writer, Withdraw(1), day=days[3])
    assert await events.list_live(database, days[1]) == {days[1]: 2, days[3]: 3}
    assert await events.list_live(database, days[3] + timedelta(days=1)) == {}


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["no statistics", "statistics of an empty table"])
async def test_rows_beyond_a_cursor_are_found_by_the_primary_key(
    *, is_analyzed: bool, database: Database, connection: Connection
) -> None:
    """In a plan for any arguments, made before there were rows: connections keep such plans."""
    if is_analyzed:
        await connection.execute("ANALYZE")
    async with database.transaction() as own:
        await own.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await own.execute(f"PREPARE asked (date[], bigint[], bigint) AS {QUERIES['events/read_beyond']}")
        rows = await own.fetch(f"EXPLAIN (COSTS OFF) EXECUTE asked ('{{{DAY}}}', '{{0}}', 1000)")
        await own.execute("DEALLOCATE asked")
    scans = [row[0].strip() for row in rows if "Scan" in row[0] and "Function Scan" not in row[0]]
    assert scans == ["->  Index Scan using book_events_pkey on book_events"]


async def test_a_level_s_last_change_is_that_of_its_own_bid_and_not_of_its_row(
    writer: BookWriter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(writer, Place("S", [41, 42, 43], [425, 430, 435], [1, 2, 3]))
    changes = {level.slot: seq for level, seq in await levels_of(database)}
    assert changes == {41: 1, 42: 2, 43: 3}
    mutate(monkeypatch, "events/aggregate", "max(coalesce(seq, first_seq))", "max(first_seq)")
    assert {level.slot: seq for level, seq in await levels_of(database)} != changes


async def levels_of(database: Database) -> list[tuple[Level, int]]:
    found = await events.read_day(database, DAY)
    assert found is not None
    return found.levels
