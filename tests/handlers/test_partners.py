"""Shippers and transporters: registration, login and account, line by line as their document has them."""

import asyncio
import re
from typing import Any, TypeAlias

import asyncpg
import pytest

from handlers.context import PASSWORDS
from tests.conftest import Client, MakeClient
from tests.factories import new_phone, sign_up
from tests.partner_factories import DOCUMENTED, ROOTS, SHIPPER, log_in, new_registration, register

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
KINDS = ["shipper", "transporter"]
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
INVALID_CREDENTIALS = {"success": False, "message": "Invalid credentials"}


def failed(*errors: str) -> dict[str, Any]:
    return {"success": False, "message": "Validation failed", "errors": list(errors)}


async def post(client: Client, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    response = await client.post(path, json=body, headers=headers)
    assert response.content_type == "application/json"
    return response.status, await response.json()


@pytest.mark.parametrize("kind", KINDS)
async def test_registration_answers_as_the_document_shows(client: Client, kind: str) -> None:
    given = DOCUMENTED[kind]
    status, body = await post(client, f"{ROOTS[kind]}/register", given)
    assert status == 201
    created, updated, number = (body["data"].pop(name) for name in ("createdAt", "updatedAt", "id"))
    assert TIME.fullmatch(created)
    assert created == updated
    assert type(number) is int
    shown = {name: value for name, value in given.items() if name != "password"}
    assert body == {"success": True, "message": f"{kind.capitalize()} registered successfully", "data": shown}


async def test_the_two_kinds_do_not_collide(client: Client) -> None:
    # The document's two examples share their GST number.
    for kind in KINDS:
        assert (await post(client, f"{ROOTS[kind]}/register", DOCUMENTED[kind]))[0] == 201
    assert (await post(client, "/api/transporters/register", SHIPPER))[0] == 400
    unrelated = {**SHIPPER, "gstNumber": "29AAPFU0939F1ZV"}
    assert (await post(client, "/api/transporters/register", unrelated))[0] == 201


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_missing_and_what_is_taken_is_told_at_once(client: Client, kind: str) -> None:
    taken = await register(client, kind)
    given = new_registration(email=taken.given["email"])
    del given["password"]
    answer = await post(client, f"{ROOTS[kind]}/register", given)
    assert answer == (400, failed("Password is required", "Email is already registered"))


@pytest.mark.parametrize("empty", [{}, dict.fromkeys(SHIPPER), dict.fromkeys(SHIPPER, "")])
async def test_every_missing_field_is_named(client: Client, empty: dict[str, Any]) -> None:
    assert await post(client, "/api/shipper/register", empty) == (
        400,
        failed(
            "Owner name is required",
            "Owner contact number is required",
            "Email is required",
            "Phone number is required",
            "Password is required",
            "Company name is required",
            "Company address is required",
            "GST number is required",
        ),
    )


async def test_every_fault_of_format_is_named(client: Client) -> None:
    given = {
        "ownerName": "Eve\r\nBcc: everyone@example.com",
        "ownerContactNumber": "12",
        "email": "john.example.com",
        "phoneNumber": "call me",
        "password": "short",
        "companyName": 7,
        "companyAddress": "x" * 501,
        "gstNumber": "27AAPFU0939F1YV",
    }
    assert await post(client, "/api/shipper/register", given) == (
        400,
        failed(
            "Owner name must not contain line breaks or control characters",
            "Owner contact number must be a phone number like 9876543210 or +919876543210",
            "Email must be an e-mail address like name@example.com",
            "Phone number must be a phone number like 9876543210 or +919876543210",
            "Password must have at least 8 characters",
            "Company name must be a text",
            "Company address must not be longer than 500 characters",
            "GST number must be a GSTIN like 27AAPFU0939F1ZV",
        ),
    )


@pytest.mark.parametrize("name", SHIPPER)
async def test_a_value_of_no_use_is_refused_in_any_field(client: Client, name: str) -> None:
    values: list[Any] = [7, 1.5, True, [], {}, ["John"], "a\0b", "\ud800", "9" * 5000]
    for value in values:
        status, body = await post(client, "/api/shipper/register", {**new_registration(), name: value})
        assert (status, body["success"], body["message"]) == (400, False, "Validation failed"), value
        assert len(body["errors"]) == 1, value


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'"text"', b"{", b'{"email": NaN}', b'{"a": 1, "a": 2}', b"\xff"])
async def test_what_is_no_json_object_is_refused(client: Client, raw: bytes) -> None:
    response = await client.post("/api/shipper/register", data=raw, headers={"Content-Type": "application/json"})
    body = await response.json()
    assert (response.status, body["success"], body["message"]) == (400, False, "Validation failed")
    assert len(body["errors"]) == 1


async def test_an_email_is_taken_in_any_case(client: Client) -> None:
    await register(client, email="Mixed.Case@Example.com")
    given = new_registration(email="mixed.CASE@eXample.COM")
    assert await post(client, "/api/shipper/register", given) == (400, failed("Email is already registered"))


async def test_an_email_is_shown_as_it_was_given(client: Client) -> None:
    partner = await register(client, email="Mixed.Case@Example.com")
    body = await (await client.get("/api/shipper/me", headers=await log_in(client, partner))).json()
    assert body["data"]["email"] == "Mixed.Case@Example.com"


async def test_an_international_domain_is_taken_in_both_its_forms(client: Client) -> None:
    await register(client, email="fracht@bücher.example")
    given = new_registration(email="fracht@xn--bcher-kva.example")
    assert await post(client, "/api/shipper/register", given) == (400, failed("Email is already registered"))


async def test_a_gst_number_is_kept_in_upper_case_and_taken_in_any(client: Client) -> None:
    given = new_registration(gstNumber="27aapfu0939f1zv")
    status, body = await post(client, "/api/shipper/register", given)
    assert (status, body["data"]["gstNumber"]) == (201, "27AAPFU0939F1ZV")
    again = new_registration(gstNumber="27AAPFU0939F1ZV")
    assert await post(client, "/api/shipper/register", again) == (400, failed("GST number is already registered"))


@pytest.mark.parametrize("role", ["ownerContactNumber", "phoneNumber"])
@pytest.mark.parametrize("earlier_role", ["ownerContactNumber", "phoneNumber"])
async def test_a_number_is_taken_in_either_role_and_any_form(client: Client, role: str, earlier_role: str) -> None:
    number = new_phone()
    await register(client, **{earlier_role: number})
    for form in (number, f"0{number}", f"+91{number}", f"91 {number[:5]} {number[5:]}"):
        given = new_registration(**{role: form})
        assert await post(client, "/api/shipper/register", given) == (400, failed("Phone number is already registered"))


async def test_everything_that_is_taken_is_named_at_once(client: Client) -> None:
    partner = await register(client)
    taken = ("Email is already registered", "GST number is already registered", "Phone number is already registered")
    assert await post(client, "/api/shipper/register", partner.given) == (400, failed(*taken))


async def test_both_numbers_of_one_account_may_be_the_same(client: Client) -> None:
    number = new_phone()
    partner = await register(client, ownerContactNumber=number, phoneNumber=f"+91{number}")
    await log_in(client, partner)


async def test_unknown_fields_are_ignored(client: Client, connection: Connection) -> None:
    extra = {
        "id": 4711,
        "kind": "transporter",
        "userType": "transporter",
        "emailVerified": True,
        "isEmailVerified": True,
        "email_verified_at": "2020-01-01T00:00:00Z",
        "token_generation": 9,
        "createdAt": "2020-01-01T00:00:00Z",
        "password_hash": "x",
        "success": False,
    }
    status, body = await post(client, "/api/shipper/register", {**new_registration(), **extra})
    assert status == 201
    assert body["data"]["id"] != 4711
    assert not body["data"]["createdAt"].startswith("2020")
    row = await connection.fetchrow("SELECT kind, email_verified_at, token_generation, password_hash FROM partners")
    assert row is not None
    assert (row["kind"], row["email_verified_at"], row["token_generation"]) == ("shipper", None, 1)
    assert row["password_hash"].startswith("$2b$04$")


async def test_text_that_looks_like_sql_is_kept_as_text(client: Client) -> None:
    text = "Robert'); DROP TABLE partners; --"
    partner = await register(client, ownerName=text, companyName=text, companyAddress=text)
    data = (await (await client.get("/api/shipper/me", headers=await log_in(client, partner))).json())["data"]
    assert {data["ownerName"], data["companyName"], data["companyAddress"]} == {text}


async def test_names_in_any_script_come_back_unchanged(client: Client) -> None:
    name = "मीरा नायर \N{RIGHT-TO-LEFT MARK}\N{DELIVERY TRUCK}"
    partner = await register(client, ownerName=name)
    data = (await (await client.get("/api/shipper/me", headers=await log_in(client, partner))).json())["data"]
    assert data["ownerName"] == name


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("1234567", "Password must have at least 8 characters"),
        ("12345678", None),
        ("x" * 72, None),
        ("x" * 73, "Password must not be longer than 72 bytes in UTF-8"),
        ("ख" * 24, None),
        ("ख" * 25, "Password must not be longer than 72 bytes in UTF-8"),
        ("        ", None),
        ("eight\0char", "Password must not contain a NUL character"),
    ],
)
async def test_a_password_is_taken_as_it_is_or_refused(client: Client, password: str, fault: str | None) -> None:
    if fault is None:
        await log_in(client, await register(client, password=password))
    else:
        answer = await post(client, "/api/shipper/register", new_registration(password=password))
        assert answer == (400, failed(fault))


class Gathering:
    """Holds registrations back until all of them have found their values free."""

    def __init__(self, client: Client, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
        assert client.app is not None
        passwords = client.app[PASSWORDS]
        barrier = asyncio.Barrier(expected)
        hash_password = passwords.hash

        async def hash_together(password: str) -> str:
            await barrier.wait()
            return await hash_password(password)

        monkeypatch.setattr(passwords, "hash", hash_together)


async def race(client: Client, monkeypatch: pytest.MonkeyPatch, *given: dict[str, str]) -> list[tuple[int, Any]]:
    """Registrations of which each has looked before any has written; the answers, the success first."""
    Gathering(client, len(given), monkeypatch)
    answers = await asyncio.gather(*(post(client, "/api/shipper/register", one) for one in given))
    return sorted(answers, key=lambda answer: answer[0])


RACES = [
    (
        ("email",),
        "ALTER TABLE partners DROP CONSTRAINT partners_email_is_unique",
        ["Email is already registered"],
    ),
    (
        ("gstNumber",),
        "ALTER TABLE partners DROP CONSTRAINT partners_gst_number_is_unique",
        ["GST number is already registered"],
    ),
    (
        ("phoneNumber",),
        "ALTER TABLE partner_phones DROP CONSTRAINT partner_phones_is_unique",
        ["Phone number is already registered"],
    ),
]


@pytest.mark.parametrize(("shared", "drop", "errors"), RACES, ids=str)
async def test_of_two_registrations_at_once_one_gets_the_document_s_400(
    client: Client, monkeypatch: pytest.MonkeyPatch, shared: tuple[str, ...], drop: str, errors: list[str]
) -> None:
    first = new_registration()
    second = new_registration(**{name: first[name] for name in shared})
    [won, lost] = await race(client, monkeypatch, first, second)
    assert won[0] == 201
    assert lost == (400, failed(*errors))


@pytest.mark.parametrize(("shared", "drop", "errors"), RACES, ids=str)
async def test_without_the_constraint_the_race_would_make_two(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    connection: Connection,
    shared: tuple[str, ...],
    drop: str,
    errors: list[str],
) -> None:
    await connection.execute(drop)
    first = new_registration()
    second = new_registration(**{name: first[name] for name in shared})
    assert [status for status, _ in await race(client, monkeypatch, first, second)] == [201, 201]


async def test_the_loser_of_a_race_is_told_everything_that_is_taken(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = new_registration()
    [won, lost] = await race(client, monkeypatch, given, given)
    assert won[0] == 201
    taken = ("Email is already registered", "GST number is already registered", "Phone number is already registered")
    assert lost == (400, failed(*taken))


@pytest.mark.parametrize("kind", KINDS)
async def test_login_answers_as_the_document_shows(client: Client, kind: str) -> None:
    given = DOCUMENTED[kind]
    _, registered = await post(client, f"{ROOTS[kind]}/register", given)
    # The document's request has both names.
    asked = {"email": given["email"], "mobileNumber": given["ownerContactNumber"], "password": given["password"]}
    status, body = await post(client, f"{ROOTS[kind]}/login", asked)
    assert status == 200
    token = body.pop("token")
    assert token.count(".") == 2
    assert body == {
        "success": True,
        "message": "Login successful",
        "data": {
            "id": registered["data"]["id"],
            "companyName": given["companyName"],
            "email": given["email"],
            "mobileNumber": given["ownerContactNumber"],
        },
    }
    me = await client.get(f"{ROOTS[kind]}/me", headers={"Authorization": f"Bearer {token}"})
    assert me.status == 200


@pytest.mark.parametrize(
    "name",
    [
        {"email": "JOHN@example.com"},
        {"email": " john@example.com "},
        {"mobileNumber": "9876543210"},
        {"mobileNumber": "9876543211"},
        {"mobileNumber": "+91 98765 43211"},
        {"mobileNumber": "09876543211", "email": ""},
        {"mobileNumber": "9876543211", "email": None},
        {"email": "john@example.com", "mobileNumber": "an old number"},
    ],
    ids=str,
)
async def test_an_account_logs_in_by_each_of_its_names(client: Client, name: dict[str, Any]) -> None:
    await post(client, "/api/shipper/register", SHIPPER)
    status, body = await post(client, "/api/shipper/login", {**name, "password": SHIPPER["password"]})
    assert status == 200
    # Always the owner's contact number, in the form in which it was given.
    assert body["data"]["mobileNumber"] == "9876543210"


@pytest.mark.parametrize(
    "asked",
    [
        {"email": "john@example.com", "password": "wrongpassword"},
        {"email": "jane@example.com", "password": "securepassword"},
        {"email": "no e-mail at all", "password": "securepassword"},
        {"mobileNumber": "9876543210", "password": "wrongpassword"},
        {"mobileNumber": "9000000000", "password": "securepassword"},
        {"mobileNumber": "12", "password": "securepassword"},
        {"mobileNumber": "no number at all", "password": "securepassword"},
        {"email": "john@example.com", "password": "x" * 200},
        {"email": "john@example.com", "password": "secure\0password"},
        {"email": "jane@example.com", "mobileNumber": "9876543210", "password": "securepassword"},
        {"email": "john@example.com' OR 1=1 --", "password": "securepassword"},
    ],
    ids=str,
)
async def test_every_wrong_login_looks_the_same(client: Client, asked: dict[str, str]) -> None:
    await post(client, "/api/shipper/register", SHIPPER)
    response = await client.post("/api/shipper/login", json=asked)
    assert (response.status, await response.json()) == (401, INVALID_CREDENTIALS)
    unknown = await client.post("/api/shipper/login", json={"email": "no@example.com", "password": "securepassword"})
    varying = {"X-Request-ID", "Date"}
    assert {k: v for k, v in response.headers.items() if k not in varying} == {
        k: v for k, v in unknown.headers.items() if k not in varying
    }


async def test_a_login_for_nobody_costs_a_hash_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.app is not None
    passwords, checked = client.app[PASSWORDS], []
    check = passwords.check

    async def noted(password: str, hashed: str | None) -> bool:
        checked.append(hashed)
        return await check(password, hashed)

    monkeypatch.setattr(passwords, "check", noted)
    for name in ({"email": "no@example.com"}, {"mobileNumber": "12"}, {"mobileNumber": "9000000000"}):
        await post(client, "/api/shipper/login", {**name, "password": "securepassword"})
    assert checked == [None, None, None]


async def test_one_kind_does_not_log_in_as_the_other(client: Client) -> None:
    await post(client, "/api/shipper/register", SHIPPER)
    asked = {"email": SHIPPER["email"], "password": SHIPPER["password"]}
    assert await post(client, "/api/transporters/login", asked) == (401, INVALID_CREDENTIALS)


@pytest.mark.parametrize(
    ("asked", "errors"),
    [
        ({"password": "securepassword"}, ["Email or mobile number is required"]),
        ({"password": "securepassword", "email": "", "mobileNumber": None}, ["Email or mobile number is required"]),
        ({}, ["Email or mobile number is required", "Password is required"]),
        ({"email": "john@example.com"}, ["Password is required"]),
        ({"email": 5, "password": "securepassword"}, ["Email must be a text"]),
        ({"email": 5, "mobileNumber": [], "password": {}}, [
            "Email must be a text", "Mobile number must be a text", "Password must be a text",
        ]),
    ],
    ids=str,
)  # fmt: skip
async def test_a_login_that_names_nobody_is_invalid(client: Client, asked: dict[str, Any], errors: list[str]) -> None:
    assert await post(client, "/api/shipper/login", asked) == (400, failed(*errors))


async def test_failed_logins_count_for_the_account_by_whichever_name(make_client: MakeClient) -> None:
    client = await make_client(server={"trusted_proxies": ("127.0.0.0/8",)}, limits={"signin_failures": 4})
    stranger, owner = {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-For": "203.0.113.5"}
    registered = await client.post("/api/shipper/register", json=SHIPPER, headers=owner)
    assert registered.status == 201
    names = [{"email": "john@example.com"}, {"mobileNumber": "9876543210"}, {"mobileNumber": "9876543211"}]
    for name in (*names, names[0]):
        answer = await post(client, "/api/shipper/login", {**name, "password": "wrongpassword"}, **stranger)
        assert answer == (401, INVALID_CREDENTIALS)
    for name in names:
        response = await client.post("/api/shipper/login", json={**name, "password": "wrong"}, headers=stranger)
        body = await response.json()
        wait_s = int(response.headers["Retry-After"])
        assert (response.status, body) == (
            429,
            {"success": False, "message": f"Too many requests; try again in {wait_s} seconds"},
        )
    # The address that registered is known: a stranger cannot lock the owner out.
    asked = {"email": "john@example.com", "password": "securepassword"}
    assert (await post(client, "/api/shipper/login", asked, **owner))[0] == 200


async def test_nobody_can_be_locked_out_by_a_name_that_looks_like_an_account(make_client: MakeClient) -> None:
    client = await make_client(limits={"signin_failures": 1})
    partner = await register(client)
    for name in (f"shipper#{partner.partner_id}", f"#{partner.partner_id}", str(partner.partner_id)):
        await post(client, "/api/shipper/login", {"mobileNumber": name, "password": "wrongpassword"})
        await post(client, "/api/shipper/login", {"email": name, "password": "wrongpassword"})
    await log_in(client, partner)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_account_is_shown_to_its_holder(client: Client, kind: str) -> None:
    partner = await register(client, kind)
    response = await client.get(f"{ROOTS[kind]}/me", headers=await log_in(client, partner))
    body = await response.json()
    assert TIME.fullmatch(body["data"].pop("createdAt"))
    assert TIME.fullmatch(body["data"].pop("updatedAt"))
    shown = {name: value for name, value in partner.given.items() if name != "password"}
    assert (response.status, body) == (
        200,
        {
            "success": True,
            "data": {
                "id": partner.partner_id,
                **shown,
                "emailVerified": False,
                "phoneVerified": False,
                "ownerContactVerified": False,
            },
        },
    )


@pytest.mark.parametrize(("kind", "other"), [("shipper", "transporter"), ("transporter", "shipper")])
async def test_a_token_of_one_kind_is_forbidden_to_the_other(client: Client, kind: str, other: str) -> None:
    headers = await log_in(client, await register(client, kind))
    response = await client.get(f"{ROOTS[other]}/me", headers=headers)
    expected = {"success": False, "message": "This token belongs to another kind of account"}
    assert (response.status, await response.json()) == (403, expected)


async def test_other_tokens_than_a_partner_s_are_invalid(client: Client) -> None:
    household = await sign_up(client)
    for headers in ({}, household.headers, {"Authorization": "Bearer x.y.z"}):
        response = await client.get("/api/shipper/me", headers=headers)
        assert (response.status, await response.json()) == (401, {"success": False, "message": "Invalid token"})


async def test_the_token_of_a_partner_that_is_gone_is_invalid(client: Client, connection: Connection) -> None:
    headers = await log_in(client, await register(client))
    await connection.execute("DELETE FROM partners")
    response = await client.get("/api/shipper/me", headers=headers)
    assert (response.status, await response.json()) == (401, {"success": False, "message": "Invalid token"})


async def test_registrations_from_one_address_are_limited(make_client: MakeClient) -> None:
    client = await make_client(limits={"partner_requests_per_address": 2})
    for _ in range(2):
        assert (await post(client, "/api/shipper/register", {}))[0] == 400
    response = await client.post("/api/transporters/register", json=new_registration())
    assert response.status == 429
    assert 0 < int(response.headers["Retry-After"]) <= 900
    assert (await response.json())["success"] is False


@pytest.mark.parametrize("kind", KINDS)
async def test_a_database_that_does_not_answer_is_the_document_s_500(
    make_client: MakeClient, connection: Connection, kind: str
) -> None:
    client = await make_client(database={"timeout_s": 0.3})
    async with connection.transaction():
        await connection.execute("LOCK TABLE partners, partner_phones")
        for path, body in (("register", new_registration()), ("login", {"email": "a@example.com", "password": "x"})):
            response = await client.post(f"{ROOTS[kind]}/{path}", json=body)
            expected = {"success": False, "message": "Internal server error"}
            assert (response.status, await response.json()) == (500, expected)
            assert response.headers["Retry-After"]
            assert response.headers["X-Request-ID"]
