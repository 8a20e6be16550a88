"""When a token ends under an open socket: a warning, some grace, and then (rule 8 of the feed)."""

import asyncio
import time

import pytest

from tests.conftest import Client, MakeClient
from tests.factories import Household, bid, place, sign_up
from tests.feed_book import Message
from tests.feed_sources import channel, claims_of, token_until
from tests.feed_wire import Wire

WARNING_S, GRACE_S, CLOSE_S = 1.0, 1.8, 1.2
# The server looks about once a second.
LATE_S = 1.5


@pytest.fixture
async def client(make_client: MakeClient) -> Client:
    """A server that is quick about expiry."""
    ends = {"expiry_warning_s": WARNING_S, "expiry_grace_s": GRACE_S, "expiry_close_s": CLOSE_S}
    return await make_client(feed={**ends, "messages_per_s": 1e6, "message_burst": 10**6})


async def subscribed(client: Client, household: Household, token: str, *, by_header: bool = False) -> Wire:
    """A socket that follows `me` and a book."""
    wire = await (Wire.open(client, header=token) if by_header else Wire.open(client, token=token))
    assert (await wire.ask("subscribe", ch="me"))["t"] == "ok"
    await wire.subscribe(channel())
    return wire


def assert_now(expected: float) -> None:
    """That a moment, as a Unix time, has come, and not long ago."""
    assert expected - 0.05 < time.time() < expected + LATE_S, time.time() - expected


async def until(moment: float) -> None:
    """Wait for a moment, as a Unix time: it is what these tests are about."""
    await asyncio.sleep(max(0.0, moment - time.time()) + 0.01)


@pytest.mark.parametrize("by_header", [False, True], ids=["in band", "by header"])
async def test_a_token_ends_in_steps(client: Client, by_header: bool) -> None:
    household = await sign_up(client)
    token, ends = token_until(household, 2.0)
    wire = await subscribed(client, household, token, by_header=by_header)
    assert await wire.next("token_expiring", within_s=5) == {"t": "token_expiring", "exp": ends}
    assert_now(ends - WARNING_S)
    await place(client, household, bid())
    assert (await wire.next("me"))["seq"] == 1
    await until(ends)
    await place(client, household, bid())
    assert (await wire.next("me"))["seq"] == 2, "the grace"
    assert time.time() < ends + GRACE_S, "this machine is too slow for the test"
    unsub = await wire.next("unsub")
    assert_now(ends + GRACE_S)
    assert unsub.pop("reason").strip()
    assert unsub == {"t": "unsub", "ch": "me", "code": 4005}
    await place(client, household, bid())
    upd = await wire.next("upd", "me")
    while upd["t"] == "upd" and upd["seq"] < 3:
        upd = await wire.next("upd", "me")
    assert upd["t"] == "upd", "the book goes on, the own data do not"
    refused = await wire.ask("subscribe", ch="me")
    assert (refused["t"], refused["code"]) == ("err", 1401)
    assert await wire.close_code() == 4005
    assert_now(ends + GRACE_S + CLOSE_S)


async def renew(wire: Wire, household: Household) -> Message:
    ok = await wire.ask("auth", token=household.token)
    assert (ok["t"], ok["exp"]) == ("ok", claims_of(household.token)["exp"]), ok
    return ok


async def test_a_fresh_token_on_the_same_socket_ends_nothing(client: Client) -> None:
    household = await sign_up(client)
    token, ends = token_until(household, 1.2)
    wire = await subscribed(client, household, token)
    await wire.next("token_expiring")
    await renew(wire, household)
    while time.time() < ends + GRACE_S + CLOSE_S + 1.0:
        assert (await wire.next("hb", "unsub", "token_expiring"))["t"] == "hb"
    await place(client, household, bid())
    assert (await wire.next("me"))["seq"] == 1


async def test_a_fresh_token_within_the_grace_ends_nothing(client: Client) -> None:
    household = await sign_up(client)
    token, ends = token_until(household, 0.5)
    wire = await subscribed(client, household, token)
    await until(ends)
    await renew(wire, household)
    assert time.time() < ends + GRACE_S, "this machine is too slow for the test"
    while time.time() < ends + GRACE_S + CLOSE_S + 1.0:
        assert (await wire.next("hb", "unsub"))["t"] == "hb"
    await place(client, household, bid())
    assert (await wire.next("me"))["seq"] == 1


async def test_a_fresh_token_after_the_grace_brings_own_data_back(client: Client) -> None:
    household = await sign_up(client)
    token, ends = token_until(household, 0.5)
    wire = await subscribed(client, household, token)
    await wire.next("unsub")
    await place(client, household, bid())
    await renew(wire, household)
    ok = await wire.ask("subscribe", ch="me")
    assert (ok["t"], ok["recovered"]) == ("ok", False)
    while time.time() < ends + GRACE_S + CLOSE_S + 1.0:
        assert (await wire.next("hb", "unsub"))["t"] == "hb"
    await place(client, household, bid())
    assert (await wire.next("me"))["prev"] == ok["seq"]


async def test_each_fresh_token_has_an_end_of_its_own(client: Client) -> None:
    household = await sign_up(client)
    first, _ = token_until(household, 0.5)
    wire = await subscribed(client, household, first)
    await wire.next("token_expiring")
    second, ends = token_until(household, 2.5)
    assert (await wire.ask("auth", token=second))["exp"] == ends
    assert await wire.next("token_expiring", within_s=5) == {"t": "token_expiring", "exp": ends}
    assert_now(ends - WARNING_S)
    await wire.next("unsub", within_s=5)
    assert_now(ends + GRACE_S)
    assert await wire.close_code() == 4005


async def test_an_older_token_does_not_shorten_what_was_granted_without_notice(client: Client) -> None:
    """Whatever a second `auth` with a token that ends sooner means, its `ok` says which end counts, and it does."""
    household = await sign_up(client)
    wire = await subscribed(client, household, household.token)
    sooner, _ = token_until(household, 0.5)
    ends = (await wire.ask("auth", token=sooner))["exp"]
    assert ends in (claims_of(sooner)["exp"], claims_of(household.token)["exp"])
    if ends == claims_of(sooner)["exp"]:
        await wire.next("unsub", within_s=5)
        assert_now(ends + GRACE_S)


async def test_a_token_near_its_end_is_warned_of_at_once(make_client: MakeClient) -> None:
    client = await make_client(feed={"expiry_warning_s": 60.0})
    household = await sign_up(client)
    token, ends = token_until(household, 30)
    wire = await Wire.open(client, token=token)
    assert await wire.next("token_expiring", within_s=1.5) == {"t": "token_expiring", "exp": ends}


async def test_a_token_that_is_over_is_refused_at_once(client: Client) -> None:
    """The grace is for sockets that were let in with it before."""
    household = await sign_up(client)
    token, ends = token_until(household, 0.2)
    inside = await Wire.open(client, token=token)
    await until(ends)
    assert (await inside.ask("ping"))["t"] == "ok"
    wire = await Wire.open(client)
    await wire.send("auth", id=1, token=token)
    assert await wire.close_code() == 4500
