"""The market as everyone may see it: the aggregated, anonymous book.

What lives here: its endpoints. What must not: anything that tells who bid.
"""

import hashlib
from datetime import date, timedelta

from aiohttp import web

from auth.tokens import Purpose
from handlers.context import CLOCK, DATABASE, EPOCH_BASE, MARKET
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.requests import json_response, read_query
from handlers.schemas.answers import BookSnapshotSchema
from handlers.schemas.base import InvalidRequest
from handlers.schemas.bids import DayQuerySchema
from market.book import indicative, snapshot
from storage import book
from storage.book import AggregatedBook

_SNAPSHOT = {
    "t": "snap",
    "ch": "book:2026-11-23",
    "ep": "k3f9a1c2",
    "seq": 2,
    "gate": "2026-11-22T18:30:00Z",
    "state": "open",
    "ticks": {"price": "0.01", "volume": "0.001"},
    "lv": [[41, "B", 450, 2000, 1], [41, "S", 425, 2500, 1]],
    "ind": [[41, 437, 2000]],
    "crc": 3310070434,
}


@endpoint(
    Endpoint(
        summary="The aggregated book of a delivery day",
        tag="Market",
        purposes=(Purpose.ACCOUNT, Purpose.OPERATOR),
        query=DayQuerySchema,
        is_book=True,
        answers={
            200: Answer(
                "The feed's snapshot: levels [slot, side, price ticks, volume ticks, bids], indicative prices "
                "[slot, price ticks, volume ticks], and the checksum over both",
                _SNAPSHOT,
                BookSnapshotSchema,
            ),
            400: Answer(
                "A parameter is wrong",
                {"message": "Validation failed", "errors": ["deliveryDate must be a day like 2026-11-23"]},
            ),
            401: Answer("No valid token", {"message": "Invalid token"}),
        },
    )
)
async def get_book(request: web.Request) -> web.Response:
    """The book of the day named, or of the one that is open."""
    asked = read_query(request, DayQuerySchema)
    rules, now = request.app[MARKET], request.app[CLOCK]()
    last_day = rules.calendar.today(now) + timedelta(days=rules.days_ahead)
    if asked.day is not None and asked.day > last_day:
        raise InvalidRequest([f"deliveryDate must not be after {last_day.isoformat()}"])
    day = asked.day or rules.calendar.open_day(now)
    gate_at = rules.calendar.gate_at(day)
    found = await book.read(request.app[DATABASE], day) or AggregatedBook("open", 0, [])
    is_over = found.state == "open" and now >= gate_at
    return json_response(
        snapshot(
            channel=f"book:{day.isoformat()}",
            epoch=epoch(request.app[EPOCH_BASE], day),
            seq=found.seq,
            gate=gate_at,
            state="closed" if is_over else found.state,
            price_tick=rules.bids.price_tick,
            volume_tick=rules.bids.volume_tick,
            levels=found.levels,
            indicatives=indicative(found.levels, rules.price_rule),
            slots=None if asked.slot is None else [asked.slot],
        )
    )


def epoch(base: str, day: date) -> str:
    """What names one history of one day's book: short, and another one after a restore that lost events."""
    return hashlib.sha256(f"{base}/{day.isoformat()}".encode()).hexdigest()[:8]
