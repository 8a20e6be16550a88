"""The development outbox: what it keeps, what it says to the person at the console."""

from datetime import UTC, datetime

import pytest

from handlers.messaging import Mail
from server.outbox import DevelopmentOutbox, OutboxMessage


class ListStore:
    """An OutboxStore in a list."""

    def __init__(self) -> None:
        self.messages: list[OutboxMessage] = []

    async def append(self, message: OutboxMessage) -> None:
        self.messages.append(message)

    async def newest(self, limit: int) -> list[OutboxMessage]:
        return self.messages[::-1][:limit]


class DeadStore(ListStore):
    """An OutboxStore whose server is gone."""

    async def append(self, message: OutboxMessage) -> None:
        raise ConnectionError(f"the store is gone, and so is the {message.kind}")


async def test_an_sms_is_kept_and_said() -> None:
    said: list[str] = []
    outbox = DevelopmentOutbox(ListStore(), said.append)
    await outbox.sms.send("+919876543210", "Your OTP is 482913")
    [message] = await outbox.newest(10)
    assert (message.kind, message.to, message.subject) == ("sms", "+919876543210", None)
    assert message.body == "Your OTP is 482913"
    assert abs(message.at - datetime.now(UTC)).total_seconds() < 60
    assert said == ["SMS to +919876543210\n    Your OTP is 482913"]


async def test_a_mail_is_kept_and_said_as_plain_text() -> None:
    said: list[str] = []
    outbox = DevelopmentOutbox(ListStore(), said.append)
    await outbox.mail.send(Mail("asha@example.in", "Confirm", "Open\nhttp://localhost/x\n", "<p>Open</p>"))
    [message] = await outbox.newest(10)
    assert (message.kind, message.to, message.subject) == ("email", "asha@example.in", "Confirm")
    assert message.body == "Open\nhttp://localhost/x\n"
    assert said == ["E-mail to asha@example.in: Confirm\n    Open\n    http://localhost/x"]


async def test_the_newest_messages_come_first_and_no_more_than_asked_for() -> None:
    outbox = DevelopmentOutbox(ListStore(), lambda _text: None)
    for number in range(5):
        await outbox.sms.send("+919876543210", str(number))
    assert [message.body for message in await outbox.newest(2)] == ["4", "3"]


async def test_what_users_wrote_cannot_command_the_terminal() -> None:
    said: list[str] = []
    outbox = DevelopmentOutbox(ListStore(), said.append)
    await outbox.mail.send(
        Mail("asha@example.in", "Hi\x1b]0;owned\x07\r\nfake", "Dear \x1b[2J\x9b31m\u202eAsha\rX नमस्ते\ttab", "")
    )
    [text] = said
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "नमस्ते" in text
    assert text.splitlines()[0].startswith("E-mail to asha@example.in: Hi")
    assert len(text.splitlines()) == 3


async def test_a_message_that_was_not_kept_is_not_said_and_its_sender_knows() -> None:
    said: list[str] = []
    outbox = DevelopmentOutbox(DeadStore(), said.append)
    with pytest.raises(ConnectionError):
        await outbox.sms.send("+919876543210", "Your OTP is 482913")
    assert said == []
