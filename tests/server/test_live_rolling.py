"""R11: workers that are replaced or told to leave under load: no request fails, and subscribers miss nothing."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.clock import india_day
from tests.drills.households import Household, get_book, sign_up
from tests.drills.server import DrillServer
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import channel
from tests.feed_wire import Wire
from tests.raw_websocket import RawWebSocket

BID = {"timeslot": "10:00-10:15", "volume": "1", "price": "4.25"}
WANTED = (Wanted(channel()), Wanted("book"), Wanted(channel(), 1000), Wanted(channel(), 100, (41, 42)))


class Load:
    """Placements on a fresh connection each, as clients of a changing set of workers make them; each must be a 200."""

    def __init__(self, server: DrillServer, household: Household) -> None:
        self._server, self._household = server, household
        self._numbers = itertools.count(1)
        self.placed = 0
        self._is_done = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as clients:
            for _ in range(3):
                clients.create_task(self._place_along())
            yield
            self._is_done = True

    async def _place_along(self) -> None:
        while not self._is_done:
            headers = {**self._household.headers, "Idempotency-Key": f"{next(self._numbers)}"}
            async with (
                aiohttp.ClientSession(self._server.url) as session,
                session.post("/placebid/dayahead", json={"arr": [BID]}, headers=headers) as response,
            ):
                assert response.status == 200, await response.text()
            self.placed += 1


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DrillServer]:
    """A server with two workers."""
    started = DrillServer(tmp_path / "data", workers=2)
    await started.start()
    # One worker answers before the other is there.
    await started.wait_until_said("Shakti is ready")
    yield started
    assert await started.stop() == 0
    assert "Traceback" not in started.log


@pytest.mark.timeout(120)
async def test_subscribers_miss_nothing_while_the_workers_are_replaced(server: DrillServer) -> None:
    earlier = set(server.workers())
    async with aiohttp.ClientSession(server.url) as session:
        household = await sign_up(session, 1)
        watching = [
            await FeedClient(session, household.token, wanted, with_own=True).start() for wanted in WANTED for _ in "12"
        ]
        load = Load(server, household)
        async with load.running():
            os.kill(server.pid, signal.SIGHUP)
            async with asyncio.timeout(60):
                while len(server.workers()) != 2 or earlier & set(server.workers()):  # noqa: ASYNC110 - pids tell nobody
                    await asyncio.sleep(0.02)
            for watcher in watching:
                await watcher.until(has_come_back(watcher))
        book = await get_book(session, household, india_day(1))
        assert book["seq"] == load.placed > 20
        for watcher in watching:
            await watcher.reach(load.placed)
            await watcher.until(has_own(watcher, load.placed))
            assert watcher.book.levels == book["lv"]
            assert watcher.counts["closed 4001"] >= 1
            assert watcher.counts["closed 4001"] == watcher.counts["bye"], "each was told, none was cut"
            assert watcher.counts["closed 1006"] == 0
            assert (watcher.counts["not recovered"], watcher.counts["snap"]) == (0, 1)
            await watcher.close()
        assert_flawless(watching)


@pytest.mark.timeout(120)
async def test_a_server_that_is_told_to_end_tells_everybody_and_ends_in_time(server: DrillServer) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        household = await sign_up(session, 1)
        wires = [await Wire.open(session, header=household.token) for _ in range(16)]
        for wire in wires[:8]:
            await wire.subscribe("book")
        # One that will neither read nor answer.
        silent = await RawWebSocket.open(server.port, headers=household.headers)
        told_s = time.monotonic()
        ending = asyncio.create_task(server.stop())
        for wire in wires:
            bye = await wire.next("bye")
            assert (bye["code"], bye["reconnect"]) == (4001, True)
            assert await wire.close_code() == 4001
            await wire.close()
        assert await ending == 0
        assert time.monotonic() - told_s < 10
        silent.close()


def has_come_back(watcher: FeedClient) -> Callable[[], bool]:
    """Whether a client was told to come back, and did."""
    return lambda: 1 <= watcher.counts["bye"] < watcher.counts["connected"]


def has_own(watcher: FeedClient, seq: int) -> Callable[[], bool]:
    """Whether a client has its own messages up to a number by now."""
    return lambda: watcher.own is not None and watcher.own.seq >= seq
