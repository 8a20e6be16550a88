"""GET /book/dayahead: the feed's snapshot, aggregated and anonymous."""

import struct
import zlib
from collections import defaultdict
from datetime import datetime
from typing import Any

from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.clock import IST, india_day
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up

BOOK = "/book/dayahead"
Level = list[Any]


async def book(client: Client, household: Household | None, query: str = "") -> Answer:
    return await call(client, "GET", f"{BOOK}{query}", by=household)


def checksum(levels: list[Level], slots: range | list[int] = range(1, 97)) -> int:
    """Rule 4 of the feed, written a second time: CRC-32 over the CRC-32s of the slots."""
    texts: dict[int, str] = defaultdict(str)
    for slot, side, price, volume, bids in sorted(levels, key=lambda level: (level[0], level[1] != "B", level[2])):
        texts[slot] += f"{side},{price},{volume},{bids};"
    words = [zlib.crc32(texts[slot].encode()) if slot in texts else 0 for slot in slots]
    return zlib.crc32(b"".join(struct.pack(">I", word) for word in words))


async def test_an_empty_book_is_a_whole_snapshot(client: Client) -> None:
    answer = await book(client, await sign_up(client))
    assert answer.status == 200
    assert set(answer.body) == {"t", "ch", "ep", "seq", "gate", "state", "ticks", "lv", "ind", "crc"}
    assert answer.body["t"] == "snap"
    assert answer.body["ch"] == f"book:{india_day(1)}"
    assert answer.body["seq"] == 0
    assert answer.body["state"] == "open"
    assert answer.body["ticks"] == {"price": "0.01", "volume": "0.001"}
    assert answer.body["lv"] == []
    assert answer.body["crc"] == checksum([])
    assert isinstance(answer.body["ep"], str)
    assert answer.body["ep"]
    gate = answer.body["gate"]
    assert gate.endswith("Z")
    midnight = datetime.fromisoformat(f"{india_day(1)}T00:00:00").replace(tzinfo=IST)
    assert datetime.fromisoformat(gate) == midnight, "tomorrow's gate closes when tomorrow begins in India"


async def test_bids_of_one_slot_side_and_price_are_one_level(client: Client) -> None:
    one, two, buyer = await sign_up(client), await sign_up(client), await sign_up(client, "consumer")
    await place(client, one, bid("10:00", "1.5", "4.25"), bid("10:00", "2", "4.25"), bid("10:00", "1", "10.5"))
    await place(client, two, bid("10:00", "0.001", "4.25"), bid("00:00", "7", "0"))
    await place(client, buyer, bid("10:00", "3", "4.25"), bid("10:00", "3", "9.99"), bid("23:45", "1", "10000"))
    answer = await book(client, one)
    assert answer.body["lv"] == [
        [1, "S", 0, 7000, 1],
        [41, "B", 425, 3000, 1],
        [41, "B", 999, 3000, 1],
        [41, "S", 425, 3501, 3],
        [41, "S", 1050, 1000, 1],
        [96, "B", 1_000_000, 1000, 1],
    ]
    assert answer.body["seq"] == 8
    assert answer.body["crc"] == checksum(answer.body["lv"])


async def test_the_checksum_is_that_of_a_worked_example() -> None:
    """The example computed by hand with zlib: this test's own formula must not be wrong together with the server's."""
    assert checksum([]) == zlib.crc32(bytes(4 * 96))
    one = zlib.crc32(b"B,425,120000,3;S,910,33700,1;")
    packed = bytes(4 * 11) + one.to_bytes(4, "big") + bytes(4 * 84)
    assert checksum([[12, "S", 910, 33700, 1], [12, "B", 425, 120000, 3]]) == zlib.crc32(packed)


async def test_the_book_names_nobody(client: Client) -> None:
    household = await sign_up(client)
    placed = await place(client, household, bid())
    response = await client.get(BOOK, headers=household.headers)
    text = await response.text()
    for secret in (household.phone, household.connection_id, "Asha", str(placed["bids"][0]["id"])):
        assert secret not in text


async def test_changes_and_withdrawals_show_at_once(client: Client) -> None:
    household = await sign_up(client)
    ids = [b["id"] for b in (await place(client, household, bid(volume="1"), bid(volume="2")))["bids"]]
    await call(client, "PATCH", f"/bids/dayahead/{ids[0]}", {"price": "5", "volume": "4"}, by=household)
    body = (await book(client, household)).body
    assert body["lv"] == [[41, "S", 425, 2000, 1], [41, "S", 500, 4000, 1]]
    await call(client, "DELETE", f"/bids/dayahead/{ids[1]}", by=household)
    body = (await book(client, household)).body
    assert body["lv"] == [[41, "S", 500, 4000, 1]], "a level without bids is gone"
    assert body["seq"] == 4
    assert body["crc"] == checksum(body["lv"])


async def test_every_day_has_a_book_of_its_own(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid())
    await place(client, household, bid(), bid(), deliveryDate=india_day(2))
    one = (await book(client, household, f"?deliveryDate={india_day(1)}")).body
    two = (await book(client, household, f"?deliveryDate={india_day(2)}")).body
    assert (one["seq"], two["seq"]) == (1, 2)
    assert (one["ch"], two["ch"]) == (f"book:{india_day(1)}", f"book:{india_day(2)}")
    assert one["ep"] != two["ep"]
    assert (await book(client, household)).body == one, "without a day it is the open one"
    past = await book(client, household, f"?deliveryDate={india_day(-1)}")
    assert past.status in (200, 404)


async def test_a_slot_can_be_asked_for_alone(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid("10:00"), bid("11:00"))
    whole = (await book(client, household)).body
    for same in ("10:00-10:15", "10:00", "41"):
        body = (await book(client, household, f"?timeslot={same}")).body
        assert body["lv"] == [[41, "S", 425, 1000, 1]]
        assert body["seq"] == whole["seq"]
        assert body["crc"] == checksum(body["lv"], [41])


async def test_the_indicative_price_is_that_of_the_auction(client: Client) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    await place(client, seller, bid("10:00", "1", "4"), bid("11:00", "1", "5"), bid("12:00", "2", "3"))
    await place(client, buyer, bid("10:00", "1", "5.01"), bid("11:00", "1", "4"), bid("12:00", "1", "7"))
    indicative = {slot: rest for slot, *rest in (await book(client, buyer)).body["ind"] if rest[0] is not None}
    # Slot 41: the price lies between 4.00 and 5.01, its middle 450.5 rounded down. Slot 45 does not cross.
    # Slot 49: the seller is not wholly filled, so lo = hi = 3.00.
    assert indicative == {41: [450, 1000], 49: [300, 1000]}


async def test_a_query_that_cannot_be_read_is_refused(client: Client) -> None:
    household = await sign_up(client)
    for name, values in (("deliveryDate", ("soon", "2026-02-30", "%00")), ("timeslot", ("97", "10:07", "%00"))):
        for value in values:
            assert_invalid(await book(client, household, f"?{name}={value}"), name)


async def test_the_book_needs_a_token_unless_it_is_public(make_client: MakeClient) -> None:
    private, public = await make_client(), await make_client(market={"public_book": True})
    household = await sign_up(private)
    await place(private, household, bid())
    assert_refused(await book(private, None), 401, "Invalid token")
    shown = await book(public, None)
    assert shown.status == 200
    assert shown.body == (await book(private, household)).body
    assert_refused(await call(public, "GET", "/bids/dayahead"), 401, "Invalid token")
    assert_refused(await call(public, "GET", "/me"), 401, "Invalid token")
    assert_refused(await call(public, "POST", "/placebid/dayahead", {"arr": [bid()]}), 401, "Invalid token")


async def test_a_day_that_cannot_be_bid_for_yet_has_no_book(client: Client) -> None:
    household = await sign_up(client)
    assert (await call(client, "GET", f"/book/dayahead?deliveryDate={india_day(7)}", by=household)).status == 200
    assert_invalid(
        await call(client, "GET", f"/book/dayahead?deliveryDate={india_day(8)}", by=household), "deliveryDate"
    )
