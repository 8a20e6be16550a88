"""Mail through an SMTP server: composing the message, and one conversation per mail.

What the mail server answers becomes a GatewayError here; the words of a mail are written elsewhere.
"""

import asyncio
import re
import ssl
import unicodedata
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, getaddresses, make_msgid
from enum import Enum

import aiosmtplib

from handlers.messaging import GatewayError, Mail
from server.gateways import SmtpSettings

_RETRY_PAUSE_S = 0.3
_QUIT_TIMEOUT_S = 1.0
# Dots between atoms (RFC 5322, 3.2.3), letters of other scripts allowed. Quoted local parts are refused:
# nobody has one, and each is a chance to smuggle something into a header.
_ATOM = r"""[^\s@<>()\[\]\\,;:"\x00-\x1f\x7f.]+"""
_ADDRESS = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_ATOM}(?:\.{_ATOM})*)")
_ADDRESS_LENGTH = 254  # RFC 5321, 4.5.3.1.3 without the angle brackets


class _Step(Enum):
    """How far a conversation came, with what a failure at that point means for whoever asked for the mail."""

    CONNECT = "The mail server does not take connections"
    ENCRYPT = "The mail server offers no encryption, which is required; the mail was not sent"
    SIGN_IN = "The mail server does not accept this server's credentials"
    SENDER = "The mail server refuses this server's address as the sender"
    RECIPIENT = "The mail server refuses the address of the recipient"
    CONTENT = "The mail server refuses the mail"


class _NotTakenError(GatewayError):
    """The server certainly does not have the mail and may take it on a second try."""


class SmtpMail:
    """A MailGateway that opens a fresh connection for each mail, so that no idle one can have gone stale.

    A second try follows only a 4xx answer or a connection that failed before the content was sent; it carries
    the same Message-ID. Credentials and content never travel in clear unless `security` is "none".
    """

    def __init__(self, settings: SmtpSettings, *, pause: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Reads certificates (about 0.06 s); ValueError names the setting that cannot work."""
        self._settings = settings
        self._pause = pause
        self._sender = _sender(settings.sender)
        self._from = _from_header(self._sender)
        if (settings.username is None) != (settings.password is None):
            raise ValueError("SMTP needs both a user name and a password, or neither")
        self._tls = None if settings.security == "none" else _tls_context(settings.ca_file)

    async def send(self, mail: Mail) -> None:
        """Hands the mail to the server; GatewayError if it does not take the mail, or does not say so in time."""
        try:
            recipient = _address(mail.to)
            message = self._compose(mail, recipient)
        except ValueError as error:
            raise GatewayError(
                "The mail cannot be written: its address or subject is not valid", is_temporary=False
            ) from error
        try:
            async with asyncio.timeout(self._settings.timeout_s) as limit:
                try:
                    client = await self._deliver(message, recipient.addr_spec)
                except _NotTakenError:
                    ends_at = limit.when()
                    if ends_at is None or asyncio.get_running_loop().time() + _RETRY_PAUSE_S >= ends_at:
                        raise
                    await self._pause(_RETRY_PAUSE_S)
                    client = await self._deliver(message, recipient.addr_spec)
        except TimeoutError as error:
            raise GatewayError(
                "The mail server did not answer in time; the mail may still arrive", is_temporary=True
            ) from error
        await _hang_up(client)

    async def close(self) -> None:
        """Nothing to let go of: no connection outlives its mail."""

    def _compose(self, mail: Mail, recipient: Address) -> EmailMessage:
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in mail.subject):
            raise ValueError("a subject is one line of text")
        message = EmailMessage(policy=SMTP)
        # Raw: EmailMessage's own folding loses spaces between words of other scripts (Python 3.11).
        message.set_raw("From", self._from)
        message["To"] = recipient
        message.set_raw("Subject", Header(mail.subject, header_name="Subject").encode())
        message["Date"] = format_datetime(datetime.now(UTC))
        # The sender's domain, not the machine's name, which would tell recipients about our network.
        message["Message-ID"] = make_msgid(domain=self._sender.domain)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
        # Quoted-printable keeps lines short and ASCII whatever the server can do.
        message.set_content(mail.text, cte="quoted-printable")
        message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
        return message

    async def _deliver(self, message: EmailMessage, recipient: str) -> aiosmtplib.SMTP:
        """One conversation up to the server's yes to the content. Returns the client, for a polite goodbye:
        that must not count against the time limit, as the mail is delivered already."""
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.security == "tls",
            start_tls=False,  # done below as a step of its own; None would make encryption optional
            tls_context=self._tls,
            local_hostname=self._sender.domain,  # the default asks the DNS for our name, which can take long
            timeout=None,  # the limit in `send` holds for everything
        )
        step = _Step.CONNECT
        is_delivered = False
        try:
            await client.connect()
            if settings.security == "starttls":
                step = _Step.ENCRYPT
                await client.starttls()
            if settings.username is not None and settings.password is not None:
                step = _Step.SIGN_IN
                await client.login(settings.username, settings.password)
            step = _Step.RECIPIENT
            options, encoding = await _envelope_options(client, recipient)
            step = _Step.SENDER
            await client.mail(self._sender.addr_spec, options=options, encoding=encoding)
            step = _Step.RECIPIENT
            await client.rcpt(recipient, encoding=encoding)
            content = message.as_bytes(policy=SMTPUTF8 if options else SMTP)
            step = _Step.CONTENT
            await client.data(content)
            is_delivered = True
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _failure(step, error) from error
        finally:
            if not is_delivered:
                client.close()
        return client


def _failure(step: _Step, error: Exception) -> GatewayError:
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code >= 400:
        if error.code < 500:
            return _NotTakenError(
                f"The mail server cannot take the mail now ({error.code}); try again later", is_temporary=True
            )
        return GatewayError(f"{step.value} ({error.code})", is_temporary=False)
    if step is _Step.CONTENT:
        return GatewayError("The connection to the mail server broke; the mail may still arrive", is_temporary=True)
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return GatewayError(
            "The connection to the mail server could not be made secure; the mail was not sent", is_temporary=False
        )
    if isinstance(error, OSError):  # aiosmtplib's own connection errors and timeouts are OSErrors too
        return _NotTakenError("The mail server cannot be reached; try again later", is_temporary=True)
    return GatewayError(step.value, is_temporary=False)


async def _envelope_options(client: aiosmtplib.SMTP, recipient: str) -> tuple[list[str], str]:
    """MAIL options and the encoding of commands: only a recipient beyond ASCII needs any (RFC 6531)."""
    if recipient.isascii():
        return [], "ascii"
    await client.ehlo()
    if not client.supports_extension("smtputf8"):
        raise aiosmtplib.SMTPNotSupported("the server takes no addresses beyond ASCII")
    return ["SMTPUTF8"], "utf-8"


async def _hang_up(client: aiosmtplib.SMTP) -> None:
    """QUIT, for the server's peace of mind: the mail is delivered, so nothing here can fail any more."""
    try:
        await client.quit(timeout=_QUIT_TIMEOUT_S)
    except (aiosmtplib.SMTPException, OSError):
        pass
    finally:
        client.close()


def _address(text: str, name: str = "") -> Address:
    """The one address in `text`, its domain in ASCII; ValueError if it is not exactly one."""
    match = _ADDRESS.fullmatch(text)
    if match is None or len(text) > _ADDRESS_LENGTH:
        raise ValueError("not an e-mail address")
    return Address(name, match[1], match[2].encode("idna").decode("ascii"))


def _sender(text: str) -> Address:
    pairs = getaddresses([text])
    try:
        [(name, text_of_address)] = pairs
        address = _address(text_of_address, name)
        if not address.addr_spec.isascii():
            raise ValueError("not every mail server takes a sender beyond ASCII")
        return address
    except ValueError as error:
        raise ValueError(
            f"The sender of mails must be one address, like Shakti <no-reply@example.in>: {text!r}"
        ) from error


def _from_header(sender: Address) -> str:
    if sender.display_name.isascii():
        return str(sender)
    header = Header(sender.display_name, header_name="From")
    header.append(f"<{sender.addr_spec}>")
    return header.encode()


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError, for a file without certificates, is one too
            raise ValueError(f"The mail server's ca_file {ca_file!r} cannot be used: {error}") from error
    return context
