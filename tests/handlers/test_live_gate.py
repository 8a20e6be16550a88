"""The end of a day's session on the feed: the last levels, `gate`, `cleared`, and the alias that moves on (rules 1 and
11)."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg

from tests.answers import call
from tests.clock import IST
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import FeedBook
from tests.feed_client import FeedClient, Wanted, assert_flawless
from tests.feed_sources import book_of
from tests.feed_wire import Wire
from tests.handlers.test_gate_races import gate_in
from tests.offers import PLACE

AHEAD_S = 1.5


async def begin(make_client: MakeClient) -> tuple[Client, Household, date, datetime]:
    """A server whose gate closes soon: it, a household, the delivery day, the moment."""
    household = await sign_up(await make_client())
    closure, day, at = gate_in(AHEAD_S)
    client = await make_client(market={"gate_closure": closure})
    return client, household, day, at


async def place_until_refused(client: Client, household: Household, day: date) -> int:
    """Placements for a day, one after another, until the gate: how many bids were taken."""
    taken = 0
    body: dict[str, Any] = {"arr": [bid("10:00", "1", "4"), bid("11:00", "1", "5")], "deliveryDate": day.isoformat()}
    while (await call(client, "POST", PLACE, body, by=household)).status == 200:
        taken += 2
    return taken


def is_so(watcher: FeedClient, name: str, value: str) -> Callable[[], bool]:
    """Whether a client's book has a value by now."""
    return lambda: getattr(watcher.book, name) == value


async def test_the_gate_comes_after_the_last_levels(make_client: MakeClient) -> None:
    client, household, day, at = await begin(make_client)
    wire = await Wire.open(client, token=household.token)
    ok, snap = await wire.subscribe(f"book:{day}")
    assert snap["state"] == "open"
    assert datetime.fromisoformat(snap["gate"]) == at
    taken = await place_until_refused(client, household, day)
    book = FeedBook()
    book.apply(snap)
    while (message := await wire.next("upd", "gate"))["t"] == "upd":
        assert message["prev"] == book.seq
        assert book.apply(message)
    assert datetime.now(UTC) - at < timedelta(seconds=2), "it is told when it happens"
    assert message == {
        "t": "gate",
        "ch": f"book:{day}",
        "ep": ok["ep"],
        "prev": taken,
        "seq": taken + 1,
        "state": "closed",
    }
    assert book.apply(message)
    cleared = await wire.next()
    assert cleared == {
        "t": "cleared",
        "ch": f"book:{day}",
        "ep": ok["ep"],
        "prev": taken + 1,
        "seq": taken + 2,
        "slots": [],
    }, "nobody bought"
    assert book.apply(cleared)
    shown = await book_of(client, household, str(day))
    assert (book.levels, book.seq, book.state) == (shown["lv"], shown["seq"], "cleared")
    assert shown["state"] == "cleared"
    # Nothing more happens to the day, and its channel stays as it is.
    heartbeat = await wire.next("hb", within_s=3)
    assert heartbeat["at"] == {f"book:{day}": [ok["ep"], taken + 2, shown["crc"]]}
    await wire.quiet()
    assert (await call(client, "POST", PLACE, {"arr": [bid()], "deliveryDate": str(day)}, by=household)).status == 409


async def test_the_gate_of_a_day_without_bids_closes_too(make_client: MakeClient) -> None:
    client, household, day, _ = await begin(make_client)
    wire = await Wire.open(client, token=household.token)
    await wire.subscribe(f"book:{day}", slots=[5])
    gate = await wire.next()
    assert (gate["t"], gate["prev"], gate["seq"]) == ("gate", 0, 1)
    cleared = await wire.next()
    assert (cleared["t"], cleared["prev"], cleared["seq"], cleared["slots"]) == ("cleared", 1, 2, [])
    assert (await book_of(client, household, str(day)))["state"] == "cleared"


async def test_the_alias_moves_to_the_next_day(make_client: MakeClient) -> None:
    client, household, day, _ = await begin(make_client)
    alias, dated = await Wire.open(client, token=household.token), await Wire.open(client, token=household.token)
    next_day = day + timedelta(days=1)
    await place(client, household, bid("12:00"), bid("12:00"), deliveryDate=next_day.isoformat())
    ok, _ = await alias.subscribe("book", slots=[41, 49])
    await dated.subscribe(f"book:{day}")
    assert ok["ch"] == f"book:{day}"
    await place(client, household, bid(), deliveryDate=day.isoformat())
    for wire in (alias, dated):
        upd, gate = await wire.next(), await wire.next()
        assert (upd["t"], upd["ch"], upd["seq"]) == ("upd", f"book:{day}", 1)
        assert (gate["t"], gate["ch"], gate["prev"], gate["seq"]) == ("gate", f"book:{day}", 1, 2)
    snap = await alias.next()
    assert (snap["t"], snap["ch"], snap["seq"], snap["state"]) == ("snap", f"book:{next_day}", 2, "open")
    assert snap["lv"] == [[49, "S", 425, 2000, 2]]
    assert snap["ep"] != ok["ep"]
    FeedBook([41, 49]).apply(snap)
    await place(client, household, bid(), deliveryDate=next_day.isoformat())
    upd = await alias.next()
    assert (upd["t"], upd["ch"], upd["prev"], upd["seq"]) == ("upd", f"book:{next_day}", 2, 3)
    assert upd["lv"] == [[41, "S", 425, 1000, 1]], "the filter moves along"
    cleared = await dated.next()
    assert (cleared["t"], cleared["ch"], cleared["prev"], cleared["seq"]) == ("cleared", f"book:{day}", 2, 3)
    await dated.quiet()
    assert list((await alias.next("hb", within_s=3))["at"]) == [f"book:{next_day}"]
    assert (await alias.ask("unsubscribe", ch="book"))["t"] == "ok"


async def test_the_alias_is_told_nothing_of_the_old_day_after_its_gate(make_client: MakeClient) -> None:
    """At this rate gate and auction most often fall into one tick."""
    client, household, day, _ = await begin(make_client)
    alias = await Wire.open(client, token=household.token)
    ok, _ = await alias.subscribe("book", rate=1000)
    assert ok["ch"] == f"book:{day}"
    gate = await alias.next("gate", within_s=8)
    snap = await alias.next()
    assert (gate["ch"], snap["t"], snap["ch"]) == (f"book:{day}", "snap", f"book:{day + timedelta(days=1)}")
    await alias.quiet()


async def test_whoever_resumes_after_the_gate_learns_of_it(make_client: MakeClient) -> None:
    client, household, day, _ = await begin(make_client)
    wire = await Wire.open(client, token=household.token)
    ok, snap = await wire.subscribe(f"book:{day}")
    await place(client, household, bid(), deliveryDate=day.isoformat())
    first = await wire.next()
    taken = await place_until_refused(client, household, day)
    await wire.next("cleared")
    shown = await book_of(client, household, str(day))
    for since in (snap, first, {"seq": taken + 1}, {"seq": taken + 2}, {"seq": taken + 3}):
        book = FeedBook()
        book.apply(snap)
        if since is first:
            book.apply(first)
        resumed = await Wire.open(client, token=household.token)
        again = await resumed.ask("subscribe", ch=f"book:{day}", since={"ep": ok["ep"], "seq": since["seq"]})
        assert (again["recovered"], again["seq"]) == (True, taken + 3)
        if since["seq"] == taken + 1:
            gate = await resumed.next()
            assert (gate["t"], gate["prev"], gate["seq"]) == ("gate", taken + 1, taken + 2)
        if taken < since["seq"] < taken + 3:
            cleared = await resumed.next()
            assert (cleared["t"], cleared["prev"], cleared["seq"]) == ("cleared", taken + 2, taken + 3)
        elif since["seq"] <= 1:
            while book.seq < taken + 3:
                assert book.apply(await resumed.next("upd", "gate", "cleared"))
            assert (book.state, book.levels) == ("cleared", shown["lv"])
        await resumed.next("hb")
        await resumed.quiet()
        await resumed.close()


async def test_a_fresh_subscription_shows_a_cleared_book(make_client: MakeClient) -> None:
    client, household, day, _ = await begin(make_client)
    wire = await Wire.open(client, token=household.token)
    await wire.subscribe(f"book:{day}")
    await place(client, household, bid(), deliveryDate=day.isoformat())
    await wire.next("cleared")
    late = await Wire.open(client, token=household.token)
    _, snap = await late.subscribe(f"book:{day}")
    assert snap == await book_of(client, household, str(day))
    assert (snap["state"], snap["seq"]) == ("cleared", 3)
    ok, _ = await late.subscribe("book")
    assert ok["ch"] == f"book:{day + timedelta(days=1)}"


async def test_the_session_ends_once_in_two_processes(
    make_client: MakeClient, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    household = await sign_up(await make_client())
    closure, day, _ = gate_in(AHEAD_S)
    here, there = [await make_client(market={"gate_closure": closure}) for _ in range(2)]
    watching = [
        await FeedClient(client, household.token, Wanted(named, rate)).start()
        for client in (here, there)
        for named in (f"book:{day}", "book")
        for rate in (100, 1000)
    ]
    taken = await asyncio.gather(*(place_until_refused(client, household, day) for client in (here, there)))
    last = sum(taken) + 2
    for watcher in watching[0], watching[1], watching[4], watching[5]:
        await watcher.reach(last)
        await watcher.until(is_so(watcher, "state", "cleared"))
        assert watcher.book.seq == last
    for watcher in watching[2], watching[3], watching[6], watching[7]:
        await watcher.until(is_so(watcher, "channel", f"book:{day + timedelta(days=1)}"))
        assert watcher.book.state == "open"
    assert all(watcher.counts["gate"] == 1 for watcher in watching)
    assert_flawless(watching)
    ends = await connection.fetch("SELECT kind FROM book_events WHERE account_id IS NULL ORDER BY first_seq")
    assert [row["kind"] for row in ends] == ["close", "clear"]
    for watcher in watching:
        await watcher.close()


async def test_a_gate_that_closed_while_no_server_ran_is_told_by_the_next(make_client: MakeClient) -> None:
    client, household, day, at = await begin(make_client)
    wire = await Wire.open(client, token=household.token)
    ok, snap = await wire.subscribe(f"book:{day}")
    await place(client, household, bid(), deliveryDate=day.isoformat())
    book = FeedBook()
    book.apply(snap)
    await client.close()
    await asyncio.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))  # nobody there, so nothing to await
    closure = at.astimezone(IST).strftime("%H:%M:%S").replace("00:00:00", "24:00")
    later = await make_client(market={"gate_closure": closure})
    wire = await Wire.open(later, token=household.token)
    again = await wire.ask("subscribe", ch=f"book:{day}", since={"ep": ok["ep"], "seq": 0})
    assert again["recovered"] is True
    while book.state != "cleared":
        assert book.apply(await wire.next("upd", "gate", "cleared"))
    assert (book.seq, book.levels) == (3, [[41, "S", 425, 1000, 1]])
