"""The development outbox: where SMS and mails go on a machine without Twilio and without a mail server.

Each message is said to a person on the console and kept in a store for the outbox page. The store itself
lives elsewhere; whether the page may be shown is not decided here.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from handlers.messaging import Mail


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message as the outbox lists it. `body` is the plain text of a mail; only mails have a `subject`."""

    kind: Literal["sms", "email"]
    to: str
    body: str
    at: datetime
    subject: str | None


class OutboxStore(Protocol):
    """Keeps messages for all processes of the server."""

    async def append(self, message: OutboxMessage) -> None:
        """Keeps the message."""

    async def newest(self, limit: int) -> list[OutboxMessage]:
        """At most `limit` messages, the newest first."""


class DevelopmentOutbox:
    """Both gateways over one store: `sms` and `mail` are the faces to send with, as their `send` differ.

    A message counts as sent when the store has it; what the store raises reaches the sender, and then nothing
    is said.
    """

    def __init__(self, store: OutboxStore, say: Callable[[str], None]) -> None:
        """`say` shows a text of one or several lines to the person at the console."""
        self._store = store
        self._say = say
        self.sms = OutboxSms(self)
        self.mail = OutboxMail(self)

    async def put(self, message: OutboxMessage) -> None:
        """Keeps the message and says it."""
        await self._store.append(message)
        self._say(as_text(message))

    async def newest(self, limit: int) -> list[OutboxMessage]:
        """At most `limit` messages, the newest first."""
        return await self._store.newest(limit)


class OutboxSms:
    """An SmsGateway into the outbox."""

    def __init__(self, outbox: DevelopmentOutbox) -> None:
        self._outbox = outbox

    async def send(self, to: str, body: str) -> None:
        """Puts the SMS into the outbox."""
        await self._outbox.put(OutboxMessage("sms", to, body, datetime.now(UTC), None))

    async def close(self) -> None:
        """Nothing to let go of: the store belongs to whoever made it."""


class OutboxMail:
    """A MailGateway into the outbox."""

    def __init__(self, outbox: DevelopmentOutbox) -> None:
        self._outbox = outbox

    async def send(self, mail: Mail) -> None:
        """Puts the mail, as plain text, into the outbox."""
        await self._outbox.put(OutboxMessage("email", mail.to, mail.text, datetime.now(UTC), mail.subject))

    async def close(self) -> None:
        """Nothing to let go of: the store belongs to whoever made it."""


def as_text(message: OutboxMessage) -> str:
    """The message for a console. Users influence its content: no control character of it reaches a
    terminal."""
    heading = f"SMS to {message.to}" if message.kind == "sms" else f"E-mail to {message.to}: {message.subject}"
    lines = [_harmless(line) for line in message.body.strip().splitlines()]
    return "\n".join([_harmless(heading), *(f"    {line}" for line in lines)])


def _harmless(line: str) -> str:
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in line)
