"""The development outbox in Redis, where every process of the server finds it.

What lives here: messages to and from the JSON in which they are kept, which is also that of the listing
(handlers/outbox.py). What must not: saying messages on the console, or showing them.
"""

from datetime import datetime
from typing import Any

import orjson

from server.outbox import OutboxMessage
from storage.codes import Codes


class CodesOutboxStore:
    """An OutboxStore over the codes' Redis."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes

    async def append(self, message: OutboxMessage) -> None:
        """Keep the message; the oldest make room. Raises RedisUnavailable."""
        await self._codes.push_outbox(orjson.dumps(_entry(message)).decode())

    async def newest(self, limit: int) -> list[OutboxMessage]:
        """At most `limit` messages, the newest first. Raises RedisUnavailable."""
        return [_message(orjson.loads(text)) for text in await self._codes.list_outbox(limit)]


def _entry(message: OutboxMessage) -> dict[str, str]:
    """The message as it is kept and listed; only a mail has a subject."""
    entry: dict[str, str] = {
        "kind": message.kind,
        "to": message.to,
        "body": message.body,
        "at": message.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if message.subject is not None:
        entry["subject"] = message.subject
    return entry


def _message(entry: dict[str, Any]) -> OutboxMessage:
    return OutboxMessage(
        kind=entry["kind"],
        to=entry["to"],
        body=entry["body"],
        at=datetime.fromisoformat(entry["at"]),
        subject=entry.get("subject"),
    )
