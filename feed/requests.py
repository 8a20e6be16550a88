"""What a client says on the feed: one JSON message to one typed request.

What lives here: parsing, and refusing what is no request. What must not: doing any of it (dialogue.py).
"""

from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Any, Final, TypeAlias

import orjson

from market.slots import SLOTS

RequestId: TypeAlias = int | str | None
RATES_MS: Final = (100, 1000)
OWN_CHANNEL: Final = "me"
OPEN_BOOK_CHANNEL: Final = "book"
_BOOK_PREFIX: Final = "book:"
_MAX_ID_CHARACTERS: Final = 64
_MAX_SEQ: Final = 2**63 - 1


class ErrorCode(IntEnum):
    """Codes of `err` messages. UNAVAILABLE is temporary: the same request may succeed later."""

    BAD_REQUEST = 1400
    NOT_AUTHENTICATED = 1401
    FORBIDDEN = 1403
    UNKNOWN_CHANNEL = 1404
    TOO_MANY_SUBSCRIPTIONS = 1429
    UNAVAILABLE = 1503


class RequestError(Exception):
    """A request that is refused with an `err`; the connection goes on."""

    def __init__(self, code: ErrorCode, text: str, request_id: RequestId = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Since:
    """Where a client stopped: the epoch and the last sequence number that it applied."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Auth:
    id: RequestId
    token: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """`channel` as the client named it. `slots` None means all."""

    id: RequestId
    channel: str
    rate_ms: int
    slots: frozenset[int] | None
    since: Since | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    id: RequestId
    channel: str


@dataclass(frozen=True, slots=True)
class Resync:
    id: RequestId
    channel: str


@dataclass(frozen=True, slots=True)
class Ping:
    id: RequestId


Request: TypeAlias = Auth | Subscribe | Unsubscribe | Resync | Ping


def parse(text: str) -> Request:
    """The request that a message is. Raises RequestError, with the message's id where it has a usable one."""
    try:
        message = orjson.loads(text)
    except ValueError:
        raise RequestError(ErrorCode.BAD_REQUEST, "the message is not JSON") from None
    if not isinstance(message, dict):
        raise RequestError(ErrorCode.BAD_REQUEST, "the message must be a JSON object")
    request_id = _id(message.get("id"))
    try:
        return _request(message, request_id)
    except RequestError as fault:
        fault.request_id = request_id
        raise


def channel_day(channel: str) -> date | None:
    """The delivery day of a `book:<date>` channel; None for anything else."""
    text = channel.removeprefix(_BOOK_PREFIX)
    # fromisoformat also reads 20261123 and week dates.
    if text == channel or len(text) != 10 or not text.isascii():
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _request(message: dict[str, Any], request_id: RequestId) -> Request:
    match message.get("op"):
        case "auth":
            return Auth(request_id, _text(message, "token"))
        case "subscribe":
            return Subscribe(
                request_id,
                _text(message, "ch"),
                _rate(message.get("rate")),
                _slots(message.get("slots")),
                _since(message.get("since")),
            )
        case "unsubscribe":
            return Unsubscribe(request_id, _text(message, "ch"))
        case "resync":
            return Resync(request_id, _text(message, "ch"))
        case "ping":
            return Ping(request_id)
    raise _bad("op must be auth, subscribe, unsubscribe, resync or ping")


def _id(value: object) -> RequestId:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and len(value) <= _MAX_ID_CHARACTERS:
        return value
    raise _bad(f"id must be a whole number, or a text of at most {_MAX_ID_CHARACTERS} characters")


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value:
        raise _bad(f"{name} must be a text")
    return value


def _rate(value: object) -> int:
    if value is None:
        return RATES_MS[0]
    if isinstance(value, bool) or value not in RATES_MS or not isinstance(value, int):
        raise _bad("rate must be 100 or 1000 (milliseconds)")
    return value


def _slots(value: object) -> frozenset[int] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(type(slot) is int and 1 <= slot <= SLOTS for slot in value):
        slots = frozenset(value)
        if 0 < len(slots) == len(value):
            return slots
    raise _bad(f"slots must be null or a list of different numbers from 1 to {SLOTS}")


def _since(value: object) -> Since | None:
    if value is None:
        return None
    if isinstance(value, dict):
        epoch, seq = value.get("ep"), value.get("seq")
        if isinstance(epoch, str) and type(seq) is int and 0 <= seq <= _MAX_SEQ:
            return Since(epoch, seq)
    raise _bad('since must be like {"ep": "k3f9", "seq": 48210}')


def _bad(text: str) -> RequestError:
    return RequestError(ErrorCode.BAD_REQUEST, text)
