"""S7: who may open a websocket from a browser, and what counts as a token."""

from collections.abc import Mapping

import pytest
from aiohttp import WSServerHandshakeError

from tests.answers import assert_refused, call
from tests.conftest import Client, MakeClient
from tests.factories import Household, sign_up
from tests.feed_wire import Wire
from tests.handlers.test_live_hello import UPGRADE

ALLOWED = "https://app.example.in"


def foreign(host: str) -> tuple[str, ...]:
    """Origins that are not the server's own, however like it they look; `host` is its own with the port."""
    name, _, port = host.partition(":")
    return (
        "https://evil.example",
        f"http://{name}:{int(port) + 1}",
        f"http://{name}",
        f"http://{host}.evil.example",
        f"http://evil.example/{host}",
        f"http://evil.example#{host}",
        f"http://{host}@evil.example",
        f"http://evil.example, http://{host}",
        "null",
        f"//{host}",
        host,
        f"file://{host}",
        f"{ALLOWED}.evil.example",
        f"{ALLOWED}:8443",
        "http://app.example.in",
        "*",
    )


async def open_with(client: Client, headers: Mapping[str, str], path: str = "/ws") -> Wire:
    return await Wire.open(client, headers=headers, path=path)


async def is_nobody(wire: Wire) -> bool:
    """Whether a socket was opened for nobody in particular."""
    return "sub" not in wire.hello and (await wire.ask("subscribe", ch="me")).get("code") == 1401


async def test_a_foreign_origin_is_refused_always(make_client: MakeClient) -> None:
    client = await make_client(server={"cors_origins": (ALLOWED,)}, market={"public_book": True})
    household: Household = await sign_up(client)
    cookie = {"Cookie": f"token={household.token}; session={household.token}"}
    url = client.make_url("/")
    for origin in foreign(f"{url.host}:{url.port}"):
        for more in ({}, household.headers, cookie):
            answer = await call(client, "GET", "/ws", headers={**UPGRADE, **more, "Origin": origin})
            assert answer.status == 403, (origin, answer)
            assert_refused(answer, 403)
            assert answer.headers.get("Access-Control-Allow-Origin") is None


async def test_the_servers_own_origin_and_allowed_ones_are_accepted(make_client: MakeClient) -> None:
    client = await make_client(server={"cors_origins": (ALLOWED,)})
    household = await sign_up(client)
    own = str(client.make_url("/")).rstrip("/")
    for origin in (own, own.replace("http:", "https:"), ALLOWED):
        wire = await open_with(client, {"Origin": origin})
        assert await is_nobody(wire)
        assert (await wire.ask("auth", token=household.token))["t"] == "ok"
        by_header = await open_with(client, {"Origin": origin, **household.headers})
        assert "sub" in by_header.hello


async def test_the_host_of_a_proxy_counts_as_the_servers_own(client: Client) -> None:
    """Browsers name the site they are on, and the proxy in front of the server passes its name on as the host."""
    at_site = {"Host": "market.example.in", "Origin": "https://market.example.in"}
    assert (await open_with(client, at_site)).hello["v"] == 1
    with pytest.raises(WSServerHandshakeError) as refused:
        await open_with(client, {**at_site, "Origin": "https://example.in"})
    assert refused.value.status == 403


async def test_no_origin_with_a_token_in_band_or_in_the_header_is_accepted(client: Client) -> None:
    household = await sign_up(client)
    assert "sub" in (await open_with(client, household.headers)).hello
    assert (await (await open_with(client, {})).ask("auth", token=household.token))["t"] == "ok"


async def test_a_cookie_lets_nobody_in(client: Client) -> None:
    household = await sign_up(client)
    names = ("token", "access_token", "jwt", "session", "Authorization", "shakti", "auth")
    cookies = "; ".join(f"{name}={household.token}" for name in names)
    own = str(client.make_url("/")).rstrip("/")
    for origin in ({}, {"Origin": own}):
        assert await is_nobody(await open_with(client, {"Cookie": cookies, **origin}))
    refused = await call(client, "GET", "/ws", headers={**UPGRADE, "Cookie": cookies, "Origin": "https://evil.example"})
    assert_refused(refused, 403)


async def test_a_token_in_the_url_is_never_accepted(client: Client) -> None:
    token = (await sign_up(client)).token
    names = ("token", "access_token", "jwt", "auth", "authorization", "Authorization", "bearer", "t")
    query = "&".join(f"{name}={token}" for name in names)
    assert await is_nobody(await open_with(client, {}, f"/ws?{query}"))
    assert await is_nobody(await open_with(client, {}, f"/ws?Authorization=Bearer%20{token}"))


async def test_a_token_as_a_subprotocol_is_never_accepted(client: Client) -> None:
    """Another way around the missing header of browsers that ends in logs."""
    token = (await sign_up(client)).token
    wire = await Wire.open(client, protocols=("bidbook.v1", token))
    assert wire.socket.protocol == "bidbook.v1"
    assert await is_nobody(wire)
