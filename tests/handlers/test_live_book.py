"""Subscribing to a book: the snapshot, resync, unsubscribe, and subscribing again (rules 3 and 5 of the feed)."""

import asyncio

from tests.clock import india_day
from tests.conftest import Client, MakeClient
from tests.factories import bid, place, sign_up
from tests.feed_book import FeedBook
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import amend, book_of, channel, withdraw
from tests.feed_wire import Wire


async def test_the_snapshot_is_the_book_that_rest_shows(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    bids = (await place(client, seller, bid("10:00", "2", "4"), bid("11:00", "1", "5"), bid("00:00", "3", "0")))["bids"]
    await place(client, buyer, bid("10:00", "1", "9"), bid("23:45", "0.001", "10000"))
    await amend(client, seller, bids[1]["id"], price="6")
    await withdraw(client, seller, bids[2]["id"])
    shown = await book_of(client, buyer)
    for named in (channel(), "book"):
        wire = await Wire.open(client, token=buyer.token)
        ok, snap = await wire.subscribe(named)
        assert set(ok) == {"t", "id", "ch", "ep", "seq", "recovered"}
        assert (ok["ch"], ok["seq"]) == (channel(), 7)
        assert snap == shown
        assert snap["lv"] == [
            [41, "B", 900, 1000, 1],
            [41, "S", 400, 2000, 1],
            [45, "S", 600, 1000, 1],
            [96, "B", 1000000, 1, 1],
        ]
        assert snap["ind"] == [[41, 400, 1000]], "only what would clear"
        FeedBook().apply(snap)


async def test_an_empty_book_is_a_snapshot_at_zero(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    for ahead in (1, 2, 7):
        _, snap = await wire.subscribe(channel(ahead))
        assert snap == await book_of(client, household, india_day(ahead))
        assert (snap["seq"], snap["lv"], snap["ind"], snap["state"]) == (0, [], [], "open")


async def test_each_day_has_an_epoch_and_a_sequence_of_its_own(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid())
    await place(client, household, bid(), bid(), deliveryDate=india_day(2))
    for ahead in (1, 2):
        await book_of(client, household, india_day(ahead))
    wire = await Wire.open(client, token=household.token)
    (one, _), (two, _) = await wire.subscribe(channel(1)), await wire.subscribe(channel(2))
    assert (one["seq"], two["seq"]) == (1, 2)
    assert one["ep"] != two["ep"]
    await place(client, household, bid(), deliveryDate=india_day(2))
    upd = await wire.next()
    assert (upd["ch"], upd["prev"], upd["seq"]) == (channel(2), 2, 3)


async def test_no_change_falls_between_the_snapshot_and_the_first_update(make_client: MakeClient) -> None:
    """Rule 3: sockets subscribe all along while the book changes."""
    client = await make_client()
    household = await sign_up(client)
    is_done = False

    async def place_along() -> int:
        seq = 0
        while not is_done:
            seq = (await place(client, household, bid("10:00", "1", "4"), bid("10:15", "1", "5")))["seq"]
        return int(seq)

    placing = asyncio.create_task(place_along())
    watching: list[FeedClient] = []
    for _ in range(15):
        watching.append(await FeedClient(client, household.token, Wanted(channel())).start())
        if len(watching) % 5 == 0:
            # So that they have subscribed before different ticks.
            await watching[0].reach(watching[-1].book.seq + 1)
    is_done = True
    last = await placing
    for watcher in watching:
        await watcher.reach(last)
        assert watcher.book.seq == last
    shown = await book_of(client, household)
    assert all(watcher.book.levels == shown["lv"] for watcher in watching)
    assert len({watcher.counts["upd"] for watcher in watching}) > 1, "they subscribed at different moments"
    assert_flawless(watching)
    for watcher in watching:
        await watcher.close()


async def test_resync_brings_a_snapshot_and_goes_on(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    first, _ = await wire.subscribe(channel(), slots=[41])
    await place(client, household, bid("10:00"), bid("11:00"))
    await wire.next("upd")
    ok = await wire.ask("resync", ch=channel())
    assert {**ok, "id": 0} == {**first, "id": 0, "seq": 2}
    snap = await wire.next()
    assert (snap["t"], snap["seq"]) == ("snap", 2)
    assert snap["lv"] == [[41, "S", 425, 1000, 1]], "the filter stays"
    await place(client, household, bid())
    upd = await wire.next()
    assert (upd["t"], upd["prev"], upd["seq"]) == ("upd", 2, 3)


async def test_resync_of_the_alias_works_by_both_of_its_names(client: Client) -> None:
    household = await sign_up(client)
    for named in ("book", channel()):
        wire = await Wire.open(client, token=household.token)
        await wire.subscribe("book")
        ok = await wire.ask("resync", ch=named)
        assert (ok["t"], ok.get("ch")) == ("ok", channel()), (named, ok)
        assert (await wire.next())["t"] == "snap"


async def test_after_unsubscribe_nothing_more_comes(client: Client) -> None:
    household = await sign_up(client)
    leaving, staying = await Wire.open(client, token=household.token), await Wire.open(client, token=household.token)
    for wire in (leaving, staying):
        await wire.subscribe(channel())
    ok = await leaving.ask("unsubscribe", ch=channel())
    assert ok == {"t": "ok", "id": ok["id"], "ch": channel()}
    await place(client, household, bid())
    assert (await staying.next())["seq"] == 1
    await staying.next("hb")
    await leaving.quiet()
    assert leaving.texts[-1].startswith('{"t":"ok"')
    assert not any('"hb"' in text and str(channel()) in text for text in leaving.texts)
    _, snap = await leaving.subscribe(channel())
    assert snap["seq"] == 1


async def test_subscribing_again_replaces_the_subscription(client: Client) -> None:
    household = await sign_up(client)
    wire, other = await Wire.open(client, token=household.token), await Wire.open(client, token=household.token)
    await wire.subscribe(channel())
    await wire.subscribe(channel(), slots=[1])
    _, snap = await wire.subscribe(channel(), slots=[45, 41])
    await other.subscribe(channel())
    await place(client, household, bid("10:00"), bid("00:00"))
    await other.next("upd")
    upd = await wire.next()
    assert (upd["prev"], upd["seq"], upd["lv"]) == (snap["seq"], 2, [[41, "S", 425, 1000, 1]])
    await wire.quiet()
    await wire.ask("unsubscribe", ch=channel())
    await place(client, household, bid("10:00"))
    await other.next("upd")
    await wire.quiet()


async def test_the_alias_stays_when_its_day_is_unsubscribed(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    for named in ("book", channel()):
        await wire.subscribe(named)
    assert (await wire.ask("unsubscribe", ch=channel()))["t"] == "ok"
    await place(client, household, bid())
    upd = await wire.next()
    assert (upd["t"], upd["ch"], upd["seq"]) == ("upd", channel(), 1)
    await place(client, household, bid())
    upd = await wire.next()
    assert (upd["t"], upd["ch"], upd["seq"]) == ("upd", channel(), 2)
