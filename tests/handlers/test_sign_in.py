"""POST /signin, line by line of the published document and the rules around it."""

from typing import Any

import asyncpg
import bcrypt
import pytest

from tests.answers import Answer, assert_invalid, assert_refused, call
from tests.conftest import Client
from tests.factories import PASSWORD, Household, sign_up

FIELDS = ("PhoneNo", "password", "connectionId", "accountType")
CHANGING = {"Date", "X-Request-ID"}


def form(household: Household, **changed: Any) -> dict[str, Any]:
    """A sign-in that is right but for what is changed."""
    return {
        "PhoneNo": household.phone,
        "password": PASSWORD,
        "connectionId": household.connection_id,
        "accountType": household.account_type,
        **changed,
    }


async def sign_in(client: Client, household: Household, **changed: Any) -> Answer:
    return await call(client, "POST", "/signin", form(household, **changed))


async def test_sign_in_answers_as_the_document_says(client: Client) -> None:
    for kind in ("prosumer", "consumer"):
        household = await sign_up(client, kind, "1234567890")
        answer = await sign_in(client, household)
        assert answer.status == 200
        assert set(answer.body) == {"message", "token", "accountType"}
        assert answer.body["message"] == "Login successful"
        assert answer.body["accountType"] == kind
        assert answer.body["token"] != household.token
        signed_in = Household("", "", "", answer.body["token"])
        assert (await call(client, "GET", "/me", by=signed_in)).status == 200


async def test_every_usual_form_of_the_number_signs_in(client: Client) -> None:
    household = await sign_up(client, phone="9876543210")
    for same in ("9876543210", "09876543210", "+919876543210", "91 98765 43210"):
        assert (await sign_in(client, household, PhoneNo=same)).status == 200, same


async def test_every_missing_field_is_named_at_once(client: Client) -> None:
    assert_invalid(await call(client, "POST", "/signin", {}), *FIELDS)


async def test_a_value_of_a_wrong_type_is_refused_at_every_field(client: Client) -> None:
    household = await sign_up(client)
    for name in FIELDS:
        values: tuple[Any, ...] = (None, True, {}, [], {"$ne": None}, 1.5, "")
        for wrong in values:
            assert_invalid(await sign_in(client, household, **{name: wrong}), name)


async def test_failures_cannot_be_told_apart(client: Client) -> None:
    household = await sign_up(client)
    wrong: tuple[dict[str, str], ...] = (
        {"password": "not-the-password"},
        {"PhoneNo": "9000000001"},
        {"connectionId": "unknown"},
        {"accountType": "consumer"},
        {"connectionId": "' OR 1=1 --"},
        {"PhoneNo": "9000000001", "connectionId": "unknown", "password": "x"},
    )
    seen = []
    for changed in wrong:
        answer = await sign_in(client, household, **changed)
        assert_refused(answer, 401, "Invalid credentials")
        seen.append([item for item in answer.headers.items() if item[0] not in CHANGING])
    assert all(headers == seen[0] for headers in seen), seen


@pytest.mark.parametrize("known", [True, False])
async def test_known_and_unknown_accounts_cost_the_same_work(
    client: Client, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    household = await sign_up(client)
    rounds = []
    check = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        rounds.append(hashed[:7])
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    changed = {} if known else {"connectionId": "unknown"}
    await sign_in(client, household, password="not-the-password", **changed)
    assert rounds == [b"$2b$04$"]


async def test_a_password_that_no_account_can_have_is_refused_without_a_fault(client: Client) -> None:
    household = await sign_up(client)
    for password in ("p" * 73, "p" * 10_000, PASSWORD + "\0", PASSWORD + "\0tail", "🌞" * 30):
        answer = await sign_in(client, household, password=password)
        assert answer.status in (400, 401), answer


async def test_passwords_are_kept_as_bcrypt_hashes_only(
    client: Client, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await sign_up(client)
    rows = await connection.fetch("SELECT to_jsonb(a)::text AS kept FROM accounts a")
    assert len(rows) == 1
    assert "$2b$04$" in rows[0]["kept"]
    assert PASSWORD not in rows[0]["kept"]


async def test_fields_that_are_not_asked_for_change_nothing(client: Client) -> None:
    household = await sign_up(client)
    other = await sign_up(client)
    before = (await call(client, "GET", "/me", by=household)).body
    answer = await sign_in(client, household, id=1, account_id=2, otp="1", username="Other", token=other.token)
    signed_in = Household("", "", "", answer.body["token"])
    assert (await call(client, "GET", "/me", by=signed_in)).body == before
