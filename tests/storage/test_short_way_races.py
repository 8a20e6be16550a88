"""Batches that go the short way at once: the locks that it takes, and what happens without each of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import TypeAlias

import asyncpg
import orjson
import pytest

from storage.commands import Amend, Command, Withdraw
from storage.database import Database
from storage.errors import AccountGone, GateClosed
from storage.writer import BookWriter
from tests.account_log import assert_sequences_are_whole, own_numbers
from tests.batches import DAY, TWO_DAYS, Short, ask, command, one, seqs, writer_of
from tests.book_log import has_gaps
from tests.mutants import mutate_the_short_way, until_waiting, without_the_key_of_the_log

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
pytestmark = pytest.mark.usefixtures("accounts")


@pytest.fixture
async def writers(database: Database, short: Short) -> AsyncIterator[tuple[BookWriter, BookWriter]]:
    """As in two processes; both have written both days, so both go the short way."""
    async with writer_of(database) as here, writer_of(database) as there:
        for day in TWO_DAYS:
            for each in (here, there):
                await each.submit(command(one(), account=50, day=day))
        yield here, there


async def test_two_writers_of_one_day_make_one_log_whichever_way_their_batches_go(
    writers: tuple[BookWriter, BookWriter], connection: Connection, short: Short
) -> None:
    """Of the same accounts, in opposite orders."""

    async def place_all(writer: BookWriter, accounts: Sequence[int]) -> None:
        for _ in range(20):
            answers = await ask(writer, [command(one(), account=account) for account in accounts])
            assert all(isinstance(answer, bytes) for answer in answers)

    async def change_all(writer: BookWriter) -> None:
        """What goes the long way, and takes with it what is in its batch."""
        for _ in range(10):
            bid_seq = orjson.loads(await writer.submit(command(one(), account=5)))["seq"]
            await writer.submit(command(Amend(bid_seq, 500, None), account=5))
            await writer.submit(command(Withdraw(bid_seq), account=5))

    await asyncio.gather(
        place_all(writers[0], range(1, 11)),
        place_all(writers[1], range(10, 0, -1)),
        place_all(writers[1], [3, 1, 2]),
        change_all(writers[1]),
    )
    assert short.done >= 25
    assert short.refused == 0
    rows = await connection.fetch(
        "SELECT first_seq, last_seq FROM book_events WHERE delivery_day = $1 ORDER BY first_seq", DAY
    )
    assert not has_gaps([(row["first_seq"], row["last_seq"]) for row in rows])
    assert len(rows) == 2 + 400 + 60 + 30
    await assert_sequences_are_whole(connection)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await connection.fetchval(deadlocks) == 0


# Where each batch stands still within its last statement, which sees no more than what was there when it began.
_LAST_READ = "AS r (start, bids, account_id, rank, side, slots, prices, volumes)\n"
STANDS_STILL = (_LAST_READ, f"{_LAST_READ} WHERE (SELECT pg_advisory_xact_lock_shared(7)) IS NOT NULL\n")
DAY_S_LOCK = ("d.state = 'open'\n       FOR UPDATE", "d.state = 'open'")
ACCOUNTS_LOCK = ("ORDER BY f.account_id FOR UPDATE", "ORDER BY f.account_id")


async def both_at_once(
    writers: tuple[BookWriter, BookWriter],
    connection: Connection,
    commands: tuple[Command, Command],
    *without: tuple[str, str],
) -> list[bytes | BaseException]:
    """Have both writers come as far as they can before either is done."""
    await mutate_the_short_way(connection, STANDS_STILL, *without)
    await connection.execute("SELECT pg_advisory_lock(7)")
    asking = [asyncio.create_task(ask(*each)) for each in zip(writers, ([one] for one in commands), strict=True)]
    await until_waiting(connection, 2)
    await connection.execute("SELECT pg_advisory_unlock(7)")
    return [answer for (answer,) in await asyncio.gather(*asking)]


ONE_DAY = command(one(), account=1), command(one(), account=2)
ONE_ACCOUNT = command(one(), account=7, day=TWO_DAYS[0]), command(one(), account=7, day=TWO_DAYS[1])
ONE_KEY = (
    command(one(), account=7, key="k", body=b"a", day=TWO_DAYS[0]),
    command(one(), account=7, key="k", body=b"a", day=TWO_DAYS[1]),
)


async def numbers_of(connection: Connection, day: date) -> list[int]:
    rows = await connection.fetch("SELECT first_seq FROM book_events WHERE delivery_day = $1 ORDER BY first_seq", day)
    return [row["first_seq"] for row in rows]


async def test_two_batches_of_one_day_at_once_take_numbers_one_after_the_other(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await without_the_key_of_the_log(connection)
    assert sorted(map(str, seqs(await both_at_once(writers, connection, ONE_DAY)))) == ["3", "4"]
    assert await numbers_of(connection, DAY) == [1, 2, 3, 4]


async def test_without_the_lock_of_the_day_two_batches_take_one_number(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await without_the_key_of_the_log(connection)
    assert seqs(await both_at_once(writers, connection, ONE_DAY, DAY_S_LOCK)) == [3, 3]
    assert await numbers_of(connection, DAY) == [1, 2, 3, 3]


async def test_two_batches_of_one_account_at_once_take_its_numbers_one_after_the_other(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await both_at_once(writers, connection, ONE_ACCOUNT)
    assert (await own_numbers(connection))[7] == [1, 2]


async def test_without_the_locks_of_accounts_two_batches_take_one_number_of_an_account(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await both_at_once(writers, connection, ONE_ACCOUNT, ACCOUNTS_LOCK)
    assert (await own_numbers(connection))[7] == [1, 1]


async def test_a_key_that_two_batches_use_at_once_places_once(
    writers: tuple[BookWriter, BookWriter], connection: Connection, short: Short
) -> None:
    answers = await both_at_once(writers, connection, ONE_KEY)
    assert answers[0] == answers[1]
    assert short.refused == 1
    assert (await own_numbers(connection))[7] == [1]


async def test_without_the_locks_of_accounts_a_key_that_two_batches_use_at_once_places_twice(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await both_at_once(writers, connection, ONE_KEY, ACCOUNTS_LOCK)
    assert len((await own_numbers(connection))[7]) == 2


async def test_without_the_look_at_keys_the_same_request_places_twice(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await mutate_the_short_way(connection, ("AND k.scope = decode(u.scope, 'hex')", "AND false"))
    await ask(writers[0], ONE_KEY[:1])
    await ask(writers[0], ONE_KEY[:1])
    assert (await own_numbers(connection))[7] == [1, 2]


ONE_KEY_OF_ONE_DAY = command(one(), account=7, key="k", body=b"a"), command(one(), account=7, key="k", body=b"a")


async def test_a_key_that_two_batches_of_one_day_use_at_once_places_once(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await without_the_key_of_the_log(connection)
    answers = await both_at_once(writers, connection, ONE_KEY_OF_ONE_DAY)
    assert answers[0] == answers[1]
    assert (await own_numbers(connection))[7] == [1]


async def test_without_any_lock_a_key_that_two_batches_of_one_day_use_at_once_places_twice(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await without_the_key_of_the_log(connection)
    await both_at_once(writers, connection, ONE_KEY_OF_ONE_DAY, DAY_S_LOCK, ACCOUNTS_LOCK)
    assert len((await own_numbers(connection))[7]) == 2


async def ask_while(happens: str, writer: BookWriter, connection: Connection) -> list[int | type]:
    """What account 2 is told when that happens between the arrival of its placement and the lock."""
    holder = connection.transaction()
    await holder.start()
    await connection.execute(happens)
    asking = asyncio.create_task(ask(writer, [command(one(), account=2)]))
    await until_waiting(connection, 1)
    await holder.commit()
    return seqs(await asking)


THE_DAY_CLOSES = "UPDATE delivery_days SET state = 'closed'"
THE_ACCOUNT_GOES = "DELETE FROM accounts WHERE id = 2"


@pytest.mark.parametrize(("happens", "told"), [(THE_DAY_CLOSES, GateClosed), (THE_ACCOUNT_GOES, AccountGone)])
async def test_what_happens_while_a_batch_waits_for_its_locks_is_seen(
    happens: str, told: type, writers: tuple[BookWriter, BookWriter], connection: Connection, short: Short
) -> None:
    assert await ask_while(happens, writers[0], connection) == [told]
    assert short.refused == 1
    assert await numbers_of(connection, DAY) == [1, 2]


@pytest.mark.parametrize(("happens", "without"), [(THE_DAY_CLOSES, DAY_S_LOCK), (THE_ACCOUNT_GOES, ACCOUNTS_LOCK)])
async def test_without_its_locks_a_batch_does_not_see_what_happens_meanwhile(
    happens: str, without: tuple[str, str], writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    await mutate_the_short_way(connection, without)
    assert await ask_while(happens, writers[0], connection) == [3]
    assert await numbers_of(connection, DAY) == [1, 2, 3]
