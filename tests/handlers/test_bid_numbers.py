"""Prices and volumes of bids: exact decimals in whole ticks, and nothing else."""

from decimal import Decimal
from typing import Any

from tests.answers import assert_invalid, call
from tests.conftest import Client, MakeClient
from tests.factories import bid, place, sign_up
from tests.offers import levels, offer, own, raw_offer

MOST_TICKS = 2**53 - 1


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
