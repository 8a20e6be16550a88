"""The token in the Authorization header: which are refused, how they end, how they are renewed."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import jwt

from handlers.routes import ROUTES
from tests.answers import Answer, assert_refused, call
from tests.conftest import SECRET, Client, MakeClient
from tests.factories import PASSWORD, Household, sign_up

PUBLIC = (
    "/",
    "/sendotp",
    "/signup",
    "/signin",
    "/resetpassword",
    "/operator/signin",
    "/api/",
    "/verify-email",
    "/dev/outbox",
    "/healthz",
    "/readyz",
    "/docs",
    "/openapi.json",
    "/asyncapi.json",
    "/docs/feed.md",
    "/metrics",
    "/static",
    # A websocket's token may come in its first message: see test_live_hello.py.
    "/ws",
)
PRIVATE = (
    ("POST", "/setup"),
    ("POST", "/placebid/dayahead"),
    ("GET", "/me"),
    ("POST", "/token/refresh"),
    ("POST", "/signout"),
    ("POST", "/changepassword"),
    ("GET", "/bids/dayahead"),
    ("PATCH", "/bids/dayahead/1"),
    ("DELETE", "/bids/dayahead/1"),
    ("GET", "/book/dayahead"),
    ("GET", "/setupstatus"),
    ("GET", "/userData"),
    ("GET", "/getTransactions"),
    ("GET", "/api/shipper/me"),
    ("GET", "/api/transporters/me"),
)


def part(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(payload: dict[str, Any], secret: str = SECRET, **header: Any) -> str:
    """A token signed with HMAC-SHA-256, whatever its header claims."""
    head = f"{part({'alg': 'HS256', 'typ': 'JWT', **header})}.{part(payload)}"
    return f"{head}.{part(hmac.digest(secret.encode(), head.encode(), hashlib.sha256))}"


def forged(token: str) -> Iterator[tuple[str, str]]:
    """What an attacker makes of a good token."""
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    head, body, signature = token.split(".")
    for alg in ("none", "None", "NONE", "nOnE", ""):
        unsigned = f"{part({'alg': alg, 'typ': 'JWT'})}.{body}"
        yield f"alg {alg!r} without a signature", f"{unsigned}."
        yield f"alg {alg!r} with the old signature", f"{unsigned}.{signature}"
        yield f"alg {alg!r} signed", signed(payload, alg=alg)
    algs: tuple[Any, ...] = ("RS256", "ES256", "PS256", "HS384", "HS512", "EdDSA", None, 256, ["HS256"])
    for claimed in algs:
        yield f"alg {claimed!r} signed with the secret", signed(payload, alg=claimed)
    yield "HS384, rightly signed", jwt.encode(payload, SECRET.ljust(48, "x")[:48], algorithm="HS384")
    yield "HS512 with the secret", jwt.encode(payload, SECRET + "x" * 64, algorithm="HS512")
    yield "another secret", signed(payload, "another-secret-of-good-length-0123456789")
    yield "no secret", signed(payload, "")
    public = "another-secret-of-good-length-0123456789"
    yield "kid of a file", signed(payload, "", kid="/dev/null")
    yield "kid with SQL", signed(payload, public, kid="x' UNION SELECT 'key")
    yield "jku", signed(payload, public, jku="http://127.0.0.1:9/keys.json")
    yield "x5u", signed(payload, public, x5u="http://127.0.0.1:9/cert.pem")
    yield "a key of its own", signed(payload, public, jwk={"kty": "oct", "k": part(public.encode())})
    now = int(time.time())
    wrong_claims: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 1, "iat": now - 99},
        "expired long ago": {"exp": 1},
        "expiry as text": {"exp": "never"},
        "infinite expiry": {"exp": 1e400},
        "not yet valid": {"nbf": now + 600},
        "made in the future": {"iat": now + 600},
        "another issuer": {"iss": "somebody"},
        "issuers": {"iss": ["shakti"]},
        "another audience": {"aud": "somebody"},
        "made for an e-mail link": {"aud": "shakti:email-link"},
        "made for an operator": {"aud": "shakti:operator"},
        "made for a shipper": {"aud": "shakti:shipper"},
        "another subject": {"sub": "999999"},
        "no number as subject": {"sub": "1 OR 1=1"},
        "a subject beyond 64 bits": {"sub": str(2**70)},
        "a negative subject": {"sub": "-1"},
        "a subject that is no text": {"sub": 1},
        "an id that is no text": {"jti": 5},
    }
    for what, changed in wrong_claims.items():
        fresh = {} if what == "another subject" else {"jti": f"forged-{what}"}
        yield what, signed({**payload, **fresh, **changed})
    for claim in ("exp", "iat", "iss", "aud", "jti", "sub"):
        yield f"no {claim}", signed({name: value for name, value in payload.items() if name != claim})
    yield "another payload under the old signature", f"{head}.{part({**payload, 'sub': '2'})}.{signature}"
    for cut in (1, 10, len(signature), len(signature) + 1):
        yield f"truncated by {cut}", token[:-cut]
    yield "padded", token + "="
    yield "with a fourth part", token + "." + signature
    yield "two parts", f"{head}.{body}"
    yield "a payload that is a list", signed(["exp"])  # type: ignore[arg-type]  # a payload as no honest issuer makes it
    yield "not base64", "$$$.%%%.&&&"
    yield "dots", ".."
    yield "not a token at all", "hello"
    yield "8 kB long", "a" * 7000


async def me(client: Client, authorization: str) -> Answer:
    return await call(client, "GET", "/me", headers={"Authorization": authorization})


async def test_a_token_is_accepted_with_bearer_and_as_the_client_of_old_sent_it(client: Client) -> None:
    household = await sign_up(client)
    for header in (f"Bearer {household.token}", household.token, f"bearer {household.token}"):
        assert (await me(client, header)).status == 200, header


async def test_a_token_says_no_more_than_it_must(client: Client) -> None:
    household = await sign_up(client)
    assert jwt.get_unverified_header(household.token)["alg"] == "HS256"
    payload = jwt.decode(household.token, SECRET, algorithms=["HS256"], options={"verify_aud": False})
    assert {"exp", "iat", "iss", "aud", "jti", "sub"} <= set(payload)
    assert payload["exp"] - payload["iat"] == 12 * 3600
    assert household.phone not in json.dumps(payload)


async def test_every_forged_or_broken_token_is_refused(client: Client) -> None:
    household = await sign_up(client)
    assert (await me(client, f"Bearer {household.token}")).status == 200
    for what, token in forged(household.token):
        for header in (f"Bearer {token}", token):
            answer = await me(client, header)
            assert (answer.status, answer.body) == (401, {"message": "Invalid token"}), (what, answer)
    assert (await me(client, f"Bearer {household.token}")).status == 200


async def test_a_forged_token_is_refused_before_and_after_a_good_one_of_its_id_was_seen(client: Client) -> None:
    household = await sign_up(client)
    payload: dict[str, Any] = jwt.decode(household.token, options={"verify_signature": False})
    forgery = signed({**payload, "exp": payload["exp"] + 1}, "another-secret-of-good-length-0123456789")
    for _ in range(2):
        assert_refused(await me(client, forgery), 401, "Invalid token")
        assert (await me(client, household.token)).status == 200


async def test_a_token_of_a_megabyte_is_refused_before_it_is_read(worker_port: int) -> None:
    """431 and not 401: whoever may send headers of a megabyte may fill the memory with them."""
    for token in (b"a" * 1_000_000, b"Bearer " + b"a" * 1_000_000, b"Bearer eyJhbGciOiJIUzI1NiJ9." + b"e" * 1_000_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", worker_port)
        writer.write(b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: " + token + b"\r\n\r\n")
        async with asyncio.timeout(5):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.transport.abort()
        assert head.split()[1:2] == [b"431"], (head, body[:300])
        assert json.loads(body) == {"message": "The request line or a header is too long"}


async def test_a_header_without_a_token_is_refused(client: Client) -> None:
    household = await sign_up(client)
    for header in ("", "Bearer", "Bearer ", "Basic dTpw", f"Basic {household.token}", f"Token token={household.token}"):
        assert_refused(await me(client, header), 401, "Invalid token")
    two = f"Bearer {household.token}, Bearer {household.token}"
    for header in (two, f"Bearer Bearer {household.token}", "null", "undefined", "Bearer null", "Bearer Ünïcödé"):
        assert_refused(await me(client, header), 401, "Invalid token")


async def test_a_token_counts_in_the_header_only(client: Client) -> None:
    token = (await sign_up(client)).token
    assert_refused(await call(client, "GET", f"/me?token={token}&access_token={token}"), 401, "Invalid token")
    in_cookie = {"Cookie": f"token={token}; access_token={token}; jwt={token}"}
    assert_refused(await call(client, "GET", "/me", headers=in_cookie), 401, "Invalid token")
    in_body = await call(client, "POST", "/setup", {"token": token, "access_token": token})
    assert_refused(in_body, 401, "Invalid token")


async def test_everything_but_the_public_paths_needs_a_token(client: Client) -> None:
    for method, path in PRIVATE:
        answer = await call(client, method, path, {} if method in ("POST", "PATCH") else None)
        assert answer.status == 401, (method, path, answer)
        assert answer.message == "Invalid token"
    listed = {path for _, path in PRIVATE}
    for route in ROUTES:
        if route.path in PUBLIC or (route.path.startswith("/api/") and not route.path.endswith("/me")):
            continue
        path = route.path.replace("{id}", "1")
        if path in listed:
            continue
        response = await client.request(route.method, path)
        assert response.status == 401, f"{route.method} {route.path} answers without a token"


async def test_the_token_is_looked_at_before_the_body(client: Client) -> None:
    for path in ("/setup", "/placebid/dayahead"):
        assert_refused(await call(client, "POST", path, data=b"{"), 401, "Invalid token")
        assert_refused(await call(client, "POST", path, {"arr": [{}]}), 401, "Invalid token")


async def test_a_refreshed_token_is_a_fresh_one_of_the_same_account(client: Client) -> None:
    household = await sign_up(client)
    answer = await call(client, "POST", "/token/refresh", by=household)
    assert answer.status == 200, answer
    fresh = Household("", "", "", answer.body["token"])
    assert fresh.token != household.token
    old = jwt.decode(household.token, options={"verify_signature": False})
    new = jwt.decode(fresh.token, options={"verify_signature": False})
    assert new["jti"] != old["jti"]
    assert new["exp"] >= old["exp"]
    bodies = [(await call(client, "GET", "/me", by=holder)).body for holder in (household, fresh)]
    assert bodies[0] == bodies[1]


async def test_a_token_that_is_over_cannot_be_refreshed(client: Client) -> None:
    household = await sign_up(client)
    payload = jwt.decode(household.token, options={"verify_signature": False})
    expired = Household("", "", "", signed({**payload, "exp": int(time.time()) - 1}))
    assert_refused(await call(client, "POST", "/token/refresh", by=expired), 401, "Invalid token")
    assert (await call(client, "POST", "/signout", by=household)).status == 200
    assert_refused(await call(client, "POST", "/token/refresh", by=household), 401, "Invalid token")


async def test_a_token_expires_while_it_is_cached(make_client: MakeClient) -> None:
    client = await make_client(auth={"token_hours": 1.2 / 3600})
    household = await sign_up(client)
    assert (await call(client, "GET", "/me", by=household)).status == 200
    async with asyncio.timeout(4):
        while (answer := await call(client, "GET", "/me", by=household)).status == 200:
            pass
    assert_refused(answer, 401, "Invalid token")


async def until_refused(client: Client, household: Household) -> float:
    """Seconds until a token is refused."""
    began = time.monotonic()
    async with asyncio.timeout(5):
        while (await call(client, "GET", "/me", by=household)).status == 200:
            pass
    assert_refused(await call(client, "GET", "/me", by=household), 401, "Invalid token")
    return time.monotonic() - began


async def test_signing_out_ends_one_token_in_every_process_within_a_second(make_client: MakeClient) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    other = Household("", "", "", (await call(here, "POST", "/token/refresh", by=household)).body["token"])
    for client in (here, there):
        for holder in (household, other):
            assert (await call(client, "GET", "/me", by=holder)).status == 200
    answer = await call(here, "POST", "/signout", by=household)
    assert answer.status == 200
    assert answer.message
    assert_refused(await call(here, "GET", "/me", by=household), 401, "Invalid token")
    assert await until_refused(there, household) < 1
    for client in (here, there):
        assert (await call(client, "GET", "/me", by=other)).status == 200


async def test_a_changed_password_ends_every_token_in_every_process_within_a_second(make_client: MakeClient) -> None:
    here, there = await make_client(), await make_client()
    household, stranger = await sign_up(here), await sign_up(here)
    other = Household("", "", "", (await call(here, "POST", "/token/refresh", by=household)).body["token"])
    for holder in (household, other, stranger):
        assert (await call(there, "GET", "/me", by=holder)).status == 200
    form = {"oldPassword": PASSWORD, "newPassword": "rain-and-sunshine"}
    assert (await call(here, "POST", "/changepassword", form, by=household)).status == 200
    assert await until_refused(there, household) < 1
    assert await until_refused(there, other) < 1
    assert (await call(there, "GET", "/me", by=stranger)).status == 200


async def test_a_process_that_lost_its_listener_does_not_trust_its_cache(
    make_client: MakeClient, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Every listening connection dies together with the revocation, so no notification of it ever arrives."""
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    assert (await call(there, "GET", "/me", by=household)).status == 200
    killed = await connection.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'shakti-listen'"
    )
    assert killed >= 1
    assert (await call(here, "POST", "/signout", by=household)).status == 200
    assert await until_refused(there, household) < 1


async def test_an_account_that_no_longer_exists_is_refused(
    make_client: MakeClient, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    here, there = await make_client(), await make_client()
    household = await sign_up(here)
    assert (await call(here, "GET", "/me", by=household)).status == 200
    await connection.execute("DELETE FROM accounts")
    assert_refused(await call(there, "GET", "/me", by=household), 401, "Invalid token")
    for method, path in (("POST", "/setup"), ("POST", "/placebid/dayahead"), ("GET", "/bids/dayahead")):
        assert_refused(await call(there, method, path, {} if method == "POST" else None, by=household), 401)
    assert await until_refused(here, household) < 1
