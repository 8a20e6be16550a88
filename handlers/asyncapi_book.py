"""What the server says about a book on the live feed, as its documentation shows it.

What lives here: those messages. What must not: making them (feed/messages.py), or a word about one account
(asyncapi_answers.py).
"""

from typing import Final

from handlers.asyncapi_shapes import (
    BOOK,
    CRC,
    DAY_PATTERN,
    EPOCH,
    MILLISECONDS,
    PREV,
    PRICE,
    SEQ,
    SIDE,
    SLOT,
    TICKS,
    VOLUME,
    Message,
    row,
    rows,
    text,
    whole,
)

_LEVEL = row(
    "Slot, side, price in ticks, total volume in ticks (0 removes the level), number of bids",
    SLOT,
    SIDE,
    PRICE,
    VOLUME,
    whole("Number of bids", minimum=0),
)
_INDICATIVE = row(
    "Slot, the price in ticks at which it would clear now, the volume in ticks; null and 0 where nothing would",
    SLOT,
    {"type": ["integer", "null"]},
    VOLUME,
)

SNAP: Final = Message(
    "snap",
    "t",
    "snap",
    "A whole book, or the slots asked for; what GET /book/dayahead answers",
    {
        "ch": BOOK,
        "ep": EPOCH,
        "seq": SEQ,
        "gate": text("When bidding ends", format="date-time"),
        "state": {"enum": ["open", "closed", "cleared"]},
        "ticks": TICKS,
        "lv": rows("All levels, by slot, side (B before S) and price", _LEVEL),
        "ind": rows("The slots that clear something", _INDICATIVE),
        "crc": {**CRC, "description": "CRC-32 over the checksums of all slots, or of the slots asked for"},
    },
    (
        '{"t":"snap","ch":"book:2026-11-23","ep":"k3f9a1c2","seq":7,"gate":"2026-11-22T18:30:00Z","state":"open",'
        '"ticks":{"price":"0.01","volume":"0.001"},"lv":[[12,"B",425,120000,3],[41,"B",450,2000,1],'
        '[41,"S",425,2500,1],[41,"S",1010,4000,2]],"ind":[[41,425,2000]],"crc":1615857205}',
    ),
)
UPDATE: Final = Message(
    "upd",
    "t",
    "upd",
    "Every level that changed after event `prev` up to event `seq`, as it is now",
    {
        "ch": BOOK,
        "prev": PREV,
        "seq": SEQ,
        "ts": MILLISECONDS,
        "lv": rows("Absolute values; may be empty", _LEVEL),
        "ind": rows("Of every slot in `lv`", _INDICATIVE),
        "cs": {
            "type": "object",
            "description": "The checksum of every slot in `lv`, with this update applied",
            "propertyNames": {"pattern": "^[1-9][0-9]?$"},
            "additionalProperties": CRC,
        },
    },
    (
        '{"t":"upd","ch":"book:2026-11-23","prev":7,"seq":11,"ts":1772366400123,"lv":[[12,"B",425,0,0],'
        '[41,"B",460,500,1]],"ind":[[12,null,0],[41,437,2500]],"cs":{"12":0,"41":1365879189}}',
    ),
)
GATE: Final = Message(
    "gate",
    "t",
    "gate",
    "The gate closed: no level changes any more",
    {"ch": BOOK, "ep": EPOCH, "prev": PREV, "seq": SEQ, "state": {"enum": ["closed", "cleared"]}},
    ('{"t":"gate","ch":"book:2026-11-23","ep":"k3f9a1c2","prev":11,"seq":12,"state":"closed"}',),
)
CLEARED: Final = Message(
    "cleared",
    "t",
    "cleared",
    "The auction ran: what each slot cleared",
    {
        "ch": BOOK,
        "ep": EPOCH,
        "prev": PREV,
        "seq": SEQ,
        "slots": rows("What was cleared", row("Slot, price in ticks, volume in ticks", SLOT, PRICE, VOLUME)),
    },
    ('{"t":"cleared","ch":"book:2026-11-23","ep":"k3f9a1c2","prev":12,"seq":13,"slots":[[41,437,2500]]}',),
)
HEARTBEAT: Final = Message(
    "hb",
    "t",
    "hb",
    "A second passed without another message on this channel",
    {
        "ts": MILLISECONDS,
        "at": {
            "type": "object",
            "description": "Where the channel stands: epoch, number, and the checksum over the slots followed",
            "propertyNames": {"pattern": f"^book:{DAY_PATTERN}$"},
            "additionalProperties": row("Epoch, number, checksum", EPOCH, SEQ, CRC),
            "minProperties": 1,
        },
    },
    ('{"t":"hb","ts":1772366405000,"at":{"book:2026-11-23":["k3f9a1c2",11,401083584]}}',),
)
BOOK_MESSAGES: Final = (SNAP, UPDATE, GATE, CLEARED, HEARTBEAT)
