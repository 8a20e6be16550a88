"""Filters by slot: their snapshot, updates and checksums cover these slots alone (rules 4 and 5 of the feed)."""

import zlib
from typing import Any

from tests.conftest import Client
from tests.factories import bid, place, sign_up
from tests.feed_book import FeedBook
from tests.feed_sources import book_of, channel, withdraw
from tests.feed_wire import Wire


def whole(*texts: str) -> int:
    """The checksum over the checksums of slots with these levels, in this order."""
    return zlib.crc32(b"".join(zlib.crc32(text.encode()).to_bytes(4, "big") for text in texts))


async def test_a_filter_shows_its_slots_alone(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid("10:00", "1", "4"), bid("10:15", "1", "5"), bid("11:00", "1", "6"))
    shown = await book_of(client, household)
    wire = await Wire.open(client, token=household.token)
    _, snap = await wire.subscribe(channel(), slots=[45, 41])
    assert snap["lv"] == [[41, "S", 400, 1000, 1], [45, "S", 600, 1000, 1]]
    assert snap["crc"] == whole("S,400,1000,1;", "S,600,1000,1;"), "ascending, in whatever order they were asked for"
    assert snap["seq"] == 3
    _, one = await wire.subscribe(channel(), slots=[45])
    assert one == await book_of(client, household, slot=45)
    _, every = await wire.subscribe(channel(), slots=list(range(96, 0, -1)))
    assert every == shown
    _, none = await wire.subscribe(channel(), slots=[1, 2, 3])
    assert (none["lv"], none["ind"], none["crc"], none["seq"]) == ([], [], whole("", "", ""), 3)


async def test_updates_name_slots_of_the_filter_alone(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    wire = await Wire.open(client, token=seller.token)
    await wire.subscribe(channel(), slots=[41, 45])
    placed = await place(client, seller, bid("10:00", "1", "4"), bid("10:15", "1", "5"))
    upd = await wire.next()
    assert (upd["prev"], upd["seq"]) == (0, 2)
    assert upd["lv"] == [[41, "S", 400, 1000, 1]]
    assert upd["ind"] == [[41, None, 0]]
    assert upd["cs"] == {"41": zlib.crc32(b"S,400,1000,1;")}
    await place(client, buyer, bid("10:00", "1", "4"), bid("10:15", "1", "5"))
    assert (await wire.next())["ind"] == [[41, 400, 1000]]
    await withdraw(client, seller, placed["bids"][0]["id"])
    upd = await wire.next()
    assert (upd["lv"], upd["ind"]) == ([[41, "S", 400, 0, 0]], [[41, None, 0]])


async def test_a_tick_that_changed_other_slots_sends_an_empty_update(client: Client) -> None:
    """Rule 1: who follows one slot knows all the same that nothing was missed."""
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    await wire.subscribe(channel(), slots=[1])
    for number in range(1, 4):
        await place(client, household, bid())
        upd = await wire.next()
        assert upd.pop("ts") > 0
        assert upd == {"t": "upd", "ch": channel(), "prev": number - 1, "seq": number, "lv": [], "ind": [], "cs": {}}


async def test_a_filter_resumes_and_resyncs_as_a_filter(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    ok, snap = await wire.subscribe(channel(), slots=[41])
    book = FeedBook([41])
    book.apply(snap)
    await wire.close()
    await place(client, household, bid("10:00"), bid("11:00"))
    await book_of(client, household)
    wire = await Wire.open(client, token=household.token)
    since = {"ep": ok["ep"], "seq": ok["seq"]}
    again = await wire.ask("subscribe", ch=channel(), slots=[41], since=since)
    assert (again["recovered"], again["seq"]) == (True, 2)
    upd = await wire.next()
    assert (upd["prev"], upd["seq"], upd["lv"]) == (0, 2, [[41, "S", 425, 1000, 1]])
    assert book.apply(upd)
    assert (await wire.ask("resync", ch=channel()))["recovered"] is False
    snap = await wire.next()
    assert snap["crc"] == book.crc
    assert snap["lv"] == book.levels


async def test_filters_and_rates_of_one_channel_do_not_mix(client: Client) -> None:
    household = await sign_up(client)
    kinds: tuple[dict[str, Any], ...] = (
        {},
        {"rate": 1000},
        {"slots": [41]},
        {"slots": [45]},
        {"slots": [45], "rate": 1000},
    )
    wires = [await Wire.open(client, token=household.token) for _ in kinds]
    for wire, fields in zip(wires, kinds, strict=True):
        await wire.subscribe(channel(), **fields)
    await place(client, household, bid("10:00"), bid("11:00"))
    seen = [[level[0] for level in (await wire.next())["lv"]] for wire in wires]
    assert seen == [[41, 45], [41, 45], [41], [45], [45]]
