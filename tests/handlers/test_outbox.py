"""The development outbox over HTTP: what it lists, how, and for whom it is not there."""

from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import orjson
import pytest
from aiohttp.test_utils import make_mocked_request

from handlers.context import CODES, MAIL
from handlers.messaging import Mail
from handlers.outbox import is_local, prefers_html
from tests.conftest import Client, MakeClient, ReadOutbox
from tests.factories import ask_otp, new_phone
from tests.partner_factories import register, send_link
from tests.standins.mail import MailStandIn

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


async def test_messages_are_listed_newest_first(client: Client, outbox: ReadOutbox) -> None:
    assert await outbox() == []
    phone = new_phone()
    await ask_otp(client, phone)
    partner = await register(client)
    await send_link(client, partner)
    mail, sms = await outbox()
    assert sms.keys() == {"kind", "to", "body", "at"}
    assert (sms["kind"], sms["to"]) == ("sms", f"+91{phone}")
    assert mail.keys() == {"kind", "to", "body", "at", "subject"}
    assert (mail["kind"], mail["to"]) == ("email", partner.given["email"])
    sent = datetime.fromisoformat(mail["at"])
    assert sent.utcoffset() == timedelta()
    assert sent >= datetime.fromisoformat(sms["at"])


async def test_two_processes_list_the_same_messages(make_client: MakeClient) -> None:
    first, second = await make_client(), await make_client()
    await ask_otp(first, new_phone())
    [message] = await (await second.get("/dev/outbox")).json()
    assert [message] == await (await first.get("/dev/outbox")).json()


async def test_a_browser_gets_a_page(client: Client) -> None:
    partner = await register(client)
    token = await send_link(client, partner)
    response = await client.get("/dev/outbox", headers={"Accept": BROWSER})
    text = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    assert "Accept" in ", ".join(response.headers.getall("Vary"))
    assert partner.given["email"] in text
    assert f"/verify-email?token={token}</a>" in text
    assert "<script" not in text


async def test_a_browser_gets_a_page_without_messages_too(client: Client) -> None:
    response = await client.get("/dev/outbox", headers={"Accept": BROWSER})
    assert "Nothing yet." in await response.text()


async def test_markup_in_a_message_stays_text(client: Client) -> None:
    assert client.app is not None
    markup = "<script>alert(1)</script>"
    await client.app[MAIL].send(Mail(f'"{markup}"@example.com', markup, f"{markup} & more", ""))
    [message] = await (await client.get("/dev/outbox")).json()
    assert message["body"] == f"{markup} & more"
    text = await (await client.get("/dev/outbox", headers={"Accept": BROWSER})).text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text


async def test_the_oldest_messages_make_room(client: Client, outbox: ReadOutbox) -> None:
    assert client.app is not None
    for number in range(510):
        entry = {"kind": "sms", "to": "+911234567890", "body": str(number), "at": "2025-07-13T10:30:45.123Z"}
        await client.app[CODES].push_outbox(orjson.dumps(entry).decode())
    listed = await outbox()
    assert [message["body"] for message in listed] == [str(number) for number in range(509, 509 - len(listed), -1)]
    assert len(listed) == 200
    assert len(await client.app[CODES].list_outbox(1000)) == 500


async def is_absent(client: Client, **headers: str) -> bool:
    """Whether the outbox answers exactly as a path that does not exist."""
    answers: list[tuple[int, dict[str, Any], Any]] = []
    for path in ("/dev/outbox", "/dev/nothing"):
        response = await client.get(path, headers=headers)
        shown = {k: v for k, v in response.headers.items() if k not in {"X-Request-ID", "Date"}}
        answers.append((response.status, shown, await response.json()))
    return answers[0] == answers[1] and answers[0][0] == 404


async def test_it_is_absent_once_a_gateway_is_real(make_client: MakeClient) -> None:
    async with MailStandIn("none") as server:
        client = await make_client(mail={"host": "127.0.0.1", "port": server.port, "security": "none"})
        assert await is_absent(client)
        assert await is_absent(client, Accept=BROWSER)


async def test_it_is_absent_on_a_bind_that_others_reach(make_client: MakeClient) -> None:
    assert await is_absent(await make_client(server={"host": "0.0.0.0"}))  # noqa: S104 - the setting under test


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-IP": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"X-Forwarded-Host": "shakti.example.in"},
        {"Host": "rebound.example.com"},
        {"Host": "192.0.2.7:8080"},
    ],
    ids=str,
)
async def test_it_is_absent_for_requests_from_elsewhere(client: Client, headers: dict[str, str]) -> None:
    assert (await client.get("/dev/outbox")).status == 200
    assert await is_absent(client, **headers)


@pytest.mark.parametrize(
    ("peer", "host", "expected"),
    [
        (("127.0.0.1", 50000), "127.0.0.1:8080", True),
        (("127.8.8.8", 50000), "localhost:8080", True),
        (("::1", 50000, 0, 0), "[::1]:8080", True),
        (("::ffff:127.0.0.1", 50000, 0, 0), "shakti.localhost", True),
        (("192.0.2.7", 50000), "127.0.0.1:8080", False),
        (("::ffff:192.0.2.7", 50000, 0, 0), "localhost", False),
        (("2001:db8::1", 50000, 0, 0), "localhost", False),
        (("127.0.0.1", 50000), "notlocalhost", False),
        ("", "localhost", False),
        (None, "localhost", False),
    ],
    ids=str,
)
def test_only_a_loopback_peer_is_local(peer: object, host: str, expected: bool) -> None:
    transport = Mock()
    transport.get_extra_info.side_effect = lambda name, default=None: peer if name == "peername" else default
    request = make_mocked_request("GET", "/dev/outbox", headers={"Host": host}, transport=transport)
    assert is_local(request) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("application/json;q=0.5, text/html;q=0.6", True),
        ("text/*", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=oops, application/json;q=0.1", False),
        (",;,", False),
    ],
)
def test_only_who_prefers_html_gets_it(accept: str, expected: bool) -> None:
    assert prefers_html(accept) is expected
