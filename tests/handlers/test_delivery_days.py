"""Which day a bid is for: the next open one in India, or the one that is pinned."""

from datetime import time, timedelta
from typing import Any

from tests.answers import assert_invalid, assert_refused, call
from tests.clock import Clock, india_at, india_day
from tests.conftest import Client, MakeClient
from tests.factories import bid, place, sign_up
from tests.offers import offer, own


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
