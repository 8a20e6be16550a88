"""Between the short way and the long one nothing is lost or done twice, whenever the statement arrives."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

import asyncpg
import pytest

from storage.database import Database
from storage.writer import BookWriter
from tests.account_log import assert_sequences_are_whole, own_numbers
from tests.batches import ask, command, one, seqs, writer_of
from tests.book_log import has_gaps, log_of
from tests.mutants import mutate, mutate_the_short_way, until_waiting
from tests.standins.lossy_link import Loss, LossyLink, lossy_link_to

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
pytestmark = pytest.mark.usefixtures("accounts")


@pytest.fixture
async def link(database_url: str) -> AsyncIterator[LossyLink]:
    directory = database_url.partition("host=")[2].partition("&")[0]
    async with lossy_link_to(f"{directory}/.s.PGSQL.5432") as opened:
        yield opened


@pytest.fixture
async def far_writer(link: LossyLink, database_url: str) -> AsyncIterator[BookWriter]:
    """A writer over a line that can lose something. It has one connection, which has made the short way's plan: what it
    sends next is the whole statement."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    url = f"postgresql://shakti@127.0.0.1:{link.port}/{name}?sslmode=disable"
    database = await Database.open(url, pool_size=1, timeout_s=6)
    async with writer_of(database) as writer:
        assert seqs([await writer.submit(command(one())) for _ in range(2)]) == [1, 2]
        yield writer
    await database.close()


THREE = [command(one(), account=account, key="k", body=b"a") for account in (1, 2, 3)]


async def assert_told_what_was_done(
    writer: BookWriter, connection: Connection, answers: Sequence[bytes | BaseException]
) -> None:
    """Each of THREE is in the log once, under the numbers that it was told, and its key knows."""
    assert seqs(answers) == [3, 4, 5]
    rows = await connection.fetch(
        "SELECT account_id, first_seq FROM book_events WHERE first_seq > 2 ORDER BY first_seq"
    )
    assert [tuple(row) for row in rows] == [(1, 3), (2, 4), (3, 5)]
    assert await ask(writer, THREE) == answers
    assert seqs([await writer.submit(command(one())) for _ in range(2)]) == [6, 7]
    assert not has_gaps(await log_of(connection))
    await assert_sequences_are_whole(connection)


async def given_up(connection: Connection) -> int:
    found: int = await connection.fetchval("SELECT count(*) FROM abandoned_batches")
    return found


@pytest.mark.parametrize("arrives", ["never", "later"])
async def test_a_statement_that_did_not_arrive_is_done_the_long_way_and_does_nothing_later(
    arrives: str, far_writer: BookWriter, link: LossyLink, connection: Connection
) -> None:
    link.lose = Loss.DELAYED
    answers = await ask(far_writer, THREE)
    assert link.has_lost
    if arrives == "later":
        await link.deliver()
    await assert_told_what_was_done(far_writer, connection, answers)
    assert await given_up(connection) == 1


async def test_without_the_look_at_what_was_given_up_a_statement_that_arrives_late_places_twice(
    far_writer: BookWriter, link: LossyLink, connection: Connection
) -> None:
    """Without keys, which would keep it from doing so."""
    await mutate_the_short_way(connection, ("a.batch_id = batch", "false"))
    link.lose = Loss.DELAYED
    assert seqs(await ask(far_writer, [command(one(), account=2)])) == [3]
    await link.deliver()
    assert await own_numbers(connection) == {1: [1, 2], 2: [1, 2]}


async def test_a_statement_that_arrives_late_without_keys_does_nothing(
    far_writer: BookWriter, link: LossyLink, connection: Connection
) -> None:
    link.lose = Loss.DELAYED
    assert seqs(await ask(far_writer, [command(one(), account=2)])) == [3]
    await link.deliver()
    assert await own_numbers(connection) == {1: [1, 2], 2: [1]}


async def test_a_statement_whose_answer_was_lost_is_found_in_the_log(
    far_writer: BookWriter, link: LossyLink, connection: Connection
) -> None:
    link.lose = Loss.UNANSWERED
    answers = await ask(far_writer, THREE)
    assert link.has_lost
    await assert_told_what_was_done(far_writer, connection, answers)
    assert await given_up(connection) == 0


async def test_without_the_look_into_the_log_a_lost_answer_places_twice(
    far_writer: BookWriter, link: LossyLink, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, "book/find_batch", "batch_id = $3", "batch_id = $3 AND false")
    link.lose = Loss.UNANSWERED
    await ask(far_writer, [command(one(), account=2)])
    assert await own_numbers(connection) == {1: [1, 2], 2: [1, 2]}


@pytest.mark.parametrize("first", ["the statement", "the long way"])
async def test_a_statement_and_its_second_attempt_that_wait_for_one_lock_place_once(
    first: str, far_writer: BookWriter, link: LossyLink, connection: Connection
) -> None:
    holder = connection.transaction()
    await holder.start()
    await connection.execute("SELECT FROM delivery_days FOR UPDATE")
    link.lose = Loss.UNANSWERED if first == "the statement" else Loss.DELAYED
    asking = asyncio.create_task(ask(far_writer, THREE))
    if first == "the long way":
        await until_waiting(connection, 1)
        link.release()
    await until_waiting(connection, 2)
    await holder.rollback()
    answers = await asking
    await link.until_answered()
    await assert_told_what_was_done(far_writer, connection, answers)
    assert await given_up(connection) == (first == "the long way")


async def test_a_command_that_was_given_up_while_its_statement_was_away_is_done_once_when_it_comes_again(
    far_writer: BookWriter, link: LossyLink, connection: Connection, database: Database
) -> None:
    """Its sender has gone before the long way could begin, so nothing gives the statement up; the key does."""
    link.lose = Loss.DELAYED
    asking = [asyncio.create_task(far_writer.submit(each)) for each in THREE]
    await link.until_lost()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    async with writer_of(database) as elsewhere:
        answers = await ask(elsewhere, THREE)
    await link.deliver()
    await assert_told_what_was_done(far_writer, connection, answers)
