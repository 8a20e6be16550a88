"""Verification of partners' e-mails, line by line as their document has it, and the page behind the link."""

import asyncio
import re
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import jwt
import pytest

from auth.tokens import Purpose, Tokens
from tests.clock import Clock
from tests.conftest import SECRET, Client, MakeClient, ReadOutbox
from tests.partner_factories import Registered, log_in, register, send_link, token_in
from tests.standins.mail import MailStandIn

VERIFIED = (200, {"message": "Email verified successfully"})
ALREADY = (200, {"message": "Email already verified"})
INVALID = (400, {"message": "Invalid or expired token"})
NOT_FOUND = (404, {"message": "User not found"})
STATUS_NOT_FOUND = (404, {"status": "user_not_found"})
BOTH = ["/api/email/check-email-status", "/api/email/send-email-link"]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def post(client: Client, path: str, body: Any) -> tuple[int, Any]:
    response = await client.post(path, json=body)
    return response.status, await response.json()


async def status_of(client: Client, partner: Registered, **changes: str) -> tuple[int, Any]:
    return await post(client, "/api/email/check-email-status", {**partner.account, **changes})


async def ask_link(client: Client, partner: Registered, **changes: str) -> tuple[int, Any]:
    return await post(client, "/api/email/send-email-link", {**partner.account, **changes})


async def click(client: Client, token: str) -> tuple[int, Any]:
    response = await client.get("/api/email/verify-email-link", params={"token": token})
    return response.status, await response.json()


@pytest.mark.parametrize("kind", ["shipper", "transporter"])
async def test_an_email_is_verified_as_the_document_shows(client: Client, kind: str) -> None:
    partner = await register(client, kind, gstNumber="27ABCDE1234F1Z5", email="user@gmail.com")
    assert partner.account == {"gstNumber": "27ABCDE1234F1Z5", "userType": kind, "email": "user@gmail.com"}
    assert await status_of(client, partner) == (200, {"status": "not_verified_no_token"})
    token = await send_link(client, partner)
    assert await status_of(client, partner) == (200, {"status": "token_sent_not_verified"})
    assert await click(client, token) == VERIFIED
    assert await status_of(client, partner) == (200, {"status": "verified"})
    assert await click(client, token) == ALREADY


async def test_a_verified_account_gets_no_mail(client: Client, outbox: ReadOutbox) -> None:
    partner = await register(client)
    await click(client, await send_link(client, partner))
    before = await outbox()
    assert await ask_link(client, partner) == ALREADY
    assert await outbox() == before


async def test_verification_shows_in_the_account(client: Client) -> None:
    partner = await register(client)
    headers = await log_in(client, partner)
    await click(client, await send_link(client, partner))
    data = (await (await client.get("/api/shipper/me", headers=headers)).json())["data"]
    assert data["emailVerified"] is True
    assert data["updatedAt"] > data["createdAt"]


@pytest.mark.parametrize(
    "change", [{"gstNumber": "27ABCDE9999F1Z5"}, {"email": "other@example.com"}, {"userType": "transporter"}], ids=str
)
async def test_an_account_is_found_by_gst_number_email_and_kind_together(
    client: Client, change: dict[str, str]
) -> None:
    partner = await register(client)
    assert await status_of(client, partner, **change) == STATUS_NOT_FOUND
    assert await ask_link(client, partner, **change) == NOT_FOUND


async def test_an_account_is_found_in_any_case(client: Client) -> None:
    partner = await register(client, email="User@Gmail.com", gstNumber="27ABCDE1234F1Z5")
    found = await status_of(client, partner, email="uSER@gmail.com", gstNumber="27abcde1234f1z5")
    assert found == (200, {"status": "not_verified_no_token"})


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("word", ["admin", "Shipper", "shippers", 5, True, ["shipper"], {}], ids=repr)
async def test_another_user_type_is_invalid(client: Client, path: str, word: Any) -> None:
    partner = await register(client)
    invalid = (400, {"message": "Invalid userType"})
    assert await post(client, path, {**partner.account, "userType": word}) == invalid
    assert await post(client, path, {"userType": word}) == invalid


@pytest.mark.parametrize("path", BOTH)
async def test_all_other_faults_are_named_at_once(client: Client, path: str) -> None:
    required = ["GST number is required", "User type is required", "Email is required"]
    assert await post(client, path, {}) == (400, {"message": "Validation failed", "errors": required})
    wrong = {"gstNumber": "27AB", "userType": "shipper", "email": "user@gmail.com\r\nBcc: all@example.com"}
    errors = [
        "GST number must be a GSTIN like 27AAPFU0939F1ZV",
        "Email must not contain line breaks or control characters",
    ]
    assert await post(client, path, wrong) == (400, {"message": "Validation failed", "errors": errors})


async def test_a_second_link_overwrites_the_first(client: Client) -> None:
    partner = await register(client)
    first, second = await send_link(client, partner), await send_link(client, partner)
    assert await click(client, first) == INVALID
    assert await status_of(client, partner) == (200, {"status": "token_sent_not_verified"})
    assert await click(client, second) == VERIFIED
    assert await click(client, first) == INVALID
    assert await click(client, second) == ALREADY


async def test_of_two_links_sent_at_once_one_works(client: Client, outbox: ReadOutbox) -> None:
    partner = await register(client)
    await asyncio.gather(*(ask_link(client, partner) for _ in range(4)))
    tokens = {token_in(message["body"]) for message in await outbox() if message["kind"] == "email"}
    assert len(tokens) == 4
    answers = [await click(client, token) for token in tokens]
    assert sorted(answers, key=lambda answer: answer[0]) == [VERIFIED, INVALID, INVALID, INVALID]


async def test_of_two_clicks_at_once_one_verifies(client: Client) -> None:
    partner = await register(client)
    token = await send_link(client, partner)
    answers = await asyncio.gather(*(click(client, token) for _ in range(8)))
    assert sorted(body["message"] for _, body in answers) == [ALREADY[1]["message"]] * 7 + [VERIFIED[1]["message"]]
    assert {status for status, _ in answers} == {200}


async def test_a_link_expires_after_an_hour(make_client: MakeClient) -> None:
    clock = Clock()
    client = await make_client(clock=clock)
    partner = await register(client)
    clock.move(minutes=-61)
    token = await send_link(client, partner)
    assert await status_of(client, partner) == (200, {"status": "token_sent_not_verified"})
    clock.move(minutes=61)
    assert await click(client, token) == INVALID
    assert await status_of(client, partner) == (200, {"status": "not_verified_no_token"})


async def test_other_tokens_than_the_link_s_are_invalid(client: Client) -> None:
    partner = await register(client)
    token = await send_link(client, partner)
    access = (await log_in(client, partner))["Authorization"].removeprefix("Bearer ")
    hour = timedelta(hours=1)
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = [
        "",
        "x",
        "a.b.c",
        token[:-2],
        f"{token}=",
        f"{token}\n",
        "x" * 100_000,
        access,
        Tokens("another-secret-0123456789abcdef-0123456789").issue(Purpose.EMAIL_LINK, partner.partner_id, 1, hour)[0],
        # Ours by signature, never kept as a link.
        Tokens(SECRET).issue(Purpose.EMAIL_LINK, partner.partner_id, 1, hour)[0],
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode({k: v for k, v in claims.items() if k != "exp"}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "exp": claims["iat"] - 1}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "nbf": claims["exp"]}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "sub": "1 OR 1=1"}, SECRET, algorithm="HS256"),
    ]
    for text in forged:
        response = await client.get("/api/email/verify-email-link", params={"token": text})
        # A URL of 100,000 characters ends before it reaches any handler.
        is_long = len(text) > 8000
        answer = (431, {"message": "The request line or a header is too long"}) if is_long else INVALID
        assert (response.status, await response.json()) == answer, text[:100]
    response = await client.get("/api/email/verify-email-link")
    assert (response.status, await response.json()) == INVALID
    assert await click(client, token) == VERIFIED


async def test_the_link_of_an_account_that_is_gone_finds_no_user(client: Client, connection: Connection) -> None:
    partner = await register(client)
    token = await send_link(client, partner)
    await connection.execute("DELETE FROM partners")
    assert await click(client, token) == NOT_FOUND
    page = await client.get("/verify-email", params={"token": token})
    assert page.status == 404
    assert "User not found" in await page.text()


async def test_a_link_opens_no_account(client: Client) -> None:
    partner = await register(client)
    headers = {"Authorization": f"Bearer {await send_link(client, partner)}"}
    assert (await client.get("/api/shipper/me", headers=headers)).status == 401


async def test_mails_to_one_account_are_limited(client: Client, outbox: ReadOutbox) -> None:
    partner, other = await register(client), await register(client)
    for _ in range(5):
        token = await send_link(client, partner)
    response = await client.post(BOTH[1], json=partner.account)
    wait_s = int(response.headers["Retry-After"])
    assert 0 < wait_s <= 900
    expected = {"message": f"Too many requests; try again in {wait_s} seconds"}
    assert (response.status, await response.json()) == (429, expected)
    await send_link(client, other)
    # What was refused has overwritten nothing.
    assert await click(client, token) == VERIFIED


async def test_questions_from_one_address_are_limited(make_client: MakeClient) -> None:
    client = await make_client(limits={"partner_requests_per_address": 3})
    partner = await register(client)
    assert (await status_of(client, partner))[0] == 200
    assert (await ask_link(client, partner, email="nobody@example.com"))[0] == 404
    assert (await status_of(client, partner))[0] == 429
    assert (await ask_link(client, partner))[0] == 429


def smtp(server: MailStandIn) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "security": "none", "sender": "Shakti <no-reply@example.in>"}


async def test_the_mail_says_the_same_as_text_and_as_html(make_client: MakeClient) -> None:
    async with MailStandIn("none") as server:
        client = await make_client(mail=smtp(server), server={"frontend_url": "https://app.example.in/"})
        partner = await register(client, ownerName="Click <b>here</b>", companyName="https://evil.example")
        assert await ask_link(client, partner) == (200, {"message": "Verification email sent"})
        [mail] = server.mails
        assert mail.rcpt_tos == [partner.given["email"]]
        parts = {
            kind: mail.message.get_body((kind,)).get_content()  # type: ignore[union-attr]  # both parts are there
            for kind in ("plain", "html")
        }
        token = token_in(parts["plain"])
        link = f"https://app.example.in/verify-email?token={token}"
        assert link in parts["plain"].splitlines()
        assert f'href="{link}"' in parts["html"]
        for text in parts.values():
            assert "works for 1 hour" in text
            # Whoever registers a stranger's address cannot have us carry a message there.
            assert "here" not in text
            assert "evil" not in text
        assert await click(client, token) == VERIFIED


async def test_a_mail_that_cannot_be_sent_leaves_no_token(make_client: MakeClient, connection: Connection) -> None:
    async with MailStandIn("none") as server:
        client = await make_client(mail=smtp(server))
        partner = await register(client)
        server.answers["RCPT"] = ["550 5.1.1 No such user"]
        status, body = await ask_link(client, partner)
        assert (status, body.keys(), body["message"]) == (500, {"message", "error"}, "Internal server error")
        assert body["error"]
        assert "127.0.0.1" not in body["error"]
        assert await status_of(client, partner) == (200, {"status": "not_verified_no_token"})
        assert await connection.fetchval("SELECT email_token_jti FROM partners") is None


async def test_a_mail_that_cannot_be_sent_leaves_the_earlier_link_working(make_client: MakeClient) -> None:
    async with MailStandIn("none") as server:
        client = await make_client(mail=smtp(server))
        partner = await register(client)
        await ask_link(client, partner)
        body = server.mails[0].message.get_body(("plain",))
        assert body is not None
        server.answers["CONTENT"] = ["554 5.7.1 Refused"]
        assert (await ask_link(client, partner))[0] == 500
        assert await status_of(client, partner) == (200, {"status": "token_sent_not_verified"})
        assert await click(client, token_in(body.get_content())) == VERIFIED


async def test_a_database_that_does_not_answer_is_the_document_s_500(
    make_client: MakeClient, connection: Connection
) -> None:
    client = await make_client(database={"timeout_s": 0.3})
    partner = await register(client)
    token = await send_link(client, partner)
    failed = (500, {"message": "Internal server error", "error": "The database is unavailable"})
    async with connection.transaction():
        await connection.execute("LOCK TABLE partners")
        assert await status_of(client, partner) == (500, {"status": "user_not_found"})
        assert await ask_link(client, partner) == failed
        assert await click(client, token) == failed
        page = await client.get("/verify-email", params={"token": token})
        assert (page.status, page.content_type) == (503, "text/html")
        assert "Retry-After" in page.headers
    assert await click(client, token) == VERIFIED


async def test_the_page_verifies_and_says_so(client: Client) -> None:
    partner = await register(client)
    token = await send_link(client, partner)
    pages = [await client.get("/verify-email", params={"token": value}) for value in (token, token, "x.y.z", "")]
    texts = [await page.text() for page in pages]
    assert [page.status for page in pages] == [200, 200, 400, 400]
    assert {page.content_type for page in pages} == {"text/html"}
    headings = ["Email verified successfully", "Email already verified", *["Invalid or expired token"] * 2]
    for text, heading in zip(texts, headings, strict=True):
        assert f"<h1>{heading}</h1>" in text
        assert "<script" not in text
        assert " style=" not in text
        assert "<style" not in text
        # The address bar holds a secret; nothing on the page repeats it.
        assert token not in text
    assert await status_of(client, partner) == (200, {"status": "verified"})


async def test_the_page_s_own_stylesheet_is_served(client: Client) -> None:
    text = await (await client.get("/verify-email")).text()
    [path] = re.findall(r'<link rel="stylesheet" href="([^"]+)">', text)
    response = await client.get(path)
    assert (response.status, response.content_type) == (200, "text/css")


async def test_looking_at_a_link_s_headers_does_not_verify(client: Client) -> None:
    partner = await register(client)
    token = await send_link(client, partner)
    for path in ("/verify-email", "/api/email/verify-email-link"):
        assert (await client.head(path, params={"token": token})).status == 405
    assert await status_of(client, partner) == (200, {"status": "token_sent_not_verified"})
