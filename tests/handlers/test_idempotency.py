"""The Idempotency-Key header on every write to bids."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import orjson

from tests.answers import Answer, assert_refused, call
from tests.clock import india_day
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, sign_up

PLACE = "/placebid/dayahead"
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


async def write(
    client: Client, by: Household, body: Any = None, *, key: str | None = KEY, method: str = "POST", path: str = PLACE
) -> Answer:
    """A write with a key; a placement of one bid unless told otherwise."""
    if body is None and method == "POST":
        body = {"arr": [bid()]}
    return await call(client, method, path, body, by=by, headers={"Idempotency-Key": key} if key is not None else {})


async def seq(client: Client, household: Household) -> int:
    found: int = (await call(client, "GET", "/book/dayahead", by=household)).body["seq"]
    return found


async def test_the_same_key_and_body_return_the_first_answer_and_do_nothing_again(client: Client) -> None:
    household = await sign_up(client)
    first = await write(client, household)
    assert first.status == 200
    for _ in range(3):
        again = await write(client, household)
        assert (again.status, again.body) == (200, first.body)
    assert await seq(client, household) == 1
    other = await write(client, household, key="another")
    assert other.body["seq"] == 2
    assert (await write(client, household, key=None)).body["seq"] == 3
    assert (await write(client, household, key=None)).body["seq"] == 4


async def test_the_same_key_with_another_body_is_refused(client: Client) -> None:
    household = await sign_up(client)
    await write(client, household)
    answer = await write(client, household, {"arr": [bid(volume="2")]})
    assert answer.status == 422
    assert answer.message
    assert await seq(client, household) == 1


async def test_a_key_belongs_to_one_account(client: Client) -> None:
    one, other = await sign_up(client), await sign_up(client)
    first = await write(client, one)
    second = await write(client, other)
    assert second.status == 200
    assert second.body["bids"][0]["id"] != first.body["bids"][0]["id"]
    assert await seq(client, one) == 2


async def test_changes_and_withdrawals_are_repeatable_too(client: Client) -> None:
    household = await sign_up(client)
    one = (await write(client, household)).body["bids"][0]["id"]
    path = f"/bids/dayahead/{one}"
    for method, body in (("PATCH", {"price": "5"}), ("DELETE", None)):
        first = await write(client, household, body, method=method, path=path)
        assert first.status == 200, "one key serves several methods and paths"
        again = await write(client, household, body, method=method, path=path)
        assert (again.status, again.body) == (200, first.body)
    assert (await write(client, household, {"price": "6"}, method="PATCH", path=path)).status == 422
    assert await seq(client, household) == 3


async def test_only_success_is_kept(client: Client) -> None:
    household = await sign_up(client)
    bad = {"arr": [bid(volume="0")]}
    closed = {"arr": [bid()], "deliveryDate": india_day(0)}
    for wrong, status in ((bad, 400), (closed, 409)):
        assert (await write(client, household, wrong)).status == status
    assert (await write(client, household)).status == 200, "a refused request leaves its key free"
    assert await seq(client, household) == 1


async def test_a_replay_is_answered_after_the_bid_is_gone(client: Client) -> None:
    household = await sign_up(client)
    first = await write(client, household)
    one = first.body["bids"][0]["id"]
    await call(client, "DELETE", f"/bids/dayahead/{one}", by=household)
    assert (await write(client, household)).body == first.body
    assert await seq(client, household) == 2


async def raw(client: Client, by: Household, method: str, path: str, key: str, body: Any = None) -> bytes:
    """The bytes of an answer."""
    headers = {**by.headers, "Idempotency-Key": key}
    async with client.request(method, path, json=body, headers=headers) as response:
        answer = await response.read()
        assert response.status == 200, answer
        return answer


async def test_replays_are_the_same_bytes_whatever_became_of_the_bids(client: Client) -> None:
    household = await sign_up(client)
    many = {"arr": [bid("10:00", "1", "4"), bid("11:00-12:00", "3.001", "5.25")]}
    placed = await raw(client, household, "POST", PLACE, KEY, many)
    one = f"/bids/dayahead/{orjson.loads(placed)['bids'][1]['id']}"
    asked: list[tuple[str, Any]] = [("PATCH", {"price": "6"}), ("PATCH", {"volume": "7"}), ("DELETE", None)]
    answers = []
    for number, (method, body) in enumerate(asked):
        answers.append(await raw(client, household, method, one, f"k{number}", body))
    assert await raw(client, household, "POST", PLACE, KEY, many) == placed
    for number, (method, body) in enumerate(asked):
        assert await raw(client, household, method, one, f"k{number}", body) == answers[number]
    shown = [orjson.loads(answer)["bid"] for answer in answers]
    assert [(each["price"], each["volume"], each["status"]) for each in shown] == [
        ("6.00", "0.751", "open"),
        ("6.00", "7.000", "open"),
        ("6.00", "7.000", "withdrawn"),
    ]


async def test_a_response_that_an_earlier_version_kept_is_given_again(
    client: Client, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    household = await sign_up(client)
    await raw(client, household, "POST", PLACE, KEY, {"arr": [bid()]})
    await connection.execute(
        "UPDATE idempotency_keys SET response = $1, delivery_day = NULL, first_seq = NULL", b'{"kept": "as it was"}'
    )
    assert await raw(client, household, "POST", PLACE, KEY, {"arr": [bid()]}) == b'{"kept": "as it was"}'
    assert await seq(client, household) == 1


async def test_a_bad_key_is_refused(client: Client) -> None:
    household = await sign_up(client)
    for wrong in ("", " ", "k" * 5000):
        answer = await write(client, household, key=wrong)
        assert answer.status == 400, (len(wrong), answer)
        assert answer.message
    assert await seq(client, household) == 0


async def test_equal_keys_at_the_same_instant_place_once_and_answer_alike(make_client: MakeClient) -> None:
    """On one process and on two."""
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    for n, clients in enumerate(([here] * 8, [here, there] * 4), start=1):
        answers = await asyncio.gather(*(write(client, household, key=f"key-{n}") for client in clients))
        assert [answer.status for answer in answers] == [200] * 8
        assert all(answer.body == answers[0].body for answer in answers)
        assert await seq(there, household) == n


async def test_equal_keys_with_different_bodies_at_the_same_instant_place_one(make_client: MakeClient) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    bodies = [{"arr": [bid(volume=str(n))]} for n in range(1, 7)]
    answers = await asyncio.gather(
        *(write(client, household, body) for client, body in zip([here, there] * 3, bodies, strict=True))
    )
    assert sorted(answer.status for answer in answers) == [200] + [422] * 5
    assert await seq(here, household) == 1


async def test_keys_live_a_day(client: Client, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    household = await sign_up(client)
    await write(client, household)
    for age, seen in ((timedelta(hours=23, minutes=59), 1), (timedelta(seconds=61), 2)):
        await connection.execute("UPDATE idempotency_keys SET created_at = created_at - $1::interval", age)
        assert (await write(client, household)).status == 200
        assert await seq(client, household) == seen, age


async def test_a_key_without_a_token_tells_nothing(client: Client) -> None:
    household = await sign_up(client)
    await write(client, household)
    answer = await call(client, "POST", PLACE, {"arr": [bid()]}, headers={"Idempotency-Key": KEY})
    assert_refused(answer, 401, "Invalid token")
