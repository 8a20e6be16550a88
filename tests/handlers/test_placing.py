"""POST /placebid/dayahead, line by line of the published document and the rules around it."""

from datetime import time, timedelta
from decimal import Decimal
from typing import Any

from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.clock import Clock, india_at, india_day
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, new_phone, place, sign_up

PLACE = "/placebid/dayahead"
MOST_TICKS = 2**53 - 1


async def offer(client: Client, household: Household, body: Any) -> Answer:
    return await call(client, "POST", PLACE, body, by=household)


async def raw_offer(client: Client, household: Household, one: str, **headers: str) -> Answer:
    """A placement of one bid whose JSON is written by hand."""
    return await call(client, "POST", PLACE, data=f'{{"arr":[{one}]}}'.encode(), by=household, headers=headers)


async def own(client: Client, household: Household, day: str | None = None) -> list[dict[str, Any]]:
    """The account's bids of a day."""
    query = f"?deliveryDate={day}" if day else ""
    answer = await call(client, "GET", f"/bids/dayahead{query}", by=household)
    assert answer.status == 200, answer
    bids: list[dict[str, Any]] = answer.body["bids"]
    return bids


async def levels(client: Client, household: Household, day: str | None = None) -> list[list[Any]]:
    """The book's levels of a day."""
    query = f"?deliveryDate={day}" if day else ""
    answer = await call(client, "GET", f"/book/dayahead{query}", by=household)
    assert answer.status == 200, answer
    found: list[list[Any]] = answer.body["lv"]
    return found


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


async def test_a_volume_is_a_positive_multiple_of_its_tick_up_to_the_largest(client: Client) -> None:
    household = await sign_up(client)
    for right in ("0.001", "1000000", "2.500", 1, 2.5, "999999.999"):
        assert (await offer(client, household, {"arr": [bid(volume=right)]})).status == 200, right  # type: ignore[arg-type]  # a JSON number
    wrong: tuple[Any, ...] = (
        "0",
        "0.000",
        "-1",
        "-0",
        "0.0001",
        "2.5001",
        "1000000.001",
        "1000001",
        0,
        -1,
        1e-9,
        2**70,
    )
    for value in (*wrong, -(2**70), str(2**70), None, True, False, [], {}, ["1"], {"$gt": 0}):
        errors = assert_invalid(await offer(client, household, {"arr": [{**bid(), "volume": value}]}))
        assert "volume" in errors[0], (value, errors)
    assert len(await own(client, household)) == 6


async def test_a_price_is_a_multiple_of_its_tick_between_floor_and_cap(client: Client) -> None:
    household = await sign_up(client)
    for right in ("0", "0.01", "10000", "10000.00", "4.250", 4, 4.25, 0):
        assert (await offer(client, household, {"arr": [{**bid(), "price": right}]})).status == 200, right
    wrong: tuple[Any, ...] = ("-0.01", "10000.01", "10001", "0.001", "50.005", "4.255", -1, 10001, 4.255, 2**70)
    for value in (*wrong, None, True, [], {}, "", "free"):
        errors = assert_invalid(await offer(client, household, {"arr": [{**bid(), "price": value}]}))
        assert "price" in errors[0], (value, errors)
    assert len(await own(client, household)) == 8


async def test_minus_zero_is_no_price(client: Client) -> None:
    household = await sign_up(client)
    for minus_zero in ('"-0"', '"-0.00"', "-0", "-0.0"):
        assert_invalid(await raw_offer(client, household, f'{{"timeslot":1,"volume":1,"price":{minus_zero}}}'), "price")


async def test_floor_cap_and_ticks_are_settings(make_client: MakeClient) -> None:
    client = await make_client(
        market={
            "floor": Decimal("-10"),
            "cap": Decimal("20"),
            "price_tick": Decimal("0.05"),
            "volume_tick": Decimal("0.1"),
            "max_volume": Decimal("50"),
        }
    )
    household = await sign_up(client)
    for price in ("-10", "-0.05", "0", "19.95", "20"):
        placed = await place(client, household, bid(price=price, volume="50"))
        assert Decimal(placed["bids"][0]["price"]) == Decimal(price)
    for price in ("-10.05", "20.05", "0.01", "0.07"):
        assert_invalid(await offer(client, household, {"arr": [bid(price=price)]}), "price")
    for volume in ("50.1", "0.05", "0.001"):
        assert_invalid(await offer(client, household, {"arr": [bid(volume=volume)]}), "volume")
    book = (await call(client, "GET", "/book/dayahead", by=household)).body
    assert {name: Decimal(tick) for name, tick in book["ticks"].items()} == {
        "price": Decimal("0.05"),
        "volume": Decimal("0.1"),
    }
    assert [level[2] for level in book["lv"]] == [-200, -1, 0, 399, 400]


async def test_what_is_no_plain_decimal_is_refused(client: Client) -> None:
    household = await sign_up(client)
    texts = (
        "NaN",
        "nan",
        "sNaN",
        "Infinity",
        "-inf",
        "1e999",
        "1E-999",
        "1_000",
        "१",
        "１",
        "٤.٢",
        "0x10",
        "1,5",
        "4.2.5",
    )
    for text in (*texts, "", " ", "+-1", "--1", "4 INR", "½", "²", "1\n", "1\x00", "1; DROP TABLE bids", "9" * 5000):
        for name in ("volume", "price"):
            errors = assert_invalid(await offer(client, household, {"arr": [{**bid(), name: text}]}))
            assert name in errors[0]
    for number in ("1e999", "-1e999", "1e-999", "9" * 5000, "1e400000000", "0.0000000000000000000000001"):
        for name in ("volume", "price", "timeslot"):
            one = '"timeslot":1,"volume":1,"price":1'.replace(f'"{name}":1', f'"{name}":{number}')
            assert_invalid(await raw_offer(client, household, f"{{{one}}}"))
    for number in ("NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1"):
        answer = await raw_offer(client, household, f'{{"timeslot":1,"volume":{number},"price":1}}')
        assert answer.status == 400, (number, answer)
        assert answer.message
    assert await own(client, household) == []


async def test_decimals_are_exact_as_text_and_as_json_numbers(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid(volume="0.1"), bid(volume="0.2"))
    assert await levels(client, household) == [[41, "S", 425, 300, 2]]
    await place(client, household, *[bid("11:00", "0.333", "0.07")] * 3)
    assert await levels(client, household) == [[41, "S", 425, 300, 2], [45, "S", 7, 999, 3]]
    answer = await raw_offer(client, household, '{"timeslot":49,"volume":1.005,"price":1.15}')
    assert answer.status == 200, "1.005 and 1.15 have no exact binary float"
    assert answer.body["bids"][0]["volume"].rstrip("0") == "1.005"
    assert (await levels(client, household))[-1] == [49, "S", 115, 1005, 1]


async def test_digits_beyond_a_binary_float_are_seen_and_refused_never_rounded(client: Client) -> None:
    household = await sign_up(client)
    for excess in ("4.25000000000000001", "123456789.123456789", "0.100000000000000001", "4.2500000000000000000001"):
        for name in ("volume", "price"):
            as_text = '"timeslot":1,"volume":1,"price":1'.replace(f'"{name}":1', f'"{name}":"{excess}"')
            for one in (as_text, as_text.replace(f'"{excess}"', excess)):
                errors = assert_invalid(await raw_offer(client, household, f"{{{one}}}"))
                assert name in errors[0]
    for same in ("4.250000000000000000", '"4.250000000000000000"'):
        answer = await raw_offer(client, household, f'{{"timeslot":1,"volume":{same},"price":{same}}}')
        assert answer.status == 200, (same, answer)
        assert Decimal(answer.body["bids"][0]["price"]) == Decimal("4.25")


async def test_volumes_of_sixteen_digits_stay_exact(make_client: MakeClient) -> None:
    client = await make_client(market={"max_volume": Decimal("9007199254740.991"), "cap": Decimal("90071992547409.91")})
    household = await sign_up(client)
    for slot, shown in ((1, "9007199254740.991"), (2, '"9007199254740.991"')):
        answer = await raw_offer(client, household, f'{{"timeslot":{slot},"volume":{shown},"price":90071992547409.91}}')
        assert answer.status == 200, answer
        assert answer.body["bids"][0]["volume"] == "9007199254740.991"
        assert answer.body["bids"][0]["price"] == "90071992547409.91"
    assert await levels(client, household) == [[slot, "S", MOST_TICKS, MOST_TICKS, 1] for slot in (1, 2)]
    for beyond in ("9007199254740.992", '"9007199254740.992"', "123456789012345.678", '"123456789012345.678"'):
        assert_invalid(await raw_offer(client, household, f'{{"timeslot":3,"volume":{beyond},"price":1}}'), "volume")


async def test_a_levels_total_stays_within_what_a_browser_can_count(make_client: MakeClient) -> None:
    client = await make_client(market={"max_volume": Decimal("9007199254740.991")})
    one, other = await sign_up(client), await sign_up(client)
    most = bid(volume="9007199254740.990", price="4")
    first = (await place(client, one, most))["bids"][0]["id"]
    assert (await offer(client, other, {"arr": [bid(volume="0.002", price="4")]})).status == 400
    assert_invalid(await offer(client, other, {"arr": [bid(volume="0.001", price="4")] * 2}))
    assert (await offer(client, other, {"arr": [bid(volume="0.001", price="4")]})).status == 200
    higher = (await place(client, other, bid(volume="0.002", price="5")))["bids"][0]["id"]
    moved = await call(client, "PATCH", f"/bids/dayahead/{higher}", {"price": "4"}, by=other)
    assert moved.status == 400, "a change too can exceed the total"
    assert await levels(client, one) == [[41, "S", 400, MOST_TICKS, 2], [41, "S", 500, 2, 1]]
    assert (await call(client, "DELETE", f"/bids/dayahead/{first}", by=one)).status == 200
    assert (await offer(client, other, {"arr": [bid(volume="0.002", price="4")]})).status == 200


async def test_a_slot_is_written_as_its_times_its_start_or_its_number(client: Client) -> None:
    household = await sign_up(client)
    for given, shown in (
        ("10:00-10:15", "10:00-10:15"),
        ("10:00", "10:00-10:15"),
        ("41", "10:00-10:15"),
        (41, "10:00-10:15"),
        (1, "00:00-00:15"),
        ("00:00", "00:00-00:15"),
        ("1", "00:00-00:15"),
    ):
        placed = await place(client, household, {**bid(), "timeslot": given})  # type: ignore[dict-item]  # a JSON number
        assert [b["timeslot"] for b in placed["bids"]] == [shown], given
    last = set()
    for given in ("23:45-00:00", "23:45-24:00", "23:45", 96, "96"):
        placed = await place(client, household, {**bid(), "timeslot": given})  # type: ignore[dict-item]  # a JSON number
        last |= {b["timeslot"] for b in placed["bids"]}
    assert len(last) == 1
    assert last <= {"23:45-00:00", "23:45-24:00"}
    assert {level[0] for level in await levels(client, household)} == {1, 41, 96}


async def test_an_unknown_slot_is_refused_and_never_becomes_another(client: Client) -> None:
    household = await sign_up(client)
    texts = (
        "10:07",
        "10:00-10:07",
        "10:05-10:20",
        "10:00-10:00",
        "11:00-10:00",
        "24:00",
        "25:00",
        "10:60",
        "0",
        "97",
        "-1",
    )
    more = (
        "1.5",
        "４１",
        "१",
        "",
        "noon",
        "10:00-",
        "-10:15",
        "10:00–10:15",
        "10:00-10:15-10:30",
        "10:00\n",
        "10.00",
        "4e1",
    )
    values: tuple[Any, ...] = (0, 97, -1, 1.5, 2**70, None, True, [], {}, ["10:00"])
    for wrong in (*texts, *more, *values):
        errors = assert_invalid(await offer(client, household, {"arr": [{**bid(), "timeslot": wrong}]}))
        assert "timeslot" in errors[0], (wrong, errors)
    assert await levels(client, household) == []


async def test_a_longer_range_is_the_same_price_in_each_slot_with_the_volume_split(client: Client) -> None:
    household = await sign_up(client)
    placed = await place(client, household, bid("10:00-11:00", "1", "4.25"))
    assert [b["timeslot"] for b in placed["bids"]] == ["10:00-10:15", "10:15-10:30", "10:30-10:45", "10:45-11:00"]
    assert {Decimal(b["volume"]) for b in placed["bids"]} == {Decimal("0.25")}
    assert {Decimal(b["price"]) for b in placed["bids"]} == {Decimal("4.25")}


async def test_a_volume_that_does_not_divide_is_split_to_the_tick_with_nothing_lost(client: Client) -> None:
    household = await sign_up(client)
    for slots, timeslot, volume in (
        (4, "10:00-11:00", "1.001"),
        (4, "10:00-11:00", "0.999"),
        (3, "10:00-10:45", "1"),
        (96, "00:00-24:00", "100.007"),
        (96, "00:00-24:00", "0.096"),
        (2, "23:30-00:00", "0.003"),
    ):
        placed = await place(client, household, bid(timeslot, volume))
        volumes = [Decimal(b["volume"]) for b in placed["bids"]]
        assert len(volumes) == slots, timeslot
        assert sum(volumes) == Decimal(volume)
        assert max(volumes) - min(volumes) <= Decimal("0.001")
        assert min(volumes) > 0
    assert_invalid(await offer(client, household, {"arr": [bid("10:00-11:00", "0.003")]}))


async def test_a_delivery_day_may_be_pinned_from_tomorrow_to_the_last_day_ahead(make_client: MakeClient) -> None:
    client = await make_client(market={"days_ahead": 3})
    household = await sign_up(client)
    for ahead, status in ((-400, 409), (-1, 409), (0, 409), (1, 200), (2, 200), (3, 200), (4, 400), (4000, 400)):
        body = {"arr": [bid()], "deliveryDate": india_day(ahead)}
        answer = await offer(client, household, body)
        assert answer.status == status, (ahead, answer)
        if status == 200:
            assert answer.body["deliveryDate"] == india_day(ahead)
            assert len(await own(client, household, india_day(ahead))) == 1
        elif status == 409:
            assert_refused(answer, 409)
        else:
            assert_invalid(answer, "deliveryDate")


async def test_a_day_that_is_none_is_refused(client: Client) -> None:
    household = await sign_up(client)
    wrong = (
        "tomorrow",
        "2026-02-30",
        "23-11-2026",
        "2026-1-1",
        "20261123",
        "२०२६-११-२३",
        "2026-11-23T00:00:00Z",
        "0000-00-00",
    )
    more: tuple[Any, ...] = ("9999-12-31", "-0001-01-01", 20261123, True, [], {}, "'; DROP TABLE bids;--")
    for day in (*wrong, *more):
        assert_invalid(await offer(client, household, {"arr": [bid()], "deliveryDate": day}), "deliveryDate")


async def test_the_day_and_the_bids_are_both_named_when_both_are_wrong(client: Client) -> None:
    household = await sign_up(client)
    body = {"arr": [bid(volume="0"), bid(price="-1")], "deliveryDate": "soon"}
    assert_invalid(await offer(client, household, body), "volume", "price", "deliveryDate")


async def test_the_delivery_day_changes_at_midnight_in_india(make_client: MakeClient) -> None:
    clock = Clock(india_at(2, time(23, 59, 59, 999_000)))
    client, real = await make_client(clock=clock, market={"days_ahead": 4}), await make_client()
    household = await sign_up(real)

    async def last_pinned(ahead: int) -> list[int]:
        """The statuses of pinning that day and the one after it."""
        days = [india_day(ahead), india_day(ahead + 1)]
        return [(await offer(client, household, {"arr": [bid()], "deliveryDate": day})).status for day in days]

    before = await offer(client, household, {"arr": [bid()]})
    assert before.body["deliveryDate"] == india_day(3)
    assert await last_pinned(6) == [200, 400]
    clock.move(milliseconds=1)
    after = await offer(client, household, {"arr": [bid()]})
    assert after.body["deliveryDate"] == india_day(4)
    assert (before.body["seq"], after.body["seq"]) == (1, 1)
    assert await last_pinned(7) == [200, 400]
    assert (await call(client, "GET", "/book/dayahead", by=household)).body["ch"] == f"book:{india_day(4)}"


async def test_a_gate_before_midnight_moves_placements_to_the_day_after(make_client: MakeClient) -> None:
    clock = Clock(india_at(2, time(10, 29, 59)))
    client = await make_client(clock=clock, market={"gate_closure": "10:30"})
    household = await sign_up(await make_client())
    assert (await place(client, household, bid()))["deliveryDate"] == india_day(3)
    clock.move(seconds=1)
    assert (await place(client, household, bid()))["deliveryDate"] == india_day(4)
    clock.at = india_at(3, time(0))
    assert (await place(client, household, bid()))["deliveryDate"] == india_day(4)
    clock.at += timedelta(hours=10, minutes=30)
    assert (await place(client, household, bid()))["deliveryDate"] == india_day(5)


async def test_an_account_has_a_bounded_number_of_open_bids_a_day(make_client: MakeClient) -> None:
    client = await make_client(market={"max_open_bids": 3})
    one, other = await sign_up(client), await sign_up(client)
    placed = await place(client, one, bid(), bid())
    assert (await offer(client, one, {"arr": [bid(), bid()]})).status == 409
    assert len(await own(client, one)) == 2, "all or nothing"
    await place(client, one, bid())
    too_many = await offer(client, one, {"arr": [bid()]})
    assert_refused(too_many, 409)
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
