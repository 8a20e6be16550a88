"""Resuming `me`: every message since, in order, or a plain start over (rule 12 of the feed)."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.clock import india_today
from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import Message
from tests.feed_sources import amend, claims_of, withdraw
from tests.feed_wire import Wire
from tests.handlers.test_live_own import follow, report

Connection = asyncpg.Connection
MOST = 10_000


async def resume(client: Client, household: Household, since: dict[str, Any]) -> tuple[Wire, Message]:
    wire = await Wire.open(client, token=household.token)
    ok = await wire.ask("subscribe", ch="me", since=since)
    assert ok["ticks"] == {"price": "0.01", "volume": "0.001"}
    return wire, ok


async def test_a_resume_replays_every_message_in_order(client: Client) -> None:
    household, stranger = await sign_up(client), await sign_up(client)
    wire, ok = await follow(client, household)
    ids = [(await place(client, household, bid()))["bids"][0]["id"] for _ in range(3)]
    await place(client, stranger, bid())
    await amend(client, household, ids[0], price="9")
    await report(client, household, [{"timeslot": "10:00", "solarGeneration": "1", "netEnergy": "1"}])
    await withdraw(client, household, ids[1])
    seen = [await wire.next("me") for _ in range(6)]
    for missed in range(7):
        resumed, again = await resume(client, household, {"ep": ok["ep"], "seq": missed})
        assert (again["recovered"], again["ep"], again["seq"]) == (True, ok["ep"], 6)
        assert [await resumed.next() for _ in range(6 - missed)] == seen[missed:]
        await resumed.quiet()
        await resumed.close()
    resumed, _ = await resume(client, household, {"ep": ok["ep"], "seq": 6})
    await place(client, household, bid())
    message = await resumed.next()
    assert (message["prev"], message["seq"]) == (6, 7)


@pytest.mark.parametrize(
    "since",
    [
        pytest.param({"ep": "u0"}, id="another epoch"),
        pytest.param({"seq": 3}, id="a number that is still to come"),
        pytest.param({"seq": 2**53 - 1}, id="a number far beyond"),
        pytest.param({"ep": "stranger"}, id="another account's epoch"),
    ],
)
async def test_what_cannot_be_replayed_starts_over(client: Client, since: dict[str, Any]) -> None:
    household = await sign_up(client)
    for _ in range(2):
        await place(client, household, bid())
    _, ok = await follow(client, household)
    if since.get("ep") == "stranger":
        _, of_stranger = await follow(client, await sign_up(client))
        assert of_stranger["ep"] != ok["ep"]
        since = {"ep": of_stranger["ep"], "seq": 0}
    wire, again = await resume(client, household, {"ep": ok["ep"], "seq": 2, **since})
    assert (again["recovered"], again["ep"], again["seq"]) == (False, ok["ep"], 2)
    await wire.quiet()
    await place(client, household, bid())
    message = await wire.next()
    assert (message["prev"], message["seq"]) == (2, 3)


async def test_a_resume_reaches_across_restarts_and_processes(make_client: MakeClient) -> None:
    first, other = await make_client(), await make_client()
    household = await sign_up(first)
    wire, ok = await follow(first, household)
    await place(first, household, bid())
    seen = [await wire.next()]
    await place(other, household, bid(), bid())
    seen.append(await wire.next())
    await first.close()
    third = await make_client()
    for client in (other, third):
        resumed, again = await resume(client, household, {"ep": ok["ep"], "seq": 0})
        assert (again["recovered"], again["ep"], again["seq"]) == (True, ok["ep"], 2)
        assert [await resumed.next() for _ in range(2)] == seen


async def fill(connection: "Connection[asyncpg.Record]", account: int, count: int) -> None:
    """So many placements of one bid each in the log, as the writer would have left them."""
    await connection.execute(
        """
        WITH day AS (
            INSERT INTO delivery_days (delivery_day, last_seq, volume_bound) VALUES ($1, $3::bigint, $3::bigint)
        ), own AS (
            UPDATE account_feeds SET last_seq = $3::bigint WHERE account_id = $2
        ), days AS (
            INSERT INTO account_days (account_id, delivery_day, open_bids, first_account_seq, last_account_seq)
            VALUES ($2, $1, $3::bigint, 1, $3::bigint)
        )
        INSERT INTO book_events (delivery_day, first_seq, last_seq, batch_id, account_id, account_seq, bid_seq, kind,
                                 side, slots, prices, volumes)
        SELECT $1, n, n, n, $2, n, n, 'place', 'S', '{41}', '{425}', '{1}' FROM generate_series(1, $3::bigint) AS n
        """,
        # A day whose gate is open, so that nothing more happens to it.
        india_today() + timedelta(days=2),
        account,
        count,
    )


async def test_ten_thousand_messages_are_replayed_and_no_more(
    make_client: MakeClient, connection: "Connection[asyncpg.Record]"
) -> None:
    household = await sign_up(await make_client())
    await fill(connection, int(claims_of(household.token)["sub"]), MOST + 1)
    client = await make_client()
    _, ok = await follow(client, household)
    assert ok["seq"] == MOST + 1
    wire, again = await resume(client, household, {"ep": ok["ep"], "seq": 0})
    assert (again["recovered"], again["seq"]) == (False, MOST + 1)
    await wire.quiet()
    wire, again = await resume(client, household, {"ep": ok["ep"], "seq": 1})
    assert (again["recovered"], again["seq"]) == (True, MOST + 1)
    for number in range(2, MOST + 2):
        message = await wire.next("me")
        assert (message["prev"], message["seq"]) == (number - 1, number)
    await wire.quiet()


async def test_what_happens_during_a_replay_follows_it(
    make_client: MakeClient, connection: "Connection[asyncpg.Record]"
) -> None:
    household = await sign_up(await make_client())
    await fill(connection, int(claims_of(household.token)["sub"]), 3000)
    client = await make_client()
    _, ok = await follow(client, household)
    wire = await Wire.open(client, token=household.token)
    await wire.send("subscribe", id="r", ch="me", since={"ep": ok["ep"], "seq": 0})
    for _ in range(3):
        await place(client, household, bid())
    again = await wire.next()
    assert (again["t"], again["id"], again["recovered"]) == ("ok", "r", True)
    assert 3000 <= again["seq"] <= 3003
    for number in range(1, 3004):
        message = await wire.next("me")
        assert (message["prev"], message["seq"]) == (number - 1, number)
    await wire.quiet()
