"""R6: a client that stops reading delays nobody, costs a bounded memory, and misses nothing in the end (rule 6)."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import FeedBook, Message, OwnMessages
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import book_of, channel
from tests.feed_wire import Wire
from tests.raw_websocket import CLOSE, TEXT, RawWebSocket, frame

MAX_UNSENT = 16_384
# What the kernel holds on both sides, at most, and one more message that found room before the bound was reached.
SLACK = 65_536
READERS = 56
WANTED = (Wanted(channel()), Wanted("book", 1000), Wanted(channel(), 100, (1, 41, 96)))


def transports(client: Client) -> dict[int, Any]:
    """The transports of a server's open connections by the port of the other end, from aiohttp's own list."""
    runner = client.server.runner
    assert runner
    assert runner.server
    opened = [connection.transport for connection in runner.server.connections if connection.transport is not None]
    return {transport.get_extra_info("peername")[1]: transport for transport in opened}


@dataclass(slots=True)
class Hall:
    """A server with its subscribers: many who read, three of them with care, and a household that changes the book."""

    client: Client
    household: Household
    careful: list[FeedClient] = field(default_factory=list)
    # What each of the others was sent.
    updates: list[list[str]] = field(default_factory=list)
    most_unsent: int = 0
    raws: list[RawWebSocket] = field(default_factory=list)
    _wires: list[Wire] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    async def fill(self) -> None:
        """Everybody takes a seat."""
        for wanted in WANTED:
            self.careful.append(await FeedClient(self.client, self.household.token, wanted).start())
        for _ in range(READERS):
            wire = await Wire.open(self.client, header=self.household.token)
            await wire.subscribe(channel())
            self._wires.append(wire)
            self.updates.append([])
            self._tasks.append(asyncio.create_task(self._read(wire, self.updates[-1])))

    async def change(self) -> int:
        """A placement in every slot, some 5 kB of an update, and wait until it has been sent to who reads. The number
        of its last event."""
        bids = [bid(str(slot), "1", f"{self._chance.randint(400, 480) / 100}") for slot in range(1, 97)]
        seq: int = (await place(self.client, self.household, *bids))["seq"]
        await self.careful[0].reach(seq)
        unsent = [transport.get_write_buffer_size() for transport in transports(self.client).values()]
        self.most_unsent = max(self.most_unsent, *unsent)
        return seq

    async def settle(self, seq: int) -> list[list[Any]]:
        """Everybody who reads has everything up to a number, without a fault. The levels at that number."""
        for watcher in self.careful:
            await watcher.reach(seq)
        async with asyncio.timeout(10):
            while not all(texts and orjson.loads(texts[-1])["seq"] >= seq for texts in self.updates):
                self._moved.clear()
                await self._moved.wait()
        assert_flawless(self.careful)
        assert all(texts == self.updates[0] for texts in self.updates), "all got the same"
        levels: list[list[Any]] = (await book_of(self.client, self.household))["lv"]
        assert self.careful[0].book.levels == self.careful[1].book.levels == levels
        return levels

    async def close(self) -> None:
        """Everybody leaves."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for watcher in self.careful:
            await watcher.close()
        for raw in self.raws:
            raw.close()

    async def _read(self, wire: Wire, texts: list[str]) -> None:
        while True:
            await wire.next("upd", within_s=60)
            texts.append(wire.texts[-1])
            self._moved.set()


Open = Callable[..., Awaitable[Hall]]


@pytest.fixture
async def open_hall(make_client: MakeClient) -> AsyncIterator[Open]:
    halls: list[Hall] = []

    async def start(**changes: float) -> Hall:
        limits = {"max_unsent_bytes": MAX_UNSENT, "send_buffer_bytes": 4096, "connections_per_account": 1000}
        client = await make_client(feed={**limits, **changes}, market={"max_open_bids": 10**6})
        hall = Hall(client, await sign_up(client))
        halls.append(hall)
        await hall.fill()
        return hall

    yield start
    for hall in halls:
        await hall.close()


async def stall(hall: Hall, *channels: str) -> tuple[RawWebSocket, list[dict[str, Any]]]:
    """A socket that subscribes, reads the answers, and then reads no more: it, and the answers."""
    raw = await RawWebSocket.open(hall.client.port or 0, headers=hall.household.headers, buffer_bytes=4096)
    hall.raws.append(raw)
    answers = [orjson.loads((await raw.read()).payload)]
    for named in channels:
        await raw.send(frame(orjson.dumps({"op": "subscribe", "id": 1, "ch": named})))
        answers.append(orjson.loads((await raw.read()).payload))
        if named != "me":
            answers.append(orjson.loads((await raw.read()).payload))
    return raw, answers


async def read_to_the_end(raw: RawWebSocket) -> list[bytes]:
    """What a socket that the server has given up still brings: 4008 may arrive or not."""
    texts: list[bytes] = []
    while True:
        try:
            got = await raw.read()
        except (EOFError, ConnectionError):
            return texts
        if got.opcode == CLOSE:
            assert got.close_code == 4008
        elif got.opcode == TEXT:
            texts.append(got.payload)


async def test_a_reader_that_stops_for_a_while_gets_one_merged_update(open_hall: Open) -> None:
    hall = await open_hall()
    raw, (_, ok, snap) = await stall(hall, channel())
    assert (ok["t"], snap["t"]) == ("ok", "snap")
    async with asyncio.timeout(20):
        while hall.most_unsent < MAX_UNSENT:
            seq = await hall.change()
    for _ in range(25):
        seq = await hall.change()
    assert MAX_UNSENT <= hall.most_unsent < MAX_UNSENT + 8192, "bounded by the setting and one message"
    levels = await hall.settle(seq)

    received = raw.received
    book, merged = FeedBook(), list[Message]()
    book.apply(snap)
    while book.seq < seq:
        payload = (await raw.read()).payload
        message = orjson.loads(payload)
        if message["t"] != "upd":
            continue
        assert not merged, "the merged update is the last"
        assert message["prev"] == book.seq
        assert book.apply(message)
        if payload.decode() not in hall.updates[0]:
            merged.append(message)
    assert len(merged) == 1
    within = [orjson.loads(text) for text in hall.updates[0]]
    assert sum(merged[0]["prev"] < update["seq"] <= merged[0]["seq"] for update in within) > 10
    assert book.levels == levels
    assert raw.received - received < MAX_UNSENT + SLACK, "nothing piled up for it anywhere"

    # It is a subscriber like every other again.
    seq = await hall.change()
    await hall.settle(seq)
    while (message := orjson.loads((await raw.read()).payload))["t"] == "hb":
        pass
    assert orjson.dumps(message).decode() == hall.updates[0][-1]


async def test_a_reader_that_stays_away_is_cut_and_resumes_with_one_merged_update(open_hall: Open) -> None:
    hall = await open_hall(slow_close_s=1.0)
    raw, (_, ok, snap) = await stall(hall, channel())
    began = time.monotonic()
    while raw.port in transports(hall.client):
        seq = await hall.change()
        assert time.monotonic() - began < 20, "a connection whose other end does not read is held on to"
    for _ in range(3):
        seq = await hall.change()
    levels = await hall.settle(seq)
    book = FeedBook()
    book.apply(snap)
    for text in await read_to_the_end(raw):
        message = orjson.loads(text)
        if message["t"] == "upd":
            assert book.apply(message)
    assert book.seq < seq
    wire = await Wire.open(hall.client, header=hall.household.token)
    again = await wire.ask("subscribe", ch=channel(), since={"ep": ok["ep"], "seq": book.seq})
    assert (again["recovered"], again["seq"]) == (True, seq)
    upd = await wire.next()
    assert (upd["t"], upd["prev"], upd["seq"]) == ("upd", book.seq, seq)
    assert book.apply(upd)
    assert book.levels == levels
    await wire.close()


async def test_a_reader_that_comes_back_in_time_is_not_cut(open_hall: Open) -> None:
    """Each time it catches up, the time that it may be behind begins anew."""
    hall = await open_hall(slow_close_s=3.0)
    raw, (_, _, snap) = await stall(hall, channel())
    book = FeedBook()
    book.apply(snap)
    for _ in range(3):
        hall.most_unsent = 0
        async with asyncio.timeout(20):
            while hall.most_unsent < MAX_UNSENT:
                seq = await hall.change()
        while book.seq < seq:
            message = orjson.loads((await raw.read()).payload)
            if message["t"] == "upd":
                assert book.apply(message)
    assert book.levels == await hall.settle(seq)


async def test_own_messages_wait_for_a_slow_reader_and_are_not_merged(open_hall: Open) -> None:
    hall = await open_hall()
    raw, (_, ok, _, _) = await stall(hall, "me", channel())
    async with asyncio.timeout(20):
        while hall.most_unsent < MAX_UNSENT:
            seq = await hall.change()
    for _ in range(15):
        seq = await hall.change()
    assert hall.most_unsent < MAX_UNSENT + 24_576, "bounded by the setting and one message of each channel"
    await hall.settle(seq)
    own = OwnMessages()
    own.begin(ok)
    while not own.messages or own.messages[-1]["data"]["seq"] < seq:
        message = orjson.loads((await raw.read()).payload)
        if message["t"] == "me":
            own.apply(message)
    assert sum(len(message["data"]["bids"]) for message in own.messages) == seq
