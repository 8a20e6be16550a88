"""The feed drill: households trade while the server is killed and subscribers are cut, and every book is compared.

    python -m tests.drills.feed --events 100000 --kills 10 --workers 2 --seed 1

What lives here: the subscribers, their cuts, the kills and the checks, all through the public API. What must not: the
trade (trading.py), a look into the database, or anything of the server's own book.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from tests.drills.households import Household, get_book, list_bids, sign_up, slot_of
from tests.drills.killing import kill_one
from tests.drills.server import DrillServer
from tests.drills.trading import Trade, trade
from tests.feed_client import FeedClient, Wanted

# All subscribers come from one address, and come back at once.
_ENVIRONMENT = {"SHAKTI_FEED_MESSAGES_PER_S": "1000", "SHAKTI_FEED_MESSAGE_BURST": "1000"}


@dataclass(frozen=True, slots=True)
class Plan:
    """How many events, by how many, how often what is killed, and the seed of all choices. `cut_s` is the longest time
    between two cuts of a subscriber's connection."""

    events: int
    kills: int
    households: int = 16
    workers: int = 1
    seed: int = 1
    cut_s: float = 1.5


@dataclass(slots=True)
class Report:
    """What happened. `of_clients` sums up what the subscribers counted."""

    events: int = 0
    requests: int = 0
    retries: int = 0
    levels: int = 0
    own_messages: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    of_clients: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = self.of_clients
        closed = {name: number for name, number in counts.items() if name.startswith("closed")}
        return (
            f"{self.events} events of {self.requests} requests, {self.retries} retries; kills: {dict(self.kills)}; "
            f"{counts['upd']} updates, {counts['hb']} heartbeats and {counts['snap']} snapshots verified, "
            f"{self.own_messages} own messages; {counts['own cuts']} own cuts, {closed}; "
            f"resumes recovered {counts['recovered']}, not recovered {counts['not recovered']}; "
            f"gaps 0, disagreements 0, resyncs 0; every book equals GET /book/dayahead with {self.levels} levels, "
            f"every account's messages equal GET /bids/dayahead"
        )


async def run(plan: Plan, directory: Path) -> Report:
    """Run the drill; AssertionError tells what was missed, doubled or wrong."""
    chance = random.Random(plan.seed)
    server = DrillServer(directory / "data", workers=plan.workers, environ=_ENVIRONMENT)
    report = Report()
    # Well ahead, so that no midnight closes the gate in the middle.
    day = (date.today() + timedelta(days=4)).isoformat()  # noqa: DTZ011 - any day ahead will do
    await server.start()
    try:
        async with AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=20)
            session = await stack.enter_async_context(
                aiohttp.ClientSession(server.url, timeout=timeout, connector=connector)
            )
            # What lives long has no time limit as a whole.
            feed = await stack.enter_async_context(
                aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=None))
            )
            households = [await sign_up(session, number) for number in range(plan.households)]
            watching = subscribers(feed, households, day)
            for watcher in watching:
                stack.push_async_callback(watcher.close)
                await watcher.start()
            trades = [Trade(household, random.Random(chance.random())) for household in households]
            left = [plan.events]
            trading = [asyncio.create_task(trade(session, one, day, left)) for one in trades]
            cutting = asyncio.create_task(cut_at_random(watching, plan.cut_s, random.Random(chance.random())))
            await kill_along(server, plan, left, chance, report, trading)
            await asyncio.gather(*trading)
            cutting.cancel()
            report.requests = sum(one.answered for one in trades)
            report.retries = sum(one.retries for one in trades)
            await check(session, trades, watching, day, report)
    finally:
        await server.stop()
    return report


def subscribers(feed: aiohttp.ClientSession, households: Sequence[Household], day: str) -> list[FeedClient]:
    """Eight of them: whole books and filters, fast and slow, three with their own bids, one with these alone. The
    last three are those with their own: of the first three households."""
    channel = f"book:{day}"
    wanted = (
        Wanted(channel),
        Wanted(channel, 1000),
        Wanted(channel, 100, tuple(range(1, 13))),
        Wanted(channel, 1000, (41,)),
        Wanted(channel, 100, (96, 1, 50, 49, 48)),
    )
    others = [FeedClient(feed, households[-1].token, one) for one in wanted]
    with_own = [
        FeedClient(feed, household.token, one, with_own=True)
        for household, one in zip(
            households, (Wanted(channel), Wanted(channel, 1000, (2, 3, 5, 7)), None), strict=False
        )
    ]
    return [*others, *with_own]


async def cut_at_random(watching: Sequence[FeedClient], most_s: float, chance: random.Random) -> None:
    """Cut connections, each now and then, for as long as this runs."""
    while True:
        await asyncio.sleep(chance.random() * most_s / len(watching) * 2)  # the cuts are the event
        chance.choice(watching).cut()


async def kill_along(
    server: DrillServer,
    plan: Plan,
    left: list[int],
    chance: random.Random,
    report: Report,
    trading: Sequence[asyncio.Task[None]],
) -> None:
    """Kill at moments spread at random over the whole load: everything, or one of its processes."""
    moments = sorted((chance.randint(1, plan.events - 1) for _ in range(plan.kills)), reverse=True)
    for moment in moments:
        # Polled: the load must not know that it is watched.
        while left[0] > moment and not all(task.done() for task in trading):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(chance.random() * 0.05)
        report.kills[await kill_one(server, chance)] += 1


async def check(
    session: aiohttp.ClientSession, trades: Sequence[Trade], watching: Sequence[FeedClient], day: str, report: Report
) -> None:
    """Every subscriber's book is the one that REST shows, and its own messages add up to the bids that REST lists."""
    book = await get_book(session, trades[0].household, day)
    report.events, report.levels = book["seq"], len(book["lv"])
    assert book["seq"] == sum(one.events for one in trades), "the book has events that nobody was told of"
    for number, watcher in enumerate(watching):
        if watcher.wants_book:
            await watcher.reach(book["seq"], within_s=60)
            covered = set(watcher.book.covered)
            for name, kept in (("lv", watcher.book.levels), ("ind", watcher.book.ind)):
                shown = [entry for entry in book[name] if entry[0] in covered]
                assert kept == shown, f"subscriber {number}'s {name} is not the book's"
            assert watcher.book.epoch == book["ep"]
            if len(covered) == 96:
                assert watcher.book.crc == book["crc"]
    owners = [watcher for watcher in watching if watcher.own is not None]
    for watcher, one in zip(owners, trades, strict=False):
        await check_own(session, watcher, one, day)
        report.own_messages += one.answered
    for watcher in watching:
        assert watcher.faults == [], (watcher.faults[:5], watcher.counts)
        report.of_clients += watcher.counts
    assert report.of_clients["resyncs"] == 0
    assert report.of_clients["not recovered"] == 0, f"resumes that were not recovered: {report.of_clients}"


async def check_own(session: aiohttp.ClientSession, watcher: FeedClient, one: Trade, day: str) -> None:
    """One message for each request that was answered, and what they say is what stands."""
    own = watcher.own
    assert own is not None
    await watcher.until(lambda: own.seq >= one.answered, within_s=60)
    assert own.seq == one.answered == len(own.messages), "not one message for each answered request"
    known: dict[int, tuple[Any, ...]] = {}
    for message in own.messages:
        status = "withdrawn" if message["data"]["event"] == "withdrawn" else "open"
        for bid in message["data"]["bids"]:
            known[bid["id"]] = (bid["slot"], bid["side"], bid["price"], bid["volume"], status)
    listed = {
        bid["id"]: (
            slot_of(bid),
            "S" if bid["side"] == "sell" else "B",
            int(bid["price"].replace(".", "")),
            int(bid["volume"].replace(".", "")),
            bid["status"],
        )
        for bid in await list_bids(session, one.household, day)
    }
    assert known == listed, "the own messages do not add up to the own bids"


def main() -> None:
    """Run a drill from the command line and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    plan = Plan(given.events, given.kills, workers=given.workers, seed=given.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shakti-drill-") as directory:
        report = asyncio.run(run(plan, Path(directory)))
    sys.stdout.write(f"{report}; {time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
