"""Placements that race the closing of the gate: in the book or refused, and the day stays closed."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from tests.answers import Answer, assert_refused, call
from tests.book_log import has_gaps, log_of, open_levels
from tests.clock import IST, Clock
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, sign_up
from tests.mutants import mutate, mutate_the_short_way, only_the_long_way
from tests.offers import PLACE

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def gate_in(seconds: float) -> tuple[str, date, datetime]:
    """A gate closure that many seconds ahead or a little more: the setting, its delivery day, and the instant."""
    at = (datetime.now(IST) + timedelta(seconds=seconds)).replace(microsecond=0) + timedelta(seconds=1)
    if at.time() == datetime.min.time():
        return "24:00", at.date(), at
    return f"{at:%H:%M:%S}", at.date() + timedelta(days=1), at


async def until(instant: datetime) -> None:
    await asyncio.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()) + 0.002)


async def place_until_closed(client: Client, household: Household, day: date) -> list[Answer]:
    """Placements for one day, one after another, until one is refused and three more."""
    answers: list[Answer] = []
    while sum(answer.status == 409 for answer in answers) < 4:
        body = {"arr": [bid("10:00", "1", "4")], "deliveryDate": day.isoformat()}
        answers.append(await call(client, "POST", PLACE, body, by=household))
    return answers


async def race_the_gate(make_client: MakeClient) -> tuple[list[list[Answer]], Client, Household, date]:
    """Four streams of placements on two processes, through the moment at which the gate closes."""
    seller = await sign_up(await make_client())
    closure, day, at = gate_in(0.8)
    clients = [await make_client(market={"gate_closure": closure}) for _ in range(2)]
    assert datetime.now(UTC) < at, "this machine is too slow for the test"
    streams = await asyncio.gather(*(place_until_closed(client, seller, day) for client in clients * 2))
    return streams, clients[0], seller, day


async def cleared_book(client: Client, household: Household, day: date) -> dict[str, Any]:
    """The book of a day whose gate is over, once it is cleared."""
    async with asyncio.timeout(10):
        while True:
            book: dict[str, Any] = (await call(client, "GET", f"/book/dayahead?deliveryDate={day}", by=household)).body
            if book["state"] == "cleared":
                return book
            await asyncio.sleep(0.02)


async def test_a_bid_that_races_the_gate_is_in_the_book_or_refused_and_the_day_stays_closed(
    make_client: MakeClient, connection: Connection
) -> None:
    streams, client, seller, day = await race_the_gate(make_client)
    placed = []
    for stream in streams:
        statuses = [answer.status for answer in stream]
        assert statuses == sorted(statuses), "nothing is accepted after the first refusal"
        assert set(statuses) == {200, 409}, "the race began before the gate"
        placed += [answer.body["bids"][0]["id"] for answer in stream if answer.status == 200]
    book = await cleared_book(client, seller, day)
    assert book["lv"] == [[41, "S", 400, 1000 * len(placed), len(placed)]]
    assert book["lv"] == await open_levels(client, seller, day=day)
    assert book["seq"] == len(placed) + 2, "the last events are the gate and the auction"
    assert not has_gaps(await log_of(connection))

    stepped_back = Clock(datetime.now(UTC) - timedelta(hours=2))
    for again in (
        client,
        await make_client(market={"gate_closure": "24:00"}),
        await make_client(clock=stepped_back, market={"gate_closure": "24:00"}),
    ):
        body = {"arr": [bid()], "deliveryDate": day.isoformat()}
        assert_refused(await call(again, "POST", PLACE, body, by=seller), 409)
        assert_refused(await call(again, "PATCH", f"/bids/dayahead/{placed[0]}", {"price": "5"}, by=seller), 409)
        assert_refused(await call(again, "DELETE", f"/bids/dayahead/{placed[0]}", by=seller), 409)
        unpinned = await call(again, "POST", PLACE, {"arr": [bid()]}, by=seller)
        assert unpinned.status == 200, unpinned
        assert unpinned.body["deliveryDate"] == (day + timedelta(days=1)).isoformat()
        now = (await call(again, "GET", f"/book/dayahead?deliveryDate={day}", by=seller)).body
        assert {**now, "gate": book["gate"]} == book


async def test_without_the_state_of_the_day_a_gate_that_moves_back_opens_it_again(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_long_way(monkeypatch)
    mutate(monkeypatch, "book/write", "state = $5", "state = CASE WHEN $5 = '' THEN $5 ELSE 'open' END")
    mutate(monkeypatch, "gate/close", "SET state = 'closed'", "SET state = 'open'")
    _, _, seller, day = await race_the_gate(make_client)
    later = await make_client(market={"gate_closure": "24:00"})
    body = {"arr": [bid()], "deliveryDate": day.isoformat()}
    assert (await call(later, "POST", PLACE, body, by=seller)).status == 200


async def held_over_the_gate(make_client: MakeClient, connection: Connection) -> int:
    """The status of a placement that begins before the gate, and gets the day's lock after it."""
    seller = await sign_up(await make_client())
    closure, day, at = gate_in(0.8)
    client = await make_client(market={"gate_closure": closure})
    body = {"arr": [bid()], "deliveryDate": day.isoformat()}
    assert (await call(client, "POST", PLACE, body, by=seller)).status == 200, "this machine is too slow for the test"
    holder = connection.transaction()
    await holder.start()
    await connection.execute("SELECT FROM delivery_days WHERE delivery_day = $1 FOR UPDATE", day)
    late = asyncio.create_task(call(client, "POST", PLACE, body, by=seller))
    async with asyncio.timeout(5):
        while not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            pass
    assert datetime.now(UTC) < at, "this machine is too slow for the test"
    await until(at)
    await holder.rollback()
    return (await late).status


@pytest.mark.parametrize("way", ["short", "long"])
async def test_the_clock_is_read_once_the_lock_is_held(
    way: str, make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "long":
        only_the_long_way(monkeypatch)
    assert await held_over_the_gate(make_client, connection) == 409


async def test_a_clock_that_is_read_when_the_transaction_begins_lets_a_late_bid_in(
    make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_long_way(monkeypatch)
    mutate(monkeypatch, "book/lock_day", "clock_timestamp() < $2", "now() < $2")
    assert await held_over_the_gate(make_client, connection) == 200


async def test_a_clock_that_the_short_way_reads_when_it_begins_lets_a_late_bid_in(
    make_client: MakeClient, connection: Connection
) -> None:
    await mutate_the_short_way(connection, ("clock_timestamp() >= gate_at", "statement_timestamp() >= gate_at"))
    assert await held_over_the_gate(make_client, connection) == 200
