"""A server that leaves tells everybody, and when to come back (rule 9 of the feed)."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.conftest import Client, MakeClient
from tests.factories import bid, place, sign_up
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import book_of, channel
from tests.feed_wire import Wire
from tests.raw_websocket import CLOSE, TEXT, RawWebSocket


def has_own(watcher: FeedClient, seq: int) -> Callable[[], bool]:
    """Whether a client has its own messages up to a number by now."""
    return lambda: watcher.own is not None and watcher.own.seq == seq


async def test_everybody_is_told_and_closed(client: Client) -> None:
    household = await sign_up(client)
    wires = [await Wire.open(client, header=household.token) for _ in range(12)]
    nobody = [await Wire.open(client) for _ in range(3)]
    for wire in wires[:6]:
        await wire.subscribe(channel())
    await wires[0].ask("subscribe", ch="me")
    closing = asyncio.create_task(client.server.close())
    began = time.monotonic()
    for wire in (*wires, *nobody):
        bye = await wire.next("bye")
        low, high = bye.pop("retry_ms")
        assert bye == {"t": "bye", "code": 4001, "reconnect": True}
        assert 0 <= low < high <= 60_000
        assert await wire.close_code() == 4001
    assert time.monotonic() - began < 5
    async with asyncio.timeout(10):
        await closing


async def test_whoever_does_not_listen_holds_nobody_up(client: Client) -> None:
    """A socket that never reads or answers the closing is left behind."""
    household = await sign_up(client)
    silent = [await RawWebSocket.open(client.port or 0, headers=household.headers) for _ in range(5)]
    wire = await Wire.open(client, header=household.token)
    began = time.monotonic()
    closing = asyncio.create_task(client.server.close())
    assert await wire.close_code() == 4001
    async with asyncio.timeout(10):
        await closing
    assert time.monotonic() - began < 8
    for raw in silent:
        seen = [await raw.read()]
        while seen[-1].opcode == TEXT:
            seen.append(await raw.read())
        assert (seen[-1].opcode, seen[-1].close_code) == (CLOSE, 4001)
        with pytest.raises((EOFError, ConnectionError)):
            await raw.read()
        raw.close()


async def test_what_happened_before_the_end_is_there_after_it(make_client: MakeClient) -> None:
    """Clients come back to the next server and have missed nothing."""
    first = await make_client()
    household = await sign_up(first)
    wanted = (Wanted(channel()), Wanted("book", 1000), Wanted(channel(), 100, (41,)))
    watching = [await FeedClient(first, household.token, one, with_own=True).start() for one in wanted]
    for _ in range(3):
        await place(first, household, bid(), bid("11:00"))
    second = await make_client()
    for watcher in watching:
        watcher.move_to(second)
    await first.server.close()
    await place(second, household, bid("11:00"))
    for watcher in watching:
        await watcher.reach(7)
        await watcher.until(has_own(watcher, 4))
        assert watcher.counts["closed 4001"] == watcher.counts["bye"] == 1
        assert (watcher.counts["recovered"], watcher.counts["snap"]) == (2, 1), "book and me"
        await watcher.close()
    assert_flawless(watching)
    shown = await book_of(second, household)
    assert watching[0].book.levels == watching[1].book.levels == shown["lv"]
