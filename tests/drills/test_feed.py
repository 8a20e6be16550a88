"""The feed drill at the size of a test, and the proof that it would notice what it looks for."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Client
from tests.drills import feed
from tests.drills.feed import Plan, Report
from tests.drills.households import Household
from tests.drills.trading import Trade, trade
from tests.factories import sign_up
from tests.feed_client import FeedClient


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, 2])
async def test_every_book_that_is_kept_from_the_feed_is_the_servers(tmp_path: Path, workers: int) -> None:
    report = await feed.run(Plan(events=1500, kills=3, households=6, workers=workers, seed=workers), tmp_path)
    assert report.events == 1500
    assert report.kills.total() == 3
    counts = report.of_clients
    assert counts["own cuts"] > 0
    assert counts["recovered"] > 8, "every connection but the first was a resume"
    assert counts["not recovered"] == counts["resyncs"] == 0


@dataclass(frozen=True, slots=True)
class Load:
    """A load that went well, and who watched it."""

    session: aiohttp.ClientSession
    trades: list[Trade]
    watching: list[FeedClient]
    day: str

    async def check(self) -> None:
        await feed.check(self.session, self.trades, self.watching, self.day, Report())


@pytest.fixture
async def load(client: Client) -> AsyncIterator[Load]:
    day = (date.today() + timedelta(days=4)).isoformat()  # noqa: DTZ011 - any day ahead will do
    kinds = {"prosumer": "sell", "consumer": "buy"}
    households = [Household((await sign_up(client, kind)).token, side) for kind, side in kinds.items()] * 2
    trades = [Trade(household, random.Random(seed)) for seed, household in enumerate(households[:2])]
    async with aiohttp.ClientSession(client.make_url("/")) as session:
        watching = feed.subscribers(session, households, day)[:7]
        for watcher in watching:
            await watcher.start()
        for one in trades:
            await trade(session, one, day, [150])
        made = Load(session, trades, watching, day)
        await made.check()
        yield made
        for watcher in watching:
            await watcher.close()


def _lose_a_level(load: Load) -> None:
    book = load.watching[0].book
    slot, side, price, *_ = book.levels[0]
    book._slots[slot].put(side, price, 0, 0)


def _show_another_price(load: Load) -> None:
    load.watching[2].book.indicatives[1] = (1, 1)


def _lose_an_own_message(load: Load) -> None:
    own = load.watching[5].own
    assert own
    del own.messages[0]


def _change_an_own_message(load: Load) -> None:
    own = load.watching[6].own
    assert own
    own.messages[-1]["data"]["bids"][0]["volume"] += 1


def _remember_a_gap(load: Load) -> None:
    load.watching[3].faults.append("Gap: at 5, then 7")


def _remember_a_snapshot(load: Load) -> None:
    load.watching[4].counts["not recovered"] += 1


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (_lose_a_level, "subscriber 0's lv is not the book's"),
        (_show_another_price, "subscriber 2's ind is not the book's"),
        (_lose_an_own_message, "not one message for each answered request"),
        (_change_an_own_message, "the own messages do not add up"),
        (_remember_a_gap, "Gap: at 5, then 7"),
        (_remember_a_snapshot, "resumes that were not recovered"),
    ],
)
async def test_the_drill_notices_what_a_subscriber_has_wrong(
    load: Load, tamper: Callable[[Load], None], words: str
) -> None:
    tamper(load)
    with pytest.raises(AssertionError, match=words):
        await load.check()


async def test_the_drill_notices_events_that_nobody_was_told_of(
    load: Load,
) -> None:
    load.trades[0].events -= 1
    with pytest.raises(AssertionError, match="events that nobody was told of"):
        await load.check()
