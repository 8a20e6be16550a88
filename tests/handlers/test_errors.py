"""What every error looks like: JSON with a message, an id that the log also has, nothing from inside."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import structlog

from handlers.routes import ROUTES
from server.config import LogSettings
from server.logs import set_up_logs
from tests.answers import Answer, assert_refused, call
from tests.conftest import SECRET, Client, MakeClient
from tests.factories import sign_up
from tests.handlers.test_setup import DOCUMENTED

INSIDE = (
    "Traceback",
    "asyncpg",
    "psycopg",
    "SELECT ",
    "INSERT ",
    ".py",
    "redis",
    SECRET,
    "/tmp/",  # noqa: S108 - looked for, not opened
    "shakti:",
    "127.0.0.1",
)


def assert_tells_nothing(answer: Answer) -> None:
    text = f"{answer.body} {dict(answer.headers)}"
    assert not [word for word in INSIDE if word in text], answer


async def test_an_unknown_path_is_not_found(client: Client) -> None:
    household = await sign_up(client)
    for path in ("/nothing", "/signup/", "/SIGNUP", "/me/1", "/%00", "/..%2f..%2fetc/passwd", "/bids", "/x" * 500):
        for method in ("GET", "POST"):
            for by in (None, household):
                answer = await call(client, method, path, by=by)
                assert_refused(answer, 404)
                assert_tells_nothing(answer)
                assert answer.headers["X-Request-ID"]


async def test_another_method_is_not_allowed_and_the_right_ones_are_named(client: Client) -> None:
    for method, path, allowed in (
        ("GET", "/signup", {"POST"}),
        ("PUT", "/signin", {"POST"}),
        ("DELETE", "/placebid/dayahead", {"POST"}),
        ("POST", "/me", {"GET", "HEAD"}),
        ("POST", "/bids/dayahead/1", {"PATCH", "DELETE"}),
        ("TRACE", "/signin", {"POST"}),
        ("PROPFIND", "/me", {"GET", "HEAD"}),
    ):
        answer = await call(client, method, path)
        assert_refused(answer, 405)
        named = {name.strip() for name in answer.headers["Allow"].split(",")}
        assert named <= allowed | {"OPTIONS"}, (path, named)
        assert allowed - {"HEAD"} <= named


async def test_what_is_hardly_http_is_refused_in_json_too(worker_port: int) -> None:
    """The server's own parser refuses these before any route is looked for."""
    for request in (
        b"FROBNICATE /me HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /me HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"GET /me HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /me HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 50_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /me\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /sendotp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", worker_port)
        writer.write(request)
        async with asyncio.timeout(5):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.transport.abort()
        assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), (request[:80], head)
        assert b"application/json" in head, (request[:80], head, body[:200])
        assert b"X-Request-ID" in head
        assert b"Python" not in head, "no versions for an attacker"
        assert json.loads(body)["message"]
        assert b"aaaa" not in body


async def test_a_broken_chunk_of_a_body_is_the_clients_fault(worker_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", worker_port)
    writer.write(b"POST /sendotp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n{}\r\n0\r\n\r\n")
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.transport.abort()
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), head
    assert json.loads(body)["message"]


async def test_every_answer_has_an_id_and_keeps_a_sensible_one_it_was_given(client: Client) -> None:
    ids = set()
    for path in ("/healthz", "/me", "/nothing"):
        response = await client.get(path)
        ids.add(response.headers["X-Request-ID"])
    assert len(ids) == 3
    given = "3f2b8c1e-0d4a-4b7e-9d57-2f6a1c0b9e88"
    response = await client.get("/me", headers={"X-Request-ID": given})
    assert response.headers["X-Request-ID"] == given
    for bad in ("x" * 5000, "a b", "<script>", "é", '"; DROP'):
        response = await client.get("/me", headers={"X-Request-ID": bad})
        assert response.headers["X-Request-ID"] != bad


async def broken(*args: object, **more: object) -> None:
    """A fault that nobody foresaw, with everything in its text that must stay inside."""
    raise RuntimeError(f"SELECT secret FROM accounts\r\nFORGED at postgres://shakti:hunter2@db.internal {SECRET}")  # noqa: S608 - no query


def break_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fetch", "fetchrow"):
        monkeypatch.setattr(f"storage.database.Database.{name}", broken)

    @asynccontextmanager
    async def never_begun(*args: object) -> AsyncIterator[None]:
        await broken()
        yield

    monkeypatch.setattr("storage.database.Database.transaction", never_begun)


@pytest.fixture
def production_log() -> Iterator[io.StringIO]:
    """The log as the server writes it, one JSON line an event, for as long as a test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    set_up_logs(LogSettings(format="json"))
    written = io.StringIO()
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


async def test_a_fault_of_ours_is_a_500_that_tells_nothing_and_is_found_in_the_log_by_its_id(
    client: Client, monkeypatch: pytest.MonkeyPatch, production_log: io.StringIO
) -> None:
    household = await sign_up(client)
    assert (await call(client, "GET", "/me", by=household)).status == 200
    break_the_database(monkeypatch)
    mine = await call(client, "GET", "/me", by=household)
    assert_refused(mine, 500)
    documented = await call(client, "POST", "/setup", DOCUMENTED, by=household)
    assert_refused(documented, 500, "Error setting up")
    logged = production_log.getvalue()
    for answer in (mine, documented):
        assert_tells_nothing(answer)
        for secret in ("hunter2", "db.internal", "FORGED"):
            assert secret not in f"{answer.body} {answer.headers}"
        lines = [line for line in logged.splitlines() if answer.headers["X-Request-ID"] in line]
        assert any("RuntimeError" in line for line in lines)
    for secret in ("hunter2", household.token):
        assert secret not in logged


async def test_a_line_break_in_a_request_stays_within_its_log_line(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, production_log: io.StringIO
) -> None:
    client = await make_client(log={"access": True})
    household = await sign_up(client)
    break_the_database(monkeypatch)
    for path in ("/me?x=%0d%0aFORGED", "/nothing%0d%0aFORGED%20line", "/bids/dayahead/%0d%0aFORGED", "/me"):
        await call(client, "GET", path, by=household)
        await call(client, "DELETE", path, by=household)
    lines = production_log.getvalue().splitlines()
    assert len(lines) >= 8
    for line in lines:
        assert isinstance(json.loads(line), dict), "every line is one whole event"


async def test_head_is_answered_as_get_without_a_body(client: Client) -> None:
    household = await sign_up(client)
    for route in ROUTES:
        if route.method != "GET" or "{" in route.path:
            continue
        response = await client.head(route.path, headers=household.headers)
        assert response.status < 500, route.path
        assert await response.read() == b""
