"""Logs: one line an event, nothing secret in any of them, whoever wrote it and however deep it stands."""

import contextlib
import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import aiohttp
import bcrypt
import jwt
import pytest
import structlog

from server.config import LogSettings
from server.logs import set_up_logs
from tests.drills.server import DrillServer
from tests.server.whole_session import talk

SECRET = "a-secret-for-tests-only-0123456789abcdef"
TOKEN = jwt.encode({"sub": "1", "jti": "j"}, SECRET, "HS256")
HASH = bcrypt.hashpw(b"sunshine-and-rain", b"$2b$04$abcdefghijklmnopqrstuu").decode()
STRUCK = "[redacted]"
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]


class SetUp:
    """Logs set up as a process sets them up, into a text."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]


@contextlib.contextmanager
def logs(level: Level = "info", format: Format = "json") -> Iterator[SetUp]:
    root, ours = logging.getLogger(), logging.getLogger("shakti")
    kept = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        set_up_logs(LogSettings(level=level, format=format))
        try:
            yield SetUp(stream)
        finally:
            root.handlers[:], level_of_root, level_of_ours = kept
            root.setLevel(level_of_root)
            ours.setLevel(level_of_ours)
            logging.captureWarnings(False)
            structlog.reset_defaults()


def logger(name: str = "shakti.test") -> structlog.stdlib.BoundLogger:
    made: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return made


@pytest.mark.parametrize(
    "key",
    ["password", "oldPassword", "otp", "OTP", "token", "access_token", "secret_key", "Authorization", "Set-Cookie"],
)
def test_fields_with_the_name_of_a_secret_are_struck_whatever_they_hold(key: str) -> None:
    with logs() as written:
        logger().info("event", **{key: "482913"}, n=1)
        logger().info("event", **{key: 482913})
        logger().info("event", body={"form": [{key: "482913"}]})
    assert "482913" not in written.text
    assert written.events[0][key] == STRUCK
    assert written.events[0]["n"] == 1
    assert written.events[2]["body"] == {"form": [{key: STRUCK}]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"got {TOKEN} today", f"got {STRUCK} today"),
        (f"Bearer {TOKEN}", STRUCK),
        ("Authorization: Basic QUMxOnRva2Vu", f"Authorization: {STRUCK}"),
        (f"hash {HASH}.", f"hash {STRUCK}."),
        (f"hash {HASH.replace('$2b$', '$2a$')}", f"hash {STRUCK}"),
        ("to postgresql://shakti:pa55@db:5432/x", f"to postgresql://{STRUCK}@db:5432/x"),
        ("to postgresql://shakti:pa@55/@db/x failed", f"to postgresql://{STRUCK}@db/x failed"),
        ("to redis://:pa55@cache:6379/0", f"to redis://{STRUCK}@cache:6379/0"),
        ("to rediss://u:pa55@cache", f"to rediss://{STRUCK}@cache"),
        ("postgresql://db/x?password=pa55&sslmode=on", f"postgresql://db/x?password={STRUCK}&sslmode=on"),
        ("GET /verify-email?token=pa55", f"GET /verify-email?token={STRUCK}"),
    ],
)
def test_what_looks_like_a_secret_is_struck_wherever_it_stands(text: str, shown: str) -> None:
    with logs() as written:
        logger().info(text)
        logger().info("event", note=text, deep=[{"note": (text,)}], fault=ValueError(text), raw=text.encode())
        logging.getLogger("somebody").warning("says %s", text)
        logging.getLogger("somebody").warning("says", {"x": text})
    assert "pa55" not in written.text
    for secret in (TOKEN, HASH, "QUMxOnRva2Vu"):
        assert secret not in written.text
    first, second, third, _ = written.events
    assert first["event"] == shown
    assert (second["note"], second["deep"]) == (shown, [{"note": [shown]}])
    assert third["event"] == f"says {shown}"


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:8080/docs", "asha@example.in", "10:00-10:15", "postgresql://db:5432/x", "ratio 1:2 @ 4.25"],
)
def test_what_is_no_secret_stays(text: str) -> None:
    with logs() as written:
        logger().info("event", note=text)
    assert written.events[0]["note"] == text


FORGED = '{"event": "forged"}\r\n2026-01-01 [info] forged\x1b[2J\u2028forged\x85forged\u202edegrof'


@pytest.mark.parametrize("format", ["json", "text"])
def test_one_event_is_one_line_whatever_is_in_it(format: Format) -> None:
    with logs(format=format) as written:
        logger().info(FORGED)
        logger().info("event", path=f"/{FORGED}", deep={"a": [FORGED]}, fault=ValueError(FORGED))
        logging.getLogger("somebody").warning("says %s", FORGED)
    assert len(written.lines) == 3, written.text
    assert written.text.isascii()
    assert "\x1b" not in written.text


@pytest.mark.parametrize("format", ["json", "text"])
def test_an_exception_brings_its_trace_and_no_secret(format: Format) -> None:
    with logs(format=format) as written:
        try:
            raise ValueError(f"{FORGED} {TOKEN} postgresql://u:pa55@db")
        except ValueError:
            logger().exception("failed")
            logging.getLogger("somebody").exception("failed too")
    assert "Traceback (most recent call last)" in written.text
    assert f"in {test_an_exception_brings_its_trace_and_no_secret.__name__}" in written.text
    assert TOKEN not in written.text
    assert "pa55" not in written.text
    if format == "json":
        assert [event["event"] for event in written.events] == ["failed", "failed too"]
    else:
        # A trace is for a person; none of its lines can be taken for an event's.
        starts = [line for line in written.lines if not line.startswith("    ")]
        assert [re.sub(r".*\] (failed[a-z ]*?) +\[.*", r"\1", line) for line in starts] == ["failed", "failed too"]


def test_our_lines_follow_the_level_and_libraries_keep_below_warning_to_themselves() -> None:
    libraries = ("asyncpg.pool", "aiosmtplib", "twilio.async_http_client", "aiohttp.server", "redis", "asyncio")
    with logs(level="debug") as written:
        logger().debug("ours")
        for name in libraries:
            # Twilio's client tells URL, headers and number of every SMS at this level.
            logging.getLogger(name).debug("quiet")
            logging.getLogger(name).info("quiet")
            logging.getLogger(name).warning("loud")
    assert [event["event"] for event in written.events] == ["ours", *["loud"] * len(libraries)]
    assert [event["logger"] for event in written.events] == ["shakti.test", *libraries]
    with logs(level="error") as written:
        logger().warning("quiet")
        logging.getLogger("asyncpg.pool").warning("quiet")
        logger().error("ours")
        logging.getLogger("asyncpg.pool").error("theirs")
    assert [event["event"] for event in written.events] == ["ours", "theirs"]


def test_warnings_of_python_are_lines_like_all_others() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with logs() as written:
            warnings.warn(f"careless {TOKEN}", RuntimeWarning, stacklevel=1)
    [event] = written.events
    assert (event["level"], event["logger"]) == ("warning", "py.warnings")
    assert TOKEN not in written.text


@pytest.mark.parametrize(("format", "is_json"), [("auto", True), ("json", True), ("text", False)])
def test_a_file_gets_json_unless_text_is_asked_for(format: Format, is_json: bool) -> None:
    with logs(format=format) as written:
        logger().info("event", n=1)
    assert written.text.startswith("{") == is_json
    assert "\x1b" not in written.text


def is_in(secret: str, text: str) -> bool:
    """Whether a text holds a secret. An OTP's six digits may well be a fraction of a second."""
    return (
        re.search(rf"(?<![0-9.]){re.escape(secret)}(?![0-9])" if secret.isdigit() else re.escape(secret), text)
        is not None
    )


@pytest.mark.timeout(90)
async def test_a_whole_session_leaves_no_secret_in_any_log(tmp_path: Path) -> None:
    """Accounts, partners, an operator, bids, refusals and nonsense, with every line switched on."""
    environ = {"SHAKTI_LOG_LEVEL": "debug", "SHAKTI_LOG_ACCESS": "true", "SECRET_KEY": SECRET}
    server = DrillServer(tmp_path / "data", environ=environ)
    await server.start()
    try:
        secrets = {"signing secret": SECRET, **await talk(server)}
    finally:
        assert await server.stop() == 0
    written = {"stderr": server.err}
    for name in ("postgres.log", "redis.log"):
        written[name] = (tmp_path / "data" / name).read_text(errors="replace")
    # On an empty log this would pass.
    events = [json.loads(line) for line in server.err.splitlines()]
    paths = {event.get("path") for event in events}
    assert {"/sendotp", "/signup", "/signin", "/placebid/dayahead", "/api/shipper/register"} <= paths
    assert {"debug", "info"} <= {event["level"] for event in events}
    for name, text in written.items():
        for what, secret in secrets.items():
            assert not is_in(secret, text), f"the {what} is in {name}"
        assert not re.search(r"\$2[aby]\$[0-9]{2}\$", text), f"a hash is in {name}"
        assert not re.search(r"eyJ[A-Za-z0-9_-]{8,}", text), f"a token is in {name}"
    # On a machine without Twilio the console is where its user reads messages: apart from the log, and nothing else.
    for what, secret in secrets.items():
        is_message = what.startswith(("OTP", "link"))
        assert is_in(secret, server.out) == is_message, f"the {what} on the console"


@pytest.mark.timeout(90)
async def test_gateways_that_fail_leave_no_secret_in_the_log_and_no_outbox(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    """Nobody listens where Twilio and the mail server should be."""
    token, mail_password = "a-twilio-token-0123456789", "a-mail-password"
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": SECRET,
        "TWILIO_ACCOUNT_SID": "AC00000000000000000000000000000000",
        "TWILIO_AUTH_TOKEN": token,
        "TWILIO_PHONE_NUMBER": "+15005550006",
        "TWILIO_BASE_URL": "http://127.0.0.1:9",
        "SHAKTI_SMS_TIMEOUT_S": "1",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": "9",
        "SMTP_USER": "shakti",
        "SMTP_PASSWORD": mail_password,
        "SHAKTI_MAIL_TIMEOUT_S": "1",
        "SHAKTI_LOG_LEVEL": "debug",
        "SHAKTI_LOG_ACCESS": "true",
    }
    server = DrillServer(tmp_path / "data", environ=environ)
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as session:
            for path, form in (
                ("/sendotp", {"PhoneNo": "9812345670"}),
                ("/api/validate/send-otp", {"mobileNumber": "9812345671"}),
            ):
                async with session.post(path, json=form) as response:
                    assert response.status == 500, await response.text()
            async with session.get("/dev/outbox") as response:
                assert response.status == 404
    finally:
        assert await server.stop() == 0
    assert "request failed" in server.err
    for secret in (token, mail_password, SECRET):
        assert secret not in server.log
    assert not re.search(r"(?<![0-9.])[0-9]{6}(?![0-9])", server.out), server.out
    assert "  SMS         Twilio\n  e-mail      127.0.0.1\n" in server.out
    assert "outbox" not in server.out
    # What is configured elsewhere leaves nothing here.
    assert not (tmp_path / "data").exists()
