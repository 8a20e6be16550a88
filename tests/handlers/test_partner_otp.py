"""Phone numbers of partners and their OTPs, line by line as the document has them."""

import asyncio
from typing import Any, TypeAlias

import asyncpg
import pytest

from tests.clock import Clock
from tests.conftest import Client, MakeClient, ReadOutbox
from tests.factories import ask_otp, latest_otp, new_phone
from tests.partner_factories import log_in, register
from tests.standins.twilio_api import TwilioStandIn

SENT = (200, {"message": "OTP sent successfully"})
VERIFIED = (200, {"message": "OTP verified successfully"})
EXPIRED = (400, {"message": "OTP has expired"})
INVALID = (401, {"message": "Invalid OTP"})
SID = "AC0123456789abcdef0123456789abcdef"
TOKEN = "5ecret5ecret5ecret5ecret5ecret55"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def send(client: Client, number: str) -> tuple[int, Any]:
    response = await client.post("/api/validate/send-otp", json={"mobileNumber": number})
    return response.status, await response.json()


async def verify(client: Client, number: str, otp: str) -> tuple[int, Any]:
    response = await client.post("/api/validate/verify-otp", json={"mobileNumber": number, "otp": otp})
    return response.status, await response.json()


def other_than(otp: str) -> str:
    return f"{(int(otp) + 1) % 1_000_000:06}"


async def test_a_number_is_verified_as_the_document_shows(
    client: Client, outbox: ReadOutbox, connection: Connection
) -> None:
    # The document sends to one form of the number and verifies another.
    assert await send(client, "1234567890") == SENT
    [message] = await outbox()
    assert (message["kind"], message["to"]) == ("sms", "+911234567890")
    assert await verify(client, "+911234567890", await latest_otp(client, "1234567890")) == VERIFIED
    assert await connection.fetchval("SELECT phone FROM verified_phones") == "+911234567890"


async def test_a_wrong_otp_is_invalid_and_the_right_one_works_after_it(client: Client) -> None:
    number = new_phone()
    await send(client, number)
    otp = await latest_otp(client, number)
    assert await verify(client, number, other_than(otp)) == INVALID
    assert await verify(client, number, "not a code") == INVALID
    assert await verify(client, number, otp) == VERIFIED


async def test_without_a_live_otp_it_has_expired(client: Client) -> None:
    number = new_phone()
    assert await verify(client, number, "123456") == EXPIRED
    await send(client, number)
    otp = await latest_otp(client, number)
    assert await verify(client, number, otp) == VERIFIED
    assert await verify(client, number, otp) == EXPIRED


async def test_an_otp_expires_after_five_minutes(make_client: MakeClient) -> None:
    clock = Clock()
    client = await make_client(clock=clock)
    number = new_phone()
    await send(client, number)
    otp = await latest_otp(client, number)
    clock.move(minutes=5, seconds=1)
    assert await verify(client, number, otp) == EXPIRED


async def test_five_wrong_tries_use_an_otp_up(client: Client) -> None:
    number = new_phone()
    await send(client, number)
    otp = await latest_otp(client, number)
    for _ in range(5):
        assert await verify(client, number, other_than(otp)) == INVALID
    assert await verify(client, number, otp) == EXPIRED


async def test_a_second_otp_takes_the_place_of_the_first(client: Client) -> None:
    number = new_phone()
    await send(client, number)
    first = await latest_otp(client, number)
    await send(client, number)
    second = await latest_otp(client, number)
    if first != second:
        assert await verify(client, number, first) == INVALID
    assert await verify(client, number, second) == VERIFIED


async def test_an_otp_for_an_energy_account_verifies_no_partner_s_number(client: Client) -> None:
    number = new_phone()
    assert await verify(client, number, await ask_otp(client, number)) == EXPIRED


async def test_of_two_that_use_an_otp_at_once_one_succeeds(client: Client) -> None:
    number = new_phone()
    await send(client, number)
    otp = await latest_otp(client, number)
    answers = await asyncio.gather(*(verify(client, number, otp) for _ in range(8)))
    assert sorted(answers, key=lambda answer: answer[0]) == [VERIFIED] + [EXPIRED] * 7


async def test_a_verified_number_shows_in_the_account(client: Client) -> None:
    partner = await register(client)
    headers = await log_in(client, partner)
    shown = []
    for role in ("phoneNumber", "ownerContactNumber"):
        number = partner.given[role]
        await send(client, number)
        assert await verify(client, number, await latest_otp(client, number)) == VERIFIED
        data = (await (await client.get("/api/shipper/me", headers=headers)).json())["data"]
        shown.append((data["phoneVerified"], data["ownerContactVerified"]))
    assert shown == [(True, False), (True, True)]


async def test_a_number_can_be_verified_again(client: Client, connection: Connection) -> None:
    number = new_phone()
    for _ in range(2):
        await send(client, number)
        assert await verify(client, number, await latest_otp(client, number)) == VERIFIED
    assert await connection.fetchval("SELECT count(*) FROM verified_phones") == 1


FAULT = "Mobile number must be a phone number like 9876543210 or +919876543210"
INVALID_BODIES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["Mobile number is required"]),
    ({"mobileNumber": None}, ["Mobile number is required"]),
    ({"mobileNumber": " "}, ["Mobile number is required"]),
    ({"mobileNumber": 1234567890}, ["Mobile number must be a text"]),
    ({"mobileNumber": "call me"}, [FAULT]),
    ({"mobileNumber": "١٢٣٤٥٦٧٨٩٠"}, [FAULT]),
    ({"mobileNumber": "123"}, ["Mobile number is not a possible phone number: it has too few or too many digits"]),
]


@pytest.mark.parametrize(("body", "errors"), INVALID_BODIES)
async def test_what_is_no_number_is_refused_by_both(client: Client, body: dict[str, Any], errors: list[str]) -> None:
    response = await client.post("/api/validate/send-otp", json=body)
    assert (response.status, await response.json()) == (400, {"message": "Validation failed", "errors": errors})
    response = await client.post("/api/validate/verify-otp", json=body)
    expected = {"message": "Validation failed", "errors": [*errors, "OTP is required"]}
    assert (response.status, await response.json()) == (400, expected)


async def test_sending_is_limited_for_a_number(client: Client) -> None:
    number = new_phone()
    for form in (number, f"0{number}", f"+91{number}", f"91{number}", number):
        assert await send(client, form) == SENT
    response = await client.post("/api/validate/send-otp", json={"mobileNumber": number})
    wait_s = int(response.headers["Retry-After"])
    assert 0 < wait_s <= 900
    expected = {"message": f"Too many requests; try again in {wait_s} seconds"}
    assert (response.status, await response.json()) == (429, expected)


async def test_an_otp_that_could_not_be_sent_is_the_document_s_500_and_not_kept(make_client: MakeClient) -> None:
    async with TwilioStandIn(SID, TOKEN, "unauthorized") as twilio:
        settings = {"account_sid": SID, "auth_token": TOKEN, "from_number": "+15005550006", "base_url": twilio.base_url}
        client = await make_client(sms=settings)
        number = new_phone()
        status, body = await send(client, number)
        assert status == 500
        assert body.keys() == {"message", "error"}
        assert body["message"] == "Failed to send OTP"
        assert body["error"]
        assert not any(secret in body["error"] for secret in (SID, TOKEN, "127.0.0.1", number))
        assert await verify(client, number, "123456") == EXPIRED


async def test_without_redis_both_answer_the_document_s_500(make_client: MakeClient, unused_tcp_port: int) -> None:
    client = await make_client(redis={"url": f"redis://127.0.0.1:{unused_tcp_port}", "timeout_s": 0.3})
    error = "Redis is unavailable"
    assert await send(client, new_phone()) == (500, {"message": "Failed to send OTP", "error": error})
    assert await verify(client, new_phone(), "123456") == (500, {"message": "Error verifying OTP", "error": error})


async def test_an_otp_works_again_when_the_number_could_not_be_recorded(
    make_client: MakeClient, connection: Connection
) -> None:
    client = await make_client(database={"timeout_s": 0.3})
    number = new_phone()
    await send(client, number)
    otp = await latest_otp(client, number)
    async with connection.transaction():
        await connection.execute("LOCK TABLE verified_phones")
        failed = {"message": "Error verifying OTP", "error": "The database is unavailable"}
        assert await verify(client, number, otp) == (500, failed)
    assert await verify(client, number, otp) == VERIFIED
