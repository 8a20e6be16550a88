"""Heartbeats: after a second without another message, where the client stands (rule 5 of the feed)."""

import asyncio
import time

from tests.clock import india_day
from tests.conftest import Client
from tests.factories import bid, place, sign_up
from tests.feed_book import FeedBook
from tests.feed_sources import book_of, channel
from tests.feed_wire import Wire


async def test_after_a_second_of_silence_a_heartbeat_says_where_the_book_stands(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid())
    await book_of(client, household)
    wire = await Wire.open(client, token=household.token)
    ok, snap = await wire.subscribe(channel())
    began = time.monotonic()
    for beat in range(1, 3):
        heartbeat = await wire.next("hb", within_s=3)
        assert abs(heartbeat["ts"] - time.time() * 1000) < 5000
        assert heartbeat == {"t": "hb", "ts": heartbeat["ts"], "at": {channel(): [ok["ep"], 1, snap["crc"]]}}
        assert 0.5 * beat < time.monotonic() - began < 1.2 * beat + 1.2
    await place(client, household, bid("11:00"))
    book = FeedBook()
    book.apply(snap)
    book.apply(await wire.next("upd"))
    heartbeat = await wire.next("hb")
    assert heartbeat["at"] == {channel(): [ok["ep"], 2, book.crc]}


async def test_no_heartbeat_comes_while_updates_do(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    await wire.subscribe(channel())
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        await place(client, household, bid())
        await wire.next("upd")
    assert not [text for text in wire.texts if text.startswith('{"t":"hb"')]
    await wire.next("hb", within_s=3)


async def test_each_channel_has_heartbeats_of_its_own(client: Client) -> None:
    """Also where a sibling is busy: a heartbeat is made once for all who follow the channel at one rate and filter."""
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    (one, _), (two, snap) = await wire.subscribe(channel(1)), await wire.subscribe(channel(2))

    async def keep_busy() -> None:
        for _ in range(60):
            await place(client, household, bid(), deliveryDate=india_day(1))
            await asyncio.sleep(0.05)  # a change for each tick, over three seconds

    busy = asyncio.create_task(keep_busy())
    heartbeat = await wire.next("hb", within_s=3)
    assert heartbeat["at"] == {channel(2): [two["ep"], 0, snap["crc"]]}
    await busy
    seen: set[str] = set()
    async with asyncio.timeout(4):
        while len(seen) < 2:
            heartbeat = await wire.next("hb")
            assert len(heartbeat["at"]) == 1
            seen |= set(heartbeat["at"])
    assert seen == {channel(1), channel(2)}
    assert one["ep"] != two["ep"]


async def test_a_filters_heartbeat_covers_its_slots(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid("10:00"), bid("11:00"))
    await book_of(client, household)
    wire = await Wire.open(client, token=household.token)
    ok, snap = await wire.subscribe(channel(), slots=[45, 41])
    heartbeat = await wire.next("hb")
    assert heartbeat["at"] == {channel(): [ok["ep"], 2, snap["crc"]]}


async def test_a_slow_rate_has_heartbeats_too(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    ok, snap = await wire.subscribe(channel(), rate=1000)
    assert (await wire.next("hb", within_s=4))["at"] == {channel(): [ok["ep"], 0, snap["crc"]]}
    await place(client, household, bid())
    assert (await wire.next())["seq"] == 1
    assert (await wire.next("hb", within_s=4))["at"][channel()][1] == 1


async def test_own_data_are_never_part_of_a_heartbeat(client: Client) -> None:
    household = await sign_up(client)
    own, both = await Wire.open(client, token=household.token), await Wire.open(client, token=household.token)
    for wire in (own, both):
        assert (await wire.ask("subscribe", ch="me"))["t"] == "ok"
    await both.subscribe("book")
    for _ in range(2):
        assert list((await both.next("hb"))["at"]) == [channel()]
    await own.quiet()
    assert not [text for text in own.texts if '"at"' in text]


async def test_what_a_heartbeat_says_is_never_behind_what_was_sent(client: Client) -> None:
    """Changes stop at every moment of a second; the heartbeat after them stands where the client does."""
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    _, snap = await wire.subscribe(channel())
    book = FeedBook()
    book.apply(snap)
    for pause_s in (0.85, 0.95, 1.0, 1.05):
        seq = (await place(client, household, bid()))["seq"]
        async with asyncio.timeout(8):
            while (message := await wire.next("upd", "hb"))["t"] == "hb" or message["seq"] < seq:
                book.apply(message)
        book.apply(message)
        await asyncio.sleep(pause_s)  # the moment is what the test is about
    message = await wire.next("hb")
    assert message["at"][channel()][1:] == [book.seq, book.crc]
