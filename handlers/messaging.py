"""What handlers send people with: SMS and mail, whatever carries them.

What lives here: two small protocols, a mail, and the one error. What must not: any way of carrying a message
(server/gateways.py and the modules beside it).
"""

from dataclasses import dataclass
from typing import Protocol


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
