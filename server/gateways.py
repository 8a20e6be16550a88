"""The two ways out of the server, SMS and mail: their protocols, their one error, their settings, and the
choice between a real service and the development outbox.

How a message really travels stands in twilio_sms.py, smtp_mail.py and outbox.py. Texts of messages do not
live here, and neither does anything that knows of HTTP requests, OTPs or accounts.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from server.outbox import DevelopmentOutbox
    from server.twilio_sms import TwilioSms


class GatewayError(Exception):
    """A message was not delivered to its gateway, or nobody can tell whether it was.

    `reason` is one short sentence without credentials and host names, fit for a client of the API. What the
    service or the network really said is the `__cause__`: it may name hosts and accounts, so it belongs in
    the log at most. `is_temporary`: the same message may succeed later. `retry_after_s`: the pause that the
    service asked for, if it did.
    """

    def __init__(self, reason: str, *, is_temporary: bool, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_temporary = is_temporary
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one address: the same content as plain text and as HTML."""

    to: str
    subject: str
    text: str
    html: str


class SmsGateway(Protocol):
    """Sends short messages. One `send` never makes two messages, whatever fails."""

    async def send(self, to: str, body: str) -> None:
        """Hands `body` to the service for the number `to` (E.164); GatewayError if that fails."""

    async def close(self) -> None:
        """Lets go of every connection; the gateway is of no use afterwards."""


class MailGateway(Protocol):
    """Sends mails."""

    async def send(self, mail: Mail) -> None:
        """Hands the mail to the service; GatewayError if that fails."""

    async def close(self) -> None:
        """Lets go of every connection; the gateway is of no use afterwards."""


@dataclass(frozen=True, slots=True)
class TwilioSettings:
    """A Twilio account.

    `from_number`: a number (E.164), an alphanumeric sender or a messaging service (MG...). `base_url`
    replaces https://api.twilio.com. `timeout_s` bounds one `send` with all its tries.
    """

    account_sid: str
    auth_token: str = field(repr=False)
    from_number: str
    base_url: str | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """A mail server.

    `sender`: an address with or without a name. `security`: "starttls" upgrades a plain connection and
    refuses a server that does not offer it, "tls" speaks TLS from the first byte, "none" sends all in clear,
    credentials too. `ca_file` (PEM): trusted beside the system's. `timeout_s` bounds one `send` with all its
    tries.
    """

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    sender: str
    security: Literal["starttls", "tls", "none"]
    timeout_s: float
    ca_file: str | None


@dataclass(frozen=True, slots=True)
class Gateways:
    """What the server sends with. `outbox` is None once one gateway is real: then nothing may list it."""

    sms: SmsGateway
    mail: MailGateway
    outbox: "DevelopmentOutbox | None"

    async def close(self) -> None:
        """Closes both gateways, the second also when the first fails."""
        try:
            await self.sms.close()
        finally:
            await self.mail.close()


async def open_gateways(
    twilio: TwilioSettings | None, smtp: SmtpSettings | None, outbox: "DevelopmentOutbox"
) -> Gateways:
    """Twilio and SMTP where they are configured, else the outbox.

    ValueError tells of a setting that cannot work. Both modules are imported in a thread, and only if they
    are needed: twilio takes 0.7 s, the certificates of the system 0.06 s, and an event loop that already
    serves must not stand still for that long.
    """
    sms: SmsGateway = outbox.sms
    mail: MailGateway = outbox.mail
    if smtp is not None:
        mail = await asyncio.to_thread(_smtp_mail, smtp)
    if twilio is not None:
        make_twilio_sms = await asyncio.to_thread(_twilio_sms_class)
        sms = make_twilio_sms(twilio)
    return Gateways(sms, mail, outbox if twilio is None and smtp is None else None)


def _smtp_mail(settings: SmtpSettings) -> MailGateway:
    from server.smtp_mail import SmtpMail

    return SmtpMail(settings)


def _twilio_sms_class() -> "type[TwilioSms]":
    from server.twilio_sms import TwilioSms

    return TwilioSms
