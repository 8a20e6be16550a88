"""S18: a token that is revoked takes its sockets with it, in every process, within a second."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import pytest

from auth.tokens import Purpose
from tests.answers import call
from tests.conftest import Client, MakeClient
from tests.factories import PASSWORD, Household, ask_otp, bid, place, sign_up
from tests.feed_sources import channel, refresh, token_for
from tests.feed_wire import Wire
from tests.handlers.test_live_hello import make_operator

Connection = asyncpg.Connection
NEW_PASSWORD = "rain-and-sunshine"
EASY = {"messages_per_s": 1e6, "message_burst": 10**6}


async def sockets_of(clients: Sequence[Client], token: str) -> list[Wire]:
    """Two sockets at each server: let in by the header and in band, one of them subscribed."""
    wires = []
    for client in clients:
        wires += [await Wire.open(client, header=token), await Wire.open(client, token=token)]
        assert (await wires[-1].ask("subscribe", ch="me"))["t"] == "ok"
        await wires[-1].subscribe("book")
    return wires


async def assert_closed_within_a_second(wires: Sequence[Wire]) -> None:
    began = time.monotonic()
    assert set(await asyncio.gather(*(wire.close_code() for wire in wires))) == {4503}
    assert time.monotonic() - began < 1


async def assert_open(wires: Sequence[Wire]) -> None:
    for wire in wires:
        assert (await wire.ask("ping"))["t"] == "ok"


async def test_signing_out_closes_the_sockets_of_the_token(make_client: MakeClient) -> None:
    here, there = await make_client(), await make_client()
    household, stranger = await sign_up(here), await sign_up(here)
    other = await refresh(here, household)
    doomed = await sockets_of((here, there), household.token)
    spared = await sockets_of((here, there), other.token) + await sockets_of((here, there), stranger.token)
    assert (await call(here, "POST", "/signout", by=household)).status == 200
    await assert_closed_within_a_second(doomed)
    await assert_open(spared)


async def test_a_changed_password_closes_every_socket_of_the_account(make_client: MakeClient) -> None:
    here, there = await make_client(), await make_client()
    household, stranger = await sign_up(here), await sign_up(here)
    other = await refresh(here, household)
    doomed = await sockets_of((here, there), household.token) + await sockets_of((here, there), other.token)
    spared = await sockets_of((here, there), stranger.token)
    form = {"oldPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    answer = await call(there, "POST", "/changepassword", form, by=household)
    assert answer.status == 200
    await assert_closed_within_a_second(doomed)
    await assert_open([*spared, await Wire.open(here, token=answer.body["token"])])


async def test_a_password_reset_closes_every_socket_of_the_account(client: Client) -> None:
    household = await sign_up(client)
    doomed = await sockets_of((client,), household.token)
    form = {"PhoneNo": household.phone, "otp": await ask_otp(client, household.phone, purpose="reset")}
    answer = await call(
        client, "POST", "/resetpassword", {**form, "accountType": "prosumer", "newPassword": NEW_PASSWORD}
    )
    assert answer.status == 200, answer
    await assert_closed_within_a_second(doomed)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("DELETE FROM accounts", id="deleted"),
        pytest.param("UPDATE accounts SET token_generation = token_generation + 1", id="revoked"),
    ],
)
async def test_an_account_that_is_changed_by_hand_loses_its_sockets(
    client: Client, connection: "Connection[asyncpg.Record]", statement: str
) -> None:
    doomed = await sockets_of((client,), (await sign_up(client)).token)
    await connection.execute(statement)
    await assert_closed_within_a_second(doomed)


async def test_an_operators_socket_is_closed_too(client: Client, connection: "Connection[asyncpg.Record]") -> None:
    token = await make_operator(connection)
    wires = [await Wire.open(client, token=token), await Wire.open(client, header=token)]
    account = await Wire.open(client, token=(await sign_up(client)).token)
    await connection.execute("UPDATE operators SET token_generation = token_generation + 1")
    await assert_closed_within_a_second(wires)
    await assert_open([account])


async def test_a_socket_goes_with_its_latest_token(make_client: MakeClient) -> None:
    """After a refresh in band the first token is of no more concern to the socket."""
    client = await make_client(feed=EASY)
    household = await sign_up(client)
    other = await refresh(client, household)
    (_, moved), (_, back) = await sockets_of((client,), household.token), await sockets_of((client,), household.token)
    assert (await moved.ask("auth", token=other.token))["t"] == "ok"
    assert (await back.ask("auth", token=other.token))["t"] == "ok"
    assert (await back.ask("auth", token=household.token))["t"] == "ok"
    witness = await Wire.open(client, token=household.token)
    assert (await call(client, "POST", "/signout", by=household)).status == 200
    await assert_closed_within_a_second([witness, back])
    await place(client, other, bid())
    assert (await moved.next("me"))["seq"] == 1
    assert (await call(client, "POST", "/signout", by=other)).status == 200
    await assert_closed_within_a_second([moved])


async def test_a_sign_out_that_this_process_could_not_hear_closes_all_the_same(
    make_client: MakeClient, connection: "Connection[asyncpg.Record]"
) -> None:
    """Every listening connection dies together with the revocation, so no notification of it ever arrives."""
    here, there = await make_client(), await make_client()
    household, stranger = await sign_up(here), await sign_up(here)
    doomed, spared = await sockets_of((there,), household.token), await sockets_of((there,), stranger.token)
    killed = await connection.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'shakti-listen'"
    )
    assert killed >= 1
    assert (await call(here, "POST", "/signout", by=household)).status == 200
    began = time.monotonic()
    assert {await wire.close_code() for wire in doomed} == {4503}
    assert time.monotonic() - began < 2, "it listens again within a second, and then knows"
    await assert_open(spared)


async def test_a_socket_that_opens_while_its_token_is_revoked_does_not_stay(make_client: MakeClient) -> None:
    here, there = await make_client(), await make_client()
    for _ in range(5):
        household = await sign_up(here)
        opening = [asyncio.create_task(Wire.open(there)) for _ in range(8)]
        wires = await asyncio.gather(*opening)
        for wire in wires[:4]:
            await wire.send("auth", id=1, token=household.token)
        signing_out = asyncio.create_task(call(here, "POST", "/signout", by=household))
        for wire in wires[4:]:
            await wire.send("auth", id=1, token=household.token)
        assert (await signing_out).status == 200
        codes = await asyncio.gather(*(wire.close_code() for wire in wires))
        assert set(codes) <= {4500, 4503}


async def test_a_token_of_an_account_that_does_not_exist_opens_nothing(client: Client) -> None:
    wire = await Wire.open(client)
    await wire.send("auth", id=1, token=token_for(Purpose.ACCOUNT, 424242))
    assert await wire.close_code() in (4500, 4503)


async def test_the_public_book_outlives_no_revocation(make_client: MakeClient) -> None:
    """Who was let in and is put out must come back as somebody, or as nobody on a socket of its own."""
    client = await make_client(market={"public_book": True})
    household: Household = await sign_up(client)
    wire, nobody = await Wire.open(client, token=household.token), await Wire.open(client)
    for socket in (wire, nobody):
        await socket.subscribe(channel())
    assert (await call(client, "POST", "/signout", by=household)).status == 200
    await assert_closed_within_a_second([wire])
    await assert_open([nobody])
