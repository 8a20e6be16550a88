"""The follower: every event of the log, once and in order, whatever becomes of notifications and connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from feed import follower as following
from feed.day_book import DayBook
from feed.follower import Follower
from feed.rules import FeedRules
from handlers.context import FEED
from market.calendar import Calendar
from market.clearing import PriceRule
from market.ticks import Tick
from server.config import FeedSettings
from storage import events
from storage.commands import Command, Place
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.notifications import Notifications
from storage.writer import BookWriter
from tests.account_log import make_accounts
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, sign_up
from tests.factories import place as place_over_http
from tests.feed_wire import Wire
from tests.standins.link import Link, link_to

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
CALENDAR = Calendar()
DAY = CALENDAR.open_day(datetime.now(UTC)) + timedelta(days=2)


def rules() -> FeedRules:
    """The settings' defaults."""
    settings = FeedSettings()
    return FeedRules(
        calendar=CALENDAR,
        price_rule=PriceRule.MIDPOINT,
        price_tick=Tick(Decimal("0.01")),
        volume_tick=Tick(Decimal("0.001")),
        days_ahead=7,
        is_book_public=False,
        **{name: getattr(settings, name) for name in FeedSettings.__slots__},
    )


@asynccontextmanager
async def running(database_url: str, *, hears: bool = True) -> AsyncIterator[Follower]:
    """A follower as a server has it; one that does not hear has no listening connection."""
    database = await Database.open(database_url, pool_size=3, timeout_s=1)
    notifications = Notifications(database_url)
    follower = Follower(database, notifications, rules(), lambda: datetime.now(UTC))
    await follower.start()
    if hears:
        await notifications.start()
    try:
        yield follower
    finally:
        await notifications.close()
        await follower.close()
        await database.close()


@pytest.fixture
async def writer(database_url: str, connection: Connection) -> AsyncIterator[BookWriter]:
    """The writer of another process."""
    await make_accounts(connection, 3)
    database = await Database.open(database_url, pool_size=3, timeout_s=2)
    opened = BookWriter(database, CALENDAR, max_open_bids=1_000_000)
    opened.start()
    yield opened
    await opened.close()
    await database.close()


async def place(writer: BookWriter, *prices: int, day: date = DAY, account: int = 1) -> None:
    """Sell one kWh in slot 41 at each price, in one request."""
    count = len(prices)
    change = Place("S", [41] * count, list(prices), [1000] * count)
    await writer.submit(Command(account, day, change, lambda receipt: b"%d" % receipt.seq))


async def until(is_so: Callable[[], bool], within_s: float = 10.0) -> None:
    """Return once something is so in this process."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110 - a book tells nobody that it has changed
            await asyncio.sleep(0.005)


async def test_a_notification_wakes_it_long_before_a_poll(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 60.0)
    async with running(database_url) as follower:
        book = (await follower.book(DAY)).book
        await asyncio.sleep(0)
        await place(writer, 400, 500)
        await until(lambda: book.seq == 2)
        assert [level.price_ticks for level in book.levels()] == [400, 500]


async def test_a_day_that_is_new_is_followed_without_being_asked_for(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 60.0)
    heard: list[tuple[int, int]] = []
    async with running(database_url) as follower:
        follower.on_account_event = lambda account_id, seq: heard.append((account_id, seq))
        await place(writer, 400, account=2)
        await until(lambda: DAY in follower._books)
        await place(writer, 500, account=2)
        await until(lambda: (2, 2) in heard)


async def test_lost_notifications_cost_a_poll_and_no_event(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 0.05)
    async with running(database_url, hears=False) as follower:
        book = (await follower.book(DAY)).book
        for price in range(1, 30):
            await place(writer, price)
        await until(lambda: book.seq == 29)
        assert len(book.levels()) == 29


async def test_what_is_more_than_one_reading_holds_is_read_in_several(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_MAX_ROWS", 3)
    async with running(database_url, hears=False) as follower:
        book = (await follower.book(DAY)).book
        for price in range(1, 12):
            await place(writer, price, price + 100)
        other = DAY + timedelta(days=1)
        await place(writer, 7, day=other)
        assert (await follower.catch_up(DAY)).book is book
        assert book.seq == 22
        assert (await follower.catch_up(other)).book.seq == 1


async def test_who_asks_for_the_present_gets_what_was_acknowledged_before(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 60.0)
    async with running(database_url, hears=False) as follower:
        for price in range(1, 40):
            await place(writer, price)
            assert (await follower.catch_up(DAY)).book.seq == price


async def test_those_who_ask_together_share_a_reading(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 60.0)
    read, count = events.read_beyond, 0

    async def counted(*arguments: Any) -> list[events.LogRow]:
        nonlocal count
        count += 1
        return await read(*arguments)

    monkeypatch.setattr(events, "read_beyond", counted)
    async with running(database_url, hears=False) as follower:
        await place(writer, 5)
        books = await asyncio.gather(*(follower.catch_up(DAY) for _ in range(200)))
        assert {found.book.seq for found in books} == {1}
        assert 1 <= count <= 2


@asynccontextmanager
async def cuttable(database_url: str) -> AsyncIterator[tuple[str, Link]]:
    """The database behind a line that can be cut."""
    parts = urlsplit(database_url)
    directory = parse_qs(parts.query)["host"][0]
    async with link_to(f"{directory}/.s.PGSQL.5432") as link:
        name = parts.path.lstrip("/")
        user = parts.username or parse_qs(parts.query).get("user", ["postgres"])[0]
        yield f"postgresql://{user}@127.0.0.1:{link.port}/{name}", link


async def test_a_cut_connection_costs_time_and_no_event(database_url: str, writer: BookWriter) -> None:
    async with cuttable(database_url) as (url, link), running(url) as follower:
        book = (await follower.book(DAY)).book
        for number in range(1, 41):
            await place(writer, number)
            if number % 10 == 3:
                link.cut()
            if number % 10 == 8:
                link.restore()
        await until(lambda: book.seq == 40, within_s=20)
        assert [(level.price_ticks, level.bids) for level in book.levels()] == [(price, 1) for price in range(1, 41)]


async def test_another_history_makes_everything_begin_anew(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    async with cuttable(database_url) as (url, link), running(url) as follower:
        await place(writer, 400)
        before = await follower.catch_up(DAY)
        follower.on_history_lost = lambda: lost.append("lost")

        async def another(_database: Database) -> str:
            return "another timeline"

        monkeypatch.setattr(following, "read_identity", another)
        assert not lost
        link.cut()
        link.restore()
        await until(lambda: bool(lost), within_s=20)
        after = await follower.book(DAY)
        assert (after.book.seq, after.channel) == (1, before.channel)
        assert after.epoch != before.epoch


async def test_the_same_history_after_a_cut_keeps_its_name(database_url: str, writer: BookWriter) -> None:
    async with cuttable(database_url) as (url, link), running(url) as follower:
        follower.on_history_lost = lambda: pytest.fail("nothing was lost")
        before = await follower.book(DAY)
        link.cut()
        link.restore()
        await place(writer, 400)
        await until(lambda: before.book.seq == 1, within_s=20)
        assert await follower.book(DAY) is before


async def test_a_log_that_lost_events_is_read_anew_and_told(
    database_url: str, writer: BookWriter, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 0.05)
    lost: list[str] = []
    async with running(database_url, hears=False) as follower:
        follower.on_history_lost = lambda: lost.append("lost")
        await place(writer, 400)
        await place(writer, 500)
        assert (await follower.catch_up(DAY)).book.seq == 2
        assert not lost
        async with connection.transaction():
            await connection.execute("DELETE FROM book_events WHERE first_seq = 2")
            await connection.execute("UPDATE delivery_days SET last_seq = 1")
        await until(lambda: bool(lost))
        assert [level.price_ticks for level in (await follower.book(DAY)).book.levels()] == [400]


async def test_a_day_of_the_past_is_read_and_not_kept_unless_it_is_watched(database_url: str) -> None:
    async with running(database_url, hears=False) as follower:
        past = CALENDAR.today(datetime.now(UTC)) - timedelta(days=3)
        assert (await follower.look_up(past)).book.seq == 0
        assert past not in follower._books
        await follower.book(past)
        follower.forget({past})
        assert past in follower._books
        follower.forget(set())
        assert past not in follower._books


async def test_who_comes_from_another_process_is_not_sent_back_while_the_listening_connection_is_lost(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, behind = await make_client(), await make_client()
    household = await sign_up(ahead)
    there = await Wire.open(behind, token=household.token)
    await there.subscribe(f"book:{DAY}")
    # From now on this process hears nothing, and knows it.
    await behind.app[FEED]._follower.close()
    monkeypatch.setattr(Notifications, "is_live", False)
    book = await other_book(ahead, household)
    wire = await Wire.open(behind, token=household.token)
    ok = await wire.ask("subscribe", ch=f"book:{DAY}", since={"ep": book["ep"], "seq": book["seq"]})
    assert (ok["recovered"], ok["seq"]) == (True, 1)


async def other_book(client: Client, household: Household) -> dict[str, Any]:
    """The book after one more bid, as this process has it."""
    await place_over_http(client, household, bid(), deliveryDate=DAY.isoformat())
    async with client.get(f"/book/dayahead?deliveryDate={DAY}", headers=household.headers) as response:
        book: dict[str, Any] = await response.json()
    return book


async def test_a_reading_of_one_day_does_not_pass_for_one_of_another(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 60.0)
    other = DAY + timedelta(days=1)
    async with running(database_url, hears=False) as follower:
        for day in (DAY, other):
            await follower.book(day)
            await place(writer, 5, day=day)
        # The last two wait while the first reads, and the one that comes first reads its own day alone.
        found = await asyncio.gather(follower.catch_up(other), follower.catch_up(other), follower.catch_up(DAY))
        assert [day_book.book.seq for day_book in found] == [1, 1, 1]


async def test_a_shared_reading_that_failed_is_tried_again_by_who_waited_for_it(
    database_url: str, writer: BookWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 60.0)
    read, calls = events.read_beyond, 0

    async def fails_the_second_time(*arguments: Any) -> list[events.LogRow]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise DatabaseUnavailable
        if calls == 1:
            # It began before the bid was there.
            rows = await read(*arguments)
            await place(writer, 5)
            return rows
        return await read(*arguments)

    async with running(database_url, hears=False) as follower:
        await follower.book(DAY)
        monkeypatch.setattr(events, "read_beyond", fails_the_second_time)
        found = await asyncio.gather(*(follower.catch_up(DAY) for _ in range(3)), return_exceptions=True)
        assert isinstance(found[1], DatabaseUnavailable)
        assert isinstance(found[2], DayBook)
        assert found[2].book.seq == 1
