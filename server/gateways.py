"""The two ways out of the server, SMS and mail: their settings, and the choice between a real service and the
development outbox.

How a message really travels stands in twilio_sms.py, smtp_mail.py and outbox.py; what handlers see of it, in
handlers/messaging.py. Texts of messages do not live here, and neither does anything that knows of HTTP requests,
OTPs or accounts.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from handlers.messaging import MailGateway, SmsGateway

if TYPE_CHECKING:
    from server.outbox import DevelopmentOutbox
    from server.twilio_sms import TwilioSms


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
