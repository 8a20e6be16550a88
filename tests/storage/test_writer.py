"""The writer: batches that share a commit and nothing else, and what becomes of them when PostgreSQL is cut."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import orjson
import pytest
from structlog.testing import capture_logs

from storage import book_transaction
from storage.commands import Amend, Change, Command, Place, Receipt, Withdraw
from storage.database import Database
from storage.errors import AccountGone, BidNotFound, BidNotOpen, DatabaseUnavailable, GateClosed, KeyReused
from storage.writer import BookWriter
from tests.account_log import assert_sequences_are_whole, own_numbers
from tests.batches import CALENDAR, DAY, TWO_DAYS, MovableGate, command, events, one
from tests.book_log import read_book
from tests.mutants import meeting, mutate, only_the_long_way, until_waiting

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
pytestmark = pytest.mark.usefixtures("accounts")


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[BookWriter]:
    opened = BookWriter(database, CALENDAR, max_open_bids=1000)
    opened.start()
    yield opened
    await opened.close()


async def test_commands_that_arrive_together_share_one_transaction(
    writer: BookWriter, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    answers = await asyncio.gather(*(writer.submit(command(one(), account=n)) for n in range(1, 41)))
    assert sorted(orjson.loads(answer)["seq"] for answer in answers) == list(range(1, 41))
    commits = await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM book_events")
    assert commits <= 2


async def test_commands_that_arrive_while_a_batch_is_written_form_the_next_one(
    writer: BookWriter, connection: Connection
) -> None:
    """The server is kept busy with the first for as long as the others take to come, one by one."""
    await writer.submit(command(one()))
    holder = connection.transaction()
    await holder.start()
    await connection.execute("SELECT FROM delivery_days FOR UPDATE")
    tasks = [asyncio.create_task(writer.submit(command(one(), account=1)))]
    await until_waiting(connection, 1)
    for account in range(2, 21):
        tasks.append(asyncio.create_task(writer.submit(command(one(), account=account))))
        await asyncio.sleep(0)
    await holder.rollback()
    assert [orjson.loads(answer)["seq"] for answer in await asyncio.gather(*tasks)] == list(range(2, 22))
    rows = await connection.fetch(
        "SELECT array_agg(first_seq ORDER BY first_seq) AS seqs FROM book_events GROUP BY batch_id"
    )
    assert sorted(row["seqs"] for row in rows) == [[1], [2], list(range(3, 22))]


async def test_commands_without_end_do_not_keep_a_batch_from_starting(writer: BookWriter) -> None:
    first = asyncio.create_task(writer.submit(command(one())))
    others = []
    async with asyncio.timeout(10):
        while not first.done():
            others.append(asyncio.create_task(writer.submit(command(one()))))
            await asyncio.sleep(0)
    assert orjson.loads(await first)["seq"] == 1
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def test_a_refused_member_does_not_touch_the_others(writer: BookWriter) -> None:
    await writer.submit(command(one()))
    answers = await asyncio.gather(
        writer.submit(command(one())),
        writer.submit(command(Withdraw(99))),
        writer.submit(command(Amend(1, 500, None))),
        writer.submit(command(Withdraw(1), account=2)),
        writer.submit(command(one())),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [bytes, BidNotFound, bytes, BidNotFound, bytes]
    assert [orjson.loads(answer)["seq"] for answer in answers if isinstance(answer, bytes)] == [2, 3, 4]


async def test_a_change_races_a_withdrawal_in_the_order_of_the_log(writer: BookWriter, database: Database) -> None:
    for _ in range(20):
        seq = orjson.loads(await writer.submit(command(one(), account=3)))["seq"]
        answers = await asyncio.gather(
            writer.submit(command(Amend(seq, 500, None), account=3)),
            writer.submit(command(Withdraw(seq), account=3)),
            return_exceptions=True,
        )
        assert isinstance(answers[1], bytes)
        assert isinstance(answers[0], bytes | BidNotOpen)
    found = await read_book(database, DAY)
    assert found is not None
    assert found.levels == []


async def test_a_key_answers_again_with_the_first_answer_and_does_nothing(
    writer: BookWriter, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    first = await writer.submit(command(one(), key="k", body=b"a"))
    assert await writer.submit(command(one(), key="k", body=b"a")) == first
    with pytest.raises(KeyReused):
        await writer.submit(command(one(), key="k", body=b"b"))
    await writer.submit(command(one(), key="k", body=b"a", account=2))
    assert await events(connection) == [("place", 1, 1), ("place", 2, 2)]


@pytest.mark.parametrize("spread", ["one writer", "two writers"])
async def test_twins_with_one_key_at_one_instant_place_once(
    spread: str, writer: BookWriter, database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    other = writer if spread == "one writer" else BookWriter(database, CALENDAR, max_open_bids=1000)
    if other is not writer:
        other.start()
    for n in range(15):
        answers = await asyncio.gather(
            *(w.submit(command(one(), key=f"k{n}", body=b"a")) for w in (writer, other, writer, other))
        )
        assert len(set(answers)) == 1
    assert len(await events(connection)) == 15
    if other is not writer:
        await other.close()


async def test_a_refusal_does_not_bind_its_key(writer: BookWriter) -> None:
    with pytest.raises(BidNotFound):
        await writer.submit(command(Withdraw(1), key="k", body=b""))
    await writer.submit(command(one()))
    assert orjson.loads(await writer.submit(command(Withdraw(1), key="k", body=b"")))["seq"] == 2


async def test_a_key_is_forgotten_after_a_day(
    writer: BookWriter, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await writer.submit(command(one(), key="k", body=b"a"))
    await connection.execute("UPDATE idempotency_keys SET created_at = created_at - interval '24 hours 1 second'")
    assert orjson.loads(await writer.submit(command(one(), key="k", body=b"b")))["seq"] == 2


@pytest.fixture
async def writers(database: Database) -> AsyncIterator[tuple[BookWriter, BookWriter]]:
    """As in two processes, one for each of TWO_DAYS: the day's lock does not keep them apart."""
    opened = BookWriter(database, CALENDAR, max_open_bids=1000), BookWriter(database, CALENDAR, max_open_bids=1000)
    for each in opened:
        each.start()
    yield opened
    for each in opened:
        await each.close()


def both_decide_before_either_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for accounts, and the next two transactions have read all that they need before either writes."""
    only_the_long_way(monkeypatch)
    mutate(monkeypatch, "book/lock_accounts", "FOR UPDATE OF f", "")
    meet, write = meeting(2), book_transaction._write

    async def meet_and_write(*args: Any) -> None:
        await meet()
        await write(*args)

    monkeypatch.setattr(book_transaction, "_write", meet_and_write)


async def place_on_both_days(writers: tuple[BookWriter, BookWriter], accounts: Sequence[int]) -> None:
    """The same accounts on both days at once, in opposite orders."""
    await asyncio.gather(
        *(writers[0].submit(command(one(), account=account, day=TWO_DAYS[0])) for account in accounts),
        *(writers[1].submit(command(one(), account=account, day=TWO_DAYS[1])) for account in reversed(accounts)),
    )


async def test_writers_of_two_days_take_whole_numbers_of_the_same_accounts_without_a_deadlock(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    for _ in range(20):
        await place_on_both_days(writers, range(1, 21))
    await assert_sequences_are_whole(connection)
    assert await own_numbers(connection) == {account: list(range(1, 41)) for account in range(1, 21)}
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await connection.fetchval(deadlocks) == 0


async def test_without_the_locks_of_accounts_writers_of_two_days_repeat_a_number(
    writers: tuple[BookWriter, BookWriter], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_decide_before_either_writes(monkeypatch)
    await place_on_both_days(writers, [7])
    assert await own_numbers(connection) == {7: [1, 1]}


async def use_a_key_on_both_days(writers: tuple[BookWriter, BookWriter], key: str) -> list[bytes]:
    return await asyncio.gather(
        *(each.submit(command(one(), key=key, body=b"a", day=day)) for each, day in zip(writers, TWO_DAYS, strict=True))
    )


async def test_a_key_used_on_two_days_at_once_places_once(
    writers: tuple[BookWriter, BookWriter], connection: Connection
) -> None:
    for number in range(15):
        answers = await use_a_key_on_both_days(writers, f"k{number}")
        assert answers[0] == answers[1]
    assert len(await events(connection)) == 15


async def test_without_the_locks_of_accounts_a_key_used_on_two_days_at_once_places_twice(
    writers: tuple[BookWriter, BookWriter], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_decide_before_either_writes(monkeypatch)
    await use_a_key_on_both_days(writers, "k")
    assert len(await events(connection)) == 2


async def test_numbers_of_an_account_are_whole_whatever_is_asked(writer: BookWriter, connection: Connection) -> None:
    """Refusals, replays and members that break their batch take no number, and leave none out."""
    chance = random.Random(5)
    done = 0

    def broken(_: Receipt) -> bytes:
        raise RuntimeError("cannot be rendered")

    def asked() -> Command:
        account, day = chance.randint(1, 4), chance.choice(TWO_DAYS)
        changes: list[Change] = [
            one(chance.randint(1, 9)),
            Place("B", [1, 2, 3], [5, 6, 7], [1, 1, 1]),
            Amend(chance.randint(1, 60), chance.randint(1, 9), None),
            Withdraw(chance.randint(1, 60)),
        ]
        change = chance.choice(changes)
        made = command(change, account=account, day=day, key=chance.choice([None, f"k{chance.randint(1, 40)}"]))
        return made._replace(render=broken) if chance.random() < 0.03 else made

    seen: set[type] = set()
    # Captured, for to print a fault with its trace takes longer than all the rest.
    with capture_logs():
        for _ in range(40):
            answers = await asyncio.gather(*(writer.submit(asked()) for _ in range(10)), return_exceptions=True)
            seen.update(map(type, answers))
            done += sum(isinstance(answer, bytes) for answer in answers)
    assert seen == {bytes, BidNotFound, BidNotOpen, RuntimeError}
    await assert_sequences_are_whole(connection)
    # Some answers were given again; each request that did something has one row and one number.
    assert 100 < sum(map(len, (await own_numbers(connection)).values())) == len(await events(connection)) < done


async def test_an_account_that_is_gone_is_refused_alone(writer: BookWriter, connection: Connection) -> None:
    await connection.execute("DELETE FROM accounts WHERE id = 2")
    answers = await asyncio.gather(
        *(writer.submit(command(one(), account=account)) for account in (1, 2, 3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [bytes, AccountGone, bytes]
    assert await own_numbers(connection) == {1: [1], 3: [1]}


async def test_the_gate_closes_by_the_database_s_clock_and_stays_closed(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    hour = timedelta(hours=1)
    kept = command(one(), key="k", body=b"a")
    for gate, expected in ((hour, bytes), (-hour, GateClosed), (hour, GateClosed)):
        writer = BookWriter(database, MovableGate(datetime.now(UTC) + gate), max_open_bids=10)
        writer.start()
        for change in (one(), Amend(1, 401, None), Withdraw(1)):
            answer = (await asyncio.gather(writer.submit(command(change)), return_exceptions=True))[0]
            assert type(answer) is expected
        # What was answered before the gate is answered again after it.
        if expected is bytes:
            first = await writer.submit(kept)
        assert await writer.submit(kept) == first
        await writer.close()
    assert [kind for kind, _, _ in await events(connection)] == ["place", "change", "withdraw", "place", "close"]
    found = await read_book(database, DAY)
    assert found is not None
    assert (found.state, found.seq) == ("closed", 5)


async def test_a_day_that_is_over_and_was_never_used_gets_no_row(
    writer: BookWriter, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for change in (one(), Withdraw(1)):
        with pytest.raises(GateClosed if isinstance(change, Place) else BidNotFound):
            await writer.submit(command(change, day=date(2025, 1, 1)))
    with pytest.raises(BidNotFound):
        await writer.submit(command(Withdraw(1), day=date(2200, 1, 1)))
    assert await connection.fetchval("SELECT count(*) FROM delivery_days") == 0


class Cut:
    """Ends the backend of the writer's transaction at a chosen moment, once. Of the short way there is no such moment;
    tests/storage/test_short_way.py cuts that."""

    def __init__(self, admin: Any, monkeypatch: pytest.MonkeyPatch, *, after_commit: bool) -> None:
        only_the_long_way(monkeypatch)
        self.cuts = 0
        real = asyncpg.transaction.Transaction.commit

        async def commit_and_cut(transaction: Any) -> None:
            if self.cuts:
                await real(transaction)
                return
            self.cuts += 1
            pid = transaction._connection.get_server_pid()
            if after_commit:
                await real(transaction)
            await admin.execute("SELECT pg_terminate_backend($1, 1000)", pid)
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

        monkeypatch.setattr(asyncpg.transaction.Transaction, "commit", commit_and_cut)


@pytest.mark.parametrize("after_commit", [True, False])
async def test_a_commit_whose_answer_was_lost_is_neither_repeated_nor_forgotten(
    *,
    after_commit: bool,
    writer: BookWriter,
    connection: "asyncpg.Connection[asyncpg.Record]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await writer.submit(command(one()))
    cut = Cut(connection, monkeypatch, after_commit=after_commit)
    answers = await asyncio.gather(*(writer.submit(command(one(), account=n)) for n in range(1, 4)))
    assert cut.cuts == 1
    assert [orjson.loads(answer)["seq"] for answer in answers] == [2, 3, 4]
    assert await events(connection) == [("place", seq, seq) for seq in range(1, 5)]


async def test_nothing_is_tried_apart_while_an_earlier_attempt_may_have_landed(
    writer: BookWriter, connection: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.submit(command(one()))
    Cut(connection, monkeypatch, after_commit=True)
    real, calls = book_transaction._lock, iter(range(100))

    async def fail_the_second_time(*args: Any) -> Any:
        if next(calls) == 1:
            raise RuntimeError("something unheard of, before anybody could look into the log")
        return await real(*args)

    monkeypatch.setattr(book_transaction, "_lock", fail_the_second_time)
    answers = await asyncio.gather(*(writer.submit(command(one(), account=n)) for n in range(1, 4)))
    assert [orjson.loads(answer)["seq"] for answer in answers] == [2, 3, 4]
    assert await events(connection) == [("place", seq, seq) for seq in range(1, 5)]


async def test_without_the_look_up_a_lost_answer_places_twice(
    writer: BookWriter, connection: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, "book/find_batch", "batch_id = $3", "batch_id = $3 AND false")
    Cut(connection, monkeypatch, after_commit=True)
    await writer.submit(command(one()))
    assert len(await events(connection)) == 2


async def test_a_batch_that_fails_is_tried_again_member_by_member(
    writer: BookWriter,
) -> None:
    """A fault of ours in one member's answer costs that member alone."""

    def fail(_: Receipt) -> bytes:
        raise RuntimeError("cannot be rendered")

    broken = Command(2, DAY, one(), fail, None)
    answers = await asyncio.gather(
        writer.submit(command(one())), writer.submit(broken), writer.submit(command(one())), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [bytes, RuntimeError, bytes]
    assert sorted(orjson.loads(a)["seq"] for a in answers if isinstance(a, bytes)) == [1, 2]


async def test_a_command_nobody_waits_for_any_more_is_not_done(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    writer = BookWriter(database, CALENDAR, max_open_bids=10)
    # Not started: the command waits until its sender has gone.
    task = asyncio.create_task(writer.submit(command(one())))
    await asyncio.sleep(0)
    task.cancel()
    writer.start()
    await writer.submit(command(one(price=500)))
    assert await events(connection) == [("place", 1, 1)]
    await writer.close()


async def test_a_batch_whose_senders_have_all_gone_leaves_no_trace(writer: BookWriter, connection: Connection) -> None:
    await writer.submit(command(one()))
    with capture_logs() as said:
        task = asyncio.create_task(writer.submit(command(one())))
        await asyncio.sleep(0)
        task.cancel()
        await writer.submit(command(one()))
    assert said == []
    assert await events(connection) == [("place", 1, 1), ("place", 2, 2)]


async def test_a_lock_that_is_not_freed_ends_in_time(database_url: str) -> None:
    impatient = await Database.open(database_url, pool_size=2, timeout_s=0.5)
    writer = BookWriter(impatient, CALENDAR, max_open_bids=10)
    writer.start()
    await writer.submit(command(one()))
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("SELECT FROM delivery_days FOR UPDATE")
        with pytest.raises(DatabaseUnavailable):
            await writer.submit(command(one()))
    assert orjson.loads(await writer.submit(command(one())))["seq"] == 2
    await other.close()
    await writer.close()
    await impatient.close()
