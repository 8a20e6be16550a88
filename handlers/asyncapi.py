"""The AsyncAPI 3.1 document of the live feed, built from the records of its messages.

What lives here: putting the document together, purely: server, channel, operations, security, close codes. What must
not: serving it (documentation.py), or the shape of a message (asyncapi_requests.py, asyncapi_answers.py,
asyncapi_book.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from feed.connection import CloseCode
from feed.messages import SUBPROTOCOL
from feed.requests import ErrorCode
from handlers import asyncapi_answers as answers
from handlers import asyncapi_requests as requests
from handlers.asyncapi_book import BOOK_MESSAGES
from handlers.asyncapi_shapes import Message
from handlers.openapi import VERSION

_DESCRIPTION: Final = """
Every change of the day-ahead book, within a tenth of a second, with sequence numbers and checksums by which a client
can prove that it sees the book as it is; and an account's own bids, trades and readings as they happen. One JSON text
a frame, no compression. Prices and volumes are whole ticks.

The document is the server's: what it *receives* clients send, what it *sends* they get.

- **Applying a message.** `snap` replaces everything. An `upd`, `gate` or `cleared` applies where
  `prev <= local seq < seq`; where `seq <= local seq` it is old news; where `prev > local seq` something is missing:
  send `resync`. In `lv` volumes are absolute, 0 removes the level.
- **Checksums.** A slot's is the CRC-32 (zlib's) over its levels, buys before sells and by price, each as
  `side,price,volume,bids;`. A book's is the CRC-32 over the checksums of its slots as unsigned big-endian words of 4
  bytes; a slot without levels counts as 0.
- **Coming back.** Subscribe with `since`. One message brings a book up to date, whatever was missed.
"""
_HANDSHAKE_HEADERS: Final = {
    "type": "object",
    "properties": {
        "Authorization": {
            "type": "string",
            "description": "`Bearer <token>`, instead of an `auth` message; a bad one is refused with 401",
        },
        "Sec-WebSocket-Protocol": {"const": SUBPROTOCOL, "description": "Answered when offered; may be left out"},
        "Origin": {
            "type": "string",
            "description": "What browsers send: the server's own, or one of `server.cors_origins`; others get 403",
        },
    },
}
# Why the server closes; the codes below 4000 are those of the websocket protocol itself. Who may come back is said by
# a rule: from 4500 on, and where the client itself was at fault, not as it is.
_CLOSE_CODES: Final[Mapping[int, tuple[str, str]]] = {
    1002: ("protocol error", "A frame broke the websocket protocol"),
    1003: ("unsupported data", "A binary message"),
    1007: ("invalid data", "A message that is not UTF-8"),
    1009: ("message too big", "A message larger than `max_msg`"),
    CloseCode.RESTART: ("restart", "The process is replaced"),
    CloseCode.SHUTDOWN: ("shutdown", "The server leaves; `bye` came before"),
    CloseCode.TOKEN_EXPIRED: ("token expired", "No fresh token came in time; get one first"),
    CloseCode.SLOW: ("slow", "The client was behind for too long; resume"),
    CloseCode.NO_PONG: ("no pong", "A ping was not answered; resume"),
    CloseCode.RATE_LIMIT: ("rate limit", "Too many messages; send less"),
    CloseCode.INVALID_TOKEN: ("invalid token", "The token of an `auth` message is not valid"),
    CloseCode.BAD_REQUEST: ("bad request", "Ten requests were refused for good"),
    CloseCode.NO_AUTH_IN_TIME: ("no auth in time", "Neither a token nor a subscription that needs none came in time"),
    CloseCode.FORBIDDEN: ("forbidden", "The token was revoked, or may not use the feed"),
    CloseCode.TOO_MANY_CONNECTIONS: ("too many connections", "Of this account or this address"),
}
_ERRORS: Final[Mapping[ErrorCode, str]] = {
    ErrorCode.BAD_REQUEST: "Not a valid message: not JSON, an unknown `op`, a wrong field",
    ErrorCode.NOT_AUTHENTICATED: "Authenticate first",
    ErrorCode.FORBIDDEN: "Not for this token: `me` for an operator, `auth` with another account's token",
    ErrorCode.UNKNOWN_CHANNEL: "There is no such channel, or it is not followed",
    ErrorCode.TOO_MANY_SUBSCRIPTIONS: "Too many subscriptions",
    ErrorCode.UNAVAILABLE: "Not possible at the moment; `temporary` is true",
}


@dataclass(frozen=True, slots=True)
class _Operation:
    """What clients may send with the replies that it can have, or what the server sends of its own accord."""

    name: str
    summary: str
    messages: tuple[Message, ...]
    replies: tuple[Message, ...] = ()
    needs_token: bool = False


_OPERATIONS: Final = (
    _Operation("greet", "The connection begins", (answers.HELLO,)),
    _Operation("authenticate", "Log in, and go on later", (requests.AUTH,), (answers.AUTHENTICATED, answers.ERROR)),
    _Operation(
        "subscribeBook",
        "Follow a book",
        (requests.SUBSCRIBE_BOOK,),
        (answers.SUBSCRIBED, answers.ERROR),
        needs_token=True,
    ),
    _Operation("resync", "Get a book anew", (requests.RESYNC,), (answers.SUBSCRIBED, answers.ERROR), needs_token=True),
    _Operation("publishBook", "What happens in the books that are followed", BOOK_MESSAGES),
    _Operation(
        "subscribeMe",
        "Follow the account's own events",
        (requests.SUBSCRIBE_ME,),
        (answers.SUBSCRIBED_ME, answers.ERROR),
        needs_token=True,
    ),
    _Operation(
        "publishOwn", "What happens to the account", (answers.OWN_BIDS, answers.OWN_TRADES, answers.OWN_READINGS)
    ),
    _Operation("unsubscribe", "Follow no longer", (requests.UNSUBSCRIBE,), (answers.UNSUBSCRIBED, answers.ERROR)),
    _Operation("ping", "Ask for a sign of life", (requests.PING,), (answers.PONG, answers.ERROR)),
    _Operation("warn", "What is about to end", (answers.TOKEN_EXPIRING, answers.UNSUB, answers.BYE)),
)


@lru_cache(maxsize=2)
def document_bytes(*, is_book_public: bool) -> bytes:
    """The document as JSON."""
    return orjson.dumps(build_document(is_book_public=is_book_public))


def build_document(*, is_book_public: bool) -> dict[str, Any]:
    """The document; with a public book, following one needs no token."""
    messages = (*requests.REQUESTS, *answers.ANSWERS, *BOOK_MESSAGES)
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Shakti live feed",
            "version": VERSION,
            "description": _DESCRIPTION.strip(),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"plain": _server("ws", "This server"), "tls": _server("wss", "This server behind a TLS proxy")},
        "channels": {
            "feed": {
                "address": "/ws",
                "title": SUBPROTOCOL,
                "description": f"One connection for everything that is followed.\n\n{_close_codes()}\n\n{_errors()}",
                "messages": {message.name: _reference("components/messages", message.name) for message in messages},
                "bindings": {"ws": {"method": "GET", "headers": _HANDSHAKE_HEADERS}},
                "x-close-codes": [
                    {"code": int(code), "name": name, "description": text, "reconnect": may_come_back(code)}
                    for code, (name, text) in _CLOSE_CODES.items()
                ],
            }
        },
        "operations": {
            operation.name: _operation(operation, is_book_public=is_book_public) for operation in _OPERATIONS
        },
        "components": {
            "messages": {message.name: _message(message) for message in messages},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Of an energy account or an operator; in an `auth` message or at the handshake",
                }
            },
        },
    }


def may_come_back(code: int) -> bool:
    """Whether a client that was closed with this code should connect again by itself."""
    return code == CloseCode.RESTART or CloseCode.SHUTDOWN <= code < CloseCode.INVALID_TOKEN


def _server(protocol: str, description: str) -> dict[str, Any]:
    host = {"default": "localhost:8080", "description": "Where this document came from"}
    return {"host": "{host}", "protocol": protocol, "description": description, "variables": {"host": host}}


def _message(message: Message) -> dict[str, Any]:
    return {
        "name": message.name,
        "title": message.word,
        "summary": message.summary,
        "payload": message.payload,
        "examples": [{"payload": body} for body in message.bodies],
    }


def _operation(operation: _Operation, *, is_book_public: bool) -> dict[str, Any]:
    is_asked = bool(operation.replies)
    shown: dict[str, Any] = {
        "action": "receive" if is_asked else "send",
        "channel": _reference("channels", "feed"),
        "summary": operation.summary,
        "messages": _in_channel(operation.messages),
    }
    if is_asked:
        shown["reply"] = {"channel": _reference("channels", "feed"), "messages": _in_channel(operation.replies)}
    if operation.needs_token and not (is_book_public and requests.SUBSCRIBE_ME not in operation.messages):
        shown["security"] = [_reference("components/securitySchemes", "token")]
    return shown


def _in_channel(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [_reference("channels/feed/messages", message.name) for message in messages]


def _reference(place: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/{place}/{name}"}


def _close_codes() -> str:
    lines = [
        f"| {int(code)} | {name} | {text} | {'yes' if may_come_back(code) else 'no'} |"
        for code, (name, text) in _CLOSE_CODES.items()
    ]
    return "\n".join(["| Close code | | Why | Come back |", "|---|---|---|---|", *lines])


def _errors() -> str:
    lines = [f"| {int(code)} | {text} |" for code, text in _ERRORS.items()]
    return "\n".join(["| `code` of an `err` | Why |", "|---|---|", *lines])
