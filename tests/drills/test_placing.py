"""The placing drill at the size of a test, and the proof that it would notice what it looks for."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.conftest import Client
from tests.drills import households, placing
from tests.drills.households import Household
from tests.drills.placing import Plan, Tally
from tests.factories import sign_up


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, 2])
async def test_no_acknowledged_bid_is_lost_or_doubled_while_the_server_is_killed(tmp_path: Path, workers: int) -> None:
    tally = await placing.run(Plan(bids=3000, kills=3, workers=workers), tmp_path)
    assert tally.kills.total() == 3
    assert tally.kills["all"] >= 1
    assert tally.retries > 0
    assert len(tally.acknowledged) + sum(tally.unanswered) == 3000


@dataclass(frozen=True, slots=True)
class Load:
    """A load that went well, and what the drill knows of it."""

    session: aiohttp.ClientSession
    households: list[Household]
    day: str
    tally: Tally

    async def check(self) -> None:
        await placing._check(self.session, self.households, self.day, self.tally)


@pytest.fixture
async def load(client: Client) -> AsyncIterator[Load]:
    day = (date.today() + timedelta(days=4)).isoformat()  # noqa: DTZ011 - any day ahead will do
    seller, buyer = await sign_up(client, "prosumer"), await sign_up(client, "consumer")
    households = [Household(seller.token, "sell"), Household(buyer.token, "buy")]
    tally = Tally()
    async with aiohttp.ClientSession(client.make_url("/")) as session:
        for seed, household in enumerate(households):
            await placing._place_until_done(session, household, day, [150], random.Random(seed), tally)
        made = Load(session, households, day, tally)
        await made.check()
        yield made


def _acknowledge_what_was_never_placed(tally: Tally) -> None:
    last = max(tally.acknowledged)
    tally.acknowledged[last + 1] = {**tally.acknowledged[last], "id": last + 1}


def _acknowledge_another_price(tally: Tally) -> None:
    first = min(tally.acknowledged)
    tally.acknowledged[first] = {**tally.acknowledged[first], "price": "9.99"}


def _forget_one(tally: Tally) -> None:
    del tally.acknowledged[max(tally.acknowledged)]


def _forget_two_of_three(tally: Tally) -> None:
    for number in sorted(tally.acknowledged)[-2:]:
        del tally.acknowledged[number]
    tally.unanswered.append(3)


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (_acknowledge_what_was_never_placed, "1 acknowledged bids are lost"),
        (_acknowledge_another_price, "1 bids are not as they were acknowledged"),
        (_forget_one, "1 bids stand that nobody placed whole"),
        (_forget_two_of_three, "2 bids stand that nobody placed whole"),
    ],
)
async def test_the_drill_notices_what_clients_were_told_wrongly(
    load: Load, tamper: Callable[[Tally], None], words: str
) -> None:
    tamper(load.tally)
    with pytest.raises(AssertionError, match=words):
        await load.check()


async def test_the_drill_forgives_a_placement_without_an_answer_that_stands_whole(load: Load) -> None:
    for number in sorted(load.tally.acknowledged)[-3:]:
        del load.tally.acknowledged[number]
    load.tally.unanswered += [3, 5]
    await load.check()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "DELETE FROM book_events WHERE first_seq = (SELECT max(first_seq) FROM book_events)",
            "acknowledged bids are lost",
        ),
        ("UPDATE book_events SET prices[1] = prices[1] + 1 WHERE first_seq = 1", "1 bids are not as they were"),
        (
            "INSERT INTO book_events SELECT delivery_day, last_seq + 1000, last_seq + 1000 + last_seq - first_seq, at, "
            "batch_id, account_id, bid_seq, kind, side, slots, prices, volumes, account_seq FROM book_events "
            "WHERE first_seq = 1",
            "bids stand that nobody placed whole",
        ),
    ],
)
async def test_the_drill_notices_a_database_that_is_wrong(
    load: Load, connection: "asyncpg.Connection[asyncpg.Record]", statement: str, words: str
) -> None:
    await connection.execute(statement)
    with pytest.raises(AssertionError, match=words):
        await load.check()


def _without_a_level(book: dict[str, Any]) -> None:
    del book["lv"][0]


def _with_another_volume(book: dict[str, Any]) -> None:
    book["lv"][-1][3] += 1


def _ahead(book: dict[str, Any]) -> None:
    book["seq"] += 1


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (_without_a_level, "the book is not the sum of its bids"),
        (_with_another_volume, "the book is not the sum of its bids"),
        (_ahead, "the book stands at 301 with 300 bids"),
    ],
)
async def test_the_drill_notices_a_book_that_is_wrong(
    load: Load, monkeypatch: pytest.MonkeyPatch, tamper: Callable[[dict[str, Any]], None], words: str
) -> None:
    async def get_book(*asked: Any) -> dict[str, Any]:
        book = await households.get_book(*asked)
        tamper(book)
        return book

    monkeypatch.setattr(placing, "get_book", get_book)
    with pytest.raises(AssertionError, match=words):
        await load.check()
