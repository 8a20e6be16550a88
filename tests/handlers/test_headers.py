"""Headers of security, CORS, and whose word about the client's address is believed."""

from tests.answers import call
from tests.conftest import Client, MakeClient
from tests.factories import new_phone, sign_up

ALLOWED = "https://app.example.in"
FOREIGN = "https://evil.example"
PATHS = ("/me", "/signin", "/nothing", "/healthz", "/dev/outbox", "/verify-email", "/book/dayahead")


async def test_every_answer_forbids_sniffing_framing_and_inline_code(client: Client) -> None:
    household = await sign_up(client)
    for path in PATHS:
        for accept in ("application/json", "text/html"):
            response = await client.get(path, headers={**household.headers, "Accept": accept})
            headers = response.headers
            assert headers["X-Content-Type-Options"] == "nosniff", path
            policy = headers["Content-Security-Policy"]
            assert "unsafe-" not in policy
            assert "frame-ancestors 'none'" in policy
            assert "default-src" in policy
            assert headers["X-Frame-Options"] == "DENY"
            assert "Server" not in headers or "/" not in headers["Server"], "no versions for an attacker"
            assert "X-Powered-By" not in headers


async def test_answers_with_secrets_are_not_kept_by_caches(client: Client) -> None:
    household = await sign_up(client)
    for path in ("/me", "/bids/dayahead", "/userData", "/dev/outbox"):
        response = await client.get(path, headers=household.headers)
        assert "no-store" in response.headers["Cache-Control"], path
    refreshed = await call(client, "POST", "/token/refresh", by=household)
    assert "no-store" in refreshed.headers["Cache-Control"]


async def test_a_preflight_from_an_allowed_origin_names_what_it_may_do(make_client: MakeClient) -> None:
    client = await make_client(server={"cors_origins": (ALLOWED,)})
    for path, method in (
        ("/signin", "POST"),
        ("/placebid/dayahead", "POST"),
        ("/bids/dayahead/1", "PATCH"),
        ("/me", "GET"),
    ):
        response = await client.options(
            path,
            headers={
                "Origin": ALLOWED,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
            },
        )
        assert response.status in (200, 204)
        assert response.headers["Access-Control-Allow-Origin"] == ALLOWED
        assert method in response.headers["Access-Control-Allow-Methods"]
        allowed = response.headers["Access-Control-Allow-Headers"].lower()
        assert all(name in allowed for name in ("authorization", "content-type", "idempotency-key"))
        assert "origin" in ",".join(response.headers.getall("Vary")).lower()


async def test_a_preflight_from_a_foreign_origin_gets_nothing(make_client: MakeClient) -> None:
    client = await make_client(server={"cors_origins": (ALLOWED,)})
    looks_alike = (
        FOREIGN,
        "null",
        ALLOWED + ".evil.example",
        "http://app.example.in",
        ALLOWED.upper(),
        ALLOWED + ":444",
    )
    for origin in looks_alike:
        response = await client.options("/signin", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert not [name for name in response.headers if name.startswith("Access-Control-")], origin
        assert "origin" in ",".join(response.headers.getall("Vary")).lower()


async def test_answers_say_that_they_depend_on_the_origin(make_client: MakeClient) -> None:
    client = await make_client(server={"cors_origins": (ALLOWED,)})
    for path in PATHS:
        for origin in (ALLOWED, FOREIGN, None):
            response = await client.get(path, headers={"Origin": origin} if origin else {})
            assert "origin" in ",".join(response.headers.getall("Vary")).lower(), path
            shown = response.headers.get("Access-Control-Allow-Origin")
            assert shown == (ALLOWED if origin == ALLOWED else None), (path, origin)
            assert response.headers.get("Access-Control-Allow-Credentials") != "true"


async def test_without_a_setting_no_origin_is_allowed(client: Client) -> None:
    for origin in (ALLOWED, "http://localhost", "null", ""):
        response = await client.get("/healthz", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in response.headers


async def limited_by(client: Client, *forwarded: str) -> list[int]:
    """The statuses of asking for an OTP with these X-Forwarded-For, each for a number of its own."""
    return [
        (await call(client, "POST", "/sendotp", {"PhoneNo": new_phone()}, headers={"X-Forwarded-For": value})).status
        for value in forwarded
    ]


async def test_a_stranger_cannot_choose_its_address(make_client: MakeClient) -> None:
    client = await make_client(limits={"otp_per_address": 2})
    assert await limited_by(client, "198.51.100.1", "198.51.100.2", "198.51.100.3") == [200, 200, 429]


async def test_a_trusted_proxy_speaks_for_its_clients_and_no_further(make_client: MakeClient) -> None:
    client = await make_client(limits={"otp_per_address": 1}, server={"trusted_proxies": ("127.0.0.0/8", "10.0.0.0/8")})
    assert await limited_by(client, "198.51.100.1", "198.51.100.1", "198.51.100.2") == [200, 429, 200]
    assert await limited_by(client, "203.0.113.9, 198.51.100.1") == [429], (
        "what a client adds on the left is its own claim"
    )
    assert await limited_by(client, "198.51.100.3, 10.1.2.3", "198.51.100.3") == [200, 429], "two trusted hops"
    assert await limited_by(client, "2001:db8::1", "2001:db8::1") == [200, 429]
    nonsense = await limited_by(client, "nonsense", "other nonsense")
    assert nonsense == [200, 429], "what is no address counts as the proxy's"
