"""GET /bids/dayahead, and PATCH and DELETE of one bid: an account's own bids, and nobody else's."""

from decimal import Decimal
from typing import Any

import asyncpg

from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.cleared import Connection, clear
from tests.clock import india_day
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up

BIDS = "/bids/dayahead"


async def amend(client: Client, household: Household, bid_id: Any, **changed: Any) -> Answer:
    return await call(client, "PATCH", f"{BIDS}/{bid_id}", changed, by=household)


async def withdraw(client: Client, household: Household, bid_id: Any) -> Answer:
    return await call(client, "DELETE", f"{BIDS}/{bid_id}", by=household)


async def listed(client: Client, household: Household, query: str = "") -> list[dict[str, Any]]:
    answer = await call(client, "GET", f"{BIDS}{query}", by=household)
    assert answer.status == 200, answer
    assert set(answer.body) == {"bids", "next"}
    bids: list[dict[str, Any]] = answer.body["bids"]
    return bids


async def book(client: Client, household: Household) -> dict[str, Any]:
    body: dict[str, Any] = (await call(client, "GET", "/book/dayahead", by=household)).body
    return body


async def test_own_bids_are_listed_with_all_that_is_known_of_them(client: Client) -> None:
    household = await sign_up(client)
    assert await listed(client, household) == []
    placed = await place(client, household, bid("10:00", "2.5", "4.25"), bid("11:00", "1", "3"))
    bids = await listed(client, household)
    assert {b["id"] for b in bids} == {b["id"] for b in placed["bids"]}
    first = next(b for b in bids if b["id"] == placed["bids"][0]["id"])
    assert first["timeslot"] == "10:00-10:15"
    assert (Decimal(first["volume"]), Decimal(first["price"])) == (Decimal("2.5"), Decimal("4.25"))
    assert first["status"] == "open"
    assert Decimal(first["filledVolume"]) == 0
    assert first["clearingPrice"] is None


async def test_an_account_that_is_gone_places_nothing(
    client: Client, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """In the instant before its tokens are revoked everywhere."""
    household, other = await sign_up(client), await sign_up(client)
    await connection.execute("DELETE FROM account_feeds WHERE account_id = (SELECT min(id) FROM accounts)")
    assert_refused(
        await call(client, "POST", "/placebid/dayahead", {"arr": [bid()]}, by=household), 401, "Invalid token"
    )
    assert (await place(client, other, bid()))["seq"] == 1


async def test_the_list_can_be_narrowed_to_a_day_and_a_slot(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid("10:00"), bid("11:00"))
    await place(client, household, bid("10:00"), deliveryDate=india_day(2))
    assert len(await listed(client, household)) == 2, "without a day it is the open one"
    assert len(await listed(client, household, f"?deliveryDate={india_day(1)}")) == 2
    assert len(await listed(client, household, f"?deliveryDate={india_day(2)}")) == 1
    for same in ("10:00-10:15", "10:00", "41"):
        assert [b["timeslot"] for b in await listed(client, household, f"?timeslot={same}")] == ["10:00-10:15"]
    assert await listed(client, household, f"?deliveryDate={india_day(2)}&timeslot=45") == []
    assert await listed(client, household, f"?deliveryDate={india_day(-30)}") == []


async def test_a_query_that_cannot_be_read_is_refused(client: Client) -> None:
    household = await sign_up(client)
    for name, wrong in (
        ("deliveryDate", ("soon", "2026-02-30", "%00", "'%20OR%201=1--", "2026-11-23%0d%0aX-Evil:%201")),
        ("timeslot", ("97", "0", "10:07", "-1", "%00", "1%20OR%201=1", "१")),
        ("limit", ("0", "-1", "x", "1e3", "99999999999999999999", "%00", "१")),
        ("after", ("-1", "x", "99999999999999999999", "%00")),
    ):
        for value in wrong:
            assert_invalid(await call(client, "GET", f"{BIDS}?{name}={value}", by=household), name)
    both = await call(client, "GET", f"{BIDS}?deliveryDate=soon&timeslot=97", by=household)
    assert_invalid(both, "deliveryDate", "timeslot")


async def test_the_list_comes_in_pages_that_hold_every_bid_once(client: Client) -> None:
    household, other = await sign_up(client), await sign_up(client)
    for _ in range(3):
        await place(client, household, bid("10:00-11:00", "4"))
        await place(client, other, bid("10:00-10:30", "4"))
    whole = [b["id"] for b in await listed(client, household)]
    assert len(set(whole)) == 12
    seen, after = [], ""
    for _ in range(20):
        page = (await call(client, "GET", f"{BIDS}?limit=5{after}", by=household)).body
        assert len(page["bids"]) <= 5
        seen += [b["id"] for b in page["bids"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == whole


async def test_a_price_and_a_volume_are_changed_alone_or_together(client: Client) -> None:
    household = await sign_up(client)
    one = (await place(client, household, bid(volume="2", price="4")))["bids"][0]["id"]
    steps: tuple[tuple[dict[str, Any], str, str], ...] = (
        ({"price": "5"}, "2", "5"),
        ({"volume": "3"}, "3", "5"),
        ({"price": 4.5, "volume": 1}, "1", "4.5"),
    )
    for seq, (changed, volume, price) in enumerate(steps, start=2):
        answer = await amend(client, household, one, **changed)
        assert answer.status == 200, answer
        assert set(answer.body) == {"message", "seq", "bid"}
        assert answer.message
        assert answer.body["seq"] == seq
        assert answer.body["bid"]["id"] == one
        assert Decimal(answer.body["bid"]["volume"]) == Decimal(volume)
        assert Decimal(answer.body["bid"]["price"]) == Decimal(price)
        assert await listed(client, household) == [answer.body["bid"]]
    assert (await book(client, household))["lv"] == [[41, "S", 450, 1000, 1]]


async def test_a_change_obeys_the_rules_of_a_placement(client: Client) -> None:
    household = await sign_up(client)
    placed = (await place(client, household, bid()))["bids"][0]
    for name in ("price", "volume"):
        texts: tuple[Any, ...] = ("-1", "NaN", "1e999", "0.0001", "10000000", "१", "", "1\x00")
        for wrong in (*texts, True, [], {}, -0.5, 2**70):
            errors = assert_invalid(await amend(client, household, placed["id"], **{name: wrong}))
            assert name in errors[0]
    assert_invalid(await amend(client, household, placed["id"], price="-1", volume="0"), "price", "volume")
    assert_invalid(await amend(client, household, placed["id"]))
    assert_invalid(await amend(client, household, placed["id"], price=None, volume=None))
    bodies: tuple[Any, ...] = ([], "x", 1)
    for wrong_body in bodies:
        answer = await call(client, "PATCH", f"{BIDS}/{placed['id']}", wrong_body, by=household)
        assert answer.status == 400, answer
    assert [b["price"] for b in await listed(client, household)] == [placed["price"]]
    assert (await book(client, household))["seq"] == 1


async def test_a_change_touches_price_and_volume_only(client: Client) -> None:
    household = await sign_up(client)
    one = (await place(client, household, bid()))["bids"][0]
    lie = {"id": 5, "timeslot": "12:00", "side": "buy", "status": "cleared", "filledVolume": "1", "account_id": 9}
    answer = await amend(client, household, one["id"], price="5", deliveryDate=india_day(3), **lie)
    assert answer.status == 200, answer
    (kept,) = await listed(client, household)
    assert {**one, "price": kept["price"]} == kept
    assert (await book(client, household))["lv"] == [[41, "S", 500, 1000, 1]]


async def test_a_withdrawn_bid_leaves_the_book_and_stays_in_the_list(client: Client) -> None:
    household = await sign_up(client)
    placed = (await place(client, household, bid(volume="2"), bid(volume="1")))["bids"]
    answer = await withdraw(client, household, placed[0]["id"])
    assert answer.status == 200, answer
    assert set(answer.body) == {"message", "seq", "bid"}
    assert answer.message
    assert answer.body["seq"] == 3
    assert answer.body["bid"]["id"] == placed[0]["id"]
    assert answer.body["bid"]["status"] == "withdrawn"
    assert {b["id"]: b["status"] for b in await listed(client, household)} == {
        placed[0]["id"]: "withdrawn",
        placed[1]["id"]: "open",
    }
    assert (await book(client, household))["lv"] == [[41, "S", 425, 1000, 1]]


async def test_a_bid_that_is_not_open_any_more_takes_no_change(client: Client) -> None:
    household = await sign_up(client)
    one = (await place(client, household, bid()))["bids"][0]["id"]
    assert (await withdraw(client, household, one)).status == 200
    assert_refused(await withdraw(client, household, one), 409)
    assert_refused(await amend(client, household, one, price="5"), 409)
    assert (await book(client, household))["seq"] == 2


async def test_another_accounts_bid_looks_like_none(client: Client) -> None:
    owner, stranger = await sign_up(client), await sign_up(client)
    other_kind = await sign_up(client, "consumer", owner.phone)
    bids = (await place(client, owner, bid(), bid("11:00")))["bids"]
    theirs, withdrawn = bids[0]["id"], bids[1]["id"]
    await withdraw(client, owner, withdrawn)
    mine = (await place(client, stranger, bid()))["bids"][0]["id"]
    nobodys = str(mine)[:-1] + str((int(str(mine)[-1]) + 5) % 10)
    for holder in (stranger, other_kind):
        answers = [await withdraw(client, holder, bid_id) for bid_id in (nobodys, theirs, withdrawn)]
        answers += [await amend(client, holder, bid_id, price="5") for bid_id in (nobodys, theirs, withdrawn)]
        for answer in answers:
            assert_refused(answer, 404)
            assert answer.body == answers[0].body
            assert str(theirs) not in answer.message
    assert [b["status"] for b in await listed(client, owner)] == ["open", "withdrawn"]
    assert [b["id"] for b in await listed(client, stranger)] == [mine]
    assert await listed(client, other_kind) == []


async def test_an_id_that_is_none_is_not_found(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, bid())
    wrong = (
        "0",
        "-1",
        "abc",
        "1.5",
        "9" * 30,
        str(2**63),
        str(2**64 + 1),
        "%00",
        "1%20OR%201=1",
        "१",
        "%0d%0aX:%201",
        "null",
    )
    for bid_id in (*wrong, "2026-11-23", "x" * 3000):
        assert_refused(await withdraw(client, household, bid_id), 404)
        assert_refused(await amend(client, household, bid_id, price="5"), 404)
    assert (await book(client, household))["seq"] == 1


async def test_changes_and_withdrawals_need_a_token(client: Client) -> None:
    household = await sign_up(client)
    one = (await place(client, household, bid()))["bids"][0]["id"]
    for method in ("PATCH", "DELETE"):
        assert_refused(await call(client, method, f"{BIDS}/{one}", {"price": "5"}), 401, "Invalid token")
    assert_refused(await call(client, "GET", BIDS), 401, "Invalid token")


async def test_a_change_back_is_an_event_too(make_client: MakeClient) -> None:
    client = await make_client()
    household = await sign_up(client)
    one = (await place(client, household, bid(price="4")))["bids"][0]["id"]
    assert (await amend(client, household, one, price="5")).body["seq"] == 2
    assert (await amend(client, household, one, price="4")).body["seq"] == 3
    assert (await book(client, household))["lv"] == [[41, "S", 400, 1000, 1]]


async def test_the_next_page_is_asked_for_by_either_name(client: Client) -> None:
    household = await sign_up(client)
    await place(client, household, *(bid(str(slot)) for slot in range(1, 6)))
    first = (await call(client, "GET", "/bids/dayahead?limit=2", by=household)).body
    for name in ("after", "next"):
        second = (await call(client, "GET", f"/bids/dayahead?limit=2&{name}={first['next']}", by=household)).body
        assert [item["timeslot"] for item in second["bids"]] == ["00:30-00:45", "00:45-01:00"]


async def test_what_the_auction_made_of_a_bid_stands_in_the_list(client: Client, connection: Connection) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    placed = await place(
        client,
        seller,
        bid(volume="1", price="1"),
        bid(volume="3", price="4"),
        bid(volume="1", price="9"),
        bid(volume="1", price="1"),
        bid("11:00", "1", "9"),
        bid(volume="2", price="8"),
    )
    whole, partly, rejected, withdrawn, unpriced, changed = (one["id"] for one in placed["bids"])
    bought = (await place(client, buyer, bid(volume="5", price="5")))["bids"][0]["id"]
    await withdraw(client, seller, withdrawn)
    await amend(client, seller, changed, price="3", volume="0.5")
    before = await listed(client, seller)
    filled = {whole: 1000, partly: 2999, changed: 500, bought: 4499}
    await connection.execute("UPDATE delivery_days SET state = 'closed'")
    assert await listed(client, seller) == before, "a gate that is closed has cleared nothing"
    await clear(connection, india_day(1), {41: (437, 400, 500)}, filled)

    after = {one["id"]: one for one in await listed(client, seller)}
    kept = {one["id"]: one for one in before}
    for bid_id, status, volume, price in (
        (whole, "cleared", "1.000", "4.37"),
        (partly, "partly cleared", "2.999", "4.37"),
        (rejected, "rejected", "0.000", "4.37"),
        (withdrawn, "withdrawn", "0.000", None),
        (unpriced, "rejected", "0.000", None),
        (changed, "cleared", "0.500", "4.37"),
    ):
        assert after[bid_id] == {**kept[bid_id], "status": status, "filledVolume": volume, "clearingPrice": price}
    assert list(after) == list(kept), "in the order in which they were placed"
    (theirs,) = await listed(client, buyer)
    assert (theirs["status"], theirs["filledVolume"], theirs["clearingPrice"]) == ("partly cleared", "4.499", "4.37")


async def test_a_cleared_day_is_listed_by_slot_and_page_too(client: Client, connection: Connection) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    sold = (await place(client, seller, bid("10:00-11:00", "4")))["bids"]
    bought = (await place(client, buyer, bid("10:00-11:00", "4", "5")))["bids"]
    other_day = (await place(client, seller, bid(), deliveryDate=india_day(2)))["bids"]
    prices = {slot: (430 + slot, 425, 500) for slot in range(41, 45)}
    await clear(connection, india_day(1), prices, {one["id"]: 1000 for one in sold + bought})
    whole = await listed(client, seller, f"?deliveryDate={india_day(1)}")
    assert [one["clearingPrice"] for one in whole] == ["4.71", "4.72", "4.73", "4.74"]
    assert await listed(client, seller, f"?deliveryDate={india_day(1)}&timeslot=43") == [whole[2]]
    first = (await call(client, "GET", f"{BIDS}?deliveryDate={india_day(1)}&limit=3", by=seller)).body
    assert first["bids"] == whole[:3]
    assert await listed(client, seller, f"?deliveryDate={india_day(1)}&after={first['next']}") == whole[3:]
    assert await listed(client, seller, f"?deliveryDate={india_day(2)}") == other_day, "that day is not cleared"


async def test_a_placement_that_is_repeated_after_the_auction_is_answered_as_before(
    client: Client, connection: Connection
) -> None:
    seller, buyer = await sign_up(client), await sign_up(client, "consumer")
    body = {"arr": [bid()], "deliveryDate": india_day(1)}
    key = {"Idempotency-Key": "once"}
    first = await call(client, "POST", "/placebid/dayahead", body, by=seller, headers=key)
    bought = (await place(client, buyer, bid()))["bids"][0]["id"]
    filled = {first.body["bids"][0]["id"]: 1000, bought: 1000}
    await clear(connection, india_day(1), {41: (425, 425, 425)}, filled)
    again = await call(client, "POST", "/placebid/dayahead", body, by=seller, headers=key)
    assert (again.status, again.body) == (200, first.body)
    assert_refused(await withdraw(client, seller, first.body["bids"][0]["id"]), 409)
