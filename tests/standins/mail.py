"""A mail server on a loopback port: aiosmtpd with STARTTLS, TLS from the first byte or neither, and AUTH.
What it took is recorded; refusals, silences and cut lines are set by a test.

No mail leaves the machine, and nothing here imports the server's code.
"""

import asyncio
import ssl
from collections import defaultdict
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any, Literal, Self, cast

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

Security = Literal["starttls", "tls", "none"]
# A verb of SMTP; "CONTENT" is the end of the mail itself, after DATA was agreed to.
Verb = Literal["EHLO", "MAIL", "RCPT", "CONTENT", "QUIT"]

HANG = "hang"
CUT = "cut"


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """One mail that the server took. `login`: the account it came from; `is_encrypted`: it came over TLS."""

    mail_from: str
    rcpt_tos: list[str]
    message: EmailMessage
    raw: bytes
    login: str | None
    is_encrypted: bool
    options: list[str]


class MailStandIn:
    """`async with MailStandIn("starttls", certificate, login=("user", "password")) as server`.

    With a `login` no mail is taken without it. `answers[verb]` are the answers to come to that verb, then all
    is well again: a reply such as "450 4.2.0 Greylisted", HANG for silence, or CUT for a lost connection.
    """

    def __init__(
        self,
        security: Security,
        certificate: trustme.LeafCert | None = None,
        *,
        login: tuple[str, str] | None = None,
        takes_utf8: bool = True,
    ) -> None:
        self.security = security
        self.login = login
        self.takes_utf8 = takes_utf8
        self.mails: list[ReceivedMail] = []
        self.verbs: list[str] = []
        self.greetings: list[str] = []
        self.sign_ins: list[tuple[str, str]] = []
        self.answers: dict[Verb, list[str]] = defaultdict(list)
        self.connections = 0
        self.port = 0
        self._release = asyncio.Event()
        self._context: ssl.SSLContext | None = None
        if security != "none":
            assert certificate is not None, "TLS needs a certificate"
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(self._context)
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connection, "127.0.0.1", 0, ssl=self._context if self.security == "tls" else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._release.set()
        for connection in list(self._open):
            await connection.end()
        await self._server.wait_closed()

    def _connection(self) -> "_Connection":
        self.connections += 1
        connection = _Connection(
            self,
            hostname="mail.test",
            loop=asyncio.get_running_loop(),
            tls_context=self._context if self.security == "starttls" else None,
            # aiosmtpd counts only STARTTLS as TLS here.
            auth_require_tls=self.security == "starttls",
            authenticator=self._authenticate,
            enable_SMTPUTF8=self.takes_utf8,
        )
        self._open.add(connection)
        return connection

    def _authenticate(self, _server: Any, session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        self.sign_ins.append(given)
        if given != self.login:
            return AuthResult(success=False, handled=False)
        session.signed_in_as = given[0]
        return AuthResult(success=True)

    async def _scripted(self, verb: Verb, connection: "_Connection") -> str | None:
        self.verbs.append(verb)
        if not self.answers[verb]:
            return None
        answer = self.answers[verb].pop(0)
        if answer == HANG:
            await self._release.wait()
            return None
        if answer == CUT:
            connection.cut()
            return "421 never arrives"
        return answer

    async def handle_EHLO(self, server: Any, session: Any, _envelope: Any, name: str, lines: list[str]) -> list[str]:
        session.host_name = name
        self.greetings.append(name)
        answer = await self._scripted("EHLO", server)
        return lines if answer is None else [answer]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if (answer := await self._scripted("MAIL", server)) is not None:
            return answer
        if self.login is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: Any, _session: Any, envelope: Any, address: str, _options: list[str]) -> str:
        if (answer := await self._scripted("RCPT", server)) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if (answer := await self._scripted("CONTENT", server)) is not None:
            return answer
        message = message_from_bytes(envelope.original_content, policy=default)
        assert isinstance(message, EmailMessage)
        self.mails.append(
            ReceivedMail(
                mail_from=envelope.mail_from,
                rcpt_tos=envelope.rcpt_tos,
                message=message,
                raw=envelope.original_content,
                login=getattr(session, "signed_in_as", None),
                is_encrypted=server.transport.get_extra_info("sslcontext") is not None,
                options=envelope.mail_options,
            )
        )
        return "250 2.0.0 Taken"

    async def handle_QUIT(self, server: Any, _session: Any, _envelope: Any) -> str:
        return await self._scripted("QUIT", server) or "221 2.0.0 Bye"


class _Connection(SMTP):
    """One connection that can be cut and awaited."""

    def cut(self) -> None:
        cast(asyncio.Transport, self.transport).abort()

    async def end(self) -> None:
        if self.transport is not None:
            self.cut()
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
            await asyncio.wait([self._handler_coroutine])
