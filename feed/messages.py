"""What the server says on the feed: one function a message, each giving the bytes of its frame.

What lives here: the messages of `bidbook.v1`, keys in the protocol's order. What must not: when any of them is sent.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from feed.frames import text_frame
from feed.requests import ErrorCode, RequestId
from feed.rules import FeedRules
from market.book import BookState, Indicative, Level
from storage.sessions import Session

VERSION = 1
SUBPROTOCOL = "bidbook.v1"


def hello(rules: FeedRules, session: Session | None) -> bytes:
    """The first message. `session` is that of the handshake's token, if it had one."""
    message: dict[str, Any] = {
        "t": "hello",
        "v": VERSION,
        "conn": secrets.token_hex(4),
        "ping_s": _plain(rules.ping_s),
        "max_msg": rules.max_message_bytes,
        "limits": {"in_per_s": _plain(rules.messages_per_s), "subs": rules.max_subscriptions},
    }
    if session is not None:
        message |= identity(session)
    return _frame(message)


def identity(session: Session) -> dict[str, Any]:
    """Who a connection speaks for, and until when (Unix seconds)."""
    return {"sub": str(session.claims.subject), "exp": int(session.claims.expires_at.timestamp())}


def ok(request_id: RequestId, more: Mapping[str, Any]) -> bytes:
    """A request was done."""
    return _frame({"t": "ok", **_echo(request_id), **more})


def error(request_id: RequestId, code: ErrorCode, text: str) -> bytes:
    """A request was refused."""
    return _frame(
        {
            "t": "err",
            **_echo(request_id),
            "code": int(code),
            "msg": text,
            "temporary": code is ErrorCode.UNAVAILABLE,
        }
    )


def update(
    *,
    channel: str,
    prev: int,
    seq: int,
    ts_ms: int,
    levels: Iterable[Level],
    indicatives: Iterable[Indicative],
    checksums: Mapping[int, int],
) -> bytes:
    """Every level that changed after event `prev` up to event `seq`, with what their slots would clear and the slots'
    checksums."""
    return _frame(
        {
            "t": "upd",
            "ch": channel,
            "prev": prev,
            "seq": seq,
            "ts": ts_ms,
            "lv": [list(level) for level in levels],
            "ind": [list(entry) for entry in indicatives],
            "cs": {str(slot): checksum for slot, checksum in checksums.items()},
        }
    )


def gate(*, channel: str, epoch: str, prev: int, seq: int, state: BookState) -> bytes:
    """The gate of a delivery day closed."""
    return _frame({"t": "gate", "ch": channel, "ep": epoch, "prev": prev, "seq": seq, "state": state})


def cleared(*, channel: str, epoch: str, prev: int, seq: int, results: Iterable[Indicative]) -> bytes:
    """The auction of a delivery day: the slots that cleared, with price and volume in ticks."""
    slots = [list(result) for result in results]
    return _frame({"t": "cleared", "ch": channel, "ep": epoch, "prev": prev, "seq": seq, "slots": slots})


def heartbeat(ts_ms: int, channel: str, at: Sequence[int | str]) -> bytes:
    """Nothing happened for a second: `at` is epoch, sequence number and checksum of the channel as last sent."""
    return _frame({"t": "hb", "ts": ts_ms, "at": {channel: list(at)}})


def own(*, epoch: str, prev: int, seq: int, kind: str, data: Mapping[str, Any]) -> bytes:
    """An event of the account's own."""
    return _frame({"t": "me", "ep": epoch, "seq": seq, "prev": prev, "kind": kind, "data": data})


def token_expiring(expires_at_s: int) -> bytes:
    """The token ends soon; another one is welcome."""
    return _frame({"t": "token_expiring", "exp": expires_at_s})


def unsubscribed(channel: str, code: int, reason: str) -> bytes:
    """The server ended a subscription."""
    return _frame({"t": "unsub", "ch": channel, "code": code, "reason": reason})


def bye(code: int, window_ms: int) -> bytes:
    """The server leaves; clients come back spread over the window."""
    return _frame({"t": "bye", "code": code, "reconnect": True, "retry_ms": [0, window_ms]})


def _echo(request_id: RequestId) -> dict[str, Any]:
    return {} if request_id is None else {"id": request_id}


def _plain(seconds: float) -> float | int:
    """25 rather than 25.0."""
    return int(seconds) if seconds == int(seconds) else seconds


def _frame(message: Mapping[str, Any]) -> bytes:
    return text_frame(orjson.dumps(message))
