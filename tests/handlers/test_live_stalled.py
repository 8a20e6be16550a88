"""Connections that are to end while the other side does not read: nobody waits for it, and nothing of it stays."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.answers import call
from tests.conftest import MakeClient
from tests.factories import bid, place, sign_up
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import channel, refresh
from tests.handlers.test_live_slow import MAX_UNSENT, Hall, stall, transports

LIMITS = {"max_unsent_bytes": MAX_UNSENT, "send_buffer_bytes": 4096}


@asynccontextmanager
async def stalled(make_client: MakeClient, **limits: float) -> AsyncIterator[tuple[Hall, int]]:
    """A server with one careful subscriber, and one that has stopped reading with its buffers full: its port."""
    client = await make_client(feed={**LIMITS, **limits}, market={"max_open_bids": 10**6})
    household = await sign_up(client)
    hall = Hall(client, household)
    watching = await refresh(client, household)
    hall.careful.append(await FeedClient(client, watching.token, Wanted(channel())).start())
    try:
        raw, _ = await stall(hall, channel())
        async with asyncio.timeout(20):
            while hall.most_unsent < MAX_UNSENT:
                await hall.change()
        yield hall, raw.port
    finally:
        await hall.close()


async def until_gone(hall: Hall, port: int, within_s: float) -> None:
    began = time.monotonic()
    while port in transports(hall.client):
        assert time.monotonic() - began < within_s, "a connection whose other end does not read is held on to"
        await asyncio.sleep(0.02)  # transports tell nobody that they are gone


async def test_a_stalled_connection_of_a_revoked_token_is_dropped(make_client: MakeClient) -> None:
    async with stalled(make_client) as (hall, port):
        assert (await call(hall.client, "POST", "/signout", by=hall.household)).status == 200
        await until_gone(hall, port, 8)
    assert_flawless(hall.careful)


async def test_a_stalled_connection_that_answers_no_ping_is_dropped(make_client: MakeClient) -> None:
    async with stalled(make_client, ping_s=1.0, pong_timeout_s=1.0) as (hall, port):
        await until_gone(hall, port, 10)
        seq = (await place(hall.client, hall.household, bid()))["seq"]
        await hall.careful[0].reach(seq)
    assert_flawless(hall.careful)


async def test_a_stalled_connection_does_not_hold_up_the_end(make_client: MakeClient) -> None:
    async with stalled(make_client) as (hall, port):
        assert port in transports(hall.client)
        began = time.monotonic()
        async with asyncio.timeout(12):
            await hall.client.server.close()
        assert time.monotonic() - began < 8
        assert hall.careful[0].counts["bye"] == 1
