"""What clients say on the live feed, as its documentation shows it.

What lives here: those messages. What must not: reading them (feed/requests.py).
"""

from typing import Final

from feed.requests import RATES_MS
from handlers.asyncapi_shapes import CHANNEL, DAY_PATTERN, ID, SLOT, Message, Shape, record, rows, text, whole

_ASKED_BOOK = text("`book:<day>`, or `book` for the day that is open now", pattern=f"^book(:{DAY_PATTERN})?$")
_SINCE: Shape = {
    **record(
        "Where the client stopped: the epoch, and the last number that it applied",
        {"ep": text("Epoch"), "seq": whole("Number", minimum=0)},
    ),
    "type": ["object", "null"],
}
_HAS_ID = frozenset({"id"})

AUTH: Final = Message(
    "auth",
    "op",
    "auth",
    "Log in; or go on with a fresh token of the same account",
    {"id": ID, "token": text("The token of an energy account or of an operator")},
    ('{"op":"auth","id":1,"token":"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."}',),
    _HAS_ID,
)
SUBSCRIBE_BOOK: Final = Message(
    "subscribeBook",
    "op",
    "subscribe",
    "Follow a book, from its snapshot or from where the client stopped",
    {
        "id": ID,
        "ch": _ASKED_BOOK,
        "rate": {"enum": [*RATES_MS, None], "description": "Milliseconds between updates; 100 where it is left out"},
        "slots": {**rows("Only these slots; all where it is left out", SLOT, minItems=1), "type": ["array", "null"]},
        "since": _SINCE,
    },
    (
        '{"op":"subscribe","id":2,"ch":"book:2026-11-23","rate":100,"slots":null}',
        '{"op":"subscribe","id":3,"ch":"book:2026-11-23","since":{"ep":"k3f9a1c2","seq":7}}',
        '{"op":"subscribe","id":4,"ch":"book","rate":1000,"slots":[37,38]}',
    ),
    frozenset({"id", "rate", "slots", "since"}),
)
SUBSCRIBE_ME: Final = Message(
    "subscribeMe",
    "op",
    "subscribe",
    "Follow the account's own bids, trades and readings, from now or from where the client stopped",
    {"id": ID, "ch": {"const": "me"}, "since": _SINCE},
    (
        '{"op":"subscribe","id":5,"ch":"me"}',
        '{"op":"subscribe","id":5,"ch":"me","since":{"ep":"u7d41c0e","seq":17}}',
    ),
    frozenset({"id", "since"}),
)
UNSUBSCRIBE: Final = Message(
    "unsubscribe",
    "op",
    "unsubscribe",
    "Follow a channel no longer",
    {"id": ID, "ch": CHANNEL},
    ('{"op":"unsubscribe","id":6,"ch":"me"}',),
    _HAS_ID,
)
RESYNC: Final = Message(
    "resync",
    "op",
    "resync",
    "Have the snapshot of a book that is followed sent again, after a gap or a checksum that does not match",
    {"id": ID, "ch": _ASKED_BOOK},
    ('{"op":"resync","id":7,"ch":"book:2026-11-23"}',),
    _HAS_ID,
)
PING: Final = Message(
    "ping", "op", "ping", "Ask whether the server is there", {"id": ID}, ('{"op":"ping","id":8}',), _HAS_ID
)
REQUESTS: Final = (AUTH, SUBSCRIBE_BOOK, SUBSCRIBE_ME, UNSUBSCRIBE, RESYNC, PING)
