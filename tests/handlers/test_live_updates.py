"""Updates of a book: how they chain and merge, and what they say (rules 1, 2, 4 and 5 of the feed)."""

import asyncio
import time
import zlib
from itertools import pairwise

from tests.conftest import Client, MakeClient
from tests.factories import bid, place, sign_up
from tests.feed_book import FeedBook
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import amend, book_of, channel, withdraw
from tests.feed_wire import Wire


def crc(text: str) -> int:
    return zlib.crc32(text.encode())


async def test_an_update_says_what_its_levels_are_now(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    wire = await Wire.open(client, token=buyer.token)
    await wire.subscribe(channel())
    before_ms = time.time() * 1000
    one = (await place(client, seller, bid("10:00", "2", "4.25"), bid("10:15", "1", "5")))["bids"][0]["id"]
    upd = await wire.next()
    assert abs(upd.pop("ts") - before_ms) < 5000
    assert upd == {
        "t": "upd",
        "ch": channel(),
        "prev": 0,
        "seq": 2,
        "lv": [[41, "S", 425, 2000, 1], [42, "S", 500, 1000, 1]],
        "ind": [[41, None, 0], [42, None, 0]],
        "cs": {"41": crc("S,425,2000,1;"), "42": crc("S,500,1000,1;")},
    }

    await place(client, buyer, bid("10:00", "1.5", "6"))
    upd = await wire.next()
    assert (upd["prev"], upd["seq"], upd["lv"]) == (2, 3, [[41, "B", 600, 1500, 1]])
    assert upd["ind"] == [[41, 425, 1500]]
    assert upd["cs"] == {"41": crc("B,600,1500,1;S,425,2000,1;")}

    # Volumes are absolute: the level's total and its number of bids, not what was added.
    await place(client, seller, bid("10:00", "0.5", "4.25"))
    upd = await wire.next()
    assert upd["lv"] == [[41, "S", 425, 2500, 2]]

    # A changed price leaves one level for another; the first is still there for the other bid.
    await amend(client, seller, one, price="6.01", volume="3")
    upd = await wire.next()
    assert upd["lv"] == [[41, "S", 425, 500, 1], [41, "S", 601, 3000, 1]]
    assert upd["ind"] == [[41, 600, 500]], "the buyer is not wholly filled, so his price it is"

    await withdraw(client, seller, one)
    upd = await wire.next()
    assert upd["lv"] == [[41, "S", 601, 0, 0]], "a level without bids is gone"
    assert upd["cs"] == {"41": crc("B,600,1500,1;S,425,500,1;")}


async def test_the_checksum_of_an_empty_slot_is_zero(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    sold = (await place(client, seller, bid("10:00", "1", "4")))["bids"][0]["id"]
    await place(client, buyer, bid("10:00", "1", "6"))
    bought = (await place(client, buyer, bid("11:00", "1", "6")))["bids"][0]["id"]
    await book_of(client, buyer)
    wire = await Wire.open(client, token=seller.token)
    await wire.subscribe(channel())
    await withdraw(client, buyer, bought)
    upd = await wire.next()
    assert (upd["lv"], upd["ind"], upd["cs"]) == ([[45, "B", 600, 0, 0]], [[45, None, 0]], {"45": 0})
    await withdraw(client, seller, sold)
    upd = await wire.next()
    assert (upd["lv"], upd["ind"]) == ([[41, "S", 400, 0, 0]], [[41, None, 0]]), "what cleared does not any more"


async def test_each_update_begins_where_the_last_one_ended(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    _, snap = await wire.subscribe(channel())
    book = FeedBook()
    book.apply(snap)
    for _ in range(5):
        seq = (await place(client, household, bid(), bid("11:00")))["seq"]
        before, upd = book.seq, await wire.next("upd")
        assert (upd["prev"], upd["seq"]) == (before, seq)
        assert book.apply(upd)
    assert book.levels == (await book_of(client, household))["lv"]


async def test_what_happens_between_two_ticks_is_one_update(make_client: MakeClient) -> None:
    client = await make_client(feed={"messages_per_s": 1e6, "message_burst": 10**6})
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    _, snap = await wire.subscribe(channel(), rate=1000)
    book = FeedBook()
    book.apply(snap)
    await place(client, household, bid())
    book.apply(await wire.next("upd"))
    # A tick has just passed: the next is almost a second away.
    placed = [await place(client, household, bid(price="5"), bid(price="6")) for _ in range(6)]
    await withdraw(client, household, placed[0]["bids"][1]["id"])
    gone = (await place(client, household, bid("12:00", "1", "7")))["bids"][0]["id"]
    last = await withdraw(client, household, gone)
    upd = await wire.next("upd")
    assert (upd["prev"], upd["seq"]) == (1, last)
    assert upd["lv"] == [[41, "S", 500, 6000, 6], [41, "S", 600, 5000, 5], [49, "S", 700, 0, 0]]
    assert upd["cs"]["49"] == 0, "what came and went in one tick is told as gone"
    assert book.apply(upd)


async def test_the_rate_is_the_time_between_updates(client: Client) -> None:
    household = await sign_up(client)
    fast, slow = await Wire.open(client, token=household.token), await Wire.open(client, token=household.token)
    await fast.subscribe(channel(), rate=100)
    await slow.subscribe(channel(), rate=1000)
    is_done = False

    async def place_along() -> None:
        while not is_done:
            await place(client, household, bid())

    async def times(wire: Wire, count: int) -> list[float]:
        return [(await wire.next("upd"), time.monotonic())[1] for _ in range(count)]

    placing = asyncio.create_task(place_along())
    of_fast, of_slow = await asyncio.gather(times(fast, 12), times(slow, 3))
    is_done = True
    await placing
    gaps = [later - earlier for earlier, later in pairwise(of_slow)]
    assert all(0.8 < gap < 1.6 for gap in gaps), gaps
    assert 0.08 * 11 < of_fast[-1] - of_fast[0] < 0.1 * 11 + 1


async def test_everyone_gets_the_same_bytes(make_client: MakeClient) -> None:
    client = await make_client()
    household = await sign_up(client)
    for fields in ({}, {"slots": [42, 41]}, {"slots": [41, 42]}, {"rate": 1000}):
        wires = [await Wire.open(client, token=household.token) for _ in range(3)]
        for wire in wires:
            await wire.subscribe(channel(), **fields)
        for _ in range(3):
            await place(client, household, bid("10:00"), bid("10:15"), bid("11:00"))
            updates = [await wire.next("upd") for wire in wires]
            assert updates[0] == updates[1] == updates[2]
        assert len({tuple(wire.texts[-3:]) for wire in wires}) == 1
        for wire in wires:
            await wire.close()


async def test_a_burst_of_changes_is_seen_whole(client: Client) -> None:
    """Placements, changes and withdrawals from several households at once, over many ticks."""
    sellers, buyers = [await sign_up(client) for _ in range(3)], [await sign_up(client, "consumer") for _ in range(3)]
    watching = [
        await FeedClient(client, sellers[0].token, wanted).start()
        for wanted in (Wanted(channel()), Wanted("book"), Wanted(channel(), 1000), Wanted(channel(), 100, (41, 50)))
    ]

    async def trade(number: int) -> None:
        household = (sellers + buyers)[number]
        for turn in range(12):
            bids = [bid(str(slot), f"{1 + turn}", f"{4 + (slot * turn) % 5}") for slot in range(38, 54)]
            placed = (await place(client, household, *bids))["bids"]
            await amend(client, household, placed[number]["id"], price="5.5")
            await withdraw(client, household, placed[-1 - number]["id"])

    await asyncio.gather(*(trade(number) for number in range(6)))
    shown = await book_of(client, buyers[0])
    assert shown["seq"] == 6 * 12 * 18
    for watcher in watching:
        await watcher.reach(shown["seq"])
    assert_flawless(watching)
    for watcher in watching[:3]:
        assert (watcher.book.levels, watcher.book.ind) == (shown["lv"], shown["ind"])
        assert watcher.book.crc == shown["crc"]
    assert watching[3].book.levels == [level for level in shown["lv"] if level[0] in (41, 50)]
    assert watching[0].counts["upd"] > 2
    for watcher in watching:
        await watcher.close()
