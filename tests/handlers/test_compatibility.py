"""What the original web client of the energy document also calls."""

from datetime import time

import pytest

from storage import results as stored_results
from tests.answers import assert_refused, call
from tests.cleared import Connection, clear
from tests.clock import Clock, india_at, india_day
from tests.conftest import Client, MakeClient
from tests.factories import PASSWORD, bid, place, sign_up
from tests.handlers.test_setup import DOCUMENTED


async def test_the_status_of_the_set_up_is_a_boolean(client: Client) -> None:
    household = await sign_up(client)
    assert (await call(client, "GET", "/setupstatus", by=household)).body == {"status": False}
    assert (await call(client, "POST", "/setup", DOCUMENTED, by=household)).status == 200
    assert (await call(client, "GET", "/setupstatus", by=household)).body == {"status": True}


async def test_the_data_of_a_user_are_account_and_set_up_without_the_password(client: Client) -> None:
    household = await sign_up(client)
    empty = await call(client, "GET", "/userData", by=household)
    assert empty.status == 200, "also before the set-up"
    await call(client, "POST", "/setup", DOCUMENTED, by=household)
    answer = await call(client, "GET", "/userData", by=household)
    assert set(answer.body) == {"message"}
    shown = list(map(str, answer.body["message"].values()))
    for value in (household.connection_id, "Asha", "Bengaluru", "560001", "Tata Power Solar", "2022"):
        assert value in shown, value
    assert any(household.phone in value for value in shown)
    for shown_body in (empty.body, answer.body):
        assert not [name for name in shown_body["message"] if "password" in name.lower() or "hash" in name.lower()]
        assert "$2b$" not in str(shown_body)
        assert PASSWORD not in str(shown_body)


async def test_transactions_are_the_trades_of_the_delivery_day_that_is_today(
    client: Client, make_client: MakeClient, connection: Connection
) -> None:
    seller, buyer, other = await sign_up(client), await sign_up(client, "consumer"), await sign_up(client)
    for household in (seller, buyer, other):
        empty = await call(client, "GET", "/getTransactions", by=household)
        assert (empty.status, empty.body) == (200, {"transactions": []})
    sold = (await place(client, seller, bid("10:00", "2.5"), bid("10:00", "1"), bid("23:45", "1")))["bids"]
    bought = (await place(client, buyer, bid("10:00", "9", "9"), bid("23:45", "1", "9")))["bids"]
    await place(client, other, bid("12:00", "9", "9"))
    given = [2500, 750, 1000, 3250, 1000]
    filled = {one["id"]: volume for one, volume in zip(sold + bought, given, strict=True)}
    await clear(connection, india_day(1), {41: (437, 400, 500), 96: (500, 425, 900)}, filled)

    assert (await call(client, "GET", "/getTransactions", by=seller)).body == {"transactions": []}, "not of today"
    tomorrow = await make_client(clock=Clock(india_at(1, time(0))))
    answer = await call(tomorrow, "GET", "/getTransactions", by=seller)
    assert answer.status == 200
    assert answer.body == {
        "transactions": [
            {"TimeSlot": "10:00-10:15", "Volume": "2.500", "Price": "4.37"},
            {"TimeSlot": "10:00-10:15", "Volume": "0.750", "Price": "4.37"},
            {"TimeSlot": "23:45-24:00", "Volume": "1.000", "Price": "5.00"},
        ]
    }
    theirs = await call(tomorrow, "GET", "/getTransactions", by=buyer)
    assert [one["Volume"] for one in theirs.body["transactions"]] == ["3.250", "1.000"]
    assert (await call(tomorrow, "GET", "/getTransactions", by=other)).body == {"transactions": []}


async def test_all_transactions_come_at_once_however_many(
    client: Client, make_client: MakeClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_results, "_PAGE", 2)
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    sold = (await place(client, seller, bid("10:00-11:00", "4")))["bids"]
    bought = (await place(client, buyer, bid("10:00-11:00", "4", "5")))["bids"]
    prices = dict.fromkeys(range(41, 45), (430, 425, 500))
    await clear(connection, india_day(1), prices, {one["id"]: 1000 for one in sold + bought})
    tomorrow = await make_client(clock=Clock(india_at(1, time(23, 59))))
    body = (await call(tomorrow, "GET", "/getTransactions", by=seller)).body
    assert [one["TimeSlot"] for one in body["transactions"]] == [one["timeslot"] for one in sold]


async def test_nothing_of_it_is_readable_without_a_token(client: Client) -> None:
    for path in ("/setupstatus", "/userData", "/getTransactions"):
        assert_refused(await call(client, "GET", path), 401, "Invalid token")
