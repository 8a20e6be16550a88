"""R3: what the feed does without Redis, and while PostgreSQL is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import WSServerHandshakeError

from server.config import Config
from tests.answers import call
from tests.conftest import Client, MakeClient, Services
from tests.factories import Household, bid, place, sign_up
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import book_of, channel, refresh
from tests.feed_wire import Wire
from tests.handlers.test_live_messages import assert_err
from tests.standins.link import Link, link_to


@pytest.fixture
async def lines(services: Services, database_url: str, redis_url: str) -> AsyncIterator[dict[str, Link]]:
    """Lines to both services that can be cut."""
    directory = database_url.partition("host=")[2].partition("&")[0]
    async with (
        link_to(f"{directory}/.s.PGSQL.5432") as postgres,
        link_to(redis_url.removeprefix("unix://")) as redis,
    ):
        yield {"postgres": postgres, "redis": redis}


@pytest.fixture
async def client(make_client: MakeClient, config: Config, lines: dict[str, Link]) -> Client:
    """A client of a server that reaches PostgreSQL and Redis over those lines."""
    name = config.database.url.partition("?")[0].rpartition("/")[2]
    url = f"postgresql://shakti@127.0.0.1:{lines['postgres'].port}/{name}?sslmode=disable"
    return await make_client(
        database={"url": url, "timeout_s": 0.5},
        redis={"url": f"redis://127.0.0.1:{lines['redis'].port}", "timeout_s": 0.3},
    )


def break_line(link: Link, how: str) -> None:
    if how == "cut":
        link.cut()
    else:
        link.is_silent = True


def two_more_heartbeats(watcher: FeedClient) -> Callable[[], bool]:
    """Whether a client has heard two more heartbeats by now: it lives, and so does the server."""
    heard = watcher.counts["hb"]
    return lambda: watcher.counts["hb"] >= heard + 2


async def place_until_placed(client: Client, household: Household) -> int:
    """A placement with a key, repeated until it is accepted; the number of its event."""
    key = f"{time.monotonic_ns()}"
    async with asyncio.timeout(20):
        while True:
            answer = await call(
                client,
                "POST",
                "/placebid/dayahead",
                {"arr": [bid()]},
                by=household,
                headers={"Idempotency-Key": key},
            )
            if answer.status == 200:
                return int(answer.body["seq"])
            assert answer.status == 500, answer


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_without_redis_the_feed_goes_on(client: Client, lines: dict[str, Link], how: str) -> None:
    household = await sign_up(client)
    watching = await FeedClient(client, household.token, Wanted(channel()), with_own=True).start()
    break_line(lines["redis"], how)
    for number in range(1, 4):
        await place(client, household, bid())
        await watching.reach(number)
    fresh = await refresh(client, household)
    for wire in (await Wire.open(client, token=fresh.token), await Wire.open(client, header=fresh.token)):
        _, snap = await wire.subscribe("book")
        assert snap["seq"] == 3
        assert (await wire.ask("subscribe", ch="me"))["seq"] == 3
    await watching.close()
    assert_flawless([watching])
    assert watching.own is not None
    assert watching.own.seq == 3
    assert watching.counts["connected"] == 1


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_while_the_database_is_away_sockets_stay_and_miss_nothing(
    client: Client, lines: dict[str, Link], how: str
) -> None:
    household = await sign_up(client)
    wanted = (Wanted(channel()), Wanted("book", 1000), Wanted(channel(), 100, (41,)))
    watching = [await FeedClient(client, household.token, one, with_own=True).start() for one in wanted]
    await place(client, household, bid())
    for watcher in watching:
        await watcher.reach(1)
    break_line(lines["postgres"], how)
    for watcher in watching:
        await watcher.until(two_more_heartbeats(watcher))
    lines["postgres"].cut()
    lines["postgres"].restore()
    seq = await place_until_placed(client, household)
    for watcher in watching:
        await watcher.reach(seq)
        assert watcher.counts["connected"] == 1, "nobody was sent away"
    shown = await book_of(client, household)
    assert watching[0].book.levels == shown["lv"]
    seq = (await place(client, household, bid("11:00")))["seq"]
    for watcher in watching:
        await watcher.reach(seq)
        await watcher.close()
    assert_flawless(watching)


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_what_needs_the_database_says_that_it_is_away(client: Client, lines: dict[str, Link], how: str) -> None:
    household = await sign_up(client)
    fresh = await refresh(client, household)
    wire, nobody = await Wire.open(client, token=household.token), await Wire.open(client)
    own = await wire.ask("subscribe", ch="me")
    await place(client, household, bid())
    await wire.next("me")
    await wire.ask("unsubscribe", ch="me")
    break_line(lines["postgres"], how)
    assert_err(await nobody.ask("auth", token=fresh.token), 1503, is_temporary=True)
    assert_err(await wire.ask("subscribe", ch="me", since={"ep": own["ep"], "seq": 0}), 1503, is_temporary=True)
    with pytest.raises(WSServerHandshakeError) as refused:
        await Wire.open(client, header=fresh.token)
    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert int(refused.value.headers["Retry-After"]) >= 1
    lines["postgres"].cut()
    lines["postgres"].restore()
    await place_until_placed(client, household)
    assert (await nobody.ask("auth", token=fresh.token))["t"] == "ok"
    again = await wire.ask("subscribe", ch="me", since={"ep": own["ep"], "seq": 0})
    assert (again["recovered"], again["seq"]) == (True, 2)
    assert [(await wire.next("me"))["seq"] for _ in range(2)] == [1, 2]


async def test_temporary_errors_do_not_count_as_repeated_ones(client: Client, lines: dict[str, Link]) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client)
    lines["postgres"].cut()
    for _ in range(12):
        assert_err(await wire.ask("auth", token=household.token), 1503, is_temporary=True)
    lines["postgres"].restore()
    await place_until_placed(client, household)
    assert (await wire.ask("auth", token=household.token))["t"] == "ok"
