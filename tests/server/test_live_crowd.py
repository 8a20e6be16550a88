"""R9: very many idle sockets, and more than there are file descriptors for."""

import asyncio
import re
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.drills.households import Household, sign_up
from tests.drills.server import DrillServer
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import channel
from tests.raw_websocket import TEXT, RawWebSocket, frame

# As many as this process may hold, up to those of the catalogue.
CROWD = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000) // 50 * 50
MOST_KIB_EACH = 40
SUBSCRIBE = frame(orjson.dumps({"op": "subscribe", "id": 1, "ch": channel()}))
BID = {"timeslot": "10:00-10:15", "volume": "1", "price": "4.25"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DrillServer]:
    """A server that lets one account and one address have a crowd of sockets, and does not ask whether they live."""
    environ = {f"SHAKTI_FEED_CONNECTIONS_PER_{what}": "20000" for what in ("ACCOUNT", "ADDRESS")}
    environ["SHAKTI_FEED_PING_S"] = "3600"
    started = DrillServer(tmp_path / "data", environ=environ)
    await started.start()
    yield started
    assert await started.stop() == 0


def resident_kib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


async def place(session: aiohttp.ClientSession, household: Household) -> None:
    async with session.post("/placebid/dayahead", json={"arr": [BID]}, headers=household.headers) as response:
        assert response.status == 200, await response.text()


async def enter(server: DrillServer, household: Household) -> RawWebSocket:
    """A subscriber that has its snapshot."""
    raw = await RawWebSocket.open(server.port, headers=household.headers)
    try:
        await raw.send(SUBSCRIBE)
        for kind in (b'"hello"', b'"ok"', b'"snap"'):
            got = await raw.read(30)
            assert got.opcode == TEXT
            assert kind in got.payload
    except BaseException:
        raw.close()
        raise
    return raw


def descriptors(pid: int) -> int:
    """The highest file descriptor that a process has open."""
    return max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.timeout(180)
async def test_a_crowd_of_idle_sockets_all_receive_the_next_tick(server: DrillServer) -> None:
    (worker,) = server.workers()
    async with aiohttp.ClientSession(server.url) as session:
        household = await sign_up(session, 1)
        await (first := await FeedClient(session, household.token, Wanted(channel())).start()).close()
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (CROWD + 1000,) * 2)
        before_kib = resident_kib(worker)
        crowd: list[RawWebSocket] = []
        for _ in range(CROWD // 50):
            crowd += await asyncio.gather(*(enter(server, household) for _ in range(50)))
        each_kib = (resident_kib(worker) - before_kib) / CROWD
        assert each_kib < MOST_KIB_EACH, f"{each_kib:.1f} KiB a connection"
        await place(session, household)
        texts = set()
        for raw in crowd:
            while b'"hb"' in (got := await raw.read(30)).payload[:16]:
                pass
            texts.add(got.payload)
            raw.close()
        assert len(texts) == 1, "the same bytes for everybody"
        assert orjson.loads(texts.pop())["seq"] == 1
    assert_flawless([first])


@pytest.mark.timeout(90)
async def test_without_file_descriptors_new_sockets_are_refused_and_open_ones_served(server: DrillServer) -> None:
    (worker,) = server.workers()
    async with aiohttp.ClientSession(server.url) as session:
        household = await sign_up(session, 1)
        watching = await FeedClient(session, household.token, Wanted(channel())).start()
        await place(session, household)
        usual = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (descriptors(worker) + 12, usual[1]))
        knocking = [asyncio.create_task(enter(server, household)) for _ in range(40)]
        for number in range(2, 7):
            await place(session, household)
            await watching.reach(number)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, usual)
        answers = await asyncio.gather(*knocking, return_exceptions=True)
        entered = [raw for raw in answers if isinstance(raw, RawWebSocket)]
        assert entered, "some found room"
        again = await enter(server, household)
        for raw in (*entered, again):
            raw.close()
        await place(session, household)
        await watching.reach(7)
        await watching.close()
        assert watching.counts["connected"] == 1
        assert_flawless([watching])
    await server.wait_until_said("file descriptors", timeout_s=5)
