"""SMS against a stand-in of Twilio on loopback: what arrives there, how often, and what a caller is told."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme

from handlers.messaging import GatewayError
from server.gateways import TwilioSettings
from server.twilio_sms import TwilioSms
from tests.standins.twilio_api import Mode, TwilioStandIn

SID = "AC0123456789abcdef0123456789abcdef"
TOKEN = "5ecret5ecret5ecret5ecret5ecret55"
SENDER = "+15005550006"
TO = "+919876543210"
BODY = "Your Shakti OTP is 482913. स्वागत है"


class Pauses:
    """Takes the place of asyncio.sleep: notes how long, does something, and does not wait."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, pause_s: float) -> None:
        self.taken.append(pause_s)


def settings(base_url: str, *, token: str = TOKEN, sender: str = SENDER, timeout_s: float = 5.0) -> TwilioSettings:
    return TwilioSettings(SID, token, sender, base_url, timeout_s)


@asynccontextmanager
async def opened(sms: TwilioSms) -> AsyncIterator[TwilioSms]:
    try:
        yield sms
    finally:
        await sms.close()


async def failure_of(sms: TwilioSms) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await sms.send(TO, BODY)
    for secret in (SID, TOKEN, "127.0.0.1", "localhost", "twilio.com", BODY):
        assert secret not in caught.value.reason
    assert len(caught.value.reason) < 230
    return caught.value


async def test_an_sms_arrives_with_credentials_sender_recipient_and_text() -> None:
    async with TwilioStandIn(SID, TOKEN) as twilio, opened(TwilioSms(settings(twilio.base_url))) as sms:
        await sms.send(TO, BODY)
    [post] = twilio.accepted
    assert post.form == {"To": TO, "From": SENDER, "Body": BODY}
    assert post.path == f"/2010-04-01/Accounts/{SID}/Messages.json"
    assert post.headers["Content-Type"].startswith("application/x-www-form-urlencoded")


async def test_a_messaging_service_is_named_as_one() -> None:
    service = "MG" + "0a" * 16
    async with (
        TwilioStandIn(SID, TOKEN) as twilio,
        opened(TwilioSms(settings(twilio.base_url, sender=service))) as sms,
    ):
        await sms.send(TO, BODY)
    assert twilio.accepted[0].form == {"To": TO, "MessagingServiceSid": service, "Body": BODY}


@pytest.mark.parametrize(
    ("mode", "is_temporary", "words"),
    [
        ("invalid_number", False, f"Invalid 'To' Phone Number: {TO} (error 21211)"),
        (
            "unverified_number",
            False,
            "is unverified. Trial accounts cannot send messages to unverified numbers",
        ),
        ("problem_document", False, "has replied STOP to account ... (error 21610)"),
        ("failed_at_once", False, "Landline or unreachable carrier (error 30006)"),
        ("unauthorized", False, "does not accept this server's credentials"),
        ("server_error", True, "fault of its own (HTTP 500); the SMS may still arrive"),
        ("not_json", True, "cannot be read; the SMS may still arrive"),
        ("reset", True, "broke; the SMS may still arrive"),
        ("too_many_without_hint", True, "is busy; try again later"),
    ],
)
async def test_after_a_failure_that_may_have_sent_it_an_sms_is_never_posted_again(
    mode: Mode, is_temporary: bool, words: str
) -> None:
    pauses = Pauses()
    async with (
        TwilioStandIn(SID, TOKEN, mode) as twilio,
        opened(TwilioSms(settings(twilio.base_url), pause=pauses)) as sms,
    ):
        error = await failure_of(sms)
    assert len(twilio.posts) == 1
    assert error.is_temporary is is_temporary
    assert words in error.reason
    assert error.retry_after_s is None
    assert pauses.taken == []


async def test_a_refusal_that_quotes_the_token_and_the_host_is_passed_on_without_them_and_short() -> None:
    async with TwilioStandIn(SID, TOKEN, "indiscreet") as twilio:
        base_url = twilio.base_url.replace("127.0.0.1", "localhost")
        async with opened(TwilioSms(settings(base_url))) as sms:
            error = await failure_of(sms)
    assert error.reason.startswith("Twilio refused the SMS: ... is no token for ...:")
    assert error.reason.endswith("really... (error 20001)")


async def test_a_post_on_a_reused_connection_is_not_repeated_when_that_connection_breaks() -> None:
    async with (
        TwilioStandIn(SID, TOKEN, "ok", "reset", "ok") as twilio,
        opened(TwilioSms(settings(twilio.base_url))) as sms,
    ):
        await sms.send(TO, BODY)
        await failure_of(sms)
        assert len(twilio.posts) == 2
        await sms.send(TO, BODY)
    assert len(twilio.posts) == 3


async def test_a_wrong_token_is_told_as_the_server_s_own_fault_and_not_retried() -> None:
    async with (
        TwilioStandIn(SID, TOKEN) as twilio,
        opened(TwilioSms(settings(twilio.base_url, token="wrong"))) as sms,
    ):
        error = await failure_of(sms)
    assert (len(twilio.posts), twilio.accepted) == (1, [])
    assert not error.is_temporary
    assert "credentials" in error.reason


async def test_a_silent_service_costs_the_time_limit_and_one_post() -> None:
    async with (
        TwilioStandIn(SID, TOKEN, "slow") as twilio,
        opened(TwilioSms(settings(twilio.base_url, timeout_s=0.2))) as sms,
    ):
        began = time.monotonic()
        error = await failure_of(sms)
        took_s = time.monotonic() - began
    assert 0.19 <= took_s < 2
    assert len(twilio.posts) == 1
    assert error.is_temporary
    assert "in time" in error.reason


async def test_a_slow_answer_within_the_limit_is_waited_for() -> None:
    async with (
        TwilioStandIn(SID, TOKEN, "slow") as twilio,
        opened(TwilioSms(settings(twilio.base_url))) as sms,
    ):
        sending = asyncio.create_task(sms.send(TO, BODY))
        await asyncio.wait_for(twilio.arrived.wait(), 5)
        assert not sending.done()
        twilio.release.set()
        await sending
    assert len(twilio.posts) == 1


async def test_a_short_retry_after_is_obeyed() -> None:
    pauses = Pauses()
    async with (
        TwilioStandIn(SID, TOKEN, "too_many", "ok", retry_after="2") as twilio,
        opened(TwilioSms(settings(twilio.base_url), pause=pauses)) as sms,
    ):
        await sms.send(TO, BODY)
    assert pauses.taken == [2.0]
    assert len(twilio.posts) == 2


async def test_a_service_that_stays_busy_gets_three_posts_at_most() -> None:
    pauses = Pauses()
    async with (
        TwilioStandIn(SID, TOKEN, "too_many", retry_after="1") as twilio,
        opened(TwilioSms(settings(twilio.base_url), pause=pauses)) as sms,
    ):
        error = await failure_of(sms)
    assert len(twilio.posts) == 3
    assert pauses.taken == [1.0, 1.0]
    assert (error.is_temporary, error.retry_after_s) == (True, 1.0)


def in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)


@pytest.mark.parametrize("header", [lambda: "60", in_a_minute], ids=["seconds", "date"])
async def test_a_retry_after_beyond_the_time_limit_is_passed_on_instead_of_waited_for(
    header: Callable[[], str],
) -> None:
    pauses = Pauses()
    async with (
        TwilioStandIn(SID, TOKEN, "too_many", retry_after=header()) as twilio,
        opened(TwilioSms(settings(twilio.base_url), pause=pauses)) as sms,
    ):
        error = await failure_of(sms)
    assert (len(twilio.posts), pauses.taken) == (1, [])
    assert error.retry_after_s == pytest.approx(60, abs=3)


@pytest.mark.parametrize("header", ["soon", "-5", "Thu, 99 Foo 2023"])
async def test_a_retry_after_that_means_nothing_is_no_invitation_to_retry(header: str) -> None:
    async with (
        TwilioStandIn(SID, TOKEN, "too_many", retry_after=header) as twilio,
        opened(TwilioSms(settings(twilio.base_url))) as sms,
    ):
        error = await failure_of(sms)
    assert len(twilio.posts) == 1
    assert error.retry_after_s is None


async def test_a_connection_that_is_refused_at_first_still_sends_exactly_one_sms() -> None:
    twilio = TwilioStandIn(SID, TOKEN)

    async def start_the_service(_pause_s: float) -> None:
        await twilio.start()

    async with opened(TwilioSms(settings(twilio.base_url), pause=start_the_service)) as sms:
        await sms.send(TO, BODY)
    assert len(twilio.accepted) == 1
    await twilio.stop()


async def test_a_connection_that_stays_refused_is_tried_three_times() -> None:
    twilio = TwilioStandIn(SID, TOKEN)
    pauses = Pauses()
    async with opened(TwilioSms(settings(twilio.base_url), pause=pauses)) as sms:
        error = await failure_of(sms)
    assert pauses.taken == [0.2, 0.5]
    assert error.is_temporary
    assert "cannot be reached" in error.reason
    await twilio.stop()


async def test_no_further_try_begins_that_the_time_limit_would_cut() -> None:
    twilio = TwilioStandIn(SID, TOKEN)
    pauses = Pauses()
    async with opened(TwilioSms(settings(twilio.base_url, timeout_s=0.15), pause=pauses)) as sms:
        error = await failure_of(sms)
    assert pauses.taken == []
    assert "cannot be reached" in error.reason
    await twilio.stop()


async def test_a_name_that_does_not_resolve_at_first_still_sends_exactly_one_sms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo
    calls: list[object] = []

    async def resolve_from_the_second_call(*args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await resolve(*args, **kwargs)  # type: ignore[arg-type]  # handed through as they came

    pauses = Pauses()
    async with TwilioStandIn(SID, TOKEN) as twilio:
        base_url = twilio.base_url.replace("127.0.0.1", "localhost")
        async with opened(TwilioSms(settings(base_url), pause=pauses)) as sms:
            monkeypatch.setattr(loop, "getaddrinfo", resolve_from_the_second_call)
            await sms.send(TO, BODY)
    assert len(twilio.accepted) == 1
    assert pauses.taken == [0.2]


async def test_a_certificate_that_nobody_vouches_for_gets_no_sms_and_no_token() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    pauses = Pauses()
    async with (
        TwilioStandIn(SID, TOKEN, tls=context) as twilio,
        opened(TwilioSms(settings(twilio.base_url), pause=pauses)) as sms,
    ):
        error = await failure_of(sms)
    assert (twilio.posts, pauses.taken) == ([], [])
    assert not error.is_temporary
    assert "could not be made secure" in error.reason


@pytest.mark.parametrize("base_url", ["http://sms.example.in", "http://10.0.0.8:8080", "ftp://127.0.0.1", "127.0.0.1"])
async def test_an_address_that_would_carry_the_token_in_clear_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="must begin with https"):
        TwilioSms(settings(base_url))


async def test_an_address_of_our_own_is_not_rewritten_by_edge_and_region(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_REGION", "au1")
    async with TwilioStandIn(SID, TOKEN) as twilio, opened(TwilioSms(settings(twilio.base_url))) as sms:
        await sms.send(TO, BODY)
    assert len(twilio.accepted) == 1


async def test_many_sms_at_once_arrive_once_each() -> None:
    async with TwilioStandIn(SID, TOKEN) as twilio, opened(TwilioSms(settings(twilio.base_url))) as sms:
        await asyncio.gather(*(sms.send(TO, f"SMS {number}") for number in range(40)))
    assert sorted(post.form["Body"] for post in twilio.accepted) == sorted(f"SMS {n}" for n in range(40))


async def test_a_given_up_sms_is_not_posted_later() -> None:
    async with (
        TwilioStandIn(SID, TOKEN, "slow") as twilio,
        opened(TwilioSms(settings(twilio.base_url))) as sms,
    ):
        sending = asyncio.create_task(sms.send(TO, BODY))
        await asyncio.wait_for(twilio.arrived.wait(), 5)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert len(twilio.posts) == 1


async def test_nothing_of_an_sms_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="twilio.async_http_client")
    async with (
        TwilioStandIn(SID, TOKEN, "ok", "server_error") as twilio,
        opened(TwilioSms(settings(twilio.base_url))) as sms,
    ):
        await sms.send(TO, BODY)
        await failure_of(sms)
    for secret in (SID, TOKEN, "482913", TO):
        assert secret not in caplog.text


async def test_a_closed_gateway_sends_nothing_more() -> None:
    async with TwilioStandIn(SID, TOKEN) as twilio:
        sms = TwilioSms(settings(twilio.base_url))
        await sms.send(TO, BODY)
        await sms.close()
        with pytest.raises(RuntimeError, match="closed"):
            await sms.send(TO, BODY)
    assert len(twilio.posts) == 1
