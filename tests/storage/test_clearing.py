"""Clearing a day in the database: what is written, exactly once, whatever is cut, and whoever else tries."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import numpy as np
import pytest

from market.calendar import Calendar
from market.clearing import PriceRule
from storage import clearing
from storage.binary_copy import columns_of, rows_of
from storage.clearing import Clearance, Outcome, clear_day, preview_day
from storage.commands import Amend, Place, Withdraw
from storage.database import Database
from storage.errors import DatabaseUnavailable, GateClosed
from storage.sql import QUERIES
from storage.writer import BookWriter
from tests.batches import CALENDAR, DAY, command
from tests.book_log import has_gaps, log_of
from tests.mutants import mutate

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
MIDPOINT = PriceRule.MIDPOINT
TABLES = (
    "delivery_days",
    "book_events",
    "cleared_days",
    "cleared_slots",
    "fills",
    "cleared_positions",
    "account_feeds",
)


class Over(Calendar):
    """A calendar by which every gate is over."""

    def gate_at(self, day: date) -> datetime:  # noqa: ARG002 - of every day
        return datetime.now(UTC) - timedelta(hours=1)


OVER = Over()


@pytest.fixture
async def writer(database: Database, accounts: None) -> AsyncIterator[BookWriter]:
    opened = BookWriter(database, CALENDAR, max_open_bids=1000)
    opened.start()
    yield opened
    await opened.close()


async def clear(database_url: str, rule: PriceRule = MIDPOINT, **more: Any) -> Outcome:
    return await clear_day(database_url, DAY, OVER, rule, **more)


async def place(writer: BookWriter, account: int, side: str, *bids: tuple[int, int, int]) -> None:
    """Bids of (slot, price, volume)."""
    slots, prices, volumes = (list(column) for column in zip(*bids, strict=True))
    await writer.submit(command(Place(side, slots, prices, volumes), account=account))


async def trade(writer: BookWriter) -> None:
    """Bids 1 to 9 of three accounts on slots 41, 42 and 96; some are changed, one is withdrawn."""
    await place(writer, 1, "S", (41, 400, 1000), (41, 420, 3000), (42, 500, 700))
    await place(writer, 2, "B", (41, 460, 2000), (41, 420, 500), (42, 499, 700))
    await place(writer, 3, "S", (41, 420, 1000), (41, 300, 50), (96, 1, 1))
    # The event of its change is its time priority now: it stands behind bid 7.
    await writer.submit(command(Amend(2, None, 1000), account=1))
    await writer.submit(command(Withdraw(8), account=3))


async def rows_in(connection: Connection, table: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")]  # noqa: S608 - named above


async def contents(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {table: await rows_in(connection, table) for table in TABLES}


async def test_a_day_is_cleared_by_the_rules_and_written_whole(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    await trade(writer)
    outcome = await clear(database_url)
    assert (outcome.clearance, outcome.seq, outcome.bids, outcome.filled) == (Clearance.CLEARED, 13, 8, 5)
    # Slot 41: 2,500 are bought at 420 and more, 3,000 are offered at 420 and less. 1,000 at 400 are filled whole, and
    # 1,500 of the 2,000 at 420 are shared by two bids of 1,000.
    assert await rows_in(connection, "fills") == [
        (DAY, 1, 1000),
        (DAY, 2, 750),
        (DAY, 4, 2000),
        (DAY, 5, 500),
        (DAY, 7, 750),
    ]
    slots = {row[1]: row[2:] for row in await rows_in(connection, "cleared_slots")}
    assert list(slots) == list(range(1, 97))
    assert slots.pop(41) == (420, 420, 420, 2500, 2500, 3000, 2, 3)
    assert slots.pop(42) == (None, None, None, 0, 700, 700, 1, 1), "499 does not buy at 500"
    assert slots.pop(96) == (None, None, None, 0, 0, 1, 0, 1)
    assert set(slots.values()) == {(None, None, None, 0, 0, 0, 0, 0)}
    assert await rows_in(connection, "cleared_positions") == [
        (1, DAY, 3, [41], [1750]),
        (2, DAY, 2, [41], [2500]),
        (3, DAY, 3, [41], [750]),
    ]
    (day,) = await rows_in(connection, "cleared_days")
    assert day[:3] == (DAY, 13, "midpoint")
    log = await connection.fetch("SELECT * FROM book_events WHERE delivery_day = $1 ORDER BY first_seq", DAY)
    assert [row["kind"] for row in log[-2:]] == ["close", "clear"]
    assert (log[-1]["slots"], log[-1]["prices"], log[-1]["volumes"]) == ([41], [420], [2500])
    assert not has_gaps(await log_of(connection))
    assert (await rows_in(connection, "delivery_days"))[0][:3] == (DAY, "cleared", 13)
    with pytest.raises(GateClosed):
        await place(writer, 1, "S", (41, 400, 1000))


async def test_a_tick_that_cannot_be_shared_goes_to_who_was_first_after_the_last_change(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    await place(writer, 1, "S", (1, 10, 5), (1, 10, 5))
    await place(writer, 2, "B", (1, 10, 5))
    await writer.submit(command(Amend(1, None, 5), account=1))
    await clear(database_url)
    assert await rows_in(connection, "fills") == [(DAY, 1, 2), (DAY, 2, 3), (DAY, 3, 5)]


@pytest.mark.parametrize(("rule", "price"), [("midpoint", 430), ("seller", 400), ("buyer", 460)])
async def test_the_rule_that_is_asked_for_sets_the_price_and_is_kept(
    writer: BookWriter, database_url: str, connection: Connection, rule: str, price: int
) -> None:
    await place(writer, 1, "S", (1, 400, 7))
    await place(writer, 2, "B", (1, 460, 7))
    await clear(database_url, PriceRule(rule))
    assert (await rows_in(connection, "cleared_slots"))[0][2:5] == (price, 400, 460)
    assert await connection.fetchval("SELECT price_rule FROM cleared_days") == rule


async def test_an_account_whose_bids_were_rejected_has_an_empty_position_and_one_without_bids_has_none(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    await place(writer, 1, "S", (1, 400, 7))
    await place(writer, 2, "S", (1, 400, 7))
    await writer.submit(command(Withdraw(2), account=2))
    await clear(database_url)
    assert await rows_in(connection, "cleared_positions") == [(1, DAY, 2, [], [])]


async def test_to_clear_again_changes_nothing_under_whatever_rule(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    await trade(writer)
    await clear(database_url)
    before = await contents(connection)
    for rule in PriceRule:
        outcome = await clear(database_url, rule)
        assert (outcome.clearance, outcome.seq) == (Clearance.CLEARED_BEFORE, 13)
    assert await contents(connection) == before


async def test_of_many_at_once_one_clears(writer: BookWriter, database_url: str, connection: Connection) -> None:
    await trade(writer)
    outcomes = await asyncio.gather(*(clear(database_url) for _ in range(8)))
    found = [outcome.clearance for outcome in outcomes]
    assert found.count(Clearance.CLEARED) == 1
    assert set(found) <= {Clearance.CLEARED, Clearance.TAKEN, Clearance.CLEARED_BEFORE}
    kinds = [row["kind"] for row in await connection.fetch("SELECT kind FROM book_events WHERE account_id IS NULL")]
    assert sorted(kinds) == ["clear", "close"]


async def test_without_the_lock_many_at_once_still_write_once(
    writer: BookWriter, database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock spares work. What keeps a day from being cleared twice are its keys, and the day's row."""
    mutate(monkeypatch, "clearing/try_lock", "SELECT pg_try_advisory_lock(", "SELECT 0 IS DISTINCT FROM (")
    mutate(monkeypatch, "clearing/try_lock", "hashtext('shakti clearing'), $1::date", "$1::date")
    await trade(writer)
    outcomes = await asyncio.gather(*(clear(database_url) for _ in range(4)), return_exceptions=True)
    cleared = [one for one in outcomes if isinstance(one, Outcome) and one.clearance is Clearance.CLEARED]
    assert len(cleared) == 1
    assert await connection.fetchval("SELECT count(*) FROM book_events WHERE kind = 'clear'") == 1
    assert await connection.fetchval("SELECT sum(volume) FROM fills") == 5000
    assert (await clear(database_url)).clearance is Clearance.CLEARED_BEFORE


class Cut:
    """Ends the clearing's session right before one of its statements, once."""

    def __init__(self, admin: Connection, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cuts = 0
        real = asyncpg.Connection.execute

        async def execute(connection: Any, statement: str, *args: Any, **more: Any) -> str:
            if statement == QUERIES[query] and not self.cuts:
                self.cuts += 1
                await admin.execute("SELECT pg_terminate_backend($1, 1000)", connection.get_server_pid())
            return await real(connection, statement, *args, **more)

        monkeypatch.setattr(asyncpg.Connection, "execute", execute)


@pytest.mark.parametrize("query", ["make_given", "gather_given", "lock_accounts", "write_positions"])
async def test_a_clearing_that_is_cut_leaves_nothing_and_is_done_by_the_next(
    query: str, writer: BookWriter, database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trade(writer)
    cut = Cut(connection, f"clearing/{query}", monkeypatch)
    with pytest.raises(DatabaseUnavailable):
        await clear(database_url)
    assert cut.cuts == 1
    for table in ("cleared_days", "cleared_slots", "fills", "cleared_positions"):
        assert await rows_in(connection, table) == []
    assert await connection.fetchval("SELECT state FROM delivery_days") == "closed", "the gate is a step of its own"
    assert (await clear(database_url)).clearance is Clearance.CLEARED
    assert await connection.fetchval("SELECT sum(volume) FROM fills") == 5000


async def test_a_clearing_that_is_cancelled_ends_at_once_and_leaves_nothing(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    """At many moments, among them the middle of COPY, where a connection cannot roll back."""
    for account in range(1, 51):
        await place(writer, account, "SB"[account % 2], *((slot % 96 + 1, 400 + slot % 9, 5) for slot in range(900)))
    began = asyncio.get_running_loop().time()
    assert (await preview_day(database_url, DAY, MIDPOINT)) is not None
    whole_s = asyncio.get_running_loop().time() - began
    for part in range(40):
        task = asyncio.create_task(clear(database_url))
        await asyncio.sleep(whole_s * part / 40)  # so far it has come; there is no event for it
        task.cancel()
        async with asyncio.timeout(5):
            result = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(result, Outcome):
            # The session of the one before may still have its lock.
            if result.clearance is Clearance.TAKEN:
                continue
            break
        assert isinstance(result, asyncio.CancelledError), result
        assert await rows_in(connection, "fills") == []
    async with asyncio.timeout(10):
        while (outcome := await clear(database_url)).clearance is Clearance.TAKEN:
            pass
    assert outcome.clearance in (Clearance.CLEARED, Clearance.CLEARED_BEFORE)


async def test_a_closed_day_is_cleared_wherever_its_gate_was_set_since(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    await trade(writer)
    await connection.execute("UPDATE delivery_days SET state = 'closed', last_seq = last_seq + 1")
    await connection.execute(
        "INSERT INTO book_events (delivery_day, first_seq, last_seq, batch_id, kind) VALUES ($1, 12, 12, 1, 'close')",
        DAY,
    )
    assert [row["delivery_day"] for row in await connection.fetch(QUERIES["gate/list_due"], date(2020, 1, 1))] == [DAY]
    assert (await clear_day(database_url, DAY, CALENDAR, MIDPOINT)).clearance is Clearance.CLEARED
    assert (await clear_day(database_url, DAY, CALENDAR, MIDPOINT)).clearance is Clearance.CLEARED_BEFORE
    assert await connection.fetch(QUERIES["gate/list_due"], DAY) == []


async def test_a_day_whose_gate_is_open_is_not_cleared_and_one_that_is_over_is_closed_first(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    await trade(writer)
    before = await contents(connection)
    assert (await clear_day(database_url, DAY, CALENDAR, MIDPOINT)).clearance is Clearance.NOT_DUE
    assert await contents(connection) == before


async def test_a_day_that_nobody_used_is_cleared_without_results_unless_it_must_exist(
    database_url: str, connection: Connection
) -> None:
    assert (await clear(database_url, must_exist=True)).clearance is Clearance.UNKNOWN
    assert await rows_in(connection, "delivery_days") == []
    outcome = await clear(database_url)
    assert (outcome.clearance, outcome.seq, outcome.bids) == (Clearance.CLEARED, 2, 0)
    assert await connection.fetchval("SELECT count(*) FROM cleared_slots WHERE volume = 0") == 96


async def test_a_preview_shows_what_would_clear_and_writes_nothing(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    assert await preview_day(database_url, DAY, MIDPOINT) is None
    await trade(writer)
    before = await contents(connection)
    found = await preview_day(database_url, DAY, MIDPOINT)
    assert found is not None
    standing, day = found
    assert (standing.state, standing.seq) == ("open", None)
    (cleared,) = [result for result in day.slots if result.clearing]
    assert cleared.clearing is not None
    assert (cleared.slot, cleared.clearing.price, cleared.clearing.volume) == (41, 420, 2500)
    assert int(day.filled.sum()) == 5000
    assert await contents(connection) == before


async def test_accounts_of_other_days_are_not_kept_waiting_while_a_day_is_read_and_worked_out(
    writer: BookWriter, database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody places for another day in the middle: right before the results are written."""
    await trade(writer)
    real = clearing._gather_positions

    async def place_meanwhile(*args: Any) -> None:
        await real(*args)
        async with asyncio.timeout(3):
            await writer.submit(command(Place("S", [1], [1], [1]), account=1, day=DAY + timedelta(days=1)))

    monkeypatch.setattr(clearing, "_gather_positions", place_meanwhile)
    assert (await clear(database_url)).clearance is Clearance.CLEARED
    assert await connection.fetchval("SELECT account_seq FROM cleared_positions WHERE account_id = 1") == 4


async def test_a_random_day_balances_in_every_slot(
    writer: BookWriter, database_url: str, connection: Connection
) -> None:
    chance = random.Random(7)
    for account in range(1, 41):
        slots = [chance.randint(1, 96) for _ in range(60)]
        bids = [(slot, chance.randint(300, 500), chance.randint(1, 50)) for slot in slots]
        await place(writer, account, "SB"[account % 2], *bids)
    outcome = await clear(database_url)
    assert outcome.bids == 2400
    balance = await connection.fetch(
        """
        SELECT x.slot, r.volume,
               coalesce(sum(f.volume) FILTER (WHERE e.side = 'S'), 0) AS sold,
               coalesce(sum(f.volume) FILTER (WHERE e.side = 'B'), 0) AS bought
          FROM book_events AS e
         CROSS JOIN unnest(e.slots) WITH ORDINALITY AS x (slot, position)
          JOIN cleared_slots AS r ON r.slot = x.slot
          LEFT JOIN fills AS f ON f.bid_seq = e.first_seq + x.position - 1
         WHERE e.kind = 'place'
         GROUP BY x.slot, r.volume
        """
    )
    assert len(balance) > 80
    assert all(row["sold"] == row["bought"] == row["volume"] for row in balance)
    given = await connection.fetchval("SELECT sum(v) FROM cleared_positions, unnest(volumes) AS v")
    assert (
        given == await connection.fetchval("SELECT sum(volume) FROM fills") == 2 * sum(row["volume"] for row in balance)
    )


def test_what_is_not_rows_of_the_columns_that_were_asked_for_is_refused() -> None:
    text = bytes(rows_of(a=np.array([1, -2], dtype=np.int64), b=np.array([3, 4], dtype=np.int16)))
    found = columns_of(text, a=8, b=2)
    assert (found["a"].tolist(), found["b"].tolist()) == ([1, -2], [3, 4])
    for other, sizes in (
        (text, {"a": 8}),
        (text, {"a": 2, "b": 8}),
        (text[:-1], {"a": 8, "b": 2}),
        (b"x" + text[1:], {"a": 8, "b": 2}),
        (b"", {"a": 8}),
    ):
        with pytest.raises(ValueError, match=r"columns|null"):
            columns_of(other, **sizes)
    empty = bytes(rows_of(a=np.array([], dtype=np.int64)))
    assert columns_of(empty, a=8)["a"].tolist() == []
