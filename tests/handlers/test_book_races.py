"""Changes that race withdrawals and other writers: one order of events, and a book that is their sum."""

import asyncio
from typing import TypeAlias

import asyncpg
import pytest

from tests.answers import assert_refused, call
from tests.book_log import has_gaps, log_of, open_levels
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.handlers.test_book import checksum
from tests.mutants import without_the_key_of_the_log, without_the_lock_of_the_day

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def change_against_withdrawal(here: Client, there: Client, household: Household, bid_id: int) -> tuple[int, int]:
    """A change on one process and a withdrawal on another, at once, of one bid; both statuses."""
    changed, withdrawn = await asyncio.gather(
        call(here, "PATCH", f"/bids/dayahead/{bid_id}", {"price": "5"}, by=household),
        call(there, "DELETE", f"/bids/dayahead/{bid_id}", by=household),
    )
    if changed.status == 200:
        assert changed.body["seq"] < withdrawn.body["seq"], "a withdrawn bid takes no change"
    else:
        assert_refused(changed, 409)
    return changed.status, withdrawn.status


async def test_a_change_and_a_withdrawal_of_one_bid_have_one_order(
    make_client: MakeClient, connection: Connection
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    await place(there, household, bid("11:00", "7", "4"))
    for _ in range(15):
        bid_id = (await place(here, household, bid("10:00", "1", "4")))["bids"][0]["id"]
        assert await change_against_withdrawal(here, there, household, bid_id) in ((200, 200), (409, 200))
    assert not has_gaps(await log_of(connection))
    book = (await call(here, "GET", "/book/dayahead", by=household)).body
    assert book["lv"] == [[45, "S", 400, 7000, 1]] == await open_levels(here, household)
    assert book["crc"] == checksum(book["lv"])
    assert book["seq"] == (await log_of(connection))[-1][1]


async def test_without_the_locks_a_change_and_a_withdrawal_take_one_number(
    make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    bid_id = (await place(there, household, bid("10:00", "1", "4")))["bids"][0]["id"]
    await place(here, household, bid("11:00", "7", "4"))
    without_the_lock_of_the_day(monkeypatch)
    await without_the_key_of_the_log(connection)
    with pytest.raises(AssertionError, match="a withdrawn bid takes no change"):
        await change_against_withdrawal(here, there, household, bid_id)
    assert has_gaps(await log_of(connection))
    book = (await call(here, "GET", "/book/dayahead", by=household)).body
    assert book.get("lv") != await open_levels(here, household), "the book and the bids disagree"


async def test_writers_on_two_processes_make_one_log_without_gaps(
    make_client: MakeClient, connection: Connection
) -> None:
    clients = [await make_client(), await make_client()]
    households = [await sign_up(clients[0], kind) for kind in ("prosumer", "consumer", "prosumer")]

    async def trade(client: Client, household: Household, number: int) -> None:
        placed = await place(client, household, bid("10:00-10:45", "3", str(number)), bid("11:00", "1", "4"))
        first, second = placed["bids"][0]["id"], placed["bids"][-1]["id"]
        amended = await call(client, "PATCH", f"/bids/dayahead/{first}", {"volume": "2", "price": "4"}, by=household)
        withdrawn = await call(client, "DELETE", f"/bids/dayahead/{second}", by=household)
        assert placed["seq"] < amended.body["seq"] < withdrawn.body["seq"]

    await asyncio.gather(
        *(trade(client, household, number) for number in range(1, 4) for client in clients for household in households)
    )
    log = await log_of(connection)
    assert not has_gaps(log)
    book = (await call(clients[1], "GET", "/book/dayahead", by=households[0])).body
    assert book["seq"] == log[-1][1] == 18 * 6
    assert book["lv"] == await open_levels(clients[0], *households)
    assert book["crc"] == checksum(book["lv"])
