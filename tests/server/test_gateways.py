"""The choice between real services and the development outbox, and what the settings give away."""

import subprocess
import sys
from dataclasses import replace

import pytest

from handlers.messaging import GatewayError, Mail
from server.gateways import Gateways, SmtpSettings, TwilioSettings, open_gateways
from server.outbox import DevelopmentOutbox
from server.smtp_mail import SmtpMail
from tests.server.test_outbox import ListStore
from tests.standins.mail import MailStandIn
from tests.standins.twilio_api import TwilioStandIn

TWILIO = TwilioSettings("AC1", "t0ken-5ecret", "+15005550006", None, 5.0)
SMTP = SmtpSettings("127.0.0.1", 25, "user", "p4ss-5ecret", "Shakti <no-reply@example.in>", "none", 5.0, None)
MAIL = Mail("asha@example.in", "Hello", "Hello Asha", "<p>Hello Asha</p>")


def an_outbox() -> DevelopmentOutbox:
    return DevelopmentOutbox(ListStore(), lambda _text: None)


async def test_a_machine_without_services_sends_both_to_the_outbox_and_lists_it() -> None:
    outbox = an_outbox()
    gateways = await open_gateways(None, None, outbox)
    await gateways.sms.send("+919876543210", "Hello")
    await gateways.mail.send(MAIL)
    assert gateways.outbox is outbox
    assert [message.kind for message in await outbox.newest(10)] == ["email", "sms"]
    await gateways.close()


async def test_with_both_services_everything_goes_out_and_nothing_may_be_listed() -> None:
    outbox = an_outbox()
    async with (
        TwilioStandIn(TWILIO.account_sid, TWILIO.auth_token) as twilio,
        MailStandIn("none", login=("user", "p4ss-5ecret")) as server,
    ):
        gateways = await open_gateways(
            replace(TWILIO, base_url=twilio.base_url), replace(SMTP, port=server.port), outbox
        )
        await gateways.sms.send("+919876543210", "Hello")
        await gateways.mail.send(MAIL)
        await gateways.close()
    assert len(twilio.accepted) == 1
    assert len(server.mails) == 1
    assert await outbox.newest(10) == []
    assert gateways.outbox is None


@pytest.mark.parametrize("real", ["sms", "mail"])
async def test_one_real_service_is_enough_to_hide_the_outbox(real: str) -> None:
    outbox = an_outbox()
    gateways = await open_gateways(TWILIO if real == "sms" else None, SMTP if real == "mail" else None, outbox)
    assert gateways.outbox is None
    assert (gateways.sms is outbox.sms) is (real == "mail")
    assert (gateways.mail is outbox.mail) is (real == "sms")
    await gateways.close()


async def test_both_gateways_are_closed_even_if_the_first_cannot_be() -> None:
    closed: list[str] = []

    class Gateway:
        def __init__(self, name: str, *, is_broken: bool) -> None:
            self.name = name
            self.is_broken = is_broken

        async def send(self, *message: object, **named: object) -> None:
            raise AssertionError(f"nothing is sent here, not even {message} {named}")

        async def close(self) -> None:
            closed.append(self.name)
            if self.is_broken:
                raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        await Gateways(Gateway("sms", is_broken=True), Gateway("mail", is_broken=False), None).close()
    assert closed == ["sms", "mail"]


async def test_a_setting_that_cannot_work_stops_the_start() -> None:
    with pytest.raises(ValueError, match="must begin with https"):
        await open_gateways(replace(TWILIO, base_url="http://sms.example.in"), None, an_outbox())
    with pytest.raises(ValueError, match="sender of mails"):
        await open_gateways(None, replace(SMTP, sender="nobody"), an_outbox())


def test_a_server_without_twilio_never_imports_it() -> None:
    code = (
        "import asyncio, sys\n"
        "from server.gateways import open_gateways\n"
        "from server.outbox import DevelopmentOutbox\n"
        "asyncio.run(open_gateways(None, None, DevelopmentOutbox(None, print)))\n"
        "sys.exit(bool({'twilio', 'aiosmtplib'} & sys.modules.keys()))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


@pytest.mark.parametrize(
    ("twilio", "smtp"),
    [
        ("TwilioSettings('AC1', 'token', '+15005550006', None, 1.0)", None),
        (None, "SmtpSettings('127.0.0.1', 25, None, None, 'a@example.in', 'tls', 1.0, None)"),
    ],
    ids=["twilio", "smtp"],
)
def test_the_event_loop_turns_while_a_service_is_opened(twilio: str | None, smtp: str | None) -> None:
    code = (
        "import asyncio, sys\n"
        "from server.gateways import SmtpSettings, TwilioSettings, open_gateways\n"
        "from server.outbox import DevelopmentOutbox\n"
        "async def main():\n"
        f"    opening = asyncio.ensure_future(open_gateways({twilio}, {smtp}, DevelopmentOutbox(None, print)))\n"
        "    turns = 0\n"
        "    while not opening.done():\n"
        "        await asyncio.sleep(0.005)\n"
        "        turns += 1\n"
        "    await opening.result().close()\n"
        "    return turns\n"
        "sys.exit(asyncio.run(main()) < 6)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_settings_never_show_their_secrets() -> None:
    for shown in (repr(TWILIO), str(TWILIO), f"{SMTP}", repr(SMTP), repr(SmtpMail(SMTP)), repr(vars(SmtpMail(SMTP)))):
        assert "5ecret" not in shown
    assert "AC1" in repr(TWILIO)
    assert "127.0.0.1" in repr(SMTP)


def test_an_error_says_its_reason() -> None:
    error = GatewayError("The SMS service is busy", is_temporary=True, retry_after_s=3.0)
    assert str(error) == error.reason == "The SMS service is busy"
    assert (error.is_temporary, error.retry_after_s) == (True, 3.0)
