"""Resuming a book: never a partial recovery, across restarts and processes too (rule 2 of the feed)."""

import random
from typing import Any

import asyncpg
import pytest

from tests.clock import india_day
from tests.conftest import Client, MakeClient, Services
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import FeedBook, Message
from tests.feed_sources import amend, book_of, channel, withdraw
from tests.feed_wire import Wire


async def begin(client: Client, household: Household, **fields: Any) -> FeedBook:
    """A book as it stands, from a socket that is closed again."""
    wire = await Wire.open(client, token=household.token)
    _, snap = await wire.subscribe(channel(), **fields)
    book = FeedBook(fields.get("slots"))
    book.apply(snap)
    await wire.close()
    return book


async def resume(client: Client, household: Household, book: FeedBook, **fields: Any) -> tuple[Wire, Message]:
    """A fresh socket that goes on where a book stands: it, and the `ok`."""
    wire = await Wire.open(client, token=household.token)
    since = {"ep": book.epoch, "seq": book.seq}
    return wire, await wire.ask("subscribe", ch=channel(), **{"since": since, **fields})


async def test_a_resume_brings_one_update_with_everything_since(client: Client) -> None:
    household = await sign_up(client)
    bids = (await place(client, household, bid("10:00", "1", "4"), bid("10:00", "1", "5"), bid("11:00")))["bids"]
    await book_of(client, household)
    book = await begin(client, household)
    await withdraw(client, household, bids[0]["id"])
    await amend(client, household, bids[1]["id"], volume="7")
    for turn in range(4):
        await place(client, household, bid("12:00", "1", "9"), bid("00:00", "1", f"{turn + 1}"))
    await book_of(client, household)
    wire, ok = await resume(client, household, book)
    assert {**ok, "id": 0} == {"t": "ok", "id": 0, "ch": channel(), "ep": book.epoch, "seq": 13, "recovered": True}
    upd = await wire.next()
    assert (upd["t"], upd["prev"], upd["seq"]) == ("upd", 3, 13)
    assert upd["lv"] == [
        *[[1, "S", 100 * turn, 1000, 1] for turn in range(1, 5)],
        [41, "S", 400, 0, 0],
        [41, "S", 500, 7000, 1],
        [49, "S", 900, 4000, 4],
    ], "levels that are gone, too, and none that did not change"
    assert book.apply(upd)
    assert book.levels == (await book_of(client, household))["lv"]
    await wire.quiet()
    await place(client, household, bid())
    upd = await wire.next()
    assert (upd["prev"], upd["seq"]) == (13, 14)


async def test_a_resume_at_the_present_brings_nothing_until_something_changes(client: Client) -> None:
    household = await sign_up(client)
    for _ in range(2):
        await book_of(client, household)
        book = await begin(client, household)
        wire, ok = await resume(client, household, book)
        assert (ok["recovered"], ok["seq"]) == (True, book.seq)
        await wire.next("hb")
        await wire.quiet()
        await place(client, household, bid())
        upd = await wire.next()
        assert (upd["prev"], upd["seq"]) == (book.seq, book.seq + 1)
        await wire.close()


async def test_a_resume_from_zero_brings_the_whole_book(client: Client) -> None:
    household = await sign_up(client)
    book = await begin(client, household)
    await place(client, household, bid(), bid("11:00"))
    await book_of(client, household)
    wire, ok = await resume(client, household, book)
    assert (ok["recovered"], ok["seq"]) == (True, 2)
    assert book.apply(await wire.next())
    assert book.levels == (await book_of(client, household))["lv"] != []


@pytest.mark.parametrize(
    "since",
    [
        pytest.param({"ep": "another"}, id="another epoch"),
        pytest.param({"ep": ""}, id="no epoch"),
        pytest.param({"seq": 4}, id="a number that is still to come"),
        pytest.param({"seq": 2**53 - 1}, id="a number far beyond"),
        pytest.param({"ep": "other-day"}, id="the epoch of another day"),
    ],
)
async def test_what_cannot_be_resumed_is_a_snapshot(client: Client, since: dict[str, Any]) -> None:
    household = await sign_up(client)
    await place(client, household, bid(), bid("11:00"), bid("12:00"))
    await book_of(client, household)
    book = await begin(client, household)
    if since.get("ep") == "other-day":
        wire = await Wire.open(client, token=household.token)
        since = {"ep": (await wire.subscribe(channel(2)))[0]["ep"]}
    wire, ok = await resume(client, household, book, since={"ep": book.epoch, "seq": book.seq, **since})
    assert (ok["recovered"], ok["ep"], ok["seq"]) == (False, book.epoch, 3)
    snap = await wire.next()
    assert snap == await book_of(client, household)


async def test_a_resume_reaches_across_a_restart(make_client: MakeClient) -> None:
    first = await make_client()
    household = await sign_up(first)
    bids = (await place(first, household, bid("10:00", "1", "4"), bid("11:00", "1", "5")))["bids"]
    await book_of(first, household)
    book = await begin(first, household)
    filtered = await begin(first, household, slots=[41])
    await withdraw(first, household, bids[0]["id"])
    await first.close()
    second = await make_client()
    wire, ok = await resume(second, household, book)
    assert (ok["recovered"], ok["seq"]) == (True, 3)
    upd = await wire.next()
    assert (upd["prev"], upd["seq"], upd["lv"]) == (2, 3, [[41, "S", 400, 0, 0]]), "gone before the restart"
    assert book.apply(upd)
    assert book.levels == (await book_of(second, household))["lv"]
    wire, ok = await resume(second, household, filtered, slots=[41])
    assert ok["recovered"] is True
    assert filtered.apply(await wire.next())
    assert filtered.levels == []


async def test_a_resume_reaches_from_one_process_to_another(make_client: MakeClient) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    book = await begin(here, household)
    seq = (await place(here, household, bid(), bid("11:00")))["seq"]
    # The other process may hear of it a little later; what it has sent is never partial.
    wire, ok = await resume(there, household, book)
    assert ok["recovered"] is True
    while book.seq < seq:
        assert book.apply(await wire.next("upd"))
    assert book.levels == (await book_of(there, household))["lv"]
    await book_of(here, household)
    wire, ok = await resume(here, household, book)
    assert (ok["recovered"], ok["seq"]) == (True, seq)


async def test_a_process_that_is_behind_never_sends_a_client_back(
    make_client: MakeClient,
) -> None:
    """A client that comes from a process that was faster stands beyond what this one has read. Its `since` is in the
    log all the same."""
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    book = await begin(there, household)
    for _ in range(20):
        wire = await Wire.open(here, token=household.token)
        await wire.subscribe(channel())
        seq = (await place(here, household, bid()))["seq"]
        while (upd := await wire.next("upd"))["seq"] < seq:
            pass
        book.seq = upd["seq"]
        at_other, ok = await resume(there, household, book)
        assert (ok["recovered"], ok["seq"]) == (True, seq)
        for opened in (wire, at_other):
            await opened.close()


async def test_another_identity_of_the_database_is_another_epoch(
    make_client: MakeClient, services: Services, database_url: str
) -> None:
    """A copy of the database has the same log and is not the same: what follows may differ."""
    client = await make_client()
    household = await sign_up(client)
    await place(client, household, bid())
    book = await begin(client, household)
    await client.close()
    name = database_url.partition("?")[0].rpartition("/")[2]
    admin = await asyncpg.connect(services.database_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}")
        copy = await make_client(database={"url": services.url_of(f"{name}_copy")})
        _, ok = await resume(copy, household, book)
        assert ok["recovered"] is False
        assert ok["ep"] != book.epoch
        await copy.close()
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name}_copy WITH (FORCE)")
        await admin.close()


async def test_any_resume_along_a_random_history_leads_to_the_book(make_client: MakeClient) -> None:
    """Snapshots at many moments, some with filters, are each brought to the end by one update."""
    client = await make_client()
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    chance = random.Random(7)
    books: list[tuple[FeedBook, dict[str, Any]]] = []
    open_bids: list[tuple[Household, int]] = []
    for _ in range(60):
        household = chance.choice((seller, buyer))
        what = chance.random()
        if what < 0.5 or not open_bids:
            bids = [bid(str(chance.randint(38, 44)), "1", f"{chance.randint(1, 6)}") for _ in range(4)]
            open_bids += [(household, b["id"]) for b in (await place(client, household, *bids))["bids"]]
        else:
            owner, number = open_bids.pop(chance.randrange(len(open_bids)))
            if what < 0.75:
                await amend(client, owner, number, price=f"{chance.randint(1, 6)}")
                open_bids.append((owner, number))
            else:
                await withdraw(client, owner, number)
        if chance.random() < 0.4:
            fields = chance.choice(({}, {"slots": [38, 40, 44]}, {"rate": 1000}))
            books.append((await begin(client, seller, **fields), fields))
    shown = await book_of(client, seller)
    for book, fields in books:
        wire, ok = await resume(client, seller, book, **fields)
        assert (ok["recovered"], ok["seq"]) == (True, shown["seq"])
        if book.seq < shown["seq"]:
            upd = await wire.next("upd")
            assert (upd["prev"], upd["seq"]) == (book.seq, shown["seq"])
            assert book.apply(upd)
        assert book.levels == [level for level in shown["lv"] if level[0] in book.covered]
        assert book.ind == [entry for entry in shown["ind"] if entry[0] in book.covered]
        await wire.close()


async def test_the_alias_resumes_too(client: Client) -> None:
    household = await sign_up(client)
    book = await begin(client, household)
    await place(client, household, bid(), deliveryDate=india_day(1))
    await book_of(client, household)
    wire = await Wire.open(client, token=household.token)
    ok = await wire.ask("subscribe", ch="book", since={"ep": book.epoch, "seq": book.seq})
    assert (ok["ch"], ok["recovered"], ok["seq"]) == (channel(), True, 1)
    assert book.apply(await wire.next())
