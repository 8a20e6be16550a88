"""POST /placebid/dayahead, line by line of the published document and the rules around it."""

from decimal import Decimal
from typing import Any

from tests.answers import assert_invalid, assert_refused, call
from tests.clock import india_day
from tests.conftest import Client, MakeClient
from tests.factories import bid, new_phone, place, sign_up
from tests.offers import PLACE, levels, offer, own


async def test_a_bid_is_placed_as_the_document_says(client: Client) -> None:
    household = await sign_up(client)
    answer = await offer(client, household, {"arr": [{"timeslot": "10:00-10:15", "volume": "2.5", "price": "4.25"}]})
    assert answer.status == 200, answer
    assert set(answer.body) == {"message", "deliveryDate", "seq", "bids"}
    assert answer.body["message"] == "Bid placed successfully"
    assert answer.body["deliveryDate"] == india_day(1)
    assert answer.body["seq"] == 1
    (placed,) = answer.body["bids"]
    assert placed["timeslot"] == "10:00-10:15"
    assert placed["id"]
    for name, value in (("volume", "2.5"), ("price", "4.25")):
        assert isinstance(placed[name], str)
        assert Decimal(placed[name]) == Decimal(value)
    listed = await own(client, household)
    assert [listed[0][name] for name in ("id", "volume", "price")] == [
        placed[name] for name in ("id", "volume", "price")
    ], "a 200 means that the bid is kept"


async def test_bids_are_numbered_by_one_sequence_without_gaps(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    assert (await place(client, seller, bid(), bid("11:00"), bid("12:00")))["seq"] == 3
    assert (await place(client, buyer, bid()))["seq"] == 4
    assert (await place(client, seller, bid("00:00-24:00", "96")))["seq"] == 100
    assert (await place(client, seller, bid(), deliveryDate=india_day(2)))["seq"] == 1


async def test_a_prosumer_sells_and_a_consumer_buys_whatever_the_request_says(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    lie: dict[str, Any] = {
        "side": "buy",
        "id": 99,
        "account_id": 1,
        "accountId": 1,
        "status": "cleared",
        "filledVolume": "9",
    }
    placed = await place(client, seller, {**bid(price="4"), **lie}, **lie)
    assert placed["bids"][0]["id"] != 99
    await place(client, buyer, {**bid(price="5"), **lie, "side": "sell"}, side="sell", accountType="prosumer")
    assert await levels(client, buyer) == [[41, "B", 500, 1000, 1], [41, "S", 400, 1000, 1]]
    for household in (seller, buyer):
        (kept,) = await own(client, household)
        assert kept["status"] == "open"
        assert Decimal(kept["filledVolume"]) == 0


async def test_what_stands_beside_arr_fills_what_its_objects_leave_out(client: Client) -> None:
    household = await sign_up(client)
    answer = await offer(
        client,
        household,
        {
            "arr": [{"timeslot": "10:00"}, {"timeslot": "11:00", "price": "7"}, {"volume": "3"}, {}],
            "timeslot": "12:00",
            "volume": "2",
            "price": "4.25",
        },
    )
    assert answer.status == 200, answer
    assert [(b["timeslot"], Decimal(b["volume"]), Decimal(b["price"])) for b in answer.body["bids"]] == [
        ("10:00-10:15", Decimal(2), Decimal("4.25")),
        ("11:00-11:15", Decimal(2), Decimal(7)),
        ("12:00-12:15", Decimal(3), Decimal("4.25")),
        ("12:00-12:15", Decimal(2), Decimal("4.25")),
    ]


async def test_timeslot_volume_and_price_without_arr_are_one_bid(client: Client) -> None:
    household = await sign_up(client)
    answer = await offer(client, household, {"timeslot": "10:00-10:15", "volume": "2.5", "price": "4.25"})
    assert answer.status == 200, answer
    assert len(answer.body["bids"]) == 1
    assert answer.body["bids"][0]["timeslot"] == "10:00-10:15"


async def test_one_bad_bid_places_none_and_every_bad_one_is_named_by_its_index(client: Client) -> None:
    household = await sign_up(client)
    answer = await offer(
        client,
        household,
        {"arr": [bid(), bid(volume="-1"), bid("10:00"), bid("25:00"), bid(price="no"), {"timeslot": "1"}]},
    )
    errors = assert_invalid(answer)
    for index in (1, 3, 4, 5):
        assert any(str(index) in error.split(":")[0] for error in errors), (index, errors)
    for index in (0, 2):
        assert not any(f"[{index}]" in error for error in errors), (index, errors)
    assert await own(client, household) == []
    assert (await place(client, household, bid()))["seq"] == 1, "refused bids take no number"


async def test_arr_is_an_array_of_objects_with_at_least_one(client: Client) -> None:
    household = await sign_up(client)
    values: tuple[Any, ...] = ([], {}, "10:00", 5, True, [[]], [None], ["10:00"], [1], [bid(), None])
    for wrong in values:
        assert_invalid(await offer(client, household, {"arr": wrong}))
    assert_invalid(await offer(client, household, {}))
    assert await own(client, household) == []


async def test_a_request_has_a_bounded_number_of_bids_after_ranges_are_split(make_client: MakeClient) -> None:
    client = await make_client(market={"max_bids_per_request": 8})
    household = await sign_up(client)
    assert len((await place(client, household, bid("10:00-12:00", "8")))["bids"]) == 8
    assert_invalid(await offer(client, household, {"arr": [bid("10:00-12:00", "8"), bid()]}))
    assert_invalid(await offer(client, household, {"arr": [bid()] * 9}))


async def test_an_account_has_a_bounded_number_of_open_bids_a_day(make_client: MakeClient) -> None:
    client = await make_client(market={"max_open_bids": 3})
    one, other = await sign_up(client), await sign_up(client)
    placed = await place(client, one, bid(), bid())
    assert (await offer(client, one, {"arr": [bid(), bid()]})).status == 400
    assert len(await own(client, one)) == 2, "all or nothing"
    await place(client, one, bid())
    too_many = await offer(client, one, {"arr": [bid()]})
    assert_invalid(too_many, "open bids")
    await place(client, other, bid())
    await place(client, one, bid(), deliveryDate=india_day(2))
    withdrawn = await call(client, "DELETE", f"/bids/dayahead/{placed['bids'][0]['id']}", by=one)
    assert withdrawn.status == 200
    await place(client, one, bid())


async def test_the_two_accounts_of_a_household_may_trade_with_each_other(client: Client) -> None:
    phone = new_phone()
    seller, buyer = await sign_up(client, "prosumer", phone), await sign_up(client, "consumer", phone)
    await place(client, seller, bid(price="4"))
    await place(client, buyer, bid(price="5"))
    assert len(await levels(client, buyer)) == 2


async def test_placing_needs_a_token(client: Client) -> None:
    assert_refused(await call(client, "POST", PLACE, {"arr": [bid()]}), 401, "Invalid token")
