"""Mail against a real SMTP server on loopback: what arrives, over which line, and what a caller is told."""

import asyncio
import socket
import time
from dataclasses import replace
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import parseaddr, parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import trustme

from handlers.messaging import GatewayError, Mail
from server import smtp_mail
from server.gateways import SmtpSettings
from server.smtp_mail import SmtpMail
from tests.standins.mail import CUT, HANG, MailStandIn, ReceivedMail, Verb

LOGIN = ("shakti", "p\u00e4sswort-5ecret")
MAIL = Mail(
    to="asha@example.in",
    subject="Confirm your e-mail address",
    text="Open this link:\nhttps://shakti.example.in/verify-email?token=abc.def-ghi\n",
    html='<p>Open <a href="https://shakti.example.in/verify-email?token=abc.def-ghi">this link</a>.</p>\n',
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def settings(port: int, security: Literal["starttls", "tls", "none"] = "none", **changes: Any) -> SmtpSettings:
    plain = SmtpSettings(
        host="127.0.0.1",
        port=port,
        username=None,
        password=None,
        sender="Shakti <no-reply@shakti.example.in>",
        security=security,
        timeout_s=5.0,
        ca_file=None,
    )
    return replace(plain, **changes)


def signed_in(port: int, security: Literal["starttls", "tls", "none"], ca_file: str | None) -> SmtpSettings:
    return settings(port, security, username=LOGIN[0], password=LOGIN[1], ca_file=ca_file)


class Pauses:
    """Takes the place of asyncio.sleep: notes how long and does not wait."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, pause_s: float) -> None:
        self.taken.append(pause_s)


async def failure_of(gateway: SmtpMail, mail: Mail = MAIL) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await gateway.send(mail)
    for secret in (*LOGIN, "127.0.0.1", "mail.test", "shakti.example.in"):
        assert secret not in caught.value.reason
    return caught.value


def text_of(received: ReceivedMail, subtype: str) -> str:
    part = received.message.get_body((subtype,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_mail_arrives_signed_in_over_tls(
    security: Literal["starttls", "tls"], certificate: trustme.LeafCert, ca_file: str
) -> None:
    async with MailStandIn(security, certificate, login=LOGIN) as server:
        await SmtpMail(signed_in(server.port, security, ca_file)).send(MAIL)
    [received] = server.mails
    assert received.is_encrypted
    assert received.login == LOGIN[0]
    assert received.mail_from == "no-reply@shakti.example.in"
    assert received.rcpt_tos == ["asha@example.in"]


async def test_a_mail_is_text_and_html_with_the_headers_that_mail_needs() -> None:
    async with MailStandIn("none") as server:
        await SmtpMail(settings(server.port)).send(MAIL)
        await SmtpMail(settings(server.port)).send(MAIL)
    first, second = (received.message for received in server.mails)
    assert first["From"] == "Shakti <no-reply@shakti.example.in>"
    assert first["To"] == "asha@example.in"
    assert first["Subject"] == "Confirm your e-mail address"
    assert first["Auto-Submitted"] == "auto-generated"
    assert abs(parsedate_to_datetime(first["Date"]).timestamp() - time.time()) < 60
    assert first["Message-ID"].endswith("@shakti.example.in>")
    assert first["Message-ID"] != second["Message-ID"]
    assert first.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in first.iter_parts()] == ["text/plain", "text/html"]
    assert text_of(server.mails[0], "plain") == MAIL.text
    assert text_of(server.mails[0], "html") == MAIL.html


async def test_a_mail_in_other_scripts_with_dots_and_long_lines_arrives_unharmed() -> None:
    mail = Mail(
        to="asha@example.in",
        subject="अपना ई-मेल पता पुष्ट करें – " + "बहुत लंबा विषय " * 8 + "!",
        text=".\n..two dots\nनमस्ते आशा\n" + "x" * 3000 + "\nFrom here on\n",
        html="<p>नमस्ते – " + "y" * 3000 + "</p>\n",
    )
    name = "शक्ति Exchange विनिमय ऊर्जा"
    async with MailStandIn("none") as server:
        await SmtpMail(settings(server.port, sender=f"{name} <no-reply@shakti.example.in>")).send(mail)
    [received] = server.mails
    assert str(received.message["Subject"]) == mail.subject
    # The standard library's new parser puts spaces into such a name, its old one does not.
    name_received, address = parseaddr(message_from_bytes(received.raw)["From"].replace("\r\n", ""))
    assert (str(make_header(decode_header(name_received))), address) == (name, "no-reply@shakti.example.in")
    assert text_of(received, "plain") == mail.text
    assert text_of(received, "html") == mail.html
    assert received.raw.isascii()
    assert max(len(line) for line in received.raw.splitlines()) <= 78


async def test_a_short_mail_in_another_script_is_ascii_on_the_wire_whatever_the_server_says_it_can_do() -> None:
    async with MailStandIn("none") as server:
        await SmtpMail(settings(server.port)).send(replace(MAIL, text="नमस्ते\n", html="<p>नमस्ते</p>\n"))
    [received] = server.mails
    assert received.raw.isascii()
    assert text_of(received, "plain") == "नमस्ते\n"


async def test_the_server_is_greeted_with_the_sender_s_domain_and_not_with_this_machine_s_name() -> None:
    async with MailStandIn("none") as server:
        await SmtpMail(settings(server.port)).send(MAIL)
    assert server.greetings == ["shakti.example.in"]
    assert socket.gethostname().encode() not in server.mails[0].raw


async def test_a_recipient_in_another_script_gets_the_mail_as_rfc_6531_has_it() -> None:
    async with MailStandIn("none") as server:
        gateway = SmtpMail(settings(server.port))
        await gateway.send(replace(MAIL, to="आशा@example.in"))
        await gateway.send(replace(MAIL, to="asha@bücher.example"))
    in_utf8, in_ascii = server.mails
    assert in_utf8.rcpt_tos == ["आशा@example.in"]
    assert "SMTPUTF8" in in_utf8.options
    assert in_ascii.rcpt_tos == ["asha@xn--bcher-kva.example"]
    assert "SMTPUTF8" not in in_ascii.options


async def test_a_recipient_in_another_script_is_refused_where_the_server_knows_only_ascii() -> None:
    async with MailStandIn("none", takes_utf8=False) as server:
        error = await failure_of(SmtpMail(settings(server.port)), replace(MAIL, to="आशा@example.in"))
    assert (server.mails, error.is_temporary) == ([], False)
    assert "address of the recipient" in error.reason


async def test_credentials_travel_in_clear_only_where_no_security_was_asked_for() -> None:
    async with MailStandIn("none", login=LOGIN) as server:
        await SmtpMail(signed_in(server.port, "none", None)).send(MAIL)
    assert server.mails[0].login == LOGIN[0]


async def test_a_server_without_starttls_gets_neither_credentials_nor_mail(ca_file: str) -> None:
    async with MailStandIn("none", login=LOGIN) as server:
        error = await failure_of(SmtpMail(signed_in(server.port, "starttls", ca_file)))
    assert (server.sign_ins, server.mails, server.verbs) == ([], [], ["EHLO"])
    assert not error.is_temporary
    assert "no encryption" in error.reason


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_of_an_unknown_authority_gets_neither_credentials_nor_mail(
    security: Literal["starttls", "tls"], certificate: trustme.LeafCert
) -> None:
    async with MailStandIn(security, certificate, login=LOGIN) as server:
        error = await failure_of(SmtpMail(signed_in(server.port, security, None)))
    assert (server.sign_ins, server.mails, server.connections) == ([], [], 1)
    assert not error.is_temporary
    assert "could not be made secure" in error.reason


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_for_another_name_gets_neither_credentials_nor_mail(
    security: Literal["starttls", "tls"], authority: trustme.CA, ca_file: str
) -> None:
    async with MailStandIn(security, authority.issue_cert("mail.example.in"), login=LOGIN) as server:
        error = await failure_of(SmtpMail(signed_in(server.port, security, ca_file)))
    assert (server.sign_ins, server.mails, server.connections) == ([], [], 1)
    assert "could not be made secure" in error.reason


async def test_a_wrong_password_is_told_as_the_server_s_own_fault_and_not_retried(
    certificate: trustme.LeafCert, ca_file: str
) -> None:
    async with MailStandIn("starttls", certificate, login=LOGIN) as server:
        wrong = replace(signed_in(server.port, "starttls", ca_file), password="wrong-5ecret")
        error = await failure_of(SmtpMail(wrong))
    assert (server.mails, server.connections) == ([], 1)
    assert not error.is_temporary
    assert error.reason == "The mail server does not accept this server's credentials (535)"


async def test_a_server_that_wants_a_login_and_gets_none_refuses() -> None:
    async with MailStandIn("none", login=LOGIN) as server:
        error = await failure_of(SmtpMail(settings(server.port)))
    assert (server.mails, error.is_temporary) == ([], False)
    assert "(530)" in error.reason


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "CONTENT"])
async def test_a_4xx_answer_is_retried_once_and_the_mail_arrives_once(verb: Verb) -> None:
    pauses = Pauses()
    async with MailStandIn("none") as server:
        server.answers[verb] = ["450 4.2.0 mail.test asks you to come back later"]
        if verb == "EHLO":  # a refused EHLO is followed by HELO on the same connection, which this server knows
            server.answers[verb] = ["421 4.2.0 mail.test is tired"]
        await SmtpMail(settings(server.port), pause=pauses).send(MAIL)
    assert len(server.mails) == 1
    assert server.connections == 2
    assert pauses.taken == [smtp_mail._RETRY_PAUSE_S]


async def test_a_mail_that_stays_greylisted_fails_as_temporary_after_the_second_try() -> None:
    async with MailStandIn("none") as server:
        server.answers["RCPT"] = ["450 4.2.0 Greylisted by mail.test"] * 3
        error = await failure_of(SmtpMail(settings(server.port), pause=Pauses()))
    assert (server.mails, server.connections) == ([], 2)
    assert error.is_temporary
    assert error.reason == "The mail server cannot take the mail now (450); try again later"


@pytest.mark.parametrize(
    ("verb", "reply", "words"),
    [
        ("MAIL", "553 5.7.1 mail.test: not your address", "as the sender (553)"),
        ("RCPT", "550 5.1.1 <asha@example.in> is unknown to mail.test", "the address of the recipient (550)"),
        ("CONTENT", "554 5.6.0 mail.test dislikes it", "refuses the mail (554)"),
    ],
)
async def test_a_5xx_answer_is_final(verb: Verb, reply: str, words: str) -> None:
    pauses = Pauses()
    async with MailStandIn("none") as server:
        server.answers[verb] = [reply]
        error = await failure_of(SmtpMail(settings(server.port), pause=pauses))
    assert (server.mails, server.connections, pauses.taken) == ([], 1, [])
    assert not error.is_temporary
    assert words in error.reason


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT"])
async def test_a_line_cut_before_the_content_is_retried_once(verb: Verb) -> None:
    async with MailStandIn("none") as server:
        server.answers[verb] = [CUT]
        await SmtpMail(settings(server.port), pause=Pauses()).send(MAIL)
    assert (len(server.mails), server.connections) == (1, 2)


async def test_a_line_cut_after_the_content_is_not_retried_as_the_mail_may_be_taken() -> None:
    async with MailStandIn("none") as server:
        server.answers["CONTENT"] = [CUT]
        error = await failure_of(SmtpMail(settings(server.port), pause=Pauses()))
    assert (server.mails, server.connections) == ([], 1)
    assert error.is_temporary
    assert "may still arrive" in error.reason


async def test_a_refused_connection_is_tried_twice() -> None:
    pauses = Pauses()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        error = await failure_of(SmtpMail(settings(silent.getsockname()[1]), pause=pauses))
    assert pauses.taken == [smtp_mail._RETRY_PAUSE_S]
    assert error.is_temporary
    assert "cannot be reached" in error.reason


async def test_no_second_try_begins_that_the_time_limit_would_cut() -> None:
    async with MailStandIn("none") as server:
        server.answers["RCPT"] = ["450 4.2.0 Greylisted"]
        error = await failure_of(SmtpMail(settings(server.port, timeout_s=0.25)))
    assert server.connections == 1
    assert "(450)" in error.reason


@pytest.mark.parametrize("verb", ["EHLO", "RCPT", "CONTENT"])
@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_a_silent_server_costs_the_time_limit_and_is_not_asked_again(
    security: Literal["starttls", "tls", "none"], verb: Verb, certificate: trustme.LeafCert, ca_file: str
) -> None:
    async with MailStandIn(security, certificate) as server:
        server.answers[verb] = [HANG, HANG]
        began = time.monotonic()
        error = await failure_of(SmtpMail(settings(server.port, security, ca_file=ca_file, timeout_s=0.3)))
        took_s = time.monotonic() - began
        assert 0.3 <= took_s < 2
        assert (server.mails, server.connections) == ([], 1)
    assert error.is_temporary
    assert "in time" in error.reason


async def test_a_server_that_speaks_no_tls_where_tls_is_due_gets_nothing() -> None:
    async with MailStandIn("none", login=LOGIN) as server:
        error = await failure_of(SmtpMail(signed_in(server.port, "tls", None)))
    assert (server.sign_ins, server.mails, server.connections) == ([], [], 1)
    assert not error.is_temporary
    assert "could not be made secure" in error.reason


async def test_a_mail_counts_as_sent_though_the_server_is_silent_at_the_goodbye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smtp_mail, "_QUIT_TIMEOUT_S", 0.05)
    async with MailStandIn("none") as server:
        server.answers["QUIT"] = [HANG]
        await SmtpMail(settings(server.port)).send(MAIL)
        server.answers["QUIT"] = ["500 5.0.0 What?"]
        await SmtpMail(settings(server.port)).send(MAIL)
        server.answers["QUIT"] = [CUT]
        await SmtpMail(settings(server.port)).send(MAIL)
    assert len(server.mails) == 3


@pytest.mark.parametrize(
    "mail",
    [
        replace(MAIL, subject="Hello\r\nBcc: victim@example.in"),
        replace(MAIL, subject="Hello\nX: y"),
        replace(MAIL, subject="Hello\x0bX: y"),
        replace(MAIL, subject="Hello\u2028X: y"),
        replace(MAIL, subject="Hello\x00"),
        replace(MAIL, subject="Hello\ud800"),
        replace(MAIL, to="asha@example.in\r\nBcc: victim@example.in"),
        replace(MAIL, to="asha@example.in\nRCPT TO:<victim@example.in>"),
        replace(MAIL, to="asha@example.in, victim@example.in"),
        replace(MAIL, to="asha@example.in> SIZE=1"),
        replace(MAIL, to="Asha <asha@example.in>"),
        replace(MAIL, to='"a b"@example.in'),
        replace(MAIL, to="a..b@example.in"),
        replace(MAIL, to="asha@" + "a" * 64 + ".in"),
        replace(MAIL, to="a" * 250 + "@example.in"),
        replace(MAIL, to="asha"),
        replace(MAIL, to=""),
        replace(MAIL, text="lone \ud800"),
    ],
    ids=lambda mail: repr((mail.to[:40], mail.subject[:24])),
)
async def test_a_mail_that_could_smuggle_something_is_never_even_begun(mail: Mail) -> None:
    async with MailStandIn("none") as server:
        error = await failure_of(SmtpMail(settings(server.port)), mail)
    assert server.connections == 0
    assert not error.is_temporary


async def test_line_breaks_in_a_body_stay_in_the_body() -> None:
    text = "Dear Asha\r\n.\r\nMAIL FROM:<evil@example.in>\r\n\r\nBcc: victim@example.in\n"
    async with MailStandIn("none") as server:
        await SmtpMail(settings(server.port)).send(replace(MAIL, text=text))
    [received] = server.mails
    assert received.rcpt_tos == ["asha@example.in"]
    assert received.message["Bcc"] is None
    assert text_of(received, "plain") == text.replace("\r\n", "\n")


async def test_many_mails_at_once_arrive_once_each(certificate: trustme.LeafCert, ca_file: str) -> None:
    async with MailStandIn("starttls", certificate, login=LOGIN) as server:
        gateway = SmtpMail(signed_in(server.port, "starttls", ca_file))
        await asyncio.gather(*(gateway.send(replace(MAIL, subject=f"Mail {n}")) for n in range(10)))
        await gateway.close()
    assert sorted(received.message["Subject"] for received in server.mails) == sorted(f"Mail {n}" for n in range(10))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sender": "nobody"}, "sender of mails must be one address"),
        ({"sender": "A <a@example.in>, B <b@example.in>"}, "sender of mails must be one address"),
        ({"sender": "Shakti\r\nBcc: x@example.in <a@example.in>"}, "sender of mails must be one address"),
        ({"sender": ""}, "sender of mails must be one address"),
        ({"sender": "आशा@example.in"}, "sender of mails must be one address"),
        ({"username": "shakti"}, "both a user name and a password"),
        ({"password": "5ecret"}, "both a user name and a password"),
        ({"security": "tls", "ca_file": "/nowhere/ca.pem"}, "ca_file '/nowhere/ca.pem' cannot be used"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_the_start(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        SmtpMail(settings(25, **changes) if "security" not in changes else replace(settings(25), **changes))
    assert "5ecret" not in str(caught.value)


def test_a_file_without_certificates_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing")
    with pytest.raises(ValueError, match="cannot be used"):
        SmtpMail(settings(25, "starttls", ca_file=str(path)))
