"""What the server says on the live feed beside books, as its documentation shows it.

What lives here: replies, the account's own events, and how a connection begins and ends. What must not: making any of
them (feed/messages.py), or a message about a book (asyncapi_book.py).
"""

from typing import Final

from feed.requests import ErrorCode
from handlers.asyncapi_shapes import (
    BOOK,
    CHANNEL,
    EPOCH,
    EXPIRES,
    ID,
    MILLISECONDS,
    PRICE,
    SEQ,
    SIDE,
    SLOT,
    TICKS,
    VOLUME,
    Message,
    Shape,
    record,
    row,
    rows,
    text,
    whole,
)

_HAS_ID = frozenset({"id"})
_OWN_EPOCH = text("Names one history of the account's events")
_OWN_SEQ = whole("Number of the account's events, which are counted on their own", minimum=0)
_RECOVERED: Shape = {"type": "boolean", "description": "Whether what follows joins on to `since`"}
_SUBJECT = text("The account or operator")

HELLO: Final = Message(
    "hello",
    "t",
    "hello",
    "The first message of every connection. With `sub` and `exp` where the handshake had a token",
    {
        "v": {"const": 1, "description": "Version of the protocol"},
        "conn": text("Names the connection in the server's log"),
        "ping_s": {"type": "number", "description": "The server pings this often, in seconds"},
        "max_msg": whole("The largest message that it takes, in bytes"),
        "limits": record(
            "What a connection may do",
            {
                "in_per_s": {"type": "number", "description": "Messages to the server a second, in the long run"},
                "subs": whole("Subscriptions"),
            },
        ),
        "sub": _SUBJECT,
        "exp": EXPIRES,
    },
    (
        '{"t":"hello","v":1,"conn":"c81f03ab","ping_s":25,"max_msg":4096,"limits":{"in_per_s":5,"subs":64}}',
        '{"t":"hello","v":1,"conn":"c81f03ab","ping_s":25,"max_msg":4096,"limits":{"in_per_s":5,"subs":64},'
        '"sub":"42","exp":1772370000}',
    ),
    frozenset({"sub", "exp"}),
)
AUTHENTICATED: Final = Message(
    "authenticated",
    "t",
    "ok",
    "The token is good",
    {"id": ID, "sub": _SUBJECT, "exp": EXPIRES},
    ('{"t":"ok","id":1,"sub":"42","exp":1772370000}',),
    _HAS_ID,
)
SUBSCRIBED: Final = Message(
    "subscribed",
    "t",
    "ok",
    "The book is followed. Where it was not recovered its snapshot comes next, otherwise at most one update",
    {"id": ID, "ch": BOOK, "ep": EPOCH, "seq": SEQ, "recovered": _RECOVERED},
    (
        '{"t":"ok","id":2,"ch":"book:2026-11-23","ep":"k3f9a1c2","seq":7,"recovered":false}',
        '{"t":"ok","id":3,"ch":"book:2026-11-23","ep":"k3f9a1c2","seq":11,"recovered":true}',
    ),
    _HAS_ID,
)
SUBSCRIBED_ME: Final = Message(
    "subscribedMe",
    "t",
    "ok",
    "The account is followed. Where it was recovered, what it missed comes next, in order; otherwise read REST",
    {
        "id": ID,
        "ch": {"const": "me"},
        "ep": _OWN_EPOCH,
        "seq": _OWN_SEQ,
        "recovered": _RECOVERED,
        "ticks": TICKS,
    },
    (
        '{"t":"ok","id":5,"ch":"me","ep":"u7d41c0e","seq":17,"recovered":false,'
        '"ticks":{"price":"0.01","volume":"0.001"}}',
    ),
    _HAS_ID,
)
UNSUBSCRIBED: Final = Message(
    "unsubscribed",
    "t",
    "ok",
    "The channel is followed no longer",
    {"id": ID, "ch": CHANNEL},
    ('{"t":"ok","id":6,"ch":"me"}',),
    _HAS_ID,
)
PONG: Final = Message(
    "pong",
    "t",
    "ok",
    "The server is there",
    {"id": ID, "ts": MILLISECONDS},
    ('{"t":"ok","id":8,"ts":1772366400456}',),
    _HAS_ID,
)
_OWN = {"ep": _OWN_EPOCH, "seq": _OWN_SEQ, "prev": whole("The number before it", minimum=0)}
_BID = record(
    "A bid as it stands, or as it stood last where it was withdrawn",
    {"id": whole("As in the REST API"), "slot": SLOT, "side": SIDE, "price": PRICE, "volume": VOLUME},
)
OWN_BIDS: Final = Message(
    "ownBids",
    "t",
    "me",
    "Bids of the account's own were placed, changed or withdrawn: all of one request",
    {
        **_OWN,
        "kind": {"const": "bid"},
        "data": record(
            "What happened to which bids",
            {
                "event": {"enum": ["placed", "changed", "withdrawn"]},
                "deliveryDate": text("Delivery day", format="date"),
                "seq": whole("Of the last of these events in the book", minimum=1),
                "bids": rows("The bids", _BID, minItems=1),
            },
        ),
    },
    (
        '{"t":"me","ep":"u7d41c0e","seq":18,"prev":17,"kind":"bid","data":{"event":"placed","deliveryDate":"2026-11-23",'
        '"seq":11,"bids":[{"id":674106214252545,"slot":41,"side":"B","price":460,"volume":500}]}}',
    ),
)
OWN_TRADES: Final = Message(
    "ownTrades",
    "t",
    "me",
    "A delivery day was cleared in which bids of the account's own took part: what they were filled",
    {
        **_OWN,
        "kind": {"const": "trade"},
        "data": record(
            "What the auction gave the account; a bid of it that is not named was rejected",
            {
                "deliveryDate": text("Delivery day", format="date"),
                "seq": whole("Of the event `cleared` in the book", minimum=1),
                "trades": rows(
                    "The bids that were filled",
                    record(
                        "A bid with the clearing price and the volume that was filled",
                        {
                            "id": whole("As in the REST API"),
                            "slot": SLOT,
                            "side": SIDE,
                            "price": PRICE,
                            "volume": VOLUME,
                        },
                    ),
                ),
            },
        ),
    },
    (
        '{"t":"me","ep":"u7d41c0e","seq":19,"prev":18,"kind":"trade","data":{"deliveryDate":"2026-11-23","seq":13,'
        '"trades":[{"id":674106214252545,"slot":41,"side":"B","price":437,"volume":500}]}}',
    ),
)
_METERED: Shape = {"type": ["integer", "null"], "description": "kWh in volume ticks"}
_READING: Shape = {
    "type": "object",
    "description": "A prosumer's has solarGeneration and netEnergy, a consumer's energyConsumption",
    "properties": {
        "slot": SLOT,
        "revision": whole("1, and one more with each correction", minimum=1),
        "solarGeneration": _METERED,
        "netEnergy": _METERED,
        "energyConsumption": _METERED,
        "deviation": {**_METERED, "description": "From what was cleared, in volume ticks; null before the auction"},
    },
    "required": ["slot", "revision", "deviation"],
}
OWN_READINGS: Final = Message(
    "ownReadings",
    "t",
    "me",
    "Smart-meter readings of the account's own were recorded or corrected: all of one request",
    {
        **_OWN,
        "kind": {"const": "reading"},
        "data": record(
            "Readings of one day",
            {"date": text("The day in India", format="date"), "readings": rows("By slot", _READING, minItems=1)},
        ),
    },
    (
        '{"t":"me","ep":"u7d41c0e","seq":20,"prev":19,"kind":"reading","data":{"date":"2026-11-21",'
        '"readings":[{"slot":41,"revision":1,"energyConsumption":800,"deviation":null}]}}',
    ),
)
TOKEN_EXPIRING: Final = Message(
    "tokenExpiring",
    "t",
    "token_expiring",
    "The token ends soon: send `auth` with a fresh one",
    {"exp": EXPIRES},
    ('{"t":"token_expiring","exp":1772370000}',),
)
UNSUB: Final = Message(
    "unsub",
    "t",
    "unsub",
    "The server ended a subscription",
    {"ch": CHANNEL, "code": whole("As a close code would say it"), "reason": text("For a person")},
    ('{"t":"unsub","ch":"me","code":4005,"reason":"token expired"}',),
)
ERROR: Final = Message(
    "err",
    "t",
    "err",
    "A request was refused",
    {
        "id": ID,
        "code": {"enum": [int(code) for code in ErrorCode]},
        "msg": text("For a person"),
        "temporary": {"type": "boolean", "description": "Whether the same request may succeed later"},
    },
    ('{"t":"err","id":2,"code":1404,"msg":"unknown channel","temporary":false}',),
    _HAS_ID,
)
BYE: Final = Message(
    "bye",
    "t",
    "bye",
    "The server leaves: come back after a random time within `retry_ms`",
    {
        "code": whole("The close code that follows"),
        "reconnect": {"type": "boolean", "description": "Whether to come back"},
        "retry_ms": row("From and to, in milliseconds", whole("From", minimum=0), whole("To", minimum=0)),
    },
    ('{"t":"bye","code":4001,"reconnect":true,"retry_ms":[0,5000]}',),
)
ANSWERS: Final = (
    *(HELLO, AUTHENTICATED, SUBSCRIBED, SUBSCRIBED_ME, UNSUBSCRIBED, PONG),
    *(OWN_BIDS, OWN_TRADES, OWN_READINGS, TOKEN_EXPIRING, UNSUB, ERROR, BYE),
)
