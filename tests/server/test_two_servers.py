"""Two servers on one PostgreSQL and one Redis: the feed, its resumes and revocations cross from one to the other."""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import asyncpg
import pytest

from tests.clock import india_day
from tests.conftest import SECRET, TEMPLATE, Services
from tests.drills.households import Household, get_book
from tests.drills.server import DrillServer
from tests.factories import PASSWORD, new_phone
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import channel
from tests.feed_wire import Wire

DATABASE = "test_two_servers"
BID = {"timeslot": "10:00-10:15", "volume": "1", "price": "4.25"}
_keys = itertools.count(1)


@pytest.fixture(scope="module")
def servers(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DrillServer, DrillServer]]:
    """Both, started once for all tests of this module."""
    directory = tmp_path_factory.mktemp("servers")
    environ = {
        "DATABASE_URL": services.url_of(DATABASE),
        "REDIS_URL": services.redis_url,
        "SECRET_KEY": SECRET,
        "SHAKTI_FEED_MESSAGES_PER_S": "1000",
        "SHAKTI_FEED_MESSAGE_BURST": "1000",
    }
    first, second = (DrillServer(directory / name, environ=environ) for name in ("first", "second"))

    async def start() -> None:
        admin = await asyncpg.connect(services.database_url)
        await admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE}")
        await admin.close()
        await asyncio.gather(first.start(), second.start())

    async def stop() -> list[int]:
        codes = [await server.stop() for server in (first, second)]
        admin = await asyncpg.connect(services.database_url)
        await admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        await admin.close()
        return codes

    asyncio.run(start())
    yield first, second
    assert asyncio.run(stop()) == [0, 0]
    assert "Traceback" not in first.log + second.log


@pytest.fixture
async def sessions(
    servers: tuple[DrillServer, DrillServer], redis_url: str
) -> AsyncIterator[tuple[aiohttp.ClientSession, aiohttp.ClientSession]]:
    """A session with each, and a Redis that has forgotten what earlier tests did."""
    async with aiohttp.ClientSession(servers[0].url) as here, aiohttp.ClientSession(servers[1].url) as there:
        yield here, there


Sessions = tuple[aiohttp.ClientSession, aiohttp.ClientSession]


async def sign_up(asked: aiohttp.ClientSession, used: aiohttp.ClientSession) -> Household:
    """A fresh account, whose OTP one server sends and the other takes."""
    phone = new_phone()
    async with asked.post("/sendotp", json={"PhoneNo": phone}) as response:
        assert response.status == 200, await response.text()
    async with used.get("/dev/outbox") as response:
        sent = next(message["body"] for message in await response.json() if message["to"].endswith(phone))
    otp = re.findall(r"\b[0-9]{6}\b", sent)[0]
    form = {"PhoneNo": phone, "password": PASSWORD, "connectionId": phone, "accountType": "prosumer"}
    async with used.post("/signup", json={**form, "otp": otp, "username": "Asha"}) as response:
        body = await response.json()
        assert response.status == 200, body
    return Household(body["token"], "sell")


async def place(session: aiohttp.ClientSession, household: Household, count: int = 1) -> int:
    """Bids, and the number of the last one's event."""
    headers = {**household.headers, "Idempotency-Key": f"{next(_keys)}"}
    async with session.post("/placebid/dayahead", json={"arr": [BID] * count}, headers=headers) as response:
        body = await response.json()
        assert response.status == 200, body
        return int(body["seq"])


async def test_a_bid_at_one_reaches_subscribers_of_the_other(sessions: Sessions) -> None:
    here, there = sessions
    household = await sign_up(here, there)
    watching = [
        await FeedClient(session, household.token, wanted, with_own=True).start()
        for session in sessions
        for wanted in (Wanted("book"), Wanted(channel(), 1000, (41,)))
    ]
    took_s = []
    for turn in range(10):
        seq = await place(sessions[turn % 2], household, 3)
        answered_s = time.monotonic()
        for watcher in watching[0], watching[2]:
            await watcher.reach(seq)
        took_s.append(time.monotonic() - answered_s)
    # A tick, and what a busy machine adds to it; a poll would take longer.
    assert sorted(took_s)[5] < 0.35, took_s
    for watcher in watching:
        await watcher.reach(seq)
        await watcher.until(has_own(watcher, 10))
        await watcher.close()
    assert_flawless(watching)
    books = [await get_book(session, household, india_day(1)) for session in sessions]
    assert books[0] == books[1]
    assert watching[0].book.levels == watching[2].book.levels == books[0]["lv"]
    assert watching[0].book.epoch == watching[2].book.epoch == books[0]["ep"], "one history, one epoch"


async def test_a_resume_moves_from_one_to_the_other(sessions: Sessions) -> None:
    here, there = sessions
    household = await sign_up(there, here)
    watching = [
        await FeedClient(here, household.token, wanted, with_own=True).start()
        for wanted in (Wanted("book"), Wanted(channel(), 1000), Wanted(channel(), 100, (41, 50)))
    ]
    for turn in range(12):
        before = [watcher.counts["connected"] for watcher in watching]
        for watcher in watching:
            watcher.move_to(sessions[(turn + 1) % 2])
            watcher.cut()
        seq = await place(sessions[turn % 2], household, 2)
        for watcher, count in zip(watching, before, strict=True):
            await watcher.until(has_connected(watcher, count + 1))
            await watcher.reach(seq)
    for watcher in watching:
        await watcher.until(has_own(watcher, 12))
        assert (watcher.counts["recovered"], watcher.counts["not recovered"]) == (24, 0), "book and me, twelve times"
        assert watcher.counts["snap"] == 1
        await watcher.close()
    assert_flawless(watching)
    assert watching[0].book.levels == (await get_book(there, household, india_day(1)))["lv"]


def has_own(watcher: FeedClient, seq: int) -> Callable[[], bool]:
    """Whether a client has its own messages up to a number by now."""
    return lambda: watcher.own is not None and watcher.own.seq == seq


def has_connected(watcher: FeedClient, count: int) -> Callable[[], bool]:
    """Whether a client has been connected so many times by now."""
    return lambda: watcher.counts["connected"] >= count


async def test_signing_out_at_one_closes_the_sockets_at_the_other(sessions: Sessions) -> None:
    here, there = sessions
    household, stranger = await sign_up(here, there), await sign_up(there, here)
    wires = [
        wire
        for session in sessions
        for wire in (await Wire.open(session, header=household.token), await Wire.open(session, token=household.token))
    ]
    spared = [await Wire.open(session, token=stranger.token) for session in sessions]
    async with here.post("/signout", headers=household.headers) as response:
        assert response.status == 200
    signed_out_s = time.monotonic()
    assert set(await asyncio.gather(*(wire.close_code() for wire in wires))) == {4503}
    assert time.monotonic() - signed_out_s < 1
    for wire in spared:
        assert (await wire.ask("ping"))["t"] == "ok"
        await wire.close()
    for session in sessions:
        wire = await Wire.open(session)
        await wire.send("auth", id=1, token=household.token)
        assert await wire.close_code() in (4500, 4503)


async def test_an_otp_works_once_at_either(sessions: Sessions) -> None:
    here, there = sessions
    phone = new_phone()
    async with here.post("/sendotp", json={"PhoneNo": phone}) as response:
        assert response.status == 200
    async with there.get("/dev/outbox") as response:
        sent = next(message["body"] for message in await response.json() if message["to"].endswith(phone))
    otp = re.findall(r"\b[0-9]{6}\b", sent)[0]
    statuses = []
    for session, account_type in ((there, "prosumer"), (here, "consumer"), (there, "consumer")):
        form = {"PhoneNo": phone, "password": PASSWORD, "connectionId": phone, "accountType": account_type}
        async with session.post("/signup", json={**form, "otp": otp, "username": "Asha"}) as response:
            statuses.append((response.status, (await response.json()).get("message")))
    assert statuses == [(200, "User created successfully"), (401, "Invalid OTP"), (401, "Invalid OTP")]
