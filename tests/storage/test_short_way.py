"""The short way into the book: it does what the long way does, or nothing."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from storage.batch import MAX_LEVEL_TICKS
from storage.book_transaction import new_batch_id
from storage.commands import Amend, Change, Command, Place, Withdraw
from storage.database import Database
from storage.errors import AccountGone, GateClosed, KeyReused, TooManyOpenBids
from storage.idempotency import forget_what_is_old
from storage.short_way import Placements
from tests.account_log import assert_sequences_are_whole
from tests.batches import (
    CALENDAR,
    DAY,
    MAX_OPEN_BIDS,
    TWO_DAYS,
    MovableGate,
    Short,
    ask,
    command,
    events,
    one,
    seqs,
    writer_of,
)
from tests.mutants import only_the_long_way

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
pytestmark = pytest.mark.usefixtures("accounts")
# All that a batch of placements writes, but for the moment and the name of the batch.
TABLES = {
    "delivery_days": "delivery_day, state, last_seq, volume_bound",
    "book_events": (
        "delivery_day, first_seq, last_seq, account_id, account_seq, bid_seq, kind, side, slots, prices, volumes"
    ),
    "changed_bids": "*",
    "account_days": "*",
    "account_feeds": "*",
    "idempotency_keys": "account_id, scope, body_sha256, response, delivery_day, first_seq",
}


async def kept(connection: Connection, versions: str = "") -> dict[str, list[tuple[Any, ...]]]:
    """What stands in every table; with `versions` which version of each row it is, too."""
    found = {}
    for table, columns in TABLES.items():
        rows = await connection.fetch(f"SELECT {columns}{versions} FROM {table}")  # noqa: S608 - names of our own
        found[table] = sorted(tuple(map(repr, row)) for row in rows)
    return found


def some_bids(chance: random.Random) -> Place:
    count = chance.choice([1, 1, 2, 5, 96])
    slots = sorted(chance.choices(range(1, 97), k=count))
    prices = [chance.randint(-1000, 9000) for _ in slots]
    return Place(chance.choice("BS"), slots, prices, [chance.randint(1, 10**9) for _ in slots])


def some_batches(seed: int) -> list[list[Command]]:
    """Mostly placements of few accounts, with keys that come again, now and then with a change among them."""
    chance = random.Random(seed)

    def some() -> Command:
        change: Change = some_bids(chance)
        if chance.random() < 0.03:
            bid_seq = chance.randint(1, 40)
            change = Amend(bid_seq, 5, None) if chance.random() < 0.5 else Withdraw(bid_seq)
        key = chance.choice([None, f"k{chance.randint(1, 400)}"])
        day = TWO_DAYS[chance.random() < 0.1]
        return command(change, account=chance.randint(1, 9), key=key, body=chance.choice([b"a", b"a", b"b"]), day=day)

    return [[some() for _ in range(chance.choice([1, 2, 6]))] for _ in range(60)]


@pytest.mark.parametrize("seed", range(4))
async def test_the_short_way_says_and_keeps_what_the_long_way_does(
    seed: int, database: Database, connection: Connection, short: Short, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = some_batches(seed)
    told, left = [], []
    for way in ("short", "long"):
        if way == "long":
            assert short.done > 15, "else this compares little"
            assert short.refused > 3
            only_the_long_way(monkeypatch)
            await connection.execute(f"TRUNCATE {', '.join(set(TABLES) - {'account_feeds'})}")
            await connection.execute("UPDATE account_feeds SET last_seq = 0")
            done = short.done
        async with writer_of(database) as writer:
            told.append([[repr(answer) for answer in await ask(writer, batch)] for batch in batches])
        left.append(await kept(connection))
        await assert_sequences_are_whole(connection)
    assert short.done == done
    assert told[0] == told[1]
    assert left[0] == left[1]


async def place_at_once(database: Database, *commands: Command, batch_id: int | None = None) -> int | None:
    """What the statement says to a batch, without any writer."""
    placements = Placements.of(DAY, commands)
    assert placements is not None
    gate_at = CALENDAR.gate_at(DAY)
    return await placements.write(database, gate_at, batch_id or new_batch_id(), MAX_OPEN_BIDS)


def test_what_takes_deciding_is_not_for_the_short_way() -> None:
    def is_for_it(*commands: Command) -> bool:
        return Placements.of(DAY, commands) is not None

    assert is_for_it(command(one(), key="k"), command(one(), key="l"), command(one(), account=2, key="k"))
    assert not is_for_it(command(one()), command(Amend(1, 5, None)))
    assert not is_for_it(command(Withdraw(1)))
    assert not is_for_it(command(one(), key="k"), command(one(), key="k"))


many = Place("S", [41] * MAX_OPEN_BIDS, [400] * MAX_OPEN_BIDS, [1] * MAX_OPEN_BIDS)
Prepare: TypeAlias = Callable[[Connection], Awaitable[Any]]


def run(statement: str) -> Prepare:
    return lambda connection: connection.execute(statement)


OBSTACLES: dict[str, tuple[str, list[Command], list[int | type], int]] = {
    # What has happened since; what is asked; what is told; how many events there are then.
    "a key was used": ("SELECT", [command(one(), key="k", body=b"a"), command(one(), account=2)], [2, 3], 3),
    "a key was used for another body": (
        "SELECT",
        [command(one(), account=2), command(one(), key="k", body=b"b")],
        [3, KeyReused],
        3,
    ),
    "an account has too many open bids": (
        "SELECT",
        [command(one(), account=2), command(many), command(one(), account=3)],
        [3, TooManyOpenBids, 4],
        4,
    ),
    "an account gets too many open bids in this batch": (
        "SELECT",
        [command(many, account=2), command(one(), account=2)],
        [302, TooManyOpenBids],
        3,
    ),
    "an account is gone": (
        "DELETE FROM accounts WHERE id = 2",
        [command(one()), command(one(), account=2), command(one(), account=3)],
        [3, AccountGone, 4],
        4,
    ),
    "the day is closed": (
        "UPDATE delivery_days SET state = 'closed'",
        [command(one()), command(one(), key="k", body=b"a")],
        [GateClosed, 2],
        2,
    ),
    "the volume of a level might not be a number that fits": (
        f"UPDATE delivery_days SET volume_bound = {MAX_LEVEL_TICKS}",  # noqa: S608 - a number of our own
        [command(one())],
        [3],
        3,
    ),
    "the day does not exist": ("DELETE FROM delivery_days", [command(one())], [1], 3),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_what_stands_in_the_way_leaves_everything_as_it_was_and_is_told_by_the_long_way(
    obstacle: str, database: Database, connection: Connection, short: Short
) -> None:
    happened, asked, expected, count = OBSTACLES[obstacle]
    async with writer_of(database) as writer:
        await writer.submit(command(one()))
        first = await writer.submit(command(one(), key="k", body=b"a"))
        assert short.done == 1
        await connection.execute(happened)
        if obstacle == "the day does not exist":
            await connection.execute("DELETE FROM book_events")
            count = 1
        before = await kept(connection, ", xmin")
        assert await place_at_once(database, *asked) is None
        assert await kept(connection, ", xmin") == before
        answers = await ask(writer, asked)
    assert seqs(answers) == expected
    assert short.refused == 2
    if expected[0] == 2:
        assert answers[0] == first
    assert len(await events(connection)) == count


async def test_a_gate_that_is_over_is_left_to_the_long_way(
    database: Database, connection: Connection, short: Short
) -> None:
    gate = MovableGate(datetime.now(UTC) + timedelta(hours=1))
    async with writer_of(database, gate) as writer:
        assert seqs(await ask(writer, [command(one())]) + await ask(writer, [command(one())])) == [1, 2]
        object.__setattr__(gate, "gate", datetime.now(UTC))
        assert seqs(await ask(writer, [command(one())])) == [GateClosed]
    assert (short.done, short.refused) == (1, 1)
    assert [kind for kind, _, _ in await events(connection)] == ["place", "place", "close"]


async def test_a_batch_that_was_given_up_does_nothing(database: Database, connection: Connection) -> None:
    async with writer_of(database) as writer:
        await writer.submit(command(one()))
    await connection.execute("INSERT INTO abandoned_batches (batch_id) VALUES (5)")
    before = await kept(connection, ", xmin")
    assert await place_at_once(database, command(one()), batch_id=5) is None
    assert await kept(connection, ", xmin") == before
    assert await place_at_once(database, command(one()), batch_id=6) == 1


async def test_a_key_that_outlived_its_time_is_taken_over(
    database: Database, connection: Connection, short: Short
) -> None:
    async with writer_of(database) as writer:
        await writer.submit(command(one()))
        await writer.submit(command(one(), key="k", body=b"a"))
        await connection.execute("UPDATE idempotency_keys SET created_at = created_at - interval '24 hours 1 second'")
        assert seqs(await ask(writer, [command(one(), key="k", body=b"b")])) == [3]
        assert (short.done, short.refused) == (2, 0)
        assert seqs(await ask(writer, [command(one(), key="k", body=b"b")])) == [3]
        assert seqs(await ask(writer, [command(one(), key="k", body=b"a")])) == [KeyReused]


async def test_batches_that_were_given_up_are_forgotten_after_a_day(database: Database, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO abandoned_batches SELECT n, now() - n * interval '1 hour' FROM generate_series(22, 26) AS n"
    )
    sweeping = asyncio.create_task(forget_what_is_old(database))
    left = "SELECT array_agg(batch_id ORDER BY batch_id) FROM abandoned_batches"
    async with asyncio.timeout(5):
        while len(await connection.fetchval(left)) == 5:
            pass
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert await connection.fetchval(left) == [22, 23]
