"""GET /ws: the handshake, the greeting, and who is let in (rule 7 of the feed)."""

import asyncio
import re
from typing import Any

import asyncpg
import pytest
from aiohttp import WSServerHandshakeError

from auth.tokens import Purpose
from tests.answers import assert_refused, call
from tests.conftest import Client, MakeClient
from tests.factories import Household, sign_up
from tests.feed_sources import channel, claims_of, token_for, token_until
from tests.feed_wire import Closed, Wire
from tests.handlers.test_tokens import forged
from tests.partner_factories import log_in, register

GREETING = {"t", "v", "conn", "ping_s", "max_msg", "limits"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def make_operator(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """The token of a fresh operator."""
    number = await connection.fetchval(
        "INSERT INTO operators (name, password_hash) VALUES ('control-room', '') RETURNING id"
    )
    return token_for(Purpose.OPERATOR, number)


async def test_a_connection_is_greeted_with_what_it_may_do(client: Client) -> None:
    wire, other = await Wire.open(client), await Wire.open(client)
    assert set(wire.hello) == GREETING
    assert re.fullmatch("[0-9a-f]{2,64}", wire.hello["conn"])
    assert wire.hello["conn"] != other.hello["conn"]
    assert {**wire.hello, "conn": ""} == {
        "t": "hello",
        "v": 1,
        "conn": "",
        "ping_s": 25,
        "max_msg": 4096,
        "limits": {"in_per_s": 5, "subs": 64},
    }


async def test_the_greeting_tells_the_settings(make_client: MakeClient) -> None:
    client = await make_client(
        feed={"ping_s": 7.0, "max_message_bytes": 512, "messages_per_s": 3.0, "max_subscriptions": 2}
    )
    hello = (await Wire.open(client)).hello
    assert (hello["ping_s"], hello["max_msg"], hello["limits"]) == (7, 512, {"in_per_s": 3, "subs": 2})


async def test_the_subprotocol_is_answered_where_it_is_offered(client: Client) -> None:
    assert (await Wire.open(client, protocols=("bidbook.v1",))).socket.protocol == "bidbook.v1"
    assert (await Wire.open(client, protocols=("other", "bidbook.v1"))).socket.protocol == "bidbook.v1"
    for offered in ((), ("other",)):
        wire = await Wire.open(client, protocols=offered)
        assert wire.socket.protocol is None
        assert wire.hello["v"] == 1


async def test_messages_are_never_compressed(client: Client) -> None:
    wire = await Wire.open(client, compress=15)
    assert not wire.socket.compress
    assert "Sec-WebSocket-Extensions" not in wire.socket._response.headers


async def test_a_request_without_an_upgrade_is_told_what_to_do(client: Client) -> None:
    household = await sign_up(client)
    for by in (None, household):
        assert_refused(await call(client, "GET", "/ws", by=by), 400)
    for changed in ({"Sec-WebSocket-Version": "12"}, {"Sec-WebSocket-Key": "short"}, {"Upgrade": "h2c"}):
        assert_refused(await call(client, "GET", "/ws", by=household, headers={**UPGRADE, **changed}), 400)


async def test_a_token_in_band_lets_in(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client)
    await wire.send("auth", id="first", token=household.token)
    claims = claims_of(household.token)
    assert await wire.next() == {"t": "ok", "id": "first", "sub": claims["sub"], "exp": claims["exp"]}
    assert (await wire.ask("subscribe", ch="me"))["t"] == "ok"


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "{}"])
async def test_a_token_at_the_handshake_lets_in(client: Client, form: str) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, headers={"Authorization": form.format(household.token)})
    claims = claims_of(household.token)
    assert set(wire.hello) == {*GREETING, "sub", "exp"}
    assert (wire.hello["sub"], wire.hello["exp"]) == (claims["sub"], claims["exp"])
    assert (await wire.ask("subscribe", ch="me"))["t"] == "ok"


async def test_a_bad_token_at_the_handshake_is_refused(client: Client) -> None:
    household = await sign_up(client)
    assert (await call(client, "POST", "/signout", by=await sign_up(client))).status == 200
    for what, token in forged(household.token):
        for header in (f"Bearer {token}", token):
            answer = await call(client, "GET", "/ws", headers={**UPGRADE, "Authorization": header})
            assert (answer.status, answer.body) == (401, {"message": "Invalid token"}), what
    for header in ("", "Bearer", "Basic dTpw", "null"):
        answer = await call(client, "GET", "/ws", headers={**UPGRADE, "Authorization": header})
        assert_refused(answer, 401, "Invalid token")


async def test_a_revoked_token_at_the_handshake_is_refused(client: Client) -> None:
    household = await sign_up(client)
    assert (await call(client, "POST", "/signout", by=household)).status == 200
    with pytest.raises(WSServerHandshakeError) as refused:
        await Wire.open(client, header=household.token)
    assert refused.value.status == 401


async def closed_by(client: Client, token: Any) -> int:
    """The code with which a socket closes on a token."""
    wire = await Wire.open(client)
    await wire.send("auth", id=1, token=token)
    return await wire.close_code()


async def test_a_bad_token_in_band_closes_the_socket(client: Client) -> None:
    household = await sign_up(client)
    for what, token in forged(household.token):
        if len(token) < 3000:
            # Some are rightly signed, for a subject or a purpose that does not exist.
            assert await closed_by(client, token) in (4500, 4503), what
    expired, _ = token_until(household, -5)
    for token in (expired, household.token[:-1], f"{household.token}.x", "a.b.c", "hello"):
        assert await closed_by(client, token) == 4500, token


async def test_a_bad_token_closes_a_socket_that_was_let_in_before(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, token=household.token)
    await wire.send("auth", id=1, token="x.y.z")
    assert await wire.close_code() == 4500


async def test_a_revoked_token_in_band_closes_the_socket(client: Client) -> None:
    household = await sign_up(client)
    assert (await call(client, "POST", "/signout", by=household)).status == 200
    assert await closed_by(client, household.token) in (4500, 4503)


@pytest.mark.parametrize("kind", ["shipper", "transporter"])
async def test_a_partners_token_is_forbidden(client: Client, kind: str) -> None:
    headers = await log_in(client, await register(client, kind))
    assert await closed_by(client, headers["Authorization"].removeprefix("Bearer ")) == 4503
    with pytest.raises(WSServerHandshakeError) as refused:
        await Wire.open(client, headers=headers)
    assert refused.value.status in (401, 403)


async def test_nothing_but_auth_and_ping_is_answered_before_it(client: Client) -> None:
    wire = await Wire.open(client)
    for op in ("subscribe", "unsubscribe", "resync"):
        for named in (channel(), "book", "me"):
            answer = await wire.ask(op, ch=named)
            assert (answer["t"], answer["code"], answer["temporary"]) == ("err", 1401, False), (op, answer)
    pong = await wire.ask("ping")
    assert set(pong) == {"t", "id", "ts"}
    assert (pong["t"], type(pong["ts"])) == ("ok", int)


async def ping_until_closed(wire: Wire) -> int:
    """The code with which a socket closes that says something again and again."""
    async with asyncio.timeout(8):
        while True:
            try:
                assert (await wire.ask("ping"))["t"] == "ok"
            except Closed as closed:
                return closed.code or 0


async def test_who_does_not_authenticate_in_time_is_sent_away(make_client: MakeClient) -> None:
    client = await make_client(feed={"auth_timeout_s": 0.4, "messages_per_s": 1e6, "message_burst": 10**6})
    household = await sign_up(client)
    silent, talking, known = await Wire.open(client), await Wire.open(client), await Wire.open(client)
    assert (await known.ask("auth", token=household.token))["t"] == "ok"
    by_header = await Wire.open(client, header=household.token)
    talking_until = asyncio.create_task(ping_until_closed(talking))
    assert await silent.close_code() == 4502
    assert await talking_until == 4502
    for wire in (known, by_header):
        assert (await wire.ask("ping"))["t"] == "ok"


async def test_a_public_book_needs_no_token(make_client: MakeClient) -> None:
    client = await make_client(market={"public_book": True}, feed={"auth_timeout_s": 0.4})
    watching, idle = await Wire.open(client), await Wire.open(client)
    _, snap = await watching.subscribe("book")
    assert snap["seq"] == 0
    for named in ("me", "nothing"):
        answer = await watching.ask("subscribe", ch=named)
        assert answer["code"] == (1401 if named == "me" else 1404), answer
    # The one that subscribed to nothing is sent away; that moment has come for the other too, and it stays.
    assert await idle.close_code() == 4502
    await watching.next("hb")
    assert (await watching.ask("ping"))["t"] == "ok"


async def test_a_socket_stays_with_its_account(client: Client) -> None:
    one, other = await sign_up(client), await sign_up(client)
    wire = await Wire.open(client, token=one.token)
    answer = await wire.ask("auth", token=other.token)
    assert (answer["t"], answer["code"], answer["temporary"]) == ("err", 1403, False)
    same_phone = await sign_up(client, "consumer", one.phone)
    assert (await wire.ask("auth", token=same_phone.token))["code"] == 1403
    again = await wire.ask("auth", token=one.token)
    assert again["sub"] == claims_of(one.token)["sub"]


async def test_an_operator_sees_the_book_and_has_no_own_data(
    client: Client, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    token = await make_operator(connection)
    for wire in (await Wire.open(client, token=token), await Wire.open(client, header=token)):
        await wire.subscribe(channel())
        answer = await wire.ask("subscribe", ch="me")
        assert (answer["t"], answer["code"], answer["temporary"]) == ("err", 1403, False)


async def test_an_operator_is_no_account_of_the_same_number(
    client: Client, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    household: Household = await sign_up(client)
    token = token_for(Purpose.OPERATOR, int(claims_of(household.token)["sub"]))
    await connection.execute("INSERT INTO operators (name, password_hash) VALUES ('one', '')")
    wire = await Wire.open(client, token=household.token)
    assert (await wire.ask("auth", token=token))["t"] == "err"
